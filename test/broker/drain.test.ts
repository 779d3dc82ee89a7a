// SPDX-License-Identifier: Apache-2.0
// Goal: a clean stop finishes what it has begun: no frame is cut, and what was appended is acknowledged. Method: stop under requests.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fetch, Produce } from '../../src/protocol/apis/index.ts'
import { encodeBatch } from '../../src/protocol/record-batch.ts'
import { startBroker } from '../../src/testing/index.ts'
import { WireClient } from '../util/wire-client.ts'

const VALUE_BYTES = 900_000
const BATCHES = 8

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'varve-drain-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const produceOf = (value: Uint8Array) => ({
  acks: -1,
  timeoutMs: 5000,
  topicData: [
    {
      name: 'one',
      partitionData: [{ index: 0, records: encodeBatch({ records: [{ key: null, value, timestampMs: 1_000 }] }) }],
    },
  ],
})

describe('a stop', () => {
  it('lets a response of megabytes out whole to a slow reader, and closes then', async () => {
    const broker = await startBroker({ topics: ['one'] })
    const client = await WireClient.connect(broker.bootstrap)
    for (let i = 0; i < BATCHES; i++) await client.request(Produce, 9, produceOf(Buffer.alloc(VALUE_BYTES, i)))
    const socket = connect(Number(broker.bootstrap.split(':')[1]), '127.0.0.1')
    await once(socket, 'connect')
    socket.pause()
    const maxBytes = BATCHES * 2 * VALUE_BYTES
    const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: maxBytes }]
    socket.write(
      Fetch.encodeRequest(12, 1, 'test', {
        maxWaitMs: 0,
        minBytes: 1,
        maxBytes,
        topics: [{ topic: 'one', partitions }],
      }),
    )
    await new Promise((resolve) => setTimeout(resolve, 200))
    const stopped = broker.stop()
    await new Promise((resolve) => setTimeout(resolve, 200))
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume()
    await once(socket, 'close')
    await stopped
    const bytes = Buffer.concat(chunks)
    expect(bytes.length).toBeGreaterThan(BATCHES * VALUE_BYTES)
    expect(bytes.length).toBe(4 + bytes.readInt32BE(0))
    await client.close()
  })

  it('acknowledges what it has appended, every time', async () => {
    for (let round = 0; round < 10; round++) {
      const broker = await startBroker({ topics: ['one'], dir: join(dir, String(round)) })
      const client = await WireClient.connect(broker.bootstrap)
      await client.request(Produce, 9, produceOf(Buffer.from('first')))
      const answer = client.request(Produce, 9, produceOf(Buffer.from('second'))).catch((error: Error) => error)
      // Let it arrive and be appended; the sync is under way, or not even begun, when the stop comes.
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
      await broker.stop()
      const said = await answer
      const again = await startBroker({ dir: join(dir, String(round)) })
      const reader = await WireClient.connect(again.bootstrap)
      const partitions = [{ partition: 0, fetchOffset: 1, partitionMaxBytes: 1 << 20 }]
      const { responses } = await reader.request(Fetch, 12, {
        maxWaitMs: 0,
        minBytes: 0,
        maxBytes: 1 << 20,
        topics: [{ topic: 'one', partitions }],
      })
      const end = Number(responses[0]!.partitions[0]!.highWatermark)
      await reader.close()
      await client.close()
      await again.stop()
      expect([round, end, said instanceof Error]).toEqual([round, end, end === 1])
    }
  })
})
