// SPDX-License-Identifier: Apache-2.0
// `kcat -b … -P -t lines -z lz4 < FILE` as a user types it, with a real file, read back byte for byte by kcat; and the same with
// every codec; and with keys and headers (`-K ': ' -H …`). Every client reads what was sent with lz4, and what the other codecs sent
// with keys and headers: values, keys, headers and timestamps in order. kcat takes no empty line for a record: FILE has none.
import { inParallel } from '../lib/parallel.mjs'
import { run } from '../lib/process.mjs'
import { bytesAsSeen } from '../lib/records.mjs'

const wantedLines = 100_000
const codecs = ['gzip', 'snappy', 'lz4', 'zstd']
const keyed = ['gzip', 'snappy', 'zstd']
const keyEnd = ': '
const newline = 10
const timeoutMs = 240_000
const readersAtOnce = 2
// What the runner holds in memory of one client's output.
const topicsAtOnce = 2

/** The package list of the distribution, or a made-up one where there is none. */
async function makeFile() {
  const dumped = await run('apt-cache', ['dumpavail'], { timeoutMs }).catch(() => ({ stdout: Buffer.alloc(0) }))
  const lines = dumped.stdout.toString('latin1').split('\n').filter(Boolean)
  if (lines.length >= wantedLines) return Buffer.from(`${lines.join('\n')}\n`, 'latin1')
  const made = Array.from({ length: wantedLines }, (_, index) => `Package: ${(index * 2_654_435_761) % 4_294_967_291}`)
  return Buffer.from(`${made.join('\n')}\n`)
}

const base64 = (text) => (text === null ? null : Buffer.from(text, 'latin1').toString('base64'))

/** What kcat makes of a line: with -K a key where the delimiter is found. */
function recordOf(line, { withKeys, headers }) {
  const end = withKeys ? line.indexOf(keyEnd) : -1
  const [key, value] = end < 0 ? [null, line] : [line.slice(0, end), line.slice(end + keyEnd.length)]
  return { key: base64(key), value: base64(value), headers: headers.map(([name, text]) => [name, base64(text)]) }
}

export async function lines({ report, clients, bootstrap }) {
  report.section('lines')
  const whole = await makeFile()
  let end = 0
  for (let line = 0; line < wantedLines; line++) end = whole.indexOf(newline, end) + 1
  const part = whole.subarray(0, end)
  const expectedLines = part.toString('latin1').split('\n').slice(0, -1)
  const sent = []

  const produce = async (topic, codec, bytes, args = []) => {
    const from = Date.now()
    await run('kcat', ['-b', bootstrap, '-P', '-t', topic, '-z', codec, ...args], { input: bytes, timeoutMs })
    return [from, Date.now()]
  }
  const readBack = async (topic, format = []) => {
    const args = ['-b', bootstrap, '-C', '-t', topic, '-e', '-q', '-o', 'beginning', ...format]
    return (await run('kcat', args, { timeoutMs })).stdout
  }
  /** Produces the part; what kcat tells about times is what every other client must tell. */
  const send = async (topic, codec, options, args) => {
    const [from, to] = await produce(topic, codec, part, args)
    if (!options.withKeys) {
      const read = await readBack(topic)
      if (!read.equals(part)) throw new Error(`${read.length} other bytes came back than ${part.length}`)
    }
    const timestamps = (await readBack(topic, ['-f', '%T\n'])).toString().trimEnd().split('\n').map(Number)
    const strange = timestamps.find((time) => !(time >= from && time <= to))
    if (timestamps.length !== wantedLines || strange !== undefined)
      throw new Error(`${timestamps.length} timestamps, ${strange} not from ${from} to ${to}`)
    sent.push({ topic, timestamps, records: expectedLines.map((line) => recordOf(line, options)) })
  }

  const count = whole.toString('latin1').split('\n').length - 1
  await report.case(`kcat -P -t lines-all -z lz4 < FILE of ${count} lines, read back by kcat`, async () => {
    await produce('lines-all', 'lz4', whole)
    const read = await readBack('lines-all')
    if (!read.equals(whole)) throw new Error(`${read.length} other bytes came back than ${whole.length}`)
  })
  for (const codec of codecs) {
    const topic = codec === 'lz4' ? 'lines' : `lines-${codec}`
    await report.case(`kcat -P -t ${topic} -z ${codec} < FILE of ${wantedLines} lines, read back by kcat`, () =>
      send(topic, codec, { withKeys: false, headers: [] }),
    )
  }
  for (const codec of keyed) {
    const headers = [
      ['origin', 'dumpavail'],
      ['codec', codec],
    ]
    const args = ['-K', keyEnd, ...headers.flatMap(([name, value]) => ['-H', `${name}=${value}`])]
    await report.case(`kcat -P -t keyed-${codec} -z ${codec} ${args.slice(2).join(' ')} -K '${keyEnd}' < FILE`, () =>
      send(`keyed-${codec}`, codec, { withKeys: true, headers }, args),
    )
  }

  const read = sent.filter(({ topic }) => topic === 'lines' || topic.startsWith('keyed-'))
  await inParallel(clients, readersAtOnce, (client) =>
    report.case(`${client.id} reads the same ${read.length} x ${wantedLines} lines`, async () => {
      for (let at = 0; at < read.length; at += topicsAtOnce) {
        const some = read.slice(at, at + topicsAtOnce)
        const topics = some.map(({ topic }) => topic)
        const total = some.length * wantedLines
        const got = await client.consume(bootstrap, topics, `lines-${client.id}-${at}`, total, { timeoutMs })
        if (got.length !== total) throw new Error(`${got.length} records came back`)
        for (const each of some) check(each, got, client)
      }
    }),
  )
}

function check({ topic, timestamps, records }, got, client) {
  const seen = (text) => bytesAsSeen(text, client.cannotConsume)
  let offset = 0
  for (const record of got) {
    if (record.topic !== topic) continue
    const { key, value, headers } = records[offset]
    const right =
      record.partition === 0 &&
      record.offset === offset &&
      record.timestamp === timestamps[offset] &&
      record.key === seen(key) &&
      record.value === seen(value) &&
      JSON.stringify(record.headers) === JSON.stringify(headers)
    if (!right) throw new Error(`${topic}, line ${offset + 1} came back as ${JSON.stringify(record).slice(0, 300)}`)
    offset++
  }
  if (offset !== records.length) throw new Error(`${topic}: ${offset} lines came back`)
}
