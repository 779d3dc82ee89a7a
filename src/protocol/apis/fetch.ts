// SPDX-License-Identifier: Apache-2.0
// Fetch (1): reads record batches of partitions, waiting for minBytes up to maxWaitMs.
//   The session id 0 in the answer declines a fetch session (KIP-227). Of each response the first batch is sent whole,
//   however large (KIP-74).
//   4 read_committed · 5 log start offset · 7 sessions · 9 leader epoch (KIP-320) · 10 zstd (KIP-110)
//   11 rack, preferred replica (KIP-392) · 12 flexible, lastFetchedEpoch, diverging epoch (KIP-595)
//   13 topic ids in place of names (KIP-516) · 15 replica state (KIP-903) · 16 leaders to turn to (KIP-951)
//   17 directory id (KIP-853) · 18 high watermark of the follower (KIP-1166)
import { api } from '../api.ts'
import { array, int8, int16, int32, int64, offset, records, string, struct, topicName, uuid } from '../schema.ts'

export const Fetch = api(1, 'Fetch', {
  versions: [4, 18],
  flexible: 12,
  request: {
    clusterId: string.in('12+').tagged(0).nullable().default(null).ignorable(),
    replicaId: int32.in('4-14').default(-1),
    replicaState: struct({
      replicaId: int32.default(-1),
      replicaEpoch: int64.default(-1n),
    })
      .in('15+')
      .tagged(1),
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: int32.default(0x7fffffff),
    isolationLevel: int8.default(0),
    sessionId: int32.in('7+').default(0).ignorable(),
    sessionEpoch: int32.in('7+').default(-1).ignorable(),
    topics: array({
      topic: topicName.in('4-12').ignorable(),
      topicId: uuid.in('13+').ignorable(),
      partitions: array({
        partition: int32,
        currentLeaderEpoch: int32.in('9+').default(-1).ignorable(),
        fetchOffset: offset,
        lastFetchedEpoch: int32.in('12+').default(-1),
        logStartOffset: offset.in('5+').default(-1).ignorable(),
        partitionMaxBytes: int32,
        replicaDirectoryId: uuid.in('17+').tagged(0).ignorable(),
        // Long.MAX_VALUE stands for unknown, which no `offset` could hold.
        highWatermark: int64.in('18+').tagged(1).default(0x7fffffffffffffffn).ignorable(),
      }),
    }),
    forgottenTopicsData: array({
      topic: topicName.in('7-12').ignorable(),
      topicId: uuid.in('13+').ignorable(),
      partitions: array(int32),
    }).in('7+'),
    rackId: string.in('11+').default('').ignorable(),
  },
  response: {
    throttleTimeMs: int32.default(0),
    errorCode: int16.in('7+').ignorable(),
    sessionId: int32.in('7+').default(0),
    responses: array({
      topic: topicName.in('4-12').ignorable(),
      topicId: uuid.in('13+').ignorable(),
      partitions: array({
        partitionIndex: int32,
        errorCode: int16,
        highWatermark: offset,
        lastStableOffset: offset.default(-1),
        logStartOffset: offset.in('5+').default(-1).ignorable(),
        divergingEpoch: struct({
          epoch: int32.default(-1),
          endOffset: offset.default(-1),
        })
          .in('12+')
          .tagged(0),
        currentLeader: struct({
          leaderId: int32.default(-1),
          leaderEpoch: int32.default(-1),
        })
          .in('12+')
          .tagged(1),
        snapshotId: struct({
          endOffset: offset.default(-1),
          epoch: int32.default(-1),
        })
          .in('12+')
          .tagged(2),
        abortedTransactions: array({
          producerId: int64,
          firstOffset: offset,
        }).nullable(),
        preferredReadReplica: int32.in('11+').default(-1),
        records: records.nullable(),
      }),
    }),
    nodeEndpoints: array({
      nodeId: int32,
      host: string,
      port: int32,
      rack: string.nullable().default(null),
    })
      .in('16+')
      .tagged(0),
  },
})
