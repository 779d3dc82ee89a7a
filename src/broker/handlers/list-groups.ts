// SPDX-License-Identifier: Apache-2.0
// ListGroups (16), versions 0-5.
// Behaviour: the group coordinator's, filtered by state (4+, KIP-518) and type (5+, KIP-848).
import { ListGroups } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const listGroups = defineHandler<typeof ListGroups>({
  api: ListGroups,
  handle: (context, request) => context.broker.groups.listGroups(groupContext(context), request),
  errorResponse: (_request, errorCode) => ({ errorCode, groups: [] }),
})
