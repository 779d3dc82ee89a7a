// SPDX-License-Identifier: Apache-2.0
// OffsetForLeaderEpoch (23): where a leader epoch ends, by which consumers and followers find out where logs diverged.
//   2 current leader epoch (KIP-320), the only version that librdkafka has · 3 replica id · 4 flexible
import { api } from '../api.ts'
import { array, int16, int32, offset, topicName } from '../schema.ts'

export const OffsetForLeaderEpoch = api(23, 'OffsetForLeaderEpoch', {
  versions: [2, 4],
  flexible: 4,
  request: {
    // -1 is a consumer, -2 says nothing.
    replicaId: int32.in('3+').default(-2).ignorable(),
    topics: array({
      topic: topicName,
      partitions: array({
        partition: int32,
        currentLeaderEpoch: int32.default(-1),
        leaderEpoch: int32,
      }),
    }),
  },
  response: {
    throttleTimeMs: int32.default(0),
    topics: array({
      topic: topicName,
      partitions: array({
        errorCode: int16,
        partition: int32,
        leaderEpoch: int32.default(-1),
        endOffset: offset.default(-1),
      }),
    }),
  },
})
