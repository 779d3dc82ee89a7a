// SPDX-License-Identifier: Apache-2.0
// Goal: a killed broker's next start says what it scanned in one line of information, and complains of nothing.
import { expect, it, onTestFinished } from 'vitest'
import { CreateTopics, Produce } from '../../src/protocol/apis/index.ts'
import { encodeBatch } from '../../src/protocol/record-batch.ts'
import { BrokerProcess } from '../util/broker-process.ts'
import { WireClient } from '../util/wire-client.ts'
import { newDirectory } from './child.ts'

interface LogLine {
  readonly level: number
  readonly msg: string
  readonly directory?: string
  readonly recoveredBytes?: number
}

it('tells after a kill what was recovered, once, and nothing after a clean stop', async () => {
  const dir = newDirectory({ onTestFinished })
  const args = ['--data', dir, '--listen', '127.0.0.1:0', '--log-level', 'info']
  let broker = await BrokerProcess.start(args)
  onTestFinished(() => broker.kill())
  const client = await WireClient.connect(broker.bootstrap)
  const topic = { name: 'orders', numPartitions: 3, replicationFactor: 1, assignments: [], configs: [] }
  expect((await client.request(CreateTopics, 4, { topics: [topic] })).topics[0]!.errorCode).toBe(0)
  const records = encodeBatch({ records: [{ key: null, value: Buffer.alloc(1000), timestampMs: Date.now() }] })
  const { responses } = await client.request(Produce, 9, {
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: 'orders', partitionData: [0, 1, 2].map((index) => ({ index, records })) }],
  })
  for (const { errorCode } of responses[0]!.partitionResponses) expect(errorCode).toBe(0)
  await client.close()

  await broker.kill()
  broker = await BrokerProcess.start(args)
  const lines = broker.log.map((line) => JSON.parse(line) as LogLine)
  expect(lines.filter(({ level }) => level > 30)).toEqual([])
  const told = lines.filter(({ recoveredBytes }) => recoveredBytes !== undefined)
  expect(told).toEqual([expect.objectContaining({ level: 30, directory: dir })])
  expect(told[0]!.recoveredBytes).toBeGreaterThan(3 * records.length)

  expect(await broker.stop()).toBe(0)
  broker = await BrokerProcess.start(args)
  expect(broker.log.filter((line) => line.includes('recoveredBytes'))).toEqual([])
})
