// SPDX-License-Identifier: Apache-2.0
// The broker goes away and comes back, as an operator stops it and by kill -9: what was acknowledged is there, once,
// groups go on where they had committed, and consumers that were connected reconnect by themselves.
import { inParallel } from '../lib/parallel.mjs'
import { sleep } from '../lib/process.mjs'
import { compare, makeRecords } from '../lib/records.mjs'

const count = 60
const partitions = 2
const clientsAtOnce = 3
const hourMs = 3_600_000
const connectMs = 4_000

export async function restart(context) {
  const { report, broker, clients, maker, java, bootstrap, dir } = context
  report.section('restart')
  const states = clients.map((client, index) => {
    const records = makeRecords({
      seed: 900 + index,
      count,
      partitions,
      firstTimestamp: Date.now() - hourMs,
      without: client.cannotProduce,
    })
    return { client, topic: `restart-${client.id}`, records, got: [], start: Date.now() }
  })
  const half = count / 2
  const send = ({ client, topic, records }, from, to, codec) =>
    client.produce(bootstrap, topic, records.slice(from, to), { codec, dir })
  const take = async (state, wanted) => {
    const { client, topic } = state
    state.got.push(...(await client.consume(bootstrap, [topic], `restart-${client.id}`, wanted)))
  }
  const check = ({ client, records, got, start }) => {
    const sentBetween = client.cannotProduce.includes('timestamps') ? [start, Date.now()] : undefined
    compare(records.slice(0, got.length), got, { readerLimits: client.cannotConsume, sentBetween })
  }
  const each = async (what, body) => {
    await inParallel(states, clientsAtOnce, (state) => report.case(`${state.client.id} ${what}`, () => body(state)))
  }

  await maker.create(bootstrap, partitions, [...states.map((state) => state.topic), 'restart-live'])
  const before = await java.describe(
    bootstrap,
    states.map((state) => state.topic),
  )
  await each('produces and reads a part', async (state) => {
    await send(state, 0, half, 'lz4')
    await take(state, half / 2)
  })
  await report.case('a clean stop and a start', async () => {
    await broker.stop()
    await broker.start()
    const after = await java.describe(
      bootstrap,
      states.map((state) => state.topic),
    )
    if (JSON.stringify(after) !== JSON.stringify(before)) throw new Error('cluster id or topic ids have changed')
  })
  await each('goes on after the restart, and produces more', async (state) => {
    await take(state, half / 2)
    await send(state, half, count, 'gzip')
    check(state)
  })
  await report.case('kill -9 and a start', async () => {
    await broker.kill()
    await broker.start()
    const after = await java.describe(
      bootstrap,
      states.map((state) => state.topic),
    )
    if (JSON.stringify(after) !== JSON.stringify(before)) throw new Error('cluster id or topic ids have changed')
  })
  await each('goes on after kill -9 with all that was acknowledged', async (state) => {
    await take(state, half)
    check(state)
  })
  await live(context)
}

/** All clients read at the same time, each as a group of its own, while the broker is restarted under them. */
async function live({ report, broker, clients, maker, bootstrap, dir }) {
  const topic = 'restart-live'
  const without = [...new Set([...clients.flatMap((client) => client.cannotConsume), ...maker.cannotProduce])]
  const records = makeRecords({ seed: 33, count, partitions, firstTimestamp: Date.now() - hourMs, without })
  const readers = clients.filter((client) => client.outlivesBroker)
  const reading = readers.map((client) =>
    client.consumeMeanwhile(bootstrap, [topic], `live-${client.id}`, count, { once: true, timeoutMs: 90_000 }),
  )
  await report.case('a restart under connected consumers', async () => {
    await maker.produce(bootstrap, topic, records.slice(0, count / 2), { codec: 'none', dir })
    await sleep(connectMs)
    await broker.stop()
    await broker.start()
    await maker.produce(bootstrap, topic, records.slice(count / 2), { codec: 'none', dir })
  })
  for (const [index, client] of readers.entries())
    await report.case(`${client.id}, connected during the restart, reads everything once`, async () => {
      compare(records, await reading[index], { readerLimits: client.cannotConsume })
    })
}
