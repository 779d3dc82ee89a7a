// SPDX-License-Identifier: Apache-2.0
// Goal: a peer that is slow to write or does not read costs its own connection, in bounded time and memory (rows 61 and 63 of the table of
// bad input), and the broker's defaults bound how many there are (row 62). Method: a broker on virtual time behind real sockets.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { pino } from 'pino'
import { afterEach, expect, it } from 'vitest'
import { Broker } from '../../src/broker/broker.ts'
import { BrokerConfig } from '../../src/broker/config/config.ts'
import { parseListenAddress } from '../../src/broker/listeners.ts'
import { CreateTopics, Fetch, Metadata, Produce } from '../../src/protocol/apis/index.ts'
import { encodeBatch } from '../../src/protocol/record-batch.ts'
import { type VirtualSeams, virtualSeams } from '../util/virtual-seams.ts'
import { WireClient } from '../util/wire-client.ts'

const FRAME_DEADLINE_MS = 30_000
const WRITE_DEADLINE_MS = 60_000

const cleanups: Array<() => Promise<void> | void> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start(
  configs: Record<string, string> = {},
): Promise<{ broker: Broker; seams: VirtualSeams; port: number }> {
  const seams = virtualSeams()
  const broker = await Broker.start({
    config: new BrokerConfig(configs),
    memory: true,
    listen: [parseListenAddress('127.0.0.1:0')],
    seams,
    log: pino({ level: 'silent' }),
  })
  cleanups.push(async () => {
    const stopped = broker.stop()
    await seams.timers.advance(10_000)
    await stopped
  })
  const [address] = broker.listeners.addresses
  return { broker, seams, port: address!.kind === 'tcp' ? address!.port : 0 }
}

async function rawSocket(port: number): Promise<{ socket: Socket; ended: () => boolean }> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  let ended = false
  socket.on('close', () => {
    ended = true
  })
  cleanups.push(() => void socket.destroy())
  return { socket, ended: () => ended }
}

/** A topic with 30 MiB, a client, and a fetch of `mib` MiB of it. */
async function filled(seams: VirtualSeams, port: number, mib: number): Promise<{ client: WireClient; fetch: Buffer }> {
  const client = await WireClient.connect(`127.0.0.1:${port}`)
  const topic = { name: 't', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
  expect((await client.request(CreateTopics, 4, { topics: [topic] })).topics[0]!.errorCode).toBe(0)
  const records = encodeBatch({
    records: [{ key: null, value: Buffer.alloc(1 << 20, 1), timestampMs: seams.clock.wallMs() }],
  })
  for (let i = 0; i < 30; i++) {
    const { responses } = await client.request(Produce, 9, {
      acks: -1,
      timeoutMs: 5000,
      topicData: [{ name: 't', partitionData: [{ index: 0, records }] }],
    })
    expect(responses[0]!.partitionResponses[0]!.errorCode).toBe(0)
  }
  const fetch = Fetch.encodeRequest(12, 1, 'test', {
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes: mib << 20,
    topics: [{ topic: 't', partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: mib << 20 }] }],
    forgottenTopicsData: [],
  })
  return { client, fetch }
}

/** Lets sockets have their turns without time passing. */
const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200))

it('61 a frame has thirty seconds from its first byte, whatever trickles in, and others go on', async () => {
  const { broker, seams, port } = await start()
  const { socket, ended } = await rawSocket(port)
  const idle = await rawSocket(port)
  socket.write(Buffer.from([0, 0, 0, 100]))
  await turns()
  for (let passedMs = 0; passedMs < FRAME_DEADLINE_MS - 1000; passedMs += 1000) {
    await seams.timers.advance(1000)
    socket.write(Buffer.from([0]))
  }
  await turns()
  expect(ended()).toBe(false)
  await seams.timers.advance(1500)
  await turns()
  expect(ended()).toBe(true)
  expect(idle.ended()).toBe(false)
  const client = await WireClient.connect(`127.0.0.1:${port}`)
  expect((await client.request(Metadata, 1, { topics: [] })).brokers).toHaveLength(1)
  await client.close()
  await turns()
  expect(broker.listeners.connectionCount).toBe(1)
})

it.each([
  ['one answer that is larger than all buffers', 1, 30],
  ['many answers', 60, 1],
])(
  '63 who does not read %s is let go after a minute, and held no more than a bounded share',
  async (_what, requests, mib) => {
    const { broker, seams, port } = await start({ 'message.max.bytes': '2000000' })
    const { client, fetch } = await filled(seams, port, mib)
    const { socket } = await rawSocket(port)
    socket.pause()
    const before = process.memoryUsage()
    for (let i = 0; i < requests; i++) socket.write(fetch)
    await turns()
    // A window on the log's pages is counted too; they are not copied.
    const after = process.memoryUsage()
    expect(after.external + after.arrayBuffers - before.external - before.arrayBuffers).toBeLessThan(80 << 20)
    expect(broker.listeners.connectionCount).toBe(2)
    // Another one is served meanwhile.
    expect((await client.request(Metadata, 1, { topics: [] })).brokers).toHaveLength(1)
    await seams.timers.advance(WRITE_DEADLINE_MS - 1000)
    await turns()
    expect(broker.listeners.connectionCount).toBe(2)
    await seams.timers.advance(12_000)
    for (let i = 0; i < 50 && broker.listeners.connectionCount > 1; i++) await turns()
    expect(broker.listeners.connectionCount).toBe(1)
    await client.close()
  },
)

it('62 connections are bounded by default, over all, by address and by how fast they come', async () => {
  const config = new BrokerConfig({})
  const names = ['max.connections', 'max.connections.per.ip', 'max.connection.creation.rate']
  expect(names.map((name) => config.number(name))).toEqual([10_000, 1000, 200])
  for (const configs of [{ 'max.connections': '3' }, { 'max.connection.creation.rate': '3' }]) {
    const { seams, port } = await start(configs)
    const clients = await Promise.all([1, 2, 3].map(() => WireClient.connect(`127.0.0.1:${port}`)))
    const refused = await WireClient.connect(`127.0.0.1:${port}`)
    await refused.closed
    for (const client of clients) expect((await client.request(Metadata, 1, { topics: [] })).brokers).toHaveLength(1)
    await clients[0]!.close()
    await turns()
    await seams.timers.advance(1000)
    const again = await WireClient.connect(`127.0.0.1:${port}`)
    expect((await again.request(Metadata, 1, { topics: [] })).brokers).toHaveLength(1)
    for (const client of [...clients, again]) await client.close()
  }
})

it('63 who reads slowly gets all of it', async () => {
  const { seams, port } = await start({ 'message.max.bytes': '2000000' })
  const { client, fetch } = await filled(seams, port, 12)
  const { socket, ended } = await rawSocket(port)
  let received = 0
  let bytes = 12 << 20
  socket.on('data', (chunk: Buffer) => {
    if (received === 0) bytes = 4 + chunk.readInt32BE(0)
    received += chunk.length
    socket.pause()
  })
  socket.write(fetch)
  while (received < bytes && !ended()) {
    await seams.timers.advance(20_000)
    for (let i = 0; i < 40 && received < bytes; i++) {
      socket.resume()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  expect(ended()).toBe(false)
  expect([received, bytes > 11 << 20]).toEqual([bytes, true])
  await client.close()
})
