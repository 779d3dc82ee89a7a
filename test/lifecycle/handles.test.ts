// SPDX-License-Identifier: Apache-2.0
// Goal: no call on a native handle, whatever its receiver, its arguments and the handle's state, does worse than throw a TypeError or
// StorageError. Method: matrices and random calls in child processes, straight on the binding (see fixtures/handles.mjs).
import { describe, expect, it } from 'vitest'
import { type Log, openEngine, StorageError } from '../../src/storage/index.ts'
import { type ChildResult, runFixture } from './child.ts'

async function runScenario(...args: string[]): Promise<ChildResult> {
  const child = await runFixture('handles', args)
  expect({ code: child.code, signal: child.signal, stderr: child.stderr }).toEqual({
    code: 0,
    signal: null,
    stderr: '',
  })
  expect(child.reports).toContain('done')
  return child
}

describe('a native handle', () => {
  it('has the methods that the scenarios know, and each works', async () => {
    await runScenario('complete')
  })

  it('refuses every receiver but its own kind with a TypeError', async () => {
    await runScenario('receivers')
  })

  it('cannot be constructed from JavaScript', async () => {
    await runScenario('constructors')
  })

  it('answers CLOSED to every method once it, its plane or its engine is closed', async () => {
    await runScenario('closed')
  })

  it('lets the process end when it was closed while appends and flushes were waiting', async () => {
    const child = await runScenario('pending')
    expect(child.reports).toContainEqual({ answers: expect.any(Number) })
  })

  it('survives every bad value in every argument, closing getters included', async () => {
    const child = await runScenario('arguments')
    expect(child.reports[0]).toMatchObject({ TypeError: expect.any(Number), INVALID: expect.any(Number) })
  })

  it.each([1, 2, 3])('survives 20,000 random calls with seed %i', async (seed) => {
    await runScenario('random', String(seed))
  })
})

describe('the public classes', () => {
  const misuses: ReadonlyArray<readonly [string, (log: Log) => unknown]> = [
    ['an offset of NaN', (log) => [...log.read(Number.NaN)]],
    ['a negative offset', (log) => [...log.read(-1)]],
    ['an offset above 2^53', (log) => [...log.read(2 ** 53 + 2)]],
    ['a string for an offset', (log) => [...log.batches('0' as unknown as number)]],
    ['an infinite deleteBefore', (log) => log.deleteBefore(Number.POSITIVE_INFINITY)],
    ['a deleteBefore behind the end', (log) => log.deleteBefore(1000)],
    ['a timestamp of NaN', (log) => log.offsetForTimestamp(Number.NaN)],
    ['batches in a DataView', (log) => log.appendBatches(new DataView(new ArrayBuffer(100)) as unknown as Uint8Array)],
    ['batches in an ArrayBuffer', (log) => log.appendBatches(new ArrayBuffer(100) as unknown as Uint8Array)],
    ['batches in shared memory', (log) => log.appendBatches(new Uint8Array(new SharedArrayBuffer(100)))],
    ['batches of zeros', (log) => log.appendBatches(new Uint8Array(100))],
    ['no batches', (log) => log.appendBatches(undefined as unknown as Uint8Array)],
    ['no records', (log) => log.append(undefined as unknown as [])],
    ['a record of null', (log) => log.append([null as unknown as { value: string }])],
    ['a value that is a number', (log) => log.append([{ value: 7 as unknown as string }])],
    ['a method on another object', (log) => log.append.call({} as Log, [{ value: 'x' }])],
    ['settings of NaN', (log) => log.configure({ segmentBytes: Number.NaN })],
  ]
  it.each(misuses)('refuse %s and leave the log as it was', async (_what, misuse) => {
    await using engine = await openEngine({ memory: true })
    const log = engine.log('t')
    log.append([{ value: 'x' }])
    let error: unknown
    try {
      misuse(log)
    } catch (thrown) {
      error = thrown
    }
    expect(
      error instanceof TypeError || error instanceof RangeError || error instanceof StorageError,
      String(error),
    ).toBe(true)
    expect([...log.read(0)].map((record) => record.value!.toString())).toEqual(['x'])
  })
})
