// SPDX-License-Identifier: Apache-2.0
// DescribeGroups (15): state and members of classic groups.
//   1 throttle time · 3 authorized operations (KIP-430) · 4 static members (KIP-345) · 5 flexible
//   6 GROUP_ID_NOT_FOUND instead of a dead group, error message (KIP-1043)
import { api } from '../api.ts'
import { array, bool, bytes, int16, int32, string } from '../schema.ts'
import { OPERATIONS_UNKNOWN } from './metadata.ts'

export const DescribeGroups = api(15, 'DescribeGroups', {
  versions: [0, 6],
  flexible: 5,
  request: {
    groups: array(string),
    includeAuthorizedOperations: bool.in('3+'),
  },
  response: {
    throttleTimeMs: int32.in('1+').ignorable(),
    groups: array({
      errorCode: int16,
      errorMessage: string.in('6+').nullable().default(null),
      groupId: string,
      groupState: string,
      protocolType: string,
      protocolData: string,
      members: array({
        memberId: string,
        groupInstanceId: string.in('4+').nullable().default(null).ignorable(),
        clientId: string,
        clientHost: string,
        memberMetadata: bytes,
        memberAssignment: bytes,
      }),
      authorizedOperations: int32.in('3+').default(OPERATIONS_UNKNOWN),
    }),
  },
})
