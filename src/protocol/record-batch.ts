// SPDX-License-Identifier: Apache-2.0
// Record batches, format v2 (KIP-98, Kafka's DefaultRecordBatch): encoding them, walking over the batches of a chunk of
// log, and reading records as views. For coordinators, the client and tools; what producers send is validated by the
// native core, which this unit does not replace. Compression is done by a Codec that the caller passes.
//
//   0 baseOffset int64           17 crc uint32 (CRC-32C of what follows)   43 producerId int64
//   8 batchLength int32          21 attributes int16                       51 producerEpoch int16
//  12 partitionLeaderEpoch int32 23 lastOffsetDelta int32                  53 baseSequence int32
//  16 magic int8 (2)             27 baseTimestamp int64                    57 recordCount int32
//                                35 maxTimestamp int64                     61 records
import { KafkaError } from '../errors.ts'
import { crc32c } from './crc32c.ts'

export const BATCH_HEADER_SIZE = 61
/** Base offset and batch length: what batchLength does not count. */
const LOG_OVERHEAD_SIZE = 12
const CRC_START = 17
const CRC_COVERS_FROM = 21
const MAGIC = 2

const COMPRESSION_MASK = 0x07
const LOG_APPEND_TIME_FLAG = 0x08
const TRANSACTIONAL_FLAG = 0x10
const CONTROL_FLAG = 0x20

export const Compression = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
export type CompressionName = keyof typeof Compression

/** One compression format. `decompress` must fail rather than return more than `sizeMax` bytes. */
export interface Codec {
  readonly id: 1 | 2 | 3 | 4
  compress(bytes: Uint8Array): Uint8Array
  decompress(bytes: Uint8Array, sizeMax: number): Uint8Array
}

/** What the records of a batch may grow to when decompressed. */
export const DECOMPRESSED_SIZE_MAX = 64 << 20

export interface RecordHeader {
  readonly key: string
  readonly value: Uint8Array | null
}

export interface RecordToEncode {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers?: readonly RecordHeader[]
  readonly timestampMs: number
}

export interface BatchToEncode {
  readonly records: readonly RecordToEncode[]
  /** 0 when left out: the log assigns offsets. */
  readonly baseOffset?: number
  readonly leaderEpoch?: number
  readonly producerId?: bigint
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly transactional?: boolean
  readonly control?: boolean
  readonly codec?: Codec
}

/** One batch, its records numbered from `baseOffset` without gaps. */
export function encodeBatch(batch: BatchToEncode): Uint8Array {
  const { records, codec } = batch
  const first = records[0]
  if (first === undefined) throw new RangeError('records must hold at least one record, got none')

  const baseTimestampMs = first.timestampMs
  let maxTimestampMs = baseTimestampMs
  const bodySizes = new Array<number>(records.length)
  let payloadSize = 0
  for (let i = 0; i < records.length; i++) {
    const record = records[i]!
    if (record.timestampMs > maxTimestampMs) maxTimestampMs = record.timestampMs
    const size = bodySize(record, i, record.timestampMs - baseTimestampMs)
    bodySizes[i] = size
    payloadSize += varintSize(size) + size
  }

  const plain = new Uint8Array(BATCH_HEADER_SIZE + payloadSize)
  const writer = new RecordWriter(plain, BATCH_HEADER_SIZE)
  for (let i = 0; i < records.length; i++) {
    const record = records[i]!
    writer.varint(bodySizes[i]!)
    writer.body(record, i, record.timestampMs - baseTimestampMs)
  }

  const bytes = codec === undefined ? plain : withPayload(codec.compress(plain.subarray(BATCH_HEADER_SIZE)))
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  setInt64(view, 0, batch.baseOffset ?? 0)
  view.setInt32(8, bytes.length - LOG_OVERHEAD_SIZE)
  view.setInt32(12, batch.leaderEpoch ?? -1)
  view.setInt8(16, MAGIC)
  view.setInt16(
    21,
    (codec?.id ?? 0) | (batch.transactional ? TRANSACTIONAL_FLAG : 0) | (batch.control ? CONTROL_FLAG : 0),
  )
  view.setInt32(23, records.length - 1)
  setInt64(view, 27, baseTimestampMs)
  setInt64(view, 35, maxTimestampMs)
  view.setBigInt64(43, batch.producerId ?? -1n)
  view.setInt16(51, batch.producerEpoch ?? -1)
  view.setInt32(53, batch.baseSequence ?? -1)
  view.setInt32(57, records.length)
  view.setUint32(CRC_START, crc32c(bytes, CRC_COVERS_FROM))
  return bytes
}

function withPayload(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(BATCH_HEADER_SIZE + payload.length)
  bytes.set(payload, BATCH_HEADER_SIZE)
  return bytes
}

function bodySize(record: RecordToEncode, offsetDelta: number, timestampDelta: number): number {
  let size = 1 + varlongSize(timestampDelta) + varintSize(offsetDelta)
  size += sizedSize(record.key) + sizedSize(record.value)
  const headers = record.headers
  if (headers === undefined) return size + 1
  size += varintSize(headers.length)
  for (const header of headers) {
    const keySize = Buffer.byteLength(header.key)
    size += varintSize(keySize) + keySize + sizedSize(header.value)
  }
  return size
}

function sizedSize(bytes: Uint8Array | null): number {
  return bytes === null ? 1 : varintSize(bytes.length) + bytes.length
}

function varintSize(value: number): number {
  const zigzag = (value << 1) ^ (value >> 31)
  return zigzag === 0 ? 1 : Math.ceil((32 - Math.clz32(zigzag)) / 7)
}

/** True for the values whose zigzag form fits 31 bits, so that shifts on int32 are enough. */
function isShort(value: number): boolean {
  return value >= -0x40000000 && value < 0x40000000
}

function varlongSize(value: number): number {
  if (isShort(value)) return varintSize(value)
  let zigzag = zigzagOf(value)
  let size = 1
  for (; zigzag >= 0x80n; zigzag >>= 7n) size++
  return size
}

function zigzagOf(value: number): bigint {
  const wide = BigInt(value)
  return wide >= 0n ? wide << 1n : (-wide << 1n) - 1n
}

function setInt64(view: DataView, position: number, value: number): void {
  view.setInt32(position, Math.floor(value / 0x100000000))
  view.setUint32(position + 4, value >>> 0)
}

/** Writes into a buffer whose size was computed beforehand. */
class RecordWriter {
  readonly #bytes: Uint8Array
  #position: number

  constructor(bytes: Uint8Array, position: number) {
    this.#bytes = bytes
    this.#position = position
  }

  body(record: RecordToEncode, offsetDelta: number, timestampDelta: number): void {
    this.#bytes[this.#position++] = 0
    this.#varlong(timestampDelta)
    this.varint(offsetDelta)
    this.#sized(record.key)
    this.#sized(record.value)
    const headers = record.headers
    if (headers === undefined) {
      this.#bytes[this.#position++] = 0
      return
    }
    this.varint(headers.length)
    for (const header of headers) {
      this.#sized(Buffer.from(header.key))
      this.#sized(header.value)
    }
  }

  varint(value: number): void {
    let zigzag = (value << 1) ^ (value >> 31)
    while ((zigzag & ~0x7f) !== 0) {
      this.#bytes[this.#position++] = (zigzag & 0x7f) | 0x80
      zigzag >>>= 7
    }
    this.#bytes[this.#position++] = zigzag
  }

  #varlong(value: number): void {
    if (isShort(value)) {
      this.varint(value)
      return
    }
    let zigzag = zigzagOf(value)
    for (; zigzag >= 0x80n; zigzag >>= 7n) this.#bytes[this.#position++] = Number(zigzag & 0x7fn) | 0x80
    this.#bytes[this.#position++] = Number(zigzag)
  }

  #sized(bytes: Uint8Array | null): void {
    this.varint(bytes?.length ?? -1)
    if (bytes === null) return
    this.#bytes.set(bytes, this.#position)
    this.#position += bytes.length
  }
}

/** The header of one batch, read in place. `bytes` is a view of exactly this batch. */
export class RecordBatch {
  readonly bytes: Uint8Array
  readonly baseOffset: number
  readonly attributes: number
  readonly #view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.baseOffset = int64At(this.#view, 0)
    this.attributes = this.#view.getInt16(21)
    if (!Number.isSafeInteger(this.baseOffset) || this.baseOffset < 0) {
      throw corrupt(`base offset ${this.baseOffset} is not an offset`)
    }
  }

  get leaderEpoch(): number {
    return this.#view.getInt32(12)
  }
  get crc(): number {
    return this.#view.getUint32(CRC_START)
  }
  get compression(): number {
    return this.attributes & COMPRESSION_MASK
  }
  get isTransactional(): boolean {
    return (this.attributes & TRANSACTIONAL_FLAG) !== 0
  }
  get isControl(): boolean {
    return (this.attributes & CONTROL_FLAG) !== 0
  }
  get isLogAppendTime(): boolean {
    return (this.attributes & LOG_APPEND_TIME_FLAG) !== 0
  }
  get lastOffsetDelta(): number {
    return this.#view.getInt32(23)
  }
  /** The offset after the batch; compaction may have removed records, so it is not a sum of counts. */
  get nextOffset(): number {
    return this.baseOffset + this.lastOffsetDelta + 1
  }
  get baseTimestampMs(): number {
    return int64At(this.#view, 27)
  }
  get maxTimestampMs(): number {
    return int64At(this.#view, 35)
  }
  get producerId(): bigint {
    return this.#view.getBigInt64(43)
  }
  get producerEpoch(): number {
    return this.#view.getInt16(51)
  }
  get baseSequence(): number {
    return this.#view.getInt32(53)
  }
  get recordCount(): number {
    return this.#view.getInt32(57)
  }

  crcIsValid(): boolean {
    return crc32c(this.bytes, CRC_COVERS_FROM) === this.crc
  }
}

function int64At(view: DataView, position: number): number {
  return view.getInt32(position) * 0x100000000 + view.getUint32(position + 4)
}

/**
 * The whole batches of a chunk of log, in order. A batch that is cut off by the end of the chunk ends the walk, as in a
 * Fetch response. Throws KafkaError CORRUPT_MESSAGE at a batch that cannot be one.
 */
export function* batches(
  chunk: Uint8Array,
  options: { readonly checkCrc?: boolean } = {},
): Generator<RecordBatch, void> {
  // A plain view: subarrays of a Buffer cost twice as much.
  const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let position = 0
  while (position + LOG_OVERHEAD_SIZE < bytes.length) {
    const size = LOG_OVERHEAD_SIZE + view.getInt32(position + 8)
    const rest = bytes.length - position
    if (rest > 16) checkMagic(view.getInt8(position + 16))
    if (size < BATCH_HEADER_SIZE) throw corrupt(`a batch of ${size} bytes is smaller than its header`)
    if (size > rest) return
    const batch = new RecordBatch(bytes.subarray(position, position + size))
    if (options.checkCrc === true && !batch.crcIsValid()) {
      throw corrupt(`the batch at offset ${batch.baseOffset} does not match its CRC`)
    }
    yield batch
    position += size
  }
}

function checkMagic(magic: number): void {
  if (magic === MAGIC) return
  if (magic === 0 || magic === 1) {
    throw new KafkaError(
      'UNSUPPORTED_FOR_MESSAGE_FORMAT',
      `Message format ${magic} is not read; only record batches v2 are.`,
    )
  }
  throw corrupt(`magic ${magic} is no record format`)
}

function corrupt(what: string): KafkaError {
  return new KafkaError('CORRUPT_MESSAGE', `Damaged record batch: ${what}.`)
}

/** Looks up the codec of a compression id; throws KafkaError UNSUPPORTED_COMPRESSION_TYPE when there is none. */
export type CodecLookup = (compression: number) => Codec

function noCodec(compression: number): never {
  throw new KafkaError('UNSUPPORTED_COMPRESSION_TYPE', `No codec was given for compression type ${compression}.`)
}

/**
 * Steps through the records of a batch and allocates nothing for one: keys and values are positions in `bytes`. What
 * group and transaction replay use; `records` is the comfortable form.
 */
export class RecordCursor {
  /** Where the positions point: the batch, or its decompressed records. */
  readonly bytes: Uint8Array
  offset = -1
  timestampMs = -1
  keyStart = 0
  /** -1: null. */
  keySize = -1
  valueStart = 0
  /** -1: null. */
  valueSize = -1
  headerCount = 0
  headersStart = 0
  /** The end of the current record. */
  end = 0
  readonly #baseOffset: number
  readonly #baseTimestampMs: number
  /** -1, or the time of the append, which then is the time of every record. */
  readonly #appendTimeMs: number
  #left: number
  #position: number

  constructor(batch: RecordBatch, codecs: CodecLookup = noCodec) {
    if (batch.compression === Compression.none) {
      this.bytes = batch.bytes
      this.#position = BATCH_HEADER_SIZE
    } else {
      const payload = batch.bytes.subarray(BATCH_HEADER_SIZE)
      const plain = codecs(batch.compression).decompress(payload, DECOMPRESSED_SIZE_MAX)
      this.bytes = new Uint8Array(plain.buffer, plain.byteOffset, plain.byteLength)
      this.#position = 0
    }
    this.end = this.#position
    this.#left = batch.recordCount
    this.#baseOffset = batch.baseOffset
    this.#baseTimestampMs = batch.baseTimestampMs
    this.#appendTimeMs = batch.isLogAppendTime ? batch.maxTimestampMs : -1
  }

  /** Moves to the next record; false after the last. Throws KafkaError CORRUPT_MESSAGE when sizes do not add up. */
  next(): boolean {
    if (this.#left <= 0) {
      if (this.#left < 0 || this.end !== this.bytes.length) throw corrupt('bytes are left after the last record')
      return false
    }
    this.#left--
    // Fields of one byte, and sizes of two, are read here: a call for each would take most of the time.
    const bytes = this.bytes
    let position = this.end
    let byte = bytes[position]!
    let size: number
    if (byte < 0x80) {
      size = (byte >>> 1) ^ -(byte & 1)
      position++
    } else {
      size = this.#varintAt(position)
      position = this.#position
    }
    const end = position + size
    if (size < 0 || end > bytes.length) throw corrupt(`a record of ${size} bytes does not fit`)
    this.end = end
    position++

    byte = bytes[position]!
    if (byte < 0x80) {
      this.timestampMs = this.#baseTimestampMs + ((byte >>> 1) ^ -(byte & 1))
      position++
    } else {
      this.timestampMs = this.#baseTimestampMs + this.#varlongAt(position)
      position = this.#position
    }
    if (this.#appendTimeMs !== -1) this.timestampMs = this.#appendTimeMs

    byte = bytes[position]!
    if (byte < 0x80) {
      this.offset = this.#baseOffset + ((byte >>> 1) ^ -(byte & 1))
      position++
    } else {
      this.offset = this.#baseOffset + this.#varintAt(position)
      position = this.#position
    }

    byte = bytes[position]!
    if (byte < 0x80) {
      size = (byte >>> 1) ^ -(byte & 1)
      position++
    } else {
      size = this.#varintAt(position)
      position = this.#position
    }
    this.keySize = size
    this.keyStart = position
    if (size > 0) position += size

    if (position >= end) this.#overrun()
    byte = bytes[position]!
    if (byte < 0x80) {
      size = (byte >>> 1) ^ -(byte & 1)
      position++
    } else {
      size = this.#varintAt(position)
      position = this.#position
    }
    this.valueSize = size
    this.valueStart = position
    if (size > 0) position += size

    if (position >= end) this.#overrun()
    byte = bytes[position]!
    if (byte === 0) {
      this.headerCount = 0
      if (position + 1 !== end) this.#overrun()
      this.headersStart = end
      return true
    }
    this.headerCount = this.#varintAt(position)
    this.headersStart = this.#position
    if (this.headerCount < 0 || this.#position > end) this.#overrun()
    return true
  }

  #overrun(): never {
    throw corrupt('the fields of a record do not fill it')
  }

  /** The varint at `position`; leaves #position behind it. */
  #varintAt(position: number): number {
    this.#position = position
    const bytes = this.bytes
    let byte = bytes[this.#position++]!
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1)
    let raw = byte & 0x7f
    for (let shift = 7; shift <= 28; shift += 7) {
      byte = bytes[this.#position++]!
      raw |= (byte & 0x7f) << shift
      if (byte < 0x80) return (raw >>> 1) ^ -(raw & 1)
    }
    throw corrupt('a varint has no end')
  }

  #varlongAt(start: number): number {
    this.#position = start
    const bytes = this.bytes
    let raw = 0
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = bytes[this.#position++]!
      raw |= (byte & 0x7f) << shift
      if (byte < 0x80) return (raw >>> 1) ^ -(raw & 1)
    }
    this.#position = start
    return this.#varlongWide()
  }

  #varlongWide(): number {
    let raw = 0n
    for (let shift = 0n; shift <= 63n; shift += 7n) {
      const byte = this.bytes[this.#position++]
      if (byte === undefined) break
      raw |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return Number(BigInt.asIntN(64, (raw >> 1n) ^ -(raw & 1n)))
    }
    throw corrupt('a varlong has no end')
  }
}

const decoder = new TextDecoder()

/** A record; key, value and header values are views of the batch (or of its decompressed records). */
export class BatchRecord {
  readonly offset: number
  readonly timestampMs: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly #bytes: Uint8Array
  readonly #headersStart: number
  readonly #headerCount: number
  readonly #end: number

  constructor(at: RecordCursor) {
    this.offset = at.offset
    this.timestampMs = at.timestampMs
    this.key = slice(at.bytes, at.keyStart, at.keySize)
    this.value = slice(at.bytes, at.valueStart, at.valueSize)
    this.#bytes = at.bytes
    this.#headersStart = at.headersStart
    this.#headerCount = at.headerCount
    this.#end = at.end
  }

  /** Decoded when asked for. */
  get headers(): RecordHeader[] {
    return readHeaders(this.#bytes, this.#headersStart, this.#headerCount, this.#end, this.offset)
  }
}

/** The headers of one record, as RecordCursor tells where they are. Throws KafkaError CORRUPT_MESSAGE. */
export function readHeaders(
  bytes: Uint8Array,
  headersStart: number,
  headerCount: number,
  end: number,
  offset: number,
): RecordHeader[] {
  const fail = (): never => {
    throw corrupt(`the headers of the record at offset ${offset} do not fill it`)
  }
  const headers: RecordHeader[] = []
  let position = headersStart
  const sized = (): Uint8Array | null => {
    let size = 0
    let shift = 0
    for (;;) {
      const byte = position < end && shift <= 28 ? bytes[position++]! : fail()
      size |= (byte & 0x7f) << shift
      if (byte < 0x80) break
      shift += 7
    }
    size = (size >>> 1) ^ -(size & 1)
    if (size < 0) return null
    if (size > end - position) fail()
    position += size
    return slice(bytes, position - size, size)
  }
  for (let i = 0; i < headerCount; i++) {
    const key = sized() ?? fail()
    headers.push({ key: decoder.decode(key), value: sized() })
  }
  if (position !== end) fail()
  return headers
}

function slice(bytes: Uint8Array, start: number, size: number): Uint8Array | null {
  return size < 0 ? null : bytes.subarray(start, start + size)
}

/** The records of a batch, decoded one by one. */
export function* records(batch: RecordBatch, codecs?: CodecLookup): Generator<BatchRecord, void> {
  const cursor = new RecordCursor(batch, codecs)
  while (cursor.next()) yield new BatchRecord(cursor)
}
