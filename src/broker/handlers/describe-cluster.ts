// SPDX-License-Identifier: Apache-2.0
// DescribeCluster (60), versions 0-2.
// Behaviour: this broker as the whole cluster and its controller: tools send what changes the cluster to the controller's id.
//   1 endpoint type (KIP-919): only brokers are listed on a broker's listener · 2 fenced brokers (KIP-1073)
import { KafkaError } from '../../errors.ts'
import { DescribeCluster } from '../../protocol/apis/index.ts'
import { CLUSTER_OPERATIONS } from '../authorized-operations.ts'
import { defineHandler } from '../handler.ts'

const BROKERS = 1

export const describeCluster = defineHandler<typeof DescribeCluster>({
  api: DescribeCluster,
  handle({ broker, client }, request) {
    if (request.endpointType !== BROKERS)
      throw new KafkaError(
        'MISMATCHED_ENDPOINT_TYPE',
        'The request was sent to an endpoint of type BROKER, but we wanted an endpoint of another type',
      )
    const address = broker.addressFor(client)
    return {
      errorCode: 0,
      clusterId: broker.clusterId,
      controllerId: broker.nodeId,
      brokers: [{ brokerId: broker.nodeId, host: address.host, port: address.port, rack: broker.rack }],
      ...(request.includeClusterAuthorizedOperations ? { clusterAuthorizedOperations: CLUSTER_OPERATIONS } : {}),
    }
  },
  errorResponse: (_request, errorCode) => ({ errorCode, clusterId: '', brokers: [] }),
})
