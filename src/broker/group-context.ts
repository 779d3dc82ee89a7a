// SPDX-License-Identifier: Apache-2.0
// What the group coordinator wants to know of a request.
import type { GroupRequestContext } from '../coordinator/types.ts'
import type { RequestContext } from './handler.ts'

export function groupContext({ header, client }: RequestContext): GroupRequestContext {
  return { apiVersion: header.apiVersion, clientId: header.clientId, clientHost: `/${client.host}` }
}
