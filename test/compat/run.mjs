// SPDX-License-Identifier: Apache-2.0
// The runner of test/compat: starts a broker over fresh data, runs the sections against it and counts the cases.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ForeignBroker, installKafka, KafkaBroker, VarveBroker } from './lib/brokers.mjs'
import { Client, clientNames, install } from './lib/clients.mjs'
import { Report } from './lib/report.mjs'
import { adopt } from './scenarios/adopt.mjs'
import { cross } from './scenarios/cross.mjs'
import { dumpSegments } from './scenarios/dump.mjs'
import { frames } from './scenarios/frames.mjs'
import { group } from './scenarios/group.mjs'
import { lines } from './scenarios/lines.mjs'
import { matrix } from './scenarios/matrix.mjs'
import { restart } from './scenarios/restart.mjs'
import { tools } from './scenarios/tools.mjs'

const usage = `usage: run.sh [--broker varve|kafka] [--bootstrap HOST:PORT] [--client NAME]... [--only SECTION]... [--minutes N] [--keep]
  --broker     what to start over a fresh data folder (varve); kafka checks the programs themselves
  --bootstrap  a broker that runs already, of whatever kind; sections that restart the broker are left out
  --client     only these clients: ${clientNames.join(' ')}
  --only       only these sections: matrix cross lines tools group frames restart dump adopt (cross runs matrix first)
  --minutes    cases that would begin later than this fail without running (20)
  --keep       leave the data folder, also after success`

const { values: options } = parseArgs({
  options: {
    broker: { type: 'string', default: 'varve' },
    bootstrap: { type: 'string' },
    client: { type: 'string', multiple: true, default: clientNames },
    only: { type: 'string', multiple: true },
    minutes: { type: 'string', default: '20' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (options.help) {
  console.log(usage)
  process.exit(0)
}
const kinds = { varve: VarveBroker, kafka: KafkaBroker }
const unknown = options.client.filter((name) => !clientNames.includes(name))
if (!(options.broker in kinds) || unknown.length > 0) {
  console.error(usage)
  process.exit(2)
}

// What has no admin verbs has its topics made by this one; the Java program also describes.
const maker = 'kafkajs'
const chosen = clientNames.filter((name) => options.client.includes(name))
await install([...new Set([...chosen, maker, 'java'])])
await installKafka()

const dir = mkdtempSync(join(tmpdir(), 'varve-compat-'))
const report = new Report(Number(options.minutes))
const Kind = kinds[options.broker]
const broker = options.bootstrap ? new ForeignBroker(options.bootstrap) : await Kind.at(join(dir, 'data'))
const context = {
  report,
  broker,
  Kind,
  dir,
  bootstrap: broker.bootstrap,
  clients: chosen.map((name) => new Client(name)),
  maker: new Client(maker),
  java: new Client('java'),
}
const wants = (section) => options.only?.includes(section) ?? true

report.section('broker')
if (await report.case(`${broker.kind} starts`, () => broker.start())) {
  const written = wants('matrix') || wants('cross') ? await matrix(context) : []
  if (wants('cross')) await cross(context, written)
  if (wants('lines')) await lines(context)
  if (wants('tools')) await tools(context)
  if (wants('group')) await group(context)
  if (broker.kind !== 'foreign') {
    if (wants('frames')) await frames(context)
    if (wants('restart')) await restart(context)
    report.section('broker')
    const stopped = await report.case(`${broker.kind} stops cleanly`, () => broker.stop())
    const counts = new Map(written.map(({ topic, records }) => [topic, records.length]))
    if (wants('dump') && stopped) await dumpSegments(context, counts)
    if (wants('adopt')) await adopt(context)
  }
}
const code = report.finish()
if (code === 0 && !options.keep) rmSync(dir, { recursive: true, force: true })
else console.error(`data and logs: ${dir}`)
process.exit(code)
