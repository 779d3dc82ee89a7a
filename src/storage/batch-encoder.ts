// SPDX-License-Identifier: Apache-2.0
// Encodes records into one buffer that is used again and again: what log.append() hands to the engine, which fills in the
// CRC. Does not compress. The general encoder, for any batch, is protocol/record-batch.ts.
import { BATCH_HEADER_SIZE } from '../protocol/record-batch.ts'

export type Data = string | Uint8Array

/** A record to append. Strings are stored as UTF-8; a missing key or value is null. */
export interface RecordInput {
  readonly key?: Data | null
  readonly value?: Data | null
  readonly headers?: Readonly<Record<string, Data | null>> | ReadonlyArray<readonly [name: string, value: Data | null]>
  /** Milliseconds since the epoch; default: now. */
  readonly timestamp?: number
}

const NO_HEADERS: ReadonlyArray<readonly [string, Data | null]> = []
// Room for a record's fixed fields: size 5, attributes 1, timestamp delta 10, offset delta 5, key, value and header count 5 each.
const RECORD_FIELDS_SIZE_MAX = 36
const HEADER_FIELDS_SIZE_MAX = 10

export class BatchEncoder {
  /** The encoded batch is [0, size) of it, until the next encode(). */
  bytes: Buffer = Buffer.allocUnsafeSlow(64 * 1024)
  size = 0
  #position = 0

  /** Encodes all records as one batch. Throws TypeError or RangeError naming the record and the field. */
  encode(records: readonly RecordInput[], nowMs: number): void {
    if (!Array.isArray(records)) throw new TypeError(`append takes an array of records, got ${typeof records}`)
    if (records.length === 0) throw new RangeError('append takes at least one record')
    const baseTimestampMs = timestampOf(recordOf(records[0], 0), 0, nowMs)
    let maxTimestampMs = baseTimestampMs
    this.#position = BATCH_HEADER_SIZE
    for (let i = 0; i < records.length; i++) {
      const record = recordOf(records[i], i)
      const timestampMs = timestampOf(record, i, nowMs)
      if (timestampMs > maxTimestampMs) maxTimestampMs = timestampMs
      this.#record(record, i, timestampMs - baseTimestampMs)
    }
    const size = this.#position
    const bytes = this.bytes
    bytes.fill(0, 0, 8)
    bytes.writeInt32BE(size - 12, 8)
    bytes.writeInt32BE(-1, 12)
    bytes[16] = 2
    bytes.writeInt16BE(0, 21)
    bytes.writeInt32BE(records.length - 1, 23)
    writeInt64(bytes, baseTimestampMs, 27)
    writeInt64(bytes, maxTimestampMs, 35)
    bytes.fill(0xff, 43, 57)
    bytes.writeInt32BE(records.length, 57)
    this.size = size
  }

  #record(record: RecordInput, index: number, timestampDelta: number): void {
    const key = dataOf(record.key, index, 'key')
    const value = dataOf(record.value, index, 'value')
    const keySize = sizeOf(key)
    const valueSize = sizeOf(value)
    const headers = headersOf(record, index)
    let headersSize = varintSize(headers.length)
    for (const [name, data] of headers) {
      const nameSize = Buffer.byteLength(name)
      const dataSize = sizeOf(data)
      headersSize += varintSize(nameSize) + nameSize + varintSize(dataSize) + Math.max(dataSize, 0)
    }
    const bodySize =
      1 +
      varlongSize(timestampDelta) +
      varintSize(index) +
      varintSize(keySize) +
      Math.max(keySize, 0) +
      varintSize(valueSize) +
      Math.max(valueSize, 0) +
      headersSize
    this.#reserve(bodySize + RECORD_FIELDS_SIZE_MAX + headers.length * HEADER_FIELDS_SIZE_MAX)
    this.#varint(bodySize)
    this.bytes[this.#position++] = 0
    this.#varlong(timestampDelta)
    this.#varint(index)
    this.#data(key, keySize)
    this.#data(value, valueSize)
    this.#varint(headers.length)
    for (const [name, data] of headers) {
      this.#data(name, Buffer.byteLength(name))
      this.#data(data, sizeOf(data))
    }
  }

  #reserve(more: number): void {
    const needed = this.#position + more
    if (needed <= this.bytes.length) return
    if (needed > 0x7fffffff) throw new RangeError('the records of one append exceed 2 GiB')
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(grown, 0, 0, this.#position)
    this.bytes = grown
  }

  #data(data: Data | null, size: number): void {
    this.#varint(size)
    if (data === null) return
    if (typeof data === 'string') this.bytes.write(data, this.#position, size, 'utf8')
    else this.bytes.set(data, this.#position)
    this.#position += size
  }

  #varint(value: number): void {
    let zigzag = (value << 1) ^ (value >> 31)
    while ((zigzag & ~0x7f) !== 0) {
      this.bytes[this.#position++] = (zigzag & 0x7f) | 0x80
      zigzag >>>= 7
    }
    this.bytes[this.#position++] = zigzag
  }

  #varlong(value: number): void {
    if (isShort(value)) {
      this.#varint(value)
      return
    }
    let zigzag = value >= 0 ? value * 2 : -value * 2 - 1
    while (zigzag >= 0x80) {
      this.bytes[this.#position++] = (zigzag % 0x80) | 0x80
      zigzag = Math.floor(zigzag / 0x80)
    }
    this.bytes[this.#position++] = zigzag
  }
}

function isShort(value: number): boolean {
  return value >= -0x40000000 && value < 0x40000000
}

function varintSize(value: number): number {
  const zigzag = (value << 1) ^ (value >> 31)
  return zigzag === 0 ? 1 : Math.ceil((32 - Math.clz32(zigzag)) / 7)
}

function varlongSize(value: number): number {
  if (isShort(value)) return varintSize(value)
  let size = 1
  for (let rest = value >= 0 ? value * 2 : -value * 2 - 1; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++
  return size
}

function sizeOf(data: Data | null): number {
  return data === null ? -1 : typeof data === 'string' ? Buffer.byteLength(data) : data.length
}

function recordOf(record: RecordInput | undefined, index: number): RecordInput {
  if (typeof record === 'object' && record !== null) return record
  throw new TypeError(
    `records[${index}] must be an object with key, value, headers or timestamp, got ${String(record)}`,
  )
}

function dataOf(data: unknown, index: number, field: string): Data | null {
  if (data === undefined || data === null) return null
  if (typeof data === 'string' || data instanceof Uint8Array) return data
  throw new TypeError(`records[${index}].${field} must be a string, a Uint8Array or null, got ${typeof data}`)
}

function headersOf(record: RecordInput, index: number): ReadonlyArray<readonly [string, Data | null]> {
  const headers = record.headers
  if (headers === undefined || headers === null) return NO_HEADERS
  if (typeof headers !== 'object')
    throw new TypeError(`records[${index}].headers must be an object or an array of pairs, got ${typeof headers}`)
  const entries: ReadonlyArray<readonly [string, Data | null]> = Array.isArray(headers)
    ? headers
    : Object.entries(headers)
  for (const entry of entries) {
    if (typeof entry[0] !== 'string') throw new TypeError(`records[${index}].headers: a name must be a string`)
    dataOf(entry[1], index, `headers.${entry[0]}`)
  }
  return entries
}

function timestampOf(record: RecordInput, index: number, nowMs: number): number {
  const timestampMs = record.timestamp
  if (timestampMs === undefined) return nowMs
  // Twice the difference of two timestamps must stay a safe integer (zigzag).
  if (!Number.isInteger(timestampMs) || timestampMs < -1 || timestampMs > 2 ** 51)
    throw new RangeError(`records[${index}].timestamp must be milliseconds since the epoch, got ${timestampMs}`)
  return timestampMs
}

function writeInt64(bytes: Buffer, value: number, position: number): void {
  bytes.writeInt32BE(Math.floor(value / 2 ** 32), position)
  bytes.writeUInt32BE(value >>> 0, position + 4)
}
