// SPDX-License-Identifier: Apache-2.0
// DeleteTopics (20), versions 1-6.
// Behaviour: gone for every client when it is answered; files are removed in the background. A topic named twice, by name or id, is
// INVALID_REQUEST.
//   5 error messages · 6 by topic id (KIP-516)
import { KafkaError } from '../../errors.ts'
import { kafkaErrorOf } from '../../partition/local-partition.ts'
import type { ResponseInit } from '../../protocol/api.ts'
import { DeleteTopics } from '../../protocol/apis/index.ts'
import { ZERO_UUID } from '../../protocol/schema.ts'
import { defineHandler } from '../handler.ts'
import { duplicates } from './duplicates.ts'

type Answer = ResponseInit<typeof DeleteTopics>['responses'][number]

export const deleteTopics = defineHandler<typeof DeleteTopics>({
  api: DeleteTopics,
  async handle({ broker, header }, request) {
    const asked: Array<{ name: string | null; topicId: string }> =
      header.apiVersion >= 6 ? [...request.topics] : request.topicNames.map((name) => ({ name, topicId: ZERO_UUID }))
    const resolved = asked.map((one) => ({ ...one, resolved: one.name ?? broker.topics.byId(one.topicId)?.name }))
    const twice = duplicates(resolved.map((one) => one.resolved ?? one.topicId))
    const answers: Answer[] = []
    for (const one of resolved) {
      const { name, topicId } = one
      try {
        if ((name === null) === (topicId === ZERO_UUID))
          throw new KafkaError('INVALID_REQUEST', 'Give either a topic name or a topic id.')
        if (one.resolved === undefined) throw new KafkaError('UNKNOWN_TOPIC_ID')
        if (twice.has(one.resolved)) throw new KafkaError('INVALID_REQUEST', 'The topic was named more than once.')
        const id = broker.topics.get(one.resolved)?.id ?? topicId
        await broker.topics.delete(one.resolved)
        answers.push({ name: one.resolved, topicId: id, errorCode: 0 })
      } catch (error) {
        const failure = kafkaErrorOf(error)
        answers.push({
          name: name ?? (header.apiVersion >= 6 ? null : ''),
          topicId,
          errorCode: failure.errorCode,
          errorMessage: failure.message,
        })
      }
    }
    return { responses: answers }
  },
  errorResponse: (request, errorCode) => ({
    responses: [
      ...request.topics.map(({ name, topicId }) => ({ name, topicId, errorCode })),
      ...request.topicNames.map((name) => ({ name, errorCode })),
    ],
  }),
})
