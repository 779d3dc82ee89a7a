// SPDX-License-Identifier: Apache-2.0
// Configs in the shape of DescribeConfigs: value, source, type, synonyms, documentation.
import { type BrokerConfig, brokerConfigs, TopicConfig, topicConfigs } from './config.ts'
import type { ConfigDefinition, ConfigType } from './definition.ts'

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
): DescribedConfig[] {
  const config = new TopicConfig(broker, overrides)
  return topicConfigs.map((definition) => {
    const sources = config.synonyms(definition.name)
    return described(
      definition,
      sources.map(({ name, value }) => ({ name, value: value.text, source: value.source })),
      false,
    )
  })
}

export function describeBrokerConfigs(broker: BrokerConfig): DescribedConfig[] {
  return brokerConfigs.map((definition) => {
    const { text, source } = broker.effective(definition.name)
    return described(definition, [{ name: definition.name, value: text, source }], true)
  })
}

function described(
  definition: ConfigDefinition,
  synonyms: DescribedConfig['synonyms'],
  readOnly: boolean,
): DescribedConfig {
  const isSensitive = definition.type === 'password'
  const shown = isSensitive ? synonyms.map((synonym) => ({ ...synonym, value: null })) : synonyms
  const strongest = shown[0]!
  return {
    name: definition.name,
    value: strongest.value,
    readOnly,
    configSource: strongest.source,
    isSensitive,
    synonyms: shown,
    configType: CONFIG_TYPES[definition.type],
    documentation: definition.doc,
  }
}
