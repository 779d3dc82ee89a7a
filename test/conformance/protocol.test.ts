// SPDX-License-Identifier: Apache-2.0
// Our tables and our codec against those of Apache Kafka: its schemas, the specifications they are generated from, and
// its generated classes, which read what we write.
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { allApis } from '../../src/protocol/apis/index.ts'
import { errorTable } from '../../src/protocol/errors.ts'
import type { Form } from '../../src/protocol/interpreter.ts'
import { defaultOf, type Fields, holds, type WireType } from '../../src/protocol/schema.ts'
import { allForms, messageOf } from '../protocol/arbitrary.ts'
import { installKafkaClients, KAFKA_CLIENTS_VERSION, runJava } from './kafka-clients.ts'

interface SchemaField {
  name: string
  type: string
  tag?: number
  element?: { type: string; fields?: SchemaField[] }
  fields?: SchemaField[]
}

interface SpecField {
  name: string
  type: string
  versions: string
  nullableVersions?: string
  taggedVersions?: string
  tag?: number
  default?: string | number
  ignorable?: boolean
  entityType?: string
  fields?: SpecField[]
}

interface Spec {
  flexibleVersions: string
  fields: SpecField[]
  commonStructs?: { name: string; fields: SpecField[] }[]
}

type Line =
  | { kind: 'error'; code: number; name: string; retriable: boolean }
  | { kind: 'api'; key: number; name: string; min: number; max: number; latestUnstable: boolean }
  | { kind: 'schema'; key: number; message: string; version: number; headerVersion: number; fields: SchemaField[] }
  | { kind: 'spec'; key: number; message: string; text: string }

let lines: Line[] = []

beforeAll(() => {
  installKafkaClients()
  lines = runJava(
    'PrintSchemas',
    allApis.map(({ key }) => String(key)),
  ).map((line) => JSON.parse(line) as Line)
})

function theLine<K extends Line['kind']>(kind: K, matches: (line: Extract<Line, { kind: K }>) => boolean) {
  const found = lines.filter((line): line is Extract<Line, { kind: K }> => line.kind === kind)
  return found.find(matches)!
}

test(`the error table is that of Kafka ${KAFKA_CLIENTS_VERSION}`, () => {
  const kafkas = lines.filter((line) => line.kind === 'error')
  const ours = errorTable.map(({ code, name, retriable }) => ({ kind: 'error', code, name, retriable }))
  expect(ours).toEqual(kafkas)
})

test.each(allApis)('$name has the versions that Kafka lists as valid', (api) => {
  const { name, min, max, latestUnstable } = theLine('api', ({ key }) => key === api.key)
  expect([api.name, ...api.versions]).toEqual([name, min, max])
  expect(api.served[0]).toBe(min)
  expect(api.served[1]).toBeLessThanOrEqual(latestUnstable ? max - 1 : max)
})

const WIRE_NAMES: Record<string, string> = {
  bool: 'BOOLEAN',
  offset: 'INT64',
  timestampMs: 'INT64',
  topicName: 'STRING',
}

function wireType(type: WireType, nullable: boolean, form: Form): Omit<SchemaField, 'name'> {
  const name = WIRE_NAMES[type.kind] ?? type.kind.toUpperCase()
  if (type.kind === 'struct') return { type: name, fields: wireFields(type.fields, form) }
  const sized = ['STRING', 'BYTES', 'RECORDS', 'ARRAY'].includes(name)
  const full = `${sized && form.flexible ? 'COMPACT_' : ''}${nullable ? 'NULLABLE_' : ''}${name}`
  return type.kind === 'array' ? { type: full, element: wireType(type.element, false, form) } : { type: full }
}

function wireFields(fields: Fields, form: Form): SchemaField[] {
  const carried = Object.entries(fields)
    .filter(([, { traits }]) => holds(traits.versions, form.version))
    .map(([name, { type, traits }]) => {
      return { name, tag: traits.tag ?? -1, ...wireType(type, holds(traits.nullableIn, form.version), form) }
    })
  const plain = carried.filter(({ tag }) => tag === -1)
  const tagged = carried.filter(({ tag }) => tag !== -1).sort((a, b) => a.tag - b.tag)
  return form.flexible ? [...plain, { name: '_tagged_fields', type: 'tagged', fields: tagged }] : plain
}

/** The schemas spell names with underscores of their own rule; the specifications have the exact ones. */
function plainNames(fields: SchemaField[]): SchemaField[] {
  return fields.map((field) => {
    const { name, element } = field
    const nested = field.fields === undefined ? {} : { fields: plainNames(field.fields) }
    const inner = element?.fields === undefined ? element : { ...element, fields: plainNames(element.fields) }
    return {
      ...field,
      name: name.replaceAll('_', '').toLowerCase(),
      ...nested,
      ...(inner === undefined ? {} : { element: inner }),
    }
  })
}

test.each(allForms)('$label has the fields, types and headers of Kafka’s schema', (form) => {
  const kafkas = theLine('schema', (line) => {
    return line.key === form.api.key && line.message === form.side && line.version === form.version
  })
  expect(plainNames(wireFields(form.message.fields, form))).toEqual(plainNames(kafkas.fields))
  const { api, side, version } = form
  expect(side === 'request' ? api.requestHeaderVersion(version) : api.responseHeaderVersion(version)).toBe(
    kafkas.headerVersion,
  )
})

interface Described {
  name: string
  type: string
  carriedIn: number[]
  nullableIn: number[]
  tag: number | undefined
  default: unknown
  /** Only where it matters: some version does not carry the field. */
  ignorable: boolean | undefined
  fields: Described[] | undefined
}

function rangeHolds(text: string | undefined, version: number): boolean {
  if (text === undefined || text === 'none') return false
  const [min, max] = text.endsWith('+') ? [text.slice(0, -1), Infinity] : text.split('-')
  return version >= Number(min) && version <= Number(max ?? min)
}

const SPEC_NAMES: Record<string, string> = { offset: 'int64', timestampMs: 'int64' }

function describeType(type: WireType): string {
  if (type.kind === 'array') return `[]${describeType(type.element)}`
  return SPEC_NAMES[type.kind] ?? type.kind
}

function describeOurs(fields: Fields, versions: readonly number[]): Described[] {
  return Object.entries(fields).map(([name, field]) => {
    const { type, traits } = field
    const inner = type.kind === 'array' ? type.element : type
    const carriedIn = versions.filter((version) => holds(traits.versions, version))
    return {
      name,
      type: describeType(type),
      carriedIn,
      nullableIn: carriedIn.filter((version) => holds(traits.nullableIn, version)),
      tag: traits.tag,
      default: inner.kind === 'struct' ? undefined : comparable(defaultOf(field)),
      ignorable: carriedIn.length < versions.length ? traits.isIgnorable : undefined,
      fields: inner.kind === 'struct' ? describeOurs(inner.fields, carriedIn) : undefined,
    }
  })
}

function comparable(value: unknown): unknown {
  if (typeof value === 'number') return BigInt(value)
  return value instanceof Uint8Array ? [...value] : value
}

function describeKafkas(fields: SpecField[], versions: readonly number[], spec: Spec): Described[] {
  return fields.flatMap((field) => {
    const carriedIn = versions.filter((version) => rangeHolds(field.versions, version))
    if (carriedIn.length === 0) return []
    const element = field.type.replace(/^\[\]/, '')
    const inner = field.fields ?? spec.commonStructs?.find(({ name }) => name === element)?.fields
    const ours = inner !== undefined ? 'struct' : field.entityType === 'topicName' ? 'topicName' : element
    const type = field.type.replace(element, ours)
    return {
      name: field.name[0]!.toLowerCase() + field.name.slice(1),
      type,
      carriedIn,
      nullableIn: carriedIn.filter((version) => rangeHolds(field.nullableVersions, version)),
      tag: field.taggedVersions === undefined ? undefined : field.tag,
      default: inner === undefined ? kafkasDefault(field) : undefined,
      ignorable: carriedIn.length < versions.length ? (field.ignorable ?? false) : undefined,
      fields: inner === undefined ? undefined : describeKafkas(inner, carriedIn, spec),
    }
  })
}

function kafkasDefault({ type, default: text }: SpecField): unknown {
  if (text === 'null' || type === 'records') return null
  if (type.startsWith('[]') || type === 'bytes') return []
  if (type === 'bool') return text === 'true'
  if (type === 'string') return text ?? ''
  if (type === 'uuid') return 'AAAAAAAAAAAAAAAAAAAAAA'
  return BigInt(text ?? 0)
}

test.each(allApis.flatMap((api) => [api.request, api.response]))(
  '$name has the names, versions, defaults, tags and ignorable fields of Kafka’s specification',
  (message) => {
    const api = allApis.find(({ request, response }) => request === message || response === message)!
    const side = api.request === message ? 'request' : 'response'
    const { text } = theLine('spec', (line) => line.key === api.key && line.message === side)
    const spec = JSON.parse(text.replaceAll(/^\s*\/\/.*$/gm, '').replaceAll(/\s\/\/ .*$/gm, '')) as Spec
    const versions = Array.from({ length: api.versions[1] - api.versions[0] + 1 }, (_, i) => api.versions[0] + i)
    expect(versions.filter((version) => message.isFlexible(version))).toEqual(
      versions.filter((version) => rangeHolds(spec.flexibleVersions, version)),
    )
    expect(describeOurs(message.fields, versions)).toEqual(describeKafkas(spec.fields, versions, spec))
  },
)

describe('what our codec writes', () => {
  test('Kafka’s classes read and write again, byte for byte', () => {
    const sent: string[] = []
    for (const form of allForms) {
      for (const value of fc.sample(messageOf(form), { numRuns: 25, seed: 20_250_101 })) {
        const body = form.message.encode(form.version, value).toString('hex')
        sent.push(`${form.api.key} ${form.version} ${form.side} ${body === '' ? '-' : body}`)
      }
    }
    const echoed = runJava('EchoMessages', [], sent.join('\n'))
    expect(echoed.length).toBe(sent.length)
    const wrong = sent.flatMap((line, i) => (line.endsWith(` ${echoed[i]}`) ? [] : [{ line, echoed: echoed[i] }]))
    expect(wrong.slice(0, 5)).toEqual([])
  })
})
