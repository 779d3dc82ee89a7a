// SPDX-License-Identifier: Apache-2.0
// Goal: what was opened and closed again leaves nothing: no memory, descriptor, mapping, thread or window. Method: a child process counts
// what it holds after a few rounds and again after many (see fixtures/leaks.mjs).
import { describe, expect, it } from 'vitest'
import { newDirectory, runFixture } from './child.ts'

interface Held {
  readonly residentMiB: number
  readonly descriptors: number
  readonly maps: number
  readonly threads: number
  readonly windows: number
}

async function runScenario(scenario: string, dir: string): Promise<unknown[]> {
  const child = await runFixture('leaks', [scenario, dir], ['--expose-gc'])
  expect({ code: child.code, signal: child.signal, last: child.reports.at(-1) }, child.stderr).toEqual({
    code: 0,
    signal: null,
    last: 'done',
  })
  const { before, after } = child.reports[0] as { before: Held; after: Held }
  const text = JSON.stringify({ before, after })
  expect(after.residentMiB, text).toBeLessThanOrEqual(before.residentMiB * 1.1)
  expect(after.descriptors, text).toBeLessThanOrEqual(before.descriptors * 1.1)
  expect(after.maps, text).toBeLessThanOrEqual(before.maps * 1.1)
  expect(after.threads, text).toBeLessThanOrEqual(before.threads)
  expect(after.windows, text).toBeLessThanOrEqual(before.windows)
  return [...child.reports]
}

describe('nothing is left behind', () => {
  it('by 200 engines that were opened, read and closed', async (test) => {
    const [held] = (await runScenario('engines', newDirectory(test))) as [{ after: Held }]
    expect(held.after.windows).toBe(0)
  })

  it('by 2,000 appends and reads over 500 segments that were rolled and deleted', async (test) => {
    const [, log] = await runScenario('segments', newDirectory(test))
    expect(log).toMatchObject({ rolled: 500, appended: 2000 })
    expect((log as { segments: number }).segments).toBeLessThan(5)
    expect((log as { files: number }).files).toBeLessThan(30)
  })

  it('by 100 brokers that were started and stopped in one process', async (test) => {
    await runScenario('brokers', newDirectory(test))
  })
})
