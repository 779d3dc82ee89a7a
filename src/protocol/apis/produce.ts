// SPDX-License-Identifier: Apache-2.0
// Produce (0): appends record batches to partitions. With acks=0 there is no response at all.
//   Served from 3, but advertised from 0: librdkafka before 2.11.1 turns compression off silently without (KAFKA-18659).
//   3 transactional id · 5 log start offset · 7 zstd (KIP-110) · 8 errors of single records (KIP-467) · 9 flexible
//   10 the leader to turn to (KIP-951) · 11 TRANSACTION_ABORTABLE (KIP-890) · 12 adds partitions to the transaction
//   (KIP-890) · 13 topic ids in place of names (KIP-516)
import { api } from '../api.ts'
import { array, int16, int32, offset, records, string, struct, timestampMs, topicName, uuid } from '../schema.ts'

export const Produce = api(0, 'Produce', {
  versions: [3, 13],
  advertised: [0, 13],
  flexible: 9,
  request: {
    transactionalId: string.nullable().default(null),
    acks: int16,
    timeoutMs: int32,
    topicData: array({
      name: topicName.in('3-12').ignorable(),
      topicId: uuid.in('13+').ignorable(),
      partitionData: array({
        index: int32,
        records: records.nullable(),
      }),
    }),
  },
  response: {
    responses: array({
      name: topicName.in('3-12').ignorable(),
      topicId: uuid.in('13+').ignorable(),
      partitionResponses: array({
        index: int32,
        errorCode: int16,
        baseOffset: offset,
        logAppendTimeMs: timestampMs.default(-1),
        logStartOffset: offset.in('5+').default(-1).ignorable(),
        recordErrors: array({
          batchIndex: int32,
          batchIndexErrorMessage: string.nullable().default(null),
        })
          .in('8+')
          .ignorable(),
        errorMessage: string.in('8+').nullable().default(null).ignorable(),
        currentLeader: struct({
          leaderId: int32.default(-1),
          leaderEpoch: int32.default(-1),
        })
          .in('10+')
          .tagged(0),
      }),
    }),
    throttleTimeMs: int32.default(0),
    nodeEndpoints: array({
      nodeId: int32,
      host: string,
      port: int32,
      rack: string.nullable().default(null),
    })
      .in('10+')
      .tagged(0),
  },
})
