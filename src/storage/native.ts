// SPDX-License-Identifier: Apache-2.0
// The only module that loads the addon, and the only place with its type declarations. Everything else sees classes
// built on it (storage/, partition/), never the raw binding. Native code re-checks only what memory safety needs: the handle's
// kind, its open state and buffer bounds; ranges, defaults and messages belong to the callers.
import { createRequire } from 'node:module'
import { StorageError } from './storage-error.ts'

/** Topic configs that a log itself obeys; Kafka's names in camel case. */
export interface NativeLogConfig {
  readonly segmentBytes: number
  readonly segmentMs: number
  readonly segmentJitterMs: number
  readonly segmentIndexBytes: number
  readonly indexIntervalBytes: number
  readonly retentionMs: number
  readonly retentionBytes: number
  readonly fileDeleteDelayMs: number
  readonly cleanupDelete: boolean
  readonly cleanupCompact: boolean
  readonly logAppendTime: boolean
}

export interface NativeEngineOptions {
  readonly directories: readonly string[]
  /** No disk: files live in memory and go with the engine. */
  readonly memory: boolean
  readonly appendIo: 'auto' | 'mmap' | 'pwrite'
  readonly flushMode: 'commit' | 'os'
  readonly flushMaxDelayMs: number
  readonly checkpointIntervalMs: number
  readonly producerIdExpirationMs: number
  readonly defaults: NativeLogConfig
}

export interface NativeDirectory {
  readonly path: string
  readonly online: boolean
  readonly failure: string
  readonly cleanStart: boolean
  /** Scanned when it was opened, for no stop, seal or checkpoint vouched for them. */
  readonly recoveredBytes: number
}

export interface NativeLogStats {
  readonly sizeBytes: number
  readonly segmentCount: number
  readonly appendedBytes: number
  readonly appendedBatches: number
  readonly flushCount: number
  readonly recoveredBytes: number
  readonly truncatedBytes: number
  readonly rebuiltIndexes: number
  readonly producerCount: number
}

/**
 * A log directory's engine. Failures are StorageErrors with `code`. After close() every method throws CLOSED.
 */
export interface NativeEngine {
  openLog(topic: string, partition: number, config: NativeLogConfig): NativeLog
  findLog(topic: string, partition: number): NativeLog | null
  deleteLog(topic: string, partition: number): void
  /** Topic and partition of every open log. */
  logs(): Array<{ topic: string; partition: number }>
  directories(): NativeDirectory[]
  problems(): string[]
  /** '' where partition.metadata is missing, null where there is no such log. Throws CORRUPT for one that can't be read. */
  readTopicId(topic: string, partition: number): string | null
  writeTopicId(topic: string, partition: number, topicId: string): void
  maintain(nowMs: number, doRetention: boolean): void
  /** Detaches every view handed out, then stops cleanly on a helper thread. */
  close(): Promise<void>
  /** Lets go as a killed process would: nothing is flushed. */
  abandon(): void
}

/** Where NativeLog.read and lookups put their numbers; see ReadOut. */
export type Numbers = Float64Array

/** Indices into the Float64Array that NativeLog.read fills. */
export const ReadOut = { windowId: 0, windowOffset: 1, bytes: 2, copied: 3 } as const
/** Indices into the Float64Array that NativeLog.append fills. */
export const AppendOut = { error: 0, duplicate: 1, baseOffset: 2, lastOffset: 3, logAppendTimeMs: 4 } as const

export interface NativeLog {
  readonly topic: string
  readonly partition: number
  startOffset(): number
  endOffset(): number
  durableEndOffset(): number
  /**
   * Appends whole record batches as they are (offsets assigned, CRC checked). Returns AppendError (0: done) and fills `out`
   * as AppendOut says.
   */
  append(batches: Uint8Array, bytes: number, leaderEpoch: number, nowMs: number, out: Numbers): number
  /** The same for one batch whose CRC is still to be filled in (in place). */
  appendEncoded(batch: Uint8Array, bytes: number, leaderEpoch: number, nowMs: number, out: Numbers): number
  /**
   * Whole batches from the one holding `offset` up to the log end: fills `out` as ReadOut says and returns the bytes found,
   * 0 at the end. The bytes lie in window(windowId) at windowOffset, or with `copied` = 1 in copied() (the page under the tail).
   */
  read(offset: number, maxBytes: number, out: Numbers): number
  /** The copy that the last read made; the caller's own. */
  copied(): Uint8Array
  /** The ArrayBuffer over a copy-on-write mapping of up to 64 MiB of a segment, as the last read named it. */
  window(windowId: number): ArrayBuffer
  /** The largest leader epoch that the log has seen, -1: none. */
  latestEpoch(): number
  /** -1: no idempotent producer is remembered. */
  largestProducerId(): number
  /** Offset of the first record at or after a timestamp, -1: none. */
  offsetForTimestamp(timestampMs: number): number
  /** Resolves when everything appended so far is on stable storage. */
  flush(): Promise<void>
  advanceStartOffset(offset: number): void
  roll(nowMs: number): void
  setConfig(config: NativeLogConfig): void
  stats(): NativeLogStats
}

export interface NativePlaneOptions {
  readonly requestBytesMax: number
  readonly outputBytesMax: number
  readonly receivedBytesMax: number
  readonly fetchBytesMax: number
  readonly frameDeadlineMs: number
  readonly writeDeadlineMs: number
  readonly requestsInFlightMax: number
}

export interface NativeTopicGrant {
  readonly name: string
  /** 16 bytes. */
  readonly id: Uint8Array
  readonly mayWrite: boolean
  readonly mayRead: boolean
  readonly internal: boolean
  /** Monotonic milliseconds until which the grant holds; -1: no lease. */
  readonly deadlineMonoMs: number
}

export interface NativePartitionState {
  readonly isLeader: boolean
  readonly leaderId: number
  readonly leaderEpoch: number
  readonly localId: number
  readonly isr: readonly number[]
  readonly minInsyncReplicas: number
}

export interface NativePartitionConfig {
  readonly maxMessageBytes: number
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
  readonly strictValidation: boolean
  readonly maxDecompressedBatchBytes: number
  readonly log: NativeLogConfig
}

/** Indices into the Float64Array that NativePartition.info fills. */
export const InfoOut = {
  leaderEpoch: 0,
  logStartOffset: 1,
  logEndOffset: 2,
  highWatermark: 3,
  lastStableOffset: 4,
  isLeader: 5,
} as const

export interface NativeTimestampOffset {
  readonly timestampMs: number
  readonly offset: number
  readonly leaderEpoch: number
}

export interface NativeAppended {
  readonly error: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly logAppendTimeMs: number
  readonly logStartOffset: number
}

export interface NativePartition {
  applyState(state: NativePartitionState): void
  setConfig(config: NativePartitionConfig): void
  info(out: Numbers): void
  /** The broker's own append; `done` runs once: before this returns, or in a later NativePlane.turn(). */
  append(batches: Uint8Array, acks: number, wallMs: number, done: (appended: NativeAppended) => void): void
  /** A copy of whole batches from the one holding `offset`, up to the high watermark or the log end. Throws StorageError OUT_OF_RANGE. */
  read(offset: number, maxBytes: number, upToLogEnd: boolean): Uint8Array
  /** Below the last stable offset with `readCommitted`, else below the high watermark. */
  offsetForTimestamp(timestampMs: number, readCommitted: boolean): NativeTimestampOffset
  /** The first record with the largest timestamp; {-1, -1} unless it lies below the same bound. */
  offsetOfMaxTimestamp(readCommitted: boolean): NativeTimestampOffset
  endOffsetForEpoch(leaderEpoch: number): { leaderEpoch: number; endOffset: number }
  epochForOffset(offset: number): number
  /** Moves the log start up to `offset`, at most the high watermark. */
  advanceStartOffset(offset: number): void
  close(errorCode: number): void
}

/** What the owner has to do for a connection, or'ed together. */
export const ConnectionFlag = { hasOutput: 1, hasPunts: 2, pauseReading: 4, mustClose: 8 } as const

/** Numbers a piece of output takes in the array that NativeConnection.output fills: window id (0: scratch), offset, bytes. */
export const PIECE_NUMBERS = 3

export interface NativeConnection {
  /** Small and unique among the plane's connections; NativePlane.turn names it. */
  readonly id: number
  /** Takes bytes as they came; they may be reused when it returns. Returns ConnectionFlags. */
  receive(bytes: Uint8Array, monoMs: number, wallMs: number): number
  flags(): number
  closeReason(): string
  /** True while there is output, or a request without a reply that is not a waiting Fetch. */
  busy(): boolean
  /**
   * Takes the next output: bytes that don't lie in a mapped segment are copied to `scratch` from `scratchOffset` on, others are
   * named by window. Fills `pieces` (PIECE_NUMBERS each) and returns their count; 0: no output, or no room in scratch
   * (then flags() still has hasOutput).
   */
  output(scratch: Uint8Array, scratchOffset: number, pieces: Numbers, monoMs: number, wallMs: number): number
  /** The next punted request's frame (behind its size field), or null; `slot` goes to slotOut[0]. */
  takePunt(slotOut: Numbers): Buffer | null
  answer(slot: number, frame: Uint8Array, monoMs: number, wallMs: number): number
  answerNothing(slot: number, monoMs: number, wallMs: number): number
  retry(slot: number, monoMs: number, wallMs: number): number
  close(): void
}

export interface NativeCounters {
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly produceRequests: number
  readonly fetchRequests: number
  readonly puntedRequests: number
  readonly producedBatches: number
  readonly producedBytes: number
  readonly fetchedBytes: number
  readonly parkedFetches: number
  readonly trailingBytesRequests: number
  readonly connections: number
}

export interface NativePlane {
  publishTopic(grant: NativeTopicGrant): void
  removeTopic(name: string): void
  /** Opens the partition over a log of the plane's engine and publishes it. */
  publishPartition(log: NativeLog): NativePartition
  connect(): NativeConnection
  /** Runs deadlines and completions; returns the ids of connections whose flags changed. */
  turn(monoMs: number, wallMs: number): number[]
  /** Monotonic milliseconds of the earliest deadline, -1: none. */
  nextDeadlineMs(): number
  /** The ArrayBuffer of a window that NativeConnection.output named just now. */
  window(windowId: number): ArrayBuffer
  counters(): NativeCounters
  close(): void
}

export interface NativeBinding {
  openEngine(options: NativeEngineOptions): Promise<NativeEngine>
  /** `onWake` runs on this thread when turn() has something to do. */
  createPlane(engine: NativeEngine, options: NativePlaneOptions, onWake: () => void): NativePlane
  /**
   * The records of a compressed batch (codec: Kafka's id, 1 gzip to 4 zstd). Throws StorageError TOO_LARGE above `bytesMax`,
   * CORRUPT when it is not such a stream, UNSUPPORTED when this process has no decoder.
   */
  decompress(codec: number, bytes: Uint8Array, bytesMax: number): Buffer
  /** CRC32C of `bytes`, continuing `crc` (0 to begin). */
  crc32c(crc: number, bytes: Uint8Array): number
  /** Raises RLIMIT_NOFILE to its hard limit; the limits afterwards. */
  raiseNofileLimit(): { soft: number; hard: number }
  /** Handed over once: native failures are thrown as `new StorageError(message, code, errno)`. */
  setErrorClass(errorClass: typeof StorageError): void
  /** Live mappings made for JavaScript's windows; for leak tests. */
  liveWindows(): number
}

const require = createRequire(import.meta.url)

/** The addon. It loads once per process; each environment (main thread, worker) has its own state. */
export const native = require('../../build/Release/varve.node') as NativeBinding
native.setErrorClass(StorageError)
