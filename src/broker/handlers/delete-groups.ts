// SPDX-License-Identifier: Apache-2.0
// DeleteGroups (42), versions 0-3.
// Behaviour: the group coordinator's; a group with members is NON_EMPTY_GROUP.
//   3 error messages
import { DeleteGroups } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const deleteGroups = defineHandler<typeof DeleteGroups>({
  api: DeleteGroups,
  handle: (context, request) => context.broker.groups.deleteGroups(groupContext(context), request),
  errorResponse: (request, errorCode) => ({ results: request.groupsNames.map((groupId) => ({ groupId, errorCode })) }),
})
