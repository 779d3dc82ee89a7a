// SPDX-License-Identifier: Apache-2.0
// Kafka's DumpLogSegments reads what the broker has stored: every batch valid, every record there, indexes sane. It runs
// on the data folder of a broker that was stopped cleanly.
import { readdirSync, statSync } from 'node:fs'
import { tool } from '../lib/brokers.mjs'
import { batchesOf, filesOf } from '../lib/segments.mjs'

const indexIntervalBytes = 4096
const dumper = 'org.apache.kafka.tools.DumpLogSegments'
const complaints =
  /Mismatches in|Found timestamp mismatch|Found out of order|Non-consecutive offsets|isvalid: false|corrupt/i

/** Partitions with records, without the internal ones. */
function partitionsOf(logDir) {
  return readdirSync(logDir).filter(
    (name) =>
      /-\d+$/.test(name) &&
      !name.startsWith('__') &&
      filesOf(logDir, name, '.log').some((path) => statSync(path).size > 0),
  )
}

/** Within one run of the broker, the first batch that begins more than index.interval.bytes after the last entry gets one. */
function needsEntry(log) {
  return (batchesOf(log).at(-1)?.position ?? 0) > indexIntervalBytes
}

async function dump(args, paths) {
  const { stdout, stderr } = await tool(dumper, [...args, '--files', paths.join(',')])
  const complaint = `${stdout}\n${stderr}`.split('\n').find((line) => complaints.test(line))
  if (complaint !== undefined) throw new Error(`it says: ${complaint}`)
  return stdout
}

/** @param {Map<string, number>} counts how many records a topic must hold, where that is known */
export async function dumpSegments({ report, broker }, counts) {
  report.section('dump')
  const { logDir } = broker
  const partitions = partitionsOf(logDir)
  const all = (ending) => partitions.flatMap((partition) => filesOf(logDir, partition, ending))
  const name = (what, paths) => `DumpLogSegments ${what} of ${paths.length} files`

  const logs = all('.log')
  await report.case(name('--deep-iteration', logs), async () => {
    const text = await dump(['--deep-iteration'], logs)
    const found = new Map()
    let topic = ''
    for (const line of text.split('\n')) {
      if (line.startsWith('Dumping ')) topic = line.split('/').at(-2).replace(/-\d+$/, '')
      else if (line.startsWith('| offset:')) found.set(topic, (found.get(topic) ?? 0) + 1)
      else if (line.startsWith('baseOffset:') && !line.includes('isvalid: true')) throw new Error(`${topic}: ${line}`)
    }
    for (const [each, count] of counts)
      if (found.get(each) !== count) throw new Error(`${each}: ${found.get(each) ?? 0} records instead of ${count}`)
    if (found.size === 0) throw new Error('it has printed no record')
  })
  const indexes = [...all('.index'), ...all('.timeindex')]
  await report.case(name('--index-sanity-check', indexes), async () => {
    const text = await dump(['--index-sanity-check'], indexes)
    const said = new Set(text.split('\n'))
    const bad = indexes.filter((path) => {
      const inOneRun = counts.has(path.split('/').at(-2).replace(/-\d+$/, ''))
      const mayBeEmpty = path.endsWith('.index') && !(inOneRun && needsEntry(path.replace(/index$/, 'log')))
      return !said.has(`${path} passed sanity check.`) && !(mayBeEmpty && said.has(`${path} is empty.`))
    })
    if (bad.length > 0) throw new Error(`not found sane: ${bad.slice(0, 5).join(' ')}`)
  })
  await report.case(name('on index entries against the log', indexes), async () => {
    const text = await dump(['--deep-iteration'], indexes)
    if (!/^offset: \d+ position: \d+$/m.test(text)) throw new Error('there is no entry in any offset index')
    if (!/^timestamp: \d+ offset: \d+$/m.test(text)) throw new Error('there is no entry in any time index')
  })
  const committed = readdirSync(logDir)
    .filter((partition) => partition.startsWith('__consumer_offsets-'))
    .flatMap((partition) => filesOf(logDir, partition, '.log'))
    .filter((path) => statSync(path).size > 0)
  await report.case(name('--offsets-decoder', committed), async () => {
    if (committed.length === 0) throw new Error('no commit is stored')
    const text = await dump(['--offsets-decoder'], committed)
    if (!/"type":"1","data":\{"group":"[^"]+","topic":"[^"]+","partition":\d+\}/.test(text))
      throw new Error('no committed offset can be read')
  })
}
