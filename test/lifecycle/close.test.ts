// SPDX-License-Identifier: Apache-2.0
// Goal: close() gives everything of its directory back, so that it can be unmounted at once. Method: engines with appends, views, rolls
// and deletions behind them, closed with their logs and views still held; then this process's descriptors and mappings are looked through.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { expect, it, onTestFinished } from 'vitest'
import { openEngine } from '../../src/storage/engine.ts'
import { newDirectory } from './child.ts'

/** What this process has open or mapped below `dir`. */
function heldOf(dir: string): string[] {
  const descriptors = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      return []
    }
  })
  const mappings = readFileSync('/proc/self/maps', 'utf8').split('\n')
  return [...descriptors, ...mappings].filter((text) => text.includes(dir))
}

it.each([
  { what: 'after appends that nobody waited for', flush: false, views: false, deletes: false },
  { what: 'after a flush, with views held', flush: true, views: true, deletes: false },
  { what: 'after rolls and deleted logs, with views held', flush: false, views: true, deletes: true },
])('holds no descriptor and no mapping after close: $what', async ({ flush, views, deletes }) => {
  const dir = newDirectory({ onTestFinished })
  const held: unknown[] = []
  for (let round = 0; round < 8; round++) {
    const engine = await openEngine({ dir })
    for (let index = 0; index < 6; index++) {
      const log = engine.log(`topic-${index}`, 0, { segmentBytes: deletes ? 1 << 20 : 1 << 30 })
      held.push(log)
      // Fast enough to make the helper populate pages ahead, at lengths that end within a page.
      for (let i = 0; i < 40; i++) log.append([{ value: Buffer.alloc(30_001 + i, i) }])
      if (flush) await log.flush()
      if (views) for (const record of log.read(log.startOffset, { maxBytes: 1 << 20 })) held.push(record.value)
      if (deletes && index % 2 === 0) engine.deleteLog(`topic-${index}`, 0)
    }
    await engine.close()
    expect(heldOf(dir)).toEqual([])
  }
  expect(held.length).toBeGreaterThan(0)
})
