// SPDX-License-Identifier: Apache-2.0
// Dispatch: from a punted frame to its answer. In order: header, look-up, version (ApiVersions is exempt), body, handler,
// encoding. Owns what happens when any of it fails; knows no socket. Requests of one connection are handled one after the other,
// as Kafka does: a JoinGroup that waits holds up what the client sent behind it.
import { KafkaError } from '../errors.ts'
import { kafkaErrorOf } from '../partition/local-partition.ts'
import type { AnyApi } from '../protocol/api.ts'
import { ApiVersions, apiByKey, decodeRequestHeader } from '../protocol/apis/index.ts'
import { errorByName } from '../protocol/errors.ts'
import { ProtocolError } from '../protocol/protocol-error.ts'
import type { BrokerServices } from './broker-services.ts'
import { type ClientContext, RETRY_NATIVELY, type RequestContext } from './handler.ts'
import { handlerByKey } from './handlers/index.ts'

export type Reply =
  | { readonly kind: 'frame'; readonly frame: Buffer }
  /** Serve it natively: the grants are as good as they get. */
  | { readonly kind: 'retry' }
  /** The connection ends; `reason` is for the log. */
  | { readonly kind: 'close'; readonly reason: string }

export async function dispatch(broker: BrokerServices, client: ClientContext, frame: Uint8Array): Promise<Reply> {
  let context: RequestContext
  let api: AnyApi
  try {
    const header = decodeRequestHeader(frame)
    context = { broker, client, header }
    // decodeRequestHeader knows the key, or throws.
    api = apiByKey(header.apiKey)!
  } catch (error) {
    return { kind: 'close', reason: reasonOf(error) }
  }
  const { apiKey, apiVersion, correlationId, bodyOffset } = context.header
  const handler = handlerByKey(apiKey)
  if (handler === undefined || !api.isServed(apiVersion)) {
    if (apiKey === ApiVersions.key) return { kind: 'frame', frame: unsupportedApiVersions(correlationId) }
    return { kind: 'close', reason: `${api.name} version ${apiVersion} is not served` }
  }

  let request: ReturnType<AnyApi['decodeRequest']>
  try {
    request = api.decodeRequest(apiVersion, frame, bodyOffset)
  } catch (error) {
    if (!(error instanceof ProtocolError) || error.kind !== 'utf8') return { kind: 'close', reason: reasonOf(error) }
    // A name is not UTF-8: refused by code, not by closing. Only the first fault is known yet; behind it others may follow.
    const code = errorByName(error.path.startsWith('topics') ? 'INVALID_TOPIC_EXCEPTION' : 'INVALID_REQUEST').code
    return refused(() => api.decodeRequest(apiVersion, frame, bodyOffset, { lenientUtf8: true }), code)
  }

  try {
    const response = await handler.handle(context, request)
    if (response === RETRY_NATIVELY) return { kind: 'retry' }
    return { kind: 'frame', frame: api.encodeResponse(apiVersion, correlationId, response) }
  } catch (error) {
    const failure = kafkaErrorOf(error)
    if (failure.code === 'UNKNOWN_SERVER_ERROR')
      broker.log.error({ err: error, api: api.name, apiVersion, correlationId, client: client.host }, 'request failed')
    return refused(() => request, failure.errorCode)
  }

  /** The request's names come back in the answer, and what was read leniently may have grown beyond what a string holds. */
  function refused(read: () => typeof request, errorCode: number): Reply {
    try {
      const response = handler!.errorResponse(read(), errorCode)
      return { kind: 'frame', frame: api.encodeResponse(apiVersion, correlationId, response) }
    } catch (error) {
      return { kind: 'close', reason: reasonOf(error) }
    }
  }
}

/** In the shape of version 0, with the versions of ApiVersions itself, so that the client can come again (KIP-511). */
function unsupportedApiVersions(correlationId: number): Buffer {
  const [minVersion, maxVersion] = ApiVersions.advertised
  return ApiVersions.encodeResponse(0, correlationId, {
    errorCode: errorByName('UNSUPPORTED_VERSION').code,
    apiKeys: [{ apiKey: ApiVersions.key, minVersion, maxVersion }],
  })
}

function reasonOf(error: unknown): string {
  if (error instanceof KafkaError || error instanceof Error) return error.message
  return String(error)
}
