// SPDX-License-Identifier: Apache-2.0
// npm run test:kills -- --kills 300 [--seed N] [--resume] [--seconds N] [--dir DIR]
// Goal: kill -9 of a writing process loses nothing that append() returned, and what is left is always a correct prefix. A child
// writes to several logs with small segments and says what was acknowledged; it is killed 1 to 50 ms after it was told to start or after its
// engine was open; the directory is opened again and read whole. One time in three nobody looks before the next child opens it, so
// that a recovery is interrupted, and interrupts. --resume goes on where the last run with --resume stopped (10,000 kills in parts).
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random, readOptions } from './options.mjs'
import { Ledger } from './records.mjs'
import { checkDirectory, enterLines, WriterChild } from './writer-child.mjs'

const options = readOptions('kill-engine.mjs [--kills N] [--seed N] [--resume] [--seconds N] [--dir DIR]', {
  kills: 300,
  seed: Date.now() % 2 ** 31,
  resume: false,
  seconds: 600,
  dir: tmpdir(),
})
const LOGS = 4
const DIRECTORY_CYCLES = 20
const CHILDREN_AHEAD = 2
const STATE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'varve', 'kill-engine.json')

// Whoever resumes goes on with the seed and the count of the run before.
let state = { seed: options.seed, done: 0, passed: 0, failed: 0 }
if (options.resume && existsSync(STATE)) state = JSON.parse(readFileSync(STATE, 'utf8'))
const save = () => {
  if (!options.resume) return
  mkdirSync(dirname(STATE), { recursive: true })
  writeFileSync(STATE, JSON.stringify(state))
}

const base = mkdtempSync(join(options.dir, 'varve-kill-engine-'))
const ahead = Array.from({ length: CHILDREN_AHEAD }, () => new WriterChild())
const startedMs = Date.now()
const figures = { kills: 0, openings: 0, acks: 0, records: 0, duringOpen: 0 }
let ledger = new Ledger()
let dir = ''

/** One kill; throws what was wrong. */
async function kill(cycle) {
  const random = new Random(Math.imul(state.seed, 0x9e3779b1) ^ cycle)
  const inDirectory = cycle % DIRECTORY_CYCLES
  if (inDirectory === 0 || dir === '') {
    if (dir !== '') rmSync(dir, { recursive: true, force: true })
    dir = join(base, `data-${cycle}`)
    ledger = new Ledger()
  }
  const child = ahead.shift()
  ahead.push(new WriterChild())
  child.write({ dir, cycle, seed: random.below(2 ** 31), logs: LOGS })
  if (random.chance(0.8)) await child.opened()
  await sleep(1 + random.next() * 49)
  const { signal, failure, lines } = await child.kill()
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself (${signal}): ${failure}`)
  if (lines[0] !== 'o') figures.duringOpen++
  const acksBefore = ledger.acks
  enterLines(ledger, cycle, lines, 'ad')
  figures.acks += ledger.acks - acksBefore
  figures.kills++
  if (random.chance(1 / 3) && inDirectory !== DIRECTORY_CYCLES - 1) return
  figures.openings++
  figures.records += await checkDirectory(dir, LOGS, ledger)
}

const until = state.done + options.kills
try {
  while (state.done < until && Date.now() - startedMs < options.seconds * 1000) {
    const cycle = state.done++
    try {
      await kill(cycle)
      state.passed++
    } catch (error) {
      state.failed++
      process.stderr.write(`kill ${cycle} of seed ${state.seed}: ${error.stack}\nkept: ${dir}\n`)
      // The next one starts afresh; what failed stays to be looked at.
      dir = ''
    }
    if (cycle % 100 === 99) save()
  }
} finally {
  for (const child of ahead) await child.kill()
  if (dir !== '') rmSync(dir, { recursive: true, force: true })
  if (state.failed === 0) rmSync(base, { recursive: true, force: true })
  save()
}
const seconds = (Date.now() - startedMs) / 1000
process.stdout.write(
  `${figures.kills} kills in ${seconds.toFixed(1)} s (${(figures.kills / seconds).toFixed(1)} a second), ${figures.duringOpen} while opening, ` +
    `${figures.openings} openings checked, ${figures.acks} acknowledged records, ${figures.records} read back, seed ${state.seed}\n`,
)
process.stdout.write(`${state.passed} passed, ${state.failed} failed\n`)
process.exitCode = state.failed === 0 ? 0 : 1
