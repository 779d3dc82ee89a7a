// SPDX-License-Identifier: Apache-2.0
// Topics: the topics of this broker as the metadata store has them, with their open partitions. Checks what is asked for, writes it to
// the store, and follows the store's changes: opening, publishing and closing partitions happens there and nowhere else.
import type { Logger } from 'pino'
import type { Change, MetadataStore } from '../cluster/metadata-store.ts'
import { KafkaError } from '../errors.ts'
import type { DataPlane } from '../partition/data-plane.ts'
import { kafkaErrorOf, type LocalPartition } from '../partition/local-partition.ts'
import type { NativePartitionConfig } from '../storage/native.ts'
import { StorageError } from '../storage/storage-error.ts'
import type { Seams, TimerHandle } from '../util/seams.ts'
import { randomUuid, uuidBytes } from '../util/uuid.ts'
import { acceptedTopicConfigs, type BrokerConfig, checkTopicConfigs, TopicConfig } from './config/config.ts'

export interface Topic {
  readonly name: string
  /** 22 characters of base64url. */
  readonly id: string
  readonly internal: boolean
  readonly config: TopicConfig
  /** What was set for this topic alone. */
  readonly overrides: Readonly<Record<string, string>>
  /** By index; null where the log can't be opened: the partition is offline. */
  readonly partitions: ReadonlyArray<LocalPartition | null>
}

export interface TopicToCreate {
  readonly name: string
  /** -1: num.partitions */
  readonly partitionCount: number
  /** -1: default.replication.factor */
  readonly replicationFactor: number
  /** Replicas by partition; empty: assigned here. */
  readonly assignments: ReadonlyArray<{ readonly partitionIndex: number; readonly brokerIds: readonly number[] }>
  readonly overrides: ReadonlyMap<string, string | null>
  /** Of a topic that is already on disk; default: a new one. */
  readonly id?: string
  /** Leader epoch that the topic's logs have reached; default -1. */
  readonly reachedEpoch?: number
}

/** What the store keeps of a topic. */
interface TopicRecord {
  readonly id: string
  readonly partitions: number
  /** The leader epoch is this plus the broker's generation: every start of the broker is a new epoch. */
  readonly epochBase: number
  readonly configs: Readonly<Record<string, string>>
}

/** The local metadata store's own log; no topic, so no client reaches it. */
export const METADATA_LOG = '__varve_metadata'
/** Written by an Apache Kafka in KRaft mode into the directories that we can open; not ours to serve. */
export const KRAFT_METADATA_LOG = '__cluster_metadata'

interface TopicSettings {
  readonly config: TopicConfig
  readonly partitionConfig: NativePartitionConfig
  readonly minInsyncReplicas: number
}

const PREFIX = '/topics/'
const NAME = /^[a-zA-Z0-9._-]{1,249}$/
/** Of one topic. Beyond it a typing error would fill the disk's inodes. */
const PARTITIONS_MAX = 100_000
/** How often partitions that found no space when they were opened are tried again. */
const REOPEN_MS = 1000
export const INTERNAL_TOPICS: ReadonlySet<string> = new Set([
  '__consumer_offsets',
  '__transaction_state',
  '__share_group_state',
])

export class Topics {
  readonly #store: MetadataStore
  readonly #plane: DataPlane
  readonly #config: BrokerConfig
  readonly #seams: Seams
  readonly #log: Logger
  readonly #nodeId: number
  readonly #generation: number
  readonly #byName = new Map<string, Topic>()
  readonly #byId = new Map<string, Topic>()
  /** Names by what they would be as metric names. */
  readonly #byMetricName = new Map<string, string>()
  readonly #deletedListeners: Array<(name: string) => void> = []
  #watch: { cancel(): void } | undefined
  // Partitions that a full disk has no directory for yet, as topic to indexes. Other failures stay until a restart.
  readonly #withoutSpace = new Map<string, Set<number>>()
  #reopening: TimerHandle | undefined
  /** Of topics that set nothing of their own. */
  #defaults: TopicSettings | undefined

  constructor(options: {
    store: MetadataStore
    plane: DataPlane
    config: BrokerConfig
    seams: Seams
    log: Logger
    nodeId: number
    /** How often this broker was started. */
    generation: number
  }) {
    this.#store = options.store
    this.#plane = options.plane
    this.#config = options.config
    this.#seams = options.seams
    this.#log = options.log
    this.#nodeId = options.nodeId
    this.#generation = options.generation
  }

  /** Opens what the store has and follows it from then on. */
  open(): void {
    this.#watch = this.#store.watch(0, (change) => this.#onChange(change))
  }

  close(): void {
    this.#watch?.cancel()
    this.#reopening?.cancel()
    this.#withoutSpace.clear()
    const stopping = new KafkaError('NOT_LEADER_OR_FOLLOWER', 'the broker is stopping')
    for (const topic of this.#byName.values()) for (const partition of topic.partitions) partition?.close(stopping)
  }

  get(name: string): Topic | undefined {
    return this.#byName.get(name)
  }
  byId(id: string): Topic | undefined {
    return this.#byId.get(id)
  }
  /** In order of creation. */
  all(): Topic[] {
    return [...this.#byName.values()]
  }
  onDeleted(listener: (name: string) => void): void {
    this.#deletedListeners.push(listener)
  }

  /** The partition, or the KafkaError that a client asking for it gets. */
  partition(name: string, index: number): LocalPartition | KafkaError {
    const topic = this.#byName.get(name)
    if (topic === undefined || index < 0 || index >= topic.partitions.length)
      return new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
    return topic.partitions[index] ?? new KafkaError('KAFKA_STORAGE_ERROR')
  }

  /** What create() would refuse; returns the counts that the topic would get. */
  checkCreate(topic: TopicToCreate): { partitionCount: number; replicationFactor: number } {
    checkTopicName(topic.name)
    if (this.#byName.has(topic.name))
      throw new KafkaError('TOPIC_ALREADY_EXISTS', `Topic '${topic.name}' already exists.`)
    // `a.b` and `a_b` would share metric names: Kafka refuses the second.
    const colliding = this.#byMetricName.get(metricName(topic.name))
    if (colliding !== undefined)
      throw new KafkaError(
        'INVALID_TOPIC_EXCEPTION',
        `Topic '${topic.name}' collides with existing topic: ${colliding}`,
      )
    checkTopicConfigs(topic.overrides)
    if (topic.assignments.length > 0) return this.#checkAssignments(topic)
    const partitionCount = topic.partitionCount === -1 ? this.#config.number('num.partitions') : topic.partitionCount
    if (partitionCount < 1)
      throw new KafkaError('INVALID_PARTITIONS', 'Number of partitions was set to an invalid non-positive value.')
    checkPartitionCount(partitionCount)
    const replicationFactor =
      topic.replicationFactor === -1 ? this.#config.number('default.replication.factor') : topic.replicationFactor
    if (replicationFactor < 1)
      throw new KafkaError(
        'INVALID_REPLICATION_FACTOR',
        'Replication factor must be larger than 0, or -1 to use the default value.',
      )
    if (replicationFactor > 1)
      throw new KafkaError(
        'INVALID_REPLICATION_FACTOR',
        `Unable to replicate the partition ${replicationFactor} time(s): The target replication factor of ${replicationFactor} cannot be reached because only 1 broker(s) are registered.`,
      )
    return { partitionCount, replicationFactor }
  }

  /** Makes the topic: durable and served when it resolves. Throws what checkCreate throws. */
  async create(topic: TopicToCreate): Promise<Topic> {
    const { partitionCount } = this.checkCreate(topic)
    const record: TopicRecord = {
      id: topic.id ?? randomUuid(this.#seams.rng),
      partitions: partitionCount,
      epochBase: (topic.reachedEpoch ?? -1) + 1 - this.#generation,
      configs: Object.fromEntries([...topic.overrides].map(([name, text]) => [name, text!])),
    }
    const key = PREFIX + topic.name
    const result = await this.#store.txn([{ key, revision: 0 }], [{ put: key, value: JSON.stringify(record) }])
    if (!result.succeeded) throw new KafkaError('TOPIC_ALREADY_EXISTS', `Topic '${topic.name}' already exists.`)
    return this.#byName.get(topic.name)!
  }

  /** Throws when the count can't be grown to `total`. */
  checkGrow(name: string, total: number, assignments: ReadonlyArray<readonly number[]> | null): void {
    const topic = this.#byName.get(name)
    if (topic === undefined) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
    if (topic.internal)
      throw new KafkaError(
        'POLICY_VIOLATION',
        `${name} keeps its partition count: what is in it is found by a hash over that count, and would be lost.`,
      )
    const now = topic.partitions.length
    if (total < now)
      throw new KafkaError(
        'INVALID_PARTITIONS',
        `The topic ${name} currently has ${now} partition(s); ${total} would not be an increase.`,
      )
    if (total === now) throw new KafkaError('INVALID_PARTITIONS', `Topic already has ${now} partition(s).`)
    checkPartitionCount(total)
    if (assignments === null) return
    if (assignments.length !== total - now)
      throw new KafkaError(
        'INVALID_REPLICA_ASSIGNMENT',
        `Attempted to add ${total - now} additional partition(s), but only ${assignments.length} assignment(s) were specified.`,
      )
    for (const brokerIds of assignments) this.#checkReplicas(brokerIds)
  }

  async grow(name: string, total: number): Promise<void> {
    await this.#update(name, (record) => ({ ...record, partitions: total }))
  }

  async delete(name: string): Promise<void> {
    if (!this.#config.boolean('delete.topic.enable')) throw new KafkaError('TOPIC_DELETION_DISABLED')
    const key = PREFIX + name
    const entry = this.#store.get(key)
    if (entry === undefined) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
    const result = await this.#store.txn([{ key, revision: entry.revision }], [{ delete: key }])
    if (!result.succeeded) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
  }

  async #update(name: string, change: (record: TopicRecord) => TopicRecord): Promise<void> {
    const key = PREFIX + name
    for (;;) {
      const entry = this.#store.get(key)
      if (entry === undefined) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
      const value = JSON.stringify(change(JSON.parse(entry.value) as TopicRecord))
      const result = await this.#store.txn([{ key, revision: entry.revision }], [{ put: key, value }])
      if (result.succeeded) return
    }
  }

  #onChange(change: Change): void {
    if (!change.key.startsWith(PREFIX)) return
    const name = change.key.slice(PREFIX.length)
    if (change.value === null) this.#remove(name)
    else this.#put(name, JSON.parse(change.value) as TopicRecord)
  }

  #put(name: string, record: TopicRecord): void {
    const old = this.#byName.get(name)
    const overrides = acceptedTopicConfigs(record.configs, (config, value, why) =>
      this.#log.error({ topic: name, config, value, why }, 'stored topic config is not valid here; the default holds'),
    )
    const { config, partitionConfig, minInsyncReplicas } = this.#settings(overrides)
    const internal = INTERNAL_TOPICS.has(name)
    // Before its partitions: the plane publishes those under their topic.
    if (old === undefined)
      this.#plane.publishTopic({
        name,
        id: uuidBytes(record.id)!,
        mayWrite: true,
        mayRead: true,
        internal,
        deadlineMonoMs: -1,
      })
    const partitions = [...(old?.partitions ?? [])]
    for (const partition of partitions) partition?.setConfig(partitionConfig)
    for (const index of this.#withoutSpace.get(name) ?? [])
      partitions[index] = this.#openPartition(name, index, record, partitionConfig, minInsyncReplicas)
    while (partitions.length < record.partitions)
      partitions.push(this.#openPartition(name, partitions.length, record, partitionConfig, minInsyncReplicas))
    const topic: Topic = {
      name,
      id: record.id,
      internal,
      config,
      overrides,
      partitions,
    }
    this.#byName.set(name, topic)
    this.#byMetricName.set(metricName(name), name)
    this.#byId.set(record.id, topic)
  }

  /** Most topics set nothing of their own: the broker's configs don't change, and a start resolves them once. */
  #settings(overrides: Readonly<Record<string, string>>): TopicSettings {
    const none = Object.keys(overrides).length === 0
    if (none && this.#defaults !== undefined) return this.#defaults
    const config = new TopicConfig(this.#config, overrides)
    const settings = {
      config,
      partitionConfig: config.partition(),
      minInsyncReplicas: config.number('min.insync.replicas'),
    }
    if (none) this.#defaults = settings
    return settings
  }

  #openPartition(
    name: string,
    index: number,
    record: TopicRecord,
    config: NativePartitionConfig,
    minInsyncReplicas: number,
  ): LocalPartition | null {
    try {
      const partition = this.#plane.openPartition(name, index, config, record.id)
      partition.applyState({
        isLeader: true,
        leaderId: this.#nodeId,
        leaderEpoch: record.epochBase + this.#generation,
        localId: this.#nodeId,
        isr: [this.#nodeId],
        minInsyncReplicas,
      })
      this.#withoutSpace.get(name)?.delete(index)
      return partition
    } catch (error) {
      if (error instanceof StorageError && error.code === 'NO_SPACE') {
        if (this.#waitForSpace(name, index)) return null
      } else {
        this.#withoutSpace.get(name)?.delete(index)
      }
      this.#log.error({ err: error, topic: name, partition: index }, 'partition is offline')
      return null
    }
  }

  /** Tries again in a while; true: it was waiting already. */
  #waitForSpace(name: string, index: number): boolean {
    const indexes = this.#withoutSpace.get(name) ?? new Set()
    this.#withoutSpace.set(name, indexes)
    this.#reopening ??= this.#seams.timers.after(REOPEN_MS, () => this.#reopen())
    if (indexes.has(index)) return true
    indexes.add(index)
    return false
  }

  #reopen(): void {
    this.#reopening = undefined
    for (const [name, indexes] of [...this.#withoutSpace]) {
      const entry = this.#store.get(PREFIX + name)
      if (entry === undefined || indexes.size === 0) this.#withoutSpace.delete(name)
      else this.#put(name, JSON.parse(entry.value) as TopicRecord)
    }
  }

  #remove(name: string): void {
    const topic = this.#byName.get(name)
    if (topic === undefined) return
    this.#byName.delete(name)
    this.#byMetricName.delete(metricName(name))
    this.#byId.delete(topic.id)
    this.#withoutSpace.delete(name)
    this.#plane.removeTopic(name)
    const gone = new KafkaError('UNKNOWN_TOPIC_OR_PARTITION')
    topic.partitions.forEach((partition, index) => {
      if (partition === null) return
      partition.close(gone)
      try {
        this.#plane.deleteLog(name, index)
      } catch (error) {
        this.#log.error({ err: kafkaErrorOf(error), topic: name, partition: index }, 'log could not be deleted')
      }
    })
    for (const listener of this.#deletedListeners) listener(name)
  }

  #checkAssignments(topic: TopicToCreate): { partitionCount: number; replicationFactor: number } {
    if (topic.partitionCount !== -1 || topic.replicationFactor !== -1)
      throw new KafkaError('INVALID_REQUEST', 'Both partition or replica counts and assignments were given.')
    const indexes = new Set<number>()
    for (const { partitionIndex, brokerIds } of topic.assignments) {
      if (indexes.has(partitionIndex))
        throw new KafkaError(
          'INVALID_REPLICA_ASSIGNMENT',
          `Found multiple manual partition assignments for partition ${partitionIndex}`,
        )
      indexes.add(partitionIndex)
      this.#checkReplicas(brokerIds)
    }
    for (let index = 0; index < indexes.size; index++)
      if (!indexes.has(index))
        throw new KafkaError(
          'INVALID_REPLICA_ASSIGNMENT',
          'partitions should be a consecutive 0-based integer sequence',
        )
    checkPartitionCount(indexes.size)
    return { partitionCount: indexes.size, replicationFactor: 1 }
  }

  #checkReplicas(brokerIds: readonly number[]): void {
    if (brokerIds.length === 0)
      throw new KafkaError(
        'INVALID_REPLICA_ASSIGNMENT',
        'The manual partition assignment includes an empty replica list.',
      )
    if (new Set(brokerIds).size !== brokerIds.length)
      throw new KafkaError(
        'INVALID_REPLICA_ASSIGNMENT',
        'The manual partition assignment includes a broker more than once.',
      )
    for (const brokerId of brokerIds)
      if (brokerId !== this.#nodeId)
        throw new KafkaError(
          'INVALID_REPLICA_ASSIGNMENT',
          `The manual partition assignment includes broker ${brokerId}, but no such broker is registered.`,
        )
  }
}

function metricName(name: string): string {
  return name.replaceAll('.', '_')
}

export function checkTopicName(name: string): void {
  const fail = (why: string): never => {
    throw new KafkaError('INVALID_TOPIC_EXCEPTION', why)
  }
  if (name === '') fail('Topic name is invalid: the empty string is not allowed')
  if (name === '.' || name === '..') fail(`Topic name is invalid: '${name}' is not allowed`)
  if (name.length > 249)
    fail(`Topic name is invalid: the length of '${name}' is longer than the max allowed length 249`)
  if (!NAME.test(name))
    fail(
      `Topic name is invalid: '${name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'`,
    )
}

function checkPartitionCount(count: number): void {
  if (count > PARTITIONS_MAX)
    throw new KafkaError(
      'POLICY_VIOLATION',
      `A topic may have at most ${PARTITIONS_MAX} partitions, ${count} were asked for.`,
    )
}
