// SPDX-License-Identifier: Apache-2.0
// Goal: what no honest client sends costs at most its own connection, request or batch, and gets the code that Kafka gives (or a stricter
// one). Method: every case as raw bytes on a fresh connection to one broker; after each, another connection must produce and fetch at once.
// The numbers are the rows of the project's table of bad input.
import { randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ApiVersions,
  CreatePartitions,
  CreateTopics,
  DeleteGroups,
  Fetch,
  FindCoordinator,
  Heartbeat,
  InitProducerId,
  JoinGroup,
  LeaveGroup,
  ListOffsets,
  Metadata,
  OffsetCommit,
  Produce,
  SyncGroup,
} from '../../src/protocol/apis/index.ts'
import { crc32c } from '../../src/protocol/crc32c.ts'
import { batches, encodeBatch, type RecordToEncode } from '../../src/protocol/record-batch.ts'
import { type RunningBroker, startBroker } from '../../src/testing/index.ts'
import { WireClient } from '../util/wire-client.ts'

let broker: RunningBroker

beforeAll(async () => {
  broker = await startBroker({
    topics: [
      'victim',
      'canary',
      { name: 'compacted', configs: { 'cleanup.policy': 'compact' } },
      { name: 't.x' },
      { name: 'lonely', configs: { 'min.insync.replicas': '2' } },
      { name: 'small', configs: { 'max.message.bytes': '1000' } },
      { name: 'tiny-segments', configs: { 'segment.bytes': '1048576', 'max.message.bytes': '4000000' } },
    ],
    configs: { 'group.min.session.timeout.ms': '100', 'max.connection.creation.rate': '100000' },
  })
})
afterAll(() => broker.stop())

async function canary(): Promise<void> {
  const client = await WireClient.connect(broker.bootstrap)
  const value = randomBytes(8)
  const { responses } = await client.request(Produce, 9, {
    acks: -1,
    timeoutMs: 1000,
    topicData: [
      {
        name: 'canary',
        partitionData: [
          { index: 0, records: encodeBatch({ records: [{ key: null, value, timestampMs: Date.now() }] }) },
        ],
      },
    ],
  })
  const { errorCode, baseOffset } = responses[0]!.partitionResponses[0]!
  expect(errorCode).toBe(0)
  const fetched = await client.request(Fetch, 12, {
    maxWaitMs: 1000,
    minBytes: 1,
    topics: [{ topic: 'canary', partitions: [{ partition: 0, fetchOffset: baseOffset, partitionMaxBytes: 1 << 20 }] }],
    forgottenTopicsData: [],
  })
  expect(Buffer.from(fetched.responses[0]!.partitions[0]!.records!).includes(value)).toBe(true)
  await client.close()
}

/** A frame: size, header v1 (v2 with `tags`), body. */
function frame(apiKey: number, version: number, body: Uint8Array = Buffer.alloc(0), tags?: Uint8Array): Buffer {
  const header = Buffer.alloc(10 + 4)
  header.writeInt16BE(apiKey, 0)
  header.writeInt16BE(version, 2)
  header.writeInt32BE(7, 4)
  header.writeInt16BE(4, 8)
  header.write('test', 10)
  const payload = Buffer.concat([header, tags ?? Buffer.alloc(0), body])
  const size = Buffer.alloc(4)
  size.writeInt32BE(payload.length)
  return Buffer.concat([size, payload])
}

const int32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [i, value] of values.entries()) bytes.writeInt32BE(value, 4 * i)
  return bytes
}
const int16 = (value: number): Buffer => int32(value).subarray(2)
const NO_TAGS = Buffer.from([0])

/** The connection must end without a reply. */
async function expectClosed(bytes: Uint8Array): Promise<void> {
  const client = await WireClient.connect(broker.bootstrap)
  client.write(bytes)
  await expect(client.frame()).rejects.toThrow('connection closed')
  await client.closed
  await canary()
}

async function withClient<T>(use: (client: WireClient) => Promise<T>): Promise<T> {
  const client = await WireClient.connect(broker.bootstrap)
  try {
    return await use(client)
  } finally {
    await client.close()
    await canary()
  }
}

describe('frames', () => {
  it.each([
    ['1 a negative size', int32(-1, 0)],
    ['1 a size of 0', int32(0)],
    ['1 a size above socket.request.max.bytes', int32(104857601)],
    ['1 a size of 2^31-1', int32(0x7fffffff)],
    ['2 an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['2 a TLS ClientHello', Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), Buffer.alloc(500)])],
    ['3 an unknown api key', frame(9999, 0)],
    ['3 a negative api key', frame(-1, 0)],
    ['3 a key that a client listener does not serve (Vote)', frame(52, 0)],
    ['4 Metadata 99', frame(Metadata.key, 99)],
    ['4 Produce 2', frame(Produce.key, 2, Buffer.alloc(20))],
    ['4 Fetch 99', frame(Fetch.key, 99, Buffer.alloc(20), NO_TAGS)],
    ['4 a negative version', frame(Metadata.key, -3)],
    ['6 a body that ends early', frame(JoinGroup.key, 0, Buffer.concat([int16(3), Buffer.from('g')]))],
    ['6 a header that ends early', Buffer.concat([int32(3), Buffer.from([0, 3, 0])])],
    ['6 a string longer than the rest', frame(FindCoordinator.key, 0, Buffer.concat([int16(30000), Buffer.from('x')]))],
    ['6 a truncated Produce', frame(Produce.key, 3, int16(-1))],
    ['6 a truncated Fetch', frame(Fetch.key, 4, int32(-1))],
    ['7 null where it is not allowed', frame(FindCoordinator.key, 0, int16(-1))],
    ['7 a string of length -5', frame(FindCoordinator.key, 0, int16(-5))],
    ['8 an array of 2^31-1', frame(Metadata.key, 1, int32(0x7fffffff))],
    [
      '8 an array of 2^31-1 in Produce',
      frame(Produce.key, 3, Buffer.concat([int16(-1), int16(1), int32(1000, 0x7fffffff)])),
    ],
    [
      '8 an array of 2^31-1 in Fetch',
      frame(Fetch.key, 4, Buffer.concat([int32(-1, 0, 1, 1000), Buffer.from([0]), int32(0x7fffffff)])),
    ],
    ['9 a nullable array of length -2', frame(Metadata.key, 1, int32(-2))],
    ['10 2^32-1 tagged fields', frame(Metadata.key, 9, Buffer.alloc(0), Buffer.from('ffffffff0f', 'hex'))],
    [
      '11 10,000 empty tagged fields',
      frame(
        ApiVersions.key,
        3,
        Buffer.from([2, 120, 2, 49, 0]),
        Buffer.concat([Buffer.from([0x90, 0x4e]), Buffer.alloc(20000)]),
      ),
    ],
    [
      '11 10,000 empty tagged fields in Produce',
      frame(Produce.key, 9, Buffer.alloc(10), Buffer.concat([Buffer.from([0x90, 0x4e]), Buffer.alloc(20000)])),
    ],
    ['12 a varint of six bytes', frame(Metadata.key, 9, Buffer.from('ffffffffff01', 'hex'), NO_TAGS)],
    ['12 a varint of six bytes in Produce', frame(Produce.key, 9, Buffer.from('ffffffffff01', 'hex'), NO_TAGS)],
    [
      '12 a varint of six bytes in Fetch',
      frame(
        Fetch.key,
        12,
        Buffer.concat([int32(0, 0, 0), Buffer.from([0]), int32(0, 0), Buffer.from('ffffffffff01', 'hex')]),
        NO_TAGS,
      ),
    ],
  ])('%s: the connection ends without a reply', (_name, bytes) => expectClosed(bytes))

  it('4 ApiVersions in any version is answered in the shape of version 0', () =>
    withClient(async (client) => {
      client.write(frame(ApiVersions.key, 99, Buffer.alloc(0), NO_TAGS))
      const reply = ApiVersions.decodeResponse(0, await client.frame())
      expect(reply).toMatchObject({ errorCode: 35, apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }] })
      // The connection goes on.
      expect(
        (await client.request(ApiVersions, 3, { clientSoftwareName: 'x', clientSoftwareVersion: '1' })).errorCode,
      ).toBe(0)
    }))

  it('5 a bad client software name is INVALID_REQUEST', () =>
    withClient(async (client) => {
      for (const clientSoftwareName of ['', '-x', 'a b', 'x\n'])
        expect(
          (await client.request(ApiVersions, 3, { clientSoftwareName, clientSoftwareVersion: '1' })).errorCode,
        ).toBe(42)
    }))

  it('13 a frame that declares 100 MB and never comes costs no memory', () =>
    withClient(async () => {
      const before = process.memoryUsage()
      const clients = await Promise.all(Array.from({ length: 50 }, () => WireClient.connect(broker.bootstrap)))
      for (const client of clients) client.write(Buffer.concat([int32(100_000_000), Buffer.alloc(100)]))
      await canary()
      const after = process.memoryUsage()
      expect(after.rss - before.rss).toBeLessThan(100 << 20)
      for (const client of clients) await client.close()
    }))

  it('14 bytes behind a request are accepted', () =>
    withClient(async (client) => {
      client.write(frame(Metadata.key, 1, Buffer.concat([int32(0), Buffer.from('trailing')])))
      expect((await client.response(Metadata, 1)).brokers).toHaveLength(1)
    }))

  it('61 a frame that does not complete in time ends its connection', async () => {
    // The deadline itself (30 s) is tested with a stepped clock in the native tests; here: a byte at a time is served whole.
    await withClient(async (client) => {
      for (const byte of frame(Metadata.key, 1, int32(0))) {
        client.write(Buffer.from([byte]))
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect((await client.response(Metadata, 1)).brokers).toHaveLength(1)
    })
  })

  it('63 a reader that never reads holds up only itself', () =>
    withClient(async () => {
      const lazy = await WireClient.connect(broker.bootstrap)
      for (let i = 0; i < 2000; i++) lazy.write(frame(Metadata.key, 1, int32(-1)))
      await canary()
      await lazy.close()
    }))

  it('64 fifty pipelined requests get fifty replies in order', () =>
    withClient(async (client) => {
      for (let i = 0; i < 50; i++) {
        const bytes = frame(
          i % 2 === 0 ? Metadata.key : FindCoordinator.key,
          i % 2,
          i % 2 === 0 ? int32(0) : Buffer.from('00016700', 'hex'),
        )
        bytes.writeInt32BE(1000 + i, 8)
        client.write(bytes)
      }
      for (let i = 0; i < 50; i++) expect((await client.frame()).readInt32BE(0)).toBe(1000 + i)
    }))
})

describe('names', () => {
  const create = (client: WireClient, name: string) =>
    client.request(CreateTopics, 4, {
      topics: [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
    })

  it('15 topics given twice are INVALID_REQUEST', () =>
    withClient(async (client) => {
      const topic = { name: 'twice', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
      expect((await client.request(CreateTopics, 4, { topics: [topic, topic] })).topics).toMatchObject([
        { name: 'twice', errorCode: 42 },
      ])
      const growth = { name: 'victim', count: 2, assignments: null }
      const grown = await client.request(CreatePartitions, 1, {
        topics: [growth, growth],
        timeoutMs: 1,
        validateOnly: false,
      })
      expect(grown.results).toMatchObject([{ errorCode: 42 }])
      const partition = { partitionIndex: 0, timestamp: -1 }
      const offsets = await client.request(ListOffsets, 1, {
        replicaId: -1,
        topics: [{ name: 'victim', partitions: [partition, partition] }],
      })
      expect(offsets.topics[0]!.partitions.map(({ errorCode }) => errorCode)).toEqual([42, 42])
    }))

  it('16 a topic that is not UTF-8 is INVALID_TOPIC_EXCEPTION, a group INVALID_REQUEST', () =>
    withClient(async (client) => {
      client.write(frame(Metadata.key, 1, Buffer.concat([int32(1), int16(2), Buffer.from([0xff, 0xfe])])))
      expect((await client.response(Metadata, 1)).topics).toMatchObject([{ errorCode: 17 }])
      client.write(
        frame(
          Heartbeat.key,
          0,
          Buffer.concat([int16(2), Buffer.from([0xff, 0xfe]), int32(1), int16(1), Buffer.from('m')]),
        ),
      )
      expect(await client.response(Heartbeat, 0)).toMatchObject({ errorCode: 42 })
    }))

  it.each([
    ['an answer that would be longer than a string can be', int16(20_000), Buffer.alloc(20_000, 0xff), int32(0)],
    ['a second fault behind it', int16(2), Buffer.from([0xff, 0xfe]), int32(5)],
  ])(
    '16 a group that is not UTF-8, and %s: the connection ends, the broker does not',
    (_what, size, bytes, protocols) =>
      expectClosed(
        frame(
          JoinGroup.key,
          0,
          Buffer.concat([
            int16(1),
            Buffer.from('g'),
            int32(10_000),
            size,
            bytes,
            int16(1),
            Buffer.from('c'),
            protocols,
          ]),
        ),
      ),
  )

  it.each(['..', '.', '', '../../etc/passwd', 'a/b', 'a\0b', 'x'.repeat(250), 'é'])('17 topic %j is refused', (name) =>
    withClient(async (client) => {
      expect((await create(client, name)).topics[0]!.errorCode).toBe(17)
      const metadata = await client.request(Metadata, 4, { topics: [{ name }], allowAutoTopicCreation: true })
      expect(metadata.topics[0]!.errorCode).toBe(17)
      const fetched = await client.request(Fetch, 11, {
        maxWaitMs: 0,
        minBytes: 1,
        topics: [{ topic: name, partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1000 }] }],
        forgottenTopicsData: [],
      })
      expect(fetched.responses[0]!.partitions[0]!.errorCode).toBe(3)
      expect((await produce(client, encodeBatch({ records: [record()] }), { topic: name })).errorCode).toBe(3)
    }),
  )

  it('18 a name that collides with another is refused', () =>
    withClient(async (client) => {
      expect((await create(client, 't_x')).topics[0]!.errorCode).toBe(17)
    }))

  it('60 impossible partition counts and replication factors', () =>
    withClient(async (client) => {
      const codes: number[] = []
      for (const [numPartitions, replicationFactor] of [
        [-5, 1],
        [0, 1],
        [1_000_000_000, 1],
        [1, 5],
        [1, -3],
      ] as const) {
        const topics = [{ name: 'impossible', numPartitions, replicationFactor, assignments: [], configs: [] }]
        codes.push((await client.request(CreateTopics, 4, { topics })).topics[0]!.errorCode)
      }
      expect(codes).toEqual([37, 37, 44, 38, 38])
      expect((await create(client, 'victim')).topics[0]!.errorCode).toBe(36)
      const grow = async (count: number, name = 'victim') => {
        const topics = [{ name, count, assignments: null }]
        return (await client.request(CreatePartitions, 1, { topics, timeoutMs: 1, validateOnly: false })).results[0]!
          .errorCode
      }
      expect([await grow(-5), await grow(0), await grow(1), await grow(1_000_000_000)]).toEqual([37, 37, 37, 44])
      expect(await grow(2, 'no-such-topic')).toBe(3)
      const configs = [{ name: 'no.such.config', value: '1' }]
      const topics = [{ name: 'impossible', numPartitions: 1, replicationFactor: 1, assignments: [], configs }]
      expect((await client.request(CreateTopics, 4, { topics })).topics[0]!.errorCode).toBe(40)
    }))
})

// --- batches ----------------------------------------------------------------------------------------------------------------

const NOW = Date.now()
const record = (value = 'value', more: Partial<RecordToEncode> = {}): RecordToEncode => ({
  key: Buffer.from('k'),
  value: Buffer.from(value),
  timestampMs: NOW,
  ...more,
})

function withCrc(bytes: Uint8Array): Buffer {
  const fixed = Buffer.from(bytes)
  fixed.writeUInt32BE(crc32c(fixed, 21), 17)
  return fixed
}

/** A good batch of two records, changed, its CRC made right again. */
function changed(
  change: (batch: Buffer) => void,
  batch: Uint8Array = encodeBatch({ records: [record(), record()] }),
): Buffer {
  const bytes = Buffer.from(batch)
  change(bytes)
  return withCrc(bytes)
}

/** A batch of one record whose record bytes are given. */
function withRecords(raw: Buffer, { count = 1, codec = 0 } = {}): Buffer {
  const template = encodeBatch({ records: Array.from({ length: count }, () => record()) })
  const bytes = Buffer.concat([template.subarray(0, 61), raw])
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes.writeInt16BE(codec, 21)
  return withCrc(bytes)
}

function zigzag(value: number): number[] {
  const out: number[] = []
  let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))
  while (rest >= 0x80n) {
    out.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return [...out, Number(rest)]
}

/** A record's bytes, every field as given. */
function rawRecord({
  size,
  offsetDelta = 0,
  headers = [0] as number[],
  valueSize = 1,
}: {
  size?: number
  offsetDelta?: number
  headers?: number[]
  valueSize?: number
} = {}): Buffer {
  const body = [
    0,
    0,
    ...zigzag(offsetDelta),
    ...zigzag(-1),
    ...zigzag(valueSize),
    ...(valueSize === 1 ? [120] : []),
    ...headers,
  ]
  return Buffer.from([...zigzag(size ?? body.length), ...body])
}

async function produce(
  client: WireClient,
  records: Uint8Array | null,
  options: { topic?: string; acks?: number; version?: number; transactionalId?: string } = {},
) {
  const { responses } = await client.request(Produce, options.version ?? 9, {
    transactionalId: options.transactionalId ?? null,
    acks: options.acks ?? -1,
    timeoutMs: 5000,
    topicData: [{ name: options.topic ?? 'victim', partitionData: [{ index: 0, records }] }],
  })
  return responses[0]!.partitionResponses[0]!
}

const bomb = (): Buffer => withRecords(gzipSync(Buffer.alloc(80 << 20)), { codec: 1 })

describe('batches', () => {
  it.each<[string, number, () => Uint8Array | null, Parameters<typeof produce>[2]?]>([
    [
      '19 a wrong CRC',
      2,
      () => {
        const bytes = Buffer.from(encodeBatch({ records: [record()] }))
        bytes[17]! ^= 1
        return bytes
      },
    ],
    [
      '20 magic 0',
      87,
      () =>
        changed((batch) => {
          batch[16] = 0
        }),
    ],
    [
      '20 magic 1',
      87,
      () =>
        changed((batch) => {
          batch[16] = 1
        }),
    ],
    [
      '20 magic 9',
      2,
      () =>
        changed((batch) => {
          batch[16] = 9
        }),
    ],
    [
      '20 magic -1',
      2,
      () =>
        changed((batch) => {
          batch[16] = 255
        }),
    ],
    ['21 a batch length below the header', 2, () => changed((batch) => batch.writeInt32BE(10, 8))],
    ['21 a batch length beyond the bytes', 87, () => changed((batch) => batch.writeInt32BE(batch.length + 100, 8))],
    ['21 a batch length of 2^31-1', 87, () => changed((batch) => batch.writeInt32BE(0x7fffffff, 8))],
    ['21 three bytes', 87, () => Buffer.from([1, 2, 3])],
    ['21 no bytes', 87, () => Buffer.alloc(0)],
    ['22 compression id 5', 76, () => changed((batch) => batch.writeInt16BE(5, 21))],
    ['22 compression id 7', 76, () => changed((batch) => batch.writeInt16BE(7, 21))],
    ['22 zstd in Produce 3', 76, () => changed((batch) => batch.writeInt16BE(4, 21)), { version: 3 }],
    ['23 bytes that are no gzip', 87, () => withRecords(Buffer.from('junk'), { codec: 1 })],
    [
      '23 bytes that are no snappy',
      87,
      () => withRecords(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), { codec: 2 }),
    ],
    ['23 bytes that are no lz4', 87, () => withRecords(Buffer.from('junk'), { codec: 3 })],
    ['23 bytes that are no zstd', 87, () => withRecords(Buffer.from('junk'), { codec: 4 })],
    ['23 a gzip stream cut short', 87, () => withRecords(gzipSync(rawRecord()).subarray(0, -9), { codec: 1 })],
    ['24 a decompression bomb', 10, bomb],
    ['25 a record of 2^31-1 bytes', 87, () => withRecords(rawRecord({ size: 0x7fffffff }))],
    ['25 a record of negative size', 87, () => withRecords(rawRecord({ size: -3 }))],
    ['25 a record size one too large', 87, () => withRecords(rawRecord({ size: 8 }))],
    [
      '25 a value of 256 MiB inside gzip',
      87,
      () => withRecords(gzipSync(rawRecord({ valueSize: 256 << 20 })), { codec: 1 }),
    ],
    ['25 bytes behind the last record', 87, () => withRecords(Buffer.concat([rawRecord(), Buffer.from([0])]))],
    [
      '25 bytes behind the last record inside gzip',
      87,
      () => withRecords(gzipSync(Buffer.concat([rawRecord(), Buffer.from([0])])), { codec: 1 }),
    ],
    ['26 a header count of -1', 87, () => withRecords(rawRecord({ headers: [1] }))],
    ['26 a header count of a million', 87, () => withRecords(rawRecord({ headers: zigzag(1_000_000) }))],
    ['27 an offset delta that is not the index', 87, () => withRecords(rawRecord({ offsetDelta: 3 }))],
    [
      '27 an offset delta that is not the index inside gzip',
      87,
      () => withRecords(gzipSync(rawRecord({ offsetDelta: 3 })), { codec: 1 }),
    ],
    [
      '28 a count of 0',
      87,
      () =>
        changed((batch) => {
          batch.writeInt32BE(0, 57)
          batch.writeInt32BE(-1, 23)
        }),
    ],
    ['28 a count of -1', 87, () => changed((batch) => batch.writeInt32BE(-1, 57))],
    ['28 a count that is not lastOffsetDelta + 1', 87, () => changed((batch) => batch.writeInt32BE(5, 23))],
    ['28 a base offset that is not 0', 87, () => changed((batch) => batch.writeInt32BE(7, 4))],
    [
      '28 two batches',
      87,
      () => Buffer.concat([encodeBatch({ records: [record()] }), encodeBatch({ records: [record()] })]),
    ],
    ['28 a control batch', 87, () => encodeBatch({ records: [record()], control: true })],
    [
      '29 a batch above max.message.bytes',
      10,
      () => encodeBatch({ records: [record('x'.repeat(2000))] }),
      { topic: 'small' },
    ],
    [
      '29 a batch above the segment size',
      18,
      () => encodeBatch({ records: [record('x'.repeat(2_000_000))] }),
      { topic: 'tiny-segments' },
    ],
    [
      '30 a timestamp two hours ahead',
      32,
      () => encodeBatch({ records: [record('v', { timestampMs: Date.now() + 7_200_000 })] }),
    ],
    [
      '30 a timestamp of Long.MAX',
      32,
      () =>
        changed(
          (batch) => {
            batch.writeBigInt64BE(2n ** 63n - 1n, 27)
            batch.writeBigInt64BE(2n ** 63n - 1n, 35)
          },
          encodeBatch({ records: [record()] }),
        ),
    ],
    ['31 LogAppendTime set by a client', 32, () => changed((batch) => batch.writeInt16BE(8, 21))],
    [
      '32 a null key to a compacted topic',
      87,
      () => encodeBatch({ records: [record('v', { key: null })] }),
      { topic: 'compacted' },
    ],
    [
      '35 a producer id without a sequence',
      87,
      () => encodeBatch({ records: [record()], producerId: 5n, producerEpoch: 0 }),
    ],
    [
      '36 transactional without a producer id',
      87,
      () => encodeBatch({ records: [record()], transactional: true }),
      { transactionalId: 'x' },
    ],
    [
      '37 transactional without a transactional id',
      53,
      () =>
        encodeBatch({ records: [record()], transactional: true, producerId: 9n, producerEpoch: 0, baseSequence: 0 }),
    ],
    [
      '38 transactional, partition not added',
      48,
      () =>
        encodeBatch({ records: [record()], transactional: true, producerId: 9n, producerEpoch: 0, baseSequence: 0 }),
      { transactionalId: 'x' },
    ],
    ['43 to __consumer_offsets', 17, () => encodeBatch({ records: [record()] }), { topic: '__consumer_offsets' }],
  ])('%s: %i', (_name, code, batch, options) =>
    withClient(async (client) => {
      if (options?.topic === '__consumer_offsets') await client.request(FindCoordinator, 1, { key: 'g' })
      const before = await endOffset(client, options?.topic ?? 'victim')
      expect((await produce(client, batch(), options)).errorCode).toBe(code)
      // Nothing of it is there.
      expect(await endOffset(client, options?.topic ?? 'victim')).toBe(before)
    }),
  )

  it('34 acks=all needs min.insync.replicas, acks=1 does not', () =>
    withClient(async (client) => {
      const batch = encodeBatch({ records: [record()] })
      const before = await endOffset(client, 'lonely')
      expect((await produce(client, batch, { topic: 'lonely' })).errorCode).toBe(19)
      expect(await endOffset(client, 'lonely')).toBe(before)
      expect((await produce(client, batch, { topic: 'lonely', acks: 1 })).errorCode).toBe(0)
    }))

  it('43 a client id opens no door to internal topics', () =>
    withClient(async (client) => {
      await client.request(FindCoordinator, 1, { key: 'g' })
      for (const name of ['__consumer_offsets', '__transaction_state']) {
        const body = {
          acks: -1,
          timeoutMs: 1000,
          topicData: [{ name, partitionData: [{ index: 0, records: encodeBatch({ records: [record()] }) }] }],
        }
        client.write(Produce.encodeRequest(9, 1, '__admin_client', body))
        const { responses } = await client.response(Produce, 9)
        expect([3, 17]).toContain(responses[0]!.partitionResponses[0]!.errorCode)
      }
    }))

  it('24 refuses the bomb without the memory it asks for', () =>
    withClient(async (client) => {
      const before = process.memoryUsage().rss
      for (let i = 0; i < 5; i++) expect((await produce(client, bomb())).errorCode).toBe(10)
      expect(process.memoryUsage().rss - before).toBeLessThan(250 << 20)
    }))

  it('30 a batch without timestamps is accepted', () =>
    withClient(async (client) => {
      expect((await produce(client, encodeBatch({ records: [record('v', { timestampMs: -1 })] }))).errorCode).toBe(0)
    }))

  it('33 acks that are not -1, 0 or 1', () =>
    withClient(async (client) => {
      expect((await produce(client, encodeBatch({ records: [record()] }), { acks: 2 })).errorCode).toBe(21)
    }))

  it('33 an error with acks=0 ends the connection; success has no reply', async () => {
    const client = await WireClient.connect(broker.bootstrap)
    const body = (topic: string) => ({
      acks: 0,
      timeoutMs: 1000,
      topicData: [{ name: topic, partitionData: [{ index: 0, records: encodeBatch({ records: [record()] }) }] }],
    })
    client.send(Produce, 9, body('victim'))
    expect((await client.request(Metadata, 1, { topics: [] })).brokers).toHaveLength(1)
    client.send(Produce, 9, body('no-such-topic'))
    await client.closed
    await canary()
  })

  it('35 gaps, stale epochs, new epochs and duplicates of an idempotent producer', () =>
    withClient(async (client) => {
      const { producerId } = await client.request(InitProducerId, 1, { transactionalId: null, transactionTimeoutMs: 0 })
      const send = (baseSequence: number, producerEpoch = 0) =>
        produce(client, encodeBatch({ records: [record(), record()], producerId, producerEpoch, baseSequence }))
      const first = await send(0)
      expect(first.errorCode).toBe(0)
      expect((await send(5)).errorCode).toBe(45)
      expect(await send(0)).toMatchObject({ errorCode: 0, baseOffset: first.baseOffset })
      expect((await send(2)).errorCode).toBe(0)
      expect((await send(4, 1)).errorCode).toBe(45)
      expect((await send(0, 1)).errorCode).toBe(0)
      expect((await send(4, 0)).errorCode).toBe(47)
      // A producer that is not known may begin anywhere.
      const other = encodeBatch({
        records: [record()],
        producerId: producerId + 500n,
        producerEpoch: 3,
        baseSequence: 77,
      })
      expect((await produce(client, other)).errorCode).toBe(0)
    }))
})

async function endOffset(client: WireClient, topic: string): Promise<number> {
  const { topics } = await client.request(ListOffsets, 1, {
    replicaId: -1,
    topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
  })
  return topics[0]!.partitions[0]!.offset
}

describe('groups', () => {
  const join = (
    client: WireClient,
    groupId: string,
    more: { sessionTimeoutMs?: number; memberId?: string; protocols?: [] } = {},
  ) =>
    client.request(JoinGroup, 3, {
      groupId,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      memberId: '',
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: Buffer.from('m') }],
      ...more,
    })
  const found = (client: WireClient, key: string) => client.request(FindCoordinator, 1, { key })

  it('44 empty ids, impossible timeouts, no protocols, unknown members', () =>
    withClient(async (client) => {
      await found(client, 'g44')
      expect((await join(client, '')).errorCode).toBe(24)
      expect((await join(client, 'g44', { sessionTimeoutMs: 1 })).errorCode).toBe(26)
      expect((await join(client, 'g44', { protocols: [] })).errorCode).toBe(23)
      expect((await join(client, 'g44', { memberId: 'nobody' })).errorCode).toBe(25)
      expect(
        (await client.request(Heartbeat, 0, { groupId: 'g44', generationId: 1, memberId: 'nobody' })).errorCode,
      ).toBe(25)
    }))

  it('45 a live group can not be taken over', () =>
    withClient(async (client) => {
      await found(client, 'g45')
      const { memberId, generationId } = await join(client, 'g45')
      const assignment = Buffer.from('a')
      const synced = await client.request(SyncGroup, 1, {
        groupId: 'g45',
        generationId,
        memberId,
        assignments: [{ memberId, assignment }],
      })
      expect(synced.errorCode).toBe(0)
      const commit = async (memberIdGiven: string, generation: number): Promise<number> => {
        const { topics } = await client.request(OffsetCommit, 7, {
          groupId: 'g45',
          generationIdOrMemberEpoch: generation,
          memberId: memberIdGiven,
          topics: [{ name: 'victim', partitions: [{ partitionIndex: 0, committedOffset: 1, committedMetadata: '' }] }],
        })
        return topics[0]!.partitions[0]!.errorCode
      }
      expect(await commit('', -1)).toBe(25)
      expect(await commit('other', generationId)).toBe(25)
      expect(await commit(memberId, generationId + 1)).toBe(22)
      expect((await client.request(Heartbeat, 0, { groupId: 'g45', generationId, memberId: 'other' })).errorCode).toBe(
        25,
      )
      expect((await client.request(Heartbeat, 0, { groupId: 'g45', generationId: 99, memberId })).errorCode).toBe(22)
      expect(
        (await client.request(SyncGroup, 1, { groupId: 'g45', generationId, memberId: 'other', assignments: [] }))
          .errorCode,
      ).toBe(25)
      expect((await client.request(LeaveGroup, 1, { groupId: 'g45', memberId: 'other' })).errorCode).toBe(25)
      expect((await client.request(DeleteGroups, 1, { groupsNames: ['g45'] })).results[0]!.errorCode).toBe(68)
      expect(await commit(memberId, generationId)).toBe(0)
      expect((await client.request(LeaveGroup, 1, { groupId: 'g45', memberId })).errorCode).toBe(0)
    }))

  it('45 a static member that was replaced is fenced wherever it speaks', () =>
    withClient(async (client) => {
      await found(client, 'g45s')
      const joinStatic = (memberId: string) =>
        client.request(JoinGroup, 5, {
          groupId: 'g45s',
          sessionTimeoutMs: 10_000,
          rebalanceTimeoutMs: 10_000,
          memberId,
          groupInstanceId: 'one',
          protocolType: 'consumer',
          protocols: [{ name: 'range', metadata: Buffer.from('m') }],
        })
      const first = await joinStatic('')
      const old = {
        groupId: 'g45s',
        generationId: first.generationId,
        memberId: first.memberId,
        groupInstanceId: 'one',
      }
      const assignments = [{ memberId: first.memberId, assignment: Buffer.from('a') }]
      expect((await client.request(SyncGroup, 3, { ...old, assignments })).errorCode).toBe(0)
      const second = await joinStatic('')
      expect(second.errorCode).toBe(0)
      expect(second.memberId).not.toBe(first.memberId)
      expect((await joinStatic(first.memberId)).errorCode).toBe(82)
      expect((await client.request(Heartbeat, 3, old)).errorCode).toBe(82)
      expect((await client.request(SyncGroup, 3, { ...old, assignments: [] })).errorCode).toBe(82)
      const committed = await client.request(OffsetCommit, 7, {
        ...old,
        generationIdOrMemberEpoch: first.generationId,
        topics: [{ name: 'victim', partitions: [{ partitionIndex: 0, committedOffset: 1, committedMetadata: '' }] }],
      })
      expect(committed.topics[0]!.partitions[0]!.errorCode).toBe(82)
      const left = await client.request(LeaveGroup, 3, {
        groupId: 'g45s',
        members: [{ memberId: first.memberId, groupInstanceId: 'one' }],
      })
      expect(left.members[0]!.errorCode).toBe(82)
    }))

  it('48 a group takes group.max.size members and no more', async () => {
    const small = await startBroker({ configs: { 'group.max.size': '1' } })
    const client = await WireClient.connect(small.bootstrap)
    await found(client, 'g48')
    expect((await join(client, 'g48')).errorCode).toBe(0)
    expect((await join(client, 'g48')).errorCode).toBe(81)
    await client.close()
    await small.stop()
  })

  it('46 and 47 offsets, metadata and partitions of a commit', () =>
    withClient(async (client) => {
      await found(client, 'g46')
      const commit = async (committedOffset: number, topic = 'victim', committedMetadata = '') => {
        const { topics } = await client.request(OffsetCommit, 7, {
          groupId: 'g46',
          topics: [{ name: topic, partitions: [{ partitionIndex: 0, committedOffset, committedMetadata }] }],
        })
        return topics[0]!.partitions[0]!.errorCode
      }
      expect(await commit(-7)).toBe(42)
      expect(await commit(10 ** 12)).toBe(0)
      expect(await commit(5)).toBe(0)
      expect(await commit(5, 'victim', 'm'.repeat(5000))).toBe(12)
      expect(await commit(5, 'no-such-topic')).toBe(3)
    }))
})

describe('fetches', () => {
  const fetch = async (
    client: WireClient,
    partition: { fetchOffset?: number; partitionMaxBytes?: number },
    request: { isolationLevel?: number; maxBytes?: number; replicaId?: number } = {},
  ) => {
    const response = await client.request(Fetch, 11, {
      maxWaitMs: 0,
      minBytes: 0,
      topics: [
        { topic: 'victim', partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 20, ...partition }] },
      ],
      forgottenTopicsData: [],
      ...request,
    })
    return response.errorCode !== 0 ? response.errorCode : response.responses[0]!.partitions[0]!.errorCode
  }

  it('49 offsets outside the log', () =>
    withClient(async (client) => {
      expect(await fetch(client, { fetchOffset: 10 ** 9 })).toBe(1)
      expect(await fetch(client, { fetchOffset: -1 })).toBe(1)
    }))

  it('50 impossible sizes and isolation levels', () =>
    withClient(async (client) => {
      expect(await fetch(client, { partitionMaxBytes: -1 })).toBe(42)
      expect(await fetch(client, {}, { isolationLevel: 9 })).toBe(42)
      expect(await fetch(client, {}, { maxBytes: -1 })).toBe(42)
    }))

  it('51 a client that says it is a replica', () =>
    withClient(async (client) => {
      expect(await fetch(client, {}, { replicaId: 5 })).toBe(6)
    }))

  it('ends on whole frames whatever is fetched', () =>
    withClient(async (client) => {
      const response = await client.request(Fetch, 12, {
        maxWaitMs: 0,
        minBytes: 0,
        topics: [{ topic: 'victim', partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 0 }] }],
        forgottenTopicsData: [],
      })
      // At least one whole batch, even with a limit of nothing.
      expect([...batches(response.responses[0]!.partitions[0]!.records!)].length).toBeGreaterThan(0)
    }))
})

describe('connections', () => {
  it('62 more than max.connections.per.ip are refused, and the others go on', async () => {
    const limited = await startBroker({ configs: { 'max.connections.per.ip': '3' } })
    const clients = await Promise.all([1, 2, 3].map(() => WireClient.connect(limited.bootstrap)))
    const refused = await WireClient.connect(limited.bootstrap)
    await refused.closed
    for (const client of clients) expect((await client.request(Metadata, 1, { topics: [] })).brokers).toHaveLength(1)
    await clients[0]!.close()
    await new Promise((resolve) => setTimeout(resolve, 50))
    const again = await WireClient.connect(limited.bootstrap)
    expect((await again.request(Metadata, 1, { topics: [] })).brokers).toHaveLength(1)
    await limited.stop()
  })
})
