// SPDX-License-Identifier: Apache-2.0
// `varve log verify`: whether what lies in log directories fits together: batches (CRC, offsets, epochs), indexes, seals, leader
// epochs, producer snapshots, checkpoints. Takes no lock and changes nothing, so that a broker may be running on the directory or
// have been killed there; what a crash leaves behind the last recovery point is a note, since the next start cuts it.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { native } from '../storage/native.ts'
import {
  CHECKSUMS_NAME,
  decodeChecksums,
  decodeOffsetCheckpoint,
  FormatError,
  OFFSET_CHECKPOINTS,
  parsePartitionName,
  parseSegmentFileName,
} from './log-formats.ts'
import { counted } from './log-text.ts'
import { type PartitionContext, verifyPartition } from './log-verify-partition.ts'

export interface Finding {
  readonly type: 'problem' | 'note'
  readonly file: string
  readonly position?: number
  readonly offset?: number
  readonly text: string
}

export interface VerifyOptions {
  /** Decode every record. */
  readonly deep: boolean
  /** Holes between batches are fine everywhere. */
  readonly allowGaps: boolean
}

export interface Totals {
  partitions: number
  segments: number
  batches: number
  records: number
  bytes: number
  problems: number
  notes: number
}

/** The directory can't be looked at: nothing was verified. */
export class NotALog extends Error {}

interface LogDirectory {
  readonly path: string
  /** Pid of the process that has it, 0 when unknown; null: nobody. */
  readonly owner: number | null
  readonly isClean: boolean
  readonly recoveryPoints: ReadonlyMap<string, number>
  readonly logStarts: ReadonlyMap<string, number>
  readonly compacted: ReadonlySet<string>
}

/** Topics that Kafka and varve compact without being told. */
const COMPACTED_TOPICS = ['__consumer_offsets', '__transaction_state', '__share_group_state', '__cluster_metadata']
const CLEAN_MARK = '.kafka_cleanshutdown'
const REPORTED_PER_FILE_MAX = 20

export function* verifyDirectories(paths: readonly string[], options: VerifyOptions): Generator<Finding, Totals> {
  const totals: Totals = { partitions: 0, segments: 0, batches: 0, records: 0, bytes: 0, problems: 0, notes: 0 }
  const plans = paths.map((path) => ({ path, partitions: partitionsOf(path) }))
  const seen = new Map<string, string>()
  for (const { path, partitions } of plans) {
    const isLogDirectory = partitions !== null
    const top = isLogDirectory ? path : join(path, '..')
    const directory = yield* counting(readLogDirectory(top, isLogDirectory), totals)
    if (directory?.owner != null && isLogDirectory)
      yield* counting(one('note', path, `in use by ${ownerText(directory.owner)}: its tail may move`), totals)
    for (const name of partitions ?? ['.']) {
      const partitionPath = isLogDirectory ? join(path, name) : path
      const other = isLogDirectory ? seen.get(name) : undefined
      if (other !== undefined)
        yield* counting(one('problem', partitionPath, `the same partition is in ${other} too`), totals)
      seen.set(name, path)
      totals.partitions++
      const context = contextOf(partitionPath, isLogDirectory ? name : lastName(partitionPath), directory, options)
      yield* limited(counting(verifyPartition(context, totals), totals))
    }
  }
  return totals
}

export function findingText({ type, file, position, offset, text }: Finding): string {
  const at = [
    position === undefined ? '' : `position ${position}`,
    offset === undefined ? '' : `offset ${offset}`,
  ].filter((part) => part !== '')
  return `${type === 'note' ? 'note: ' : ''}${file}${at.length === 0 ? '' : `: ${at.join(', ')}`}: ${text}`
}

export function totalsText({ partitions, segments, batches, records, bytes, problems }: Totals): string {
  const looked = [
    counted(partitions, 'partition'),
    counted(segments, 'segment'),
    counted(batches, 'batch'),
    counted(records, 'record'),
    counted(bytes, 'byte'),
  ]
  return `${looked.join(', ')}: ${problems === 0 ? 'no problems' : counted(problems, 'problem')}`
}

function* one(type: Finding['type'], file: string, text: string): Generator<Finding> {
  yield { type, file, text }
}

function* counting<T>(findings: Generator<Finding, T>, totals: Totals): Generator<Finding, T> {
  for (;;) {
    const next = findings.next()
    if (next.done) return next.value
    if (next.value.type === 'problem') totals.problems++
    else totals.notes++
    yield next.value
  }
}

/** A damaged file can be wrong at every byte: the first findings of each are enough. */
function* limited(findings: Generator<Finding, void>): Generator<Finding, void> {
  const counts = new Map<string, number>()
  for (const finding of findings) {
    const count = (counts.get(finding.file) ?? 0) + 1
    counts.set(finding.file, count)
    if (count <= REPORTED_PER_FILE_MAX) yield finding
  }
  for (const [file, count] of counts)
    if (count > REPORTED_PER_FILE_MAX)
      yield { type: 'problem', file, text: `${counted(count - REPORTED_PER_FILE_MAX, 'more finding')} not listed` }
}

function ownerText(pid: number): string {
  return pid === 0 ? 'another process' : `process ${pid}`
}

function lastName(path: string): string {
  return path.replace(/\/+$/, '').split('/').at(-1)!
}

/** Names of the partitions in a log directory; null: `path` is a partition itself. Throws NotALog. */
function partitionsOf(path: string): string[] | null {
  let entries: Array<{ name: string; isDirectory: boolean }>
  try {
    if (!statSync(path).isDirectory())
      throw new NotALog(`${path} is a file: name its directory (varve log dump shows single files)`)
    entries = readdirSync(path, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      isDirectory: entry.isDirectory(),
    }))
  } catch (error) {
    if (error instanceof NotALog) throw error
    throw new NotALog(`${path} can't be read: ${(error as Error).message}`)
  }
  if (entries.some(({ name }) => parseSegmentFileName(name) !== null || name === 'partition.metadata')) return null
  const partitions = entries
    .filter(({ name, isDirectory }) => isDirectory && parsePartitionName(name) !== null)
    .map(({ name }) => name)
  const isLogDirectory = entries.some(
    ({ name }) => name === 'meta.properties' || name === OFFSET_CHECKPOINTS.recoveryPoint,
  )
  if (partitions.length === 0 && !isLogDirectory)
    throw new NotALog(
      `${path} holds no .log files and no directories of partitions (TOPIC-N): name a log directory or one of its partitions`,
    )
  return partitions.sort(byTopicAndNumber)
}

function byTopicAndNumber(a: string, b: string): number {
  const [left, right] = [parsePartitionName(a)!, parsePartitionName(b)!]
  if (left.topic !== right.topic) return left.topic < right.topic ? -1 : 1
  return left.partition - right.partition
}

function contextOf(
  path: string,
  name: string,
  directory: LogDirectory | null,
  { deep, allowGaps }: VerifyOptions,
): PartitionContext {
  const topic = parsePartitionName(name)?.topic
  const recoveryPoint = directory === null ? null : (directory.recoveryPoints.get(name) ?? 0)
  const isUnclean = directory !== null && !directory.isClean
  return {
    path,
    deep,
    isLive: directory?.owner != null,
    mayHaveGaps:
      allowGaps || directory?.compacted.has(name) === true || (topic !== undefined && COMPACTED_TOPICS.includes(topic)),
    logStart: directory === null ? null : (directory.logStarts.get(name) ?? 0),
    unsettledFrom: isUnclean ? recoveryPoint! : Infinity,
    recoveryPoint,
  }
}

/** What the top of a log directory says; null when `path` (the parent of a single partition) is none. */
function* readLogDirectory(path: string, mustBe: boolean): Generator<Finding, LogDirectory | null> {
  const names = new Set(readdirSync(path))
  if (!mustBe && !names.has('meta.properties') && !names.has(OFFSET_CHECKPOINTS.recoveryPoint)) return null
  const owner = lockOwner(join(path, '.lock'))
  const isClean = owner === null && names.has(CLEAN_MARK)
  const offsets = function* (name: string): Generator<Finding, Map<string, number>> {
    if (!names.has(name)) return new Map()
    const file = join(path, name)
    try {
      const entries = decodeOffsetCheckpoint(readFileSync(file, 'utf8'))
      return new Map(entries.map(({ topic, partition, offset }) => [`${topic}-${partition}`, offset]))
    } catch (error) {
      if (!(error instanceof FormatError)) throw error
      yield { type: 'problem', file, text: error.message }
      return new Map()
    }
  }
  const recoveryPoints = yield* offsets(OFFSET_CHECKPOINTS.recoveryPoint)
  const logStarts = yield* offsets(OFFSET_CHECKPOINTS.logStart)
  const compacted = new Set((yield* offsets(OFFSET_CHECKPOINTS.cleaner)).keys())
  yield* offsets(OFFSET_CHECKPOINTS.replication)
  if (names.has(CHECKSUMS_NAME)) yield* verifyChecksums(path, isClean)
  for (const name of names) {
    const marked = /-(delete|stray|future)$/.exec(name)?.[1]
    if (marked === 'delete') yield { type: 'note', file: join(path, name), text: 'waits for its removal' }
    else if (marked !== undefined)
      yield { type: 'note', file: join(path, name), text: `not looked at: it is ${marked}` }
  }
  return { path, owner, isClean, recoveryPoints, logStarts, compacted }
}

/** Small files against what varve wrote last, or the time before. */
function* verifyChecksums(path: string, isClean: boolean): Generator<Finding, void> {
  const sidecar = join(path, CHECKSUMS_NAME)
  let vouched: ReturnType<typeof decodeChecksums>
  try {
    vouched = decodeChecksums(readFileSync(sidecar))
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    yield { type: 'problem', file: sidecar, text: error.message }
    return
  }
  for (const name of new Set(vouched.map((entry) => entry.name))) {
    const file = join(path, name)
    let bytes: Buffer
    try {
      bytes = readFileSync(file)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      // Of a deleted partition, or of one that never had an epoch; where it is needed, the partition's check misses it.
      if (code !== 'ENOENT' || !name.includes('/'))
        yield { type: 'problem', file, text: `${CHECKSUMS_NAME} knows it, but it can't be read: ${message}` }
      continue
    }
    const crc = native.crc32c(0, bytes)
    if (vouched.some((entry) => entry.name === name && entry.bytes === bytes.length && entry.crc === crc)) continue
    // A partition's own files are written between two checkpoints too.
    const isSettled = isClean || !name.includes('/')
    yield { type: isSettled ? 'problem' : 'note', file, text: `it is not what varve wrote by ${CHECKSUMS_NAME}` }
  }
}

/** Who has a lock on the file, by the kernel's list of locks: taking it to see would keep a broker from starting. */
function lockOwner(file: string): number | null {
  let locks: string
  let identity: { dev: number; ino: number }
  try {
    identity = statSync(file)
    locks = readFileSync('/proc/locks', 'utf8')
  } catch {
    return null
  }
  const major = (identity.dev >>> 8) & 0xfff
  const minor = (identity.dev & 0xff) | ((identity.dev >>> 12) & 0xfff00)
  for (const line of locks.split('\n')) {
    // 1: POSIX ADVISORY WRITE 4711 08:01:123 0 EOF; a lock of an open file description has no pid.
    const found = /: (?:POSIX|OFDLCK|FLOCK)\s+\S+\s+WRITE\s+(-?\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) /.exec(line)
    if (found === null || Number(found[4]) !== identity.ino) continue
    if (Number.parseInt(found[2]!, 16) !== major || Number.parseInt(found[3]!, 16) !== minor) continue
    const pid = Number(found[1])
    return pid > 0 ? pid : Number.parseInt(readFileSync(file, 'utf8'), 10) || 0
  }
  return null
}
