// SPDX-License-Identifier: Apache-2.0
// What the text of a config means: parsing, bounds, and the form in which Kafka prints it back (ConfigDef.parseType, its validators
// and ConfigDef.convertToString). Errors are INVALID_CONFIG with Kafka's wording, which tools and users search for.
import { KafkaError } from '../../errors.ts'
import type { ConfigDefinition } from './definition.ts'

export type ConfigValue = boolean | string | number | null | readonly string[]

export interface ParsedConfig {
  readonly value: ConfigValue
  /** As Kafka prints it: numbers without padding, lists without spaces. */
  readonly text: string | null
}

const INTEGER_BITS = { short: 16, int: 32, long: 64 } as const
// Java's Double.parseDouble without hexadecimal and without what is no number.
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?$/
const THROTTLED_REPLICA = /^\d+:\d+$/

/** Throws KafkaError INVALID_CONFIG with a text that says what is allowed. */
export function parseConfig(definition: ConfigDefinition, text: string): ParsedConfig {
  const trimmed = text.trim()
  switch (definition.type) {
    case 'boolean': {
      const lower = trimmed.toLowerCase()
      if (lower !== 'true' && lower !== 'false')
        throw invalid(definition, text, 'Expected value to be either true or false')
      if (lower === 'true' && definition.mustBeFalse !== undefined) throw refused(definition.mustBeFalse)
      return { value: lower === 'true', text: lower }
    }
    case 'short':
    case 'int':
    case 'long':
      return parseInteger(definition, definition.type, text, trimmed)
    case 'double': {
      const value = Number(trimmed.replace(/[fFdD]$/, ''))
      if (!DECIMAL.test(trimmed) || !Number.isFinite(value))
        throw invalid(definition, text, 'Not a number of type DOUBLE')
      checkBounds(definition, value, doubleText(value))
      return { value, text: doubleText(value) }
    }
    case 'list':
      return parseList(definition, trimmed)
    case 'string':
    case 'class':
    case 'password':
      checkString(definition, trimmed)
      return { value: trimmed, text: trimmed }
    default:
      return definition.type satisfies never
  }
}

function invalid(definition: ConfigDefinition, text: string, why: string): KafkaError {
  return new KafkaError('INVALID_CONFIG', `Invalid value ${text} for configuration ${definition.name}: ${why}`)
}

function refused(why: string): KafkaError {
  return new KafkaError('INVALID_CONFIG', why)
}

function parseInteger(
  definition: ConfigDefinition,
  type: keyof typeof INTEGER_BITS,
  text: string,
  trimmed: string,
): ParsedConfig {
  const exact = /^[+-]?\d{1,40}$/.test(trimmed) ? BigInt(trimmed.replace(/^\+/, '')) : null
  if (exact === null || BigInt.asIntN(INTEGER_BITS[type], exact) !== exact)
    throw invalid(definition, text, `Not a number of type ${type.toUpperCase()}`)
  // Long.MAX stands for "no limit": numbers are kept at the nearest one that is safe, texts are exact.
  const value = Math.min(Math.max(Number(exact), Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)
  checkBounds(definition, value, String(exact))
  return { value, text: String(exact) }
}

function checkBounds(definition: ConfigDefinition, value: number, text: string): void {
  const { min, max, or } = definition
  if (or !== undefined) {
    if (value !== or && (value < min! || value > max!))
      throw invalid(definition, text, `Value must be between ${min} and ${max} or equal to ${or}`)
    return
  }
  if (min !== undefined && value < min) throw invalid(definition, text, `Value must be at least ${min}`)
  if (max !== undefined && value > max) throw invalid(definition, text, `Value must be no more than ${max}`)
}

function checkString(definition: ConfigDefinition, text: string): void {
  const { oneOf, ignoreCase } = definition
  if (oneOf === undefined) return
  if (ignoreCase ? oneOf.includes(text.toUpperCase()) : oneOf.includes(text)) return
  throw invalid(
    definition,
    text,
    `String must be one of${ignoreCase ? ' (case insensitive)' : ''}: ${oneOf.join(', ')}`,
  )
}

function parseList(definition: ConfigDefinition, trimmed: string): ParsedConfig {
  const values = trimmed === '' ? [] : trimmed.split(/\s*,\s*/)
  const parsed = { value: values, text: values.join(',') }
  const { name, oneOf } = definition
  if (definition.throttledReplicas) {
    if (values.join('') === '' || trimmed === '*' || values.every((value) => THROTTLED_REPLICA.test(value)))
      return parsed
    throw invalid(
      definition,
      `[${values.join(', ')}]`,
      `${name} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...`,
    )
  }
  if (new Set(values).size !== values.length) throw refused(`Configuration '${name}' values must not be duplicated.`)
  if (values.length === 0 && definition.nonEmpty)
    throw refused(
      `Configuration '${name}' must not be empty. Valid values include: ${oneOf === undefined ? 'any non-empty value' : `[${oneOf.join(', ')}]`}`,
    )
  for (const value of values) {
    if (value === '') throw refused(`Configuration '${name}' values must not be empty.`)
    if (oneOf !== undefined && !oneOf.includes(value))
      throw invalid(definition, value, `String must be one of: ${oneOf.join(', ')}`)
  }
  return parsed
}

/** As Java prints a double: always with a fraction, with an exponent below 0.001 and from ten million on. */
function doubleText(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0'
  const size = Math.abs(value)
  if (size >= 1e-3 && size < 1e7) return Number.isInteger(value) ? `${value}.0` : String(value)
  const [digits, exponent] = value.toExponential().split('e')
  return `${digits!.includes('.') ? digits : `${digits}.0`}E${Number(exponent)}`
}
