// SPDX-License-Identifier: Apache-2.0
// KIP-320: a client that names the leader epoch it knows is told when that is old, or newer than this broker's.
import { KafkaError } from '../errors.ts'
import type { LocalPartition } from '../partition/local-partition.ts'

/** `epoch` below 0: the client doesn't know one. Throws FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH. */
export function checkLeaderEpoch(partition: LocalPartition, epoch: number): void {
  if (epoch < 0) return
  const current = partition.leaderEpoch
  if (epoch < current) throw new KafkaError('FENCED_LEADER_EPOCH')
  if (epoch > current) throw new KafkaError('UNKNOWN_LEADER_EPOCH')
}
