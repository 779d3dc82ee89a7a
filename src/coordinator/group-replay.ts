// SPDX-License-Identifier: Apache-2.0
// Rebuilds the groups of one partition of the offsets topic from its log, a chunk at a time so that everything else goes
// on meanwhile (Kafka's CoordinatorLoader). Of a group's metadata only the last record is decoded.
import { ProtocolError } from '../protocol/protocol-error.ts'
import { batches, type CodecLookup, type RecordBatch, RecordCursor } from '../protocol/record-batch.ts'
import {
  type GroupMetadata,
  type OffsetAndMetadata,
  OffsetCommitReader,
  readGroupValue,
  readKey,
  readOffsetValue,
} from './group-log.ts'
import type { GroupShard } from './group-shard.ts'
import type { GroupLogger } from './types.ts'

/** In the key of a control record: version int16, type int16. */
const CONTROL_TYPE_POSITION = 2
const CONTROL_ABORT = 0
const CONTROL_COMMIT = 1

export class GroupReplay {
  readonly #shard: GroupShard
  readonly #chunkBytes: number
  readonly #logger: GroupLogger
  readonly #codecs: CodecLookup | undefined
  /** Undecoded metadata by group id; null: a tombstone. */
  readonly #groups = new Map<string, Uint8Array | null>()
  readonly #commit = new OffsetCommitReader()
  #nextOffset: number
  #recordCount = 0

  constructor(
    shard: GroupShard,
    options: { chunkBytes: number; logger: GroupLogger; codecs?: CodecLookup | undefined },
  ) {
    this.#shard = shard
    this.#chunkBytes = options.chunkBytes
    this.#logger = options.logger
    this.#codecs = options.codecs
    this.#nextOffset = shard.partition.logStartOffset
  }

  get recordCount(): number {
    return this.#recordCount
  }

  /** Replays a chunk; true when that was the last one and the shard is active. Throws KafkaError when the log cannot be read. */
  step(): boolean {
    const { partition } = this.#shard
    if (this.#nextOffset < partition.logEndOffset) {
      // To the log end: this broker leads, so what is there will be committed, or else its leadership ends.
      const chunk = partition.read(this.#nextOffset, this.#chunkBytes, { upTo: 'logEnd' })
      const before = this.#nextOffset
      for (const batch of batches(chunk, { checkCrc: true })) {
        this.#replayBatch(batch)
        this.#nextOffset = batch.nextOffset
      }
      // Compaction may have emptied the end of the log.
      if (this.#nextOffset === before) this.#nextOffset = partition.logEndOffset
      if (this.#nextOffset < partition.logEndOffset) return false
    }
    this.#shard.activate(this.#decodedGroups())
    return true
  }

  #replayBatch(batch: RecordBatch): void {
    const cursor = new RecordCursor(batch, this.#codecs)
    const bytes = Buffer.from(cursor.bytes.buffer, cursor.bytes.byteOffset, cursor.bytes.length)
    const isPlain = !batch.isControl && !batch.isTransactional
    const commit = this.#commit
    while (cursor.next()) {
      if (cursor.keySize < 0 || cursor.offset < this.#nextOffset) continue
      this.#recordCount++
      const { keyStart, valueStart, offset } = cursor
      const keyEnd = keyStart + cursor.keySize
      const valueEnd = valueStart + Math.max(cursor.valueSize, 0)
      if (isPlain && commit.read(bytes, keyStart, keyEnd, valueStart, valueEnd)) {
        this.#shard.replayOffset(commit.groupId, commit.topic, commit.partition, commit.value, offset)
        continue
      }
      const key = bytes.subarray(keyStart, keyEnd)
      const value = cursor.valueSize < 0 ? null : bytes.subarray(valueStart, valueEnd)
      if (batch.isControl) this.#replayControl(batch, key)
      else this.#replayRecord(batch, key, value, offset)
    }
  }

  #replayControl(batch: RecordBatch, key: Buffer): void {
    if (key.length < 4) return
    const type = key.readInt16BE(CONTROL_TYPE_POSITION)
    if (type !== CONTROL_ABORT && type !== CONTROL_COMMIT) return
    this.#shard.replayTransactionEnd(batch.producerId, type === CONTROL_COMMIT)
  }

  /**
   * A record that cannot be understood is passed over: without it a consumer may read records a second time, which it
   * must be able to do anyway; without the partition none of its groups could work at all.
   */
  #replayRecord(batch: RecordBatch, keyBytes: Buffer, value: Buffer | null, offset: number): void {
    const key = this.#understood(offset, () => readKey(keyBytes))
    if (key == null) return
    if (key.kind === 'group') {
      this.#groups.set(key.groupId, value === null ? null : new Uint8Array(value))
      return
    }
    let committed: OffsetAndMetadata | null = null
    if (value !== null) {
      const read = this.#understood(offset, () => readOffsetValue(value))
      if (read === undefined) return
      committed = read
    }
    const { groupId, topic, partition } = key
    if (batch.isTransactional && committed !== null) {
      this.#shard.replayTransactionalOffset(batch.producerId, groupId, { topic, partition }, committed, offset)
    } else {
      this.#shard.replayOffset(groupId, topic, partition, committed, offset)
    }
  }

  #decodedGroups(): Map<string, GroupMetadata | null> {
    const decoded = new Map<string, GroupMetadata | null>()
    for (const [groupId, value] of this.#groups) {
      const metadata = value === null ? null : this.#understood(-1, () => readGroupValue(value))
      if (metadata !== undefined) decoded.set(groupId, metadata)
    }
    return decoded
  }

  #understood<T>(offset: number, read: () => T): T | undefined {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      const { topic, index } = this.#shard.partition
      const where = offset === -1 ? `a group of ${topic}-${index}` : `${topic}-${index} at offset ${offset}`
      this.#logger.error(`The record of ${where} is passed over, it cannot be read: ${error.message}`)
      return undefined
    }
  }
}
