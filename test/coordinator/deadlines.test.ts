// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Deadline, Deadlines } from '../../src/coordinator/deadlines.ts'
import { virtualSeams } from '../util/virtual-seams.ts'

function setUp() {
  const seams = virtualSeams()
  return { seams, deadlines: new Deadlines(seams.clock, seams.timers) }
}

describe('deadlines', () => {
  it('fire in order of time, each once, and leave no timer behind', async () => {
    const { seams, deadlines } = setUp()
    const fired: string[] = []
    for (const [name, delayMs] of Object.entries({ c: 30, a: 10, b: 20 })) {
      deadlines.arm(new Deadline(() => fired.push(name)), delayMs)
    }
    await seams.timers.advance(25)
    expect(fired).toEqual(['a', 'b'])
    await seams.timers.advance(1000)
    expect(fired).toEqual(['a', 'b', 'c'])
    expect([deadlines.size, seams.timers.pendingCount]).toEqual([0, 0])
  })

  it('can be put off, brought forward and cancelled', async () => {
    const { seams, deadlines } = setUp()
    const fired: [string, number][] = []
    const make = (name: string) => new Deadline(() => fired.push([name, seams.clock.nowMs]))
    const [off, forward, cancelled] = [make('off'), make('forward'), make('cancelled')]
    deadlines.arm(off, 10)
    deadlines.arm(forward, 100)
    deadlines.arm(cancelled, 5)
    deadlines.arm(off, 50)
    deadlines.arm(forward, 20)
    deadlines.cancel(cancelled)
    deadlines.cancel(cancelled)
    await seams.timers.advance(200)
    expect(fired).toEqual([
      ['forward', 20],
      ['off', 50],
    ])
  })

  it('use one timer, however many they are and however often they are put off', () => {
    const { seams, deadlines } = setUp()
    const all = Array.from({ length: 10_000 }, () => new Deadline(() => {}))
    for (let round = 0; round < 3; round++) for (const deadline of all) deadlines.arm(deadline, 1000 + round)
    expect([deadlines.size, seams.timers.pendingCount]).toEqual([10_000, 1])
    for (const deadline of all) deadlines.cancel(deadline)
    expect([deadlines.size, seams.timers.pendingCount]).toEqual([0, 0])
  })

  it('that arm themselves again at once let everything else have its turn', async () => {
    const { seams, deadlines } = setUp()
    let count = 0
    const again: Deadline = new Deadline(() => {
      count++
      deadlines.arm(again, 0)
    })
    deadlines.arm(again, 0)
    await seams.timers.advance(10)
    expect(count).toBe(10)
  })

  it('go on after one of them has thrown', async () => {
    const { seams, deadlines } = setUp()
    let fired = false
    deadlines.arm(
      new Deadline(() => {
        throw new Error('planted')
      }),
      1,
    )
    deadlines.arm(new Deadline(() => (fired = true)), 2)
    await expect(seams.timers.advance(1)).rejects.toThrow('planted')
    await seams.timers.advance(1)
    expect(fired).toBe(true)
  })

  it('behave like a list of times, whatever is done to them', async () => {
    const step = fc.record({
      what: fc.constantFrom('arm', 'arm', 'cancel', 'advance'),
      which: fc.nat(15),
      ms: fc.integer({ min: 1, max: 50 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const { seams, deadlines } = setUp()
        const fired: string[] = []
        const expected: string[] = []
        const due = new Map<number, number>()
        const all = Array.from({ length: 16 }, (_, i) => new Deadline(() => fired.push(`${seams.clock.nowMs}:${i}`)))
        for (const { what, which, ms } of steps) {
          if (what === 'arm') {
            deadlines.arm(all[which]!, ms)
            due.set(which, seams.clock.nowMs + ms)
          } else if (what === 'cancel') {
            deadlines.cancel(all[which]!)
            due.delete(which)
          } else {
            const endMs = seams.clock.nowMs + ms
            for (const [i, atMs] of due) if (atMs <= endMs) expected.push(`${atMs}:${i}`)
            for (const [i, atMs] of due) if (atMs <= endMs) due.delete(i)
            await seams.timers.advance(ms)
          }
          expect(deadlines.size).toBe(due.size)
        }
        expect(fired.toSorted()).toEqual(expected.toSorted())
        const times = fired.map((entry) => Number.parseInt(entry, 10))
        expect(times).toEqual(times.toSorted((a, b) => a - b))
      }),
      { numRuns: 60 },
    )
  })
})
