// SPDX-License-Identifier: Apache-2.0
// CreatePartitions (37), versions 0-3.
// Behaviour: grows topics to the counts given; a count that is not larger is INVALID_PARTITIONS, a name given twice INVALID_REQUEST.
// Internal topics are POLICY_VIOLATION: Kafka grows them, and loses the offsets of most groups at its next start.
import { KafkaError } from '../../errors.ts'
import { kafkaErrorOf } from '../../partition/local-partition.ts'
import type { ResponseInit } from '../../protocol/api.ts'
import { CreatePartitions } from '../../protocol/apis/index.ts'
import { defineHandler } from '../handler.ts'
import { duplicates } from './duplicates.ts'

type Answer = ResponseInit<typeof CreatePartitions>['results'][number]

export const createPartitions = defineHandler<typeof CreatePartitions>({
  api: CreatePartitions,
  async handle({ broker }, request) {
    const twice = duplicates(request.topics.map(({ name }) => name))
    const results: Answer[] = []
    for (const name of twice)
      results.push({
        name,
        errorCode: new KafkaError('INVALID_REQUEST').errorCode,
        errorMessage: 'Duplicate topic name.',
      })
    for (const { name, count, assignments } of request.topics) {
      if (twice.has(name)) continue
      try {
        broker.topics.checkGrow(name, count, assignments?.map(({ brokerIds }) => brokerIds) ?? null)
        if (!request.validateOnly) await broker.topics.grow(name, count)
        results.push({ name, errorCode: 0 })
      } catch (error) {
        const failure = kafkaErrorOf(error)
        results.push({ name, errorCode: failure.errorCode, errorMessage: failure.message })
      }
    }
    return { results }
  },
  errorResponse: (request, errorCode) => ({ results: request.topics.map(({ name }) => ({ name, errorCode })) }),
})
