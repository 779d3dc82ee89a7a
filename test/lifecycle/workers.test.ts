// SPDX-License-Identifier: Apache-2.0
// Goal: a thread with an engine may end in any way without harm to the process, to other threads or to its records. Method: see
// fixtures/workers.mjs; each scenario 50 times in one child process.
import { describe, expect, it } from 'vitest'
import { newDirectory, runFixture } from './child.ts'

async function runScenario(scenario: string, ...args: string[]): Promise<void> {
  const child = await runFixture('workers', [scenario, ...args])
  expect({ code: child.code, signal: child.signal, last: child.reports.at(-1) }, child.stderr).toEqual({
    code: 0,
    signal: null,
    last: 'done',
  })
}

describe('an engine in a worker', () => {
  it('gives its directory and all records to the next one when the worker is terminated at any moment', async (test) => {
    await runScenario('terminate', newDirectory(test))
  })

  it('runs beside those of another worker and of the main thread', async () => {
    await runScenario('together')
  })

  it('leaves no thread and no window when the only threads that loaded the addon are gone', async () => {
    await runScenario('workerOnly')
  })
})
