// SPDX-License-Identifier: Apache-2.0
// ApiVersions (18), versions 0-4.
// Behaviour: lists what the handlers serve, from their one list. An unsupported version is answered by dispatch in the shape of
// version 0 (KIP-511). A bad client software name is INVALID_REQUEST. No feature is finalized yet.
//   3 client software name and version (KIP-511), tagged features (KIP-584)
import { KafkaError } from '../../errors.ts'
import { ApiVersions } from '../../protocol/apis/index.ts'
import { type AnyHandler, defineHandler } from '../handler.ts'

const SOFTWARE_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/

export const apiVersions = (handlers: () => readonly AnyHandler[]): AnyHandler =>
  defineHandler<typeof ApiVersions>({
    api: ApiVersions,
    handle({ header }, request) {
      if (
        header.apiVersion >= 3 &&
        !(SOFTWARE_NAME.test(request.clientSoftwareName) && SOFTWARE_NAME.test(request.clientSoftwareVersion))
      )
        throw new KafkaError('INVALID_REQUEST', 'the client software name or version is not one')
      return {
        errorCode: 0,
        apiKeys: handlers().map(({ api }) => ({
          apiKey: api.key,
          minVersion: api.advertised[0],
          maxVersion: api.advertised[1],
        })),
      }
    },
    errorResponse: (_request, errorCode) => ({ errorCode, apiKeys: [] }),
  })
