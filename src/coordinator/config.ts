// SPDX-License-Identifier: Apache-2.0
// The settings of the group coordinator with Kafka's defaults (GroupCoordinatorConfig), and the bounds that are our own.

export interface GroupCoordinatorConfig {
  /** group.min.session.timeout.ms */
  readonly minSessionTimeoutMs: number
  /** group.max.session.timeout.ms */
  readonly maxSessionTimeoutMs: number
  /** group.initial.rebalance.delay.ms (KIP-134) */
  readonly initialRebalanceDelayMs: number
  /** group.max.size (KIP-389) */
  readonly groupMaxSize: number
  /** Members of one group that were given an id and have not come back with it (KIP-394). */
  readonly groupPendingMembersMax: number
  /** Groups of one offsets partition. */
  readonly groupsPerPartitionMax: number
  /** How long a JoinGroup of a member without a session yet may be parked; a constant in Kafka. */
  readonly newMemberJoinTimeoutMs: number
  /** offset.metadata.max.bytes; like Kafka, counted in UTF-16 units */
  readonly offsetMetadataMaxBytes: number
  /** offsets.retention.minutes, in milliseconds (KIP-211) */
  readonly offsetsRetentionMs: number
  /** offsets.retention.check.interval.ms */
  readonly offsetsRetentionCheckIntervalMs: number
  /** offsets.commit.timeout.ms: how long an answer waits for an append */
  readonly offsetsCommitTimeoutMs: number
  /** Size of the batches that writes are gathered into; well below max.message.bytes of the offsets topic. */
  readonly appendBatchBytes: number
  /** How much of the log is replayed before other work gets its turn. */
  readonly loadChunkBytes: number
}

export const defaultGroupCoordinatorConfig: GroupCoordinatorConfig = {
  minSessionTimeoutMs: 6_000,
  maxSessionTimeoutMs: 1_800_000,
  initialRebalanceDelayMs: 3_000,
  groupMaxSize: 2 ** 31 - 1,
  groupPendingMembersMax: 10_000,
  groupsPerPartitionMax: 100_000,
  newMemberJoinTimeoutMs: 300_000,
  offsetMetadataMaxBytes: 4_096,
  offsetsRetentionMs: 7 * 24 * 3_600_000,
  offsetsRetentionCheckIntervalMs: 600_000,
  offsetsCommitTimeoutMs: 5_000,
  appendBatchBytes: 512 * 1024,
  loadChunkBytes: 512 * 1024,
}
