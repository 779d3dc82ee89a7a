// SPDX-License-Identifier: Apache-2.0
// Heartbeat (12), versions 0-4.
// Behaviour: the group coordinator's: keeps a member's session, tells it of a rebalance.
//   3 static members (KIP-345)
import { Heartbeat } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const heartbeat = defineHandler<typeof Heartbeat>({
  api: Heartbeat,
  handle: (context, request) => context.broker.groups.heartbeat(groupContext(context), request),
  errorResponse: (_request, errorCode) => ({ errorCode }),
})
