// SPDX-License-Identifier: Apache-2.0
// Goal: however a program ends, it ends by an exit code and its directory opens with all data. Method: lists of steps, each in a
// child process; afterwards the directory is opened here and every record looked at.
import { describe, expect, it } from 'vitest'
import { openEngine } from '../../src/storage/index.ts'
import { newDirectory, runFixture } from './child.ts'
import { valueAt } from './fixtures/report.mjs'

interface StepReport {
  readonly step: string
  /** 'any': retention was under way. Null: no log. */
  readonly start: number | 'any' | null
  readonly end: number | null
}

/** Opens what a child left and compares it with what its last report says. */
async function expectWhole(dir: string, last: StepReport): Promise<void> {
  const engine = await openEngine({ dir })
  try {
    expect(engine.problems()).toEqual([])
    // The cleanup hook does what close() does, so nothing had to be recovered.
    expect(engine.directories()).toMatchObject([{ online: true, cleanStart: true, recoveredBytes: 0 }])
    if (last.end === null) {
      expect(engine.logs()).toEqual([])
      return
    }
    const log = engine.log('t')
    expect(log.endOffset).toBe(last.end)
    if (last.start !== 'any') expect(log.startOffset).toBe(last.start)
    let next = log.startOffset
    for (const record of log.read(log.startOffset)) {
      expect(record.offset).toBe(next)
      if (record.value!.toString() !== valueAt(next)) expect.unreachable(`record ${next} is another`)
      next++
    }
    expect(next).toBe(last.end)
  } finally {
    await engine.close()
  }
}

const BEFORE = [
  'open',
  'open,append',
  'open,append,read,touch',
  'open,append,flush',
  'open,append,follow,append',
  'open,append,read,roll,append,read,touch',
  'open,append,read,follow,delete,touch,use',
  'open,append,read,retention,touch,append',
  'open,append,read,retaining',
  'open,burst,flush,follow,read',
  'open,append,read,flush,closing,touch',
  'open,append,flush,closing,turn',
  'open,append,read,close,touch,use',
  'open,append,close,close,opening',
  'open,append,close,open,append,read,flush',
]
const ENDINGS = [
  ['returns', '', 0],
  ['calls process.exit', ',exit', 7],
  ['throws', ',throw', 1],
  ['leaves a rejection', ',reject', 1],
] as const

describe.each(ENDINGS)('a process that %s', (_how, ending, code) => {
  it.concurrent.for(BEFORE)('after %s leaves every record and a clean directory', async (before, test) => {
    const dir = newDirectory(test)
    const steps = `${before}${ending}`
    const child = await runFixture('steps', [dir, steps])
    const reports = child.reports as StepReport[]
    expect(
      { code: child.code, signal: child.signal, steps: reports.map(({ step }) => step).join(',') },
      child.stderr,
    ).toEqual({ code, signal: null, steps })
    await expectWhole(dir, reports.at(-1)!)
  })
})

describe('a worker that is terminated', () => {
  it.concurrent.for([...BEFORE, 'opening', 'open,append,close,opening'])(
    'after %s leaves the process alone, every record and a clean directory',
    async (before, test) => {
      const dir = newDirectory(test)
      const child = await runFixture('steps', [dir, `worker,${before},terminate`])
      expect({ code: child.code, signal: child.signal }, child.stderr).toEqual({ code: 0, signal: null })
      expect(child.reports.at(-1)).toEqual({ worker: 'gone' })
      await expectWhole(dir, child.reports.at(-2) as StepReport)
    },
  )
})
