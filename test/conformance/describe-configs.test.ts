// SPDX-License-Identifier: Apache-2.0
// What varve answers to DescribeConfigs beside what a real Apache Kafka with the same settings answers.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Response } from '../../src/protocol/api.ts'
import { CreateTopics, DescribeConfigs, Metadata } from '../../src/protocol/apis/index.ts'
import { type RunningBroker, startBroker } from '../../src/testing/start-broker.ts'
import { WireClient } from '../util/wire-client.ts'

type Entry = Response<typeof DescribeConfigs>['results'][number]['configs'][number]

const TOPIC = 2
const BROKER = 4
const NODE_ID = '1'
const kafkaScript = new URL('../compat/kafka.sh', import.meta.url).pathname

/** Set for both brokers. */
const SETTINGS: Record<string, string> = {
  'log.segment.bytes': '2000000',
  'log.roll.ms': '5000000',
  'log.roll.hours': '3',
  'log.cleanup.policy': 'delete, compact',
  'compression.type': 'gzip',
  'log.cleaner.min.cleanable.ratio': '1e-4',
  'num.partitions': '+3',
  'auto.create.topics.enable': 'FALSE',
  'socket.send.buffer.bytes': '-1',
}
const OVERRIDES: Record<string, string> = {
  'retention.ms': ' 100 ',
  'cleanup.policy': 'compact, delete',
  'min.cleanable.dirty.ratio': '1',
  preallocate: 'TRUE',
  'flush.ms': '+7',
  'segment.bytes': '1048576',
  'follower.replication.throttled.replicas': '0:1,1:2',
  'message.timestamp.type': 'LogAppendTime',
  'internal.segment.bytes': '4096',
}
/** Configs of Kafka 4.4: the release that runs here is older. */
const NEWER = [
  'errors.deadletterqueue.group.enable',
  'max.decompressed.message.bytes',
  'remote.copy.lag.bytes',
  'remote.copy.lag.ms',
]
/** A new KRaft cluster sets this one for the whole cluster by itself (KIP-966). */
const SET_BY_KRAFT = 'min.insync.replicas'
/** Where the two brokers are told different things, or have defaults that differ (config.test.ts lists them). */
const OWN = [
  ...[
    'advertised.listeners',
    'listeners',
    'listener.security.protocol.map',
    'log.dir',
    'log.dirs',
    'node.id',
    'broker.id',
  ],
  ...['max.connections', 'max.connections.per.ip', 'max.connection.creation.rate', 'queued.max.request.bytes'],
  ...['offsets.topic.replication.factor', 'transaction.state.log.replication.factor', 'transaction.state.log.min.isr'],
]

let directory: string
let kafka: WireClient
let varve: WireClient
let broker: RunningBroker | undefined

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

function runKafka(args: string[], extra = ''): void {
  const { status, stderr } = spawnSync(kafkaScript, args, {
    encoding: 'utf8',
    env: { ...process.env, KAFKA_EXTRA: extra },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  if (status !== 0) throw new Error(`kafka.sh ${args.join(' ')} ended with ${status}: ${stderr}`)
}

async function makeTopics(client: WireClient): Promise<void> {
  const topic = { numPartitions: 1, replicationFactor: 1, assignments: [] }
  const configs = Object.entries(OVERRIDES).map(([name, value]) => ({ name, value }))
  const { topics } = await client.request(CreateTopics, 7, {
    topics: [
      { ...topic, name: 'plain', configs: [] },
      { ...topic, name: 'set', configs },
    ],
    timeoutMs: 30_000,
    validateOnly: false,
  })
  for (const { errorCode, errorMessage } of topics) expect([errorCode, errorMessage]).toEqual([0, null])
  // Kafka's broker learns of a topic after the controller has made it.
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
    const { topics: known } = await client.request(Metadata, 12, { topics: null, allowAutoTopicCreation: false })
    if (known.filter(({ name, errorCode }) => (name === 'plain' || name === 'set') && errorCode === 0).length === 2)
      return
  }
  throw new Error('the topics do not show up in Metadata')
}

async function ask(client: WireClient, resourceType: number, resourceName: string, configurationKeys: string[] | null) {
  const { results } = await client.request(DescribeConfigs, 4, {
    resources: [{ resourceType, resourceName, configurationKeys }],
    includeSynonyms: true,
    includeDocumentation: false,
  })
  const [result] = results
  return result!
}

function sorted(entries: readonly Entry[]): Entry[] {
  return [...entries].sort((a, b) => (a.name < b.name ? -1 : 1))
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'varve-describe-'))
  const port = await freePort()
  const extra = Object.entries(SETTINGS).map(([name, value]) => `${name}=${value}`)
  runKafka(['install'])
  runKafka(['start', directory, String(port)], extra.join('\n'))
  kafka = await WireClient.connect(`127.0.0.1:${port}`)
  broker = await startBroker({ configs: SETTINGS })
  varve = await WireClient.connect(broker.bootstrap)
  await Promise.all([makeTopics(kafka), makeTopics(varve)])
})

afterAll(async () => {
  await kafka?.close()
  await varve?.close()
  await broker?.stop()
  runKafka(['stop', directory])
  rmSync(directory, { recursive: true, force: true })
})

describe.each(['plain', 'set'])('the topic %s', (topic) => {
  test('has the configs, values, sources, types and synonyms that it has with Kafka', async () => {
    const [theirs, ours] = await Promise.all([ask(kafka, TOPIC, topic, null), ask(varve, TOPIC, topic, null)])
    const comparable = (entries: readonly Entry[]) =>
      sorted(entries).filter(({ name }) => name !== SET_BY_KRAFT && !NEWER.includes(name))
    expect(comparable(ours.configs)).toEqual(comparable(theirs.configs))
    expect(theirs.configs.length).toBeGreaterThan(30)
  })
})

test('the broker’s configs have the values, sources, types and synonyms that they have with Kafka', async () => {
  const [theirs, ours] = await Promise.all([ask(kafka, BROKER, NODE_ID, null), ask(varve, BROKER, NODE_ID, null)])
  const theirNames = new Set(theirs.configs.map(({ name }) => name))
  const ourNames = new Set(ours.configs.map(({ name }) => name))
  const comparable = (entries: readonly Entry[]) =>
    sorted(entries).filter(
      ({ name }) => name !== SET_BY_KRAFT && !OWN.includes(name) && theirNames.has(name) && ourNames.has(name),
    )
  expect(comparable(ours.configs)).toEqual(comparable(theirs.configs))
  expect(comparable(ours.configs).length).toBeGreaterThan(130)
})

test.each<[string, number, string, string[] | null]>([
  ['some keys, one unknown', TOPIC, 'plain', ['retention.ms', 'zork']],
  ['an empty list of keys', TOPIC, 'plain', []],
  ['an unknown topic', TOPIC, 'nope', null],
  ['a topic without a name', TOPIC, '', null],
  ['a topic with a bad name', TOPIC, 'a/b', null],
  ['another broker', BROKER, '7', null],
  ['a broker that is no number', BROKER, 'x', null],
])('%s: the answer has the same error and names', async (_what, resourceType, resourceName, keys) => {
  const [theirs, ours] = await Promise.all([
    ask(kafka, resourceType, resourceName, keys),
    ask(varve, resourceType, resourceName, keys),
  ])
  const names = ({ configs }: { configs: readonly Entry[] }) =>
    sorted(configs)
      .map(({ name }) => name)
      .filter((name) => !NEWER.includes(name))
  expect(names(ours)).toEqual(names(theirs))
  expect([ours.errorCode, ours.resourceType, ours.resourceName]).toEqual([
    theirs.errorCode,
    theirs.resourceType,
    theirs.resourceName,
  ])
  if (theirs.errorMessage) expect(ours.errorMessage).toBe(theirs.errorMessage)
})
