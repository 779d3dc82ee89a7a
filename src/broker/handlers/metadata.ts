// SPDX-License-Identifier: Apache-2.0
// Metadata (3), versions 0-13.
// Behaviour: this broker, named by the address that the client connected to unless advertised.listeners says otherwise; all topics,
// or those asked for by name or (12+) by id. An unknown topic is made when the request and auto.create.topics.enable allow it and
// answered whole at once. A topic asked for twice is answered once. Authorized operations are all of them, as without an authorizer in Kafka.
//   0 an empty list means all · 1 null means all · 4 allowAutoTopicCreation · 8 authorized operations · 10 topic ids
//   12 topics by id · 13 an error for the whole request
import { KafkaError } from '../../errors.ts'
import { kafkaErrorOf } from '../../partition/local-partition.ts'
import type { ResponseInit } from '../../protocol/api.ts'
import { Metadata } from '../../protocol/apis/index.ts'
import { ZERO_UUID } from '../../protocol/schema.ts'
import { CLUSTER_OPERATIONS, TOPIC_OPERATIONS } from '../authorized-operations.ts'
import type { BrokerServices } from '../broker-services.ts'
import { defineHandler } from '../handler.ts'
import { checkTopicName, INTERNAL_TOPICS, type Topic } from '../topics.ts'

type TopicAnswer = NonNullable<ResponseInit<typeof Metadata>['topics']>[number]

export const metadata = defineHandler<typeof Metadata>({
  api: Metadata,
  async handle({ broker, client, header }, request) {
    const version = header.apiVersion
    const everything = request.topics === null || (version === 0 && request.topics.length === 0)
    const mayCreate = request.allowAutoTopicCreation && broker.config.boolean('auto.create.topics.enable')
    const answers: TopicAnswer[] = []
    if (everything) {
      for (const topic of broker.topics.all()) answers.push(described(broker, topic))
    } else {
      if (version < 12 && request.topics!.some(({ name, topicId }) => name === null || topicId !== ZERO_UUID))
        throw new KafkaError('INVALID_REQUEST')
      // Each once: a short request must not make an answer of any size.
      const asked = new Map(request.topics!.map((topic) => [`${topic.topicId}/${topic.name}`, topic]))
      for (const { name, topicId } of asked.values())
        answers.push(
          name === null || topicId !== ZERO_UUID ? byId(broker, topicId, name) : await byName(broker, name, mayCreate),
        )
    }
    if (request.includeTopicAuthorizedOperations)
      for (const answer of answers)
        if (answer.errorCode === 0)
          (answer as { topicAuthorizedOperations: number }).topicAuthorizedOperations = TOPIC_OPERATIONS
    const address = broker.addressFor(client)
    return {
      brokers: [{ nodeId: broker.nodeId, host: address.host, port: address.port, rack: broker.rack }],
      clusterId: broker.clusterId,
      controllerId: broker.nodeId,
      topics: answers,
      ...(request.includeClusterAuthorizedOperations ? { clusterAuthorizedOperations: CLUSTER_OPERATIONS } : {}),
    }
  },
  errorResponse: (request, errorCode) => ({
    brokers: [],
    topics: (request.topics ?? []).map(({ name, topicId }) => ({
      errorCode,
      name: name ?? '',
      topicId,
      partitions: [],
    })),
    errorCode,
  }),
})

function described(broker: BrokerServices, topic: Topic): TopicAnswer {
  const replicas = [broker.nodeId]
  return {
    errorCode: 0,
    name: topic.name,
    topicId: topic.id,
    isInternal: topic.internal,
    partitions: topic.partitions.map((partition, partitionIndex) =>
      partition === null
        ? // Its log can't be opened: no leader, and the one replica is offline.
          {
            errorCode: new KafkaError('LEADER_NOT_AVAILABLE').errorCode,
            partitionIndex,
            leaderId: -1,
            replicaNodes: replicas,
            isrNodes: [],
            offlineReplicas: replicas,
          }
        : {
            errorCode: 0,
            partitionIndex,
            leaderId: broker.nodeId,
            leaderEpoch: partition.leaderEpoch,
            replicaNodes: replicas,
            isrNodes: replicas,
          },
    ),
  }
}

function byId(broker: BrokerServices, topicId: string, name: string | null): TopicAnswer {
  const topic = broker.topics.byId(topicId)
  if (topic !== undefined) return described(broker, topic)
  return { errorCode: new KafkaError('UNKNOWN_TOPIC_ID').errorCode, name, topicId, partitions: [] }
}

async function byName(broker: BrokerServices, name: string, mayCreate: boolean): Promise<TopicAnswer> {
  let topic = broker.topics.get(name)
  try {
    if (topic === undefined) {
      checkTopicName(name)
      if (!mayCreate) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
      topic = await autoCreate(broker, name)
    }
    return described(broker, topic)
  } catch (error) {
    return { errorCode: kafkaErrorOf(error).errorCode, name, isInternal: INTERNAL_TOPICS.has(name), partitions: [] }
  }
}

async function autoCreate(broker: BrokerServices, name: string): Promise<Topic> {
  if (INTERNAL_TOPICS.has(name)) {
    // Only coordinators make these, with settings of their own.
    if (name !== '__consumer_offsets') throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
    await broker.ensureOffsetsTopic()
    return broker.topics.get(name)!
  }
  try {
    return await broker.topics.create({
      name,
      partitionCount: -1,
      replicationFactor: -1,
      assignments: [],
      overrides: new Map(),
    })
  } catch (error) {
    // Another client asked for it at the same time.
    const topic = broker.topics.get(name)
    if (topic !== undefined) return topic
    throw error
  }
}
