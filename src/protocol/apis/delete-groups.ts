// SPDX-License-Identifier: Apache-2.0
// DeleteGroups (42): deletes empty groups and their offsets.
//   1 throttling after the answer (KIP-219) · 2 flexible · 3 error message
import { api } from '../api.ts'
import { array, int16, int32, string } from '../schema.ts'

export const DeleteGroups = api(42, 'DeleteGroups', {
  versions: [0, 3],
  flexible: 2,
  request: {
    groupsNames: array(string),
  },
  response: {
    throttleTimeMs: int32.default(0),
    results: array({
      groupId: string,
      errorCode: int16,
      errorMessage: string.in('3+').nullable().default(null).ignorable(),
    }),
  },
})
