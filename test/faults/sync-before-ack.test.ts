// SPDX-License-Identifier: Apache-2.0
// Goal: in flush.mode=commit no acks=all reply is written before an fdatasync of its partition's log has returned 0. Method: a
// real broker under strace; 50 Produces, one after the other, so that none can ride on a neighbour's sync. The checker itself
// is held to a trace of flush.mode=os, where replies do not wait: it must name every one of them.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { BrokerProcess } from '../util/broker-process.ts'
import { WireClient } from '../util/wire-client.ts'
import { createTopic, produce } from './clients.ts'
import { checkSyncBeforeAck, parseTrace, requireCommand, type SystemCall } from './trace.ts'

const PRODUCES = 50
const LOG_FILE = /\/traced-0\/\d{20}\.log>/

beforeAll(() => requireCommand('strace', 'strace'))
const cleanups: Array<() => Promise<void> | void> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function traced(flushMode: 'commit' | 'os', acks: -1 | 1): Promise<SystemCall[]> {
  const dir = mkdtempSync(join(tmpdir(), 'varve-strace-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  const trace = join(dir, 'trace')
  // -D: the broker stays our child, so that signals reach it and not the tracer.
  const calls = 'trace=fdatasync,fsync,read,recvfrom,recvmsg,write,writev,sendto,sendmsg'
  const wrapper = ['strace', '-D', '-f', '-ttt', '-yy', '-s', '64', '-o', trace, '-e', calls]
  const settings = ['--set', `flush.mode=${flushMode}`, '--set', 'flush.max.delay.ms=60000', '--log-level', 'warn']
  const broker = await BrokerProcess.start(['--data', join(dir, 'data'), '--listen', '127.0.0.1:0', ...settings], {
    wrapper,
  })
  cleanups.push(() => broker.kill())
  const client = await WireClient.connect(broker.bootstrap)
  cleanups.push(() => client.close())
  expect(await createTopic(client, 'traced')).toBe(0)
  for (let i = 0; i < PRODUCES; i++)
    expect(await produce(client, 'traced', 0, `record ${i}`, acks)).toMatchObject({ errorCode: 0, baseOffset: i })
  await client.close()
  // The tracer's last lines come with the broker's end.
  expect(await broker.stop()).toBe(0)
  await expect.poll(() => readFileSync(trace, 'utf8'), { timeout: 10_000 }).toContain('+++ exited with 0 +++')
  return parseTrace(readFileSync(trace, 'utf8'))
}

it('writes no acks=all reply before the sync of that log has returned 0', async () => {
  const calls = await traced('commit', -1)
  expect(checkSyncBeforeAck(calls, LOG_FILE)).toEqual({ replies: PRODUCES, unsynced: [] })
})

it('waits for no sync with acks=all in flush.mode=os, and the checker says so of every reply', async () => {
  const { replies, unsynced } = checkSyncBeforeAck(await traced('os', -1), LOG_FILE)
  expect(replies).toBe(PRODUCES)
  expect(unsynced).toHaveLength(PRODUCES)
})

it('does not make acks=1 wait for a sync', async () => {
  const { replies, unsynced } = checkSyncBeforeAck(await traced('commit', 1), LOG_FILE)
  expect(replies).toBe(PRODUCES)
  expect(unsynced).toHaveLength(PRODUCES)
})
