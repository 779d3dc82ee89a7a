// SPDX-License-Identifier: Apache-2.0
// What a config is: Kafka's name, type, default and bounds, our words for what it does, and whether varve obeys it. What a text
// means is value.ts's; which configs there are say topic-configs.ts and broker-configs.ts.

export type ConfigType = 'boolean' | 'string' | 'int' | 'short' | 'long' | 'double' | 'list' | 'class' | 'password'

/** Whether a running broker takes a new value: not at all, for itself, or for all brokers too (KIP-226). */
export type ConfigDynamics = 'read-only' | 'per-broker' | 'cluster-wide'

export interface ConfigDefinition {
  readonly name: string
  readonly type: ConfigType
  /** As text; null: not set. */
  readonly defaultValue: string | null
  readonly min?: number
  readonly max?: number
  /** A number that is allowed beside those from min to max. */
  readonly or?: number
  /** The values (or list elements) that are allowed. */
  readonly oneOf?: readonly string[]
  readonly ignoreCase?: boolean
  /** Lists: at least one element. */
  readonly nonEmpty?: boolean
  /** Lists of PARTITION:BROKER, or `*`. */
  readonly throttledReplicas?: boolean
  /** Switches on what varve does not have: only false is taken. */
  readonly mustBeFalse?: string
  /** For tests: listed only where it is set. */
  readonly internal?: boolean
  readonly importance: 'high' | 'medium' | 'low'
  /** accepted: taken and described as Kafka does, without any effect; `doc` then says why. */
  readonly effect: 'obeyed' | 'accepted'
  readonly doc: string
}

export interface TopicConfigDefinition extends ConfigDefinition {
  /** The broker configs that give the default, the strongest first, and what their unit is multiplied by. */
  readonly synonyms?: ReadonlyArray<{ readonly name: string; readonly times?: number }>
}

export interface BrokerConfigDefinition extends ConfigDefinition {
  readonly dynamic: ConfigDynamics
}
