// SPDX-License-Identifier: Apache-2.0
// One partition's directory for `varve log verify`: walks every batch once, and holds indexes, seals, leader epochs and producer
// snapshots against what it saw. Memory is bounded by index entries and producers, never by records.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RecordBatch } from '../protocol/record-batch.ts'
import { native } from '../storage/native.ts'
import {
  type AbortedTxn,
  decodeEpochCheckpoint,
  decodeOffsetIndex,
  decodePartitionMetadata,
  decodeProducerSnapshot,
  decodeSeal,
  decodeTimeIndex,
  decodeTruncationMark,
  decodeTxnIndex,
  type Entries,
  type EpochEntry,
  type FileSum,
  FormatError,
  type OffsetIndexEntry,
  type ProducerSnapshotEntry,
  parseSegmentFileName,
  type Seal,
  type SegmentSuffix,
  segmentFileName,
  type TimeIndexEntry,
  TRUNCATION_MARK_NAME,
} from './log-formats.ts'
import { type BatchStep, SegmentWalk } from './log-segment.ts'
import { counted, timeText } from './log-text.ts'
import type { Finding, Totals } from './log-verify.ts'
import { SegmentCheck } from './log-verify-segment.ts'

export interface PartitionContext {
  readonly path: string
  /** Decode every record. */
  readonly deep: boolean
  /** A process has the directory open. */
  readonly isLive: boolean
  /** Compacted: offsets may be missing between batches. */
  readonly mayHaveGaps: boolean
  /** null: not known. */
  readonly logStart: number | null
  /** From this offset on, what a crash may leave is a note. Infinity: nowhere. */
  readonly unsettledFrom: number
  /** By the directory's checkpoint; null: not known. */
  readonly recoveryPoint: number | null
}

export type Findings<T = void> = Generator<Finding, T>

/** An aborted transaction as it was seen. */
export interface EndedTxn {
  readonly firstOffset: number
  readonly lastStableOffset: number
}

interface Producer {
  epoch: number
  lastSequence: number
  lastOffset: number
}

export interface Sidecars {
  readonly seal: Seal | null
  readonly offsets: Entries<OffsetIndexEntry> | null
  readonly times: Entries<TimeIndexEntry> | null
  readonly aborted: readonly AbortedTxn[]
  readonly sums: Readonly<Record<'.index' | '.timeindex' | '.txnindex', FileSum>>
}

const SEQUENCES = 2 ** 31

export function* verifyPartition(context: PartitionContext, totals: Totals): Findings {
  let names: string[]
  try {
    names = readdirSync(context.path)
  } catch (error) {
    yield missing(context, context.path, error)
    return
  }
  yield* new PartitionCheck(context, totals, names).run()
}

/** A file that went away under a running broker is retention at work. */
function missing({ isLive }: PartitionContext, file: string, error: unknown): Finding {
  const { code, message } = error as NodeJS.ErrnoException
  return { type: isLive && code === 'ENOENT' ? 'note' : 'problem', file, text: `it can't be read: ${message}` }
}

export class PartitionCheck {
  readonly #context: PartitionContext
  readonly #totals: Totals
  readonly #names: ReadonlySet<string>
  readonly #bases: readonly number[]
  #epochs: readonly EpochEntry[] | null = null
  #epochAt = 0
  #epochDiffers = false
  /** What the next batch begins with; null: unknown, because what lay before is damaged. */
  #expected: number | null = null
  /** What it may begin with as well, behind a batch whose base offset is wrong. */
  #orElse: number | null = null
  #leaderEpoch = -1
  readonly #producers = new Map<bigint, Producer>()
  readonly #openTxns = new Map<bigint, number>()
  /** Everything from the first segment on was read: what was derived from it can be compared. */
  #isWhole = true
  readonly #told = new Set<string>()
  #snapshots: Array<{ offset: number; file: string }> = []

  constructor(context: PartitionContext, totals: Totals, names: readonly string[]) {
    this.#context = context
    this.#totals = totals
    this.#names = new Set(names)
    this.#bases = names
      .map(parseSegmentFileName)
      .filter((name) => name !== null && name.suffix === '.log' && name.state === null)
      .map((name) => name!.baseOffset)
      .sort((a, b) => a - b)
  }

  *run(): Findings {
    yield* this.#smallFiles()
    yield* this.#leftovers()
    this.#snapshots = [...this.#names]
      .map((name) => ({ name, parsed: parseSegmentFileName(name) }))
      .filter(({ parsed }) => parsed?.suffix === '.snapshot' && parsed.state === null)
      .map(({ name, parsed }) => ({ offset: parsed!.baseOffset, file: this.#path(name) }))
      .sort((a, b) => a.offset - b.offset)
    for (const [index, base] of this.#bases.entries()) {
      this.#totals.segments++
      try {
        yield* this.#segment(base, this.#bases[index + 1] ?? null)
      } catch (error) {
        yield missing(this.#context, this.#path(segmentFileName(base, '.log')), error)
        this.lose()
      }
    }
    yield* this.#snapshotsUpTo(Infinity)
    yield* this.#epochsAtEnd()
    yield* this.#checkpointsAtEnd()
  }

  #path(name: string): string {
    return join(this.#context.path, name)
  }

  // --- small files ---

  *#decoded<T>(name: string, decode: (bytes: Buffer) => T): Findings<T | null> {
    if (!this.#names.has(name)) return null
    const file = this.#path(name)
    try {
      return decode(readFileSync(file))
    } catch (error) {
      if (error instanceof FormatError) yield this.problem(file, error.message)
      else yield missing(this.#context, file, error)
      return null
    }
  }

  *#smallFiles(): Findings {
    yield* this.#decoded('partition.metadata', (bytes) => decodePartitionMetadata(bytes.toString('utf8')))
    const mark = yield* this.#decoded(TRUNCATION_MARK_NAME, (bytes) => decodeTruncationMark(bytes.toString('latin1')))
    if (mark !== null)
      yield {
        type: 'note',
        file: this.#path(TRUNCATION_MARK_NAME),
        text: `the log was truncated: the next start scans it from offset ${mark} on`,
      }
    const name = 'leader-epoch-checkpoint'
    const epochs = yield* this.#decoded(name, (bytes) => decodeEpochCheckpoint(bytes.toString('latin1')))
    for (let i = 1; i < (epochs?.length ?? 0); i++) {
      const [before, entry] = [epochs![i - 1]!, epochs![i]!]
      if (entry.epoch > before.epoch && entry.startOffset > before.startOffset) continue
      yield this.problem(
        this.#path(name),
        `epoch ${entry.epoch} at offset ${entry.startOffset} does not rise over epoch ${before.epoch} at ${before.startOffset}`,
      )
      return
    }
    // In a log directory every log with an epoch has the file.
    this.#epochs = !this.#names.has(name) && this.#context.logStart !== null ? [] : epochs
  }

  *#leftovers(): Findings {
    const states = new Map<string, number>()
    const bases = new Set(this.#bases)
    for (const name of this.#names) {
      const parsed = parseSegmentFileName(name)
      if (parsed === null) continue
      if (parsed.state !== null) states.set(parsed.state, (states.get(parsed.state) ?? 0) + 1)
      else if (parsed.suffix !== '.snapshot' && !bases.has(parsed.baseOffset))
        yield { type: 'note', file: this.#path(name), text: 'there is no .log file to it' }
    }
    const meanings: Record<string, string> = {
      deleted: 'to be removed',
      swap: 'complete, to replace segments at the next start',
      cleaned: 'unfinished, to be removed at the next start',
    }
    for (const [state, count] of states)
      yield { type: 'note', file: this.#context.path, text: `${counted(count, 'file')} ${meanings[state]} (.${state})` }
  }

  // --- one segment ---

  *#segment(base: number, nextBase: number | null): Findings {
    const file = this.#path(segmentFileName(base, '.log'))
    // Before the log: what a running broker adds meanwhile must not be ahead of it.
    const sidecars = yield* this.#sidecars(base)
    const walk = new SegmentWalk(file, this.#context.isLive && nextBase === null)
    try {
      const isExpected = base === this.#expected || base === this.#orElse
      this.#orElse = null
      if (this.#expected !== null && !isExpected && !(this.#context.mayHaveGaps && base > this.#expected)) {
        const what = base > this.#expected ? 'offsets are missing' : 'offsets are there twice'
        yield this.problem(file, `the segment before it ends with offset ${this.#expected - 1}: ${what}`)
      }
      this.#expected = this.#context.mayHaveGaps ? Math.max(this.#expected ?? base, base) : base
      yield* new SegmentCheck(this, file, base, nextBase, sidecars, walk).run()
    } finally {
      walk.close()
    }
  }

  *#sidecars(base: number): Findings<Sidecars> {
    const none: FileSum = { bytes: 0, crc: 0 }
    const sums = { '.index': none, '.timeindex': none, '.txnindex': none }
    const load = <T>(suffix: SegmentSuffix, decode: (bytes: Buffer) => T): Findings<T | null> =>
      this.#decoded(segmentFileName(base, suffix), (bytes) => {
        if (suffix in sums) sums[suffix as keyof typeof sums] = { bytes: bytes.length, crc: native.crc32c(0, bytes) }
        return decode(bytes)
      })
    const seal = yield* load('.seal', decodeSeal)
    const offsets = yield* this.#inOrder(
      this.#path(segmentFileName(base, '.index')),
      yield* load('.index', (bytes) => decodeOffsetIndex(bytes, base)),
      (a, b) => a.offset < b.offset && a.position < b.position,
      ({ offset, position }) => `offset ${offset} at position ${position}`,
    )
    const times = yield* this.#inOrder(
      this.#path(segmentFileName(base, '.timeindex')),
      yield* load('.timeindex', (bytes) => decodeTimeIndex(bytes, base)),
      (a, b) => a.timestampMs < b.timestampMs && a.offset <= b.offset,
      ({ offset, timestampMs }) => `${timeText(timestampMs)} at offset ${offset}`,
    )
    const aborted = (yield* load('.txnindex', decodeTxnIndex)) ?? []
    return { seal, offsets, times, aborted, sums }
  }

  /** The entries without those that break the order, which are told. */
  *#inOrder<T>(
    file: string,
    index: Entries<T> | null,
    isBefore: (a: T, b: T) => boolean,
    text: (entry: T) => string,
  ): Findings<Entries<T> | null> {
    if (index === null) return null
    const kept: T[] = []
    for (const [i, entry] of index.entries.entries()) {
      const before = kept.at(-1)
      const next = index.entries[i + 1]
      const follows = before === undefined || isBefore(before, entry)
      // One that the next one does not follow, although it follows the one before: this one is wrong.
      const isAhead = next !== undefined && !isBefore(entry, next) && (before === undefined || isBefore(before, next))
      if (follows && !isAhead) kept.push(entry)
      else yield this.problem(file, `its entry ${i} breaks the order: ${text(entry)}`)
    }
    return { ...index, entries: kept }
  }

  // --- what a batch means for the partition ---

  get context(): PartitionContext {
    return this.#context
  }
  get totals(): Totals {
    return this.#totals
  }
  get expected(): number | null {
    return this.#expected
  }
  /** Where the first segment begins: of transactions that are older nothing was seen. */
  get firstOffset(): number {
    return this.#bases[0] ?? 0
  }
  get isWhole(): boolean {
    return this.#isWhole
  }
  /** What lies before is damaged: nothing that follows from it is known. */
  lose(): void {
    this.#expected = null
    this.#isWhole = false
    this.#producers.clear()
    this.#openTxns.clear()
  }
  /** What a crash may have left at or behind the recovery point is no problem: the next start puts it right. */
  problem(
    file: string,
    text: string,
    at: { position?: number; offset?: number } = {},
    mayBeUnsettled = false,
  ): Finding {
    this.#told.add(file)
    const isNote = mayBeUnsettled && (at.offset ?? this.#expected ?? 0) >= this.#context.unsettledFrom
    return {
      type: isNote ? 'note' : 'problem',
      file,
      ...at,
      text: isNote ? `${text}; the next start repairs it` : text,
    }
  }

  /** Whether something was found wrong with a file. */
  hasTold(file: string): boolean {
    return this.#told.has(file)
  }

  /** For a batch with a right CRC: offset and epoch against what came before; whether its offset can be believed. */
  *onBatch(file: string, { header, position }: BatchStep): Findings<boolean> {
    const { baseOffset } = header
    const at = { position, offset: baseOffset }
    const expected = this.#expected
    const isGap = expected !== null && baseOffset > expected
    const isPlaced =
      expected === null ||
      baseOffset === expected ||
      baseOffset === this.#orElse ||
      (isGap && this.#context.mayHaveGaps)
    this.#orElse = null
    if (!isPlaced) {
      yield this.problem(
        file,
        `its base offset should be ${expected}: offsets are ${isGap ? 'missing' : 'there twice'}`,
        at,
      )
      this.lose()
      // Either batches are gone, or this one's base offset (which no CRC covers) is wrong and the next one goes on from before.
      this.#orElse = expected + header.lastOffsetDelta + 1
      this.#expected = header.nextOffset
      return false
    }
    yield* this.#snapshotsUpTo(baseOffset)
    this.#expected = header.nextOffset
    yield* this.#onEpoch(file, header, at)
    return true
  }

  /** The epoch lies outside of the CRC too. Tells where a difference begins, not every batch of it. */
  *#onEpoch(file: string, header: RecordBatch, at: { position: number; offset: number }): Findings {
    const { leaderEpoch, baseOffset } = header
    const epochs = this.#epochs
    if (epochs === null) {
      if (leaderEpoch < this.#leaderEpoch)
        yield this.problem(file, `its leader epoch ${leaderEpoch} comes after epoch ${this.#leaderEpoch}`, at)
      this.#leaderEpoch = leaderEpoch
      return
    }
    // Without a log directory nothing says where the log starts: what the first entry says has to do.
    if (baseOffset < (this.#context.logStart ?? epochs[0]?.startOffset ?? 0)) return
    while (this.#epochAt + 1 < epochs.length && epochs[this.#epochAt + 1]!.startOffset <= baseOffset) this.#epochAt++
    const entry = epochs[this.#epochAt]
    const known = entry !== undefined && entry.startOffset <= baseOffset ? entry.epoch : -1
    // The file is written with the recovery point: what came later is in the batches only.
    const differs = known !== leaderEpoch && baseOffset < this.#context.unsettledFrom
    if (differs && !this.#epochDiffers) {
      const name = 'leader-epoch-checkpoint'
      const says = !this.#names.has(name)
        ? `and there is no ${name}`
        : `${name} says ${known === -1 ? 'none' : known} for its offset`
      yield this.problem(file, `its leader epoch is ${leaderEpoch}, ${says}`, at)
    }
    this.#epochDiffers = differs
  }

  *#epochsAtEnd(): Findings {
    const end = this.#expected
    const last = this.#epochs?.at(-1)
    if (end === null || last === undefined || last.startOffset <= end || this.#bases.length === 0) return
    yield this.problem(
      this.#path('leader-epoch-checkpoint'),
      `epoch ${last.epoch} begins at offset ${last.startOffset}, behind the log's end at ${end}`,
      { offset: last.startOffset },
      true,
    )
  }

  /** What was on stable storage must still be there. */
  *#checkpointsAtEnd(): Findings {
    const { path, logStart, recoveryPoint, isLive } = this.#context
    const end = this.#bases.length === 0 ? (logStart ?? 0) : this.#expected
    if (end === null || isLive || this.#names.has(TRUNCATION_MARK_NAME)) return
    if (recoveryPoint !== null && recoveryPoint > end)
      yield this.problem(path, `it ends with offset ${end - 1}, but all below ${recoveryPoint} was on stable storage`)
    if (logStart !== null && logStart > end)
      yield this.problem(path, `it starts at offset ${logStart}, behind its end at ${end}`)
  }

  /** The aborted transaction that a marker ends, as the index should have it; null: none that began in what was read. */
  onProducer(header: RecordBatch, marker: 'commit' | 'abort' | null): EndedTxn | null {
    const { producerId, producerEpoch, baseOffset } = header
    if (producerId < 0n) return null
    if (header.isControl) {
      const producer = this.#producers.get(producerId)
      if (producer !== undefined && producer.epoch !== producerEpoch) this.#producers.delete(producerId)
      if (marker === null) return null
      const firstOffset = this.#openTxns.get(producerId)
      this.#openTxns.delete(producerId)
      if (marker !== 'abort' || firstOffset === undefined) return null
      return { firstOffset, lastStableOffset: Math.min(header.nextOffset, ...this.#openTxns.values()) }
    }
    const lastSequence = header.baseSequence < 0 ? -1 : (header.baseSequence + header.lastOffsetDelta) % SEQUENCES
    this.#producers.set(producerId, { epoch: producerEpoch, lastSequence, lastOffset: header.nextOffset - 1 })
    if (header.isTransactional && !this.#openTxns.has(producerId)) this.#openTxns.set(producerId, baseOffset)
    return null
  }

  /** Holds the snapshots at or below `offset` to the batches before them. */
  *#snapshotsUpTo(offset: number): Findings {
    for (let next = this.#snapshots[0]; next !== undefined && next.offset <= offset; next = this.#snapshots[0]) {
      this.#snapshots.shift()
      const { file, offset: at } = next
      let entries: readonly ProducerSnapshotEntry[]
      try {
        entries = decodeProducerSnapshot(readFileSync(file))
      } catch (error) {
        if (error instanceof FormatError) yield this.problem(file, error.message, { offset: at }, true)
        else yield missing(this.#context, file, error)
        continue
      }
      if (this.#expected !== null && at > this.#expected && offset === Infinity)
        yield this.problem(file, `it is for an offset behind the log's end at ${this.#expected}`, { offset: at }, true)
      for (const entry of entries) yield* this.#snapshotEntry(file, at, entry)
    }
  }

  *#snapshotEntry(file: string, at: number, entry: ProducerSnapshotEntry): Findings {
    const who = `producer ${entry.producerId}`
    if (entry.lastOffset >= at) {
      yield this.problem(file, `${who} ends with offset ${entry.lastOffset}, which is not before the snapshot`)
      return
    }
    const seen = this.#producers.get(entry.producerId)
    const isComparable = this.#isWhole && !this.#context.mayHaveGaps && at === this.#expected && entry.lastOffset >= 0
    if (!isComparable || seen === undefined || seen.epoch !== entry.producerEpoch) return
    if (seen.lastOffset === entry.lastOffset && seen.lastSequence === entry.lastSequence) return
    yield this.problem(
      file,
      `${who} ends with sequence ${entry.lastSequence} at offset ${entry.lastOffset}, in the log with ${seen.lastSequence} at ${seen.lastOffset}`,
    )
  }
}
