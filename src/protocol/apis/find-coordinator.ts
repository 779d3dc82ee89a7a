// SPDX-License-Identifier: Apache-2.0
// FindCoordinator (10): the broker that coordinates a group (key type 0), a transactional id (1) or a share group (2).
//   1 key types, throttle time · 3 flexible · 4 many keys (KIP-699) · 5 TRANSACTION_ABORTABLE (KIP-890)
//   6 share groups (KIP-932)
import { api } from '../api.ts'
import { array, int8, int16, int32, string } from '../schema.ts'

export const FindCoordinator = api(10, 'FindCoordinator', {
  versions: [0, 6],
  flexible: 3,
  request: {
    key: string.in('0-3'),
    keyType: int8.in('1+').default(0),
    coordinatorKeys: array(string).in('4+'),
  },
  response: {
    throttleTimeMs: int32.in('1+').ignorable(),
    errorCode: int16.in('0-3'),
    errorMessage: string.in('1-3').nullable().ignorable(),
    nodeId: int32.in('0-3'),
    host: string.in('0-3'),
    port: int32.in('0-3'),
    coordinators: array({
      key: string,
      nodeId: int32,
      host: string,
      port: int32,
      errorCode: int16,
      errorMessage: string.nullable(),
    }).in('4+'),
  },
})
