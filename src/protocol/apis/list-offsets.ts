// SPDX-License-Identifier: Apache-2.0
// ListOffsets (2): the offset of a point in time, or of an end of the log, for each partition that is asked for.
//   Timestamps with a meaning: -1 latest, -2 earliest, -3 record with the greatest timestamp (7, KIP-734),
//   -4 earliest local (8, KIP-405), -5 latest tiered (9, KIP-1005), -6 earliest pending upload (11, KIP-1023)
//   2 isolation level · 4 leader epoch (KIP-320) · 6 flexible · 10 timeout (KIP-1075)
import { api } from '../api.ts'
import { array, int8, int16, int32, offset, timestampMs, topicName } from '../schema.ts'

export const ListOffsets = api(2, 'ListOffsets', {
  versions: [1, 11],
  flexible: 6,
  request: {
    replicaId: int32,
    isolationLevel: int8.in('2+'),
    topics: array({
      name: topicName,
      partitions: array({
        partitionIndex: int32,
        currentLeaderEpoch: int32.in('4+').default(-1).ignorable(),
        timestamp: timestampMs,
      }),
    }),
    timeoutMs: int32.in('10+').ignorable(),
  },
  response: {
    throttleTimeMs: int32.in('2+').ignorable(),
    topics: array({
      name: topicName,
      partitions: array({
        partitionIndex: int32,
        errorCode: int16,
        timestamp: timestampMs.default(-1),
        offset: offset.default(-1),
        leaderEpoch: int32.in('4+').default(-1),
      }),
    }),
  },
})
