// SPDX-License-Identifier: Apache-2.0
// OffsetForLeaderEpoch (23), versions 2-4.
// Behaviour: where an epoch ends in this log, the log end for the current one, {-1, -1} for one that it doesn't know (KIP-101, KIP-279).
//   2 current leader epoch (KIP-320) · 3 replica id · 4 flexible
import { KafkaError } from '../../errors.ts'
import { kafkaErrorOf } from '../../partition/local-partition.ts'
import { OffsetForLeaderEpoch } from '../../protocol/apis/index.ts'
import { defineHandler } from '../handler.ts'
import { checkLeaderEpoch } from '../leader-epoch.ts'

export const offsetForLeaderEpoch = defineHandler<typeof OffsetForLeaderEpoch>({
  api: OffsetForLeaderEpoch,
  handle({ broker }, request) {
    return {
      topics: request.topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition: index, currentLeaderEpoch, leaderEpoch }) => {
          try {
            const partition = broker.topics.partition(topic, index)
            if (partition instanceof KafkaError) throw partition
            checkLeaderEpoch(partition, currentLeaderEpoch)
            // The current epoch ends where consumers may read to; a newer one is not known.
            const end =
              leaderEpoch === partition.leaderEpoch
                ? { leaderEpoch, endOffset: partition.highWatermark }
                : partition.endOffsetForEpoch(leaderEpoch)
            return { errorCode: 0, partition: index, ...end }
          } catch (error) {
            return { errorCode: kafkaErrorOf(error).errorCode, partition: index }
          }
        }),
      })),
    }
  },
  errorResponse: (request, errorCode) => ({
    topics: request.topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map(({ partition }) => ({ errorCode, partition })),
    })),
  }),
})
