// SPDX-License-Identifier: Apache-2.0
// DescribeConfigs (32), versions 1-4.
// Behaviour: topics and this broker, from the config tables; values with the place that each comes from, synonyms and documentation on
// request. An unknown topic is UNKNOWN_TOPIC_OR_PARTITION, another broker's id or another kind of resource
// INVALID_REQUEST (Kafka then fails the other resources of the request too). A resource named twice is answered once.
//   3 types and documentation (KIP-569) · 4 flexible
import { KafkaError } from '../../errors.ts'
import { kafkaErrorOf } from '../../partition/local-partition.ts'
import { DescribeConfigs } from '../../protocol/apis/index.ts'
import type { BrokerServices } from '../broker-services.ts'
import { type DescribedConfig, describeBrokerConfigs, describeTopicConfigs } from '../config/describe.ts'
import { defineHandler } from '../handler.ts'
import { checkTopicName } from '../topics.ts'

const TOPIC = 2
const BROKER = 4

export const describeConfigs = defineHandler<typeof DescribeConfigs>({
  api: DescribeConfigs,
  handle({ broker }, request) {
    // Each once: a short request must not make an answer of any size.
    const asked = new Map(request.resources.map((one) => [`${one.resourceType}/${one.resourceName}`, one]))
    return {
      results: [...asked.values()].map(({ resourceType, resourceName, configurationKeys }) => {
        try {
          // Kafka takes no keys for all keys, too.
          const wanted = configurationKeys?.length ? new Set(configurationKeys) : null
          const configs = configsOf(broker, resourceType, resourceName)
            .filter(({ name }) => wanted === null || wanted.has(name))
            .map((config) => ({
              ...config,
              synonyms: request.includeSynonyms ? config.synonyms : [],
              documentation: request.includeDocumentation ? config.documentation : null,
            }))
          return { errorCode: 0, errorMessage: null, resourceType, resourceName, configs }
        } catch (error) {
          const { errorCode, message } = kafkaErrorOf(error)
          return { errorCode, errorMessage: message, resourceType, resourceName, configs: [] }
        }
      }),
    }
  },
  errorResponse: (request, errorCode) => ({
    results: request.resources.map(({ resourceType, resourceName }) => ({
      errorCode,
      errorMessage: null,
      resourceType,
      resourceName,
      configs: [],
    })),
  }),
})

function configsOf(broker: BrokerServices, resourceType: number, resourceName: string): readonly DescribedConfig[] {
  switch (resourceType) {
    case TOPIC: {
      checkTopicName(resourceName)
      const topic = broker.topics.get(resourceName)
      if (topic === undefined) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
      return describeTopicConfigs(broker.config, topic.overrides)
    }
    case BROKER:
      // The empty name asks for the cluster-wide dynamic defaults: there are none yet.
      if (resourceName === '') return []
      if (!/^-?\d{1,10}$/.test(resourceName))
        throw new KafkaError('INVALID_REQUEST', `Broker id must be an integer, but it is: ${resourceName}`)
      if (Number(resourceName) !== broker.nodeId)
        throw new KafkaError(
          'INVALID_REQUEST',
          `Unexpected broker id, expected ${broker.nodeId} or empty string, but received ${resourceName}`,
        )
      return describeBrokerConfigs(broker.config)
    default:
      throw new KafkaError('INVALID_REQUEST', `Unsupported resource type: ${resourceType}`)
  }
}
