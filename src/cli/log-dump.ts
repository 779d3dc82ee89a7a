// SPDX-License-Identifier: Apache-2.0
// `varve log dump`: the files of a partition as lines for people, or as one JSON object a line. Reads only; what is damaged is
// shown as such and stepped over.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Compression, type RecordBatch, records } from '../protocol/record-batch.ts'
import { nativeCodec } from '../storage/codec.ts'
import {
  CHECKSUMS_NAME,
  decodeChecksums,
  decodeEpochCheckpoint,
  decodeOffsetCheckpoint,
  decodeOffsetIndex,
  decodePartitionMetadata,
  decodeProducerSnapshot,
  decodeSeal,
  decodeTimeIndex,
  decodeTruncationMark,
  decodeTxnIndex,
  type FileSum,
  FormatError,
  hex32,
  markerOf,
  OFFSET_CHECKPOINTS,
  parsePartitionName,
  parseSegmentFileName,
  type SegmentFileName,
  TRUNCATION_MARK_NAME,
} from './log-formats.ts'
import { SegmentWalk } from './log-segment.ts'
import { bytesJson, bytesText, counted, quoted, timeText, toJson } from './log-text.ts'

export interface DumpOptions {
  readonly records: boolean
  readonly hex: boolean
  readonly json: boolean
  /** Batches and entries before this offset are left out. */
  readonly from: number
  /** Batches or entries of one file, at most. */
  readonly limit: number
}

/** What is wrong with what the user named; nothing was printed then. */
export class NothingToShow extends Error {}

const CODEC_NAMES = Object.fromEntries(Object.entries(Compression).map(([name, id]) => [id, name]))
const TOP_LEVEL: ReadonlySet<string> = new Set([...Object.values(OFFSET_CHECKPOINTS), CHECKSUMS_NAME])
const PARTITION_FILES: ReadonlySet<string> = new Set([
  'leader-epoch-checkpoint',
  'partition.metadata',
  TRUNCATION_MARK_NAME,
])

function isKnown(name: string): boolean {
  return parseSegmentFileName(name) !== null || TOP_LEVEL.has(name) || PARTITION_FILES.has(name)
}

/** The files that `paths` name: files as they are, directories with all in them that has a format. Throws NothingToShow. */
export function filesToDump(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    let isDirectory: boolean
    try {
      isDirectory = statSync(path).isDirectory()
    } catch (error) {
      throw new NothingToShow(`${path} can't be read: ${reason(error)}`)
    }
    if (!isDirectory) {
      if (isKnown(basename(path))) return [path]
      throw new NothingToShow(
        `${path} is no file of a log: expected a name like 00000000000000000000.log, .index, .timeindex, .txnindex, .snapshot or .seal, or a checkpoint`,
      )
    }
    const files = filesIn(path)
    if (files.length > 0) return files
    throw new NothingToShow(
      `${path} holds no .log files and no directories of partitions (TOPIC-N): name a log directory, one of its partitions, or files`,
    )
  })
}

function filesIn(directory: string): string[] {
  const entries = readdirSync(directory, { withFileTypes: true }).sort((a, b) =>
    orderOf(a.name) < orderOf(b.name) ? -1 : 1,
  )
  const own = entries.filter((entry) => entry.isFile() && isKnown(entry.name)).map(({ name }) => join(directory, name))
  const partitions = entries.filter((entry) => entry.isDirectory() && parsePartitionName(entry.name) !== null)
  return [...own, ...partitions.flatMap(({ name }) => filesIn(join(directory, name)))]
}

/** By name, but the .log of a segment before its indexes. */
function orderOf(name: string): string {
  return name.replace(/^(\d{20})\.log/, '$1.')
}

function reason(error: unknown): string {
  if (error instanceof FormatError) return error.message
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'permission denied' : message
}

/** Prints each file; returns whether anything was damaged. */
export function* dumpFiles(files: readonly string[], options: DumpOptions): Generator<string, boolean> {
  let damaged = false
  for (const file of files) {
    if (!options.json) yield `== ${file}`
    try {
      damaged = (yield* dumpFile(file, options)) || damaged
    } catch (error) {
      damaged = true
      yield options.json ? toJson({ type: 'damage', file, damage: reason(error) }) : `damaged: ${reason(error)}`
    }
  }
  return damaged
}

function* dumpFile(file: string, options: DumpOptions): Generator<string, boolean> {
  const name = basename(file)
  const segmentFile = parseSegmentFileName(name)
  if (segmentFile?.suffix === '.log') return yield* dumpSegment(file, options)
  const bytes = readFileSync(file)
  let shown = 0
  for (const { type, fields } of segmentFile === null ? smallFile(name, bytes) : sidecar(segmentFile, bytes)) {
    const offset = fields.lastOffset ?? fields.offset
    if (segmentFile !== null && typeof offset === 'number' && offset < options.from) continue
    if (shown++ >= options.limit) break
    yield options.json ? toJson({ type, file, ...fields }) : line(type, fields)
  }
  return false
}

interface Shown {
  readonly type: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Each thing with its fields in order: `type name value name value ...`. */
function line(type: string, fields: Readonly<Record<string, unknown>>): string {
  const parts = Object.entries(fields).map(([name, value]) => {
    if (/timestamp(?:ms)?$/i.test(name) && typeof value === 'number' && !/^offset/.test(name))
      return `${name.replace(/Ms$/, '')} ${timeText(value)}`
    if (/crcs?$/i.test(name))
      return `${name} ${Array.isArray(value) ? value.map(hex32).join(' ') : hex32(value as number)}`
    if (isFileSum(value)) return `${name} ${counted(value.bytes, 'byte')} ${hex32(value.crc)}`
    return `${name} ${String(value)}`
  })
  return `${type} ${parts.join(' ')}`
}

function isFileSum(value: unknown): value is FileSum {
  return typeof value === 'object' && value !== null && 'bytes' in value && 'crc' in value
}

function* sidecar(name: SegmentFileName, bytes: Buffer): Generator<Shown> {
  switch (name.suffix) {
    case '.index': {
      const { entries, zeroBytes } = decodeOffsetIndex(bytes, name.baseOffset)
      for (const { offset, position } of entries) yield { type: 'entry', fields: { offset, position } }
      if (zeroBytes > 0) yield { type: 'allocated', fields: { zeroBytes } }
      return
    }
    case '.timeindex': {
      const { entries, zeroBytes } = decodeTimeIndex(bytes, name.baseOffset)
      for (const { timestampMs, offset } of entries) yield { type: 'entry', fields: { timestampMs, offset } }
      if (zeroBytes > 0) yield { type: 'allocated', fields: { zeroBytes } }
      return
    }
    case '.txnindex':
      for (const aborted of decodeTxnIndex(bytes)) yield { type: 'aborted', fields: { ...aborted } }
      return
    case '.snapshot':
      for (const producer of decodeProducerSnapshot(bytes)) yield { type: 'producer', fields: { ...producer } }
      return
    case '.seal':
      yield { type: 'seal', fields: { ...decodeSeal(bytes) } }
      return
    case '.log':
      return
    default:
      return name.suffix satisfies never
  }
}

function* smallFile(name: string, bytes: Buffer): Generator<Shown> {
  const text = bytes.toString('utf8')
  if (name === CHECKSUMS_NAME) {
    for (const { name: vouched, bytes: size, crc } of decodeChecksums(bytes))
      yield { type: 'vouches', fields: { name: vouched, bytes: size, crc } }
  } else if (TOP_LEVEL.has(name)) {
    for (const { topic, partition, offset } of decodeOffsetCheckpoint(text))
      yield { type: 'partition', fields: { topic, partition, offset } }
  } else if (name === 'partition.metadata') {
    yield { type: 'topic', fields: { id: decodePartitionMetadata(text) } }
  } else if (name === TRUNCATION_MARK_NAME) {
    yield { type: 'mark', fields: { offset: decodeTruncationMark(text) } }
  } else {
    for (const { epoch, startOffset } of decodeEpochCheckpoint(text))
      yield { type: 'epoch', fields: { epoch, startOffset } }
  }
}

function* dumpSegment(file: string, options: DumpOptions): Generator<string, boolean> {
  const { json } = options
  const walk = new SegmentWalk(file)
  let damaged = false
  let shown = 0
  try {
    for (const step of walk.steps()) {
      const { position, size } = step
      switch (step.kind) {
        case 'batch': {
          const isDamaged = step.computedCrc !== step.header.crc
          if (isDamaged) damaged = true
          if (step.header.nextOffset <= options.from) break
          if (shown++ >= options.limit) return damaged
          yield json
            ? toJson(batchJson(file, position, size, step.header, step.computedCrc))
            : batchLine(position, size, step.header, step.computedCrc)
          if (options.records && !isDamaged) damaged = (yield* dumpRecords(file, step.load(), options)) || damaged
          break
        }
        case 'old':
          yield json
            ? toJson({ type: 'old', file, position, size, magic: step.magic })
            : `message of format ${step.magic} position ${position} size ${size}: only format 2 is read`
          break
        case 'zeros':
          yield json
            ? toJson({ type: 'allocated', file, position, zeroBytes: size })
            : `allocated position ${position} zeroBytes ${size}`
          break
        case 'broken':
          damaged = true
          yield json
            ? toJson({ type: 'damage', file, position, size, damage: step.why })
            : `damaged position ${position} size ${size}: ${step.why}`
          break
        default:
          step satisfies never
      }
    }
  } finally {
    walk.close()
  }
  return damaged
}

function batchLine(position: number, size: number, batch: RecordBatch, computedCrc: number): string {
  const parts = [
    `batch offsets ${batch.baseOffset}..${batch.nextOffset - 1} position ${position} size ${size}`,
    `records ${batch.recordCount} codec ${CODEC_NAMES[batch.compression] ?? batch.compression}`,
    `leaderEpoch ${batch.leaderEpoch}`,
  ]
  if (batch.producerId !== -1n)
    parts.push(`producerId ${batch.producerId} producerEpoch ${batch.producerEpoch} sequence ${batch.baseSequence}`)
  parts.push(
    batch.isLogAppendTime
      ? `appended ${timeText(batch.maxTimestampMs)}`
      : `timestamps ${timeText(batch.baseTimestampMs)}..${timeText(batch.maxTimestampMs)}`,
  )
  if (batch.isTransactional) parts.push('transactional')
  if (batch.isControl) parts.push('control')
  parts.push(
    computedCrc === batch.crc ? 'crc ok' : `crc DAMAGED: ${hex32(batch.crc)} stored, ${hex32(computedCrc)} computed`,
  )
  return parts.join(' ')
}

function batchJson(file: string, position: number, size: number, batch: RecordBatch, computedCrc: number): object {
  return {
    type: 'batch',
    file,
    position,
    size,
    baseOffset: batch.baseOffset,
    lastOffset: batch.nextOffset - 1,
    recordCount: batch.recordCount,
    codec: CODEC_NAMES[batch.compression] ?? String(batch.compression),
    leaderEpoch: batch.leaderEpoch,
    producerId: batch.producerId,
    producerEpoch: batch.producerEpoch,
    baseSequence: batch.baseSequence,
    baseTimestampMs: batch.baseTimestampMs,
    maxTimestampMs: batch.maxTimestampMs,
    logAppendTime: batch.isLogAppendTime,
    transactional: batch.isTransactional,
    control: batch.isControl,
    crc: batch.crc,
    crcOk: computedCrc === batch.crc,
  }
}

/** Of a marker's value: version int16, epoch int32; null: not there. */
function coordinatorEpochOf(value: Uint8Array | null): number | null {
  if (value === null || value.length < 6) return null
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).readInt32BE(2)
}

function* dumpRecords(file: string, batch: RecordBatch, { hex, json }: DumpOptions): Generator<string, boolean> {
  try {
    for (const { offset, timestampMs, key, value, headers } of records(batch, nativeCodec)) {
      const marker = batch.isControl ? markerOf(key) : null
      if (marker !== null) {
        const coordinatorEpoch = coordinatorEpochOf(value)
        yield json
          ? toJson({ type: 'marker', offset, timestampMs, marker, coordinatorEpoch })
          : `  offset ${offset} timestamp ${timeText(timestampMs)} ${marker} marker coordinatorEpoch ${coordinatorEpoch}`
        continue
      }
      if (json) {
        yield toJson({
          type: 'record',
          offset,
          timestampMs,
          ...bytesJson('key', key, hex),
          ...bytesJson('value', value, hex),
          headers: headers.map((header) => ({ key: header.key, ...bytesJson('value', header.value, hex) })),
        })
        continue
      }
      const parts = [`  offset ${offset} timestamp ${timeText(timestampMs)}`]
      parts.push(`key ${bytesText(key, hex)} value ${bytesText(value, hex)}`)
      for (const header of headers) parts.push(`header ${quoted(header.key)} ${bytesText(header.value, hex)}`)
      yield parts.join(' ')
    }
    return false
  } catch (error) {
    const damage = `its ${counted(batch.recordCount, 'record')} can't be read: ${(error as Error).message}`
    yield json ? toJson({ type: 'damage', file, offset: batch.baseOffset, damage }) : `  damaged: ${damage}`
    return true
  }
}
