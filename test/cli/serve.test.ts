// SPDX-License-Identifier: Apache-2.0
// Goal: `varve serve` says what is wrong and what to do, and stops cleanly whenever it is told to. Method: the built command as a child.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Fetch, Metadata, Produce } from '../../src/protocol/apis/index.ts'
import { encodeBatch } from '../../src/protocol/record-batch.ts'
import { WireClient } from '../util/wire-client.ts'

const MAIN = join(resolve(import.meta.dirname, '../..'), 'dist/cli/main.js')

class Serve {
  readonly child: ChildProcess
  readonly ended: Promise<{ code: number | null; signal: string | null }>
  out = ''
  err = ''

  constructor(...args: string[]) {
    const child = spawn(process.execPath, [MAIN, 'serve', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.on('data', (chunk) => {
      this.out += chunk
    })
    child.stderr.on('data', (chunk) => {
      this.err += chunk
    })
    this.ended = once(child, 'close').then(([code, signal]) => ({ code, signal }))
    this.child = child
    onTestFinished(() => void child.kill('SIGKILL'))
  }

  async port(): Promise<number> {
    await vi.waitFor(() => expect(this.out).toMatch(/ready 127\.0\.0\.1:\d+ /), 20_000)
    return Number(/ready 127\.0\.0\.1:(\d+) /.exec(this.out)![1])
  }
}

function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'varve-serve-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A client that asks for megabytes and does not read them: its answer holds up a stop. */
async function deafClient(port: number): Promise<Socket> {
  const client = await WireClient.connect(`127.0.0.1:${port}`)
  await client.request(Metadata, 4, { topics: [{ name: 'one' }], allowAutoTopicCreation: true })
  const records = encodeBatch({ records: [{ key: null, value: Buffer.alloc(900_000), timestampMs: 1_000 }] })
  const topicData = [{ name: 'one', partitionData: [{ index: 0, records }] }]
  for (let i = 0; i < 8; i++) await client.request(Produce, 9, { acks: -1, timeoutMs: 5000, topicData })
  await client.close()
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.pause()
  socket.on('error', () => {})
  const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 26 }]
  const topics = [{ topic: 'one', partitions }]
  // The kernel's buffers take about the first.
  const fetch = Fetch.encodeRequest(12, 1, 'deaf', { maxWaitMs: 0, minBytes: 1, maxBytes: 1 << 26, topics })
  socket.write(Buffer.concat([fetch, fetch, fetch, fetch]))
  return socket
}

it('goes on stopping cleanly when it is told to stop again', async () => {
  const dir = temporaryDirectory()
  const serve = new Serve('--data', dir, '--listen', '127.0.0.1:0')
  const socket = await deafClient(await serve.port())
  await new Promise((resolve) => setTimeout(resolve, 300))
  serve.child.kill('SIGTERM')
  await vi.waitFor(() => expect(serve.err).toContain('"stopping"'), { timeout: 5000, interval: 1 })
  serve.child.kill('SIGTERM')
  serve.child.kill('SIGINT')
  expect(await serve.ended).toEqual({ code: 0, signal: null })
  expect(serve.err).toContain('stopping already')
  expect(existsSync(join(dir, '.kafka_cleanshutdown'))).toBe(true)
  socket.destroy()
})

it('stops cleanly when it is told to while it starts', async () => {
  const dir = temporaryDirectory()
  const serve = new Serve('--data', dir, '--listen', '127.0.0.1:0')
  await vi.waitFor(() => expect(existsSync(join(dir, '.lock'))).toBe(true), { timeout: 20_000, interval: 1 })
  serve.child.kill('SIGTERM')
  expect(await serve.ended).toEqual({ code: 0, signal: null })
  expect(existsSync(join(dir, '.kafka_cleanshutdown'))).toBe(true)
})

it.each([
  [
    'another process has the directory',
    1,
    /^varve: \S+ is locked by process \d+: stop it, or use another directory\n$/,
  ],
  ['the directory is a file', 1, /^varve: .*Not a directory \(log directories are chosen with --data\)\n$/],
  ['--memory is given a directory', 2, /^varve serve: --memory keeps nothing in directories: leave out --data\n$/],
] as const)('says what to do when %s', async (what, code, text) => {
  const dir = temporaryDirectory()
  const file = join(dir, 'file')
  writeFileSync(file, '')
  if (what.startsWith('another')) await new Serve('--data', dir, '--listen', '127.0.0.1:0').port()
  const serve = new Serve(
    ...(what.startsWith('--memory') ? ['--memory'] : []),
    ...['--data', what.endsWith('file') ? file : dir, '--listen', '127.0.0.1:0'],
  )
  expect(await serve.ended).toEqual({ code, signal: null })
  expect(serve.err).toMatch(text)
})

it('shows no empty defaults in its help', async () => {
  const serve = new Serve('--help')
  await serve.ended
  expect(serve.out).not.toContain('default: []')
})

it('listens on a unix socket whose name a killed process left, and on nothing that is something else', async () => {
  const dir = temporaryDirectory()
  const socket = join(dir, 'socket')
  const killed = new Serve('--memory', '--listen', `unix:${socket}`)
  await vi.waitFor(() => expect(killed.out).toContain('ready unix:'), 20_000)
  const second = new Serve('--memory', '--listen', `unix:${socket}`)
  expect(await second.ended).toMatchObject({ code: 1 })
  expect(second.err).toContain('is in use by another process')
  killed.child.kill('SIGKILL')
  await killed.ended
  expect(existsSync(socket)).toBe(true)
  const next = new Serve('--memory', '--listen', `unix:${socket}`)
  await vi.waitFor(() => expect(next.out).toContain('ready unix:'), 20_000)

  const file = join(dir, 'file')
  writeFileSync(file, 'precious')
  const refused = new Serve('--memory', '--listen', `unix:${file}`)
  expect(await refused.ended).toMatchObject({ code: 1 })
  expect(refused.err).toContain('is no socket but a file: choose another path with --listen')
  expect(existsSync(file)).toBe(true)
})
