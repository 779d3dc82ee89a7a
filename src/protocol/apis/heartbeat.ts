// SPDX-License-Identifier: Apache-2.0
// Heartbeat (12): a member of a classic group says that it is alive.
//   1 throttle time · 2 throttling after the answer (KIP-219) · 3 static members (KIP-345) · 4 flexible
import { api } from '../api.ts'
import { int16, int32, string } from '../schema.ts'

export const Heartbeat = api(12, 'Heartbeat', {
  versions: [0, 4],
  flexible: 4,
  request: {
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: string.in('3+').nullable().default(null),
  },
  response: {
    throttleTimeMs: int32.in('1+').ignorable(),
    errorCode: int16,
  },
})
