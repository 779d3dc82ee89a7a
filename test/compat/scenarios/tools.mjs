// SPDX-License-Identifier: Apache-2.0
// Kafka's own command line tools, with what they must print.
import { tool } from '../lib/brokers.mjs'

const topics = 'org.apache.kafka.tools.TopicCommand'
const groups = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand'
const offsets = 'org.apache.kafka.tools.GetOffsetShell'
const configs = 'kafka.admin.ConfigCommand'
const producer = 'org.apache.kafka.tools.ConsoleProducer'
const consumer = 'org.apache.kafka.tools.consumer.ConsoleConsumer'
const producerPerf = 'org.apache.kafka.tools.ProducerPerformance'
const consumerPerf = 'org.apache.kafka.tools.ConsumerPerformance'
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const perfRecords = 50_000

function expect(text, pattern) {
  const found = typeof pattern === 'string' ? text.includes(pattern) : pattern.test(text)
  if (!found) throw new Error(`no ${pattern} in what it printed:\n${text.slice(0, 1500)}`)
}

function expectEqual(actual, expected) {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (left !== right) throw new Error(`${left.slice(0, 500)} instead of ${right.slice(0, 500)}`)
}

export async function tools({ report, bootstrap }) {
  const connected = async (className, args, options) => {
    const { stdout, stderr } = await tool(className, ['--bootstrap-server', bootstrap, ...args], options)
    return `${stdout}\n${stderr}`
  }
  await topicVerbs(report, connected)
  await consoleClients(report, connected)
  await groupVerbs(report, connected)
  await perfTools(report, connected)
}

async function topicVerbs(report, connected) {
  report.section('tools')
  const topic = 'tools-topic'
  const named = ['--topic', topic]
  const refused = { accept: [1] }
  await report.case('kafka-topics --create', async () => {
    const args = ['--create', ...named, '--partitions', '3', '--config', 'retention.ms=7200000']
    expect(await connected(topics, args), `Created topic ${topic}.`)
  })
  await report.case('kafka-topics --create of a topic that exists is refused', async () => {
    expect(await connected(topics, ['--create', ...named], refused), `Topic '${topic}' already exists`)
    await connected(topics, ['--create', '--if-not-exists', ...named])
  })
  await report.case('kafka-topics --create with a bad name, config or replication factor is refused', async () => {
    expect(await connected(topics, ['--create', '--topic', 'bad/name'], refused), /illegal|invalid/i)
    const bad = ['--create', '--topic', 'tools-bad']
    expect(await connected(topics, [...bad, '--config', 'retention.ms=soon'], refused), 'retention.ms')
    expect(await connected(topics, [...bad, '--replication-factor', '3'], refused), /replicat/i)
  })
  await report.case('kafka-topics --list', async () => {
    expect(await connected(topics, ['--list']), /^tools-topic$/m)
  })
  await report.case('kafka-topics --describe', async () => {
    const text = await connected(topics, ['--describe', ...named])
    expect(text, /TopicId: [\w-]{22}\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: .*retention\.ms=7200000/)
    for (const partition of [0, 1, 2])
      expect(text, new RegExp(`Partition: ${partition}\tLeader: (\\d+)\tReplicas: \\1\tIsr: \\1`))
  })
  await report.case('kafka-topics --alter adds partitions and refuses to take some away', async () => {
    await connected(topics, ['--alter', ...named, '--partitions', '5'])
    expect(await connected(topics, ['--describe', ...named]), 'PartitionCount: 5')
    expect(await connected(topics, ['--alter', ...named, '--partitions', '2'], refused), 'would not be an increase')
  })
  await report.case('kafka-configs --describe of a topic and of the broker', async () => {
    const ofTopic = await connected(configs, ['--describe', '--entity-type', 'topics', '--entity-name', topic, '--all'])
    expect(ofTopic, /retention\.ms=7200000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention\.ms=7200000/)
    expect(ofTopic, /segment\.bytes=1073741824 .*DEFAULT_CONFIG:log\.segment\.bytes=1073741824/)
    const [, leader] = /Leader: (\d+)/.exec(await connected(topics, ['--describe', ...named]))
    const broker = ['--entity-type', 'brokers', '--entity-name', leader]
    const ofBroker = await connected(configs, ['--describe', ...broker, '--all'])
    expect(ofBroker, /auto\.create\.topics\.enable=true/)
  })
  await report.case('kafka-topics --delete', async () => {
    await connected(topics, ['--delete', ...named])
    expect(await connected(topics, ['--describe', ...named], refused), `Topic '${topic}' does not exist`)
    if (/^tools-topic$/m.test(await connected(topics, ['--list']))) throw new Error('it is still listed')
  })
}

async function consoleClients(report, connected) {
  const topic = 'tools-console'
  const reader = ['parse.headers=true', 'parse.key=true', 'null.marker=NIL'].flatMap((each) => [
    '--reader-property',
    each,
  ])
  const shown = [
    'print.headers=true',
    'print.key=true',
    'print.partition=true',
    'print.offset=true',
    'null.literal=NIL',
  ]
  const formatter = shown.flatMap((each) => ['--formatter-property', each])
  const sent = codecs.map((codec) => [
    `h1:${codec},h2:b,h1:again\tkey-${codec}\tväluë ${codec} ${'and more of the same '.repeat(20)}`,
    `NIL\tNIL\tno key, no headers, ${codec}`,
    `h:x\tgone-${codec}\tNIL`,
  ])
  for (const [index, codec] of codecs.entries())
    await report.case(`kafka-console-producer with ${codec}`, async () => {
      const input = `${sent[index].join('\n')}\n`
      await connected(producer, ['--topic', topic, '--compression-codec', codec, ...reader], { input })
    })
  await report.case('kafka-console-consumer --group prints what was sent, in order', async () => {
    const all = sent.flat()
    const args = ['--topic', topic, '--group', 'tools-console', '--from-beginning', ...formatter]
    const text = await connected(consumer, [...args, '--max-messages', String(all.length), '--timeout-ms', '20000'])
    const got = text.split('\n').filter((line) => line.startsWith('Partition:'))
    const expected = all.map(
      (line, offset) => `Partition:0\tOffset:${offset}\t${line.replace(/^NIL\t/, 'NO_HEADERS\t')}`,
    )
    expectEqual(got, expected)
  })
  await report.case('kafka-console-consumer --partition --offset reads from there', async () => {
    const args = ['--topic', topic, '--partition', '0', '--offset', '4', '--max-messages', '1', ...formatter]
    expect(await connected(consumer, args), `Offset:4\tNO_HEADERS\tNIL\tno key, no headers, gzip`)
  })
  await report.case('kafka-get-offsets: earliest, latest, by time, of the greatest time', async () => {
    const at = async (time) => (await connected(offsets, ['--topic', topic, '--time', time])).trim()
    expectEqual(await at('earliest'), `${topic}:0:0`)
    expectEqual(await at('latest'), `${topic}:0:${sent.flat().length}`)
    expectEqual(await at('1'), `${topic}:0:0`)
    expect(await at('max-timestamp'), new RegExp(`^${topic}:0:1[1234]$`))
  })
}

async function groupVerbs(report, connected) {
  const group = 'tools-console'
  const topic = 'tools-console'
  const total = codecs.length * 3
  const named = ['--group', group]
  const rowOf = (text) => text.split('\n').find((line) => new RegExp(`^${group}\\s+${topic}\\s+0\\s`).test(line)) ?? ''
  const offsetsOf = async () =>
    rowOf(await connected(groups, ['--describe', ...named]))
      .trim()
      .split(/\s+/)
      .slice(3, 6)
  await report.case('kafka-consumer-groups --list, with state and type', async () => {
    expect(await connected(groups, ['--list']), /^tools-console$/m)
    expect(await connected(groups, ['--list', '--state', '--type']), /^tools-console\s+Classic\s+Empty\s*$/m)
    expect(
      await connected('org.apache.kafka.tools.GroupsCommand', ['--list']),
      /^tools-console\s+Classic\s+consumer\s*$/m,
    )
  })
  await report.case('kafka-consumer-groups --describe: offsets and state', async () => {
    expectEqual(await offsetsOf(), [String(total), String(total), '0'])
    expect(await connected(groups, ['--describe', ...named, '--state']), /^tools-console\s+.*Empty\s+0\s*$/m)
  })
  await report.case('kafka-consumer-groups --reset-offsets moves what the group reads next', async () => {
    const reset = ['--reset-offsets', ...named, '--topic', topic]
    expect(await connected(groups, [...reset, '--to-earliest', '--dry-run']), new RegExp(`${topic}\\s+0\\s+0\\s`))
    expectEqual(await offsetsOf(), [String(total), String(total), '0'])
    await connected(groups, [...reset, '--shift-by', '-2', '--execute'])
    expectEqual(await offsetsOf(), [String(total - 2), String(total), '2'])
    await connected(groups, [...reset, '--to-datetime', '2000-01-01T00:00:00.000', '--execute'])
    expectEqual(await offsetsOf(), ['0', String(total), String(total)])
    await connected(groups, [...reset, '--to-offset', '6', '--execute'])
    const args = ['--topic', topic, ...named, '--max-messages', '1', '--formatter-property', 'print.offset=true']
    expect(await connected(consumer, args), /^Offset:6\t/m)
    expectEqual(await offsetsOf(), ['7', String(total), String(total - 7)])
  })
  await report.case('kafka-consumer-groups --delete', async () => {
    expect(await connected(groups, ['--delete', ...named]), `('${group}') was successful`)
    expect(await connected(groups, ['--describe', ...named]), 'GroupIdNotFoundException')
    if (/^tools-console$/m.test(await connected(groups, ['--list']))) throw new Error('it is still listed')
    expect(await connected(groups, ['--delete', '--group', 'never-was']), /not (found|exist)|GroupIdNotFound/i)
  })
}

async function perfTools(report, connected) {
  const topic = ['--topic', 'tools-perf']
  await report.case(`kafka-producer-perf-test sends ${perfRecords} records of 1 KB`, async () => {
    const size = ['--num-records', String(perfRecords), '--record-size', '1000', '--throughput', '-1']
    const text = await connected(producerPerf, [...topic, ...size, '--command-property', 'compression.type=lz4'])
    expect(text, new RegExp(`^${perfRecords} records sent, .*99\\.9th`, 'm'))
  })
  await report.case('kafka-consumer-perf-test reads them', async () => {
    const text = await connected(consumerPerf, [...topic, '--num-records', String(perfRecords), '--timeout', '20000'])
    const [, , , , read] = (text.split('\n').find((line) => /^\d{4}-\d\d-\d\d/.test(line)) ?? '').split(', ')
    expectEqual(Number(read), perfRecords)
  })
}
