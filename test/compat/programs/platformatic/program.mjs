// SPDX-License-Identifier: Apache-2.0
// @platformatic/kafka as a compat client. The contract of the verbs is in test/compat/README.md.
// It takes zstd from node:zlib, which has it from Node 22.15 on: where it is missing the same two functions are put
// in its place before the client is loaded, so that its zstd path runs on Node 20 too.
import zlib from 'node:zlib'
import { Decoder, Encoder } from '@toondepauw/node-zstd'
import { main, readRecords, writeRecords } from './lines.mjs'

const zstdLevel = 3
zlib.zstdCompressSync ??= (data) => new Encoder(zstdLevel).encodeSync(data)
zlib.zstdDecompressSync ??= (data) => new Decoder().decodeSync(data)
const { Admin, Consumer, Producer } = await import('@platformatic/kafka')

const recordsPerSend = 100

function optionsFor(bootstrap) {
  return { clientId: 'compat-platformatic', bootstrapBrokers: bootstrap.split(','), retries: 5 }
}

async function create(bootstrap, partitions, ...topics) {
  const admin = new Admin(optionsFor(bootstrap))
  await admin.createTopics({ topics, partitions: Number(partitions), replicas: 1 })
  await admin.close()
}

async function produce(bootstrap, topic, file, codec, flag) {
  const idempotent = flag === '--idempotent'
  const messages = readRecords(file).map((record) => ({
    ...record,
    topic,
    // A Map keyed by Buffers, each its own object, carries equal names in any order.
    headers: new Map(record.headers.map(([name, value]) => [Buffer.from(name), value])),
    timestamp: BigInt(record.timestamp),
  }))
  const producer = new Producer({ ...optionsFor(bootstrap), idempotent, autocreateTopics: true })
  for (let at = 0; at < messages.length; at += recordsPerSend)
    await producer.send({ messages: messages.slice(at, at + recordsPerSend), acks: -1, compression: codec })
  await producer.close()
}

async function consume(bootstrap, topics, groupId, count, flag) {
  const consumer = new Consumer({ ...optionsFor(bootstrap), groupId, autocommit: false, maxWaitTime: 500 })
  const stream = await consumer.consume({
    topics: topics.split(','),
    mode: 'committed',
    fallbackMode: 'earliest',
    autocommit: false,
  })
  const got = []
  const next = new Map()
  for await (const message of stream) {
    const { topic, partition, offset, key, value, timestamp } = message
    const place = `${topic}/${partition}`
    if (flag === '--once' && offset < (next.get(place)?.offset ?? 0n)) continue
    const headers = [...message.headers].map(([name, bytes]) => [name.toString(), bytes])
    next.set(place, { topic, partition, offset: offset + 1n, leaderEpoch: -1 })
    got.push({ topic, partition, offset: Number(offset), key, value, headers, timestamp: Number(timestamp) })
    if (got.length === Number(count)) break
  }
  await consumer.commit({ offsets: [...next.values()] })
  await consumer.close(true)
  writeRecords(got)
}

await main({ create, produce, consume })
