// SPDX-License-Identifier: Apache-2.0
// The same Produce requests, right and wrong ones, byte for byte to the broker under test and to a real Apache Kafka: equal
// answers, and equal bytes in the log afterwards. Where varve refuses what Kafka takes, or has a better code for it, the
// case says so, and then that is what must happen.
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { batch, codecs, comparable, headerBytes, lz4Frame, record, snappyRaw, varint } from '../lib/batches.mjs'
import { KafkaBroker } from '../lib/brokers.mjs'
import { sleep } from '../lib/process.mjs'
import { Closed, Wire } from '../lib/wire.mjs'

const hourMs = 3_600_000
const leadWithinMs = 20_000
const clockSlackMs = 10_000
const topics = {
  plain: {},
  compacted: { 'cleanup.policy': 'compact' },
  stamped: { 'message.timestamp.type': 'LogAppendTime' },
  narrow: { 'message.timestamp.before.max.ms': String(hourMs), 'message.timestamp.after.max.ms': String(hourMs) },
  small: { 'max.message.bytes': '1000' },
}
const invalidRecord = 87
const unsupportedCompression = 76
const invalidTimestamp = 32

/**
 * @returns {Array<{ name, topic, sends: Buffer[], varve?: number, version?, acks? }>} every case has a
 *   partition of its own; `varve` is the code of its last answer where that is not Kafka's
 */
function makeCases(now) {
  const time = now - 60_000
  const cases = []
  const add = (name, sends, options = {}) => {
    const bytes = [sends].flat().map((each) => (Buffer.isBuffer(each) ? each : batch({ baseTimestamp: time, ...each })))
    cases.push({ name, topic: 'plain', ...options, sends: bytes })
  }
  const whole = (options = {}) => batch({ baseTimestamp: time, ...options })
  const three = [{}, { timestampDelta: 30 }, { timestampDelta: 20 }]
  const bytesOf = (...records) => Buffer.concat(records.map((each, index) => record({ offsetDelta: index, ...each })))

  for (const codec of Object.keys(codecs)) {
    // Inside a compressed batch Kafka has no code for it (-1), or does not look.
    const inside = codec === 'none' ? {} : { varve: invalidRecord }
    add(`${codec}: three records`, { codec, records: three })
    add(`${codec}: maxTimestamp too late`, { codec, records: three, maxTimestamp: now + 10 })
    add(`${codec}: maxTimestamp too early`, { codec, records: three, maxTimestamp: time })
    add(`${codec}: maxTimestamp -1`, { codec, records: three, maxTimestamp: -1 })
    add(`${codec}: maxTimestamp in three hours`, { codec, records: three, maxTimestamp: now + 3 * hourMs })
    add(`${codec}: records before the first one`, { codec, records: [{}, { timestampDelta: -30 }] })
    add(`${codec}: no timestamps`, { codec, baseTimestamp: -1, records: [{}, {}] })
    add(`${codec}: append time`, { codec, records: three }, { topic: 'stamped' })
    add(`${codec}: append time, any times`, { codec, records: [{ timestampDelta: 9 * hourMs }] }, { topic: 'stamped' })
    add(
      `${codec}: keys in a compacted topic`,
      { codec, records: [{}, { key: Buffer.alloc(0) }] },
      { topic: 'compacted' },
    )
    add(`${codec}: a null key in a compacted topic`, { codec, records: [{}, { key: null }] }, { topic: 'compacted' })
    add(`${codec}: a record two hours ahead`, { codec, records: [{}, { timestampDelta: 2 * hourMs }] })
    add(
      `${codec}: a record of two hours ago`,
      { codec, records: [{ timestampDelta: -2 * hourMs }] },
      { topic: 'narrow' },
    )
    add(
      `${codec}: a record ahead of what a topic takes`,
      { codec, records: [{ timestampDelta: 2 * hourMs }] },
      { topic: 'narrow' },
    )
    add(`${codec}: two batches`, Buffer.concat([whole({ codec }), whole({ codec })]))
    add(`${codec}: a null value and headers`, {
      codec,
      records: [
        { value: null, headers: [[Buffer.from('a'), null]] },
        { headers: [[Buffer.alloc(0), Buffer.alloc(0)]] },
      ],
    })
    add(`${codec}: record attributes`, { codec, records: [{ attributes: 7 }] })
    add(`${codec}: null header key`, { codec, records: [{ headers: [[null, null]] }] })
    add(`${codec}: header count -1`, { codec, records: [{ headerCount: -1 }] })
    add(`${codec}: header count 1000000`, { codec, records: [{ headerCount: 1_000_000 }] })
    add(`${codec}: record size too large`, { codec, records: [{ size: 1000 }] }, inside)
    add(`${codec}: record size too small`, { codec, records: [{ size: 7 }] }, inside)
    add(`${codec}: record size negative`, { codec, records: [{ size: -5 }] }, inside)
    add(`${codec}: bytes behind the records`, {
      codec,
      records: Buffer.concat([bytesOf({}), Buffer.from('more')]),
      count: 1,
      maxTimestamp: time,
    })
    add(`${codec}: a record too few`, { codec, records: bytesOf({}), count: 2, maxTimestamp: time })
    add(`${codec}: a record too many`, { codec, records: bytesOf({}, {}), count: 1, maxTimestamp: time })
    add(`${codec}: no records`, { codec, records: Buffer.alloc(0), count: 0, lastOffsetDelta: 0 })
    add(`${codec}: count -1`, { codec, records: bytesOf({}), count: -1 })
    add(`${codec}: lastOffsetDelta too large`, { codec, records: three, lastOffsetDelta: 9 })
    add(`${codec}: lastOffsetDelta too small`, { codec, records: three, lastOffsetDelta: 1 })
    add(`${codec}: base offset 5`, { codec, records: three, baseOffset: 5 })
    for (const [what, deltas] of [
      ['from one on', [1, 2, 3]],
      ['all zero', [0, 0, 0]],
      ['in disorder', [0, 2, 1]],
    ])
      add(
        `${codec}: offset deltas ${what}`,
        { codec, records: deltas.map((offsetDelta) => ({ offsetDelta })) },
        { varve: invalidRecord },
      )
    add(
      `${codec}: a cut stream`,
      { codec, payload: whole({ codec, records: three }).subarray(headerBytes, -3), records: three },
      inside,
    )
    if (codec !== 'none') {
      add(`${codec}: not its stream`, { codec, payload: Buffer.from('no such thing, whatever it may be') }, inside)
      add(`${codec}: an empty payload`, { codec, payload: Buffer.alloc(0) }, codec === 'zstd' ? {} : inside)
      const behind = Buffer.concat([whole({ codec }).subarray(headerBytes), Buffer.from('behind it')])
      add(`${codec}: bytes behind the stream`, { codec, payload: behind }, inside)
    }
  }
  const lz4 = (name, frame, options) => add(`lz4: ${name}`, { codec: 'lz4', payload: frame }, options)
  const plain = bytesOf({})
  lz4('dependent blocks', lz4Frame(plain, { flags: 0x40 }), { varve: invalidRecord })
  lz4('wrong header checksum', lz4Frame(plain, { badChecksum: true }), { varve: invalidRecord })
  lz4('no end mark', lz4Frame(plain, { end: false }), { varve: invalidRecord })
  lz4('reserved flag', lz4Frame(plain, { flags: 0x62 }), { varve: invalidRecord })
  lz4('version 2', lz4Frame(plain, { flags: 0xa0 }), { varve: invalidRecord })
  add('snappy: without the framing of Java', { codec: 'snappy', payload: snappyRaw(plain) })
  const second = record({ offsetDelta: 1 })
  add('gzip: two members', {
    codec: 'gzip',
    payload: Buffer.concat([gzipSync(plain), gzipSync(second)]),
    count: 2,
    maxTimestamp: time,
  })
  add('zstd in Produce 3', { codec: 'zstd' }, { version: 3 })
  add('Produce 3', { records: three }, { version: 3 })
  for (const codec of [5, 6, 7]) add(`codec ${codec}`, { attributes: codec }, { varve: unsupportedCompression })
  for (const magic of [0, 1, 3, -1]) add(`magic ${magic}`, { magic })
  add('a control batch', { attributes: 32 })
  add('a delete horizon', { attributes: 64 }, { varve: invalidRecord })
  add('unknown attributes', { attributes: 0x7f80 }, { varve: invalidRecord })
  add('a leader epoch of the client', { leaderEpoch: -5 })
  add('another leader epoch of the client', { leaderEpoch: 2 ** 31 - 1 })
  add('append time by the client', { attributes: 8 }, { varve: invalidTimestamp })
  add('append time by the client, gzip', { codec: 'gzip', attributes: 8 }, { varve: invalidTimestamp })
  add('append time by the client where the broker sets it', { attributes: 8 }, { topic: 'stamped' })
  add('wrong CRC', { crc: 12345 })
  add('length too small', { length: 10 })
  add('length one less', { length: whole().length - 13 }, { varve: invalidRecord })
  add('length one more', { length: whole().length - 11 })
  add('length 2^31 - 1', { length: 0x7fffffff }, { varve: invalidRecord })
  add('three bytes', Buffer.from('abc'))
  add('no bytes', Buffer.alloc(0))
  add('a header alone', whole().subarray(0, headerBytes))
  add('bytes behind the batch', Buffer.concat([whole(), Buffer.from('abc')]), { varve: invalidRecord })
  add(
    'an overlong varint',
    { records: Buffer.concat([Buffer.alloc(9, 0x80), varint(0)]), count: 1 },
    { varve: invalidRecord },
  )
  add('timestamp 2^63 - 1', {
    baseTimestamp: (1n << 63n) - 1n,
    records: bytesOf({}),
    count: 1,
    maxTimestamp: (1n << 63n) - 1n,
  })
  add('timestamp -2', { baseTimestamp: -2 })
  add('an hour and a minute ago', { baseTimestamp: now - hourMs - 60_000 }, { topic: 'narrow' })
  add('no time where few are taken', { baseTimestamp: -1 }, { topic: 'narrow' })
  const large = { value: Buffer.alloc(1100, 'a') }
  add('a batch above max.message.bytes', { records: [large] }, { topic: 'small' })
  add('a batch that is small when compressed', { codec: 'gzip', records: [large] }, { topic: 'small' })

  const producer = (baseSequence, options = {}) => ({ producerId: 4000, producerEpoch: 0, baseSequence, ...options })
  add('producer: sequence 0, 1', [producer(0), producer(1)])
  add('producer: sequence 0, 0', [producer(0), producer(0)])
  add('producer: sequence 0, 2', [producer(0), producer(2)])
  add('producer: an unknown one with sequence 5', producer(5))
  add('producer: no sequence', producer(-1))
  add('producer: epoch -1', producer(0, { producerEpoch: -1 }), { varve: invalidRecord })
  add('producer: id -2', producer(0, { producerId: -2 }), { varve: invalidRecord })
  add('producer: a new epoch from 0', [producer(0), producer(0, { producerEpoch: 1 })])
  add('producer: a new epoch from 1', [producer(0), producer(1, { producerEpoch: 1 })])
  add('producer: an old epoch', [producer(0, { producerEpoch: 1 }), producer(1)])
  add('producer: over the largest sequence', [producer(2 ** 31 - 2, { records: three }), producer(1)])
  add('producer: no id, a sequence', { baseSequence: 7 })
  add('transactional without a producer', { attributes: 16 })
  add('transactional without a transactional id', producer(0, { attributes: 16 }))
  add('acks 2', {}, { acks: 2 })
  add('acks 1', {}, { acks: 1 })
  return cases
}

/** What a broker made of a case: its answers, and what it has stored then. */
export async function frames({ report, broker, bootstrap, dir }) {
  report.section('frames')
  const kafka = await KafkaBroker.at(join(dir, 'frames-kafka'))
  const cases = makeCases(Date.now())
  const used = new Map(Object.keys(topics).map((name) => [name, 0]))
  for (const each of cases) {
    each.partition = used.get(each.topic)
    used.set(each.topic, each.partition + 1)
  }
  const made = await report.case(`topics for ${cases.length} cases, on Apache Kafka too`, async () => {
    await kafka.start()
    const wanted = [...used].map(([name, partitions]) => ({
      name: `frames-${name}`,
      partitions,
      configs: topics[name],
    }))
    for (const each of [bootstrap, kafka.bootstrap]) {
      const wire = await Wire.connect(each)
      await wire.create(wanted)
      wire.close()
      await untilLed(each, cases)
    }
  })
  // One connection to each broker, and a new one when a case had it closed: a connection a case is more than varve takes of an
  // address in a second.
  const wires = new Map()
  const connected = async (to) => {
    if (wires.get(to)?.closed !== false) wires.set(to, await Wire.connect(to))
    return wires.get(to)
  }
  if (made)
    for (const each of cases)
      await report.case(each.name, async () => {
        const expected = await tryCase(() => connected(kafka.bootstrap), each)
        const got = await tryCase(() => connected(bootstrap), each)
        if (broker.kind === 'varve' && each.varve !== undefined) refuses(each, got, expected)
        else same(got, expected)
      })
  for (const wire of wires.values()) wire.close()
  await kafka.stop()
}

/** Kafka answers CreateTopics before it leads the partitions. */
async function untilLed(bootstrap, cases) {
  const wire = await Wire.connect(bootstrap)
  const begun = Date.now()
  for (const { topic, partition } of cases)
    while (!(await wire.fetch(`frames-${topic}`, partition).catch(() => false))) {
      if (Date.now() - begun > leadWithinMs) throw new Error(`frames-${topic}-${partition} has no leader`)
      await sleep(50)
    }
  wire.close()
}

/** What a broker makes of a case: its answers, and what it has then. */
async function tryCase(connected, { topic, partition, sends, version, acks }) {
  const name = `frames-${topic}`
  const begun = Date.now() - clockSlackMs
  const wire = await connected()
  const answers = []
  try {
    for (const bytes of sends) {
      const [answer] = await wire.produce(name, [[partition, bytes]], { version, acks })
      answers.push(comparableAnswer(topic, answer, begun))
    }
  } catch (error) {
    if (!(error instanceof Closed)) throw error
    answers.push({ code: 'closed' })
  }
  // What was wrong and not to be answered may have it closed a little later.
  if (acks === 0) wire.close()
  const reader = await connected()
  const end = Math.max(0, ...answers.map(({ code, baseOffset }) => (code === 0 ? baseOffset + 1 : 0)))
  let { records, highWatermark } = await reader.fetch(name, partition)
  // An answer to acks=1 does not wait for the high watermark.
  for (const until = Date.now() + leadWithinMs; highWatermark < end && Date.now() < until; await sleep(5))
    ({ records, highWatermark } = await reader.fetch(name, partition))
  const appendTime = topic === 'stamped' ? [begun, Date.now() + clockSlackMs] : undefined
  const found = []
  // The time of append is another one on another broker.
  if (topic !== 'stamped')
    for (const time of [0, begun - hourMs, begun, Date.now()]) found.push(await reader.offsetAt(name, partition, time))
  return { answers, highWatermark, found, stored: comparable(records, appendTime) }
}

/** What clients act upon, and not the time of append itself. */
function comparableAnswer(topic, { code, baseOffset, appendTime, logStart, badRecords }, begun) {
  if (code !== 0) return { code, badRecord: badRecords?.[0] }
  if (topic !== 'stamped') return { code, baseOffset, logStart }
  return { code, baseOffset, logStart, isNow: appendTime >= begun && appendTime <= Date.now() + clockSlackMs }
}

function same(got, expected) {
  // Kafka names the record when it is the record's value that it does not take, varve also when it does not parse.
  for (const [index, answer] of got.answers.entries())
    if (expected.answers[index]?.badRecord === undefined) answer.badRecord = undefined
  for (const what of ['answers', 'highWatermark', 'found', 'stored']) {
    const [left, right] = [JSON.stringify(got[what]), JSON.stringify(expected[what])]
    if (left !== right) throw new Error(`${what}: ${left.slice(0, 700)} instead of ${right.slice(0, 700)}`)
  }
}

function refuses({ varve }, got, expected) {
  const code = got.answers.at(-1).code
  if (code !== varve) throw new Error(`answered ${code} instead of ${varve} (Kafka: ${expected.answers.at(-1).code})`)
  if (got.stored !== '') throw new Error(`refused with ${code}, but ${got.stored.length / 2} bytes are stored`)
  if (expected.answers.at(-1).code === varve) throw new Error(`Kafka answers ${varve} too: the case should not name it`)
}
