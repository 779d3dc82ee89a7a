// SPDX-License-Identifier: Apache-2.0
// One segment for `varve log verify`: a pass over its batches with its indexes alongside, then its seal.
import { type RecordBatch, RecordCursor } from '../protocol/record-batch.ts'
import { nativeCodec } from '../storage/codec.ts'
import { hex32, markerOf, type Seal, type SegmentSuffix } from './log-formats.ts'
import type { BatchStep, SegmentWalk } from './log-segment.ts'
import { counted, timeText } from './log-text.ts'
import type { EndedTxn, Findings, PartitionCheck, Sidecars } from './log-verify-partition.ts'

const RELATIVE_OFFSET_MAX = 2 ** 31 - 1
const CODEC_MAX = 4

export class SegmentCheck {
  readonly #partition: PartitionCheck
  readonly #file: string
  readonly #base: number
  readonly #nextBase: number | null
  readonly #sidecars: Sidecars
  readonly #walk: SegmentWalk
  #offsetAt = 0
  #timeAt = 0
  #abortedAt = 0
  #batchCount = 0
  #recordCount = 0
  #maxTimestampMs = -1
  #offsetOfMaxTimestamp = -1
  #maxLeaderEpoch = -1
  #validBytes = 0
  #oldCount = 0
  /** Where damage was told already: [from, to). */
  readonly #damaged: Array<readonly [from: number, to: number]> = []

  constructor(
    partition: PartitionCheck,
    file: string,
    base: number,
    nextBase: number | null,
    sidecars: Sidecars,
    walk: SegmentWalk,
  ) {
    this.#partition = partition
    this.#file = file
    this.#base = base
    this.#nextBase = nextBase
    this.#sidecars = sidecars
    this.#walk = walk
  }

  get #isLast(): boolean {
    return this.#nextBase === null
  }

  *run(): Findings {
    for (const step of this.#walk.steps()) {
      const { position, size } = step
      switch (step.kind) {
        case 'batch':
          if (step.computedCrc === step.header.crc) yield* this.#batch(step)
          else yield* this.#badCrc(step)
          this.#validBytes = position + size
          break
        case 'old':
          if (this.#oldCount++ === 0) this.#partition.lose()
          this.#validBytes = position + size
          break
        case 'zeros':
          if (!this.#isLast)
            yield this.#partition.problem(this.#file, `a closed segment ends with ${counted(size, 'zero byte')}`, {
              position,
            })
          break
        case 'broken':
          yield this.#partition.problem(
            this.#file,
            step.isTail
              ? `${step.why}; nothing valid follows`
              : `${step.why}; the next batch begins ${size} bytes later`,
            { position },
            this.#isLast && step.isTail,
          )
          this.#damage(position, position + size)
          break
        default:
          step satisfies never
      }
    }
    this.#partition.totals.bytes += this.#validBytes
    if (this.#oldCount > 0)
      yield {
        type: 'note',
        file: this.#file,
        text: `${counted(this.#oldCount, 'message')} of format 0 or 1 not checked`,
      }
    yield* this.#indexesAtEnd()
    yield* this.#seal()
  }

  #damage(from: number, to: number): void {
    this.#damaged.push([from, to])
    this.#partition.lose()
  }

  *#badCrc({ header, position, size, computedCrc, isTail }: BatchStep): Findings {
    yield this.#partition.problem(
      this.#file,
      `its CRC is ${hex32(header.crc)}, that of its bytes ${hex32(computedCrc)}`,
      { position, offset: header.baseOffset },
      this.#isLast && isTail,
    )
    this.#damage(position, position + size)
  }

  *#batch(step: BatchStep): Findings {
    const { header, position, size } = step
    const { totals, context } = this.#partition
    const at = { position, offset: header.baseOffset }
    totals.batches++
    totals.records += header.recordCount
    this.#batchCount++
    this.#recordCount += header.recordCount
    if (!(yield* this.#partition.onBatch(this.#file, step))) {
      // Where it lies among offsets is not known: it is left out of everything else.
      this.#damaged.push([position, position + size])
      return
    }
    const lastOffset = header.nextOffset - 1
    if (header.baseOffset < this.#base || lastOffset - this.#base > RELATIVE_OFFSET_MAX)
      yield this.#partition.problem(this.#file, `offsets ${header.baseOffset}..${lastOffset} do not belong here`, at)
    if (header.compression > CODEC_MAX)
      yield this.#partition.problem(this.#file, `compression type ${header.compression} is not known`, at)
    const fits = context.mayHaveGaps
      ? header.recordCount <= header.lastOffsetDelta + 1
      : header.recordCount === header.lastOffsetDelta + 1
    if (header.lastOffsetDelta < 0 || header.recordCount < 0 || !fits)
      yield this.#partition.problem(
        this.#file,
        `it says ${counted(header.recordCount, 'record')} for offsets ${header.baseOffset}..${lastOffset}`,
        at,
      )
    if (header.maxTimestampMs > this.#maxTimestampMs) {
      this.#maxTimestampMs = header.maxTimestampMs
      this.#offsetOfMaxTimestamp = lastOffset
    }
    this.#maxLeaderEpoch = Math.max(this.#maxLeaderEpoch, header.leaderEpoch)
    const marker = header.isControl ? this.#marker(step) : null
    const ended = this.#partition.onProducer(header, marker)
    yield* this.#indexesAt(header, position)
    yield* this.#abortedBy(header, marker, ended)
    if (context.deep && size > 0) yield* this.#records(step)
  }

  #marker(step: BatchStep): 'commit' | 'abort' | null {
    try {
      const cursor = new RecordCursor(step.load(), nativeCodec)
      if (!cursor.next() || cursor.keySize < 0) return null
      return markerOf(cursor.bytes.subarray(cursor.keyStart, cursor.keyStart + cursor.keySize))
    } catch {
      return null
    }
  }

  *#records(step: BatchStep): Findings {
    const { header, position } = step
    try {
      const cursor = new RecordCursor(step.load(), nativeCodec)
      let previous = header.baseOffset - 1
      while (cursor.next()) {
        if (cursor.offset <= previous || cursor.offset >= header.nextOffset) {
          yield this.#partition.problem(this.#file, `a record in it has offset ${cursor.offset}, after ${previous}`, {
            position,
            offset: header.baseOffset,
          })
          return
        }
        previous = cursor.offset
      }
    } catch (error) {
      yield this.#partition.problem(this.#file, `its records can't be read: ${(error as Error).message}`, {
        position,
        offset: header.baseOffset,
      })
    }
  }

  #sibling(suffix: SegmentSuffix): string {
    return this.#file.replace(/\.log$/, suffix)
  }

  /** Index entries for this batch, and those that were to be for an earlier one and are for none. */
  *#indexesAt(header: RecordBatch, position: number): Findings {
    const lastOffset = header.nextOffset - 1
    const offsets = this.#sidecars.offsets?.entries ?? []
    for (; this.#offsetAt < offsets.length && offsets[this.#offsetAt]!.position <= position; this.#offsetAt++) {
      const entry = offsets[this.#offsetAt]!
      if (entry.position === position && entry.offset === lastOffset) continue
      if (this.#isInDamage(entry.position)) continue
      const why =
        entry.position === position ? `the batch there ends with offset ${lastOffset}` : 'no batch begins there'
      yield this.#partition.problem(
        this.#sibling('.index'),
        `an entry says offset ${entry.offset} at position ${entry.position}: ${why}`,
      )
    }
    const times = this.#sidecars.times?.entries ?? []
    for (; this.#timeAt < times.length && times[this.#timeAt]!.offset <= lastOffset; this.#timeAt++) {
      const entry = times[this.#timeAt]!
      const says = `an entry says ${timeText(entry.timestampMs)} at offset ${entry.offset}`
      if (this.#damaged.length > 0) continue
      if (entry.offset < header.baseOffset)
        yield this.#partition.problem(this.#sibling('.timeindex'), `${says}: no batch has it`)
      else if (entry.timestampMs !== header.maxTimestampMs)
        yield this.#partition.problem(
          this.#sibling('.timeindex'),
          `${says}: the largest of its batch is ${timeText(header.maxTimestampMs)}`,
        )
      else if (entry.timestampMs < this.#maxTimestampMs)
        yield this.#partition.problem(
          this.#sibling('.timeindex'),
          `${says}: ${timeText(this.#maxTimestampMs)} came before it`,
        )
    }
  }

  *#abortedBy(header: RecordBatch, marker: 'commit' | 'abort' | null, ended: EndedTxn | null): Findings {
    const file = this.#sibling('.txnindex')
    const { aborted } = this.#sidecars
    const lastOffset = header.nextOffset - 1
    let found = false
    for (; this.#abortedAt < aborted.length && aborted[this.#abortedAt]!.lastOffset <= lastOffset; this.#abortedAt++) {
      const entry = aborted[this.#abortedAt]!
      const isHere = entry.lastOffset === lastOffset && marker === 'abort' && entry.producerId === header.producerId
      if (isHere) found = true
      if (!isHere && this.#damaged.length === 0)
        yield this.#partition.problem(
          file,
          `it says that producer ${entry.producerId} aborted at offset ${entry.lastOffset}: no abort marker of it is there`,
        )
      else if (isHere && ended !== null && this.#partition.isWhole && entry.firstOffset !== ended.firstOffset)
        yield this.#partition.problem(
          file,
          `it says that the transaction aborted at offset ${entry.lastOffset} began at ${entry.firstOffset}, it began at ${ended.firstOffset}`,
        )
      else if (
        isHere &&
        ended !== null &&
        this.#partition.isWhole &&
        entry.lastStableOffset !== ended.lastStableOffset &&
        entry.lastStableOffset >= this.#partition.firstOffset
      )
        yield this.#partition.problem(
          file,
          `it says that the last stable offset was ${entry.lastStableOffset} when offset ${entry.lastOffset} ended a transaction, it was ${ended.lastStableOffset}`,
        )
    }
    if (ended !== null && !found && this.#partition.isWhole && !this.#partition.context.mayHaveGaps)
      yield this.#partition.problem(
        file,
        `the transaction of producer ${header.producerId} that was aborted at offset ${lastOffset} is missing`,
        { offset: lastOffset },
        true,
      )
  }

  *#indexesAtEnd(): Findings {
    const { offsets, times, aborted } = this.#sidecars
    for (const [suffix, index, at] of [
      ['.index', offsets, this.#offsetAt],
      ['.timeindex', times, this.#timeAt],
    ] as const) {
      const file = this.#sibling(suffix)
      const left = (index?.entries.length ?? 0) - at
      if (left > 0 && this.#oldCount === 0 && this.#damaged.length === 0)
        yield this.#partition.problem(
          file,
          `${counted(left, 'entry').replace('entrys', 'entries')} for what lies behind the segment's end`,
          {},
          this.#isLast,
        )
      if (index !== null && index.zeroBytes > 0 && !this.#isLast)
        yield {
          type: 'note',
          file,
          text: `it ends with ${counted(index.zeroBytes, 'zero byte')}, as an unclean stop leaves them`,
        }
    }
    if (aborted.length > this.#abortedAt && this.#damaged.length === 0)
      yield this.#partition.problem(
        this.#sibling('.txnindex'),
        `it has transactions that were aborted behind the segment's end, the last at offset ${aborted.at(-1)!.lastOffset}`,
        { offset: aborted.at(-1)!.lastOffset },
        this.#isLast,
      )
    const last = times?.entries.at(-1)
    if (!this.#isLast && times !== null && this.#damaged.length === 0 && this.#oldCount === 0)
      if (this.#maxTimestampMs > (last?.timestampMs ?? -1))
        yield this.#partition.problem(
          this.#sibling('.timeindex'),
          `it ends with ${timeText(last?.timestampMs ?? -1)}, the closed segment's largest timestamp is ${timeText(this.#maxTimestampMs)}`,
        )
  }

  #isInDamage(position: number): boolean {
    return this.#damaged.some(([from, to]) => position >= from && position < to)
  }

  *#seal(): Findings {
    const { seal, sums } = this.#sidecars
    if (seal === null) return
    const file = this.#sibling('.seal')
    const size = this.#walk.size
    const pairs: Array<[what: string, says: number, is: number]> = [
      ['the base offset', seal.baseOffset, this.#base],
      ['the size', seal.sizeBytes, size],
    ]
    if (this.#damaged.length === 0 && this.#oldCount === 0)
      pairs.push(
        ['the next offset', seal.nextOffset, this.#batchCount === 0 ? this.#base : this.#partition.expected!],
        ['the count of batches', seal.batchCount, this.#batchCount],
        ['the count of records', seal.recordCount, this.#recordCount],
        ['the largest timestamp', seal.maxTimestampMs, this.#maxTimestampMs],
        ['the offset of the largest timestamp', seal.offsetOfMaxTimestamp, this.#offsetOfMaxTimestamp],
        ['the largest leader epoch', seal.maxLeaderEpoch, this.#maxLeaderEpoch],
      )
    for (const [what, says, is] of pairs)
      if (says !== is) yield this.#partition.problem(file, `${what} is ${says} by the seal and ${is} in the segment`)
    for (const [suffix, sum] of [
      ['.index', seal.index],
      ['.timeindex', seal.timeIndex],
      ['.txnindex', seal.txnIndex],
    ] as const)
      if (
        (sum.bytes !== sums[suffix].bytes || sum.crc !== sums[suffix].crc) &&
        !this.#partition.hasTold(this.#sibling(suffix))
      )
        yield this.#partition.problem(
          this.#sibling(suffix),
          `it is not what was sealed: ${sum.bytes} bytes with CRC ${hex32(sum.crc)} then, ${sums[suffix].bytes} with ${hex32(sums[suffix].crc)} now`,
        )
    yield* this.#blocks(seal)
  }

  *#blocks({ blockBytes, blockCrcs }: Seal): Findings {
    if (blockBytes < 1) return
    const { size } = this.#walk
    for (const [block, crc] of blockCrcs.entries()) {
      const from = block * blockBytes
      const to = Math.min(from + blockBytes, size)
      if (from >= size || this.#walk.crc(from, to) === crc) continue
      // The batch that makes it differ was told already.
      if (this.#damaged.some(([start, end]) => start < to && end > from)) continue
      yield this.#partition.problem(this.#file, `bytes ${from} to ${to} are not what was sealed`, { position: from })
    }
  }
}
