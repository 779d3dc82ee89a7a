// SPDX-License-Identifier: Apache-2.0
// Broker: the composition root. Opens the engine, the plane, the metadata, topics and coordinators, then the listeners, and stops them in the
// opposite order. Many may live in one process. Decides nothing itself.
import type { Logger } from 'pino'
import { LocalMetadataStore } from '../cluster/local-metadata-store.ts'
import type { MetadataStore } from '../cluster/metadata-store.ts'
import { GroupCoordinator } from '../coordinator/group-coordinator.ts'
import { KafkaError } from '../errors.ts'
import { DataPlane } from '../partition/data-plane.ts'
import { nativeCodec } from '../storage/codec.ts'
import { type NativeEngine, native } from '../storage/native.ts'
import type { Seams } from '../util/seams.ts'
import { randomUuid } from '../util/uuid.ts'
import type { BrokerServices } from './broker-services.ts'
import { type BrokerConfig, TopicConfig } from './config/config.ts'
import { groupCoordinatorConfig, OFFSETS_TOPIC, offsetsTopic } from './group-offsets-topic.ts'
import { importLogs } from './import-logs.ts'
import { type ListenAddress, Listeners, parseAdvertised } from './listeners.ts'
import { readMetaProperties, writeMetaProperties } from './meta-properties.ts'
import { ProducerIds } from './producer-ids.ts'
import { KRAFT_METADATA_LOG, METADATA_LOG, Topics } from './topics.ts'

export interface BrokerOptions {
  readonly config: BrokerConfig
  /** Keep records and metadata in memory: they go with the broker. */
  readonly memory: boolean
  readonly listen: readonly ListenAddress[]
  readonly seams: Seams
  readonly log: Logger
}

const GENERATION_KEY = '/broker/generation'
const CLUSTER_ID_KEY = '/cluster/id'
const MAINTAIN_MS = 1000
const DRAIN_MS = 2000
// The metadata log's batches hold whole snapshots.
const METADATA_BATCH_BYTES_MAX = 256 << 20

export class Broker implements BrokerServices {
  readonly config: BrokerConfig
  readonly seams: Seams
  readonly log: Logger
  readonly nodeId: number
  readonly clusterId: string
  readonly plane: DataPlane
  readonly topics: Topics
  readonly producerIds: ProducerIds
  readonly groups: GroupCoordinator
  readonly listeners: Listeners
  /** By listener name; empty: clients are told the address that they connected to. */
  readonly advertised: ReadonlyMap<string, { readonly host: string; readonly port: number }>
  readonly #engine: NativeEngine
  readonly #store: MetadataStore
  readonly #maintenance: { cancel(): void }
  #creatingOffsetsTopic: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  /** Resolves when it accepts connections. Throws StorageError (LOCKED, IO, ...) or Error with what to do. */
  static async start(options: BrokerOptions): Promise<Broker> {
    const { config, memory } = options
    const directories = memory ? ['/memory'] : config.logDirectories
    const engine = await native.openEngine({
      directories,
      memory,
      appendIo: config.string('log.append.io') as 'auto' | 'mmap' | 'pwrite',
      flushMode: config.string('flush.mode') as 'commit' | 'os',
      flushMaxDelayMs: config.number('flush.max.delay.ms'),
      checkpointIntervalMs: config.number('log.flush.offset.checkpoint.interval.ms'),
      producerIdExpirationMs: config.number('producer.id.expiration.ms'),
      defaults: new TopicConfig(config, {}).log(),
    })
    let broker: Broker | undefined
    try {
      for (const { path, cleanStart, recoveredBytes } of engine.directories())
        if (!cleanStart && recoveredBytes > 0)
          options.log.info(
            { directory: path, recoveredBytes },
            'not stopped cleanly the last time: scanned what was new',
          )
      for (const problem of engine.problems()) options.log.error({ problem }, 'found wrong when logs were opened')
      const plane = new DataPlane(engine, planeOptions(config), options.seams)
      const store = openStore(plane, config, options.seams)
      const known = memory ? null : readMetaProperties(directories)
      const clusterId = await claim(store, CLUSTER_ID_KEY, () => known?.clusterId ?? randomUuid(options.seams.rng))
      if (known !== null && known.clusterId !== clusterId)
        throw new KafkaError(
          'INCONSISTENT_CLUSTER_ID',
          `meta.properties in ${directories.join(', ')} names cluster ${known.clusterId}, the metadata in it ${clusterId}: they were not written by one broker`,
        )
      if (!memory) writeMetaProperties(directories, { clusterId, nodeId: config.number('node.id') })
      const generation = await nextGeneration(store)
      broker = new Broker(options, { engine, plane, store, clusterId, generation })
      broker.topics.open()
      await importLogs(
        engine,
        broker.topics,
        broker.producerIds,
        broker.log,
        new Set([METADATA_LOG, KRAFT_METADATA_LOG]),
        generation === 0,
      )
      broker.groups.start()
      for (const address of options.listen) await broker.listeners.listen(address)
      return broker
    } catch (error) {
      if (broker !== undefined) await broker.stop()
      else await engine.close()
      throw error
    }
  }

  private constructor(
    options: BrokerOptions,
    opened: { engine: NativeEngine; plane: DataPlane; store: MetadataStore; clusterId: string; generation: number },
  ) {
    const { config, seams, log } = options
    this.config = config
    this.seams = seams
    this.log = log
    this.nodeId = config.number('node.id')
    this.clusterId = opened.clusterId
    this.#engine = opened.engine
    this.plane = opened.plane
    this.#store = opened.store
    this.advertised = new Map(
      config.list('advertised.listeners').map((text) => [parseAdvertised(text).name, parseAdvertised(text)]),
    )
    this.topics = new Topics({
      store: opened.store,
      plane: opened.plane,
      config,
      seams,
      log,
      nodeId: this.nodeId,
      generation: opened.generation,
    })
    this.producerIds = new ProducerIds(opened.store)
    this.groups = new GroupCoordinator({
      config: groupCoordinatorConfig(config),
      seams,
      logger: {
        info: (text) => log.info(text),
        warn: (text) => log.warn(text),
        error: (text) => log.error(text),
      },
      nodeId: this.nodeId,
      // Offline is not gone: its offsets are kept.
      topicExists: (topic, partition) => this.topics.get(topic)?.partitions[partition] !== undefined,
      ensureOffsetsTopic: () => this.ensureOffsetsTopic(),
      partitionCount: () => this.topics.get(OFFSETS_TOPIC)?.partitions.length ?? 0,
      partitionFor: (index) => this.topics.get(OFFSETS_TOPIC)?.partitions[index] ?? undefined,
      codecs: nativeCodec,
    })
    this.topics.onDeleted((name) => this.groups.onTopicDeleted(name))
    this.listeners = new Listeners(this)
    this.#maintenance = this.#maintain()
  }

  addressFor(client: { listenerName: string; localAddress: { host: string; port: number } | null }): {
    host: string
    port: number
  } {
    const advertised = this.advertised.get(client.listenerName)
    if (advertised !== undefined) return advertised
    if (client.localAddress !== null) return client.localAddress
    const tcp = this.listeners.addresses.find((address) => address.kind === 'tcp')
    return tcp?.kind === 'tcp' ? { host: tcp.host, port: tcp.port } : { host: 'localhost', port: 0 }
  }

  get rack(): string | null {
    return this.config.effective('broker.rack').text
  }

  ensureOffsetsTopic(): Promise<void> {
    if (this.topics.get(OFFSETS_TOPIC) !== undefined) return Promise.resolve()
    this.#creatingOffsetsTopic ??= this.topics
      .create(offsetsTopic(this.config))
      .then(() => undefined)
      .finally(() => {
        this.#creatingOffsetsTopic = undefined
      })
    return this.#creatingOffsetsTopic
  }

  /** Lets requests under way finish, then stops cleanly. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#maintenance.cancel()
    // Members are told to look for another coordinator; their answers go out while connections drain.
    const groups = this.groups.shutdown()
    await this.listeners.close(DRAIN_MS)
    await groups
    this.topics.close()
    await this.#store.close()
    this.plane.close()
    await this.#engine.close()
  }

  #maintain(): { cancel(): void } {
    const { clock, timers } = this.seams
    const retentionCheckMs = this.config.number('log.retention.check.interval.ms')
    let checkedMs = clock.monoMs()
    return timers.every(MAINTAIN_MS, () => {
      const due = clock.monoMs() - checkedMs >= retentionCheckMs
      if (due) checkedMs = clock.monoMs()
      this.#engine.maintain(clock.wallMs(), due)
    })
  }
}

function planeOptions(config: BrokerConfig) {
  const outputBytesMax = 8 << 20
  const receivedBytesMax = config.number('queued.max.request.bytes')
  return {
    requestBytesMax: config.number('socket.request.max.bytes'),
    outputBytesMax,
    receivedBytesMax: receivedBytesMax > 0 ? receivedBytesMax : Number.MAX_SAFE_INTEGER,
    fetchBytesMax: config.number('fetch.max.bytes'),
    frameDeadlineMs: 30_000,
    writeDeadlineMs: 60_000,
    requestsInFlightMax: 1000,
  }
}

function openStore(plane: DataPlane, config: BrokerConfig, seams: Seams): MetadataStore {
  const topicConfig = new TopicConfig(config, {}).partition()
  const log = plane.openPartition(METADATA_LOG, 0, {
    ...topicConfig,
    maxMessageBytes: METADATA_BATCH_BYTES_MAX,
    log: { ...topicConfig.log, retentionMs: -1, retentionBytes: -1, cleanupCompact: false, logAppendTime: false },
  })
  log.applyState({ isLeader: true, leaderId: 0, leaderEpoch: 0, localId: 0, isr: [0], minInsyncReplicas: 1 })
  return LocalMetadataStore.open(log, seams.clock)
}

/** The value of a key, put when it is missing. */
async function claim(store: MetadataStore, key: string, make: () => string): Promise<string> {
  const entry = store.get(key)
  if (entry !== undefined) return entry.value
  await store.txn([{ key, revision: 0 }], [{ put: key, value: make() }])
  return store.get(key)!.value
}

/** Counts the starts of this broker: every start is a leader epoch of its own. */
async function nextGeneration(store: MetadataStore): Promise<number> {
  const generation = Number(store.get(GENERATION_KEY)?.value ?? '-1') + 1
  await store.txn([], [{ put: GENERATION_KEY, value: String(generation) }])
  return generation
}
