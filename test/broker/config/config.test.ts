// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { brokerConfigs } from '../../../src/broker/config/broker-configs.ts'
import { BrokerConfig, ConfigSource, checkTopicConfigs, TopicConfig } from '../../../src/broker/config/config.ts'
import { topicConfigs } from '../../../src/broker/config/topic-configs.ts'
import { KafkaError } from '../../../src/errors.ts'

function refusal(take: () => unknown): string {
  try {
    take()
  } catch (error) {
    if (error instanceof KafkaError && error.code === 'INVALID_CONFIG') return error.message
    throw error
  }
  return 'taken'
}

describe('the tables', () => {
  it('have every default pass its own check', () => {
    const broker = new BrokerConfig({})
    const topic = new TopicConfig(broker, {})
    for (const { name, defaultValue } of brokerConfigs) expect(broker.effective(name).text).toBe(defaultValue)
    for (const { name, defaultValue } of topicConfigs) expect(topic.effective(name).text).toBe(defaultValue)
  })

  it('name broker configs as synonyms that are there and have the same type and default', () => {
    const byName = new Map(brokerConfigs.map((definition) => [definition.name, definition]))
    for (const { name, type, defaultValue, synonyms = [] } of topicConfigs)
      for (const synonym of synonyms) {
        const definition = byName.get(synonym.name)
        expect(definition, `${name} ← ${synonym.name}`).toBeDefined()
        const isScaled = synonym.times !== undefined
        if (!isScaled) expect(definition!.type).toBe(type)
        if (definition!.defaultValue === null) continue
        const times = BigInt(synonym.times ?? 1)
        expect(isScaled ? String(BigInt(definition!.defaultValue) * times) : definition!.defaultValue).toBe(
          defaultValue,
        )
      }
  })

  it('say of every config that is accepted only that it has no effect, and why', () => {
    for (const { name, effect, doc } of [...brokerConfigs, ...topicConfigs])
      expect([name, /Accepted, no effect: \S.*\.$/.test(doc)]).toEqual([name, effect === 'accepted'])
  })

  it('have each name once, in order', () => {
    for (const table of [brokerConfigs, topicConfigs]) {
      const names = table.map(({ name }) => name)
      expect(names).toEqual([...new Set(names)].sort())
    }
  })
})

describe('BrokerConfig', () => {
  it('keeps the text of the largest long exact, and its number safe', () => {
    const config = new BrokerConfig({ 'log.message.timestamp.after.max.ms': '9223372036854775807' })
    expect(config.effective('log.message.timestamp.after.max.ms').text).toBe('9223372036854775807')
    expect(config.number('log.message.timestamp.after.max.ms')).toBe(Number.MAX_SAFE_INTEGER)
  })

  it('refuses a name that Kafka does not have, and says which one was meant', () => {
    expect(refusal(() => new BrokerConfig({ 'log.retention.hour': '5' }))).toBe(
      'Unknown broker configuration log.retention.hour: did you mean log.retention.hours?',
    )
    expect(refusal(() => new BrokerConfig({ zork: '5' }))).toBe('Unknown broker configuration zork')
  })

  it.each([
    ['ssl.keystore.location', '/x'],
    ['sasl.enabled.mechanisms', 'PLAIN'],
    ['authorizer.class.name', 'org.apache.kafka.metadata.authorizer.StandardAuthorizer'],
    ['listener.name.internal.ssl.keystore.location', '/x'],
    ['principal.builder.class', 'X'],
    ['config.providers', 'file'],
    ['create.topic.policy.class.name', 'X'],
  ])('refuses %s: ignoring it would leave the broker open', (name, text) => {
    expect(refusal(() => new BrokerConfig({ [name]: text }))).toMatch(/is not available yet.*take it out/)
    expect(new BrokerConfig({ [name]: ' ' }).withoutEffect).toEqual([])
  })

  it('refuses listeners that are to be encrypted', () => {
    const map = 'listener.security.protocol.map'
    const only = /only PLAINTEXT is available yet/
    expect(refusal(() => new BrokerConfig({ listeners: 'SSL://:9093' }))).toMatch(only)
    expect(refusal(() => new BrokerConfig({ listeners: ':9092,OUT=h:9093', [map]: 'OUT:SASL_SSL' }))).toMatch(only)
    expect(refusal(() => new BrokerConfig({ 'advertised.listeners': 'sasl_plaintext://h:9093' }))).toMatch(only)
    expect(refusal(() => new BrokerConfig({ 'security.inter.broker.protocol': 'SSL' }))).toMatch(/one of: PLAINTEXT/)
    const kraft = { listeners: 'CONTROLLER://:9093,:9092', [map]: 'CONTROLLER:PLAINTEXT, PLAINTEXT:PLAINTEXT,SSL:SSL' }
    expect(new BrokerConfig(kraft).withoutEffect).toEqual([map])
  })

  it('takes the server.properties of a Kafka broker and names what does nothing', () => {
    const config = new BrokerConfig({
      'process.roles': 'broker,controller',
      'node.id': '7',
      'controller.quorum.voters': '7@localhost:9093',
      'num.io.threads': '8',
      'offsets.topic.replication.factor': '1',
      'log.retention.hours': '24',
      'zookeeper.connect': 'localhost:2181',
    })
    expect(config.withoutEffect).toEqual([
      'process.roles',
      'controller.quorum.voters',
      'num.io.threads',
      'offsets.topic.replication.factor',
      'zookeeper.connect',
    ])
    expect(config.number('broker.id')).toBe(7)
  })

  it('takes node.id under its older name, and not two of them', () => {
    expect(new BrokerConfig({ 'broker.id': ' 3' }).number('node.id')).toBe(3)
    expect(refusal(() => new BrokerConfig({ 'broker.id': '3', 'node.id': '4' }))).toMatch(/two names of one config/)
  })

  it('takes directories from log.dir where log.dirs is not set', () => {
    expect(new BrokerConfig({}).logDirectories).toEqual(['./varve-data'])
    expect(new BrokerConfig({ 'log.dir': '/a' }).logDirectories).toEqual(['/a'])
    expect(new BrokerConfig({ 'log.dir': '/a', 'log.dirs': '/b, /c' }).logDirectories).toEqual(['/b', '/c'])
  })

  it.each([
    [{ 'log.retention.hours': '0' }, /log\.retention\.hours.*-1, for no limit, or at least 1/],
    [{ 'group.min.session.timeout.ms': '2000000' }, /must not be above/],
    [{ 'queued.max.request.bytes': '1000' }, /must not be below socket\.request\.max\.bytes/],
    [{ 'queued.max.request.bytes': '-1' }, /^taken$/],
    [{ 'log.segment.bytes': '1000' }, /Value must be at least 1048576/],
  ])('checks what belongs together: %j', (set, expected) => {
    expect(refusal(() => new BrokerConfig(set as Record<string, string>))).toMatch(expected)
  })

  it('throws RangeError for a name that no table has', () => {
    expect(() => new BrokerConfig({}).number('zork')).toThrow(RangeError)
    expect(() => new TopicConfig(new BrokerConfig({}), {}).number('zork')).toThrow(RangeError)
  })
})

describe('TopicConfig', () => {
  const { dynamicTopic, staticBroker, default: byDefault } = ConfigSource

  it('takes the strongest of the broker configs in other units', () => {
    const retention = (set: Record<string, string>) => {
      const { value, text, source } = new TopicConfig(new BrokerConfig(set), {}).effective('retention.ms')
      return [value, text, source]
    }
    expect(retention({})).toEqual([604_800_000, '604800000', byDefault])
    expect(retention({ 'log.retention.hours': '2' })).toEqual([7_200_000, '7200000', staticBroker])
    expect(retention({ 'log.retention.hours': '2', 'log.retention.minutes': '3' })).toEqual([
      180_000,
      '180000',
      staticBroker,
    ])
    expect(retention({ 'log.retention.ms': '9', 'log.retention.minutes': '3' })).toEqual([9, '9', staticBroker])
    expect(retention({ 'log.retention.hours': '-1' })).toEqual([-1, '-1', staticBroker])
  })

  it('puts the topic’s own value over the broker’s, printed as Kafka prints it', () => {
    const broker = new BrokerConfig({ 'log.roll.ms': '5000', 'log.roll.hours': '3', 'log.cleanup.policy': 'compact' })
    const topic = new TopicConfig(broker, { 'segment.ms': ' 0100', 'cleanup.policy': 'compact , delete' })
    expect(topic.effective('segment.ms')).toEqual({
      value: 100,
      text: '100',
      source: dynamicTopic,
      origins: [
        { name: 'segment.ms', text: '100', source: dynamicTopic },
        { name: 'log.roll.ms', text: '5000', source: staticBroker },
        { name: 'log.roll.hours', text: '3', source: staticBroker },
        { name: 'log.roll.hours', text: '168', source: byDefault },
      ],
    })
    expect(topic.effective('cleanup.policy').text).toBe('compact,delete')
    expect(topic.log()).toMatchObject({ segmentMs: 100, cleanupDelete: true, cleanupCompact: true })
  })

  it('never deletes where the cleanup policy is empty or only compacts', () => {
    const log = (policy: string) => new TopicConfig(new BrokerConfig({}), { 'cleanup.policy': policy }).log()
    expect(log('')).toMatchObject({ cleanupDelete: false, cleanupCompact: false })
    expect(log('compact')).toMatchObject({ cleanupDelete: false, cleanupCompact: true })
    expect(log('delete')).toMatchObject({ cleanupDelete: true, cleanupCompact: false })
  })

  it('lets tests have segments below Kafka’s bound', () => {
    const config = new TopicConfig(new BrokerConfig({}), { 'internal.segment.bytes': '4096' })
    expect(config.log().segmentBytes).toBe(4096)
    expect(refusal(() => checkTopicConfigs(new Map([['segment.bytes', '4096']])))).toMatch(/at least 1048576/)
  })

  it('gives the plane the limits of the topic and of the broker', () => {
    const broker = new BrokerConfig({ 'message.max.bytes': '2000', 'strict.produce.validation': 'false' })
    expect(new TopicConfig(broker, { 'message.timestamp.type': 'LogAppendTime' }).partition()).toMatchObject({
      maxMessageBytes: 2000,
      timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
      timestampAfterMaxMs: 3_600_000,
      strictValidation: false,
      maxDecompressedBatchBytes: 67_109_632,
      log: { logAppendTime: true },
    })
  })

  it('is not misled by names that every object has', () => {
    expect(new TopicConfig(new BrokerConfig({}), {}).effective('retention.ms').source).toBe(byDefault)
    expect(refusal(() => checkTopicConfigs(new Map([['constructor', '1']])))).toBe(
      'Unknown topic config name: constructor',
    )
    expect(refusal(() => new BrokerConfig({ constructor: '1' }))).toMatch(/^Unknown broker configuration constructor/)
  })

  it('refuses configs without a value, all of them in one text', () => {
    const overrides = new Map<string, string | null>([
      ['a', null],
      ['retention.ms', '1'],
      ['b', null],
    ])
    expect(refusal(() => checkTopicConfigs(overrides))).toBe('Null value not supported for topic configs: a,b')
  })
})
