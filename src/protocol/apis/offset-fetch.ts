// SPDX-License-Identifier: Apache-2.0
// OffsetFetch (9): how far groups have come. One group up to version 7, a list of groups from 8 on; null topics ask for all.
//   2 all topics, an error for the group · 3 throttle time · 5 leader epoch (KIP-320) · 6 flexible
//   7 requireStable (KIP-447) · 8 many groups (KIP-709) · 9 member epoch (KIP-848) · 10 topic ids in place of names
import { api } from '../api.ts'
import { array, bool, int16, int32, offset, string, topicName, uuid } from '../schema.ts'

export const OffsetFetch = api(9, 'OffsetFetch', {
  versions: [1, 10],
  served: [1, 9],
  flexible: 6,
  request: {
    groupId: string.in('1-7'),
    topics: array({
      name: topicName,
      partitionIndexes: array(int32),
    })
      .in('1-7')
      .nullable('2-7'),
    groups: array({
      groupId: string,
      memberId: string.in('9+').nullable().default(null).ignorable(),
      memberEpoch: int32.in('9+').default(-1).ignorable(),
      topics: array({
        name: topicName.in('8-9').ignorable(),
        topicId: uuid.in('10+').ignorable(),
        partitionIndexes: array(int32),
      }).nullable(),
    }).in('8+'),
    requireStable: bool.in('7+').default(false),
  },
  response: {
    throttleTimeMs: int32.in('3+').ignorable(),
    topics: array({
      name: topicName,
      partitions: array({
        partitionIndex: int32,
        committedOffset: offset,
        committedLeaderEpoch: int32.in('5-7').default(-1).ignorable(),
        metadata: string.nullable(),
        errorCode: int16,
      }),
    }).in('1-7'),
    errorCode: int16.in('2-7').default(0).ignorable(),
    groups: array({
      groupId: string,
      topics: array({
        name: topicName.in('8-9').ignorable(),
        topicId: uuid.in('10+').ignorable(),
        partitions: array({
          partitionIndex: int32,
          committedOffset: offset,
          committedLeaderEpoch: int32.default(-1),
          metadata: string.nullable(),
          errorCode: int16,
        }),
      }),
      errorCode: int16.default(0),
    }).in('8+'),
  },
})
