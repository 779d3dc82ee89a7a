// SPDX-License-Identifier: Apache-2.0
// What a config is: Kafka's name, type, default and our words for what it does. Parsing and checking of values; which
// configs there are say topic-configs.ts and broker-configs.ts.
import { KafkaError } from '../../errors.ts'

export type ConfigType = 'boolean' | 'string' | 'int' | 'short' | 'long' | 'double' | 'list' | 'class' | 'password'
export type ConfigValue = boolean | string | number | null | readonly string[]

export interface ConfigDefinition {
  readonly name: string
  readonly type: ConfigType
  /** As text; null: not set. */
  readonly defaultValue: string | null
  readonly doc: string
  readonly min?: number
  readonly max?: number
  /** The values (or list elements) allowed. */
  readonly oneOf?: readonly string[]
  /** Topic configs: the broker configs that give the default, the strongest first, and what their unit is multiplied by. */
  readonly synonyms?: ReadonlyArray<{ readonly name: string; readonly times?: number }>
}

const RANGES: Partial<Record<ConfigType, readonly [min: number, max: number]>> = {
  short: [-(2 ** 15), 2 ** 15 - 1],
  int: [-(2 ** 31), 2 ** 31 - 1],
  // Long.MAX and Long.MIN stand for "no limit": they are kept as the nearest safe integers.
  long: [-(2 ** 63), 2 ** 63],
}

/** The value of a config's text. Throws KafkaError INVALID_CONFIG with a text that says what is allowed. */
export function parseConfig(definition: ConfigDefinition, text: string | null): ConfigValue {
  const { name, type } = definition
  const fail = (what: string): never => {
    throw new KafkaError('INVALID_CONFIG', `Invalid value ${text} for configuration ${name}: ${what}`)
  }
  if (text === null) return definition.defaultValue === null ? null : fail('it must be set')
  const trimmed = text.trim()
  switch (type) {
    case 'boolean':
      if (/^true$/i.test(trimmed)) return true
      if (/^false$/i.test(trimmed)) return false
      return fail('expected true or false')
    case 'short':
    case 'int':
    case 'long': {
      const [min, max] = RANGES[type]!
      if (!/^[+-]?\d{1,19}$/.test(trimmed)) return fail(`not a number of type ${type.toUpperCase()}`)
      const value = Math.min(Math.max(Number(trimmed), Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)
      if (value < min || value > max) return fail(`not a number of type ${type.toUpperCase()}`)
      return inBounds(definition, value, fail)
    }
    case 'double': {
      const value = Number(trimmed)
      if (trimmed === '' || !Number.isFinite(value)) return fail('not a number of type DOUBLE')
      return inBounds(definition, value, fail)
    }
    case 'list': {
      const values = trimmed === '' ? [] : trimmed.split(',').map((one) => one.trim())
      const { oneOf } = definition
      for (const one of values)
        if (oneOf !== undefined && !oneOf.includes(one)) return fail(`it must be one of ${oneOf.join(', ')}`)
      return values
    }
    case 'string':
    case 'class':
    case 'password':
      if (definition.oneOf !== undefined && !definition.oneOf.includes(trimmed))
        return fail(`it must be one of ${definition.oneOf.join(', ')}`)
      return trimmed
    default:
      return type satisfies never
  }
}

function inBounds(definition: ConfigDefinition, value: number, fail: (what: string) => never): number {
  const { min, max } = definition
  if (min !== undefined && value < min) return fail(`it must be at least ${min}`)
  if (max !== undefined && value > max) return fail(`it must be at most ${max}`)
  return value
}
