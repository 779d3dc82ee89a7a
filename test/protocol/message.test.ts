// SPDX-License-Identifier: Apache-2.0
// The rules of the codec, one by one, and the bad input that it must withstand. The limits are those of decoding; what
// a broker does with a ProtocolError is tested with the broker.
import { describe, expect, test } from 'vitest'
import { CreateTopics, Fetch, Heartbeat, JoinGroup, Metadata, Produce } from '../../src/protocol/apis/index.ts'
import { Message } from '../../src/protocol/message.ts'
import { ProtocolError } from '../../src/protocol/protocol-error.ts'
import { MAX_ARRAY_ELEMENTS, MAX_TAGGED_FIELDS } from '../../src/protocol/reader.ts'
import {
  array,
  bytes,
  type Fields,
  int8,
  int16,
  int32,
  int64,
  offset,
  records,
  string,
  struct,
  timestampMs,
  topicName,
  uuid,
  ZERO_UUID,
} from '../../src/protocol/schema.ts'

/** Versions 0 to 3, flexible from 2. */
function message<const F extends Fields>(fields: F, maxElements = Infinity): Message<F> {
  return new Message('Test', { versions: { min: 0, max: 3 }, flexible: 2, maxElements, fields })
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

function failure(run: () => unknown): ProtocolError {
  try {
    run()
  } catch (error) {
    if (error instanceof ProtocolError) return error
    throw error
  }
  return expect.unreachable('no ProtocolError was thrown')
}

describe('tables', () => {
  test('a table that contradicts itself is refused when it is made', () => {
    expect(() => message({ a: int32.in('2+').tagged(0), b: int32.in('2+').tagged(0) })).toThrow('a tag is used twice')
    expect(() => message({ a: int32.tagged(0) })).toThrow('needs versions from 2 on')
    expect(() => message({ a: int32.nullable() })).toThrow('cannot be null')
    expect(() => message({ a: string.default(null as unknown as string) })).toThrow('never null')
    expect(() => message({ a: array({ Bad: int32 }) })).toThrow('Test.a.Bad: not camelCase')
    expect(() => int32.in('x' as '1+')).toThrow("got 'x'")
    expect(() => int32.in('3-1')).toThrow('must ascend')
  })

  test('a version without a table is an error of kind unsupported', () => {
    const m = message({ a: int32 })
    for (const version of [-1, 4, 0.5]) {
      expect(failure(() => m.encode(version, { a: 1 })).kind).toBe('unsupported')
      expect(failure(() => m.decode(version, hex('00000001'))).kind).toBe('unsupported')
    }
  })
})

describe('encoding', () => {
  test('what is left out is sent as its declared default, or as the zero of its type', () => {
    const m = message({ a: int32.default(7), b: string.in('0+').nullable().default(null), c: array(int8).in('0+') })
    expect(m.encode(0, {}).toString('hex')).toBe('00000007ffff00000000')
    expect(m.encode(2, {}).toString('hex')).toBe('00000007000100')
    expect(m.complete({})).toEqual({ a: 7, b: null, c: [] })
  })

  test('a field that the version cannot carry is dropped when ignorable, refused when it is set', () => {
    const m = message({
      a: int8,
      b: int32.in('1+').default(-1),
      c: string.in('1+').ignorable(),
      d: array(int8).in('1+'),
    })
    expect(m.encode(0, { a: 1, c: 'dropped' }).toString('hex')).toBe('01')
    expect(m.encode(0, { a: 1, b: -1, d: [] }).toString('hex')).toBe('01')
    expect(failure(() => m.encode(0, { a: 1, b: 5 }))).toMatchObject({
      kind: 'unsupported',
      path: 'b',
      where: 'Test v0',
    })
    expect(failure(() => m.encode(0, { a: 1, d: [1] }))).toMatchObject({ kind: 'unsupported', path: 'd' })
    expect(
      failure(() =>
        Heartbeat.encodeRequest(2, 1, null, { groupId: 'g', generationId: 1, memberId: 'm', groupInstanceId: 'i' }),
      ),
    ).toMatchObject({
      kind: 'unsupported',
      message: 'HeartbeatRequest v2 at groupInstanceId: this version cannot carry the value',
    })
    const leader = { leaderId: 1, leaderEpoch: 2 }
    const partition = { index: 0, errorCode: 6, baseOffset: -1, currentLeader: leader }
    const responses = [{ name: 't', partitionResponses: [partition] }]
    expect(failure(() => Produce.encodeResponse(9, 1, { responses })).path).toBe(
      'responses[0].partitionResponses[0].currentLeader',
    )
    expect(Produce.encodeResponse(10, 1, { responses }).includes(hex('01 00 09 00000001 00000002 00'))).toBe(true)
  })

  test('null is refused in versions that cannot send it, and where it never may be', () => {
    expect(failure(() => Metadata.encodeRequest(0, 1, null, { topics: null })).kind).toBe('unsupported')
    expect(Metadata.encodeRequest(1, 1, null, { topics: null }).toString('hex')).toBe(
      '0000000e0003000100000001ffffffffffff',
    )
    const m = message({ a: string, b: array({ c: string }) })
    expect(failure(() => m.encode(0, { a: null as unknown as string, b: [] }))).toMatchObject({
      kind: 'value',
      path: 'a',
    })
    expect(failure(() => m.encode(0, { a: '', b: [{ c: 'x' }, null as unknown as { c: string }] }))).toMatchObject({
      kind: 'value',
      path: 'b[1]',
    })
  })

  test('a value of the wrong type or range is refused with its path, never cut to fit', () => {
    const m = message({
      a: array({ i8: int8, i16: int16, i32: int32, i64: int64, off: offset, id: uuid, name: string }),
    })
    const good = { i8: 1, i16: 2, i32: 3, i64: 4n, off: 5, id: ZERO_UUID, name: 'n' }
    const bad: [keyof typeof good, unknown][] = [
      ['i8', 128],
      ['i16', -32_769],
      ['i32', 2 ** 31],
      ['i32', 1.5],
      ['i32', '3'],
      ['i32', undefined],
      ['i32', Number.NaN],
      ['i64', 4],
      ['i64', 2n ** 63n],
      ['off', 2 ** 53],
      ['off', 5n],
      ['id', 'short'],
      ['id', 'ÿ'.repeat(22)],
      ['id', 'AAAAAAAAAAAAAAAAAAAAAB'],
      ['name', 7],
      ['name', 'x'.repeat(32_768)],
    ]
    expect(m.encode(0, { a: [good] }).length).toBe(4 + 1 + 2 + 4 + 8 + 8 + 16 + 3)
    for (const [field, value] of bad) {
      const error = failure(() => m.encode(0, { a: [good, { ...good, [field]: value } as typeof good] }))
      expect(error, `${field} ${value}`).toMatchObject({ kind: 'value', path: `a[1].${field}` })
    }
  })

  test('records may be given in pieces', () => {
    const m = message({ r: records.nullable() })
    const pieces = [hex('0102'), new Uint8Array(0), hex('03')]
    expect(m.encode(0, { r: pieces }).toString('hex')).toBe('00000003010203')
    expect(m.encode(2, { r: pieces }).toString('hex')).toBe('0401020300')
    expect(m.encode(2, { r: null }).toString('hex')).toBe('0000')
    expect(failure(() => m.encode(0, { r: [1] as unknown as Uint8Array[] })).kind).toBe('value')
  })

  test('a tagged field is sent when it differs from its default, with a size of as many bytes as it takes', () => {
    const m = message({ a: array(int8).in('2+').tagged(0), b: int32.in('2+').tagged(3).default(-1) })
    expect(m.encode(2, {}).toString('hex')).toBe('00')
    expect(m.encode(2, { a: [], b: -1 }).toString('hex')).toBe('00')
    expect(m.encode(2, { a: [1], b: 2 }).toString('hex')).toBe('02 00 02 02 01 03 04 00000002'.replaceAll(' ', ''))
    for (const length of [126, 127, 128, 16_380, 16_384, 100_000]) {
      const a = Array.from({ length }, (_, i) => i % 100)
      expect(m.decode(2, m.encode(2, { a, b: 5 }))).toEqual({ a, b: 5 })
    }
  })

  test('strings of any length and script come back as they went in', () => {
    const m = message({ s: string })
    for (const unit of ['a', 'é', '漢', '😀']) {
      for (const length of [0, 1, 13, 41, 42, 43, 63, 64, 126, 127, 128, 5000]) {
        const s = unit.repeat(length)
        for (const version of [0, 2]) expect(m.decode(version, m.encode(version, { s })).s).toBe(s)
      }
    }
  })
})

describe('decoding', () => {
  test('a field that the version does not carry has its declared default', () => {
    const request = Fetch.request.complete({ maxWaitMs: 0, minBytes: 0, topics: [] })
    expect(request).toMatchObject({
      replicaId: -1,
      maxBytes: 0x7fffffff,
      sessionEpoch: -1,
      rackId: '',
      clusterId: null,
    })
    expect(Fetch.request.decode(4, Fetch.request.encode(4, request))).toEqual(request)
  })

  test('unknown tagged fields are kept and sent again, in order with the known ones', () => {
    const m = message({ a: int8.in('2+').tagged(1) })
    const sent = hex('03 00 01 aa 01 01 05 07 02 bbcc')
    const value = m.decode(2, sent)
    expect(value).toEqual({
      a: 5,
      unknownTags: [
        { tag: 0, data: hex('aa') },
        { tag: 7, data: hex('bbcc') },
      ],
    })
    expect(m.encode(2, value).equals(sent)).toBe(true)
    expect(failure(() => m.encode(1, { unknownTags: value.unknownTags! })).path).toBe('unknownTags')
    const twice = [
      { tag: 7, data: hex('') },
      { tag: 7, data: hex('') },
    ]
    expect(failure(() => m.encode(2, { unknownTags: twice })).kind).toBe('value')
    expect(failure(() => m.encode(2, { a: 3, unknownTags: [{ tag: 1, data: hex('') }] })).kind).toBe('value')
  })

  test('records are a view of the frame, bytes are a copy', () => {
    const m = message({ r: records, b: bytes })
    const frame = m.encode(0, { r: hex('0102'), b: hex('0304') })
    const value = m.decode(0, frame)
    frame.fill(0xff)
    expect(value.r.toString('hex')).toBe('ffff')
    expect(value.b.toString('hex')).toBe('0304')
  })

  test('a frame that is a view into a larger buffer, or a plain Uint8Array, is read at its own offsets', () => {
    const body = Heartbeat.request.encode(4, { groupId: 'g', generationId: 1, memberId: 'm' })
    const plain = new Uint8Array(body.length + 10)
    plain.set(body, 7)
    expect(Heartbeat.request.decode(4, plain.subarray(5, 7 + body.length), 2)).toMatchObject({
      groupId: 'g',
      memberId: 'm',
    })
    expect(failure(() => Heartbeat.request.decode(4, plain.subarray(7, 6 + body.length))).kind).toBe('truncated')
  })

  test('an offset beyond 2^53 - 1 is an error, a timestamp is clamped, producer ids keep all their bits', () => {
    const m = message({ o: offset, t: timestampMs, p: int64 })
    const max = '7fffffffffffffff'
    const at53 = '001fffffffffffff'
    expect(m.decode(0, hex(`${at53} ${max} ${max}`))).toEqual({ o: 2 ** 53 - 1, t: 2 ** 53 - 1, p: 2n ** 63n - 1n })
    expect(m.decode(0, hex('ffffffffffffffff 8000000000000000 8000000000000000'))).toEqual({
      o: -1,
      t: -(2 ** 53 - 1),
      p: -(2n ** 63n),
    })
    expect(failure(() => m.decode(0, hex(`0020000000000000 ${at53} ${at53}`)))).toMatchObject({
      kind: 'range',
      path: 'o',
    })
    expect(failure(() => m.decode(0, hex(`ffe0000000000000 ${at53} ${at53}`))).kind).toBe('range')
  })

  test('a topic id is Kafka’s base64url, zero included', () => {
    const m = message({ id: uuid })
    const id = 'PFp_-8y1TXuGV0sfYvK2iQ'
    expect(m.decode(0, m.encode(0, { id }))).toEqual({ id })
    expect(m.decode(0, Buffer.alloc(16))).toEqual({ id: ZERO_UUID })
  })
})

describe('bad input', () => {
  const plain = message({ s: string, n: string.nullable(), a: array(int32).nullable(), e: array({ name: string }) })

  test('a body cut anywhere is truncated, whatever it holds (row 6)', () => {
    const protocols = [{ name: 'range', metadata: hex('00010203') }]
    const join = { groupId: 'g', sessionTimeoutMs: 1, memberId: '', protocolType: 'consumer', protocols }
    for (const version of [0, 5, 6, 9]) {
      const whole = JoinGroup.request.encode(version, join)
      for (let size = 0; size < whole.length; size++) {
        expect(failure(() => JoinGroup.request.decode(version, whole.subarray(0, size))).kind).toBe('truncated')
      }
    }
  })

  test('a string or bytes longer than the rest is truncated, a length below -1 malformed (rows 6, 7)', () => {
    const s = message({ s: string, b: bytes })
    expect(failure(() => s.decode(0, hex('0064 61')))).toMatchObject({ kind: 'truncated', path: 's' })
    expect(failure(() => s.decode(0, hex('fffb')))).toMatchObject({ kind: 'malformed', detail: 'string length -5' })
    expect(failure(() => s.decode(0, hex('ffff')))).toMatchObject({ kind: 'malformed', path: 's' })
    expect(failure(() => s.decode(0, hex('0000 7fffffff')))).toMatchObject({ kind: 'truncated', path: 'b' })
    expect(failure(() => s.decode(0, hex('0000 fffffffb')))).toMatchObject({ kind: 'malformed', path: 'b' })
    expect(failure(() => s.decode(2, hex('00'))).kind).toBe('malformed')
    expect(failure(() => s.decode(2, hex('ffffffff0f'))).kind).toBe('malformed')
  })

  test('an array is bounded by what is left, before anything is allocated for it (row 8)', () => {
    const before = process.memoryUsage().heapUsed
    expect(failure(() => Metadata.request.decode(1, hex('7fffffff 00000000'))).kind).toBe('limit')
    expect(failure(() => Metadata.request.decode(1, hex('000f4240 00000000'))).kind).toBe('truncated')
    expect(failure(() => Metadata.request.decode(9, hex('ffffffff0f 00'))).kind).toBe('limit')
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(4 << 20)
  })

  test('an array has at most a million elements even when the bytes are there', () => {
    const m = message({ a: array(int8) })
    const body = Buffer.alloc(4 + MAX_ARRAY_ELEMENTS + 1)
    body.writeInt32BE(MAX_ARRAY_ELEMENTS)
    expect(m.decode(0, body).a.length).toBe(MAX_ARRAY_ELEMENTS)
    body.writeInt32BE(MAX_ARRAY_ELEMENTS + 1)
    expect(failure(() => m.decode(0, body)).kind).toBe('limit')
  })

  test('arrays of a request share one budget, so that nesting does not multiply', () => {
    const inner = Array.from({ length: 1000 }, () => 1)
    const assignments = Array.from({ length: 1100 }, (_, partitionIndex) => ({ partitionIndex, brokerIds: inner }))
    const topics = [{ name: 't', numPartitions: -1, replicationFactor: -1, assignments, configs: [] }]
    const body = CreateTopics.request.encode(7, { topics })
    expect(failure(() => CreateTopics.request.decode(7, body))).toMatchObject({
      kind: 'limit',
      detail: 'too many elements in one message',
    })
  })

  test('a large body that is bad is not read a second time to find the field', () => {
    const m = message({ a: array(int8), s: string })
    const body = m.encode(0, { a: Array.from({ length: 100_000 }, () => 1), s: 'x' })
    expect(failure(() => m.decode(0, body.subarray(0, -1)))).toMatchObject({
      kind: 'truncated',
      where: 'Test v0',
      path: '',
    })
  })

  test('only -1 is a null array (row 9)', () => {
    const text = '0000 ffff'
    expect(plain.decode(0, hex(`${text} ffffffff 00000000`)).a).toBeNull()
    expect(failure(() => plain.decode(0, hex(`${text} fffffffe 00000000`)))).toMatchObject({
      kind: 'malformed',
      path: 'a',
    })
    expect(failure(() => plain.decode(0, hex(`${text} ffffffff ffffffff`)))).toMatchObject({
      kind: 'malformed',
      path: 'e',
    })
    expect(failure(() => Metadata.request.decode(1, hex('fffffffe'))).kind).toBe('malformed')
  })

  test('tagged fields: a count without bytes, too many, the same tag again, descending tags (rows 10, 11)', () => {
    const m = message({ a: int8 })
    expect(failure(() => m.decode(2, hex('01 ffffffff0f'))).kind).toBe('limit')
    expect(failure(() => m.decode(2, hex('01 02 0000'))).kind).toBe('truncated')
    const manyTags = (count: number) =>
      Buffer.concat([hex('01'), Buffer.from([count]), ...Array.from({ length: count }, (_, i) => Buffer.from([i, 0]))])
    expect(m.decode(2, manyTags(MAX_TAGGED_FIELDS)).unknownTags!.length).toBe(MAX_TAGGED_FIELDS)
    expect(failure(() => m.decode(2, manyTags(MAX_TAGGED_FIELDS + 1))).kind).toBe('limit')
    expect(failure(() => m.decode(2, hex('01 02 0000 0000'))).kind).toBe('malformed')
    expect(failure(() => m.decode(2, hex('01 02 0500 0400'))).kind).toBe('malformed')
    expect(failure(() => m.decode(2, hex('01 01 05 05 aa'))).kind).toBe('truncated')
  })

  test('a known tagged field must take exactly the size that it states', () => {
    const m = message({
      a: int32.in('2+').tagged(0),
      b: struct({ c: int8.default(0) })
        .in('2+')
        .tagged(1),
    })
    expect(m.decode(2, hex('01 00 04 00000001')).a).toBe(1)
    expect(failure(() => m.decode(2, hex('01 00 05 00000001 00'))).kind).toBe('malformed')
    expect(failure(() => m.decode(2, hex('01 00 03 000001 00')))).toMatchObject({ kind: 'truncated', path: 'a' })
    expect(failure(() => m.decode(2, hex('01 01 01 05 00')))).toMatchObject({ kind: 'truncated', path: 'b' })
  })

  test('a varint ends within five bytes and 32 bits (row 12)', () => {
    const m = message({ s: string })
    expect(failure(() => m.decode(2, hex('808080808001'))).kind).toBe('malformed')
    // Without its 33rd bit this would be the length of 'a'.
    expect(failure(() => m.decode(2, hex('8280808010 61 00'))).kind).toBe('malformed')
    expect(failure(() => m.decode(2, hex('8080'))).kind).toBe('truncated')
    // A varint longer than it need be is still a number.
    expect(m.decode(2, hex('8280808000 61 00'))).toEqual({ s: 'a' })
  })

  test('trailing bytes are accepted and counted (row 14)', () => {
    const counts: number[] = []
    const options = { onTrailingBytes: (count: number) => counts.push(count) }
    const body = Heartbeat.request.encode(4, { groupId: 'g', generationId: 1, memberId: 'm' })
    expect(Heartbeat.decodeRequest(4, Buffer.concat([body, hex('aabbcc')]), 0, options)).toMatchObject({ groupId: 'g' })
    Heartbeat.decodeRequest(4, body, 0, options)
    expect(counts).toEqual([3])
  })

  test('bad UTF-8 in an id is an error of its own kind, with the path; reading leniently gives the rest (row 16)', () => {
    const body = Heartbeat.request.encode(3, { groupId: 'gg', generationId: 5, memberId: 'm' })
    body[2] = 0xff
    expect(failure(() => Heartbeat.request.decode(3, body))).toMatchObject({
      kind: 'utf8',
      message: 'HeartbeatRequest v3 at groupId: a string is not UTF-8',
    })
    expect(Heartbeat.request.decode(3, body, 0, { lenientUtf8: true })).toMatchObject({
      groupId: '\uFFFDg',
      generationId: 5,
    })
    const s = message({ s: string })
    for (const bad of ['c080', 'eda080', 'f4908080', '80', 'e282']) {
      expect(failure(() => s.decode(0, Buffer.concat([hex('00'), Buffer.from([bad.length / 2]), hex(bad)]))).kind).toBe(
        'utf8',
      )
    }
    expect(s.decode(0, hex('0003 efbfbd')).s).toBe('\uFFFD')
    expect(s.decode(0, hex('0004 efbbbf61')).s).toBe('\uFEFFa')
  })

  test('bad UTF-8 in the name of a topic decodes to a name that no topic can have (row 16)', () => {
    const m = message({ t: topicName })
    expect(m.decode(0, hex('0003 61ff62')).t).toBe('a\uFFFDb')
    expect(m.decode(2, hex('04 61ff62 00')).t).toBe('a\uFFFDb')
  })
})
