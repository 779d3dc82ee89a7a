// SPDX-License-Identifier: Apache-2.0
// A partition replica in memory, for tests of what stands on src/partition: batches in a list, a leader that a test
// makes and unmakes, appends that a test can hold back or let fail.
import { KafkaError } from '../../src/errors.ts'
import type { Acks, AppendedRange, Partition } from '../../src/partition/partition.ts'
import type { ErrorName } from '../../src/protocol/errors.ts'
import { batches } from '../../src/protocol/record-batch.ts'

interface Stored {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: Uint8Array
}

interface Held {
  readonly range: AppendedRange
  readonly resolve: (range: AppendedRange) => void
  readonly reject: (error: KafkaError) => void
}

export class MemoryPartition implements Partition {
  readonly topic: string
  readonly index: number
  leaderEpoch = -1
  logStartOffset = 0
  logEndOffset = 0
  highWatermark = 0
  /** How many appends have been asked for. */
  appendCount = 0
  #isLeader = false
  #isHolding = false
  #failures: { name: ErrorName; isAppended: boolean }[] = []
  #held: Held[] = []
  readonly #stored: Stored[] = []
  readonly #onLead: ((leaderEpoch: number) => void)[] = []
  readonly #onResign: ((leaderEpoch: number) => void)[] = []

  constructor(topic: string, index: number) {
    this.topic = topic
    this.index = index
  }

  async append(bytes: Uint8Array, acks: Acks): Promise<AppendedRange> {
    this.appendCount++
    if (!this.#isLeader) throw new KafkaError('NOT_LEADER_OR_FOLLOWER')
    const failure = this.#failures.shift()
    if (failure !== undefined && !failure.isAppended) throw new KafkaError(failure.name)
    const range = this.#store(bytes)
    if (failure !== undefined) throw new KafkaError(failure.name)
    if (acks === -1 && this.#isHolding) {
      return new Promise((resolve, reject) => this.#held.push({ range, resolve, reject }))
    }
    this.highWatermark = this.logEndOffset
    return range
  }

  read(offset: number, maxBytes: number, options?: { upTo?: 'highWatermark' | 'logEnd' }): Uint8Array {
    if (offset < this.logStartOffset || offset > this.logEndOffset) throw new KafkaError('OFFSET_OUT_OF_RANGE')
    const end = options?.upTo === 'logEnd' ? this.logEndOffset : this.highWatermark
    const chosen: Uint8Array[] = []
    let size = 0
    for (let i = this.#indexOf(offset); i < this.#stored.length; i++) {
      const { nextOffset, bytes } = this.#stored[i]!
      if (nextOffset > end || (size > 0 && size + bytes.length > maxBytes)) break
      chosen.push(bytes)
      size += bytes.length
    }
    const copy = new Uint8Array(size)
    let position = 0
    for (const bytes of chosen) {
      copy.set(bytes, position)
      position += bytes.length
    }
    return copy
  }

  onLead(listener: (leaderEpoch: number) => void): void {
    this.#onLead.push(listener)
    if (this.#isLeader) listener(this.leaderEpoch)
  }

  onResign(listener: (leaderEpoch: number) => void): void {
    this.#onResign.push(listener)
  }

  /** This broker leads from now on, in a new epoch; what an earlier epoch still waited for fails. */
  lead(): void {
    this.leaderEpoch++
    this.#isLeader = true
    this.#failHeld()
    this.highWatermark = this.logEndOffset
    for (const listener of this.#onLead) listener(this.leaderEpoch)
  }

  resign(): void {
    this.#isLeader = false
    this.#failHeld()
    for (const listener of this.#onResign) listener(this.leaderEpoch)
  }

  /** From now on appends with acks=all wait for `release`. */
  hold(): void {
    this.#isHolding = true
  }

  release(): void {
    this.#isHolding = false
    this.highWatermark = this.logEndOffset
    for (const { range, resolve } of this.#held.splice(0)) resolve(range)
  }

  /** The next append fails; with `isAppended` after its batches are in the log, so that its outcome is open. */
  failNext(name: ErrorName, options: { readonly isAppended?: boolean } = {}): void {
    this.#failures.push({ name, isAppended: options.isAppended ?? false })
  }

  /** The whole log. */
  bytes(): Uint8Array {
    return this.read(this.logStartOffset, Number.POSITIVE_INFINITY, { upTo: 'logEnd' })
  }

  /** Removes the batches before this offset, as retention does. */
  trimTo(offset: number): void {
    while (this.#stored.length > 0 && this.#stored[0]!.nextOffset <= offset) this.#stored.shift()
    this.logStartOffset = offset
  }

  /** Puts bytes into the log as they are, but for offsets and epoch. */
  store(bytes: Uint8Array): AppendedRange {
    const range = this.#store(bytes)
    this.highWatermark = this.logEndOffset
    return range
  }

  #store(chunk: Uint8Array): AppendedRange {
    const baseOffset = this.logEndOffset
    for (const batch of batches(chunk, { checkCrc: true })) {
      const bytes = batch.bytes.slice()
      const view = new DataView(bytes.buffer)
      view.setBigInt64(0, BigInt(this.logEndOffset))
      view.setInt32(12, this.leaderEpoch)
      const nextOffset = this.logEndOffset + batch.lastOffsetDelta + 1
      this.#stored.push({ baseOffset: this.logEndOffset, nextOffset, bytes })
      this.logEndOffset = nextOffset
    }
    return { baseOffset, lastOffset: this.logEndOffset - 1, logAppendTimeMs: -1 }
  }

  #indexOf(offset: number): number {
    let [low, high] = [0, this.#stored.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#stored[middle]!.nextOffset <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #failHeld(): void {
    for (const { reject } of this.#held.splice(0)) reject(new KafkaError('NOT_LEADER_OR_FOLLOWER'))
  }
}
