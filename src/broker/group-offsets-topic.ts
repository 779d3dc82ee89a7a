// SPDX-License-Identifier: Apache-2.0
// __consumer_offsets as the broker makes it, and the group coordinator's settings under Kafka's config names.
import { defaultGroupCoordinatorConfig, type GroupCoordinatorConfig } from '../coordinator/config.ts'
import type { BrokerConfig } from './config/config.ts'
import type { TopicToCreate } from './topics.ts'

export const OFFSETS_TOPIC = '__consumer_offsets'

export function offsetsTopic(config: BrokerConfig): TopicToCreate {
  return {
    name: OFFSETS_TOPIC,
    partitionCount: config.number('offsets.topic.num.partitions'),
    replicationFactor: 1,
    assignments: [],
    overrides: new Map([
      ['cleanup.policy', 'compact'],
      ['compression.type', 'producer'],
      ['segment.bytes', String(config.number('offsets.topic.segment.bytes'))],
    ]),
  }
}

export function groupCoordinatorConfig(config: BrokerConfig): GroupCoordinatorConfig {
  return {
    ...defaultGroupCoordinatorConfig,
    minSessionTimeoutMs: config.number('group.min.session.timeout.ms'),
    maxSessionTimeoutMs: config.number('group.max.session.timeout.ms'),
    initialRebalanceDelayMs: config.number('group.initial.rebalance.delay.ms'),
    groupMaxSize: config.number('group.max.size'),
    offsetMetadataMaxBytes: config.number('offset.metadata.max.bytes'),
    offsetsRetentionMs: config.number('offsets.retention.minutes') * 60_000,
    offsetsRetentionCheckIntervalMs: config.number('offsets.retention.check.interval.ms'),
    offsetsCommitTimeoutMs: config.number('offsets.commit.timeout.ms'),
  }
}
