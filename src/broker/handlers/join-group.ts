// SPDX-License-Identifier: Apache-2.0
// JoinGroup (11), versions 0-9.
// Behaviour: the group coordinator's; the answer waits until the rebalance is complete. Any protocol type.
//   1 rebalance timeout (KIP-62) · 4 MEMBER_ID_REQUIRED (KIP-394) · 5 static members (KIP-345) · 7 protocol type · 8 reason (KIP-800)
//   9 skipAssignment (KIP-814)
import { JoinGroup } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const joinGroup = defineHandler<typeof JoinGroup>({
  api: JoinGroup,
  handle: (context, request) => context.broker.groups.joinGroup(groupContext(context), request),
  errorResponse: ({ memberId }, errorCode) => ({ errorCode, protocolName: '', leader: '', memberId, members: [] }),
})
