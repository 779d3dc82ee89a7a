// SPDX-License-Identifier: Apache-2.0
// ListOffsets (2), versions 1-11.
// Behaviour: -1 the high watermark (last stable offset for read_committed), -2 the log start, -3 the record with the largest
// timestamp (KIP-734), -4 as -2 (nothing is tiered), -5 and -6 none; else the first record at or after the timestamp. A special
// timestamp in a version before its own is UNSUPPORTED_VERSION. A partition named twice is INVALID_REQUEST.
//   4 leader epochs (KIP-320) · 7 max timestamp · 8 earliest local · 9 latest tiered · 11 earliest pending upload
import { KafkaError } from '../../errors.ts'
import { kafkaErrorOf, type LocalPartition } from '../../partition/local-partition.ts'
import { ListOffsets } from '../../protocol/apis/index.ts'
import { errorByName } from '../../protocol/errors.ts'
import { defineHandler } from '../handler.ts'
import { checkLeaderEpoch } from '../leader-epoch.ts'

const LATEST = -1
const EARLIEST = -2
const MAX_TIMESTAMP = -3
const EARLIEST_LOCAL = -4
const LATEST_TIERED = -5
const EARLIEST_PENDING_UPLOAD = -6
const FIRST_VERSION: Readonly<Record<number, number>> = {
  [LATEST]: 1,
  [EARLIEST]: 1,
  [MAX_TIMESTAMP]: 7,
  [EARLIEST_LOCAL]: 8,
  [LATEST_TIERED]: 9,
  [EARLIEST_PENDING_UPLOAD]: 11,
}
const READ_COMMITTED = 1

interface Found {
  readonly offset: number
  readonly timestampMs: number
  readonly leaderEpoch: number
}
const NONE: Found = { offset: -1, timestampMs: -1, leaderEpoch: -1 }

export const listOffsets = defineHandler<typeof ListOffsets>({
  api: ListOffsets,
  handle({ broker, header }, request) {
    const seen = new Set<string>()
    const twice = new Set<string>()
    for (const { name, partitions } of request.topics)
      for (const { partitionIndex } of partitions) {
        const key = `${name}/${partitionIndex}`
        if (seen.has(key)) twice.add(key)
        seen.add(key)
      }
    const readCommitted = request.isolationLevel === READ_COMMITTED
    return {
      topics: request.topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, currentLeaderEpoch, timestamp }) => {
          try {
            if (twice.has(`${name}/${partitionIndex}`)) throw new KafkaError('INVALID_REQUEST')
            const partition = broker.topics.partition(name, partitionIndex)
            if (partition instanceof KafkaError) throw partition
            checkLeaderEpoch(partition, currentLeaderEpoch)
            if (timestamp < 0 && header.apiVersion < (FIRST_VERSION[timestamp] ?? Number.POSITIVE_INFINITY))
              throw new KafkaError('UNSUPPORTED_VERSION')
            const found = lookUp(partition, timestamp, readCommitted)
            return {
              partitionIndex,
              errorCode: 0,
              offset: found.offset,
              timestamp: found.timestampMs,
              // The field doesn't exist before version 4.
              ...(header.apiVersion >= 4 ? { leaderEpoch: found.leaderEpoch } : {}),
            }
          } catch (error) {
            return { partitionIndex, errorCode: errorByName(kafkaErrorOf(error).code).code }
          }
        }),
      })),
    }
  },
  errorResponse: (request, errorCode) => ({
    topics: request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
    })),
  }),
})

function lookUp(partition: LocalPartition, timestamp: number, readCommitted: boolean): Found {
  switch (timestamp) {
    case LATEST: {
      const offset = readCommitted ? partition.lastStableOffset : partition.highWatermark
      return { offset, timestampMs: -1, leaderEpoch: partition.leaderEpoch }
    }
    case EARLIEST:
    case EARLIEST_LOCAL: {
      const offset = partition.logStartOffset
      return { offset, timestampMs: -1, leaderEpoch: partition.epochForOffset(offset) }
    }
    case MAX_TIMESTAMP:
      return partition.offsetOfMaxTimestamp(readCommitted)
    case LATEST_TIERED:
    case EARLIEST_PENDING_UPLOAD:
      return NONE
    default:
      return partition.offsetForTimestamp(timestamp, readCommitted)
  }
}
