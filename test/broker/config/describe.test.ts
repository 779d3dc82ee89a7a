// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { BrokerConfig } from '../../../src/broker/config/config.ts'
import { describeBrokerConfigs, describeTopicConfigs } from '../../../src/broker/config/describe.ts'

const STATIC = 4
const DEFAULT = 5

function brokerEntry(set: Record<string, string>, name: string) {
  return describeBrokerConfigs(new BrokerConfig(set)).find((entry) => entry.name === name)!
}
function topicEntry(set: Record<string, string>, overrides: Record<string, string>, name: string) {
  return describeTopicConfigs(new BrokerConfig(set), overrides).find((entry) => entry.name === name)!
}

describe('describing configs', () => {
  it('lists every topic config, all writable, and the internal one only where it is set', () => {
    const names = (overrides: Record<string, string>) =>
      describeTopicConfigs(new BrokerConfig({}), overrides).map(({ name }) => name)
    expect(names({})).not.toContain('internal.segment.bytes')
    expect(names({ 'internal.segment.bytes': '4096' })).toContain('internal.segment.bytes')
    const entries = describeTopicConfigs(new BrokerConfig({}), {})
    expect(entries.length).toBeGreaterThan(35)
    for (const { readOnly, isSensitive, configSource } of entries)
      expect([readOnly, isSensitive, configSource]).toEqual([false, false, DEFAULT])
  })

  it('marks as read-only what Kafka can’t change at run time', () => {
    expect(brokerEntry({}, 'num.partitions').readOnly).toBe(true)
    expect(brokerEntry({}, 'log.segment.bytes').readOnly).toBe(false)
    expect(brokerEntry({}, 'listeners').readOnly).toBe(false)
    expect(brokerEntry({}, 'flush.mode').readOnly).toBe(true)
  })

  it('tells a default from what was set, with the default behind it', () => {
    expect(brokerEntry({ 'num.partitions': ' 5' }, 'num.partitions')).toMatchObject({
      value: '5',
      configSource: STATIC,
      configType: 3,
      synonyms: [
        { name: 'num.partitions', value: ' 5', source: STATIC },
        { name: 'num.partitions', value: '1', source: DEFAULT },
      ],
    })
    expect(brokerEntry({}, 'broker.rack')).toMatchObject({ value: null, configSource: DEFAULT, synonyms: [] })
  })

  it('names the broker’s default under the broker’s name', () => {
    expect(topicEntry({}, {}, 'segment.bytes').synonyms).toEqual([
      { name: 'log.segment.bytes', value: '1073741824', source: DEFAULT },
    ])
    // log.retention.ms has no default of its own: Kafka lists nothing then.
    expect(topicEntry({}, {}, 'retention.ms')).toMatchObject({
      value: '604800000',
      configSource: DEFAULT,
      synonyms: [],
    })
  })

  it('names the weaker synonym that a value comes from', () => {
    expect(topicEntry({ 'log.retention.hours': '2' }, {}, 'retention.ms')).toMatchObject({
      value: '7200000',
      configSource: STATIC,
      synonyms: [
        { name: 'log.retention.hours', value: '2', source: STATIC },
        { name: 'log.retention.hours', value: '168', source: DEFAULT },
      ],
    })
  })

  it('prints fractions and the largest long as Java does', () => {
    expect(topicEntry({}, { 'min.cleanable.dirty.ratio': '1' }, 'min.cleanable.dirty.ratio').value).toBe('1.0')
    expect(brokerEntry({}, 'log.cleaner.io.max.bytes.per.second').value).toBe('1.7976931348623157E308')
    expect(topicEntry({}, {}, 'flush.messages').value).toBe('9223372036854775807')
  })
})
