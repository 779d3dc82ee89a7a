// SPDX-License-Identifier: Apache-2.0
// The broker opens a log directory that a stopped Apache Kafka wrote: the same cluster, topics, offsets, records and
// committed offsets, and it goes on from there. Then one that Kafka left behind by kill -9.
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { KafkaBroker, tool } from '../lib/brokers.mjs'
import { run } from '../lib/process.mjs'
import { compare, makeRecords } from '../lib/records.mjs'

const count = 120
const partitions = 2
const hourMs = 3_600_000
const segmentBytes = 1 << 20
const lineCount = 40_000
const topicCommand = 'org.apache.kafka.tools.TopicCommand'
const offsetShell = 'org.apache.kafka.tools.GetOffsetShell'
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

export async function adopt(context) {
  const { report, clients, java, maker, dir } = context
  report.section('adopt')
  const writers = [java, maker]
  const kafka = await KafkaBroker.at(join(dir, 'kafka'))
  const states = writers.flatMap((client, writer) =>
    codecs.map((codec, index) => {
      const seed = 500 + writer * 10 + index
      const records = makeRecords({
        seed,
        count,
        partitions,
        firstTimestamp: Date.now() - hourMs,
        without: client.cannotProduce,
      })
      return { client, codec, topic: `adopt-${client.id}-${codec}`, records }
    }),
  )
  const topics = states.map((state) => state.topic)
  const group = 'adopted-group'
  const segmented = 'adopt-segments'
  const lines = Array.from({ length: lineCount }, (_, index) => `${index} ${'layer '.repeat(20)}`).join('\n')
  const half = Math.floor((count * topics.length) / 2)
  const first = []
  let described
  let ends

  const offsetsOf = async (bootstrap) =>
    (await tool(offsetShell, ['--bootstrap-server', bootstrap])).stdout.split('\n').sort()
  const made = await report.case('Apache Kafka writes a log directory and stops', async () => {
    await kafka.start()
    await maker.create(kafka.bootstrap, partitions, topics)
    for (const { client, codec, topic, records } of states)
      await client.produce(kafka.bootstrap, topic, records, { codec, dir, idempotent: client === java })
    const small = ['--create', '--topic', segmented, '--config', `segment.bytes=${segmentBytes}`]
    await tool(topicCommand, ['--bootstrap-server', kafka.bootstrap, ...small])
    await run('kcat', ['-b', kafka.bootstrap, '-P', '-t', segmented], { input: lines })
    first.push(...(await java.consume(kafka.bootstrap, topics, group, half)))
    described = await java.describe(kafka.bootstrap, [...topics, segmented])
    ends = await offsetsOf(kafka.bootstrap)
    await kafka.stop()
  })
  if (!made) return
  const opened = await copyOf(context, kafka, 'adopted')
  const isUp = await report.case('it opens the directory', () => opened.start())
  if (isUp) {
    await report.case('it has the same cluster id, topic ids and partitions', async () => {
      const now = await java.describe(opened.bootstrap, [...topics, segmented])
      const [left, right] = [JSON.stringify(now), JSON.stringify(described)]
      if (left !== right) throw new Error(`${left} instead of ${right}`)
    })
    await report.case('it has the same end offsets', async () => {
      const now = await offsetsOf(opened.bootstrap)
      const wrong = ends.filter((line) => !now.includes(line))
      if (wrong.length > 0) throw new Error(`it has not ${wrong.slice(0, 5).join(' ')}`)
    })
    await report.case('the group goes on where it had committed', async () => {
      const rest = await java.consume(opened.bootstrap, topics, group, count * topics.length - half)
      checkAll(states, [...first, ...rest], [])
    })
    for (const client of clients)
      await report.case(`${client.id} reads the same records`, async () => {
        const wanted = states.filter((state) => !client.cannotRead.includes(`${state.client.id} ${state.codec}`))
        const total = wanted.length * count
        const names = wanted.map((state) => state.topic)
        checkAll(
          wanted,
          await client.consume(opened.bootstrap, names, `adopt-${client.id}`, total),
          client.cannotConsume,
        )
      })
    await report.case('kcat reads the same lines over several segments', async () => {
      const args = ['-b', opened.bootstrap, '-C', '-t', segmented, '-e', '-q', '-o', 'beginning']
      const { stdout } = await run('kcat', args)
      if (stdout.toString().trimEnd() !== lines.trimEnd()) throw new Error(`${stdout.length} other bytes came back`)
    })
    await report.case('it takes more records after the old ones, over a restart', async () => {
      const { client, topic, records } = states[0]
      await client.produce(opened.bootstrap, topic, records, { codec: 'zstd', dir })
      await opened.stop()
      await opened.start()
      const got = await java.consume(opened.bootstrap, [topic], 'adopt-more', records.length * 2)
      compare([...records, ...records], got)
    })
  }
  await report.case('it stops cleanly', () => opened.stop())

  const torn = await report.case('Apache Kafka is killed while it holds the directory', async () => {
    await kafka.start()
    const { client, codec, topic, records } = states.at(-1)
    await client.produce(kafka.bootstrap, topic, records, { codec, dir })
    await kafka.kill()
  })
  if (!torn) return
  const recovered = await copyOf(context, kafka, 'recovered')
  await report.case('it opens the directory with everything acknowledged', async () => {
    await recovered.start()
    const { topic, records } = states.at(-1)
    const got = await java.consume(recovered.bootstrap, [topic], 'recovered', records.length * 2)
    compare([...records, ...records], got)
  })
  await report.case('it stops cleanly', () => recovered.stop())
}

/** The broker under test over a copy of what Kafka has written. */
async function copyOf({ Kind, dir }, kafka, name) {
  const copy = await Kind.at(join(dir, name))
  rmSync(copy.logDir, { recursive: true, force: true })
  mkdirSync(copy.dir, { recursive: true })
  cpSync(kafka.logDir, copy.logDir, { recursive: true })
  return copy
}

function checkAll(states, lines, readerLimits) {
  for (const { topic, records } of states) {
    const got = lines.filter((line) => line.topic === topic)
    try {
      compare(records, got, { readerLimits })
    } catch (error) {
      throw new Error(`${topic}: ${error.message}`)
    }
  }
}
