// SPDX-License-Identifier: Apache-2.0
// kafkajs as a compat client. The contract of the verbs is in test/compat/README.md.
// kafkajs has gzip built in and takes the other codecs from outside, as its users do.
import { Decoder, Encoder } from '@toondepauw/node-zstd'
import kafkajs from 'kafkajs'
import snappyCodec from 'kafkajs-snappy'
import { compressFrame, decompressFrame } from 'lz4-napi'
import { main, readRecords, writeRecords } from './lines.mjs'

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs
const zstdLevel = 3
const recordsPerSend = 100

CompressionCodecs[CompressionTypes.Snappy] = snappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => compressFrame(encoder.buffer),
  decompress: (buffer) => decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder) => new Encoder(zstdLevel).encode(encoder.buffer),
  decompress: (buffer) => new Decoder().decode(buffer),
})
const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

function connectTo(bootstrap) {
  return new Kafka({ clientId: 'compat-kafkajs', brokers: bootstrap.split(','), logLevel: logLevel.ERROR })
}

function headersToObject(pairs) {
  const headers = {}
  for (const [name, value] of pairs) headers[name] = [...(headers[name] ?? []), value]
  return headers
}

function headersToPairs(headers) {
  return Object.entries(headers ?? {}).flatMap(([name, values]) =>
    (Array.isArray(values) ? values : [values]).map((value) => [name, value]),
  )
}

async function create(bootstrap, partitions, ...topics) {
  const admin = connectTo(bootstrap).admin()
  await admin.connect()
  await admin.createTopics({ topics: topics.map((topic) => ({ topic, numPartitions: Number(partitions) })) })
  await admin.disconnect()
}

async function produce(bootstrap, topic, file, codec, flag) {
  const idempotent = flag === '--idempotent'
  const messages = readRecords(file).map((record) => ({
    ...record,
    headers: headersToObject(record.headers),
    timestamp: String(record.timestamp),
  }))
  const producer = connectTo(bootstrap).producer({ idempotent, maxInFlightRequests: 1 })
  await producer.connect()
  for (let at = 0; at < messages.length; at += recordsPerSend)
    await producer.send({
      topic,
      acks: -1,
      compression: codecs[codec],
      messages: messages.slice(at, at + recordsPerSend),
    })
  await producer.disconnect()
}

async function consume(bootstrap, topics, groupId, count, flag) {
  // Its disconnect waits for the fetch under way, five seconds by default.
  const consumer = connectTo(bootstrap).consumer({ groupId, maxWaitTimeInMs: 200 })
  const wanted = Number(count)
  const got = []
  const next = new Map()
  await consumer.connect()
  await consumer.subscribe({ topics: topics.split(','), fromBeginning: true })
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error))
    const eachMessage = async ({ topic, partition, message }) => {
      if (got.length === wanted) return
      const { key, value, timestamp } = message
      const offset = Number(message.offset)
      const place = `${topic}/${partition}`
      if (flag === '--once' && offset < Number(next.get(place)?.offset ?? 0)) return
      next.set(place, { topic, partition, offset: String(offset + 1) })
      got.push({
        topic,
        partition,
        offset,
        key,
        value,
        headers: headersToPairs(message.headers),
        timestamp: Number(timestamp),
      })
      if (got.length === wanted) resolve()
    }
    consumer.run({ autoCommit: false, eachMessage }).catch(reject)
  })
  await consumer.commitOffsets([...next.values()])
  await consumer.disconnect()
  writeRecords(got)
}

await main({ create, produce, consume })
