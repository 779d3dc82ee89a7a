// SPDX-License-Identifier: Apache-2.0
// The one list of the APIs that have a table, and the way from a key to its API.
import { type AnyApi, type RequestHeader, readRequestHeader } from '../api.ts'
import { ApiVersions } from './api-versions.ts'
import { Heartbeat } from './heartbeat.ts'
import { Metadata } from './metadata.ts'

const APIS: readonly AnyApi[] = [Metadata, Heartbeat, ApiVersions]

export { ApiVersions, Heartbeat, Metadata }

const byKey: (AnyApi | undefined)[] = []
for (const api of APIS) {
  if (byKey[api.key] !== undefined) throw new TypeError(`API key ${api.key} is used twice`)
  byKey[api.key] = api
}

/** In ascending order of key. */
export const allApis: readonly AnyApi[] = APIS

export function apiByKey(key: number): AnyApi | undefined {
  return byKey[key]
}

/**
 * Reads the header of a request from a frame without its size. Throws a ProtocolError: of kind `unsupported` for a key
 * that is not in the list (where its body begins cannot be known, so it cannot be answered). A version beyond the table
 * is the caller's to judge, because ApiVersions is answered in any.
 */
export function decodeRequestHeader(payload: Uint8Array): RequestHeader {
  return readRequestHeader(payload, (key, version) => byKey[key]?.isFlexible(version))
}
