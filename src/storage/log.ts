// SPDX-License-Identifier: Apache-2.0
// Log: one partition's log in a program, without a broker. Appends, lazy zero-copy reads, following the tail. Owns no files:
// the engine does, and closes every log of its own.
import {
  BATCH_HEADER_SIZE,
  batches,
  type RecordBatch,
  RecordCursor,
  type RecordHeader,
  readHeaders,
} from '../protocol/record-batch.ts'
import type { BatchEncoder, Data, RecordInput } from './batch-encoder.ts'
import { nativeCodec } from './codec.ts'
import { checkedInteger, type LogOptions, logConfig } from './log-config.ts'
import { AppendOut, type NativeLog, type NativeLogConfig, type NativeLogStats, ReadOut } from './native.ts'
import { StorageError, type StorageErrorCode } from './storage-error.ts'

export interface Appended {
  readonly baseOffset: number
  readonly lastOffset: number
}

export interface ReadOptions {
  /** Stop after about this many bytes; at least one whole batch is read. Default: up to the end as it is now. */
  readonly maxBytes?: number
}

export interface FollowOptions {
  /** The first offset wanted; default: the end of the log. */
  readonly from?: number
  /** Ends the loop, which then returns without an error. */
  readonly signal?: AbortSignal
  /** Bytes read at once. Default 1 MiB. */
  readonly maxBytes?: number
}

const CHUNK_BYTES = 1 << 20
const MAX_CHUNK_BYTES = 2 ** 31 - 1
const NO_BYTES = new Uint8Array(0)

/** AppendError in native/core/log.h, by number. */
const APPEND_ERRORS: ReadonlyArray<readonly [code: StorageErrorCode, why: string]> = [
  ['INVALID', 'no error'],
  [
    'INVALID',
    "a batch of an idempotent producer does not continue that producer's sequence: append what is missing first",
  ],
  ['INVALID', 'a batch carries an older epoch of its producer than the log has seen'],
  ['INVALID', 'a batch was appended long ago: its sequence is older than the last five of its producer'],
  ['INVALID', "a batch does not fit the state of its producer's transaction"],
  ['TOO_LARGE', 'the batch does not fit into one segment: raise segmentBytes or append fewer records at once'],
  ['INVALID', 'the batch does not continue the log'],
  ['INVALID', 'the batch is damaged: its header or CRC is wrong'],
  ['NO_SPACE', 'the disk is full: nothing was appended; free space and append again'],
  ['IO', 'the log directory is offline after a disk failure: open the engine again'],
]
const STORAGE = 9

/**
 * A record as read. Key, value and header values are views of the log: copy() detaches one from it. After the engine's close()
 * views are empty, and what would have to be read anew (headers, copy()) throws CLOSED.
 */
export class LogRecord {
  readonly offset: number
  /** Milliseconds since the epoch; -1: none. */
  readonly timestamp: number
  // Positions only: a view is made when it is asked for, and most readers ask for the value alone.
  readonly #bytes: Uint8Array
  readonly #keyStart: number
  readonly #keySize: number
  readonly #valueStart: number
  readonly #valueSize: number
  readonly #headersStart: number
  readonly #headerCount: number
  readonly #end: number

  constructor(at: RecordCursor) {
    this.offset = at.offset
    this.timestamp = at.timestampMs
    this.#bytes = at.bytes
    this.#keyStart = at.keyStart
    this.#keySize = at.keySize
    this.#valueStart = at.valueStart
    this.#valueSize = at.valueSize
    this.#headersStart = at.headersStart
    this.#headerCount = at.headerCount
    this.#end = at.end
  }
  get key(): Buffer | null {
    return this.#keySize < 0 ? null : this.#view(this.#keyStart, this.#keySize)
  }
  get value(): Buffer | null {
    return this.#valueSize < 0 ? null : this.#view(this.#valueStart, this.#valueSize)
  }
  /** By name; of equal names the last wins. headerList has them all. */
  get headers(): Record<string, Buffer | null> {
    return Object.fromEntries(this.headerList)
  }
  get headerList(): Array<[name: string, value: Buffer | null]> {
    return this.#headers().map((header) => [header.key, bufferOf(header.value)])
  }
  /** Plain values that no longer depend on the log: they stay after close(). */
  copy(): {
    offset: number
    timestamp: number
    key: Buffer | null
    value: Buffer | null
    headers: Array<[string, Buffer | null]>
  } {
    // An empty copy would pass for the record.
    checkOpen(this.#bytes)
    const { offset, timestamp, key, value } = this
    const detached = (data: Buffer | null): Buffer | null => (data === null ? null : Buffer.from(data))
    return {
      offset,
      timestamp,
      key: detached(key),
      value: detached(value),
      headers: this.headerList.map(([name, data]) => [name, detached(data)]),
    }
  }

  #view(start: number, size: number): Buffer {
    const bytes = this.#bytes
    // After close() the window is detached: its views are empty.
    if (bytes.length === 0) return Buffer.alloc(0)
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, size)
  }

  #headers(): RecordHeader[] {
    checkOpen(this.#bytes)
    return readHeaders(this.#bytes, this.#headersStart, this.#headerCount, this.#end, this.offset)
  }
}

/** Bytes of a log are never none, unless its engine closed and took them back. */
function checkOpen(bytes: Uint8Array): void {
  if (bytes.length === 0)
    throw new StorageError('the engine that this was read from is closed: copy() what must stay', 'CLOSED')
}

function bufferOf(view: Uint8Array | null): Buffer | null {
  return view === null ? null : Buffer.from(view.buffer, view.byteOffset, view.byteLength)
}

/** A record batch as it is stored: the unit that was appended. */
export class LogBatch {
  readonly #batch: RecordBatch

  constructor(batch: RecordBatch) {
    this.#batch = batch
  }
  get baseOffset(): number {
    return this.#batch.baseOffset
  }
  get lastOffset(): number {
    return this.nextOffset - 1
  }
  get nextOffset(): number {
    return this.#open().nextOffset
  }
  get recordCount(): number {
    return this.#open().recordCount
  }
  get maxTimestamp(): number {
    return this.#open().maxTimestampMs
  }
  /** The whole batch in Kafka's format, a view of the log: what appendBatches() takes. */
  get bytes(): Uint8Array {
    return this.#batch.bytes
  }
  /** Control batches (transaction markers) hold no user records. */
  get isControl(): boolean {
    return this.#batch.isControl
  }
  /** Steps through the records without making an object for each: positions into cursor.bytes. */
  cursor(): RecordCursor {
    return new RecordCursor(this.#open(), nativeCodec)
  }
  *records(): Generator<LogRecord, void> {
    const cursor = this.cursor()
    while (cursor.next()) {
      yield new LogRecord(cursor)
      checkOpen(cursor.bytes)
    }
  }
  [Symbol.iterator](): Generator<LogRecord, void> {
    return this.records()
  }

  #open(): RecordBatch {
    checkOpen(this.#batch.bytes)
    return this.#batch
  }
}

export class Log {
  readonly topic: string
  readonly partition: number
  readonly #native: NativeLog
  readonly #encoder: BatchEncoder
  readonly #numbers = new Float64Array(8)
  #config: NativeLogConfig
  // The window that the last read used: nearly always the next one's too.
  #windowId = 0
  #window: Uint8Array = NO_BYTES
  readonly #followers = new Set<() => void>()
  #isDeleted = false

  /** Made by Engine.log(). */
  constructor(log: NativeLog, encoder: BatchEncoder, config: NativeLogConfig) {
    this.topic = log.topic
    this.partition = log.partition
    this.#native = log
    this.#encoder = encoder
    this.#config = config
  }

  /** Offset of the first record that is still there. */
  get startOffset(): number {
    return this.#native.startOffset()
  }
  /** Offset that the next record gets. */
  get endOffset(): number {
    return this.#native.endOffset()
  }
  /** Everything below it is on stable storage. */
  get durableEndOffset(): number {
    return this.#native.durableEndOffset()
  }

  /**
   * Appends the records as one batch and returns their offsets. They are in the page cache then: they survive a killed
   * process, a power cut only after flush().
   * @throws StorageError NO_SPACE, IO, TOO_LARGE (larger than a segment), CLOSED; TypeError or RangeError for a bad record.
   */
  append(records: readonly RecordInput[]): Appended {
    const nowMs = Date.now()
    this.#encoder.encode(records, nowMs)
    const error = this.#native.appendEncoded(this.#encoder.bytes, this.#encoder.size, 0, nowMs, this.#numbers)
    return this.#appended(error)
  }

  /** append(), then on stable storage; callers of one moment share one fdatasync. */
  async appendDurable(records: readonly RecordInput[]): Promise<Appended> {
    const appended = this.append(records)
    await this.#native.flush()
    return appended
  }

  /**
   * Appends whole record batches (Kafka's format v2, their CRCs right) as they are, compressed or not; base offsets are
   * assigned here.
   * @throws StorageError INVALID when they are not whole batches, and as append().
   */
  appendBatches(bytes: Uint8Array): Appended {
    return this.#appended(this.#native.append(bytes, bytes.length, 0, Date.now(), this.#numbers))
  }

  /** Resolves when everything appended so far is on stable storage. */
  flush(): Promise<void> {
    return this.#native.flush()
  }

  /**
   * Records from `offset` up to the end of the log as it is now. Lazy: reading stops when the loop does.
   * @throws StorageError OUT_OF_RANGE outside [startOffset, endOffset], CORRUPT.
   */
  *read(offset: number, options: ReadOptions = {}): Generator<LogRecord, void> {
    // One generator, not one inside another for each batch: twice as fast.
    for (const batch of this.batches(offset, options)) {
      const cursor = batch.cursor()
      while (cursor.next()) {
        if (cursor.offset < offset) continue
        yield new LogRecord(cursor)
        checkOpen(cursor.bytes)
      }
    }
  }

  /** The batches that hold them; the first may begin before `offset`. Control batches are passed over. */
  *batches(offset: number, options: ReadOptions = {}): Generator<LogBatch, void> {
    checkedInteger('offset', offset, { min: 0, max: Number.MAX_SAFE_INTEGER })
    const end = this.endOffset
    let left = checkedMaxBytes(options.maxBytes) ?? Number.POSITIVE_INFINITY
    let next = offset
    do {
      const chunk = this.#chunk(next, Math.min(left, CHUNK_BYTES))
      if (chunk === null) return
      left -= chunk.length
      for (const batch of batches(chunk)) {
        if (batch.baseOffset >= end) return
        next = batch.nextOffset
        if (!batch.isControl) yield new LogBatch(batch)
      }
    } while (next < end && left >= BATCH_HEADER_SIZE)
  }

  /** Batches from an offset on, and new ones as they come. Ends when `signal` aborts, the engine closes or deletes the log. */
  async *follow(options: FollowOptions = {}): AsyncGenerator<LogBatch, void> {
    const { signal } = options
    const maxBytes = Math.min(checkedMaxBytes(options.maxBytes) ?? CHUNK_BYTES, MAX_CHUNK_BYTES)
    let next = options.from ?? this.endOffset
    checkedInteger('from', next, { min: 0, max: Number.MAX_SAFE_INTEGER })
    const aborted = (): boolean => signal?.aborted === true
    while (!aborted() && !this.#closed()) {
      const chunk = this.#chunk(next, maxBytes)
      if (chunk === null) {
        if (!(await this.#appendOrAbort(signal))) return
        continue
      }
      for (const batch of batches(chunk)) {
        if (aborted() || chunk.length === 0) return
        next = batch.nextOffset
        if (!batch.isControl) yield new LogBatch(batch)
      }
    }
  }

  /** Offset of the first record with this timestamp or a later one; -1 when there is none. */
  offsetForTimestamp(ms: number): number {
    checkedInteger('ms', ms, { min: 0, max: Number.MAX_SAFE_INTEGER })
    return this.#native.offsetForTimestamp(ms)
  }

  /** Deletes the records below `offset`; their space is freed a segment at a time. */
  deleteBefore(offset: number): void {
    checkedInteger('offset', offset, { min: 0, max: Number.MAX_SAFE_INTEGER })
    this.#native.advanceStartOffset(offset)
  }

  /** Closes the active segment now: what is in it can then be deleted by retention. */
  roll(): void {
    this.#native.roll(Date.now())
  }

  /** Changes settings; in force at once. */
  configure(options: LogOptions): void {
    this.#config = logConfig(options, this.#config)
    this.#native.setConfig(this.#config)
  }

  stats(): NativeLogStats {
    return this.#native.stats()
  }

  /** @internal Wakes followers; the engine calls it when it closes. */
  wake(): void {
    const followers = [...this.#followers]
    this.#followers.clear()
    for (const follower of followers) follower()
  }

  /** @internal The engine has deleted it. */
  deleted(): void {
    this.#isDeleted = true
    this.wake()
  }

  /** @internal Lets the last read's window go: it would keep the mapping (and a deleted segment's disk space) of an idle log. */
  dropWindow(): void {
    this.#windowId = 0
    this.#window = NO_BYTES
  }

  #appended(error: number): Appended {
    if (error !== 0) throw this.#appendError(error)
    const numbers = this.#numbers
    if (this.#followers.size > 0) this.wake()
    return { baseOffset: numbers[AppendOut.baseOffset]!, lastOffset: numbers[AppendOut.lastOffset]! }
  }

  #appendError(error: number): StorageError {
    if (error === STORAGE && this.#isDeleted)
      return new StorageError('this log was deleted: engine.log() makes a new one of its name', 'CLOSED')
    const [code, why] = APPEND_ERRORS[error] ?? ['INVALID', `append failed with ${error}`]
    return new StorageError(why, code)
  }

  /** Whole batches from the one holding `offset`, or null at the end. */
  #chunk(offset: number, maxBytes: number): Uint8Array | null {
    const numbers = this.#numbers
    const bytes = this.#native.read(offset, maxBytes, numbers)
    if (bytes === 0) return null
    if (numbers[ReadOut.copied] === 1) return this.#native.copied()
    const windowId = numbers[ReadOut.windowId]!
    // After close() views are empty, and so is this one: a new read throws CLOSED before it gets here.
    if (windowId !== this.#windowId) {
      this.#window = new Uint8Array(this.#native.window(windowId))
      this.#windowId = windowId
    }
    const start = numbers[ReadOut.windowOffset]!
    return this.#window.subarray(start, start + bytes)
  }

  #appendOrAbort(signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const onAppend = (): void => {
        signal?.removeEventListener('abort', onAbort)
        resolve(!this.#closed())
      }
      const onAbort = (): void => {
        this.#followers.delete(onAppend)
        resolve(false)
      }
      this.#followers.add(onAppend)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  #closed(): boolean {
    if (this.#isDeleted) return true
    try {
      this.#native.endOffset()
      return false
    } catch {
      return true
    }
  }
}

function checkedMaxBytes(maxBytes: number | undefined): number | undefined {
  if (maxBytes === undefined || maxBytes === Number.POSITIVE_INFINITY) return maxBytes
  return checkedInteger('maxBytes', maxBytes, { min: 1, max: Number.MAX_SAFE_INTEGER })
}

export type { Data, LogOptions, RecordInput }
