// SPDX-License-Identifier: Apache-2.0
// Produce (0), versions 3-13; advertised from 0, for old librdkafka compresses only when it sees version 0 (KAFKA-18659).
// Behaviour: the data plane serves it. Here come requests with a topic that has no grant: every topic of this broker is published
// when it is made, so the plane's own answer, UNKNOWN_TOPIC_OR_PARTITION or UNKNOWN_TOPIC_ID, is right.
import { Produce } from '../../protocol/apis/index.ts'
import { defineHandler, RETRY_NATIVELY } from '../handler.ts'

export const produce = defineHandler<typeof Produce>({
  api: Produce,
  handle: () => RETRY_NATIVELY,
  errorResponse: (request, errorCode) => ({
    responses: request.topicData.map(({ name, topicId, partitionData }) => ({
      name,
      topicId,
      partitionResponses: partitionData.map(({ index }) => ({ index, errorCode, baseOffset: -1 })),
    })),
  }),
})
