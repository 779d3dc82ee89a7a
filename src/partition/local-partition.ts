// SPDX-License-Identifier: Apache-2.0
// LocalPartition: this broker's replica of a partition, over the native one. Tells coordinators when it leads.
import { KafkaError } from '../errors.ts'
import { errorByCode } from '../protocol/errors.ts'
import {
  InfoOut,
  type NativePartition,
  type NativePartitionConfig,
  type NativePartitionState,
  type NativeTimestampOffset,
} from '../storage/native.ts'
import { StorageError } from '../storage/storage-error.ts'
import type { Clock } from '../util/seams.ts'
import type { Acks, AppendedRange, Partition } from './partition.ts'

const info = new Float64Array(6)

export class LocalPartition implements Partition {
  readonly topic: string
  readonly index: number
  readonly #native: NativePartition
  readonly #clock: Clock
  readonly #leadListeners: Array<(leaderEpoch: number) => void> = []
  readonly #resignListeners: Array<(leaderEpoch: number) => void> = []
  #leading = -1

  constructor(topic: string, index: number, partition: NativePartition, clock: Clock) {
    this.topic = topic
    this.index = index
    this.#native = partition
    this.#clock = clock
  }

  get leaderEpoch(): number {
    return this.#info(InfoOut.leaderEpoch)
  }
  get logStartOffset(): number {
    return this.#info(InfoOut.logStartOffset)
  }
  get logEndOffset(): number {
    return this.#info(InfoOut.logEndOffset)
  }
  get highWatermark(): number {
    return this.#info(InfoOut.highWatermark)
  }
  /** What read_committed consumers stop at. */
  get lastStableOffset(): number {
    return this.#info(InfoOut.lastStableOffset)
  }

  append(batches: Uint8Array, acks: Acks): Promise<AppendedRange> {
    return new Promise((resolve, reject) => {
      this.#native.append(batches, acks, this.#clock.wallMs(), (appended) => {
        if (appended.error === 0) resolve(appended)
        else reject(new KafkaError(errorByCode(appended.error).name))
      })
    })
  }

  read(offset: number, maxBytes: number, options: { upTo?: 'highWatermark' | 'logEnd' } = {}): Uint8Array {
    try {
      return this.#native.read(offset, maxBytes, options.upTo === 'logEnd')
    } catch (error) {
      throw kafkaErrorOf(error)
    }
  }

  onLead(listener: (leaderEpoch: number) => void): void {
    this.#leadListeners.push(listener)
    if (this.#leading >= 0) listener(this.#leading)
  }

  onResign(listener: (leaderEpoch: number) => void): void {
    this.#resignListeners.push(listener)
  }

  /** The control plane's decision; the data plane obeys it when this returns. */
  applyState(state: NativePartitionState): void {
    this.#native.applyState(state)
    const was = this.#leading
    this.#leading = state.isLeader ? state.leaderEpoch : -1
    if (was >= 0 && this.#leading !== was) for (const listener of this.#resignListeners) listener(was)
    if (this.#leading >= 0 && this.#leading !== was) for (const listener of this.#leadListeners) listener(this.#leading)
  }

  setConfig(config: NativePartitionConfig): void {
    this.#native.setConfig(config)
  }

  /** The first record at or after a time: {-1, -1} when there is none. */
  offsetForTimestamp(timestampMs: number, readCommitted: boolean): NativeTimestampOffset {
    return this.#native.offsetForTimestamp(timestampMs, readCommitted)
  }

  offsetOfMaxTimestamp(readCommitted: boolean): NativeTimestampOffset {
    return this.#native.offsetOfMaxTimestamp(readCommitted)
  }

  endOffsetForEpoch(leaderEpoch: number): { leaderEpoch: number; endOffset: number } {
    return this.#native.endOffsetForEpoch(leaderEpoch)
  }

  epochForOffset(offset: number): number {
    return this.#native.epochForOffset(offset)
  }

  /** Forgets the records below `offset`. Throws KafkaError OFFSET_OUT_OF_RANGE above the high watermark. */
  deleteBefore(offset: number): void {
    try {
      this.#native.advanceStartOffset(offset)
    } catch (error) {
      throw kafkaErrorOf(error)
    }
  }

  /** Ends it: waiters get `error`. */
  close(error: KafkaError): void {
    const was = this.#leading
    this.#leading = -1
    this.#native.close(error.errorCode)
    if (was >= 0) for (const listener of this.#resignListeners) listener(was)
  }

  #info(index: number): number {
    this.#native.info(info)
    return info[index]!
  }
}

/** What a client is told of a failure of the engine: the one mapping from its codes to Kafka's. */
export function kafkaErrorOf(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error
  if (!(error instanceof StorageError)) return new KafkaError('UNKNOWN_SERVER_ERROR', undefined, { cause: error })
  const { code } = error
  switch (code) {
    case 'OUT_OF_RANGE':
      return new KafkaError('OFFSET_OUT_OF_RANGE', error.message, { cause: error })
    case 'CORRUPT':
    case 'NO_SPACE':
    case 'IO':
    case 'CLOSED':
    case 'LOCKED':
      return new KafkaError('KAFKA_STORAGE_ERROR', error.message, { cause: error })
    case 'UNSUPPORTED':
      return new KafkaError('UNSUPPORTED_COMPRESSION_TYPE', error.message, { cause: error })
    case 'TOO_LARGE':
      return new KafkaError('MESSAGE_TOO_LARGE', error.message, { cause: error })
    case 'NOT_FOUND':
    case 'INVALID':
      return new KafkaError('UNKNOWN_SERVER_ERROR', error.message, { cause: error })
    default:
      return code satisfies never
  }
}
