// SPDX-License-Identifier: Apache-2.0
// FindCoordinator (10), versions 0-6.
// Behaviour: this broker, for groups; makes __consumer_offsets at the first question. Transactions and share groups have no coordinator
// yet: INVALID_REQUEST, which ends a client at once instead of letting it try until its timeout.
//   1 key types (KIP-98) · 4 many keys (KIP-699) · 6 share groups (KIP-932)
import { FindCoordinator } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const findCoordinator = defineHandler<typeof FindCoordinator>({
  api: FindCoordinator,
  handle(context, request) {
    const endpoint = { nodeId: context.broker.nodeId, ...context.broker.addressFor(context.client) }
    return context.broker.groups.findCoordinator({ ...groupContext(context), endpointOf: () => endpoint }, request)
  },
  errorResponse: (request, errorCode) => ({
    errorCode,
    nodeId: -1,
    host: '',
    port: -1,
    coordinators: request.coordinatorKeys.map((key) => ({
      key,
      nodeId: -1,
      host: '',
      port: -1,
      errorCode,
      errorMessage: null,
    })),
  }),
})
