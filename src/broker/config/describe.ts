// SPDX-License-Identifier: Apache-2.0
// Configs in the shape of DescribeConfigs: value, source, type, synonyms, documentation. Kafka's ConfigHelper; one difference: where
// only a weaker synonym is set (log.retention.hours), Kafka calls retention.ms a default, and varve names the synonym.
import { brokerConfigs } from './broker-configs.ts'
import { type BrokerConfig, type EffectiveConfig, TopicConfig } from './config.ts'
import type { ConfigDefinition, ConfigType } from './definition.ts'
import { topicConfigs } from './topic-configs.ts'

export interface DescribedConfig {
  readonly name: string
  readonly value: string | null
  readonly readOnly: boolean
  readonly configSource: number
  readonly isSensitive: boolean
  readonly synonyms: ReadonlyArray<{ readonly name: string; readonly value: string | null; readonly source: number }>
  readonly configType: number
  readonly documentation: string
}

const CONFIG_TYPES: Readonly<Record<ConfigType, number>> = {
  boolean: 1,
  string: 2,
  int: 3,
  short: 4,
  long: 5,
  double: 6,
  list: 7,
  class: 8,
  password: 9,
}

export function describeTopicConfigs(
  broker: BrokerConfig,
  overrides: Readonly<Record<string, string>>,
): readonly DescribedConfig[] {
  const inherited = inheritedTopicConfigs(broker)
  if (Object.keys(overrides).length === 0) return inherited
  const config = new TopicConfig(broker, overrides)
  return topicConfigs
    .filter(({ name, internal }) => !internal || Object.hasOwn(overrides, name))
    .map((definition) =>
      Object.hasOwn(overrides, definition.name)
        ? described(definition, config.effective(definition.name), false)
        : inherited.find(({ name }) => name === definition.name)!,
    )
}

// Tools ask for the configs of every topic at once, and all but a few are what the broker says.
const inheritedByBroker = new WeakMap<BrokerConfig, readonly DescribedConfig[]>()

/** What a topic without configs of its own has. The broker's do not change while it runs. */
function inheritedTopicConfigs(broker: BrokerConfig): readonly DescribedConfig[] {
  let inherited = inheritedByBroker.get(broker)
  if (inherited === undefined) {
    const config = new TopicConfig(broker, {})
    inherited = topicConfigs
      .filter(({ internal }) => !internal)
      .map((definition) => described(definition, config.effective(definition.name), false))
    inheritedByBroker.set(broker, inherited)
  }
  return inherited
}

export function describeBrokerConfigs(broker: BrokerConfig): DescribedConfig[] {
  return brokerConfigs.map((definition) =>
    described(definition, broker.effective(definition.name), definition.dynamic === 'read-only'),
  )
}

function described(definition: ConfigDefinition, effective: EffectiveConfig, readOnly: boolean): DescribedConfig {
  const isSensitive = definition.type === 'password'
  return {
    name: definition.name,
    value: isSensitive ? null : effective.text,
    readOnly,
    configSource: effective.source,
    isSensitive,
    synonyms: effective.origins.map(({ name, text, source }) => ({ name, value: isSensitive ? null : text, source })),
    configType: CONFIG_TYPES[definition.type],
    documentation: definition.doc,
  }
}
