// SPDX-License-Identifier: Apache-2.0
// Fetch (1), versions 4-18.
// Behaviour: the data plane serves it, long polls included. Here come requests with a topic that has no grant; as with Produce the
// plane's own answer is right then. Fetch sessions are declined: every answer carries session id 0.
import { Fetch } from '../../protocol/apis/index.ts'
import { defineHandler, RETRY_NATIVELY } from '../handler.ts'

export const fetch = defineHandler<typeof Fetch>({
  api: Fetch,
  handle: () => RETRY_NATIVELY,
  errorResponse: (request, errorCode) => ({
    errorCode,
    responses: request.topics.map(({ topic, topicId, partitions }) => ({
      topic,
      topicId,
      partitions: partitions.map(({ partition }) => ({
        partitionIndex: partition,
        errorCode,
        highWatermark: -1,
        abortedTransactions: null,
        records: null,
      })),
    })),
  }),
})
