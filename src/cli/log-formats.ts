// SPDX-License-Identifier: Apache-2.0
// The small files beside a partition's segments, decoded for people: indexes, producer snapshots, seals, leader epochs, checkpoints
// (docs/storage-format.md). Pure functions over bytes; whether what they say is true is log-verify.ts's question. A file that is
// not what its name says throws FormatError.
import { native } from '../storage/native.ts'

export class FormatError extends Error {}

function fail(what: string): never {
  throw new FormatError(what)
}

const SUFFIXES = ['.log', '.index', '.timeindex', '.txnindex', '.snapshot', '.seal'] as const
export type SegmentSuffix = (typeof SUFFIXES)[number]
const SEGMENT_FILE = /^(\d{20})(\.(?:log|index|timeindex|txnindex|snapshot|seal))(\.(?:deleted|swap|cleaned))?$/

export interface SegmentFileName {
  readonly baseOffset: number
  readonly suffix: SegmentSuffix
  /** deleted, swap or cleaned: on its way in or out. */
  readonly state: string | null
}

/** `00000000000000000042.log` and its like; null for any other name. */
export function parseSegmentFileName(name: string): SegmentFileName | null {
  const parts = SEGMENT_FILE.exec(name)
  if (parts === null) return null
  const baseOffset = Number(parts[1])
  if (!Number.isSafeInteger(baseOffset)) return null
  return { baseOffset, suffix: parts[2] as SegmentSuffix, state: parts[3]?.slice(1) ?? null }
}

export function segmentFileName(baseOffset: number, suffix: SegmentSuffix): string {
  return String(baseOffset).padStart(20, '0') + suffix
}

/** `orders-0`; null for other names and for directories that wait for their removal. */
export function parsePartitionName(name: string): { topic: string; partition: number } | null {
  const parts = /^([a-zA-Z0-9._-]{1,249})-(0|[1-9]\d{0,9})$/.exec(name)
  return parts === null ? null : { topic: parts[1]!, partition: Number(parts[2]) }
}

function int64(bytes: Buffer, position: number): number {
  return Number(bytes.readBigInt64BE(position))
}

/** Entries of a fixed size. A tail of zeros, as a preallocated file has, is not among them but counted. */
export interface Entries<T> {
  readonly entries: readonly T[]
  readonly zeroBytes: number
}

function entriesOf<T>(bytes: Buffer, entryBytes: number, decode: (position: number) => T): Entries<T> {
  if (bytes.length % entryBytes !== 0) fail(`${bytes.length} bytes are not a multiple of ${entryBytes}`)
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  // The last entry may end with zeros of its own.
  end = Math.ceil(end / entryBytes) * entryBytes
  const entries: T[] = []
  for (let position = 0; position < end; position += entryBytes) entries.push(decode(position))
  return { entries, zeroBytes: bytes.length - end }
}

export interface OffsetIndexEntry {
  readonly offset: number
  readonly position: number
}

export function decodeOffsetIndex(bytes: Buffer, baseOffset: number): Entries<OffsetIndexEntry> {
  return entriesOf(bytes, 8, (at) => ({
    offset: baseOffset + bytes.readInt32BE(at),
    position: bytes.readUInt32BE(at + 4),
  }))
}

export interface TimeIndexEntry {
  readonly timestampMs: number
  readonly offset: number
}

export function decodeTimeIndex(bytes: Buffer, baseOffset: number): Entries<TimeIndexEntry> {
  return entriesOf(bytes, 12, (at) => ({
    timestampMs: int64(bytes, at),
    offset: baseOffset + bytes.readInt32BE(at + 8),
  }))
}

export interface AbortedTxn {
  readonly producerId: bigint
  readonly firstOffset: number
  readonly lastOffset: number
  readonly lastStableOffset: number
}

export function decodeTxnIndex(bytes: Buffer): AbortedTxn[] {
  const { entries, zeroBytes } = entriesOf(bytes, 34, (at) => {
    const version = bytes.readInt16BE(at)
    if (version !== 0) fail(`the entry at ${at} has version ${version}, only 0 is known`)
    return {
      producerId: bytes.readBigInt64BE(at + 2),
      firstOffset: int64(bytes, at + 10),
      lastOffset: int64(bytes, at + 18),
      lastStableOffset: int64(bytes, at + 26),
    }
  })
  if (zeroBytes > 0) fail(`it ends with ${zeroBytes} zero bytes`)
  return [...entries]
}

export interface ProducerSnapshotEntry {
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly lastSequence: number
  readonly lastOffset: number
  readonly offsetDelta: number
  readonly timestampMs: number
  readonly coordinatorEpoch: number
  readonly currentTxnFirstOffset: number
}

export function decodeProducerSnapshot(bytes: Buffer): ProducerSnapshotEntry[] {
  if (bytes.length < 10) fail(`${bytes.length} bytes are too few for a producer snapshot`)
  const version = bytes.readInt16BE(0)
  if (version !== 1) fail(`version ${version}, only 1 is known`)
  checkCrc(bytes.readUInt32BE(2), bytes.subarray(6))
  const count = bytes.readInt32BE(6)
  if (count < 0 || bytes.length !== 10 + count * 46) fail(`it says ${count} producers and has ${bytes.length} bytes`)
  return Array.from({ length: count }, (_, i) => {
    const at = 10 + i * 46
    return {
      producerId: bytes.readBigInt64BE(at),
      producerEpoch: bytes.readInt16BE(at + 8),
      lastSequence: bytes.readInt32BE(at + 10),
      lastOffset: int64(bytes, at + 14),
      offsetDelta: bytes.readInt32BE(at + 22),
      timestampMs: int64(bytes, at + 26),
      coordinatorEpoch: bytes.readInt32BE(at + 34),
      currentTxnFirstOffset: int64(bytes, at + 38),
    }
  })
}

function checkCrc(stored: number, bytes: Uint8Array): void {
  const computed = native.crc32c(0, bytes)
  if (computed !== stored) fail(`its CRC is ${hex32(stored)}, that of its bytes ${hex32(computed)}`)
}

export function hex32(crc: number): string {
  return `0x${crc.toString(16).padStart(8, '0')}`
}

export interface FileSum {
  readonly bytes: number
  readonly crc: number
}

export interface Seal {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly sizeBytes: number
  readonly maxTimestampMs: number
  readonly offsetOfMaxTimestamp: number
  readonly recordCount: number
  readonly batchCount: number
  readonly maxLeaderEpoch: number
  readonly index: FileSum
  readonly timeIndex: FileSum
  readonly txnIndex: FileSum
  readonly blockBytes: number
  readonly blockCrcs: readonly number[]
}

const SEAL_MAGIC = 0x5653454c
const SEAL_HEADER_BYTES = 100

export function decodeSeal(bytes: Buffer): Seal {
  if (bytes.length < SEAL_HEADER_BYTES + 4) fail(`${bytes.length} bytes are too few for a seal`)
  if (bytes.readUInt32BE(0) !== SEAL_MAGIC) fail(`it begins with ${hex32(bytes.readUInt32BE(0))}, a seal with "VSEL"`)
  checkCrc(bytes.readUInt32BE(bytes.length - 4), bytes.subarray(0, -4))
  const version = bytes.readUInt16BE(4)
  if (version !== 1) fail(`version ${version}, only 1 is known: a newer varve wrote it`)
  const sum = (at: number): FileSum => ({ bytes: bytes.readUInt32BE(at), crc: bytes.readUInt32BE(at + 4) })
  const blockCount = bytes.readUInt32BE(96)
  if (bytes.length !== SEAL_HEADER_BYTES + blockCount * 4 + 4)
    fail(`it says ${blockCount} blocks and has ${bytes.length} bytes`)
  return {
    baseOffset: int64(bytes, 8),
    nextOffset: int64(bytes, 16),
    sizeBytes: int64(bytes, 24),
    maxTimestampMs: int64(bytes, 32),
    offsetOfMaxTimestamp: int64(bytes, 40),
    recordCount: int64(bytes, 48),
    batchCount: int64(bytes, 56),
    maxLeaderEpoch: bytes.readInt32BE(64),
    index: sum(68),
    timeIndex: sum(76),
    txnIndex: sum(84),
    blockBytes: bytes.readUInt32BE(92),
    blockCrcs: Array.from({ length: blockCount }, (_, i) => bytes.readUInt32BE(SEAL_HEADER_BYTES + i * 4)),
  }
}

/** Version, count, and as many lines: what Kafka's CheckpointFile writes. An empty file has no lines. */
function checkpointLines(text: string): string[] {
  if (text === '') return []
  const [version, count, ...lines] = text.replace(/\n$/, '').split('\n')
  if (version !== '0') fail(`version ${version} in its first line, only 0 is known`)
  if (count !== String(lines.length)) fail(`it says ${count} lines and has ${lines.length}`)
  return lines
}

export interface EpochEntry {
  readonly epoch: number
  readonly startOffset: number
}

export function decodeEpochCheckpoint(text: string): EpochEntry[] {
  return checkpointLines(text).map((line) => {
    const parts = /^(\d{1,10}) (\d{1,16})$/.exec(line)
    if (parts === null) return fail(`the line ${JSON.stringify(line)} is not 'epoch offset'`)
    return { epoch: Number(parts[1]), startOffset: Number(parts[2]) }
  })
}

export interface OffsetCheckpointEntry {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

export const OFFSET_CHECKPOINTS = {
  recoveryPoint: 'recovery-point-offset-checkpoint',
  logStart: 'log-start-offset-checkpoint',
  replication: 'replication-offset-checkpoint',
  cleaner: 'cleaner-offset-checkpoint',
} as const

export function decodeOffsetCheckpoint(text: string): OffsetCheckpointEntry[] {
  return checkpointLines(text).map((line) => {
    const parts = /^([a-zA-Z0-9._-]{1,249}) (\d{1,10}) (\d{1,16})$/.exec(line)
    if (parts === null) return fail(`the line ${JSON.stringify(line)} is not 'topic partition offset'`)
    return { topic: parts[1]!, partition: Number(parts[2]), offset: Number(parts[3]) }
  })
}

/** A file that varve.checksums vouches for; a name may be there twice, with its last contents and those before. */
export interface ChecksumEntry extends FileSum {
  readonly name: string
}

export const CHECKSUMS_NAME = 'varve.checksums'

export function decodeChecksums(bytes: Buffer): ChecksumEntry[] {
  const text = bytes.toString('latin1')
  const last = /(?:^|\n)(crc32c ([0-9a-f]{8})\n)$/.exec(text)
  if (last === null) return fail('its last line is not a CRC')
  checkCrc(Number.parseInt(last[2]!, 16), bytes.subarray(0, bytes.length - last[1]!.length))
  const [head, ...lines] = text.slice(0, -last[1]!.length).replace(/\n$/, '').split('\n')
  if (head !== 'varve-checksums 1') fail(`it begins with ${JSON.stringify(head)}, only varve-checksums 1 is known`)
  return lines.map((line) => {
    const parts = /^([0-9a-f]{8}) (\d{1,10}) (.+)$/.exec(line)
    if (parts === null) return fail(`the line ${JSON.stringify(line)} is not 'crc size name'`)
    return { crc: Number.parseInt(parts[1]!, 16), bytes: Number(parts[2]), name: parts[3]! }
  })
}

export function decodePartitionMetadata(text: string): string {
  const found = /^version: 0\ntopic_id: ([A-Za-z0-9_-]{22})\s*(?:\n|$)/.exec(text)
  if (found === null) return fail("it is not 'version: 0' and 'topic_id: ID'")
  return found[1]!
}

/** Ours: where a log that was truncated after the last checkpoint begins to need a scan. */
export const TRUNCATION_MARK_NAME = 'varve-truncation-mark'

export function decodeTruncationMark(text: string): number {
  const found = /^varve-truncation-mark 1\n(\d{1,16}) ([0-9a-f]{8})\n$/.exec(text)
  if (found === null) return fail("it is not 'varve-truncation-mark 1' and 'offset crc'")
  checkCrc(Number.parseInt(found[2]!, 16), Buffer.from(found[1]!))
  return Number(found[1])
}

/** The record of a control batch that ends a transaction, by its key; null: another kind. */
export function markerOf(key: Uint8Array | null): 'commit' | 'abort' | null {
  if (key === null || key.length < 4) return null
  const type = Buffer.from(key.buffer, key.byteOffset, key.byteLength).readInt16BE(2)
  return type === 1 ? 'commit' : type === 0 ? 'abort' : null
}
