// SPDX-License-Identifier: Apache-2.0
// DescribeCluster (60): the brokers of the cluster, one of which to address as the controller.
//   1 endpoint type: 1 brokers, 2 controllers (KIP-919) · 2 fenced brokers (KIP-1073)
import { api } from '../api.ts'
import { array, bool, int8, int16, int32, string } from '../schema.ts'
import { OPERATIONS_UNKNOWN } from './metadata.ts'

export const DescribeCluster = api(60, 'DescribeCluster', {
  versions: [0, 2],
  flexible: 0,
  request: {
    includeClusterAuthorizedOperations: bool,
    endpointType: int8.in('1+').default(1),
    includeFencedBrokers: bool.in('2+'),
  },
  response: {
    throttleTimeMs: int32.default(0),
    errorCode: int16,
    errorMessage: string.nullable().default(null),
    endpointType: int8.in('1+').default(1),
    clusterId: string,
    controllerId: int32.default(-1),
    brokers: array({
      brokerId: int32,
      host: string,
      port: int32,
      rack: string.nullable().default(null),
      isFenced: bool.in('2+'),
    }),
    clusterAuthorizedOperations: int32.default(OPERATIONS_UNKNOWN),
  },
})
