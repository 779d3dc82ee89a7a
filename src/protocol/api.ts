// SPDX-License-Identifier: Apache-2.0
// One API of the protocol: its key, its versions, its request and its response, and the frames that carry them. The
// versions of the two headers follow from the first flexible version (KIP-482), but for one exception made here.
import { type DecodeOptions, Message } from './message.ts'
import { ProtocolError } from './protocol-error.ts'
import { MAX_REQUEST_ELEMENTS, Reader } from './reader.ts'
import type { Decoded, Encodable, Fields } from './schema.ts'
import { Writer } from './writer.ts'

export interface ApiTable<Q extends Fields, R extends Fields> {
  /** First and last version that the table describes: what Kafka 4.4 lists as valid. */
  readonly versions: readonly [min: number, max: number]
  /** The versions that the broker answers; the same when left out. */
  readonly served?: readonly [min: number, max: number]
  /** What the broker says that it answers, where that differs. */
  readonly advertised?: readonly [min: number, max: number]
  /** The first flexible version. */
  readonly flexible: number
  readonly request: Q
  readonly response: R
}

const API_VERSIONS_KEY = 18
const writer = new Writer()

export class Api<Q extends Fields, R extends Fields> {
  readonly key: number
  /** Kafka's name, such as `OffsetForLeaderEpoch`. */
  readonly name: string
  readonly versions: readonly [min: number, max: number]
  readonly served: readonly [min: number, max: number]
  readonly advertised: readonly [min: number, max: number]
  readonly request: Message<Q>
  readonly response: Message<R>

  constructor(key: number, name: string, table: ApiTable<Q, R>) {
    this.key = key
    this.name = name
    this.versions = table.versions
    this.served = table.served ?? table.versions
    this.advertised = table.advertised ?? this.served
    const [min, max] = table.versions
    const { flexible } = table
    const shape = { versions: { min, max }, flexible }
    this.request = new Message(`${name}Request`, { ...shape, maxElements: MAX_REQUEST_ELEMENTS, fields: table.request })
    // A response comes from a broker that the client chose, and a large cluster has large metadata: bounded by its bytes.
    this.response = new Message(`${name}Response`, { ...shape, maxElements: Infinity, fields: table.response })
  }

  isServed(version: number): boolean {
    return version >= this.served[0] && version <= this.served[1]
  }

  isFlexible(version: number): boolean {
    return this.request.isFlexible(version)
  }

  requestHeaderVersion(version: number): 1 | 2 {
    return this.isFlexible(version) ? 2 : 1
  }

  /** A client that does not know the broker yet must be able to read its ApiVersions response: header 0 in all versions. */
  responseHeaderVersion(version: number): 0 | 1 {
    return this.isFlexible(version) && this.key !== API_VERSIONS_KEY ? 1 : 0
  }

  /** `payload` is a frame without its size, `bodyOffset` where decodeRequestHeader says the body begins. */
  decodeRequest(version: number, payload: Uint8Array, bodyOffset: number, options?: DecodeOptions): Decoded<Q> {
    return this.request.decode(version, payload, bodyOffset, options)
  }

  /** A whole frame, size included. */
  encodeRequest(version: number, correlationId: number, clientId: string | null, body: Encodable<Q>): Buffer {
    writer.beginFrame()
    writer.int16(this.key)
    writer.int16(version)
    writer.int32(correlationId)
    writer.nullableString(clientId)
    if (this.requestHeaderVersion(version) === 2) writer.uvarint(0)
    this.request.encodeTo(writer, version, body)
    return writer.finishFrame()
  }

  /** `payload` is a frame without its size: the header, which is stepped over, and the body. */
  decodeResponse(version: number, payload: Uint8Array, options?: DecodeOptions): Decoded<R> {
    return this.response.decode(
      version,
      payload,
      responseBodyOffset(payload, this.responseHeaderVersion(version)),
      options,
    )
  }

  /** A whole frame, size included. */
  encodeResponse(version: number, correlationId: number, body: Encodable<R>): Buffer {
    writer.beginFrame()
    writer.int32(correlationId)
    if (this.responseHeaderVersion(version) === 1) writer.uvarint(0)
    this.response.encodeTo(writer, version, body)
    return writer.finishFrame()
  }
}

export type AnyApi = Api<Fields, Fields>

export function api<const Q extends Fields, const R extends Fields>(
  key: number,
  name: string,
  table: ApiTable<Q, R>,
): Api<Q, R> {
  return new Api(key, name, table)
}

interface HasMessages {
  readonly request: { readonly types: { readonly out: unknown; readonly in: unknown } }
  readonly response: { readonly types: { readonly out: unknown; readonly in: unknown } }
}

/** A decoded request: every field is there. */
export type Request<A extends HasMessages> = A['request']['types']['out']
/** A request to encode: what has a default may be left out. */
export type RequestInit<A extends HasMessages> = A['request']['types']['in']
/** A decoded response: every field is there. */
export type Response<A extends HasMessages> = A['response']['types']['out']
/** A response to encode: what has a default may be left out. */
export type ResponseInit<A extends HasMessages> = A['response']['types']['in']

export interface RequestHeader {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  /** Bad UTF-8 decodes to U+FFFD: it is for logs and quotas, and no reason to refuse a client. */
  readonly clientId: string | null
  readonly flexible: boolean
  readonly bodyOffset: number
}

const headerReader = new Reader()
/** In UTF-16 units, each at most three bytes of the 32,767 that a string may have. */
const CLIENT_ID_LENGTH_MAX = 10_922

/**
 * Reads the header of a request from a frame without its size. `flexibleFrom` tells the first flexible version of an API,
 * or undefined for one that is not known, which is a ProtocolError of kind `unsupported`: where its body begins, and so
 * how to answer, cannot be known. A version beyond the table is not an error here, because ApiVersions must be answered.
 */
export function readRequestHeader(
  payload: Uint8Array,
  isFlexible: (key: number, version: number) => boolean | undefined,
): RequestHeader {
  const reader = headerReader.open(payload, 0, 0, true)
  try {
    const apiKey = reader.int16()
    const apiVersion = reader.int16()
    const correlationId = reader.int32()
    const flexible = isFlexible(apiKey, apiVersion)
    if (flexible === undefined) throw new ProtocolError('unsupported', `API key ${apiKey} is not known`)
    // A bad byte becomes three: cut, so that it still is a string that a record or an answer can carry.
    const clientId = reader.nullableString(true)?.slice(0, CLIENT_ID_LENGTH_MAX) ?? null
    if (flexible) reader.skipTaggedFields()
    return { apiKey, apiVersion, correlationId, clientId, flexible, bodyOffset: reader.position }
  } finally {
    reader.close()
  }
}

/** The correlation id of a response frame without its size: what tells which request, and so which version, it answers. */
export function responseCorrelationId(payload: Uint8Array): number {
  const reader = headerReader.open(payload, 0, 0, true)
  try {
    return reader.int32()
  } finally {
    reader.close()
  }
}

function responseBodyOffset(payload: Uint8Array, headerVersion: 0 | 1): number {
  const reader = headerReader.open(payload, 0, 0, true)
  try {
    reader.take(4)
    if (headerVersion === 1) reader.skipTaggedFields()
    return reader.position
  } catch (error) {
    throw error instanceof ProtocolError ? error.within('header') : error
  } finally {
    reader.close()
  }
}
