// SPDX-License-Identifier: Apache-2.0
// Goal: a producer id is given out once, whatever happens to the broker: two producers with one id would have each other's batches taken for
// repetitions, and acknowledged without being written. Method: ids over clean stops, kills, and in a directory with logs of another broker.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { InitProducerId, Produce } from '../../src/protocol/apis/index.ts'
import { encodeBatch } from '../../src/protocol/record-batch.ts'
import { openEngine } from '../../src/storage/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { BrokerProcess } from '../util/broker-process.ts'
import { WireClient } from '../util/wire-client.ts'

const cleanups: Array<() => Promise<void> | void> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function newDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'varve-ids-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

async function initProducerId(client: WireClient): Promise<bigint> {
  const answer = await client.request(InitProducerId, 1, { transactionalId: null, transactionTimeoutMs: 0 })
  expect(answer.errorCode).toBe(0)
  return answer.producerId
}

it('does not repeat over kills and clean stops, also at the end of a block', async () => {
  const dir = newDirectory()
  const ids: bigint[] = []
  for (let start = 0; start < 6; start++) {
    const broker = await BrokerProcess.start(['--data', dir, '--listen', '127.0.0.1:0', '--log-level', 'warn'])
    cleanups.push(() => broker.kill())
    const client = await WireClient.connect(broker.bootstrap)
    // The last answer may still be under way when the broker is killed: what it said counts all the same.
    const count = start === 1 ? 1001 : 3
    for (let i = 0; i < count; i++) client.send(InitProducerId, 1, { transactionalId: null, transactionTimeoutMs: 0 })
    for (let i = 0; i < count; i++) ids.push((await client.response(InitProducerId, 1)).producerId)
    if (start % 2 === 0) await broker.kill()
    else expect(await broker.stop()).toBe(0)
    await client.close()
  }
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.length).toBe(5 * 3 + 1001)
})

it('is not one of a producer that wrote to a log which another broker left', async () => {
  const dir = newDirectory()
  const record = (value: string) => ({ key: null, value: Buffer.from(value), timestampMs: Date.now() })
  const batchOf = (producerId: bigint, value: string): Uint8Array =>
    encodeBatch({ records: [record(value)], producerId, producerEpoch: 0, baseSequence: 0 })
  const engine = await openEngine({ dir })
  for (const id of [0n, 1n, 2_345_678n]) engine.log('old', 0).appendBatches(batchOf(id, `old ${id}`))
  await engine.close()

  const broker = await startBroker({ dir })
  cleanups.push(() => broker.stop())
  const client = await WireClient.connect(broker.bootstrap)
  const producerId = await initProducerId(client)
  expect(producerId).toBeGreaterThan(2_345_678n)
  const { responses } = await client.request(Produce, 9, {
    acks: -1,
    timeoutMs: 5000,
    topicData: [{ name: 'old', partitionData: [{ index: 0, records: batchOf(producerId, 'new') }] }],
  })
  expect(responses[0]!.partitionResponses[0]).toMatchObject({ errorCode: 0, baseOffset: 3 })
  await client.close()
})
