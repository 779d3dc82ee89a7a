// SPDX-License-Identifier: Apache-2.0
// One message of the protocol in all its versions: a request body, a response body, or a record that a coordinator keeps.
// Owns the codecs of the message, which are compiled when a version is first used, and says in which field an error lies.
import { compileDecoder, compileEncoder, type Decoder, type Encoder } from './compiler.ts'
import { complete, type Form, readStruct, writeStruct } from './interpreter.ts'
import { ProtocolError } from './protocol-error.ts'
import { Reader } from './reader.ts'
import {
  type AnyField,
  type Decoded,
  type Encodable,
  type Fields,
  holds,
  type VersionRange,
  type WireType,
} from './schema.ts'
import { Writer } from './writer.ts'

export interface DecodeOptions {
  /** Bad UTF-8 decodes to U+FFFD everywhere: for the reply that refuses a request because of it, and nothing else. */
  readonly lenientUtf8?: boolean
  /** Called with the number of bytes behind the message, when there are any. Kafka accepts them, and so do we. */
  readonly onTrailingBytes?: (count: number) => void
}

export interface MessageShape<F extends Fields> {
  readonly versions: VersionRange
  /** The first flexible version (KIP-482); Infinity when there is none. */
  readonly flexible: number
  /** Elements of all arrays together that decoding accepts. */
  readonly maxElements: number
  readonly fields: F
}

/** A larger frame that fails is not read again to find the field: what is bad must not cost more than what is good. */
const EXPLAINED_BYTES = 64 * 1024

const NO_OPTIONS: DecodeOptions = {}
const reader = new Reader()

export class Message<F extends Fields> {
  /** Only for inference: never set. */
  declare readonly types: { readonly out: Decoded<F>; readonly in: Encodable<F> }
  /** Such as `MetadataRequest`. */
  readonly name: string
  readonly fields: F
  readonly #shape: MessageShape<F>
  readonly #decoders: Decoder[] = []
  readonly #encoders: Encoder[] = []

  constructor(name: string, shape: MessageShape<F>) {
    this.name = name
    this.fields = shape.fields
    this.#shape = shape
    checkFields(name, shape.fields, shape.flexible)
  }

  get versions(): VersionRange {
    return this.#shape.versions
  }

  isFlexible(version: number): boolean {
    return version >= this.#shape.flexible
  }

  decode(version: number, bytes: Uint8Array, position = 0, options = NO_OPTIONS): Decoded<F> {
    const decoder = this.#decoders[version] ?? this.#newDecoder(version)
    const { maxElements } = this.#shape
    const lenient = options.lenientUtf8 === true
    let value: Decoded<F>
    let trailing: number
    try {
      value = decoder(reader.open(bytes, position, maxElements, lenient)) as Decoded<F>
      trailing = reader.end - reader.position
    } catch (error) {
      const again = bytes.length > EXPLAINED_BYTES ? undefined : reader.open(bytes, position, maxElements, lenient)
      throw this.#explained(error, version, (form) => again && readStruct(this.fields, form, again))
    } finally {
      reader.close()
    }
    if (trailing > 0) options.onTrailingBytes?.(trailing)
    return value
  }

  /** Writes behind what the writer holds. */
  encodeTo(writer: Writer, version: number, value: Encodable<F>): void {
    const encoder = this.#encoders[version] ?? this.#newEncoder(version)
    try {
      encoder(writer, value)
    } catch (error) {
      throw this.#explained(error, version, (form) => writeStruct(this.fields, form, new Writer(), value))
    }
  }

  /** The bytes of the message alone, without header and size. */
  encode(version: number, value: Encodable<F>): Buffer {
    const writer = new Writer()
    writer.begin()
    this.encodeTo(writer, version, value)
    return writer.finish()
  }

  /** The same value with all that was left out set to its default. */
  complete(value: Encodable<F>): Decoded<F> {
    return complete(this.fields, value) as Decoded<F>
  }

  #newDecoder(version: number): Decoder {
    const form = this.#form(version)
    const decoder = compiled(() => compileDecoder(this.name, this.fields, form))
    this.#decoders[version] = decoder ?? ((r) => readStruct(this.fields, form, r))
    return this.#decoders[version]
  }

  #newEncoder(version: number): Encoder {
    const form = this.#form(version)
    const encoder = compiled(() => compileEncoder(this.name, this.fields, form))
    this.#encoders[version] = encoder ?? ((w, value) => writeStruct(this.fields, form, w, value))
    return this.#encoders[version]
  }

  #form(version: number): Form {
    if (!holds(this.#shape.versions, version) || !Number.isInteger(version)) {
      const { min, max } = this.#shape.versions
      throw new ProtocolError('unsupported', `versions ${min} to ${max} are known`).in(this.name, version)
    }
    return { version, flexible: this.isFlexible(version) }
  }

  /** Compiled code keeps no account of where it is. The interpreter does, and fails at the same place. */
  #explained(error: unknown, version: number, again: (form: Form) => unknown): unknown {
    try {
      again(this.#form(version))
    } catch (found) {
      return found instanceof ProtocolError ? found.in(this.name, version) : found
    }
    return error instanceof ProtocolError ? error.in(this.name, version) : error
  }
}

/** Undefined where the process was started with --disallow-code-generation-from-strings. */
function compiled<T>(compile: () => T): T | undefined {
  try {
    return compile()
  } catch (error) {
    if (error instanceof EvalError) return undefined
    throw error
  }
}

/** A table that contradicts itself must not get as far as a wire. */
function checkFields(where: string, fields: Fields, flexible: number): void {
  const tags = Object.values(fields).flatMap(({ traits }) => traits.tag ?? [])
  if (new Set(tags).size !== tags.length) throw new TypeError(`${where}: a tag is used twice`)
  for (const [name, field] of Object.entries(fields)) checkField(`${where}.${name}`, field, flexible)
}

function checkField(where: string, { type, traits }: AnyField, flexible: number): void {
  if (!/^[a-z][A-Za-z0-9]*$/.test(where.slice(where.lastIndexOf('.') + 1)))
    throw new TypeError(`${where}: not camelCase`)
  if (traits.tag !== undefined && traits.versions.min < flexible) {
    throw new TypeError(`${where}: a tagged field needs versions from ${flexible} on`)
  }
  if (traits.nullableIn !== undefined && !isNullableKind(type)) throw new TypeError(`${where}: cannot be null`)
  if (traits.declaredDefault === null && traits.nullableIn === undefined) {
    throw new TypeError(`${where}: null is the default of a field that is never null`)
  }
  const inner = type.kind === 'array' ? type.element : type
  if (inner.kind === 'struct') checkFields(where, inner.fields, flexible)
}

function isNullableKind(type: WireType): boolean {
  return ['string', 'topicName', 'bytes', 'records', 'array'].includes(type.kind)
}
