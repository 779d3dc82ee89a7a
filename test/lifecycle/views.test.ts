// SPDX-License-Identifier: Apache-2.0
// Goal: no use of a view can harm the log, another reader or the process. Method: scenarios in child processes (see fixtures/views.mjs),
// over files and in memory; a fault ends the child by a signal, a broken promise by an exception.
import { describe, expect, it, type TestContext } from 'vitest'
import { type ChildResult, newDirectory, runFixture } from './child.ts'

async function runScenario(test: TestContext, scenario: string, where: string): Promise<ChildResult> {
  const child = await runFixture('views', [scenario, where === 'memory' ? where : newDirectory(test)], ['--expose-gc'])
  expect({ code: child.code, signal: child.signal, last: child.reports.at(-1) }, child.stderr).toEqual({
    code: 0,
    signal: null,
    last: 'done',
  })
  return child
}

describe.each(['a directory', 'memory'])('a view of a log in %s', (where) => {
  it('can be overwritten with all of its window, and neither the log nor later records change', async (test) => {
    await runScenario(test, 'write', where)
  })

  it('is copied by structuredClone, postMessage and workerData, and stays as it was', async (test) => {
    const child = await runScenario(test, 'message', where)
    const ways = Object.fromEntries(
      (child.reports as Array<{ way?: string; result?: string }>).flatMap(({ way, result }) =>
        way ? [[way, result]] : [],
      ),
    )
    // Without a transfer list: always a copy. With one it is Node that decides: versions up to 20 copy, later ones refuse.
    // Either way the window is not taken from its engine.
    const refusable = expect.stringMatching(/^(copied|DataCloneError|TypeError)$/)
    expect(ways).toEqual({
      clone: 'copied',
      cloneBuffer: 'copied',
      message: 'copied',
      workerData: 'copied',
      cloneTransfer: refusable,
      messageTransfer: refusable,
      workerDataTransfer: refusable,
      ...('transfer' in ArrayBuffer.prototype ? { transfer: refusable } : {}),
    })
  })

  it('stays readable after retention and deleteLog took its segment', async (test) => {
    await runScenario(test, 'retention', where)
  })

  it('is empty after close, as is all that was read with it', async (test) => {
    await runScenario(test, 'close', where)
  })

  it('lets its mapping go when it is dropped, and no mapping is left after close', async (test) => {
    await runScenario(test, 'gc', where)
  })

  it('has a buffer of which every byte can be read, whatever becomes of the file', async (test) => {
    await runScenario(test, 'touch', where)
  })
})
