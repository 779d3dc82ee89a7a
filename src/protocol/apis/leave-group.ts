// SPDX-License-Identifier: Apache-2.0
// LeaveGroup (13): members leave a classic group: the sender up to version 2, a list from 3 on.
//   1 throttle time · 3 several members, by member or instance id (KIP-345) · 4 flexible · 5 reason (KIP-800)
import { api } from '../api.ts'
import { array, int16, int32, string } from '../schema.ts'

export const LeaveGroup = api(13, 'LeaveGroup', {
  versions: [0, 5],
  flexible: 4,
  request: {
    groupId: string,
    memberId: string.in('0-2'),
    members: array({
      memberId: string,
      groupInstanceId: string.nullable().default(null),
      reason: string.in('5+').nullable().default(null).ignorable(),
    }).in('3+'),
  },
  response: {
    throttleTimeMs: int32.in('1+').ignorable(),
    errorCode: int16,
    members: array({
      memberId: string,
      groupInstanceId: string.nullable(),
      errorCode: int16,
    }).in('3+'),
  },
})
