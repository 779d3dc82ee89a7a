// SPDX-License-Identifier: Apache-2.0
// InitProducerId (22): a producer id and epoch, new or for a transactional id the next.
//   2 flexible · 3 the producer names the id and epoch that it has (KIP-360) · 4 PRODUCER_FENCED (KIP-588)
//   5 TRANSACTION_ABORTABLE (KIP-890) · 6 two-phase commit (KIP-939), unstable in 4.4 and therefore not served
import { api } from '../api.ts'
import { bool, int16, int32, int64, string } from '../schema.ts'

export const InitProducerId = api(22, 'InitProducerId', {
  versions: [0, 6],
  served: [0, 5],
  flexible: 2,
  request: {
    transactionalId: string.nullable(),
    transactionTimeoutMs: int32,
    producerId: int64.in('3+').default(-1n),
    producerEpoch: int16.in('3+').default(-1),
    enable2Pc: bool.in('6+').default(false),
    keepPreparedTxn: bool.in('6+').default(false),
  },
  response: {
    throttleTimeMs: int32.default(0),
    errorCode: int16,
    producerId: int64.default(-1n),
    producerEpoch: int16,
    ongoingTxnProducerId: int64.in('6+').default(-1n),
    ongoingTxnProducerEpoch: int16.in('6+').default(-1),
  },
})
