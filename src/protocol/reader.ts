// SPDX-License-Identifier: Apache-2.0
// Reads Kafka's wire types from one frame. Every length is checked against the bytes that are there before anything is
// allocated for it, and arrays and tagged fields against limits of their own; what fails throws ProtocolError. Which
// type comes next is for the interpreter or the compiled codec.
import { isUtf8 } from 'node:buffer'
import { ProtocolError, type ProtocolErrorKind } from './protocol-error.ts'
import type { UnknownTag } from './schema.ts'
import { ZERO_UUID } from './schema.ts'

/** Elements of one array, as in Kafka 4.4. */
export const MAX_ARRAY_ELEMENTS = 1_000_000
/** Elements of all arrays of a request together: nested arrays must not multiply what a frame can make us allocate. */
export const MAX_REQUEST_ELEMENTS = 1_000_000
/** Of one struct or header. Kafka takes 10,000; no message has more than a handful. */
export const MAX_TAGGED_FIELDS = 64
const MAX_STRING_BYTES = 32_767

const EMPTY = Buffer.alloc(0)

export class Reader {
  /** Public for compiled code, which reads fixed-size fields in place after `take`. */
  buffer: Buffer = EMPTY
  position = 0
  end = 0
  #elementsLeft = 0
  #lenientUtf8 = false

  open(bytes: Uint8Array, position: number, maxElements: number, lenientUtf8: boolean): this {
    this.buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.position = position
    this.end = bytes.length
    this.#elementsLeft = maxElements
    this.#lenientUtf8 = lenientUtf8
    return this
  }

  /** Lets go of the frame, so that a reader kept for reuse does not keep it alive. */
  close(): void {
    this.buffer = EMPTY
  }

  fail(kind: ProtocolErrorKind, detail: string): never {
    throw new ProtocolError(kind, detail)
  }

  /** Moves past `size` bytes and says where they began. */
  take(size: number): number {
    const position = this.position
    const next = position + size
    if (next > this.end) this.fail('truncated', `${size} bytes wanted, ${this.end - position} left`)
    this.position = next
    return position
  }

  int8(): number {
    return this.int8At(this.take(1))
  }

  int16(): number {
    return this.int16At(this.take(2))
  }

  int32(): number {
    return this.int32At(this.take(4))
  }

  int8At(position: number): number {
    return (this.buffer[position]! << 24) >> 24
  }

  int16At(position: number): number {
    return ((this.buffer[position]! << 24) >> 16) | this.buffer[position + 1]!
  }

  int32At(position: number): number {
    const b = this.buffer
    return (b[position]! << 24) | (b[position + 1]! << 16) | (b[position + 2]! << 8) | b[position + 3]!
  }

  int64At(position: number): bigint {
    return (BigInt(this.int32At(position)) << 32n) | BigInt(this.int32At(position + 4) >>> 0)
  }

  offsetAt(position: number): number {
    const value = this.int32At(position) * 2 ** 32 + (this.int32At(position + 4) >>> 0)
    if (!Number.isSafeInteger(value)) this.fail('range', `offset ${this.int64At(position)} is beyond 2^53 - 1`)
    return value
  }

  timestampMsAt(position: number): number {
    const value = this.int32At(position) * 2 ** 32 + (this.int32At(position + 4) >>> 0)
    return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value))
  }

  uuidAt(position: number): string {
    const b = this.buffer
    for (let i = 0; i < 16; i++) if (b[position + i] !== 0) return b.toString('base64url', position, position + 16)
    return ZERO_UUID
  }

  /** At most five bytes, the fifth within 32 bits. */
  uvarint(): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.buffer[this.take(1)]!
      if (shift === 28 && byte > 0x0f) this.fail('malformed', 'a varint exceeds 32 bits')
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
  }

  string(lenient: boolean): string {
    return this.#text(this.int16(), lenient)
  }

  nullableString(lenient: boolean): string | null {
    const size = this.int16()
    return size === -1 ? null : this.#text(size, lenient)
  }

  compactString(lenient: boolean): string {
    return this.#text(this.uvarint() - 1, lenient)
  }

  compactNullableString(lenient: boolean): string | null {
    const size = this.uvarint() - 1
    return size === -1 ? null : this.#text(size, lenient)
  }

  bytes(): Buffer {
    return this.#copy(this.int32())
  }

  nullableBytes(): Buffer | null {
    const size = this.int32()
    return size === -1 ? null : this.#copy(size)
  }

  compactBytes(): Buffer {
    return this.#copy(this.uvarint() - 1)
  }

  compactNullableBytes(): Buffer | null {
    const size = this.uvarint() - 1
    return size === -1 ? null : this.#copy(size)
  }

  records(): Buffer {
    return this.#slice(this.int32())
  }

  nullableRecords(): Buffer | null {
    const size = this.int32()
    return size === -1 ? null : this.#slice(size)
  }

  compactRecords(): Buffer {
    return this.#slice(this.uvarint() - 1)
  }

  compactNullableRecords(): Buffer | null {
    const size = this.uvarint() - 1
    return size === -1 ? null : this.#slice(size)
  }

  /** How many elements follow, of which none is smaller than `minSize`. */
  arrayCount(minSize: number): number {
    return this.#count(this.int32(), minSize)
  }

  /** -1 is null. */
  nullableArrayCount(minSize: number): number {
    const count = this.int32()
    return count === -1 ? -1 : this.#count(count, minSize)
  }

  compactArrayCount(minSize: number): number {
    return this.#count(this.uvarint() - 1, minSize)
  }

  compactNullableArrayCount(minSize: number): number {
    const count = this.uvarint() - 1
    return count === -1 ? -1 : this.#count(count, minSize)
  }

  taggedCount(): number {
    const count = this.uvarint()
    if (count === 0) return 0
    if (count > MAX_TAGGED_FIELDS)
      this.fail('limit', `${count} tagged fields, at most ${MAX_TAGGED_FIELDS} are accepted`)
    if (count * 2 > this.end - this.position) this.fail('truncated', `${count} tagged fields in too few bytes`)
    return count
  }

  /** The next tag, which must be greater than the one before. */
  tag(previous: number): number {
    const tag = this.uvarint()
    if (tag <= previous) this.fail('malformed', `tag ${tag} after tag ${previous}`)
    return tag
  }

  /** Confines reading to the value of a tagged field until `closeTag` is given what this returns. */
  openTag(): number {
    const size = this.uvarint()
    const outerEnd = this.end
    if (size > outerEnd - this.position) this.fail('truncated', `a tagged field of ${size} bytes, too few are left`)
    this.end = this.position + size
    return outerEnd
  }

  closeTag(outerEnd: number): void {
    if (this.position !== this.end)
      this.fail('malformed', `${this.end - this.position} bytes too many in a tagged field`)
    this.end = outerEnd
  }

  /** The value of a tagged field that has been opened and that the table does not know. */
  unknownTag(tag: number): UnknownTag {
    this.#spend(1)
    const data = Buffer.from(this.buffer.subarray(this.position, this.end))
    this.position = this.end
    return { tag, data }
  }

  /** A header's tagged fields: none is defined, so they are stepped over and nothing is kept of them. */
  skipTaggedFields(): void {
    let previous = -1
    for (let count = this.taggedCount(); count > 0; count--) {
      previous = this.tag(previous)
      const outerEnd = this.openTag()
      this.position = this.end
      this.end = outerEnd
    }
  }

  #text(size: number, lenient: boolean): string {
    if (size < 0) this.fail('malformed', size === -1 ? 'a string is null that must not be' : `string length ${size}`)
    if (size > MAX_STRING_BYTES)
      this.fail('malformed', `a string of ${size} bytes, at most ${MAX_STRING_BYTES} are allowed`)
    const start = this.take(size)
    const text = this.buffer.toString('utf8', start, start + size)
    // Bad bytes decode to U+FFFD, which good bytes can spell too: only then is it worth looking at the bytes again.
    if (
      !lenient &&
      !this.#lenientUtf8 &&
      text.includes('\uFFFD') &&
      !isUtf8(this.buffer.subarray(start, start + size))
    ) {
      this.fail('utf8', 'a string is not UTF-8')
    }
    return text
  }

  #slice(size: number): Buffer {
    if (size < 0) this.fail('malformed', size === -1 ? 'bytes are null that must not be' : `bytes length ${size}`)
    const start = this.take(size)
    return this.buffer.subarray(start, start + size)
  }

  #copy(size: number): Buffer {
    return size === 0 ? EMPTY : Buffer.from(this.#slice(size))
  }

  #count(count: number, minSize: number): number {
    if (count < 0) this.fail('malformed', count === -1 ? 'an array is null that must not be' : `array length ${count}`)
    if (count > MAX_ARRAY_ELEMENTS) this.fail('limit', `${count} elements, at most ${MAX_ARRAY_ELEMENTS} are accepted`)
    if (count * minSize > this.end - this.position) this.fail('truncated', `${count} elements in too few bytes`)
    this.#spend(count)
    return count
  }

  #spend(elements: number): void {
    this.#elementsLeft -= elements
    if (this.#elementsLeft < 0) this.fail('limit', 'too many elements in one message')
  }
}
