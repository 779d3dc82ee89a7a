// SPDX-License-Identifier: Apache-2.0
// OffsetFetch (9), versions 1-9.
// Behaviour: the group coordinator's.
//   2 null topics for all · 5 leader epochs · 7 require stable (KIP-447) · 8 many groups (KIP-709) · 9 member epoch
import { OffsetFetch } from '../../protocol/apis/index.ts'
import { groupContext } from '../group-context.ts'
import { defineHandler } from '../handler.ts'

export const offsetFetch = defineHandler<typeof OffsetFetch>({
  api: OffsetFetch,
  handle: (context, request) => context.broker.groups.offsetFetch(groupContext(context), request),
  errorResponse: (request, errorCode) => ({
    errorCode,
    topics: (request.topics ?? []).map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((partitionIndex) => ({
        partitionIndex,
        committedOffset: -1,
        metadata: '',
        errorCode,
      })),
    })),
    groups: request.groups.map(({ groupId }) => ({ groupId, topics: [], errorCode })),
  }),
})
