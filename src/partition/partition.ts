// SPDX-License-Identifier: Apache-2.0
// What coordinators, the cluster layer and the broker's handlers see of a partition replica: append, read and changes
// of leadership. Decisions about who leads are made elsewhere; bytes are moved by the native plane.

/** 0: don't wait, 1: in the leader's page cache, -1 (all): on every in-sync replica, as the flush mode defines it. */
export type Acks = -1 | 0 | 1

export interface AppendedRange {
  readonly baseOffset: number
  readonly lastOffset: number
  /** Milliseconds since the epoch with message.timestamp.type=LogAppendTime, else -1. */
  readonly logAppendTimeMs: number
}

export interface Partition {
  readonly topic: string
  readonly index: number
  readonly leaderEpoch: number
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly highWatermark: number
  /**
   * Appends whole record batches (v2, base offsets from 0) as the broker's own: no client validation of transactional or
   * control attributes. Appends take effect in call order. Resolves once `acks` is satisfied, rejects with a
   * KafkaError (errors.ts) such as NOT_LEADER_OR_FOLLOWER or KAFKA_STORAGE_ERROR.
   */
  append(batches: Uint8Array, acks: Acks): Promise<AppendedRange>
  /**
   * Whole record batches from the one that holds `offset`, up to the high watermark (or the log end with
   * `upTo: 'logEnd'`): at least one batch when there is any, else at most `maxBytes`. The first batch may begin before
   * `offset`. The bytes are the caller's own copy. Empty at the end; throws KafkaError OFFSET_OUT_OF_RANGE outside the log.
   */
  read(offset: number, maxBytes: number, options?: { upTo?: 'highWatermark' | 'logEnd' }): Uint8Array
  /** Calls back once this broker leads the partition, at once when it already does; again at each new epoch. */
  onLead(listener: (leaderEpoch: number) => void): void
  /** Calls back when this broker stops leading the partition. */
  onResign(listener: (leaderEpoch: number) => void): void
}
