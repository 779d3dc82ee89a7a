// SPDX-License-Identifier: Apache-2.0
// Writes Kafka's wire types into frames. Small frames are cut from a shared slab, so that a response costs neither an
// allocation of its own nor a copy; large ones get a buffer to themselves. A finished frame is never written again and
// belongs to the caller. Values are checked here (range, type); which type comes next is for interpreter or compiler.
import { ProtocolError, type ProtocolErrorKind } from './protocol-error.ts'
import type { UnknownTag } from './schema.ts'

const SLAB_BYTES = 64 * 1024
/** A frame that outgrows this leaves the slab, lest a few frames waste most of it. */
const LARGE_BYTES = 16 * 1024
const MAX_FRAME_BYTES = 2 ** 31 - 1
const MAX_STRING_BYTES = 32_767
/** Up to here an ASCII string has a compact length of one byte, and a loop beats two calls into native code. */
const SHORT_STRING = 126
/** Up to here any string has. */
const SHORT_UTF16 = 42

const EMPTY = Buffer.alloc(0)
const NO_VIEW = new DataView(new ArrayBuffer(0))

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const BASE64URL_VALUE = new Int8Array(128).fill(-1)
for (let i = 0; i < 64; i++) BASE64URL_VALUE[BASE64URL.charCodeAt(i)] = i

export class Writer {
  /** Public for compiled code, which writes fixed-size fields in place after `reserve`. */
  buffer: Buffer = EMPTY
  view: DataView = NO_VIEW
  position = 0
  #start = 0
  #slab: Buffer = EMPTY
  #slabView: DataView = NO_VIEW
  #slabUsed = 0

  /** Begins a message; an unfinished one is dropped. */
  begin(): void {
    this.buffer = this.#slab
    this.view = this.#slabView
    this.#start = this.#slabUsed
    this.position = this.#slabUsed
  }

  /** What has been written since `begin`. */
  finish(): Buffer {
    const message = this.buffer.subarray(this.#start, this.position)
    if (this.buffer === this.#slab) this.#slabUsed = this.position
    else this.begin()
    return message
  }

  /** Begins a frame with a size that `finishFrame` fills in. */
  beginFrame(): void {
    this.begin()
    this.reserve(4)
  }

  finishFrame(): Buffer {
    this.view.setInt32(this.#start, this.position - this.#start - 4)
    return this.finish()
  }

  fail(kind: ProtocolErrorKind, detail: string): never {
    throw new ProtocolError(kind, detail)
  }

  /** Compiled code's way out: the interpreter then finds out which field it was. */
  bad(): never {
    return this.fail('value', 'a value does not fit its type')
  }

  /** Makes room for `size` bytes, moves past them and says where they begin. `buffer` and `view` may be others after. */
  reserve(size: number): number {
    if (this.position + size > this.buffer.length) this.#grow(size)
    const position = this.position
    this.position = position + size
    return position
  }

  #grow(size: number): void {
    const written = this.position - this.#start
    const wanted = written + size
    if (wanted > MAX_FRAME_BYTES) this.fail('value', `a frame of more than ${MAX_FRAME_BYTES} bytes`)
    const isLarge = wanted > LARGE_BYTES
    const capacity = isLarge ? Math.min(Math.max(2 * wanted, SLAB_BYTES), MAX_FRAME_BYTES) : SLAB_BYTES
    const next = Buffer.allocUnsafeSlow(capacity)
    next.set(this.buffer.subarray(this.#start, this.position))
    this.buffer = next
    this.view = new DataView(next.buffer, next.byteOffset, next.length)
    if (!isLarge) {
      this.#slab = next
      this.#slabView = this.view
      this.#slabUsed = 0
    }
    this.#start = 0
    this.position = written
  }

  bool(value: unknown): void {
    if (typeof value !== 'boolean') this.fail('value', `${describe(value)} is not a boolean`)
    const position = this.reserve(1)
    this.buffer[position] = value ? 1 : 0
  }

  int8(value: unknown): void {
    const checked = this.#integer(value, -128, 127)
    const position = this.reserve(1)
    this.view.setInt8(position, checked)
  }

  int16(value: unknown): void {
    const checked = this.#integer(value, -32_768, 32_767)
    const position = this.reserve(2)
    this.view.setInt16(position, checked)
  }

  int32(value: unknown): void {
    const checked = this.#integer(value, -(2 ** 31), 2 ** 31 - 1)
    const position = this.reserve(4)
    this.view.setInt32(position, checked)
  }

  int64(value: unknown): void {
    const position = this.reserve(8)
    this.int64At(position, value)
  }

  /** For `offset` and `timestampMs`. */
  safeInt64(value: unknown): void {
    const position = this.reserve(8)
    this.safeInt64At(position, value)
  }

  uuid(value: unknown): void {
    const position = this.reserve(16)
    this.uuidAt(position, value)
  }

  int64At(position: number, value: unknown): void {
    if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value) {
      this.fail('value', `${describe(value)} is not a bigint of 64 bits`)
    }
    this.view.setBigInt64(position, value)
  }

  safeInt64At(position: number, value: unknown): void {
    const checked = this.#integer(value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    this.view.setInt32(position, Math.floor(checked / 2 ** 32))
    this.view.setInt32(position + 4, checked | 0)
  }

  uuidAt(position: number, value: unknown): void {
    if (typeof value !== 'string' || value.length !== 22) this.fail('value', `${describe(value)} is not a uuid`)
    const buffer = this.buffer
    let bits = 0
    let pending = 0
    let at = position
    for (let i = 0; i < 22; i++) {
      const six = BASE64URL_VALUE[value.charCodeAt(i)] ?? -1
      if (six < 0) this.fail('value', `${describe(value)} is not a uuid`)
      pending = (pending << 6) | six
      bits += 6
      if (bits >= 8) {
        bits -= 8
        buffer[at++] = (pending >> bits) & 0xff
      }
    }
    if ((pending & 0x0f) !== 0) this.fail('value', `${describe(value)} is not a uuid`)
  }

  uvarint(value: number): void {
    const position = this.reserve(5)
    this.position = this.#uvarintAt(position, value)
  }

  string(value: unknown): void {
    if (typeof value !== 'string') this.fail('value', `${describe(value)} is not a string`)
    const short = this.#short(value, 2)
    if (short >= 0) {
      this.view.setInt16(this.position - short - 2, short)
      return
    }
    const size = this.#textSize(value)
    this.int16(size)
    this.#text(value, size)
  }

  nullableString(value: unknown): void {
    if (value === null) this.int16(-1)
    else this.string(value)
  }

  compactString(value: unknown): void {
    if (typeof value !== 'string') this.fail('value', `${describe(value)} is not a string`)
    const short = this.#short(value, 1)
    if (short >= 0) {
      this.buffer[this.position - short - 1] = short + 1
      return
    }
    const size = this.#textSize(value)
    this.uvarint(size + 1)
    this.#text(value, size)
  }

  compactNullableString(value: unknown): void {
    if (value === null) this.uvarint(0)
    else this.compactString(value)
  }

  bytes(value: unknown): void {
    if (!(value instanceof Uint8Array)) this.fail('value', `${describe(value)} is not a Uint8Array`)
    this.int32(value.length)
    this.raw(value)
  }

  nullableBytes(value: unknown): void {
    if (value === null) this.int32(-1)
    else this.bytes(value)
  }

  compactBytes(value: unknown): void {
    if (!(value instanceof Uint8Array)) this.fail('value', `${describe(value)} is not a Uint8Array`)
    this.uvarint(value.length + 1)
    this.raw(value)
  }

  compactNullableBytes(value: unknown): void {
    if (value === null) this.uvarint(0)
    else this.compactBytes(value)
  }

  records(value: unknown): void {
    this.int32(this.#recordsSize(value))
    this.#records(value)
  }

  nullableRecords(value: unknown): void {
    if (value === null) this.int32(-1)
    else this.records(value)
  }

  compactRecords(value: unknown): void {
    this.uvarint(this.#recordsSize(value) + 1)
    this.#records(value)
  }

  compactNullableRecords(value: unknown): void {
    if (value === null) this.uvarint(0)
    else this.compactRecords(value)
  }

  /** -1 is null. */
  arrayCount(count: number): void {
    this.int32(count)
  }

  compactArrayCount(count: number): void {
    if ((count | 0) !== count) this.bad()
    this.uvarint(count + 1)
  }

  raw(value: Uint8Array): void {
    const position = this.reserve(value.length)
    this.buffer.set(value, position)
  }

  /** Begins a tagged field; what this returns is for `closeTag`. */
  openTag(tag: number): number {
    this.uvarint(tag)
    this.reserve(1)
    return this.position - this.#start
  }

  closeTag(mark: number): void {
    const size = this.position - this.#start - mark
    let extra = 0
    for (let rest = size >>> 7; rest > 0; rest >>>= 7) extra++
    if (extra > 0) {
      this.reserve(extra)
      const body = this.#start + mark
      this.buffer.copyWithin(body + extra, body, body + size)
    }
    this.#uvarintAt(this.#start + mark - 1, size)
  }

  /** Writes the unknown tagged fields from index `from` on that come before `tag`; returns the index of the next. */
  unknownTagsBefore(tag: number, tags: readonly UnknownTag[], from: number): number {
    let index = from
    for (; index < tags.length && tags[index]!.tag <= tag; index++) {
      const unknown = tags[index]!
      const previous = index === 0 ? -1 : tags[index - 1]!.tag
      if (unknown.tag <= previous || unknown.tag === tag)
        this.fail('value', `unknownTags: tag ${unknown.tag} twice or out of order`)
      this.uvarint(unknown.tag)
      this.uvarint(unknown.data.length)
      this.raw(unknown.data)
    }
    return index
  }

  #uvarintAt(at: number, value: number): number {
    let position = at
    let rest = value
    while (rest > 0x7f) {
      this.buffer[position++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.buffer[position++] = rest
    return position
  }

  #integer(value: unknown, min: number, max: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      this.fail('value', `${describe(value)} is not an integer from ${min} to ${max}`)
    }
    return value
  }

  /** Writes a string behind a gap for its length and returns its size; or writes nothing and returns -1. */
  #short(value: string, gap: number): number {
    const length = value.length
    if (length > SHORT_STRING) return -1
    const begin = this.reserve(gap + 3 * length)
    const start = begin + gap
    const buffer = this.buffer
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 0x7f) {
        const size = length <= SHORT_UTF16 ? buffer.write(value, start, 'utf8') : -1
        this.position = size < 0 ? begin : start + size
        return size
      }
      buffer[start + i] = unit
    }
    this.position = start + length
    return length
  }

  #textSize(value: string): number {
    const size = Buffer.byteLength(value)
    if (size > MAX_STRING_BYTES)
      this.fail('value', `a string of ${size} bytes, at most ${MAX_STRING_BYTES} are allowed`)
    return size
  }

  #text(value: string, size: number): void {
    const position = this.reserve(size)
    this.buffer.write(value, position, 'utf8')
  }

  #recordsSize(value: unknown): number {
    if (value instanceof Uint8Array) return value.length
    if (!Array.isArray(value)) this.fail('value', `${describe(value)} is not record batches`)
    let size = 0
    for (const piece of value) {
      if (!(piece instanceof Uint8Array)) this.fail('value', `${describe(piece)} is not record batches`)
      size += piece.length
    }
    return size
  }

  #records(value: unknown): void {
    if (value instanceof Uint8Array) this.raw(value)
    else for (const piece of value as Uint8Array[]) this.raw(piece)
  }
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return String(value)
}
