// SPDX-License-Identifier: Apache-2.0
// Goal: the first failed fdatasync takes its log directory offline for good, and nothing else. Method: a broker with two log directories under
// strace, which makes the N-th sync of one log file fail with EIO. Producers of that directory get KAFKA_STORAGE_ERROR, no record whose sync
// failed is acknowledged, the file is never synced again (a second fsync after a failed one succeeds although pages are gone),
// the other directory serves reads and writes, and a restart finds every acknowledged record.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { BrokerProcess } from '../util/broker-process.ts'
import { WireClient } from '../util/wire-client.ts'
import { createTopic, fetch, fetchAll, produce } from './clients.ts'
import { parseTrace, requireCommand } from './trace.ts'

const STORAGE_ERROR = 56
const PARTITIONS = 4
const TOPIC = 'failing'

beforeAll(() => requireCommand('strace', 'strace'))
const cleanups: Array<() => Promise<void> | void> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

it.each([1, 2, 7])('takes one log directory offline, once, when sync %i of a log fails', async (failing) => {
  const dir = mkdtempSync(join(tmpdir(), 'varve-eio-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  const directories = [join(dir, 'a'), join(dir, 'b')]
  const trace = join(dir, 'trace')
  const serve = async (...wrapper: string[]): Promise<{ broker: BrokerProcess; client: WireClient }> => {
    const broker = await BrokerProcess.start(
      ['--data', directories.join(','), '--listen', '127.0.0.1:0', '--log-level', 'warn'],
      { wrapper },
    )
    cleanups.push(() => broker.kill())
    const client = await WireClient.connect(broker.bootstrap)
    cleanups.push(() => client.close())
    return { broker, client }
  }

  const before = await serve()
  expect(await createTopic(before.client, TOPIC, { partitions: PARTITIONS })).toBe(0)
  const acked = Array.from({ length: PARTITIONS }, () => new Map<number, string>())
  const send = async (client: WireClient, partition: number, value: string): Promise<number> => {
    const { errorCode, baseOffset } = await produce(client, TOPIC, partition, value)
    if (errorCode === 0) acked[partition]!.set(baseOffset, value)
    return errorCode
  }
  for (let partition = 0; partition < PARTITIONS; partition++)
    expect(await send(before.client, partition, 'first')).toBe(0)
  expect(await before.broker.stop()).toBe(0)
  const homeOf = (partition: number): string =>
    directories.find((home) => existsSync(join(home, `${TOPIC}-${partition}`)))!
  // The directory that has the broker's own metadata has to stay: it is not what fails here.
  const failed = directories.find((home) => !existsSync(join(home, '__varve_metadata-0')))!
  const victims = [...acked.keys()].filter((partition) => homeOf(partition) === failed)
  const others = [...acked.keys()].filter((partition) => homeOf(partition) !== failed)
  expect(victims.length).toBeGreaterThan(1)
  expect(others.length).toBeGreaterThan(0)
  const victim = victims[0]!
  const file = join(failed, `${TOPIC}-${victim}`, '00000000000000000000.log')

  // Counted by strace for each thread: any of the pool's may be the first to come to its N-th.
  const inject = ['-e', 'trace=fdatasync,fsync', '-e', `inject=fdatasync,fsync:error=EIO:when=${failing}`]
  const { broker, client } = await serve('strace', '-D', '-f', '-ttt', '-yy', '-o', trace, '-P', file, ...inject)
  let code = 0
  let sent = 0
  for (; code === 0 && sent < 200; sent++) code = await send(client, victim, `until it fails ${sent}`)
  expect(code).toBe(STORAGE_ERROR)

  // Offline for all of its logs and for good; the other directory goes on.
  for (let again = 0; again < 5; again++) {
    for (const partition of victims) expect(await send(client, partition, `offline ${again}`)).toBe(STORAGE_ERROR)
    for (const partition of others) expect(await send(client, partition, `online ${again}`)).toBe(0)
  }
  // Reads of the other directory go on; a partition without its disk is offline for consumers too, as in Kafka.
  expect((await fetch(client, TOPIC, victim, 0)).errorCode).toBe(STORAGE_ERROR)
  for (const partition of others) {
    const read = await fetchAll(client, TOPIC, partition)
    for (const [offset, value] of acked[partition]!) expect(read.get(offset)?.toString()).toBe(value)
  }
  expect(() => process.kill(broker.pid, 0)).not.toThrow()
  await client.close()
  await broker.stop()

  await expect.poll(() => readFileSync(trace, 'utf8'), { timeout: 10_000 }).toContain('+++ exited with')
  const syncs = parseTrace(readFileSync(trace, 'utf8')).filter(({ text }) => text.includes(file))
  const injected = syncs.filter((sync) => sync.injected)
  expect(injected).toHaveLength(1)
  expect(syncs.filter((sync) => sync.entered > injected[0]!.entered)).toEqual([])

  const after = await serve()
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const found = await fetchAll(after.client, TOPIC, partition)
    for (const [offset, value] of acked[partition]!) expect(found.get(offset)?.toString()).toBe(value)
    expect(await send(after.client, partition, 'back')).toBe(0)
  }
  expect(await after.broker.stop()).toBe(0)
})
