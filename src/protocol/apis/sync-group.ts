// SPDX-License-Identifier: Apache-2.0
// SyncGroup (14): the leader of a classic group hands out the assignments, each member receives its own.
//   1 throttle time · 3 static members (KIP-345) · 4 flexible · 5 protocol type and name (KIP-559)
import { api } from '../api.ts'
import { array, bytes, int16, int32, string } from '../schema.ts'

export const SyncGroup = api(14, 'SyncGroup', {
  versions: [0, 5],
  flexible: 4,
  request: {
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: string.in('3+').nullable().default(null),
    protocolType: string.in('5+').nullable().default(null).ignorable(),
    protocolName: string.in('5+').nullable().default(null).ignorable(),
    assignments: array({
      memberId: string,
      assignment: bytes,
    }),
  },
  response: {
    throttleTimeMs: int32.in('1+').ignorable(),
    errorCode: int16,
    protocolType: string.in('5+').nullable().default(null).ignorable(),
    protocolName: string.in('5+').nullable().default(null).ignorable(),
    assignment: bytes,
  },
})
