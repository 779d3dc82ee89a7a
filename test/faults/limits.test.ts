// SPDX-License-Identifier: Apache-2.0
// Goal: few file descriptors make a broker slower, not wrong; SIGTERM under load loses nothing that was acknowledged and exits with 0.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { BrokerProcess } from '../util/broker-process.ts'
import { ConnectionClosed, WireClient } from '../util/wire-client.ts'
import { createTopic, fetchAll, produce, producedReply, sendProduce } from './clients.ts'
import { requireCommand } from './trace.ts'

const cleanups: Array<() => Promise<void> | void> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function serve(dir: string, wrapper: string[] = []): Promise<BrokerProcess> {
  const args = ['--data', dir, '--listen', '127.0.0.1:0', '--log-level', 'error', '--set', 'log.segment.bytes=1048576']
  const broker = await BrokerProcess.start(args, { wrapper })
  cleanups.push(() => broker.kill())
  return broker
}

function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), 'varve-limits-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

it('serves 500 partitions with 256 file descriptors, over a restart', async () => {
  requireCommand('prlimit', 'util-linux')
  const PARTITIONS = 500
  const dir = temporary()
  const limited = ['prlimit', '--nofile=256:256']
  let broker = await serve(dir, limited)
  let client = await WireClient.connect(broker.bootstrap)
  expect(await createTopic(client, 'many', { partitions: PARTITIONS })).toBe(0)
  for (let round = 0; round < 2; round++)
    for (let partition = 0; partition < PARTITIONS; partition++)
      expect(await produce(client, 'many', partition, `${partition}/${round}`)).toMatchObject({
        errorCode: 0,
        baseOffset: round,
      })
  const check = async (): Promise<void> => {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const found = await fetchAll(client, 'many', partition)
      expect([...found.values()].map(String)).toEqual([`${partition}/0`, `${partition}/1`])
    }
  }
  await check()
  await client.close()
  expect(await broker.stop()).toBe(0)
  broker = await serve(dir, limited)
  client = await WireClient.connect(broker.bootstrap)
  await check()
  await client.close()
  expect(await broker.stop()).toBe(0)
})

it('exits with 0 on SIGTERM under load and has everything that it acknowledged, five times', async () => {
  const PARTITIONS = 3
  const IN_FLIGHT = 8
  const dir = temporary()
  const acked = Array.from({ length: PARTITIONS }, () => new Map<number, string>())
  let sequence = 0
  for (let round = 0; round < 5; round++) {
    const broker = await serve(dir)
    const admin = await WireClient.connect(broker.bootstrap)
    if (round === 0) expect(await createTopic(admin, 'loaded', { partitions: PARTITIONS })).toBe(0)
    const ackedBefore = acked.map(({ size }) => size)
    const loads = acked.map(async (known, partition) => {
      const client = await WireClient.connect(broker.bootstrap)
      const inFlight: string[] = []
      try {
        for (;;) {
          while (inFlight.length < IN_FLIGHT) {
            inFlight.push(`${sequence++}`.padEnd(1000, '.'))
            sendProduce(client, 'loaded', partition, inFlight.at(-1)!, partition === 0 ? 1 : -1)
          }
          const { errorCode, baseOffset } = await producedReply(client)
          const value = inFlight.shift()!
          if (errorCode !== 0) continue
          expect(known.has(baseOffset)).toBe(false)
          known.set(baseOffset, value)
        }
      } catch (error) {
        if (!(error instanceof ConnectionClosed)) throw error
      } finally {
        await client.close()
      }
    })
    await new Promise((resolve) => setTimeout(resolve, 300))
    const [code] = await Promise.all([broker.stop(), ...loads])
    expect(code, broker.log.join('\n')).toBe(0)
    await admin.close()
    for (const [partition, known] of acked.entries()) expect(known.size).toBeGreaterThan(ackedBefore[partition]!)
  }
  const broker = await serve(dir)
  const client = await WireClient.connect(broker.bootstrap)
  for (const [partition, known] of acked.entries()) {
    const found = await fetchAll(client, 'loaded', partition)
    for (const [offset, value] of known) expect(found.get(offset)?.toString(), `offset ${offset}`).toBe(value)
  }
  await client.close()
  expect(await broker.stop()).toBe(0)
})
