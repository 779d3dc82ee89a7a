// SPDX-License-Identifier: Apache-2.0
// Random values for any message in any of its versions, made from the message's own table.
import fc from 'fast-check'
import type { AnyApi } from '../../src/protocol/api.ts'
import { allApis } from '../../src/protocol/apis/index.ts'
import type { Form } from '../../src/protocol/interpreter.ts'
import type { Message } from '../../src/protocol/message.ts'
import { type AnyField, type Fields, holds, type WireType } from '../../src/protocol/schema.ts'

export interface MessageForm extends Form {
  readonly api: AnyApi
  readonly side: 'request' | 'response'
  readonly message: Message<Fields>
  /** Such as `MetadataRequest v9`. */
  readonly label: string
}

/** Every message of every API in every version: about three hundred. */
export const allForms: readonly MessageForm[] = allApis.flatMap((api) =>
  (['request', 'response'] as const).flatMap((side) => {
    const message = api[side]
    const versions = Array.from({ length: api.versions[1] - api.versions[0] + 1 }, (_, i) => api.versions[0] + i)
    return versions.map((version) => ({
      api,
      side,
      message,
      version,
      flexible: message.isFlexible(version),
      label: `${message.name} v${version}`,
    }))
  }),
)

type Struct = Record<string, unknown>

/** A message that the version can carry. Fields that may be left out are, one time in three. */
export function messageOf(form: MessageForm): fc.Arbitrary<Struct> {
  return structOf(form.message.fields, form)
}

function structOf(fields: Fields, form: Form): fc.Arbitrary<Struct> {
  const carried = Object.entries(fields).filter(([, field]) => holds(field.traits.versions, form.version))
  const known = fc.record(Object.fromEntries(carried.map(([name, field]) => [name, fieldOf(field, form)])))
  const values = known.map((struct) => Object.fromEntries(Object.entries(struct).filter(([, v]) => v !== undefined)))
  if (!form.flexible) return values
  // Kafka refuses a tag that its table knows from another version.
  const taken = new Set(Object.values(fields).map((field) => field.traits.tag))
  const unknownTags = fc
    .uniqueArray(fc.record({ tag: fc.nat(300), data: buffers }), { selector: ({ tag }) => tag, maxLength: 2 })
    .map((tags) => tags.filter(({ tag }) => !taken.has(tag)).sort((a, b) => a.tag - b.tag))
  return fc
    .tuple(values, fc.option(unknownTags, { freq: 5 }))
    .map(([struct, tags]) => (tags === null || tags.length === 0 ? struct : { ...struct, unknownTags: tags }))
}

function fieldOf(field: AnyField, form: Form): fc.Arbitrary<unknown> {
  let value = valueOfType(field.type, form)
  if (holds(field.traits.nullableIn, form.version)) value = fc.option(value, { freq: 3 })
  return field.isOptional ? fc.option(value, { nil: undefined, freq: 3 }) : value
}

const buffers = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
const texts = fc.oneof(
  { weight: 8, arbitrary: fc.string({ unit: 'grapheme-ascii', maxLength: 60 }) },
  { weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme-ascii', minLength: 100, maxLength: 300 }) },
)

function valueOfType(type: WireType, form: Form): fc.Arbitrary<unknown> {
  switch (type.kind) {
    case 'bool':
      return fc.boolean()
    case 'int8':
      return fc.integer({ min: -128, max: 127 })
    case 'int16':
      return fc.integer({ min: -32_768, max: 32_767 })
    case 'int32':
      return fc.integer()
    case 'int64':
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    case 'offset':
    case 'timestampMs':
      return fc.maxSafeInteger()
    case 'uuid':
      return fc.uint8Array({ minLength: 16, maxLength: 16 }).map((id) => Buffer.from(id).toString('base64url'))
    case 'string':
    case 'topicName':
      return texts
    case 'bytes':
    case 'records':
      return buffers
    case 'array':
      return fc.array(valueOfType(type.element, form), { maxLength: 4 })
    case 'struct':
      return structOf(type.fields, form)
  }
}
