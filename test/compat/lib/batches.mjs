// SPDX-License-Identifier: Apache-2.0
// Record batches from bytes up, right or wrong as wanted: nothing here knows varve's or any client's encoder.
import { gzipSync } from 'node:zlib'

export const headerBytes = 61
const crcAt = 17
const attributesAt = 21
const maxTimestampAt = 35
const epochAt = 12
export const codecs = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }
const windowLog64KiB = 0x40

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc >>> 0
})

export function crc32c(bytes) {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 255]
  return ~crc >>> 0
}

const rotate = (value, bits) => (value << bits) | (value >>> (32 - bits))

/** XXH32 of fewer than 16 bytes with seed 0: what an LZ4 frame header needs. */
function xxh32Small(bytes) {
  let hash = (374761393 + bytes.length) | 0
  let at = 0
  for (; at + 4 <= bytes.length; at += 4)
    hash = Math.imul(rotate((hash + Math.imul(bytes.readUInt32LE(at), 3266489917)) | 0, 17), 668265263)
  for (; at < bytes.length; at++) hash = Math.imul(rotate((hash + Math.imul(bytes[at], 374761393)) | 0, 11), 2654435761)
  hash = Math.imul(hash ^ (hash >>> 15), 2246822519)
  hash = Math.imul(hash ^ (hash >>> 13), 3266489917)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** A varint of Kafka's: zigzag, seven bits a byte. */
export function varint(value) {
  let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))
  const bytes = []
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}

const lengthed = (bytes) => (bytes === null ? varint(-1) : Buffer.concat([varint(bytes.length), bytes]))

export function record({
  key = Buffer.from('key'),
  value = Buffer.from('value'),
  headers = [],
  attributes = 0,
  timestampDelta = 0,
  offsetDelta = 0,
  headerCount = headers.length,
  size,
} = {}) {
  const body = Buffer.concat([
    Buffer.from([attributes]),
    varint(timestampDelta),
    varint(offsetDelta),
    lengthed(key),
    lengthed(value),
    varint(headerCount),
    ...headers.flatMap(([name, bytes]) => [lengthed(name), lengthed(bytes)]),
  ])
  return Buffer.concat([varint(size ?? body.length), body])
}

/** An LZ4 frame of blocks that are stored as they are; `flags` and `checksum` as wanted. */
export function lz4Frame(bytes, { flags = 0x60, block = bytes, end = true, badChecksum = false } = {}) {
  const descriptor = Buffer.from([flags, windowLog64KiB])
  const checksum = ((xxh32Small(descriptor) >>> 8) & 255) ^ (badChecksum ? 1 : 0)
  const size = Buffer.alloc(4)
  size.writeUInt32LE((block.length | 0x80000000) >>> 0)
  const parts = [Buffer.from([0x04, 0x22, 0x4d, 0x18]), descriptor, Buffer.from([checksum]), size, block]
  return Buffer.concat(end ? [...parts, Buffer.alloc(4)] : parts)
}

/** Raw snappy: the size, then literals of at most 60 bytes. */
export function snappyRaw(bytes) {
  const parts = []
  for (let rest = bytes.length; ; rest >>>= 7) {
    parts.push(Buffer.from([rest > 127 ? (rest & 127) | 128 : rest]))
    if (rest <= 127) break
  }
  for (let at = 0; at < bytes.length; at += 60) {
    const part = bytes.subarray(at, at + 60)
    parts.push(Buffer.from([(part.length - 1) << 2]), part)
  }
  return Buffer.concat(parts)
}

/** The framing of Java's snappy library. */
export function snappyXerial(bytes) {
  const block = snappyRaw(bytes)
  const head = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0])
  head.writeInt32BE(block.length, 16)
  return Buffer.concat([head, block])
}

/** A zstd frame of one raw block, of fewer than 256 bytes. */
export function zstdFrame(bytes) {
  const block = (bytes.length << 3) | 1
  const head = [0x28, 0xb5, 0x2f, 0xfd, 0x20, bytes.length, block & 255, (block >> 8) & 255, block >> 16]
  return Buffer.concat([Buffer.from(head), bytes])
}

const compress = { none: (bytes) => bytes, gzip: gzipSync, snappy: snappyXerial, lz4: lz4Frame, zstd: zstdFrame }

/**
 * One batch. `records` are descriptions for record(), or bytes; what is not given is what a right batch has.
 * `payload` replaces what lies behind the header.
 */
export function batch({
  records = [{}],
  codec = 'none',
  baseTimestamp,
  attributes = 0,
  payload,
  baseOffset = 0,
  magic = 2,
  leaderEpoch = -1,
  producerId = -1,
  producerEpoch = -1,
  baseSequence = -1,
  length,
  crc,
  ...given
}) {
  const described = Buffer.isBuffer(records) ? [] : records
  const raw = Buffer.isBuffer(records)
    ? records
    : Buffer.concat(described.map((each, index) => record({ offsetDelta: index, ...each })))
  const count = given.count ?? described.length
  const latest = Math.max(...described.map((each) => baseTimestamp + (each.timestampDelta ?? 0)), -1)
  const body = payload ?? compress[codec](raw)
  const head = Buffer.alloc(headerBytes)
  head.writeBigInt64BE(BigInt(baseOffset), 0)
  head.writeInt32BE(length ?? headerBytes - epochAt + body.length, 8)
  head.writeInt32BE(leaderEpoch, epochAt)
  head.writeInt8(magic, 16)
  head.writeInt16BE(attributes | codecs[codec], attributesAt)
  head.writeInt32BE(given.lastOffsetDelta ?? count - 1, 23)
  head.writeBigInt64BE(BigInt(baseTimestamp), 27)
  head.writeBigInt64BE(BigInt(given.maxTimestamp ?? latest), maxTimestampAt)
  head.writeBigInt64BE(BigInt(producerId), 43)
  head.writeInt16BE(producerEpoch, 51)
  head.writeInt32BE(baseSequence, 53)
  head.writeInt32BE(count, 57)
  const whole = Buffer.concat([head, body])
  whole.writeUInt32BE(crc ?? crc32c(whole.subarray(attributesAt)), crcAt)
  return whole
}

/**
 * Stored batches, in a form in which two brokers can be compared: the leader epoch is blanked, and with `appendTime` a
 * maxTimestamp within its bounds too. Throws for a batch whose CRC is wrong.
 */
export function comparable(bytes, appendTime) {
  const copy = Buffer.from(bytes)
  for (let at = 0; at < copy.length; ) {
    const one = copy.subarray(at, at + 12 + copy.readInt32BE(at + 8))
    if (crc32c(one.subarray(attributesAt)) !== one.readUInt32BE(crcAt)) throw new Error(`wrong CRC of a batch at ${at}`)
    one.writeInt32BE(0, epochAt)
    const latest = Number(one.readBigInt64BE(maxTimestampAt))
    if (appendTime !== undefined && latest >= appendTime[0] && latest <= appendTime[1]) {
      one.writeBigInt64BE(0n, maxTimestampAt)
      one.writeUInt32BE(0, crcAt)
    }
    at += one.length
  }
  return copy.toString('hex')
}
