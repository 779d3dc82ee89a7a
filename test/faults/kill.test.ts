// SPDX-License-Identifier: Apache-2.0
// Goal: a killed broker loses nothing that it acknowledged, duplicates nothing of an idempotent producer, and groups go on where they had
// committed. Method: VARVE_KILLS runs (default 20) of a real broker process, killed with SIGKILL at a random moment under a pipelining producer
// that reconnects and sends again what was not acknowledged, in the same order with the same sequence numbers.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import {
  CreateTopics,
  Fetch,
  FindCoordinator,
  InitProducerId,
  OffsetCommit,
  OffsetFetch,
  Produce,
} from '../../src/protocol/apis/index.ts'
import { batches, encodeBatch, records } from '../../src/protocol/record-batch.ts'
import { BrokerProcess } from '../util/broker-process.ts'
import { ConnectionClosed, WireClient } from '../util/wire-client.ts'

const KILLS = Number(process.env.VARVE_KILLS ?? 20)
const IN_FLIGHT = 5
const TOPIC = 'killed'
const GROUP = 'survivors'

const cleanups: Array<() => Promise<void> | void> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Sent {
  readonly value: string
  readonly sequence: number
}

/** Connects as soon as the broker is there. */
async function connected(address: () => string | null): Promise<WireClient> {
  for (;;) {
    const bootstrap = address()
    if (bootstrap !== null) {
      try {
        return await WireClient.connect(bootstrap)
      } catch {
        // Not up yet, or just killed.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

class Producer {
  readonly acked = new Map<string, number>()
  /** Every value that was ever sent. */
  readonly sent = new Set<string>()
  readonly #address: () => string | null
  readonly #acks: number
  readonly #producerId: bigint
  #sequence = 0
  #unacked: Sent[] = []

  constructor(address: () => string | null, acks: number, producerId: bigint) {
    this.#address = address
    this.#acks = acks
    this.#producerId = producerId
  }

  async run(until: () => boolean): Promise<void> {
    while (!until() || this.#unacked.length > 0) {
      const client = await connected(this.#address)
      try {
        for (const sent of this.#unacked) this.#send(client, sent)
        while (!until() || this.#unacked.length > 0) {
          while (!until() && this.#unacked.length < IN_FLIGHT) {
            const sent = { value: `${this.#producerId}:${this.#sequence}`, sequence: this.#sequence++ }
            this.#unacked.push(sent)
            this.sent.add(sent.value)
            this.#send(client, sent)
          }
          const { responses } = await client.response(Produce, 9)
          const { errorCode, baseOffset } = responses[0]!.partitionResponses[0]!
          expect(errorCode).toBe(0)
          this.acked.set(this.#unacked.shift()!.value, baseOffset)
        }
      } catch (error) {
        if (!(error instanceof ConnectionClosed)) throw error
        // Without sequence numbers sending again may duplicate: what was not acknowledged is given up.
        if (this.#producerId < 0n) this.#unacked = []
      } finally {
        await client.close()
      }
    }
  }

  #send(client: WireClient, { value, sequence }: Sent): void {
    const idempotent = this.#producerId >= 0n
    const batch = encodeBatch({
      records: [{ key: null, value: Buffer.from(value.padEnd(200, ' ')), timestampMs: Date.now() }],
      ...(idempotent ? { producerId: this.#producerId, producerEpoch: 0, baseSequence: sequence } : {}),
    })
    client.send(Produce, 9, {
      acks: this.#acks,
      timeoutMs: 10_000,
      topicData: [{ name: TOPIC, partitionData: [{ index: 0, records: batch }] }],
    })
  }
}

/** Commits rising offsets; `acked` is the last one that was acknowledged. */
class Committer {
  acked = -1
  readonly #address: () => string | null
  #next = 0

  constructor(address: () => string | null) {
    this.#address = address
  }

  async run(until: () => boolean): Promise<void> {
    while (!until()) {
      const client = await connected(this.#address)
      try {
        await client.request(FindCoordinator, 3, { key: GROUP, keyType: 0 })
        while (!until()) {
          const offset = this.#next++
          const { topics } = await client.request(OffsetCommit, 7, {
            groupId: GROUP,
            topics: [
              { name: TOPIC, partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: '' }] },
            ],
          })
          const { errorCode } = topics[0]!.partitions[0]!
          // Loading after a restart, or told to look again: both pass.
          if (errorCode === 14 || errorCode === 15 || errorCode === 16) continue
          expect(errorCode).toBe(0)
          this.acked = offset
        }
      } catch (error) {
        if (!(error instanceof ConnectionClosed)) throw error
      } finally {
        await client.close()
      }
    }
  }
}

/** All values by offset, once `end` can be read: what acks=1 acknowledged is shown when it is synced. */
async function valuesOf(bootstrap: string, end: number): Promise<Map<number, string>> {
  const deadlineMs = performance.now() + 10_000
  const client = await WireClient.connect(bootstrap)
  const values = new Map<number, string>()
  let offset = 0
  for (;;) {
    const { responses } = await client.request(Fetch, 11, {
      maxWaitMs: 0,
      minBytes: 0,
      topics: [{ topic: TOPIC, partitions: [{ partition: 0, fetchOffset: offset, partitionMaxBytes: 4 << 20 }] }],
      forgottenTopicsData: [],
    })
    const partition = responses[0]!.partitions[0]!
    expect(partition.errorCode).toBe(0)
    const before = offset
    for (const batch of batches(partition.records ?? new Uint8Array(0), { checkCrc: true })) {
      for (const record of records(batch)) {
        expect(values.has(record.offset)).toBe(false)
        values.set(record.offset, Buffer.from(record.value!).toString().trim())
      }
      offset = batch.nextOffset
    }
    if (offset === before) {
      if (offset >= end || performance.now() > deadlineMs) break
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  await client.close()
  return values
}

async function committedOffset(bootstrap: string): Promise<number> {
  const client = await WireClient.connect(bootstrap)
  for (;;) {
    await client.request(FindCoordinator, 3, { key: GROUP, keyType: 0 })
    const { topics, errorCode } = await client.request(OffsetFetch, 7, {
      groupId: GROUP,
      topics: [{ name: TOPIC, partitionIndexes: [0] }],
    })
    if (errorCode !== 14) {
      await client.close()
      return topics[0]!.partitions[0]!.committedOffset
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

it(`keeps what was acknowledged over ${KILLS} kills, acks 1 and all, and duplicates nothing`, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'varve-kill-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  // Small segments and few group partitions: rolls, seals and replays happen in every run.
  const args = [
    '--data',
    dir,
    '--set',
    'log.segment.bytes=1048576',
    '--set',
    'offsets.topic.num.partitions=3',
    '--log-level',
    'warn',
  ]
  let port = '0'
  let broker: BrokerProcess | null = null
  const start = async (): Promise<BrokerProcess> => {
    broker = await BrokerProcess.start([...args, '--listen', `127.0.0.1:${port}`])
    port = broker.bootstrap.split(':')[1]!
    return broker
  }
  cleanups.push(() => broker?.kill())
  const address = (): string | null => broker?.bootstrap ?? null

  let running = await start()
  const setup = await WireClient.connect(running.bootstrap)
  const created = await setup.request(CreateTopics, 4, {
    topics: [{ name: TOPIC, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
  })
  expect(created.topics[0]!.errorCode).toBe(0)
  const producerId = async (): Promise<bigint> =>
    (await setup.request(InitProducerId, 1, { transactionalId: null, transactionTimeoutMs: 1000 })).producerId
  const producers = [
    new Producer(address, -1, await producerId()),
    new Producer(address, 1, await producerId()),
    new Producer(address, -1, -1n),
    new Producer(address, 1, -1n),
  ]
  await setup.close()
  const committer = new Committer(address)
  let done = false
  const loops = Promise.all([...producers, committer].map((one) => one.run(() => done)))
  // A failed expectation in a loop ends the test at the next await of it, not as an unhandled rejection.
  loops.catch(() => {})

  let committedBefore = -1
  for (let kill = 0; kill < KILLS; kill++) {
    await Promise.race([loops, new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 350))])
    broker = null
    await running.kill()
    const ackedBefore = committer.acked
    running = await start()
    const committed = await committedOffset(running.bootstrap)
    expect(committed).toBeGreaterThanOrEqual(ackedBefore)
    expect(committed).toBeGreaterThanOrEqual(committedBefore)
    committedBefore = committed
  }
  await new Promise((resolve) => setTimeout(resolve, 200))
  done = true
  await loops

  const ends = producers.map(({ acked }) => 1 + [...acked.values()].reduce((a, b) => Math.max(a, b), -1))
  const values = await valuesOf(running.bootstrap, Math.max(...ends))
  const offsets = [...values.keys()]
  expect(offsets).toEqual(Array.from({ length: offsets.length }, (_, i) => i))
  for (const producer of producers) {
    expect(producer.acked.size).toBeGreaterThan(KILLS)
    for (const [value, offset] of producer.acked) expect(values.get(offset), `offset ${offset}`).toBe(value)
  }
  const [all, one] = producers
  for (const producer of [all!, one!]) {
    const found = [...values.values()].filter((value) => producer.sent.has(value))
    expect(found.length).toBe(new Set(found).size)
    // In the order in which they were sent.
    expect(found).toEqual([...producer.sent].filter((value) => producer.acked.has(value)))
  }
  expect(await running.stop()).toBe(0)
}, 240_000)
