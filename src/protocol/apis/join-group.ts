// SPDX-License-Identifier: Apache-2.0
// JoinGroup (11): a member joins a classic group and waits until the group has formed; the leader learns of all members.
//   1 rebalance timeout · 2 throttle time · 4 MEMBER_ID_REQUIRED: join again with the id of the answer (KIP-394)
//   5 static members (KIP-345) · 6 flexible · 7 protocol type and nullable protocol name in the answer (KIP-559)
//   8 reason (KIP-800) · 9 skipAssignment (KIP-814)
import { api } from '../api.ts'
import { array, bool, bytes, int16, int32, string } from '../schema.ts'

export const JoinGroup = api(11, 'JoinGroup', {
  versions: [0, 9],
  flexible: 6,
  request: {
    groupId: string,
    sessionTimeoutMs: int32,
    // In version 0 the session timeout serves as both.
    rebalanceTimeoutMs: int32.in('1+').default(-1).ignorable(),
    memberId: string,
    groupInstanceId: string.in('5+').nullable().default(null),
    protocolType: string,
    protocols: array({
      name: string,
      metadata: bytes,
    }),
    reason: string.in('8+').nullable().default(null).ignorable(),
  },
  response: {
    throttleTimeMs: int32.in('2+').ignorable(),
    errorCode: int16,
    generationId: int32.default(-1),
    protocolType: string.in('7+').nullable().default(null).ignorable(),
    protocolName: string.nullable('7+'),
    leader: string,
    skipAssignment: bool.in('9+').default(false),
    memberId: string,
    members: array({
      memberId: string,
      groupInstanceId: string.in('5+').nullable().default(null).ignorable(),
      metadata: bytes,
    }),
  },
})
