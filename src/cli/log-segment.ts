// SPDX-License-Identifier: Apache-2.0
// SegmentWalk: from batch to batch through a .log file, in bounded memory, past damage. Says what lies where; what is wrong with it
// beyond the single batch is log-verify.ts's question. Only reads.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { BATCH_HEADER_SIZE, RecordBatch } from '../protocol/record-batch.ts'
import { native } from '../storage/native.ts'

/** A batch of format v2. */
export interface BatchStep {
  readonly kind: 'batch'
  readonly position: number
  readonly size: number
  /** Its header; `batch.bytes` goes no further. */
  readonly header: RecordBatch
  readonly computedCrc: number
  /** Its CRC is wrong, and no batch follows: what a crash leaves. */
  readonly isTail: boolean
  /** The whole batch. */
  load(): RecordBatch
}

/** Message formats 0 and 1, from before Kafka 0.11: stepped over. */
export interface OldStep {
  readonly kind: 'old'
  readonly position: number
  readonly size: number
  readonly magic: number
}

/** Nothing but zeros up to the end: space that was allocated ahead. */
export interface ZerosStep {
  readonly kind: 'zeros'
  readonly position: number
  readonly size: number
}

/** Bytes that are no batch, up to the next one that is, or to the end. */
export interface BrokenStep {
  readonly kind: 'broken'
  readonly position: number
  readonly size: number
  readonly why: string
  /** The file ends within what may have been a batch, and no batch follows: what a crash leaves. */
  readonly isTail: boolean
}

export type Step = BatchStep | OldStep | ZerosStep | BrokenStep

const OVERHEAD_BYTES = 12
const MAGIC_AT = 16
const CRC_FROM = 21
const WINDOW_BYTES = 1 << 20
/** CRCs that a search for the next batch computes before it gives up. */
const SEARCH_CRCS_MAX = 10_000
const SETTLE_ATTEMPTS = 6
const SETTLE_MS = 20
const OLD_SIZE_MIN = OVERHEAD_BYTES + 14

/** Bytes of a file through a window. */
class FileBytes {
  readonly #fd: number
  #window = Buffer.allocUnsafe(0)
  #windowAt = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  /** Up to `size` bytes (less at the end of the file); good until the next call. */
  at(position: number, size: number): Buffer {
    const from = position - this.#windowAt
    if (from >= 0 && from + size <= this.#window.length) return this.#window.subarray(from, from + size)
    const window = Buffer.allocUnsafe(Math.max(size, WINDOW_BYTES))
    let filled = 0
    while (filled < window.length) {
      const got = readSync(this.#fd, window, filled, window.length - filled, position + filled)
      if (got === 0) break
      filled += got
    }
    this.#window = window.subarray(0, filled)
    this.#windowAt = position
    return this.#window.subarray(0, size)
  }

  forget(): void {
    this.#window = Buffer.allocUnsafe(0)
  }

  crc(position: number, end: number): number {
    let crc = 0
    for (let at = position; at < end; ) {
      const piece = this.at(at, Math.min(end - at, WINDOW_BYTES))
      if (piece.length === 0) break
      crc = native.crc32c(crc, piece)
      at += piece.length
    }
    return crc
  }
}

export class SegmentWalk {
  readonly #fd: number
  readonly #bytes: FileBytes
  readonly #isLive: boolean
  #size: number

  /** `isLive`: another process may be appending; what looks damaged is looked at again. */
  constructor(path: string, isLive = false) {
    this.#fd = openSync(path, 'r')
    this.#size = fstatSync(this.#fd).size
    this.#bytes = new FileBytes(this.#fd)
    this.#isLive = isLive
  }

  /** Of the file when it was looked at: what is appended later is not walked over. */
  get size(): number {
    return this.#size
  }

  close(): void {
    closeSync(this.#fd)
  }

  /** CRC32C of bytes [from, to). */
  crc(from: number, to: number): number {
    return this.#bytes.crc(from, to)
  }

  *steps(): Generator<Step, void> {
    let position = 0
    while (position < this.#size) {
      const step = this.#isLive ? this.#settled(position) : this.#stepAt(position)
      if (step.kind !== 'batch' || step.computedCrc === step.header.crc) {
        yield step
        position += step.size
        continue
      }
      const end = position + step.size
      const mayFollow = this.#mayFollow(end)
      // Where no batch follows its length can't be trusted either: the next one may begin within it.
      const next = mayFollow ? end : this.#search(position + 1)
      yield { ...step, isTail: next === null || this.#firstNonZero(next) === null }
      position = next !== null && next < end ? next : end
    }
  }

  /** A batch that is being written is whole a moment later. */
  #settled(position: number): Step {
    for (let attempt = 1; ; attempt++) {
      const step = this.#stepAt(position)
      const isGood = step.kind === 'batch' ? step.computedCrc === step.header.crc : step.kind !== 'broken'
      if (isGood || attempt === SETTLE_ATTEMPTS) return step
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SETTLE_MS)
      this.#bytes.forget()
      this.#size = fstatSync(this.#fd).size
    }
  }

  #stepAt(position: number): Step {
    const left = this.#size - position
    const head = this.#bytes.at(position, Math.min(left, BATCH_HEADER_SIZE))
    if (head.length >= MAGIC_AT + 1 ? head.readInt32BE(8) === 0 && head[MAGIC_AT] === 0 : head.every((b) => b === 0)) {
      const other = this.#firstNonZero(position)
      if (other === null) return { kind: 'zeros', position, size: left }
      return this.#broken(position, `zeros up to position ${other}, and other bytes behind them`)
    }
    if (head.length <= MAGIC_AT) return this.#broken(position, `${left} bytes are too few for a batch`)
    const magic = head.readInt8(MAGIC_AT)
    const size = OVERHEAD_BYTES + head.readInt32BE(8)
    if (magic === 0 || magic === 1) {
      if (size < OLD_SIZE_MIN || size > left) return this.#broken(position, cutOff(size, left))
      return { kind: 'old', position, size, magic }
    }
    if (magic !== 2) return this.#broken(position, `magic ${magic} is no record format`)
    if (size < BATCH_HEADER_SIZE) return this.#broken(position, `a batch of ${size} bytes is smaller than its header`)
    if (size > left) return this.#broken(position, cutOff(size, left))
    const header = headerOf(head)
    if (header === null) return this.#broken(position, 'its base offset is not an offset')
    return {
      kind: 'batch',
      position,
      size,
      header,
      computedCrc: this.#bytes.crc(position + CRC_FROM, position + size),
      isTail: false,
      load: () => new RecordBatch(new Uint8Array(this.#bytes.at(position, size))),
    }
  }

  #broken(position: number, why: string): BrokenStep {
    const next = this.#search(position + 1)
    return { kind: 'broken', position, size: (next ?? this.#size) - position, why, isTail: next === null }
  }

  #firstNonZero(from: number): number | null {
    for (let at = from; at < this.#size; ) {
      const piece = this.#bytes.at(at, Math.min(WINDOW_BYTES, this.#size - at))
      if (piece.length === 0) return null
      const found = piece.findIndex((byte) => byte !== 0)
      if (found !== -1) return at + found
      at += piece.length
    }
    return null
  }

  /** Whether there may be a batch (or nothing more) at `position`. */
  #mayFollow(position: number): boolean {
    if (position === this.#size) return true
    const head = this.#bytes.at(position, BATCH_HEADER_SIZE)
    return this.#isPlausible(head, position) || (head.length > 0 && head.every((byte) => byte === 0))
  }

  #isPlausible(head: Buffer, position: number): boolean {
    if (head.length < BATCH_HEADER_SIZE || head[MAGIC_AT] !== 2) return false
    const size = OVERHEAD_BYTES + head.readInt32BE(8)
    return (
      size >= BATCH_HEADER_SIZE &&
      size <= this.#size - position &&
      (head.readUInt16BE(21) & 0xff80) === 0 &&
      head.readInt32BE(23) >= 0 &&
      head.readInt32BE(57) >= 0 &&
      headerOf(head) !== null
    )
  }

  /** Where the next batch with a right CRC begins, or null. */
  #search(from: number): number | null {
    let crcs = 0
    for (let at = from; at + BATCH_HEADER_SIZE <= this.#size; ) {
      const piece = Buffer.from(this.#bytes.at(at, Math.min(WINDOW_BYTES, this.#size - at)))
      if (piece.length < BATCH_HEADER_SIZE) return null
      const last = piece.length - BATCH_HEADER_SIZE
      for (let i = 0; i <= last; i++) {
        const magicAt = piece.indexOf(2, i + MAGIC_AT)
        if (magicAt === -1) break
        i = magicAt - MAGIC_AT
        if (i > last) break
        const head = piece.subarray(i, i + BATCH_HEADER_SIZE)
        if (!this.#isPlausible(head, at + i)) continue
        if (++crcs > SEARCH_CRCS_MAX) return null
        const end = at + i + OVERHEAD_BYTES + head.readInt32BE(8)
        if (this.#bytes.crc(at + i + CRC_FROM, end) === head.readUInt32BE(17)) return at + i
      }
      at += last + 1
    }
    return null
  }
}

function cutOff(size: number, left: number): string {
  return `a batch of ${size} bytes where ${left} are left`
}

function headerOf(head: Buffer): RecordBatch | null {
  if (head.length < BATCH_HEADER_SIZE) return null
  try {
    return new RecordBatch(new Uint8Array(head))
  } catch {
    return null
  }
}
