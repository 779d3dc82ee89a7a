// SPDX-License-Identifier: Apache-2.0
// CreateTopics (19), versions 2-7.
// Behaviour: each topic is durable, open and served when it is answered. A name given twice is INVALID_REQUEST for that name. Configs
// of the answer are an empty array where there are none: Java's tools fail on null.
//   4 -1 for the broker's defaults (KIP-464) · 5 configs in the answer (KIP-525) · 7 topic ids (KIP-516)
import { KafkaError } from '../../errors.ts'
import { kafkaErrorOf } from '../../partition/local-partition.ts'
import type { Request, ResponseInit } from '../../protocol/api.ts'
import { CreateTopics } from '../../protocol/apis/index.ts'
import type { BrokerServices } from '../broker-services.ts'
import { describeTopicConfigs } from '../config/describe.ts'
import { defineHandler } from '../handler.ts'
import { KRAFT_METADATA_LOG, METADATA_LOG, type TopicToCreate } from '../topics.ts'
import { duplicates } from './duplicates.ts'

type Asked = Request<typeof CreateTopics>['topics'][number]
type Answer = ResponseInit<typeof CreateTopics>['topics'][number]

export const createTopics = defineHandler<typeof CreateTopics>({
  api: CreateTopics,
  async handle({ broker }, request) {
    const twice = duplicates(request.topics.map(({ name }) => name))
    const answers: Answer[] = [...twice].map((name) =>
      failed(name, new KafkaError('INVALID_REQUEST', 'Duplicate topic name.')),
    )
    for (const asked of request.topics) {
      if (twice.has(asked.name)) continue
      try {
        answers.push(await create(broker, asked, request.validateOnly))
      } catch (error) {
        answers.push(failed(asked.name, kafkaErrorOf(error)))
      }
    }
    return { topics: answers }
  },
  errorResponse: (request, errorCode) => ({
    topics: request.topics.map(({ name }) => ({ name, errorCode, errorMessage: null, configs: [] })),
  }),
})

async function create(broker: BrokerServices, asked: Asked, validateOnly: boolean): Promise<Answer> {
  const { name } = asked
  if (name === METADATA_LOG || name === KRAFT_METADATA_LOG)
    throw new KafkaError('INVALID_REQUEST', `Creation of internal topic ${name} is prohibited.`)
  const twice = duplicates(asked.configs.map((config) => config.name))
  if (twice.size > 0) throw new KafkaError('INVALID_CONFIG', `Configuration given twice: ${[...twice].join(', ')}`)
  const topic: TopicToCreate = {
    name,
    partitionCount: asked.numPartitions,
    replicationFactor: asked.replicationFactor,
    assignments: asked.assignments,
    overrides: new Map(asked.configs.map((config) => [config.name, config.value])),
  }
  const counts = broker.topics.checkCreate(topic)
  const created = validateOnly ? undefined : await broker.topics.create(topic)
  return {
    name,
    errorCode: 0,
    errorMessage: null,
    numPartitions: counts.partitionCount,
    replicationFactor: counts.replicationFactor,
    configs: describeTopicConfigs(broker.config, Object.fromEntries(topic.overrides) as Record<string, string>).map(
      ({ name: config, value, readOnly, configSource, isSensitive }) => ({
        name: config,
        value,
        readOnly,
        configSource,
        isSensitive,
      }),
    ),
    ...(created === undefined ? {} : { topicId: created.id }),
  }
}

function failed(name: string, error: KafkaError): Answer {
  return { name, errorCode: error.errorCode, errorMessage: error.message, configs: [] }
}
