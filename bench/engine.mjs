// SPDX-License-Identifier: Apache-2.0
// One question: how fast does a Node program append to, and read back, a log of its own? varve/storage beside lmdb, classic-level and
// better-sqlite3, records of 1 KiB in batches of 64, with equal durability: first nobody syncs, then everybody syncs each batch.
//   node bench/engine.mjs [--rounds 5] [--mib 256] [--json FILE]
// Rivals: bench/setup.sh. Figures are CPU seconds of the whole process (helper threads included) and wall time; rounds are interleaved,
// medians are shown, raw numbers go to --json.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, homedir, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openEngine } from '../dist/storage/index.js'

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    mib: { type: 'string', default: '256' },
    json: { type: 'string' },
  },
})
const ROUNDS = Number(flags.rounds)
const RECORD_BYTES = 1024
const BATCH_RECORDS = 64
const BATCH_BYTES = RECORD_BYTES * BATCH_RECORDS
const UNSYNCED_BATCHES = (Number(flags.mib) << 20) / BATCH_BYTES
const SYNCED_BATCHES = 200

const rivals = createRequire(
  join(process.env.VARVE_BENCH_CACHE ?? join(homedir(), '.cache/varve-bench'), 'package.json'),
)
const value = Buffer.alloc(RECORD_BYTES)
for (let i = 0; i < RECORD_BYTES; i++) value[i] = (i * 131) & 0xff

/** Every driver: open(dir, sync) → { append(batchIndex), scan() → records seen, close() }. */
const drivers = {
  async varve(dir, sync) {
    const engine = await openEngine({ dir, flush: 'os' })
    const log = engine.log('bench')
    const records = Array.from({ length: BATCH_RECORDS }, () => ({ value }))
    return {
      append: sync ? () => log.appendDurable(records) : () => void log.append(records),
      scans: {
        'by record': () => {
          let seen = 0
          let sum = 0
          for (const record of log.read(0)) {
            const bytes = record.value
            sum += bytes[0] + bytes[bytes.length - 1]
            seen++
          }
          return sum > 0 ? seen : seen
        },
        'by batch': () => {
          let seen = 0
          let sum = 0
          for (const batch of log.batches(0)) {
            const cursor = batch.cursor()
            const { bytes } = cursor
            while (cursor.next()) {
              sum += bytes[cursor.valueStart] + bytes[cursor.valueStart + cursor.valueSize - 1]
              seen++
            }
          }
          return sum > 0 ? seen : seen
        },
      },
      close: () => engine.close(),
    }
  },
  async lmdb(dir, sync) {
    const { open } = rivals('lmdb')
    const db = open({
      path: dir,
      noSync: !sync,
      encoding: 'binary',
      keyEncoding: 'uint32',
      mapSize: 4 << 30,
      compression: false,
    })
    let next = 0
    return {
      append: () =>
        db.transactionSync(() => {
          for (let i = 0; i < BATCH_RECORDS; i++) db.put(next++, value)
        }),
      scans: {
        'by record': () => {
          let seen = 0
          let sum = 0
          for (const entry of db.getRange()) {
            sum += entry.value[0] + entry.value[RECORD_BYTES - 1]
            seen++
          }
          return sum > 0 ? seen : seen
        },
      },
      close: () => db.close(),
    }
  },
  async 'classic-level'(dir, sync) {
    const { ClassicLevel } = rivals('classic-level')
    const db = new ClassicLevel(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer', compression: false })
    await db.open()
    let next = 0
    const key = () => {
      const bytes = Buffer.allocUnsafe(4)
      bytes.writeUInt32BE(next++)
      return bytes
    }
    return {
      append: () =>
        db.batch(
          Array.from({ length: BATCH_RECORDS }, () => ({ type: 'put', key: key(), value })),
          { sync },
        ),
      scans: {
        'by record': async () => {
          let seen = 0
          let sum = 0
          const iterator = db.values()
          for (;;) {
            const chunk = await iterator.nextv(1000)
            if (chunk.length === 0) break
            for (const bytes of chunk) sum += bytes[0] + bytes[RECORD_BYTES - 1]
            seen += chunk.length
          }
          await iterator.close()
          return sum > 0 ? seen : seen
        },
      },
      close: () => db.close(),
    }
  },
  async 'better-sqlite3'(dir, sync) {
    const Database = rivals('better-sqlite3')
    const db = new Database(join(dir, 'db.sqlite'))
    db.pragma('journal_mode = WAL')
    db.pragma(`synchronous = ${sync ? 'FULL' : 'OFF'}`)
    db.exec('CREATE TABLE log (offset INTEGER PRIMARY KEY, value BLOB)')
    const insert = db.prepare('INSERT INTO log (value) VALUES (?)')
    const all = db.prepare('SELECT value FROM log ORDER BY offset').pluck()
    const append = db.transaction(() => {
      for (let i = 0; i < BATCH_RECORDS; i++) insert.run(value)
    })
    return {
      append,
      scans: {
        'by record': () => {
          let seen = 0
          let sum = 0
          for (const bytes of all.iterate()) {
            sum += bytes[0] + bytes[RECORD_BYTES - 1]
            seen++
          }
          return sum > 0 ? seen : seen
        },
      },
      close: () => db.close(),
    }
  },
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]
const raw = []

async function measured(name, what, bytes, run) {
  const cpu = process.cpuUsage()
  const from = performance.now()
  await run()
  const wallS = (performance.now() - from) / 1000
  const used = process.cpuUsage(cpu)
  const cpuS = (used.user + used.system) / 1e6
  raw.push({ name, what, bytes, wallS, cpuS })
}

async function round(name, sync) {
  const dir = mkdtempSync(join(tmpdir(), 'varve-bench-'))
  try {
    const driver = await drivers[name](dir, sync)
    const batches = sync ? SYNCED_BATCHES : UNSYNCED_BATCHES
    await measured(
      name,
      sync ? 'append, each batch synced' : 'append, nobody syncs',
      batches * BATCH_BYTES,
      async () => {
        for (let i = 0; i < batches; i++) {
          const done = driver.append(i)
          if (done !== undefined) await done
        }
      },
    )
    if (!sync)
      for (const [scan, run] of Object.entries(driver.scans)) {
        // Once to warm the page cache and the compiler, then the figure.
        await run()
        await measured(name, `scan ${scan}`, batches * BATCH_BYTES, async () => {
          const seen = await run()
          if (seen !== batches * BATCH_RECORDS)
            throw new Error(`${name} saw ${seen} records of ${batches * BATCH_RECORDS}`)
        })
      }
    await driver.close()
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

// First touch of guest memory costs several times more than later ones: pay it before anything is measured.
Buffer.alloc(2 ** 31, 1)
for (let i = 0; i < ROUNDS; i++) {
  for (const name of Object.keys(drivers)) {
    process.stderr.write(`round ${i + 1}/${ROUNDS} ${name}\n`)
    await round(name, false)
    await round(name, true)
  }
}

const machine = `${cpus()[0].model}, ${cpus().length} CPUs, Linux ${release()}, Node ${process.version}`
console.log(`${machine}; medians of ${ROUNDS} interleaved rounds, records of 1 KiB in batches of 64\n`)
console.log('| | what | MB/s wall | MB per CPU second | spread of CPU figures |')
console.log('|---|---|---|---|---|')
const keys = [...new Set(raw.map(({ name, what }) => `${what}\t${name}`))].sort()
for (const key of keys) {
  const [what, name] = key.split('\t')
  const mine = raw.filter((one) => one.name === name && one.what === what)
  const cpu = mine.map(({ bytes, cpuS }) => bytes / 1e6 / cpuS)
  const wall = mine.map(({ bytes, wallS }) => bytes / 1e6 / wallS)
  const range = `${Math.round(Math.min(...cpu))}-${Math.round(Math.max(...cpu))}`
  console.log(`| ${name} | ${what} | ${Math.round(median(wall))} | ${Math.round(median(cpu))} | ${range} |`)
}
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify({ machine, raw }, null, 1)}\n`)
