// SPDX-License-Identifier: Apache-2.0
// Our config tables against Apache Kafka's own definitions: names, types, defaults, importance, synonyms, dynamics, and for many
// values whether they are taken, how they are printed back, and what the refusal says.
import { beforeAll, expect, test } from 'vitest'
import { brokerConfigs, varveConfigs } from '../../src/broker/config/broker-configs.ts'
import { checkTopicConfigs } from '../../src/broker/config/config.ts'
import type { ConfigDefinition } from '../../src/broker/config/definition.ts'
import { foreignConfig } from '../../src/broker/config/foreign-configs.ts'
import { topicConfigs } from '../../src/broker/config/topic-configs.ts'
import { parseConfig } from '../../src/broker/config/value.ts'
import { KafkaError } from '../../src/errors.ts'
import { KAFKA_CLIENTS_VERSION, KafkaJars } from './kafka-clients.ts'

/** Defaults that differ on purpose: config → [Kafka's, ours]. */
const OTHER_DEFAULTS: Record<string, [string | null, string]> = {
  'broker.id': ['-1', '1'],
  listeners: ['PLAINTEXT://:9092', 'PLAINTEXT://127.0.0.1:9092'],
  'log.dir': ['/tmp/kafka-logs', './varve-data'],
  'max.connection.creation.rate': ['2147483647', '200'],
  'max.connections': ['2147483647', '10000'],
  'max.connections.per.ip': ['2147483647', '1000'],
  'node.id': [null, '1'],
  'queued.max.request.bytes': ['-1', '536870912'],
}
/** Values that Kafka takes and we refuse, with our reason; Kafka may need more than the definition to refuse them too. */
const NOT_TAKEN: Record<string, RegExp> = {
  'security.inter.broker.protocol': /must be one of: PLAINTEXT$/,
  'remote.storage.enable': /^Tiered Storage functionality is disabled/,
  'remote.log.storage.system.enable': /no tiered storage/,
}

const VALUES = [
  ...[
    '',
    ' ',
    'abc',
    '-1',
    '-2',
    '-3',
    '0',
    '1',
    ' 7 ',
    '+5',
    '007',
    '-0',
    '1.5',
    '1e3',
    '.5',
    '5.',
    '1d',
    '0x10',
    '*',
  ],
  ...[
    '17',
    '18',
    '22',
    '23',
    '-131072',
    '-131073',
    '0.001',
    '0.0001',
    '12345678',
    '1048575',
    '1048576',
    '9999999',
    '10000000',
  ],
  ...['2147483639', '2147483647', '2147483648', '-2147483648', '-2147483649', '32767', '32768', '99999999999'],
  ...['9223372036854775807', '9223372036854775808', '-9223372036854775808', '-9223372036854775809', '1'.repeat(30)],
  ...['true', 'TRUE', ' False ', 'yes', 'none', 'null', 'compact', 'delete', 'compact,delete', 'delete , compact'],
  ...['delete,delete', 'compact,', ',', ',compact', 'zstd', 'ZSTD', 'gzip', 'producer', 'uncompressed', 'CreateTime'],
  ...['LogAppendTime', 'logappendtime', '0:1', '0:1,1:2', '0:1, 1:2', '0:a', '0:1,0:1', '*,0:1', 'PLAINTEXT', 'SSL'],
  ...['PLAINTEXT://a:1,PLAINTEXT://b:2', 'A:PLAINTEXT,B:plaintext', 'A:SSL', 'Upgrade', 'UPGRADE', 'classic,consumer'],
]
const TOGETHER = [
  'zork=1',
  'min.compaction.lag.ms=5;max.compaction.lag.ms=4',
  'min.compaction.lag.ms=5;max.compaction.lag.ms=5',
  'cleanup.policy=;retention.ms=4',
  'cleanup.policy=compact,delete;segment.bytes=1048576;retention.ms=-1;retention.bytes=1',
  'segment.bytes=100',
  'internal.segment.bytes=100',
  'local.retention.ms=10;retention.ms=5',
  'remote.storage.enable=true',
  'remote.copy.lag.ms=99;local.retention.ms=5',
]

const kafka = {
  topic: [] as string[][],
  broker: [] as string[][],
  synonym: [] as string[][],
  dynamic: [] as string[][],
}
let answers: string[] = []
const asked = [
  ...[...brokerConfigs, ...topicConfigs]
    .filter((definition) => !varveConfigs.some(({ name }) => name === definition.name))
    .flatMap((definition) =>
      VALUES.map((value) => ({ kind: 'dynamic' in definition ? 'broker' : 'topic', definition, value })),
    ),
]

beforeAll(() => {
  const jars = new KafkaJars('kafka-server')
  jars.install()
  const lines = jars.java(
    new URL('../broker/config/KafkaConfigs.java', import.meta.url),
    [],
    [
      ...asked.map(({ kind, definition, value }) => `${kind}\t${definition.name}\t${value}`),
      ...TOGETHER.map((values) => `topics\t\t${values}`),
    ].join('\n'),
  )
  answers = lines.filter((line) => /^(?:ok|bad)(?:\t|$)/.test(line))
  for (const line of lines) {
    const [kind, ...fields] = line.split('\t')
    kafka[kind as keyof typeof kafka]?.push(fields)
  }
})

function comparable(definition: ConfigDefinition): string[] {
  const { name, type, defaultValue, importance, internal } = definition
  return [name, type, defaultValue ?? '\\0', importance, String(internal ?? false)]
}

test(`the topic configs are those of Kafka ${KAFKA_CLIENTS_VERSION}`, () => {
  expect(topicConfigs.map(comparable)).toEqual(kafka.topic)
  expect(kafka.topic.length).toBeGreaterThan(35)
})

test('each topic config takes its default from the broker configs that Kafka names', () => {
  const ours = topicConfigs.flatMap(({ name, synonyms = [] }) =>
    synonyms.map((synonym) => [name, synonym.name, String(synonym.times ?? 1)]),
  )
  expect(ours.sort()).toEqual(kafka.synonym.sort())
})

test('broker configs have Kafka’s types, defaults and importance, but for the defaults listed here', () => {
  const expected = new Map(kafka.broker.map((fields) => [fields[0], fields]))
  const ours = brokerConfigs.filter(({ name }) => !varveConfigs.some((own) => own.name === name))
  for (const definition of ours) {
    const [name, type, defaultValue, ...rest] = expected.get(definition.name) ?? [definition.name, 'is not Kafka’s']
    const other = OTHER_DEFAULTS[definition.name]
    if (other !== undefined) expect(defaultValue).toBe(other[0] ?? '\\0')
    expect(comparable(definition)).toEqual([name, type, other?.[1] ?? defaultValue, ...rest])
  }
  expect(Object.keys(OTHER_DEFAULTS).filter((name) => !ours.some((definition) => definition.name === name))).toEqual([])
})

test('broker configs can be changed at run time where Kafka’s can', () => {
  const modes = new Map(kafka.dynamic.map(([name, mode]) => [name, mode]))
  for (const { name, dynamic } of brokerConfigs) expect([name, dynamic]).toEqual([name, modes.get(name) ?? 'read-only'])
})

test('varve’s own configs have names that Kafka does not use', () => {
  const names = new Set(kafka.broker.map(([name]) => name))
  expect(varveConfigs.filter(({ name }) => names.has(name))).toEqual([])
})

test('every broker config of Kafka is in the table, ignored, or refused for safety', () => {
  const table = new Set(brokerConfigs.map(({ name }) => name))
  const fate = (name: string): string => (table.has(name) ? 'in the table' : (foreignConfig(name) ?? 'unknown'))
  const external = kafka.broker.filter((fields) => fields[4] === 'false').map(([name]) => name!)
  expect(external.filter((name) => fate(name) === 'unknown')).toEqual([])
  const refused = external.filter((name) => fate(name) === 'refused')
  expect(refused).toContain('authorizer.class.name')
  expect(refused).toContain('ssl.keystore.location')
  expect(refused).toContain('sasl.jaas.config')
  const ignored = external.filter((name) => fate(name) === 'ignored')
  expect(ignored.filter((name) => /security|ssl|sasl|auth|password/.test(name))).toEqual([])
})

function outcome(take: () => string | null): string {
  try {
    return `ok\t${take() ?? ''}`
  } catch (error) {
    if (error instanceof KafkaError && error.code === 'INVALID_CONFIG') return `bad\t${error.message}`
    throw error
  }
}

test('values are taken, printed and refused as Kafka does', () => {
  const wrong: unknown[] = []
  asked.forEach(({ definition, value }, i) => {
    const ours = outcome(() => parseConfig(definition, value).text)
    const reason = NOT_TAKEN[definition.name]
    if (ours === answers[i]) return
    if (reason !== undefined && ours.startsWith('bad\t') && reason.test(ours.slice(4))) return
    wrong.push({ name: definition.name, value, ours, kafkas: answers[i] })
  })
  expect(wrong.slice(0, 10)).toEqual([])
  expect(answers.length).toBe(asked.length + TOGETHER.length)
})

test.each(TOGETHER.map((values, i) => [values, i] as const))('%s together fares as with Kafka', (values, i) => {
  const overrides = new Map(values.split(';').map((pair) => pair.split('=') as [string, string]))
  const ours = outcome(() => {
    checkTopicConfigs(overrides)
    return 'taken'
  })
  expect(ours).toBe(answers[asked.length + i])
})
