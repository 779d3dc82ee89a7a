// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { encodeBatch } from '../../src/protocol/record-batch.ts'
import {
  type Engine,
  type EngineOptions,
  type LogOptions,
  openEngine,
  type RecordInput,
  StorageError,
} from '../../src/storage/index.ts'

const engines: Engine[] = []
const directories: string[] = []

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-storage-'))
  directories.push(directory)
  return directory
}

async function open(options: EngineOptions): Promise<Engine> {
  const engine = await openEngine(options)
  engines.push(engine)
  return engine
}

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.close()
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

const onBoth = [
  ['memory', (): EngineOptions => ({ memory: true })],
  ['a directory', (): EngineOptions => ({ dir: newDirectory() })],
] as const

describe.each(onBoth)('a log in %s', (_where, options) => {
  it('gives back keys, values, headers, timestamps and offsets as they were appended', async () => {
    const engine = await open(options())
    const log = engine.log('orders', 0)
    const timestamp = 1_700_000_000_123
    expect(log.append([{ key: 'k', value: 'v', headers: { a: 'x', b: null }, timestamp }])).toEqual({
      baseOffset: 0,
      lastOffset: 0,
    })
    log.append([
      { key: null, value: Buffer.from([0, 255]), timestamp: timestamp - 5 },
      { value: '' },
      {
        key: 'ключ',
        value: null,
        headers: [
          ['h', '1'],
          ['h', '2'],
        ],
        timestamp: timestamp + 2 ** 40,
      },
    ])
    const records = [...log.read(0)].map((record) => record.copy())
    expect(records.map(({ offset }) => offset)).toEqual([0, 1, 2, 3])
    expect(records[0]).toEqual({
      offset: 0,
      timestamp,
      key: Buffer.from('k'),
      value: Buffer.from('v'),
      headers: [
        ['a', Buffer.from('x')],
        ['b', null],
      ],
    })
    expect(records[1]).toMatchObject({ key: null, value: Buffer.from([0, 255]), timestamp: timestamp - 5, headers: [] })
    expect(records[2]).toMatchObject({ key: null, value: Buffer.alloc(0) })
    expect(Math.abs(records[2]!.timestamp - Date.now())).toBeLessThan(60_000)
    expect(records[3]).toMatchObject({ key: Buffer.from('ключ'), value: null, timestamp: timestamp + 2 ** 40 })
    expect(records[3]!.headers).toEqual([
      ['h', Buffer.from('1')],
      ['h', Buffer.from('2')],
    ])
    expect([log.startOffset, log.endOffset]).toEqual([0, 4])
  })

  it('names every header, whatever it is called, the last of equal names', async () => {
    const engine = await open(options())
    const log = engine.log('orders')
    log.append([{ headers: ['__proto__', 'constructor', 'a', 'a'].map((name, i) => [name, String(i)] as const) }])
    const [record] = [...log.read(0)]
    expect(Object.entries(record!.headers).map(([name, value]) => [name, String(value)])).toEqual([
      ['__proto__', '0'],
      ['constructor', '1'],
      ['a', '3'],
    ])
  })

  it('reads from the middle of a batch, across segments, and ends at the end', async () => {
    const engine = await open({ ...options(), log: { segmentBytes: 16_384 } })
    const log = engine.log('t')
    for (let i = 0; i < 500; i++) log.append([0, 1, 2].map((j) => ({ value: `${i}.${j}`.padEnd(100, '.') })))
    expect(log.stats().segmentCount).toBeGreaterThan(5)
    expect(
      [...log.read(700)].map((record) => record.value!.toString().replaceAll('.', ' ').trim()).slice(0, 3),
    ).toEqual(['233 1', '233 2', '234 0'])
    expect([...log.read(0)].map(({ offset }) => offset)).toEqual(Array.from({ length: 1500 }, (_, i) => i))
    expect([...log.read(1500)]).toEqual([])
    expect([...log.batches(0, { maxBytes: 1 })].length).toBe(1)
  })

  it('refuses offsets outside the log with OUT_OF_RANGE', async () => {
    const log = (await open(options())).log('t')
    log.append([{ value: 'x' }])
    expect(() => [...log.read(2)]).toThrow(expect.objectContaining({ code: 'OUT_OF_RANGE' }))
    expect(() => [...log.read(-1)]).toThrow(RangeError)
    expect(() => [...log.read(0.5)]).toThrow(RangeError)
  })

  it('keeps what a user writes into a view out of the log', async () => {
    const log = (await open(options())).log('t')
    for (let i = 0; i < 200; i++) log.append([{ value: Buffer.alloc(1000, 97) }])
    for (const record of log.read(0)) record.value!.fill(98)
    log.append([{ value: Buffer.alloc(1000, 99) }])
    const engineSees = [...log.read(200)].map((record) => record.value!.toString('latin1'))
    expect(engineSees).toEqual(['c'.repeat(1000)])
    // Another segment generation of views: what was written lies in private pages of the old ones only.
    log.roll()
    log.append([{ value: 'z' }])
    expect([...log.read(201)][0]!.value!.toString()).toBe('z')
  })

  it('appends batches as they are and refuses broken ones whole', async () => {
    const log = (await open(options())).log('t')
    const record = (value: string) => ({ key: null, value: Buffer.from(value), timestampMs: 5 })
    const batch = encodeBatch({ records: [record('a'), record('b')] })
    expect(log.appendBatches(Buffer.concat([batch, batch]))).toEqual({ baseOffset: 0, lastOffset: 3 })
    const broken = Buffer.from(batch)
    broken[70]! ^= 1
    expect(() => log.appendBatches(broken)).toThrow(expect.objectContaining({ code: 'INVALID' }))
    expect(() => log.appendBatches(batch.subarray(0, 30))).toThrow(StorageError)
    expect(() => log.appendBatches(new Uint8Array(0))).toThrow(StorageError)
    expect([...log.read(0)].map((found) => found.value!.toString())).toEqual(['a', 'b', 'a', 'b'])
  })

  it('finds the first record at or after a time', async () => {
    const log = (await open(options())).log('t')
    for (const timestamp of [1000, 1010, 1005, 1020]) log.append([{ value: 'x', timestamp }])
    expect([0, 1000, 1001, 1006, 1020, 1021].map((ms) => log.offsetForTimestamp(ms))).toEqual([0, 0, 1, 1, 3, -1])
  })

  it('lets followers see what is there and what comes, until they are told to stop', async () => {
    const log = (await open(options())).log('t')
    log.append([{ value: '0' }])
    const stop = new AbortController()
    const seen: string[] = []
    const following = (async () => {
      for await (const batch of log.follow({ from: 0, signal: stop.signal }))
        for (const record of batch) {
          seen.push(record.value!.toString())
          if (seen.length === 4) stop.abort()
        }
    })()
    await new Promise((resolve) => setTimeout(resolve, 5))
    log.append([{ value: '1' }, { value: '2' }])
    await new Promise((resolve) => setTimeout(resolve, 5))
    log.append([{ value: '3' }])
    await following
    expect(seen).toEqual(['0', '1', '2', '3'])
  })

  it('forgets records below an offset', async () => {
    const log = (await open({ ...options(), log: { segmentBytes: 4096 } })).log('t')
    for (let i = 0; i < 100; i++) log.append([{ value: Buffer.alloc(500) }])
    log.deleteBefore(50)
    expect(log.startOffset).toBe(50)
    expect(() => [...log.read(49)]).toThrow(expect.objectContaining({ code: 'OUT_OF_RANGE' }))
    expect([...log.read(50)].length).toBe(50)
  })

  it('answers every call with CLOSED after close, and empties views', async () => {
    const engine = await open(options())
    const log = engine.log('t')
    for (let i = 0; i < 200; i++) log.append([{ value: Buffer.alloc(1000, 97) }])
    const views = [...log.read(0)].map((record) => record.value!)
    const copy = [...log.read(0)][0]!.copy()
    const follower = log.follow()
    const next = follower.next()
    await engine.close()
    await engine.close()
    expect((await next).done).toBe(true)
    expect(views[0]!.length).toBe(0)
    expect(copy.value!.length).toBe(1000)
    const closed = expect.objectContaining({ code: 'CLOSED' })
    expect(() => log.append([{ value: 'x' }])).toThrow(closed)
    expect(() => [...log.read(0)]).toThrow(closed)
    expect(() => log.endOffset).toThrow(closed)
    expect(() => log.flush()).toThrow(closed)
    expect(() => log.stats()).toThrow(closed)
    expect(() => engine.log('u')).toThrow(closed)
    expect(() => engine.logs()).toThrow(closed)
  })
})

describe('an engine', () => {
  it('has the same log after close and reopen', async () => {
    const dir = newDirectory()
    const first = await open({ dir })
    const log = first.log('t', 3)
    await log.appendDurable([{ key: 'a', value: '1' }])
    expect(log.durableEndOffset).toBe(1)
    log.append([{ value: '2' }])
    await first.close()
    const second = await open({ dir })
    expect(second.logs()).toEqual([{ topic: 't', partition: 3 }])
    expect(second.directories()[0]).toMatchObject({ online: true, cleanStart: true })
    expect([...second.log('t', 3).read(0)].map((record) => record.value!.toString())).toEqual(['1', '2'])
    expect(second.log('t', 3).append([{ value: '3' }])).toEqual({ baseOffset: 2, lastOffset: 2 })
  })

  it('refuses a directory that another engine has, and names its process', async () => {
    const dir = newDirectory()
    await open({ dir })
    await expect(openEngine({ dir })).rejects.toMatchObject({
      code: 'LOCKED',
      message: expect.stringContaining(String(process.pid)),
    })
  })

  it('refuses bad options before it touches the disk', async () => {
    await expect(openEngine({})).rejects.toThrow(TypeError)
    await expect(openEngine({ dir: 'x', memory: true })).rejects.toThrow(TypeError)
    await expect(openEngine({ memory: true, flush: 'never' as 'os' })).rejects.toThrow(/flush/)
    await expect(openEngine({ memory: true, log: { segmentBytes: 1 } })).rejects.toThrow(/segmentBytes.*got 1/)
    await expect(openEngine(undefined as unknown as EngineOptions)).rejects.toThrow(/either dir or memory/)
    await expect(openEngine({ dir: '' })).rejects.toThrow(/dir must not be empty/)
    await expect(openEngine({ memory: true, flsh: 'os' } as EngineOptions)).rejects.toThrow(
      /no option flsh; it has dir/,
    )
    const engine = await open({ memory: true })
    expect(() => engine.log('t', 0, { retentionMS: 1 } as LogOptions)).toThrow(/no option retentionMS/)
    for (const name of ['', '.', '..', 'a/b', '../x', 'x'.repeat(250), 'a\0b'])
      expect(() => engine.log(name)).toThrow(RangeError)
    expect(() => engine.log('t', -1)).toThrow(RangeError)
    expect(() => engine.log('t').append([])).toThrow(RangeError)
    for (const records of ['abc', { value: 'x' }, undefined, null])
      expect(() => engine.log('t').append(records as unknown as RecordInput[])).toThrow(/append takes an array/)
    for (const record of [null, undefined, 'x', 5])
      expect(() => engine.log('t').append([record] as unknown as RecordInput[])).toThrow(
        /records\[0\] must be an object/,
      )
    expect(() => engine.log('t').append([{ headers: 'a: b' as unknown as Record<string, string> }])).toThrow(
      /headers must/,
    )
    for (const maxBytes of [0, -1, 1.5, Number.NaN])
      expect(() => [...engine.log('t').read(0, { maxBytes })]).toThrow(/maxBytes must be an integer/)
    expect(() => engine.log('t').append([{ value: 5 as unknown as string }])).toThrow(/records\[0\]\.value/)
    expect(() => engine.log('t').append([{ value: 'x', timestamp: Number.NaN }])).toThrow(/timestamp/)
    expect(engine.log('t').endOffset).toBe(0)
  })

  it('deletes a log, and a new one of its name begins empty', async () => {
    const engine = await open({ dir: newDirectory() })
    engine.log('t').append([{ value: 'x' }])
    engine.deleteLog('t')
    expect(engine.logs()).toEqual([])
    expect(engine.log('t').endOffset).toBe(0)
  })

  it('ends what follows a deleted log, and says CLOSED to who still writes to it', async () => {
    const engine = await open({ memory: true })
    const log = engine.log('t')
    const followed = (async () => {
      for await (const batch of log.follow()) throw new Error(`a batch at ${batch.baseOffset}`)
    })()
    await new Promise((resolve) => setImmediate(resolve))
    engine.deleteLog('t')
    await followed
    const deleted = expect.objectContaining({ code: 'CLOSED', message: expect.stringContaining('was deleted') })
    expect(() => log.append([{ value: 'x' }])).toThrow(deleted)
  })

  it('hands out no log after close, not even one that it had', async () => {
    const engine = await open({ memory: true })
    engine.log('t')
    await engine.close()
    expect(() => engine.log('t')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('applies retention by size when told to', async () => {
    const engine = await open({ dir: newDirectory(), log: { segmentBytes: 4096, retentionBytes: 8192 } })
    const log = engine.log('t')
    for (let i = 0; i < 100; i++) log.append([{ value: Buffer.alloc(1000) }])
    await log.flush()
    engine.maintain()
    for (let i = 0; i < 200 && log.startOffset === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(log.startOffset).toBeGreaterThan(80)
    expect([...log.read(log.startOffset)].length).toBe(100 - log.startOffset)
  })
})
