// SPDX-License-Identifier: Apache-2.0
// The child that is killed: opens an engine and writes until then. Waits for one line on stdin, { dir, cycle, seed, logs }, so that it
// can be started ahead of time. Says on stdout, a line each, written before anything else happens:
//   o                       the engine is open
//   a LOG OFFSET COUNT      append() returned: in the page cache
//   d LOG OFFSET COUNT      appendDurable() resolved: on stable storage
//   s LOG OFFSET            deleteBefore(OFFSET) is about to be called
//   e MESSAGE               something failed
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { openEngine } from '../../dist/storage/index.js'
import { Random } from './options.mjs'
import { recordValue, someSize } from './records.mjs'

const RECORDS_MAX = 6
const DURABLE_MAX = 24
const TOPIC = 'written'

const say = (line) => writeSync(1, `${line}\n`)

createInterface({ input: process.stdin }).once('line', async (line) => {
  try {
    await write(JSON.parse(line))
  } catch (error) {
    say(`e ${error.code ?? ''} ${error.message}`)
    process.exit(1)
  }
})

async function write({ dir, cycle, seed, logs }) {
  const random = new Random(seed)
  const engine = await openEngine({
    dir,
    appendIo: random.chance(0.25) ? 'pwrite' : random.chance(0.5) ? 'mmap' : 'auto',
    flush: random.chance(0.8) ? 'commit' : 'os',
    flushMaxDelayMs: 1 + random.below(20),
    log: { segmentBytes: 1 << (14 + random.below(5)), indexIntervalBytes: 512, fileDeleteDelayMs: random.below(10) },
  })
  const opened = Array.from({ length: logs }, (_, i) => engine.log(TOPIC, i))
  say('o')
  let durable = 0
  let failed
  for (;;) {
    const number = random.below(logs)
    const log = opened[number]
    const kind = random.next()
    if (kind < 0.93) {
      const next = log.endOffset
      const records = []
      let left = 14_000
      for (let i = 0, count = 1 + random.below(RECORDS_MAX); i < count; i++) {
        const size = Math.min(someSize(random), left)
        left -= size
        records.push({ value: recordValue(cycle, number, next + i, size) })
        if (left < 1000) break
      }
      if (kind < 0.55) {
        const { baseOffset } = log.append(records)
        say(`a ${number} ${baseOffset} ${records.length}`)
      } else {
        durable++
        log.appendDurable(records).then(
          ({ baseOffset }) => {
            durable--
            say(`d ${number} ${baseOffset} ${records.length}`)
          },
          (error) => {
            failed = error
          },
        )
      }
    } else if (kind < 0.96) {
      log.roll()
    } else if (kind < 0.98) {
      engine.maintain()
    } else if (kind < 0.985 && log.endOffset > 100) {
      const offset = log.startOffset + random.below((log.endOffset - log.startOffset) / 4)
      say(`s ${number} ${offset}`)
      log.deleteBefore(offset)
    } else {
      await log.flush()
    }
    do await new Promise((resolve) => setImmediate(resolve))
    while (durable >= DURABLE_MAX && failed === undefined)
    if (failed !== undefined) throw failed
  }
}
