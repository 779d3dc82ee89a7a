// SPDX-License-Identifier: Apache-2.0
// Which partitions of the offsets topic this broker looks after: follows their leadership, loads one after another
// without holding up the rest of the process, tries again what could not be loaded, and sweeps expired offsets. What a
// shard does is its own business.
import type { Partition } from '../partition/partition.ts'
import { ErrorCode } from '../protocol/errors.ts'
import type { CodecLookup } from '../protocol/record-batch.ts'
import type { TimerHandle, Timers } from '../util/seams.ts'
import { partitionOf } from './group-log.ts'
import { GroupReplay } from './group-replay.ts'
import { GroupShard, type ShardEnvironment } from './group-shard.ts'

const RETRY_MS_MIN = 1_000
const RETRY_MS_MAX = 60_000

export interface GroupShardsOptions {
  readonly env: ShardEnvironment
  readonly timers: Timers
  /** Of the offsets topic as it is; 0: there is none. */
  partitionCount(): number
  partitionFor(index: number): Partition | undefined
  readonly codecs?: CodecLookup | undefined
}

interface Load {
  readonly shard: GroupShard
  replay: GroupReplay | undefined
  failures: number
}

export class GroupShards {
  readonly #env: ShardEnvironment
  readonly #timers: Timers
  readonly #partitionCount: () => number
  readonly #partitionFor: (index: number) => Partition | undefined
  readonly #codecs: CodecLookup | undefined
  readonly #attached = new WeakSet<Partition>()
  readonly #shards = new Map<number, GroupShard>()
  /** In the order in which they are loaded. */
  readonly #loads: Load[] = []
  readonly #retries = new Set<TimerHandle>()
  #step: TimerHandle | undefined
  #sweep: TimerHandle | undefined
  #isClosed = false

  constructor(options: GroupShardsOptions) {
    this.#env = options.env
    this.#timers = options.timers
    this.#partitionCount = () => options.partitionCount()
    this.#partitionFor = (index) => options.partitionFor(index)
    this.#codecs = options.codecs
  }

  /** Takes up the partitions that exist, and from now on removes what has expired. */
  start(): void {
    this.attachAll()
    const { offsetsRetentionCheckIntervalMs } = this.#env.config
    this.#sweep ??= this.#timers.every(offsetsRetentionCheckIntervalMs, () => {
      for (const shard of this.#shards.values()) shard.expireOffsets()
    })
  }

  attachAll(): void {
    const count = this.#partitionCount()
    for (let index = 0; index < count; index++) this.#attach(index)
  }

  *all(): Generator<GroupShard, void> {
    yield* this.#shards.values()
  }

  /** By the count that the topic has, whatever the settings say by now; undefined while there is no topic. */
  indexOf(groupId: string): number | undefined {
    const count = this.#partitionCount()
    return count === 0 ? undefined : partitionOf(groupId, count)
  }

  /** The shard that holds the group, when requests for it can be answered here now; else why not. */
  find(groupId: string): GroupShard | number {
    if (this.#isClosed) return ErrorCode.COORDINATOR_NOT_AVAILABLE
    const index = this.indexOf(groupId)
    if (index === undefined) return ErrorCode.NOT_COORDINATOR
    if (!this.#shards.has(index)) this.#attach(index)
    const shard = this.#shards.get(index)
    if (shard === undefined) return ErrorCode.NOT_COORDINATOR
    return shard.error === ErrorCode.NONE ? shard : shard.error
  }

  /** Answers all that is parked and stops; resolves once writes that are under way have an outcome, or in time. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#sweep?.cancel()
    this.#step?.cancel()
    for (const retry of this.#retries) retry.cancel()
    this.#loads.length = 0
    const shards = [...this.#shards.values()]
    await Promise.all(shards.map((shard) => new Promise<void>((resolve) => shard.awaitWrites(() => resolve()))))
    for (const shard of shards) shard.resign()
    this.#shards.clear()
  }

  #attach(index: number): void {
    const partition = this.#partitionFor(index)
    if (partition === undefined || this.#attached.has(partition)) return
    this.#attached.add(partition)
    partition.onLead(() => this.#onLead(index, partition))
    partition.onResign(() => this.#onResign(index, partition))
  }

  #onLead(index: number, partition: Partition): void {
    if (this.#isClosed) return
    // In a new epoch writes of the old one have failed that may yet be in the log: it is read again.
    this.#onResign(index, partition)
    const shard = new GroupShard(index, partition, this.#env)
    this.#shards.set(index, shard)
    if (partition.logStartOffset === partition.logEndOffset) shard.activate(new Map())
    else this.#load({ shard, replay: undefined, failures: 0 })
  }

  #onResign(index: number, partition: Partition): void {
    const shard = this.#shards.get(index)
    if (shard?.partition !== partition) return
    this.#shards.delete(index)
    shard.resign()
  }

  #load(load: Load): void {
    this.#loads.push(load)
    this.#step ??= this.#timers.after(0, () => this.#loadNext())
  }

  #loadNext(): void {
    this.#step = undefined
    const load = this.#loads[0]
    if (load === undefined) return
    if (this.#isOver(load)) this.#loads.shift()
    this.#step = this.#loads.length === 0 ? undefined : this.#timers.after(0, () => this.#loadNext())
  }

  /** Replays a chunk; true when there is nothing more to do for this shard now. */
  #isOver(load: Load): boolean {
    const { shard } = load
    if (this.#shards.get(shard.index) !== shard) return true
    const { logger, config } = this.#env
    try {
      load.replay ??= new GroupReplay(shard, { chunkBytes: config.loadChunkBytes, logger, codecs: this.#codecs })
      if (!load.replay.step()) return false
      const { topic, index } = shard.partition
      logger.info(`Loaded ${shard.entries.size} groups from ${load.replay.recordCount} records of ${topic}-${index}.`)
    } catch (error) {
      this.#retryLater(load, error)
    }
    return true
  }

  #retryLater(load: Load, error: unknown): void {
    const { shard } = load
    shard.fail()
    load.replay = undefined
    const delayMs = Math.min(RETRY_MS_MIN * 2 ** load.failures++, RETRY_MS_MAX)
    const { topic, index } = shard.partition
    const text = error instanceof Error ? error.message : String(error)
    this.#env.logger.error(`The groups of ${topic}-${index} cannot be loaded, next try in ${delayMs} ms: ${text}`)
    const retry = this.#timers.after(delayMs, () => {
      this.#retries.delete(retry)
      if (this.#isClosed || this.#shards.get(index) !== shard) return
      shard.reload()
      this.#load(load)
    })
    this.#retries.add(retry)
  }
}
