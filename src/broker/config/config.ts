// SPDX-License-Identifier: Apache-2.0
// BrokerConfig and TopicConfig: values by name, with where each comes from (a topic's own, the broker's, the default).
import { KafkaError } from '../../errors.ts'
import type { NativeLogConfig, NativePartitionConfig } from '../../storage/native.ts'
import { brokerConfigs } from './broker-configs.ts'
import { type ConfigDefinition, type ConfigValue, parseConfig } from './definition.ts'
import { topicConfigs } from './topic-configs.ts'

/** ConfigSource in Kafka's DescribeConfigs. */
export const ConfigSource = {
  dynamicTopic: 1,
  dynamicBroker: 2,
  dynamicDefaultBroker: 3,
  staticBroker: 4,
  default: 5,
} as const
export type ConfigSource = (typeof ConfigSource)[keyof typeof ConfigSource]

export interface EffectiveValue {
  /** As text. */
  readonly text: string | null
  readonly source: ConfigSource
}

const brokerByName = new Map(brokerConfigs.map((definition) => [definition.name, definition]))
const topicByName = new Map(topicConfigs.map((definition) => [definition.name, definition]))

/** The broker's static configs. */
export class BrokerConfig {
  readonly #set: ReadonlyMap<string, string>

  /** Throws KafkaError INVALID_CONFIG for an unknown name or a bad value. */
  constructor(set: Readonly<Record<string, string>>) {
    for (const [name, text] of Object.entries(set)) {
      const definition = brokerByName.get(name)
      if (definition === undefined) throw new KafkaError('INVALID_CONFIG', `Unknown broker configuration ${name}`)
      parseConfig(definition, text)
    }
    this.#set = new Map(Object.entries(set))
  }

  effective(name: string): EffectiveValue {
    const definition = brokerByName.get(name)
    if (definition === undefined) throw new RangeError(`no broker configuration is named ${name}`)
    const text = this.#set.get(name)
    return text === undefined
      ? { text: definition.defaultValue, source: ConfigSource.default }
      : { text, source: ConfigSource.staticBroker }
  }

  isSet(name: string): boolean {
    return this.#set.has(name)
  }

  number(name: string): number {
    return this.#value(name) as number
  }
  boolean(name: string): boolean {
    return this.#value(name) as boolean
  }
  string(name: string): string {
    return this.#value(name) as string
  }
  list(name: string): readonly string[] {
    return (this.#value(name) ?? []) as readonly string[]
  }
  numberOrNull(name: string): number | null {
    return this.#value(name) as number | null
  }

  #value(name: string): ConfigValue {
    const { text } = this.effective(name)
    return text === null ? null : parseConfig(brokerByName.get(name)!, text)
  }
}

/** Checks overrides of a topic; throws KafkaError INVALID_CONFIG. */
export function checkTopicConfigs(overrides: ReadonlyMap<string, string | null>): void {
  for (const [name, text] of overrides) {
    const definition = topicByName.get(name)
    if (definition === undefined) throw new KafkaError('INVALID_CONFIG', `Unknown topic config name: ${name}`)
    if (text === null) throw new KafkaError('INVALID_CONFIG', `Null value not supported for topic configs: ${name}`)
    parseConfig(definition, text)
  }
}

/** What holds for one topic: its overrides over the broker's configs over the defaults. */
export class TopicConfig {
  readonly #broker: BrokerConfig
  readonly #overrides: Readonly<Record<string, string>>

  constructor(broker: BrokerConfig, overrides: Readonly<Record<string, string>>) {
    this.#broker = broker
    this.#overrides = overrides
  }

  effective(name: string): EffectiveValue {
    return this.synonyms(name)[0]!.value
  }

  /** Every source that sets the config, the strongest first, and last its default. */
  synonyms(name: string): Array<{ readonly name: string; readonly value: EffectiveValue }> {
    const definition = topicByName.get(name)
    if (definition === undefined) throw new RangeError(`no topic configuration is named ${name}`)
    const found: Array<{ name: string; value: EffectiveValue }> = []
    const own = this.#overrides[name]
    if (own !== undefined) found.push({ name, value: { text: own, source: ConfigSource.dynamicTopic } })
    for (const synonym of definition.synonyms ?? []) {
      if (!this.#broker.isSet(synonym.name)) continue
      const { text, source } = this.#broker.effective(synonym.name)
      if (text !== null) found.push({ name: synonym.name, value: { text: scaled(text, synonym.times), source } })
    }
    found.push({ name, value: { text: definition.defaultValue, source: ConfigSource.default } })
    return found
  }

  number(name: string): number {
    return this.#value(name) as number
  }
  list(name: string): readonly string[] {
    return this.#value(name) as readonly string[]
  }
  string(name: string): string {
    return this.#value(name) as string
  }

  log(): NativeLogConfig {
    const policy = this.list('cleanup.policy')
    return {
      segmentBytes: this.number('segment.bytes'),
      segmentMs: this.number('segment.ms'),
      segmentJitterMs: this.number('segment.jitter.ms'),
      segmentIndexBytes: this.number('segment.index.bytes'),
      indexIntervalBytes: this.number('index.interval.bytes'),
      retentionMs: this.number('retention.ms'),
      retentionBytes: this.number('retention.bytes'),
      fileDeleteDelayMs: this.number('file.delete.delay.ms'),
      cleanupDelete: policy.includes('delete'),
      cleanupCompact: policy.includes('compact'),
      logAppendTime: this.string('message.timestamp.type') === 'LogAppendTime',
    }
  }

  partition(): NativePartitionConfig {
    return {
      maxMessageBytes: this.number('max.message.bytes'),
      timestampBeforeMaxMs: this.number('message.timestamp.before.max.ms'),
      timestampAfterMaxMs: this.number('message.timestamp.after.max.ms'),
      strictValidation: this.#broker.boolean('strict.produce.validation'),
      maxDecompressedBatchBytes: this.#broker.number('max.decompressed.batch.bytes'),
      log: this.log(),
    }
  }

  #value(name: string): ConfigValue {
    const { text } = this.effective(name)
    return parseConfig(topicByName.get(name)!, text)
  }
}

function scaled(text: string, times: number | undefined): string {
  // -1 means no limit in every unit.
  if (times === undefined || text.trim().startsWith('-')) return text
  return String(Number(text) * times)
}

export type { ConfigDefinition }
export { brokerConfigs, topicConfigs }
