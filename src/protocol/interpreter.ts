// SPDX-License-Identifier: Apache-2.0
// Encodes and decodes by walking the table, field by field: slow, obvious, and therefore the oracle that the compiled
// codec is tested against. At run time it has two jobs: to find out which field it was when the compiled codec has
// failed, and to stand in for it where code generation is forbidden (--disallow-code-generation-from-strings).
import { ProtocolError } from './protocol-error.ts'
import type { Reader } from './reader.ts'
import { type AnyField, defaultOf, type Fields, holds, minSize, type UnknownTag, type WireType } from './schema.ts'
import type { Writer } from './writer.ts'

type Struct = Record<string, unknown>

/** The version of a message that is being read or written. */
export interface Form {
  readonly version: number
  readonly flexible: boolean
}

export function readStruct(fields: Fields, form: Form, reader: Reader): Struct {
  const struct: Struct = {}
  for (const [name, field] of Object.entries(fields)) {
    const present = holds(field.traits.versions, form.version) && field.traits.tag === undefined
    struct[name] = present
      ? within(name, () => readValue(field.type, isNullable(field, form), form, reader))
      : defaultOf(field)
  }
  if (form.flexible) readTaggedFields(fields, form, reader, struct)
  return struct
}

function readTaggedFields(fields: Fields, form: Form, reader: Reader, struct: Struct): void {
  const known = new Map(taggedFields(fields, form).map(([name, field]) => [field.traits.tag, { name, field }]))
  const unknownTags: UnknownTag[] = []
  let tag = -1
  for (let count = reader.taggedCount(); count > 0; count--) {
    tag = reader.tag(tag)
    const outerEnd = reader.openTag()
    const match = known.get(tag)
    if (match === undefined) unknownTags.push(reader.unknownTag(tag))
    else {
      const { name, field } = match
      struct[name] = within(name, () => readValue(field.type, isNullable(field, form), form, reader))
    }
    reader.closeTag(outerEnd)
  }
  if (unknownTags.length > 0) struct.unknownTags = unknownTags
}

function readValue(type: WireType, nullable: boolean, form: Form, reader: Reader): unknown {
  const { flexible } = form
  switch (type.kind) {
    case 'bool':
      return reader.int8() !== 0
    case 'int8':
      return reader.int8()
    case 'int16':
      return reader.int16()
    case 'int32':
      return reader.int32()
    case 'int64':
      return reader.int64At(reader.take(8))
    case 'offset':
      return reader.offsetAt(reader.take(8))
    case 'timestampMs':
      return reader.timestampMsAt(reader.take(8))
    case 'uuid':
      return reader.uuidAt(reader.take(16))
    case 'string':
    case 'topicName': {
      const lenient = type.kind === 'topicName'
      if (nullable) return flexible ? reader.compactNullableString(lenient) : reader.nullableString(lenient)
      return flexible ? reader.compactString(lenient) : reader.string(lenient)
    }
    case 'bytes':
      if (nullable) return flexible ? reader.compactNullableBytes() : reader.nullableBytes()
      return flexible ? reader.compactBytes() : reader.bytes()
    case 'records':
      if (nullable) return flexible ? reader.compactNullableRecords() : reader.nullableRecords()
      return flexible ? reader.compactRecords() : reader.records()
    case 'array': {
      const least = minSize(type.element, form.version, flexible)
      const count = nullable
        ? flexible
          ? reader.compactNullableArrayCount(least)
          : reader.nullableArrayCount(least)
        : flexible
          ? reader.compactArrayCount(least)
          : reader.arrayCount(least)
      if (count === -1) return null
      const elements: unknown[] = []
      for (let i = 0; i < count; i++)
        elements.push(within(`[${i}]`, () => readValue(type.element, false, form, reader)))
      return elements
    }
    case 'struct':
      return readStruct(type.fields, form, reader)
  }
}

export function writeStruct(fields: Fields, form: Form, writer: Writer, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw new ProtocolError('value', 'an object is wanted here')
  const struct = value as Struct
  for (const [name, field] of Object.entries(fields)) {
    within(name, () => {
      if (!holds(field.traits.versions, form.version)) refuseUnlessDefault(field, struct[name])
      else if (field.traits.tag === undefined) writeField(field, form, writer, struct[name])
    })
  }
  const unknownTags = (struct.unknownTags ?? []) as readonly UnknownTag[]
  if (form.flexible) writeTaggedFields(fields, form, writer, struct, unknownTags)
  else if (unknownTags.length > 0) throw unsupported().within('unknownTags')
}

function writeTaggedFields(
  fields: Fields,
  form: Form,
  writer: Writer,
  struct: Struct,
  unknownTags: readonly UnknownTag[],
): void {
  const known = taggedFields(fields, form).filter(([name, field]) => !isDefault(field, struct[name]))
  writer.uvarint(known.length + unknownTags.length)
  let next = 0
  for (const [name, field] of known) {
    const tag = field.traits.tag!
    next = writer.unknownTagsBefore(tag, unknownTags, next)
    const mark = writer.openTag(tag)
    within(name, () => writeField(field, form, writer, struct[name]))
    writer.closeTag(mark)
  }
  writer.unknownTagsBefore(Number.POSITIVE_INFINITY, unknownTags, next)
}

function writeField(field: AnyField, form: Form, writer: Writer, value: unknown): void {
  const given = value === undefined && field.isOptional ? defaultOf(field) : value
  if (given === null && !isNullable(field, form)) {
    if (field.traits.nullableIn === undefined) throw new ProtocolError('value', 'null cannot be sent')
    throw new ProtocolError('unsupported', 'null cannot be sent in this version')
  }
  writeValue(field.type, form, writer, given)
}

/** Null has been refused where it may not be sent. */
function writeValue(type: WireType, form: Form, writer: Writer, value: unknown): void {
  const { flexible } = form
  switch (type.kind) {
    case 'bool':
      writer.bool(value)
      break
    case 'int8':
      writer.int8(value)
      break
    case 'int16':
      writer.int16(value)
      break
    case 'int32':
      writer.int32(value)
      break
    case 'int64':
      writer.int64(value)
      break
    case 'offset':
    case 'timestampMs':
      writer.safeInt64(value)
      break
    case 'uuid':
      writer.uuid(value)
      break
    case 'string':
    case 'topicName':
      if (flexible) writer.compactNullableString(value)
      else writer.nullableString(value)
      break
    case 'bytes':
      if (flexible) writer.compactNullableBytes(value)
      else writer.nullableBytes(value)
      break
    case 'records':
      if (flexible) writer.compactNullableRecords(value)
      else writer.nullableRecords(value)
      break
    case 'array':
      writeArray(type.element, form, writer, value)
      break
    case 'struct':
      writeStruct(type.fields, form, writer, value)
  }
}

function writeArray(element: WireType, form: Form, writer: Writer, value: unknown): void {
  if (value !== null && !Array.isArray(value)) throw new ProtocolError('value', 'an array is wanted here')
  const count = value === null ? -1 : value.length
  if (form.flexible) writer.compactArrayCount(count)
  else writer.arrayCount(count)
  for (let i = 0; i < count; i++) {
    within(`[${i}]`, () => {
      const each: unknown = value![i]
      if (each === null) throw new ProtocolError('value', 'null cannot be sent')
      writeValue(element, form, writer, each)
    })
  }
}

/** The same object with every field that was left out set to its default: what decoding it again would give. */
export function complete(fields: Fields, value: unknown): Struct {
  const given = value as Struct
  const struct: Struct = {}
  for (const [name, field] of Object.entries(fields)) {
    struct[name] = given[name] === undefined ? defaultOf(field) : completeValue(field.type, given[name])
  }
  if (given.unknownTags !== undefined) struct.unknownTags = given.unknownTags
  return struct
}

function completeValue(type: WireType, value: unknown): unknown {
  if (value === null) return null
  if (type.kind === 'struct') return complete(type.fields, value)
  if (type.kind !== 'array' || type.element.kind !== 'struct') return value
  const { fields } = type.element
  return (value as unknown[]).map((element) => complete(fields, element))
}

function taggedFields(fields: Fields, form: Form): [string, AnyField][] {
  return Object.entries(fields)
    .filter(([, { traits }]) => traits.tag !== undefined && holds(traits.versions, form.version))
    .sort(([, a], [, b]) => a.traits.tag! - b.traits.tag!)
}

function isNullable(field: AnyField, form: Form): boolean {
  return holds(field.traits.nullableIn, form.version)
}

function refuseUnlessDefault(field: AnyField, value: unknown): void {
  if (!field.traits.isIgnorable && !isDefault(field, value)) throw unsupported()
}

function unsupported(): ProtocolError {
  return new ProtocolError('unsupported', 'this version cannot carry the value')
}

function isDefault(field: AnyField, value: unknown): boolean {
  if (value === undefined || value === field.traits.declaredDefault) return true
  if (field.traits.declaredDefault !== undefined || value === null) return value === defaultOf(field)
  switch (field.type.kind) {
    case 'array':
    case 'bytes':
      return (value as ArrayLike<unknown>).length === 0
    case 'struct': {
      const struct = value as Struct
      const hasUnknown = ((struct.unknownTags ?? []) as readonly UnknownTag[]).length > 0
      return !hasUnknown && Object.entries(field.type.fields).every(([name, inner]) => isDefault(inner, struct[name]))
    }
    default:
      return value === defaultOf(field)
  }
}

function within<T>(segment: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw error instanceof ProtocolError ? error.within(segment) : error
  }
}
