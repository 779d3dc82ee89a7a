// SPDX-License-Identifier: Apache-2.0
// Metadata (3): the brokers, and the topics that are asked for with their partitions, leaders and replicas.
//   Asking for all topics: an empty array in 0, null from 1 on (where an empty array is none).
//   1 racks, controller · 2 cluster id · 3 throttle time · 4 allowAutoTopicCreation · 5 offline replicas
//   7 leader epoch (KIP-320) · 8 authorized operations (KIP-430) · 9 flexible · 10 topic ids in the answer (KIP-516)
//   11 cluster operations gone (KIP-700) · 12 topics asked for by id · 13 an error for the whole request (KIP-1102)
import { api } from '../api.ts'
import { array, bool, int16, int32, string, topicName, uuid } from '../schema.ts'

/** Authorized operations that were not asked for. */
export const OPERATIONS_UNKNOWN = -2147483648

export const Metadata = api(3, 'Metadata', {
  versions: [0, 13],
  flexible: 9,
  request: {
    topics: array({
      topicId: uuid.in('10+').ignorable(),
      name: topicName.nullable('10+'),
    }).nullable('1+'),
    allowAutoTopicCreation: bool.in('4+').default(true),
    includeClusterAuthorizedOperations: bool.in('8-10'),
    includeTopicAuthorizedOperations: bool.in('8+'),
  },
  response: {
    throttleTimeMs: int32.in('3+').ignorable(),
    brokers: array({
      nodeId: int32,
      host: string,
      port: int32,
      rack: string.in('1+').nullable().default(null).ignorable(),
    }),
    clusterId: string.in('2+').nullable().default(null).ignorable(),
    controllerId: int32.in('1+').default(-1).ignorable(),
    topics: array({
      errorCode: int16,
      name: topicName.nullable('12+'),
      topicId: uuid.in('10+').ignorable(),
      isInternal: bool.in('1+').ignorable(),
      partitions: array({
        errorCode: int16,
        partitionIndex: int32,
        leaderId: int32,
        leaderEpoch: int32.in('7+').default(-1).ignorable(),
        replicaNodes: array(int32),
        isrNodes: array(int32),
        offlineReplicas: array(int32).in('5+').ignorable(),
      }),
      topicAuthorizedOperations: int32.in('8+').default(OPERATIONS_UNKNOWN),
    }),
    clusterAuthorizedOperations: int32.in('8-10').default(OPERATIONS_UNKNOWN),
    errorCode: int16.in('13+').ignorable(),
  },
})
