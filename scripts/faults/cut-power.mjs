// SPDX-License-Identifier: Apache-2.0
// npm run test:power -- --cuts 200 [--seed N] [--seconds N]; needs root, mkfs.ext4, python3.
// Goal: a power cut loses nothing that appendDurable() or acks=all has acknowledged, leaves a correct prefix of each log, and the next
// start needs no help. Method: ext4 in a file; a child writes (three times of four an engine, else a broker with producers); some dirty
// pages are written back; the file system is shut down at a random moment (EXT4_IOC_SHUTDOWN: dirty pages, also those of mappings, never
// reach the disk), the child killed, the file system mounted again, everything read. Bounded by --seconds; every cut follows from the seed but for
// the scheduler's part.
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrokerChild, checkBroker, ensureTopic, Producers } from './broker-child.mjs'
import { LoopFileSystem, ShutdownFlag } from './loop-file-system.mjs'
import { Random, readOptions } from './options.mjs'
import { Ledger } from './records.mjs'
import { checkElsewhere, enterLines, WriterChild } from './writer-child.mjs'

const options = readOptions('cut-power.mjs [--cuts N] [--seed N] [--seconds N] [--believe-appends]', {
  cuts: 200,
  seed: Date.now() % 2 ** 31,
  seconds: 900,
  'believe-appends': false,
})
const MEBIBYTES = 256
/** With --believe-appends what append() returned counts as durable: a lie that this loop has to find. */
const DURABLE_KINDS = options['believe-appends'] ? 'ad' : 'd'
const LOGS = 4
const PARTITIONS = 3
const RUN_MS_MAX = 150
/** What nobody had synced may be missing in the middle: then what is behind it goes too, and the engine says so. */
const UNSYNCED_LOST = /does not continue the log at \d+; dropped$/
/** Cuts until the data of an engine or broker is thrown away: more would not fit. */
const DIRECTORY_CUTS = 15

const figures = { cuts: 0, acks: 0, brokerAcks: 0, records: 0, afterLogFlush: 0, brokerCuts: 0 }
let passed = 0
let failed = 0

/** A directory that survives cuts, and what it owes. */
class Subject {
  cuts = 0
  ledger = new Ledger()
  #root

  constructor(root) {
    this.#root = root
    mkdirSync(root, { recursive: true })
  }
  get dir() {
    return join(this.#root, 'data')
  }
  renew() {
    rmSync(this.dir, { recursive: true, force: true })
    this.ledger = new Ledger()
    this.cuts = 0
  }
}

function filesUnder(dir) {
  try {
    return readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  } catch {
    return []
  }
}

/** Some pages of some files reach the disk before the others. */
async function writeBackSome(disk, dir, random) {
  const files = filesUnder(dir)
  for (let left = random.below(6); left > 0 && files.length > 0; left--) {
    const path = files[random.below(files.length)]
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    if (size === 0) continue
    const position = random.below(size) & ~4095
    await disk.writeBack(path, position, (1 + random.below(8)) * 4096)
  }
}

async function cut(disk, dir, random, before) {
  if (random.chance(0.7)) await writeBackSome(disk, dir, random)
  const logFlush = random.chance(0.2)
  if (logFlush) figures.afterLogFlush++
  // A process sees no power cut, but it sees this one: a sync that runs into the shutdown may return 0 (ext4 tells nobody that the extents of
  // what it wrote were not entered). So only what was acknowledged before it counts.
  before()
  await disk.cutPower(logFlush ? ShutdownFlag.logFlush : ShutdownFlag.noLogFlush)
}

function remount(disk) {
  disk.unmount()
  disk.mount()
}

async function cutEngine(disk, subject, cycle, random, children) {
  const child = children.shift()
  children.push(new WriterChild())
  child.write({ dir: subject.dir, cycle, seed: random.below(2 ** 31), logs: LOGS })
  // One time in eight the cut may come while it still recovers.
  if (random.chance(7 / 8)) await child.opened()
  await sleep(random.next() * RUN_MS_MAX)
  await cut(disk, subject.dir, random, () => enterLines(subject.ledger, cycle, child.said(), DURABLE_KINDS))
  const { signal, failure, lines } = await child.kill()
  enterLines(subject.ledger, cycle, lines, '')
  remount(disk)
  // It may have met the dead disk: an error, or a page that could not be had (SIGBUS).
  const endedByCut = signal === 'SIGKILL' || signal === 'SIGBUS' || /\b(IO|EIO|Input\/output)\b/.test(failure)
  if (!endedByCut) throw new Error(`the child ended by itself (${signal}): ${failure}`)
  figures.records += await checkElsewhere(subject.dir, LOGS, subject.ledger, UNSYNCED_LOST)
}

async function cutBroker(disk, subject, cycle, random) {
  figures.brokerCuts++
  const broker = await BrokerChild.start(subject.dir)
  let producers
  try {
    const isNew = await ensureTopic(broker.address, PARTITIONS)
    // Its creation was acknowledged: it must be there, and so must its records.
    if (isNew && subject.cuts > 0) throw new Error('the topic is gone')
    figures.records += await checkBroker(broker.address, PARTITIONS, subject.ledger)
    producers = new Producers(broker.address, { partitions: PARTITIONS, cycle, random, ledger: subject.ledger })
    await sleep(20 + random.next() * RUN_MS_MAX)
    if (producers.failure !== null) throw new Error(`before the cut: ${producers.failure}`)
    await cut(disk, subject.dir, random, () => producers.stopCounting())
  } catch (error) {
    const { stderr } = await broker.kill()
    throw new Error(`${error.message}; the broker said: ${stderr.slice(0, 2000)}`, { cause: error })
  } finally {
    await broker.kill()
    producers?.stop()
  }
  remount(disk)
}

async function finish(subject, isBroker) {
  figures.acks += subject.ledger.acks
  if (isBroker) figures.brokerAcks += subject.ledger.acks
  // A broker's last cut has not been looked at yet.
  if (isBroker && subject.cuts > 0) {
    try {
      await readBroker(subject)
    } catch (error) {
      failed++
      process.stderr.write(`after the last cut of a broker, seed ${options.seed}: ${error.stack}\n`)
    }
  }
  subject.renew()
}

async function readBroker(subject) {
  const broker = await BrokerChild.start(subject.dir)
  try {
    figures.records += await checkBroker(broker.address, PARTITIONS, subject.ledger)
  } finally {
    await broker.kill()
  }
}

const startedMs = Date.now()
const disk = new LoopFileSystem(MEBIBYTES)
const children = [new WriterChild()]
try {
  const engine = new Subject(join(disk.dir, 'engine'))
  const broker = new Subject(join(disk.dir, 'broker'))
  for (let cycle = 0; cycle < options.cuts && Date.now() - startedMs < options.seconds * 1000; cycle++) {
    const random = new Random(Math.imul(options.seed, 0x9e3779b1) ^ cycle)
    const isBroker = cycle % 4 === 3
    const subject = isBroker ? broker : engine
    try {
      if (isBroker) await cutBroker(disk, subject, cycle, random)
      else await cutEngine(disk, subject, cycle, random, children)
      subject.cuts++
      passed++
    } catch (error) {
      failed++
      process.stderr.write(`cut ${cycle} of seed ${options.seed}: ${error.stack}\n`)
      // The next one starts afresh, on a file system that is alive.
      remount(disk)
      subject.renew()
    }
    figures.cuts++
    if (subject.cuts >= DIRECTORY_CUTS) await finish(subject, isBroker)
  }
  await finish(engine, false)
  await finish(broker, true)
} finally {
  for (const child of children) await child.kill()
  disk.dispose()
}
// A loop that acknowledges nothing shows nothing.
if (figures.acks === figures.brokerAcks || (figures.brokerCuts > 2 && figures.brokerAcks === 0)) {
  failed++
  process.stderr.write('nothing was acknowledged: nothing was shown\n')
}
const seconds = (Date.now() - startedMs) / 1000
process.stdout.write(
  `${figures.cuts} cuts in ${seconds.toFixed(1)} s (${(figures.cuts / seconds).toFixed(1)} a second), ${figures.brokerCuts} of a broker, ` +
    `${figures.afterLogFlush} with the journal committed, ${figures.acks} durable acknowledgements (${figures.brokerAcks} by the broker), ${figures.records} records read back, ` +
    `seed ${options.seed}\n`,
)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
