// SPDX-License-Identifier: Apache-2.0
// ListGroups (16): the groups that this broker coordinates.
//   1 throttle time · 3 flexible · 4 states (KIP-518) · 5 group types (KIP-848)
import { api } from '../api.ts'
import { array, int16, int32, string } from '../schema.ts'

export const ListGroups = api(16, 'ListGroups', {
  versions: [0, 5],
  flexible: 3,
  request: {
    statesFilter: array(string).in('4+'),
    typesFilter: array(string).in('5+'),
  },
  response: {
    throttleTimeMs: int32.in('1+').ignorable(),
    errorCode: int16,
    groups: array({
      groupId: string,
      protocolType: string,
      groupState: string.in('4+').ignorable(),
      groupType: string.in('5+').ignorable(),
    }),
  },
})
