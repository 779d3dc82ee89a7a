// SPDX-License-Identifier: Apache-2.0
// Record batches v2 and their checksum. The golden bytes were written by Kafka 4.3.1's MemoryRecords.
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KafkaError } from '../../src/errors.ts'
import { crc32c } from '../../src/protocol/crc32c.ts'
import {
  BATCH_HEADER_SIZE,
  batches,
  type Codec,
  encodeBatch,
  type RecordBatch,
  RecordCursor,
  type RecordToEncode,
  records,
} from '../../src/protocol/record-batch.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

const GOLDEN =
  '00000000000000050000005a0000000302f0a9da6c0010000000020000018bcfe5687b000001ba60d33800000003a352944000000700000009' +
  '0000000328000000026b0a76616c7565040268027804c3a9010e00f5010201000016008abeee8ed20b04000100'

const goldenRecords: RecordToEncode[] = [
  {
    key: utf8('k'),
    value: utf8('value'),
    timestampMs: 1700000000123,
    headers: [
      { key: 'h', value: utf8('x') },
      { key: 'é', value: null },
    ],
  },
  { key: null, value: utf8(''), timestampMs: 1700000000000 },
  { key: utf8(''), value: null, timestampMs: 1900000000000 },
]

const gzip: Codec = {
  id: 1,
  compress: (bytes) => gzipSync(bytes),
  decompress: (bytes, sizeMax) => gunzipSync(bytes, { maxOutputLength: sizeMax }),
}

function only(chunk: Uint8Array): RecordBatch {
  const found = [...batches(chunk, { checkCrc: true })]
  expect(found).toHaveLength(1)
  return found[0]!
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof KafkaError) return error.code
    throw error
  }
  return 'NONE'
}

/** Sets the CRC to what the bytes now are, as an attacker would. */
function sealed(bytes: Uint8Array): Uint8Array {
  Buffer.from(bytes.buffer, bytes.byteOffset).writeUInt32BE(crc32c(bytes, 21), 17)
  return bytes
}

describe('crc32c', () => {
  it.each([
    ['123456789', utf8('123456789'), 0xe3069283],
    ['32 bytes of zeros (RFC 3720)', new Uint8Array(32), 0x8a9136aa],
    ['32 bytes of ones (RFC 3720)', new Uint8Array(32).fill(255), 0x62a8ab43],
    ['0 to 31 (RFC 3720)', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ['31 to 0 (RFC 3720)', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    ['nothing', new Uint8Array(0), 0],
  ])('knows %s', (_, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected)
  })

  it('equals the bit-by-bit definition at every length and alignment, whole or in two pieces', () => {
    const bitwise = (bytes: Uint8Array) => {
      let c = 0xffffffff
      for (const byte of bytes) {
        c ^= byte
        for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
      }
      return ~c >>> 0
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1500, size: 'max' }), fc.nat(20), fc.nat(1500), (bytes, from, middle) => {
        const start = Math.min(from, bytes.length)
        const split = Math.min(Math.max(middle, start), bytes.length)
        const expected = bitwise(bytes.subarray(start))
        expect(crc32c(bytes, start)).toBe(expected)
        expect(crc32c(bytes, split, bytes.length, crc32c(bytes, start, split))).toBe(expected)
      }),
    )
  })

  it('refuses ranges outside the bytes', () => {
    expect(() => crc32c(new Uint8Array(4), 2, 5)).toThrow(RangeError)
    expect(() => crc32c(new Uint8Array(4), -1)).toThrow(RangeError)
  })
})

describe('encodeBatch', () => {
  it('writes what Kafka writes', () => {
    const bytes = encodeBatch({
      records: goldenRecords,
      baseOffset: 5,
      leaderEpoch: 3,
      producerId: 4000000000000n,
      producerEpoch: 7,
      baseSequence: 9,
      transactional: true,
    })
    expect(hex(bytes)).toBe(GOLDEN)
  })

  it('refuses a batch without records, which only compaction may leave behind', () => {
    expect(() => encodeBatch({ records: [] })).toThrow(RangeError)
  })
})

describe('batches and records', () => {
  it('read what Kafka wrote', () => {
    const batch = only(Buffer.from(GOLDEN, 'hex'))
    expect(batch).toMatchObject({
      baseOffset: 5,
      nextOffset: 8,
      leaderEpoch: 3,
      producerId: 4000000000000n,
      producerEpoch: 7,
      baseSequence: 9,
      recordCount: 3,
      isTransactional: true,
      isControl: false,
      compression: 0,
      baseTimestampMs: 1700000000123,
      maxTimestampMs: 1900000000000,
    })
    const read = [...records(batch)].map((r) => ({ ...r, headers: r.headers }))
    expect(read).toEqual(goldenRecords.map((r, i) => ({ headers: [], ...r, offset: 5 + i })))
  })

  it('give back any records that were encoded, compressed or not', () => {
    const bytes = fc.option(fc.uint8Array({ maxLength: 300 }), { nil: null })
    const record = fc.record({
      key: bytes,
      value: bytes,
      timestampMs: fc.oneof(fc.integer({ min: -1, max: 2 ** 41 }), fc.integer({ min: -1, max: 2 ** 50 })),
      headers: fc.array(fc.record({ key: fc.string({ unit: 'grapheme' }), value: bytes }), { maxLength: 3 }),
    })
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 40 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 2 ** 52 }),
        (input, compressed, baseOffset) => {
          const bytes = encodeBatch({ records: input, baseOffset, ...(compressed ? { codec: gzip } : {}) })
          const batch = only(bytes)
          const read = [...records(batch, () => gzip)].map((r) => ({ ...r, headers: r.headers }))
          expect(read).toEqual(input.map((r, i) => ({ ...r, offset: baseOffset + i })))
          expect(batch.maxTimestampMs).toBe(Math.max(...input.map((r) => r.timestampMs)))
        },
      ),
    )
  })

  it('take the time of the append for every record when the topic says so', () => {
    const bytes = encodeBatch({ records: goldenRecords })
    bytes[22] = bytes[22]! | 0x08
    Buffer.from(bytes.buffer).writeBigInt64BE(1950000000000n, 35)
    expect([...records(only(sealed(bytes)))].map((r) => r.timestampMs)).toEqual([
      1950000000000, 1950000000000, 1950000000000,
    ])
  })

  it('are views of the chunk, not copies', () => {
    const bytes = encodeBatch({ records: goldenRecords })
    const [first] = records(only(bytes))
    expect(first!.value!.buffer).toBe(bytes.buffer)
  })

  it('stop before a batch that the chunk cuts off, at every cut', () => {
    const one = encodeBatch({ records: goldenRecords })
    const chunk = Buffer.concat([one, encodeBatch({ records: goldenRecords, baseOffset: 3 })])
    for (let size = 0; size < chunk.length; size++) {
      const found = [...batches(chunk.subarray(0, size))]
      expect(found.map((b) => b.baseOffset)).toEqual(size < one.length ? [] : [0])
    }
    expect([...batches(chunk)].map((b) => b.baseOffset)).toEqual([0, 3])
  })

  it('find any flipped bit by the CRC, or refuse the header, when asked to check', () => {
    const good = encodeBatch({ records: goldenRecords, baseOffset: 1 })
    for (let bit = 16 * 8; bit < good.length * 8; bit++) {
      const bad = good.slice()
      bad[bit >> 3] = bad[bit >> 3]! ^ (1 << (bit & 7))
      const code = codeOf(() => [...batches(bad, { checkCrc: true })])
      expect(['CORRUPT_MESSAGE', 'UNSUPPORTED_FOR_MESSAGE_FORMAT']).toContain(code)
    }
  })

  it.each([
    [0, 'UNSUPPORTED_FOR_MESSAGE_FORMAT'],
    [1, 'UNSUPPORTED_FOR_MESSAGE_FORMAT'],
    [3, 'CORRUPT_MESSAGE'],
    [-1, 'CORRUPT_MESSAGE'],
  ])('answer magic %i with %s', (magic, code) => {
    const bytes = encodeBatch({ records: goldenRecords })
    bytes[16] = magic
    expect(codeOf(() => [...batches(bytes)])).toBe(code)
  })

  it.each([-100, -1, 0, BATCH_HEADER_SIZE - 13])('refuse a batch length of %i', (length) => {
    const bytes = encodeBatch({ records: goldenRecords })
    Buffer.from(bytes.buffer).writeInt32BE(length, 8)
    expect(codeOf(() => [...batches(bytes)])).toBe('CORRUPT_MESSAGE')
  })

  it('refuse a base offset beyond 2^53 instead of rounding it', () => {
    const bytes = encodeBatch({ records: goldenRecords })
    Buffer.from(bytes.buffer).writeBigInt64BE(1n << 60n, 0)
    expect(codeOf(() => [...batches(bytes)])).toBe('CORRUPT_MESSAGE')
  })

  it('refuse a compressed batch without a codec', () => {
    const bytes = encodeBatch({ records: goldenRecords, codec: gzip })
    expect(codeOf(() => [...records(only(bytes))])).toBe('UNSUPPORTED_COMPRESSION_TYPE')
  })

  it('end in a KafkaError or in records, never elsewhere, whatever bytes stand behind a valid header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: -2, max: 5 }), (payload, recordCount) => {
        const bytes = new Uint8Array(BATCH_HEADER_SIZE + payload.length)
        bytes.set(encodeBatch({ records: goldenRecords }).subarray(0, BATCH_HEADER_SIZE))
        bytes.set(payload, BATCH_HEADER_SIZE)
        const buffer = Buffer.from(bytes.buffer)
        buffer.writeInt32BE(bytes.length - 12, 8)
        buffer.writeInt32BE(recordCount, 57)
        const code = codeOf(() => {
          const read = [...records(only(sealed(bytes)))].map((r) => r.headers)
          expect(read).toHaveLength(recordCount)
        })
        expect(['NONE', 'CORRUPT_MESSAGE']).toContain(code)
      }),
      { numRuns: 2000 },
    )
  })

  it('refuse fewer records in the header than the batch holds', () => {
    const bytes = encodeBatch({ records: goldenRecords })
    Buffer.from(bytes.buffer).writeInt32BE(2, 57)
    expect(codeOf(() => [...records(only(sealed(bytes)))])).toBe('CORRUPT_MESSAGE')
  })

  it('step through records without making objects: a cursor sees the same positions', () => {
    const batch = only(encodeBatch({ records: goldenRecords, baseOffset: 10 }))
    const cursor = new RecordCursor(batch)
    const seen: string[] = []
    while (cursor.next()) {
      const value =
        cursor.valueSize < 0
          ? 'null'
          : hex(cursor.bytes.subarray(cursor.valueStart, cursor.valueStart + cursor.valueSize))
      seen.push(`${cursor.offset} ${cursor.keySize} ${value} ${cursor.headerCount}`)
    }
    expect(seen).toEqual(['10 1 76616c7565 2', '11 -1  0', '12 0 null 0'])
  })
})
