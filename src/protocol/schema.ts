// SPDX-License-Identifier: Apache-2.0
// The notation in which src/protocol/apis describes Kafka's messages, and the TypeScript types that follow from it.
// A message is an object of fields in wire order. A field is a type with, chained to it, the versions that carry it
// (`.in('3+')`), those in which it may be null (`.nullable('7+')`), its default, its tag, and whether a value that a
// version cannot carry is dropped silently (`.ignorable()`) or refused. Whether strings and arrays are compact follows
// from the message's first flexible version (KIP-482) and is never said at a field. Bytes are read and written by
// interpreter.ts and compiler.ts; this unit knows none.

export type FixedKind = 'bool' | 'int8' | 'int16' | 'int32' | 'int64' | 'offset' | 'timestampMs' | 'uuid'
export type SizedKind = 'string' | 'topicName' | 'bytes' | 'records'

export type WireType =
  | { readonly kind: FixedKind }
  | { readonly kind: SizedKind }
  | { readonly kind: 'array'; readonly element: WireType }
  | { readonly kind: 'struct'; readonly fields: Fields }

/** Bytes on the wire of the kinds whose size does not depend on the value. */
export const FIXED_SIZE: { readonly [K in FixedKind]: number } = {
  bool: 1,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  offset: 8,
  timestampMs: 8,
  uuid: 16,
}

export function isFixed(type: WireType): type is { readonly kind: FixedKind } {
  return type.kind in FIXED_SIZE
}

/** `'3+'`, `'0-12'` or `'8'`: versions as Kafka writes them. */
export type VersionText = `${number}+` | `${number}-${number}` | `${number}`

export interface VersionRange {
  readonly min: number
  readonly max: number
}

const ALL_VERSIONS: VersionRange = { min: 0, max: Number.POSITIVE_INFINITY }

function parseVersions(text: VersionText): VersionRange {
  const match = /^(\d+)(\+|-(\d+))?$/.exec(text)
  if (match === null) throw new TypeError(`versions must look like '3+', '0-12' or '8', got '${text}'`)
  const min = Number(match[1])
  const max = match[2] === '+' ? Number.POSITIVE_INFINITY : Number(match[3] ?? min)
  if (max < min) throw new RangeError(`versions must ascend, got '${text}'`)
  return { min, max }
}

export function holds(range: VersionRange | undefined, version: number): boolean {
  return range !== undefined && version >= range.min && version <= range.max
}

interface Traits {
  readonly versions: VersionRange
  readonly nullableIn: VersionRange | undefined
  /** Undefined: the zero of the type (0, '', false, [], ZERO_UUID, a struct of defaults; null for records). */
  readonly declaredDefault: unknown
  readonly isIgnorable: boolean
  readonly tag: number | undefined
}

const PLAIN: Traits = {
  versions: ALL_VERSIONS,
  nullableIn: undefined,
  declaredDefault: undefined,
  isIgnorable: false,
  tag: undefined,
}

/**
 * One field of a message; immutable, each method returns a changed copy. `Out` is what decoding gives, `In` what
 * encoding takes, `Optional` whether the field may be left out of an object to encode.
 */
export class Field<Out, In, Optional extends boolean> {
  /** Only for inference: never set. */
  declare readonly types: { readonly out: Out; readonly in: In; readonly optional: Optional }
  readonly type: WireType
  readonly traits: Traits

  constructor(type: WireType, traits: Traits = PLAIN) {
    this.type = type
    this.traits = traits
  }

  /** The versions that carry the field. In the others it decodes to its default. */
  in(versions: VersionText): Field<Out, In, true> {
    return new Field(this.type, { ...this.traits, versions: parseVersions(versions) })
  }

  /** The versions in which null may be sent; without argument all. */
  nullable(versions: VersionText = '0+'): Field<Out | null, In | null, Optional> {
    return new Field(this.type, { ...this.traits, nullableIn: parseVersions(versions) })
  }

  /** What an absent field decodes to, and what is sent when an object to encode leaves it out. */
  default(value: In & Out): Field<Out, In, true> {
    return new Field(this.type, { ...this.traits, declaredDefault: value })
  }

  /** Encoding for a version without this field drops its value; otherwise a value other than the default is refused. */
  ignorable(): Field<Out, In, Optional> {
    return new Field(this.type, { ...this.traits, isIgnorable: true })
  }

  /** Sent as this tagged field, and only when it differs from the default. */
  tagged(tag: number): Field<Out, In, true> {
    return new Field(this.type, { ...this.traits, tag })
  }

  /** True when an object to encode may leave the field out. */
  get isOptional(): boolean {
    const { declaredDefault, tag, versions } = this.traits
    return declaredDefault !== undefined || tag !== undefined || versions !== ALL_VERSIONS
  }
}

export type AnyField = Field<unknown, unknown, boolean>
export type Fields = { readonly [name: string]: AnyField }

/** A tagged field that this table does not know: kept when decoded, sent again when encoded. */
export interface UnknownTag {
  readonly tag: number
  readonly data: Uint8Array
}

type OptionalKeys<F extends Fields> = { [K in keyof F]: F[K]['types']['optional'] extends true ? K : never }[keyof F]

/** What decoding gives: every field, absent ones with their defaults. */
export type Decoded<F extends Fields> = { -readonly [K in keyof F]: F[K]['types']['out'] } & {
  unknownTags?: UnknownTag[]
}

/** What encoding takes: fields with a default, and fields that not every version carries, may be left out. */
export type Encodable<F extends Fields> = {
  readonly [K in Exclude<keyof F, OptionalKeys<F>>]: F[K]['types']['in']
} & {
  readonly [K in OptionalKeys<F>]?: F[K]['types']['in'] | undefined
} & { readonly unknownTags?: readonly UnknownTag[] | undefined }

function scalar<Out, In = Out>(kind: FixedKind | SizedKind): Field<Out, In, false> {
  return new Field({ kind } as WireType)
}

export const bool = scalar<boolean>('bool')
export const int8 = scalar<number>('int8')
export const int16 = scalar<number>('int16')
export const int32 = scalar<number>('int32')
/** For values that need all 64 bits, such as producer ids. */
export const int64 = scalar<bigint>('int64')
/** An int64 that is an offset: beyond ±(2^53 - 1) it is a ProtocolError, never a rounded number. */
export const offset = scalar<number>('offset')
/** An int64 of milliseconds. Decoding clamps to ±(2^53 - 1): clients send Long.MAX_VALUE for "never", and no date is so far. */
export const timestampMs = scalar<number>('timestampMs')
/** 22 characters of base64url, as Kafka prints topic ids. */
export const uuid = scalar<string>('uuid')
/** Bytes that are not UTF-8 are a ProtocolError of kind `utf8`: two ids must never read alike. */
export const string = scalar<string>('string')
/**
 * A string whose bad bytes decode to U+FFFD, which no valid topic name holds: the handler's check of names then answers
 * for that topic alone, as Kafka does.
 */
export const topicName = scalar<string>('topicName')
/** Decodes to a copy, because group metadata and assignments outlive the frame. */
export const bytes = scalar<Buffer, Uint8Array>('bytes')
/** Record batches, not looked into. Decodes to a view of the frame; to encode, one piece or several. */
export const records = scalar<Buffer, Uint8Array | readonly Uint8Array[]>('records')

export function array<Out, In>(element: Field<Out, In, boolean>): Field<Out[], readonly In[], false>
export function array<const F extends Fields>(fields: F): Field<Decoded<F>[], readonly Encodable<F>[], false>
export function array(of: AnyField | Fields): AnyField {
  return new Field({ kind: 'array', element: of instanceof Field ? of.type : { kind: 'struct', fields: of } })
}

export function struct<const F extends Fields>(fields: F): Field<Decoded<F>, Encodable<F>, false> {
  return new Field({ kind: 'struct', fields })
}

export const ZERO_UUID = 'AAAAAAAAAAAAAAAAAAAAAA'

/** A fresh default: arrays and structs are never shared between messages. */
export function defaultOf(field: AnyField): unknown {
  return field.traits.declaredDefault === undefined ? zeroOf(field.type) : field.traits.declaredDefault
}

function zeroOf(type: WireType): unknown {
  switch (type.kind) {
    case 'bool':
      return false
    case 'int64':
      return 0n
    case 'uuid':
      return ZERO_UUID
    case 'string':
    case 'topicName':
      return ''
    case 'bytes':
      return Buffer.alloc(0)
    case 'records':
      return null
    case 'array':
      return []
    case 'struct':
      return Object.fromEntries(Object.entries(type.fields).map(([name, field]) => [name, defaultOf(field)]))
    default:
      return 0
  }
}

/** The fewest bytes that a value can take: what bounds the element counts that are believed. */
export function minSize(type: WireType, version: number, flexible: boolean): number {
  switch (type.kind) {
    case 'string':
    case 'topicName':
      return flexible ? 1 : 2
    case 'bytes':
    case 'records':
    case 'array':
      return flexible ? 1 : 4
    case 'struct': {
      const carried = Object.values(type.fields).filter(
        (f) => f.traits.tag === undefined && holds(f.traits.versions, version),
      )
      return carried.reduce((sum, f) => sum + minSize(f.type, version, flexible), flexible ? 1 : 0)
    }
    default:
      return FIXED_SIZE[type.kind]
  }
}
