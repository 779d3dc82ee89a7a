// SPDX-License-Identifier: Apache-2.0
// OffsetCommit (8): stores how far a group has come in partitions.
//   2-4 retention time, from then on the broker's (KIP-211) · 3 throttle time · 6 leader epoch (KIP-320)
//   7 static members (KIP-345) · 8 flexible · 9 member epoch of the consumer protocol (KIP-848)
//   10 topic ids in place of names (KIP-848)
import { api } from '../api.ts'
import { array, int16, int32, offset, string, timestampMs, topicName, uuid } from '../schema.ts'

export const OffsetCommit = api(8, 'OffsetCommit', {
  versions: [2, 10],
  served: [2, 9],
  flexible: 8,
  request: {
    groupId: string,
    generationIdOrMemberEpoch: int32.default(-1),
    memberId: string.default(''),
    groupInstanceId: string.in('7+').nullable().default(null),
    retentionTimeMs: timestampMs.in('2-4').default(-1).ignorable(),
    topics: array({
      name: topicName.in('2-9').ignorable(),
      topicId: uuid.in('10+').ignorable(),
      partitions: array({
        partitionIndex: int32,
        committedOffset: offset,
        committedLeaderEpoch: int32.in('6+').default(-1).ignorable(),
        committedMetadata: string.nullable(),
      }),
    }),
  },
  response: {
    throttleTimeMs: int32.in('3+').ignorable(),
    topics: array({
      name: topicName.in('2-9').ignorable(),
      topicId: uuid.in('10+').ignorable(),
      partitions: array({
        partitionIndex: int32,
        errorCode: int16,
      }),
    }),
  },
})
