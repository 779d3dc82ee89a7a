// SPDX-License-Identifier: Apache-2.0
// InitProducerId (22), versions 0-5.
// Behaviour: an idempotent producer gets an id that was never given before, epoch 0; one that comes back with an old id (3+) gets a
// new one too, as in Kafka. Transactional ids are refused with a text that says so: there is no transaction coordinator yet.
import { KafkaError } from '../../errors.ts'
import { InitProducerId } from '../../protocol/apis/index.ts'
import { defineHandler } from '../handler.ts'

export const initProducerId = defineHandler<typeof InitProducerId>({
  api: InitProducerId,
  async handle({ broker }, request) {
    if (request.transactionalId === '') throw new KafkaError('INVALID_REQUEST')
    if (request.transactionalId !== null) throw new KafkaError('TRANSACTIONAL_ID_AUTHORIZATION_FAILED')
    return { errorCode: 0, producerId: await broker.producerIds.next(), producerEpoch: 0 }
  },
  errorResponse: (_request, errorCode) => ({ errorCode, producerEpoch: -1 }),
})
