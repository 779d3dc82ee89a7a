// SPDX-License-Identifier: Apache-2.0
// The one list of handlers. What the broker serves, advertises and counts follows from it.
import type { AnyHandler } from '../handler.ts'
import { apiVersions } from './api-versions.ts'
import { createPartitions } from './create-partitions.ts'
import { createTopics } from './create-topics.ts'
import { deleteGroups } from './delete-groups.ts'
import { deleteTopics } from './delete-topics.ts'
import { describeCluster } from './describe-cluster.ts'
import { describeConfigs } from './describe-configs.ts'
import { describeGroups } from './describe-groups.ts'
import { fetch } from './fetch.ts'
import { findCoordinator } from './find-coordinator.ts'
import { heartbeat } from './heartbeat.ts'
import { initProducerId } from './init-producer-id.ts'
import { joinGroup } from './join-group.ts'
import { leaveGroup } from './leave-group.ts'
import { listGroups } from './list-groups.ts'
import { listOffsets } from './list-offsets.ts'
import { metadata } from './metadata.ts'
import { offsetCommit } from './offset-commit.ts'
import { offsetFetch } from './offset-fetch.ts'
import { offsetForLeaderEpoch } from './offset-for-leader-epoch.ts'
import { produce } from './produce.ts'
import { syncGroup } from './sync-group.ts'

/** In ascending order of key. */
export const handlers: readonly AnyHandler[] = [
  produce,
  fetch,
  listOffsets,
  metadata,
  offsetCommit,
  offsetFetch,
  findCoordinator,
  joinGroup,
  heartbeat,
  leaveGroup,
  syncGroup,
  describeGroups,
  listGroups,
  apiVersions(() => handlers),
  createTopics,
  deleteTopics,
  initProducerId,
  offsetForLeaderEpoch,
  describeConfigs,
  createPartitions,
  deleteGroups,
  describeCluster,
]

const byKey: AnyHandler[] = []
for (const handler of handlers) {
  const { api } = handler
  if (byKey[api.key] !== undefined) throw new TypeError(`API key ${api.key} has two handlers`)
  if (api.served[0] < api.versions[0] || api.served[1] > api.versions[1])
    throw new TypeError(`${api.name} serves versions that its table doesn't have`)
  byKey[api.key] = handler
}

export function handlerByKey(apiKey: number): AnyHandler | undefined {
  return byKey[apiKey]
}
