// SPDX-License-Identifier: Apache-2.0
// InitProducerId (22), versions 0-5.
// Behaviour: an idempotent producer gets an id that was never given before, epoch 0; one that comes back with an old id (3+) gets a
// new one too, as in Kafka. Transactional ids are refused by the code on which every client gives up at once: there is no transaction
// coordinator yet.
import { KafkaError } from '../../errors.ts'
import { InitProducerId } from '../../protocol/apis/index.ts'
import { defineHandler } from '../handler.ts'

export const initProducerId = defineHandler<typeof InitProducerId>({
  api: InitProducerId,
  async handle({ broker }, request) {
    if (request.transactionalId === '') throw new KafkaError('INVALID_REQUEST')
    if (request.transactionalId !== null) throw new KafkaError('TRANSACTIONAL_ID_AUTHORIZATION_FAILED')
    // Both, or neither.
    if (request.producerId < 0n !== request.producerEpoch < 0) throw new KafkaError('INVALID_REQUEST')
    return { errorCode: 0, producerId: await broker.producerIds.next(), producerEpoch: 0 }
  },
  errorResponse: (_request, errorCode) => ({ errorCode, producerEpoch: -1 }),
})
