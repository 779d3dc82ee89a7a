// SPDX-License-Identifier: Apache-2.0
// Goal: 10,000 partitions on one broker are ordinary. Method: 1,000 topics x 10 partitions over the wire, records into every one, all read
// back, then a restart; bounds on memory, disk, maps and descriptors. Times are printed and bounded loosely: the machine is shared.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { CreateTopics, Fetch, Produce } from '../../src/protocol/apis/index.ts'
import { batches, encodeBatch, records } from '../../src/protocol/record-batch.ts'
import { BrokerProcess } from '../util/broker-process.ts'
import { WireClient } from '../util/wire-client.ts'

const TOPICS = 1000
const PARTITIONS = 10
const TOPICS_A_REQUEST = 50

const cleanups: Array<() => Promise<void> | void> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const topicName = (topic: number): string => `many-${String(topic).padStart(4, '0')}`
const textOf = (topic: number, partition: number, i: number): string => `${topic}/${partition}/${i}`

/** Anonymous memory of a process in MiB. */
function anonymousMiB(pid: number): number {
  return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

async function readBack(bootstrap: string): Promise<number> {
  const client = await WireClient.connect(bootstrap)
  let found = 0
  for (let first = 0; first < TOPICS; first += TOPICS_A_REQUEST) {
    const { responses } = await client.request(Fetch, 11, {
      maxWaitMs: 0,
      minBytes: 0,
      topics: Array.from({ length: TOPICS_A_REQUEST }, (_, i) => ({
        topic: topicName(first + i),
        partitions: Array.from({ length: PARTITIONS }, (_, partition) => ({
          partition,
          fetchOffset: 0,
          partitionMaxBytes: 1 << 20,
        })),
      })),
      forgottenTopicsData: [],
    })
    responses.forEach(({ topic, partitions }, i) => {
      expect(topic).toBe(topicName(first + i))
      for (const { partitionIndex, errorCode, records: bytes } of partitions) {
        expect(errorCode).toBe(0)
        const values = [...batches(bytes!, { checkCrc: true })].flatMap((batch) =>
          [...records(batch)].map((record) => Buffer.from(record.value!).toString()),
        )
        expect(values).toEqual([0, 1, 2].map((n) => textOf(first + i, partitionIndex, n)))
        found += values.length
      }
    })
  }
  await client.close()
  return found
}

it('holds 1,000 topics x 10 partitions with records, and restarts at once', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'varve-many-'))
  // A hundred thousand files: rm is much faster at it than Node.
  cleanups.push(() => void execFileSync('rm', ['-rf', dir]))
  const args = ['--data', dir, '--listen', '127.0.0.1:0', '--log-level', 'warn']
  let broker = await BrokerProcess.start(args)
  cleanups.push(() => broker.kill())

  const client = await WireClient.connect(broker.bootstrap)
  const createdFromMs = performance.now()
  for (let topic = 0; topic < TOPICS; topic++) {
    client.send(CreateTopics, 4, {
      topics: [
        { name: topicName(topic), numPartitions: PARTITIONS, replicationFactor: 1, assignments: [], configs: [] },
      ],
    })
  }
  for (let topic = 0; topic < TOPICS; topic++) {
    const { topics } = await client.response(CreateTopics, 4)
    expect(topics[0]!.errorCode).toBe(0)
  }
  const createdS = (performance.now() - createdFromMs) / 1000

  const producedFromMs = performance.now()
  for (let topic = 0; topic < TOPICS; topic++) {
    client.send(Produce, 9, {
      acks: -1,
      timeoutMs: 30_000,
      topicData: [
        {
          name: topicName(topic),
          partitionData: Array.from({ length: PARTITIONS }, (_, index) => ({
            index,
            records: encodeBatch({
              records: [0, 1, 2].map((i) => ({
                key: null,
                value: Buffer.from(textOf(topic, index, i)),
                timestampMs: Date.now(),
              })),
            }),
          })),
        },
      ],
    })
    const { responses } = await client.response(Produce, 9)
    for (const { errorCode } of responses[0]!.partitionResponses) expect(errorCode).toBe(0)
  }
  const producedS = (performance.now() - producedFromMs) / 1000
  await client.close()
  const readFromMs = performance.now()
  expect(await readBack(broker.bootstrap)).toBe(TOPICS * PARTITIONS * 3)
  const readS = (performance.now() - readFromMs) / 1000
  const anonMiB = anonymousMiB(broker.pid)
  const descriptors = readdirSync(`/proc/${broker.pid}/fd`).length
  const maps = readFileSync(`/proc/${broker.pid}/maps`, 'utf8').split('\n').length
  const diskMiB = Number(execFileSync('du', ['-sm', dir]).toString().split('\t')[0])
  expect(broker.log).toEqual([])

  const stopFromMs = performance.now()
  expect(await broker.stop()).toBe(0)
  const stopS = (performance.now() - stopFromMs) / 1000
  broker = await BrokerProcess.start(args)
  const cleanReadyS = broker.readyMs / 1000
  expect(await readBack(broker.bootstrap)).toBe(TOPICS * PARTITIONS * 3)
  const anonAfterMiB = anonymousMiB(broker.pid)
  await broker.kill()
  broker = await BrokerProcess.start(args)
  const killedReadyS = broker.readyMs / 1000
  expect(await readBack(broker.bootstrap)).toBe(TOPICS * PARTITIONS * 3)

  const figures = {
    createdS,
    producedS,
    readS,
    stopS,
    cleanReadyS,
    killedReadyS,
    anonMiB,
    anonAfterMiB,
    diskMiB,
    descriptors,
    maps,
  }
  console.log(
    JSON.stringify(figures, (_, value) => (typeof value === 'number' ? Math.round(value * 100) / 100 : value)),
  )
  expect(createdS).toBeLessThan(20)
  // Two seconds on a machine of its own.
  expect(cleanReadyS).toBeLessThan(4)
  expect(killedReadyS).toBeLessThan(4)
  expect(Math.max(anonMiB, anonAfterMiB)).toBeLessThan(400)
  expect(diskMiB).toBeLessThan(4096)
  expect(maps).toBeLessThan(60_000)
}, 300_000)
