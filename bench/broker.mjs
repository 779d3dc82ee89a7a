// SPDX-License-Identifier: Apache-2.0
// One question: how much of its own CPU does a broker spend on a client's bytes? varve beside Apache Kafka, both warm, in interleaved
// rounds; the load comes from a generator that encodes its batches once and skims the replies, so that the client costs least.
//   node bench/broker.mjs --generator PROGRAM [--rounds 5] [--secs 3] [--warm 4] [--flush os|commit] [--rows 1,2] [--json FILE]
// With --flush commit a second Kafka runs beside the first, with log.flush.interval.messages=1: it syncs before it answers, as varve
// does then, in the rows that produce. The first one answers from the page cache, as Kafka does out of the box.
// PROGRAM takes -b HOST:PORT -pid PID -mode produce|fetch|pingpong -topic T -batch BYTES -record BYTES -inflight N -secs S -maxbytes B and
// prints one JSON line with broker_cpu_s_per_GiB, broker_cpu_us_per_req, p50_ms, p99_ms, broker_anon_MiB, errors. Apache Kafka is
// installed and started by test/compat/kafka.sh.
import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const { values: flags } = parseArgs({
  options: {
    generator: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    secs: { type: 'string', default: '3' },
    flush: { type: 'string', default: 'os' },
    warm: { type: 'string', default: '4' },
    rows: { type: 'string' },
    json: { type: 'string' },
    'kafka-port': { type: 'string', default: '21790' },
  },
})
if (flags.generator === undefined) {
  console.error('bench/broker.mjs: --generator PROGRAM is missing (see the head of this file)')
  process.exit(2)
}

// Both brokers delete alike: what is measured is a log in its steady state.
const RETENTION = [
  'log.retention.bytes=2147483648',
  'log.retention.check.interval.ms=5000',
  'log.segment.delete.delay.ms=1000',
]
const SYNCING = 'Kafka, synced'

const PRODUCE = ['-mode', 'produce', '-batch', '65536', '-inflight', '8']
// What is fetched is produced once, little enough for retention to leave it alone.
const FILL = [...PRODUCE, '-topic', 'read']
const FILL_SECS = 0.5

const ALL_ROWS = [
  {
    name: 'produce 64 KiB',
    args: [...PRODUCE, '-topic', 'written'],
    unit: 'broker_cpu_s_per_GiB',
  },
  {
    name: 'fetch 64 KiB',
    args: ['-mode', 'fetch', '-maxbytes', '65536', '-topic', 'read'],
    unit: 'broker_cpu_s_per_GiB',
  },
  {
    name: 'fetch 1 MiB',
    args: ['-mode', 'fetch', '-maxbytes', '1048576', '-topic', 'read'],
    unit: 'broker_cpu_s_per_GiB',
  },
  {
    name: 'produce 1 KiB, pipelined',
    args: ['-mode', 'produce', '-batch', '1024', '-record', '900', '-inflight', '64', '-topic', 'small'],
    unit: 'broker_cpu_us_per_req',
  },
  {
    name: 'produce then fetch, 1 KiB',
    args: ['-mode', 'pingpong', '-batch', '1024', '-record', '900', '-topic', 'pingpong'],
    unit: 'broker_cpu_us_per_req',
  },
  {
    name: 'produce 64 KiB of text, lz4',
    args: ['-mode', 'produce', '-batch', '65536', '-codec', 'lz4', '-topic', 'lz4'],
    unit: 'broker_cpu_us_per_req',
  },
  {
    name: 'produce 64 KiB of text, gzip',
    args: ['-mode', 'produce', '-batch', '65536', '-codec', 'gzip', '-topic', 'gzip'],
    unit: 'broker_cpu_us_per_req',
  },
  {
    name: 'produce 64 KiB of text, snappy',
    args: ['-mode', 'produce', '-batch', '65536', '-codec', 'snappy', '-topic', 'snappy'],
    unit: 'broker_cpu_us_per_req',
  },
  {
    name: 'produce 64 KiB of text, zstd',
    args: ['-mode', 'produce', '-batch', '65536', '-codec', 'zstd', '-topic', 'zstd'],
    unit: 'broker_cpu_us_per_req',
  },
]

const ROWS = flags.rows === undefined ? ALL_ROWS : flags.rows.split(',').map((number) => ALL_ROWS[Number(number) - 1])

async function startVarve() {
  const dir = mkdtempSync(join(tmpdir(), 'varve-bench-broker-'))
  const startedMs = performance.now()
  const child = spawn(
    process.execPath,
    [
      join(root, 'dist/cli/main.js'),
      'serve',
      '--data',
      dir,
      '--listen',
      '127.0.0.1:0',
      '--log-level',
      'error',
      '--set',
      `flush.mode=${flags.flush}`,
      ...RETENTION.flatMap((config) => ['--set', config]),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const bootstrap = await new Promise((done, fail) => {
    child.once('exit', (code) => fail(new Error(`varve ended with ${code}`)))
    child.stdout.on('data', (text) => {
      const found = /ready (\S+)/.exec(String(text))
      if (found !== null) done(found[1])
    })
  })
  return {
    bootstrap,
    pid: child.pid,
    readyMs: performance.now() - startedMs,
    stop: async () => {
      child.kill('SIGTERM')
      await new Promise((done) => child.once('close', done))
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function startKafka(port, ...configs) {
  const dir = mkdtempSync(join(tmpdir(), 'varve-bench-kafka-'))
  const script = join(root, 'test/compat/kafka.sh')
  const startedMs = performance.now()
  const pid = Number(
    execFileSync('bash', [script, 'start', dir, String(port)], {
      encoding: 'utf8',
      env: { ...process.env, KAFKA_EXTRA: [...RETENTION, ...configs].join('\n') },
    })
      .trim()
      .split('\n')
      .at(-1),
  )
  return {
    bootstrap: `127.0.0.1:${port}`,
    pid,
    readyMs: performance.now() - startedMs,
    stop: () => {
      execFileSync('bash', [script, 'stop', dir])
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

async function load(broker, args, secs) {
  const { stdout } = await promisify(execFile)(flags.generator, [
    '-b',
    broker.bootstrap,
    '-pid',
    String(broker.pid),
    '-secs',
    String(secs),
    ...args,
  ])
  const result = JSON.parse(stdout.trim().split('\n').at(-1))
  if (result.errors !== 0) throw new Error(`${result.errors} requests failed: ${stdout}`)
  return result
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]
const raw = []
const kafkaPort = Number(flags['kafka-port'])
const brokers = { varve: await startVarve(), 'Apache Kafka': startKafka(kafkaPort) }
if (flags.flush === 'commit') brokers[SYNCING] = startKafka(kafkaPort + 2, 'log.flush.interval.messages=1')
const runs = (name, row) => name !== SYNCING || !row.name.startsWith('fetch')
try {
  for (const broker of Object.values(brokers)) await load(broker, FILL, FILL_SECS)
  for (const [name, broker] of Object.entries(brokers))
    for (const row of ROWS.filter((one) => runs(name, one))) {
      process.stderr.write(`warming ${name}: ${row.name}\n`)
      await load(broker, row.args, Number(flags.warm))
    }
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const row of ROWS)
      for (const [name, broker] of Object.entries(brokers).filter(([one]) => runs(one, row))) {
        process.stderr.write(`round ${round + 1}/${flags.rounds} ${name}: ${row.name}\n`)
        raw.push({ broker: name, row: row.name, ...(await load(broker, row.args, Number(flags.secs))) })
      }
} finally {
  for (const broker of Object.values(brokers)) await broker.stop()
}

const machine = `${cpus()[0].model}, ${cpus().length} CPUs, Linux ${release()}, Node ${process.version}`
console.log(
  `${machine}; varve flush.mode=${flags.flush}; medians of ${flags.rounds} interleaved rounds of ${flags.secs} s\n`,
)
const syncing = SYNCING in brokers
console.log(
  `| what | unit | varve | Apache Kafka | ratio |${syncing ? ' Kafka, synced | ratio |' : ''} p50 / p99 ms varve | Kafka |${syncing ? ' Kafka, synced |' : ''}`,
)
console.log(`|${'---|'.repeat(syncing ? 10 : 7)}`)
for (const row of ROWS) {
  const of = (broker, field) =>
    median(raw.filter((one) => one.broker === broker && one.row === row.name).map((one) => one[field]))
  const ours = of('varve', row.unit)
  const theirs = of('Apache Kafka', row.unit)
  const latency = (broker) =>
    runs(broker, row) ? `${of(broker, 'p50_ms').toFixed(2)} / ${of(broker, 'p99_ms').toFixed(1)}` : ''
  const unit = row.unit === 'broker_cpu_s_per_GiB' ? 'CPU s/GiB' : 'CPU µs/request'
  const synced = syncing && runs(SYNCING, row) ? of(SYNCING, row.unit) : undefined
  const cells = [row.name, unit, ours.toFixed(2), theirs.toFixed(2), (ours / theirs).toFixed(2)]
  if (syncing) cells.push(synced?.toFixed(2) ?? '', synced === undefined ? '' : (ours / synced).toFixed(2))
  cells.push(latency('varve'), latency('Apache Kafka'))
  if (syncing) cells.push(latency(SYNCING))
  console.log(`| ${cells.join(' | ')} |`)
}
const anon = (broker) => Math.max(...raw.filter((one) => one.broker === broker).map((one) => one.broker_anon_MiB))
for (const [name, broker] of Object.entries(brokers))
  console.log(
    `\n${name}: ready in ${(broker.readyMs / 1000).toFixed(2)} s, anonymous memory at most ${anon(name).toFixed(0)} MiB`,
  )
// Without the paths of this machine.
const { generator: _, json, ...settings } = flags
if (json !== undefined) writeFileSync(json, `${JSON.stringify({ machine, flags: settings, raw }, null, 1)}\n`)
