// SPDX-License-Identifier: Apache-2.0
// SyncGroup (14), versions 0-5.
// Behaviour: the group coordinator's; followers wait for the leader's assignments.
//   3 static members (KIP-345) · 5 protocol type and name (KIP-559)
import { SyncGroup } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const syncGroup = defineHandler<typeof SyncGroup>({
  api: SyncGroup,
  handle: (context, request) => context.broker.groups.syncGroup(groupContext(context), request),
  errorResponse: (_request, errorCode) => ({ errorCode, assignment: new Uint8Array(0) }),
})
