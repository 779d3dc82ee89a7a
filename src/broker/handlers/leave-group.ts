// SPDX-License-Identifier: Apache-2.0
// LeaveGroup (13), versions 0-5.
// Behaviour: the group coordinator's; from 3 on many members, also by instance id.
//   3 many members (KIP-345) · 5 reason (KIP-800)
import { LeaveGroup } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const leaveGroup = defineHandler<typeof LeaveGroup>({
  api: LeaveGroup,
  handle: (context, request) => context.broker.groups.leaveGroup(groupContext(context), request),
  errorResponse: (_request, errorCode) => ({ errorCode, members: [] }),
})
