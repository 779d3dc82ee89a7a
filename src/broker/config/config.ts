// SPDX-License-Identifier: Apache-2.0
// BrokerConfig and TopicConfig: values by name, with where each comes from (a topic's own, the broker's, the default). What a text
// means is value.ts's, what an answer lists describe.ts's.
import { KafkaError } from '../../errors.ts'
import type { NativeLogConfig, NativePartitionConfig } from '../../storage/native.ts'
import { brokerConfigs } from './broker-configs.ts'
import type { BrokerConfigDefinition, TopicConfigDefinition } from './definition.ts'
import { foreignConfig, nearestName } from './foreign-configs.ts'
import { topicConfigs } from './topic-configs.ts'
import { type ConfigValue, type ParsedConfig, parseConfig } from './value.ts'

/** ConfigSource in Kafka's DescribeConfigs. */
export const ConfigSource = {
  dynamicTopic: 1,
  dynamicBroker: 2,
  dynamicDefaultBroker: 3,
  staticBroker: 4,
  default: 5,
} as const
export type ConfigSource = (typeof ConfigSource)[keyof typeof ConfigSource]

/** One place that a value may come from. */
export interface ConfigOrigin {
  readonly name: string
  /** As it was given there. */
  readonly text: string | null
  readonly source: ConfigSource
}

/** What holds, as Kafka prints it, and all that says something about it, the strongest first. */
export interface EffectiveConfig extends ParsedConfig {
  readonly source: ConfigSource
  readonly origins: readonly ConfigOrigin[]
}

const brokerByName = new Map(brokerConfigs.map((definition) => [definition.name, definition]))
const topicByName = new Map(topicConfigs.map((definition) => [definition.name, definition]))

/** Broker configs that stand in for another one, the strongest first: Kafka's DynamicBrokerConfig.brokerConfigSynonyms. */
const BROKER_SYNONYMS: ReadonlyMap<string, readonly string[]> = new Map(
  [
    ['log.roll.ms', 'log.roll.hours'],
    ['log.roll.jitter.ms', 'log.roll.jitter.hours'],
    ['log.retention.ms', 'log.retention.minutes', 'log.retention.hours'],
    ['log.flush.interval.ms', 'log.flush.scheduler.interval.ms'],
  ].map((names) => [names[0]!, names]),
)

function parseDefault(definition: BrokerConfigDefinition | TopicConfigDefinition): ParsedConfig {
  const { defaultValue } = definition
  return defaultValue === null ? { value: null, text: null } : parseConfig(definition, defaultValue)
}

/** The broker's static configs. */
export class BrokerConfig {
  readonly #set: ReadonlyMap<string, string>
  readonly #parsed = new Map<string, ParsedConfig>()
  readonly #withoutEffect: string[] = []

  /** Throws KafkaError INVALID_CONFIG for a name that Kafka does not have, for a bad value, and for security that is not there. */
  constructor(set: Readonly<Record<string, string>>) {
    const known = new Map<string, string>()
    for (const [name, text] of Object.entries(set)) {
      const definition = brokerByName.get(name)
      if (definition === undefined) {
        this.#takeForeign(name, text)
        continue
      }
      this.#parsed.set(name, parseConfig(definition, text))
      known.set(name, text)
      if (definition.effect === 'accepted') this.#withoutEffect.push(name)
    }
    this.#set = known
    this.#checkTogether()
    const nodeId = known.get('node.id') ?? known.get('broker.id')
    if (nodeId !== undefined)
      for (const name of ['node.id', 'broker.id']) {
        known.set(name, nodeId)
        this.#parsed.set(name, parseConfig(brokerByName.get(name)!, nodeId))
      }
  }

  /** Names that were set, are Kafka's, and do nothing here. */
  get withoutEffect(): readonly string[] {
    return this.#withoutEffect
  }

  #takeForeign(name: string, text: string): void {
    switch (foreignConfig(name)) {
      case 'ignored':
        this.#withoutEffect.push(name)
        return
      case 'refused':
        if (text.trim() === '') return
        throw new KafkaError(
          'INVALID_CONFIG',
          `${name} is not available yet, and a broker that ignored it would be less protected than it was asked to be: take it out to start without`,
        )
      default: {
        const nearest = nearestName(name, brokerByName.keys())
        const hint = nearest === undefined ? '' : `: did you mean ${nearest}?`
        throw new KafkaError('INVALID_CONFIG', `Unknown broker configuration ${name}${hint}`)
      }
    }
  }

  #checkTogether(): void {
    const fail = (why: string): never => {
      throw new KafkaError('INVALID_CONFIG', why)
    }
    const nodeId = this.#set.get('node.id')
    const brokerId = this.#set.get('broker.id')
    if (nodeId !== undefined && brokerId !== undefined && this.number('node.id') !== this.number('broker.id'))
      fail(`node.id is ${nodeId} and broker.id ${brokerId}: they are two names of one config`)
    for (const name of ['log.retention.ms', 'log.retention.minutes', 'log.retention.hours']) {
      const value = this.numberOrNull(name)
      if (value !== null && value < 1 && value !== -1)
        fail(`Invalid value ${value} for configuration ${name}: it must be -1, for no limit, or at least 1`)
    }
    this.#checkListeners()
    const shortest = this.number('group.min.session.timeout.ms')
    const longest = this.number('group.max.session.timeout.ms')
    if (shortest > longest)
      fail(`group.min.session.timeout.ms (${shortest}) must not be above group.max.session.timeout.ms (${longest})`)
    const queued = this.number('queued.max.request.bytes')
    const request = this.number('socket.request.max.bytes')
    if (queued > 0 && queued < request)
      fail(`queued.max.request.bytes (${queued}) must not be below socket.request.max.bytes (${request})`)
  }

  /** A listener that is to be encrypted or authenticated must not be opened in plain. */
  #checkListeners(): void {
    const protocols = new Map(
      this.string('listener.security.protocol.map')
        .split(',')
        .map((pair) => pair.split(':').map((part) => part.trim().toUpperCase()))
        .map(([name, protocol]) => [name, protocol]),
    )
    for (const listener of [...this.list('listeners'), ...this.list('advertised.listeners')]) {
      const name = /^\s*([A-Za-z][A-Za-z0-9_]*)(?::\/\/|=)/.exec(listener)?.[1]?.toUpperCase()
      const protocol = name === undefined ? undefined : protocols.get(name)
      if (protocol !== undefined && protocol !== 'PLAINTEXT')
        throw new KafkaError(
          'INVALID_CONFIG',
          `The listener ${listener} is ${protocol} by listener.security.protocol.map: only PLAINTEXT is available yet`,
        )
    }
  }

  effective(name: string): EffectiveConfig {
    const definition = this.#definition(name)
    const origins = this.origins(name)
    const { value, text } = this.#own(definition)
    return { value, text, source: origins[0]?.source ?? ConfigSource.default, origins }
  }

  /** Where `name` and what stands in for it is set, then their defaults. Of defaults only those from `name`'s own on. */
  origins(name: string): ConfigOrigin[] {
    const names = BROKER_SYNONYMS.get(name) ?? [name]
    const origins: ConfigOrigin[] = []
    for (const synonym of names) {
      const text = this.#set.get(synonym)
      if (text !== undefined) origins.push({ name: synonym, text, source: ConfigSource.staticBroker })
    }
    for (const synonym of names) {
      const text = this.#definition(synonym).defaultValue
      if (text !== null && (origins.length > 0 || synonym === name))
        origins.push({ name: synonym, text, source: ConfigSource.default })
    }
    return origins
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
  stringOrNull(name: string): string | null {
    return this.#value(name) as string | null
  }
  /** log.dirs, or log.dir where that is not set. */
  get logDirectories(): readonly string[] {
    return this.isSet('log.dirs') ? this.list('log.dirs') : this.list('log.dir')
  }

  #value(name: string): ConfigValue {
    return this.#own(this.#definition(name)).value
  }

  #own(definition: BrokerConfigDefinition): ParsedConfig {
    let parsed = this.#parsed.get(definition.name)
    if (parsed === undefined) {
      parsed = parseDefault(definition)
      this.#parsed.set(definition.name, parsed)
    }
    return parsed
  }

  #definition(name: string): BrokerConfigDefinition {
    const definition = brokerByName.get(name)
    if (definition === undefined) throw new RangeError(`no broker configuration is named ${name}`)
    return definition
  }
}

/** Checks overrides of a topic; throws KafkaError INVALID_CONFIG. */
export function checkTopicConfigs(overrides: ReadonlyMap<string, string | null>): void {
  const fail = (why: string): never => {
    throw new KafkaError('INVALID_CONFIG', why)
  }
  const withoutValue = [...overrides].filter(([, text]) => text === null).map(([name]) => name)
  if (withoutValue.length > 0) fail(`Null value not supported for topic configs: ${withoutValue.join(',')}`)
  for (const name of overrides.keys()) if (!topicByName.has(name)) fail(`Unknown topic config name: ${name}`)
  const parsed = new Map<string, ParsedConfig>()
  for (const [name, text] of overrides) parsed.set(name, parseConfig(topicByName.get(name)!, text!))
  const lag = (name: string): ParsedConfig => parsed.get(name) ?? parseDefault(topicByName.get(name)!)
  const shortest = lag('min.compaction.lag.ms')
  const longest = lag('max.compaction.lag.ms')
  if ((shortest.value as number) > (longest.value as number))
    fail(
      `conflict topic config setting min.compaction.lag.ms (${shortest.text}) > max.compaction.lag.ms (${longest.text})`,
    )
}

/**
 * The overrides of a stored topic that hold. Another version wrote the rest, with names or bounds of its own: `refused` is told of them,
 * and what they were to override holds.
 */
export function acceptedTopicConfigs(
  overrides: Readonly<Record<string, string>>,
  refused: (name: string, text: string, why: string) => void,
): Record<string, string> {
  const accepted: Record<string, string> = {}
  for (const [name, text] of Object.entries(overrides)) {
    try {
      checkTopicConfigs(new Map([[name, text]]))
      accepted[name] = text
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error
      refused(name, text, error.message)
    }
  }
  return accepted
}

/** What holds for one topic: its overrides over the broker's configs over the defaults. */
export class TopicConfig {
  readonly #broker: BrokerConfig
  readonly #overrides: Readonly<Record<string, string>>

  constructor(broker: BrokerConfig, overrides: Readonly<Record<string, string>>) {
    this.#broker = broker
    this.#overrides = overrides
  }

  effective(name: string): EffectiveConfig {
    const definition = topicByName.get(name)
    if (definition === undefined) throw new RangeError(`no topic configuration is named ${name}`)
    const strongest = definition.synonyms?.[0]?.name
    const inherited = strongest === undefined ? [] : this.#broker.origins(strongest)
    const own = this.#own(name)
    if (own !== undefined) {
      const parsed = parseConfig(definition, own)
      const source = ConfigSource.dynamicTopic
      return { ...parsed, source, origins: [{ name, text: parsed.text, source }, ...inherited] }
    }
    const given = definition.synonyms?.find((synonym) => this.#broker.isSet(synonym.name))
    const parsed = given === undefined ? parseDefault(definition) : this.#inherit(definition, given)
    return { ...parsed, source: inherited[0]?.source ?? ConfigSource.default, origins: inherited }
  }

  #inherit(
    definition: TopicConfigDefinition,
    { name, times }: { readonly name: string; readonly times?: number },
  ): ParsedConfig {
    const parsed = this.#broker.effective(name)
    // -1 means no limit in every unit.
    if (times === undefined || (parsed.value as number) < 0) return parsed
    return parseConfig(definition, String(BigInt(parsed.text!) * BigInt(times)))
  }

  number(name: string): number {
    return this.effective(name).value as number
  }
  list(name: string): readonly string[] {
    return this.effective(name).value as readonly string[]
  }
  string(name: string): string {
    return this.effective(name).value as string
  }

  log(): NativeLogConfig {
    const policy = this.list('cleanup.policy')
    return {
      segmentBytes: this.number(this.#own('internal.segment.bytes') ? 'internal.segment.bytes' : 'segment.bytes'),
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

  #own(name: string): string | undefined {
    return Object.hasOwn(this.#overrides, name) ? this.#overrides[name] : undefined
  }
}
