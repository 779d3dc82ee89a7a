// SPDX-License-Identifier: Apache-2.0
// What a handler is: one file per API, one list in handlers/index.ts. From the list derive the dispatch table, the answer to
// ApiVersions and the metric labels. Handlers see decoded requests and return responses; never bytes or sockets.
import type { AnyApi, Request, RequestHeader, ResponseInit } from '../protocol/api.ts'
import type { BrokerServices } from './broker-services.ts'

/** Where a request came from. */
export interface ClientContext {
  /** The peer's address; 'unix' for a unix socket, 'in-process' for a client in this process. */
  readonly host: string
  /** The address that the peer connected to, which Metadata names when nothing is advertised; null when it is no TCP. */
  readonly localAddress: { readonly host: string; readonly port: number } | null
  readonly listenerName: string
}

export interface RequestContext {
  readonly broker: BrokerServices
  readonly client: ClientContext
  readonly header: RequestHeader
}

/** What a native request asks of TypeScript: serve it now with the grants there are, or close the connection. */
export const RETRY_NATIVELY = Symbol('retry natively')
export type RetryNatively = typeof RETRY_NATIVELY

export interface Handler<A extends AnyApi> {
  readonly api: A
  /**
   * Returns the response or a promise of it. Per-topic and per-partition failures are codes in the response; a thrown
   * KafkaError becomes errorResponse() with its code, anything else UNKNOWN_SERVER_ERROR.
   */
  handle(
    context: RequestContext,
    request: Request<A>,
  ): ResponseInit<A> | RetryNatively | Promise<ResponseInit<A> | RetryNatively>
  /** A full-shape answer in which everything asked for carries the code. */
  errorResponse(request: Request<A>, errorCode: number): ResponseInit<A>
}

export type AnyHandler = Handler<AnyApi>

export function defineHandler<A extends AnyApi>(handler: Handler<A>): AnyHandler {
  return handler as unknown as AnyHandler
}
