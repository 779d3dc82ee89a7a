// SPDX-License-Identifier: Apache-2.0
// The committed offsets of one group (Kafka's OffsetMetadataManager): what is in the log, how many writes are on their
// way for each partition, and offsets committed within transactions that have not ended. Decides which offsets have
// expired (KIP-211). Writes nothing down itself.
import { CONSUMER_PROTOCOL_TYPE } from './consumer-protocol.ts'
import type { Group } from './group.ts'
import type { OffsetAndMetadata } from './group-log.ts'

interface Slot {
  committed: OffsetAndMetadata | null
  /** Where in the log the commit is: of two commits the later record counts, whenever its transaction ended. */
  recordOffset: number
  /** Writes that have no outcome yet. */
  pendingWrites: number
  /** By producer id. */
  transactional: Map<bigint, { readonly value: OffsetAndMetadata; readonly recordOffset: number }> | undefined
}

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

export class GroupOffsets {
  readonly #topics = new Map<string, Map<number, Slot>>()

  /** True when nothing is committed, nor about to be. */
  get isEmpty(): boolean {
    return this.#topics.size === 0
  }

  get committedCount(): number {
    let count = 0
    for (const slots of this.#topics.values()) {
      for (const slot of slots.values()) if (slot.committed !== null) count++
    }
    return count
  }

  get(topic: string, partition: number): OffsetAndMetadata | null {
    return this.#topics.get(topic)?.get(partition)?.committed ?? null
  }

  /** False while a plain commit is on its way to the log or a transaction with an offset for the partition is open. */
  isStable(topic: string, partition: number): boolean {
    const slot = this.#topics.get(topic)?.get(partition)
    return slot === undefined || (slot.pendingWrites === 0 && slot.transactional === undefined)
  }

  hasPendingWrites(topic: string, partition: number): boolean {
    return (this.#topics.get(topic)?.get(partition)?.pendingWrites ?? 0) > 0
  }

  /** A write for the partition has been started; `writeEnded` must follow. */
  writeStarted(topic: string, partition: number): void {
    this.#slot(topic, partition).pendingWrites++
  }

  writeEnded(topic: string, partition: number): void {
    this.#slot(topic, partition).pendingWrites--
    this.#tidy(topic, partition)
  }

  put(topic: string, partition: number, value: OffsetAndMetadata, recordOffset: number): void {
    const slot = this.#slot(topic, partition)
    slot.committed = value
    slot.recordOffset = recordOffset
  }

  /** What a tombstone does: commits of open transactions go too, being older. */
  remove(topic: string, partition: number): void {
    const slot = this.#topics.get(topic)?.get(partition)
    if (slot === undefined) return
    slot.committed = null
    slot.transactional = undefined
    this.#tidy(topic, partition)
  }

  putTransactional(producerId: bigint, at: TopicPartition, value: OffsetAndMetadata, recordOffset: number): void {
    const slot = this.#slot(at.topic, at.partition)
    slot.transactional ??= new Map()
    slot.transactional.set(producerId, { value, recordOffset })
  }

  endTransaction(producerId: bigint, at: TopicPartition, isCommit: boolean): void {
    const slot = this.#topics.get(at.topic)?.get(at.partition)
    const pending = slot?.transactional?.get(producerId)
    if (slot?.transactional === undefined || pending === undefined) return
    slot.transactional.delete(producerId)
    if (slot.transactional.size === 0) slot.transactional = undefined
    if (isCommit && (slot.committed === null || pending.recordOffset > slot.recordOffset)) {
      slot.committed = pending.value
      slot.recordOffset = pending.recordOffset
    }
    this.#tidy(at.topic, at.partition)
  }

  /** Every partition with an offset that is committed or about to be. */
  *partitions(): Generator<TopicPartition, void> {
    for (const [topic, slots] of this.#topics) for (const partition of slots.keys()) yield { topic, partition }
  }

  /** Those of them that are of one topic. */
  partitionsOf(topic: string): TopicPartition[] {
    return [...(this.#topics.get(topic)?.keys() ?? [])].map((partition) => ({ topic, partition }))
  }

  /** The committed offsets, topic by topic. */
  *committed(): Generator<[topic: string, offsets: [partition: number, value: OffsetAndMetadata][]], void> {
    for (const [topic, slots] of this.#topics) {
      const offsets: [number, OffsetAndMetadata][] = []
      for (const [partition, { committed }] of slots) if (committed !== null) offsets.push([partition, committed])
      if (offsets.length > 0) yield [topic, offsets]
    }
  }

  /**
   * The offsets whose time has passed. A group of consumers keeps those of the topics it subscribes to; an empty group
   * keeps all of them for the retention since it became empty, or since they were committed, if that was later.
   */
  expired(group: Group, nowMs: number, retentionMs: number): TopicPartition[] {
    const since = expiryBase(group)
    if (since === undefined) return []
    const expired: TopicPartition[] = []
    for (const [topic, slots] of this.#topics) {
      if (isSubscribed(group, topic)) continue
      for (const [partition, slot] of slots) {
        if (slot.committed === null || slot.pendingWrites > 0 || slot.transactional !== undefined) continue
        const { expireTimestampMs } = slot.committed
        const dueMs = expireTimestampMs === -1 ? since(slot.committed) + retentionMs : expireTimestampMs
        if (nowMs >= dueMs) expired.push({ topic, partition })
      }
    }
    return expired
  }

  #slot(topic: string, partition: number): Slot {
    let slots = this.#topics.get(topic)
    if (slots === undefined) {
      slots = new Map()
      this.#topics.set(topic, slots)
    }
    let slot = slots.get(partition)
    if (slot === undefined) {
      slot = { committed: null, recordOffset: -1, pendingWrites: 0, transactional: undefined }
      slots.set(partition, slot)
    }
    return slot
  }

  #tidy(topic: string, partition: number): void {
    const slots = this.#topics.get(topic)!
    const slot = slots.get(partition)!
    if (slot.committed !== null || slot.pendingWrites > 0 || slot.transactional !== undefined) return
    slots.delete(partition)
    if (slots.size === 0) this.#topics.delete(topic)
  }
}

/** From when the retention of an offset counts; undefined: offsets of the group do not expire now. */
function expiryBase(group: Group): ((value: OffsetAndMetadata) => number) | undefined {
  if (group.isSimple) return (value) => value.commitTimestampMs
  if (group.state === 'Empty') return (value) => Math.max(group.stateTimestampMs, value.commitTimestampMs)
  if (group.state === 'Stable' && group.subscribedTopics !== undefined) return (value) => value.commitTimestampMs
  return undefined
}

function isSubscribed(group: Group, topic: string): boolean {
  return group.subscribedTopics?.has(topic) ?? group.protocolType === CONSUMER_PROTOCOL_TYPE
}
