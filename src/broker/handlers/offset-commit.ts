// SPDX-License-Identifier: Apache-2.0
// OffsetCommit (8), versions 2-9.
// Behaviour: the group coordinator's; answered when the offsets are durable as acks=all is.
//   5 no retention time · 6 leader epochs (KIP-320) · 7 static members · 9 as 8 for classic groups
import { OffsetCommit } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const offsetCommit = defineHandler<typeof OffsetCommit>({
  api: OffsetCommit,
  handle: (context, request) => context.broker.groups.offsetCommit(groupContext(context), request),
  errorResponse: (request, errorCode) => ({
    topics: request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
    })),
  }),
})
