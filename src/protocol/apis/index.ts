// SPDX-License-Identifier: Apache-2.0
// The one list of the APIs that have a table, and the way from a key to its API.
import { type AnyApi, type RequestHeader, readRequestHeader } from '../api.ts'
import { ApiVersions } from './api-versions.ts'
import { CreatePartitions } from './create-partitions.ts'
import { CreateTopics } from './create-topics.ts'
import { DeleteGroups } from './delete-groups.ts'
import { DeleteTopics } from './delete-topics.ts'
import { DescribeCluster } from './describe-cluster.ts'
import { DescribeConfigs } from './describe-configs.ts'
import { DescribeGroups } from './describe-groups.ts'
import { Fetch } from './fetch.ts'
import { FindCoordinator } from './find-coordinator.ts'
import { Heartbeat } from './heartbeat.ts'
import { InitProducerId } from './init-producer-id.ts'
import { JoinGroup } from './join-group.ts'
import { LeaveGroup } from './leave-group.ts'
import { ListGroups } from './list-groups.ts'
import { ListOffsets } from './list-offsets.ts'
import { Metadata } from './metadata.ts'
import { OffsetCommit } from './offset-commit.ts'
import { OffsetFetch } from './offset-fetch.ts'
import { OffsetForLeaderEpoch } from './offset-for-leader-epoch.ts'
import { Produce } from './produce.ts'
import { SyncGroup } from './sync-group.ts'

/** In ascending order of key. */
export const allApis: readonly AnyApi[] = [
  Produce,
  Fetch,
  ListOffsets,
  Metadata,
  OffsetCommit,
  OffsetFetch,
  FindCoordinator,
  JoinGroup,
  Heartbeat,
  LeaveGroup,
  SyncGroup,
  DescribeGroups,
  ListGroups,
  ApiVersions,
  CreateTopics,
  DeleteTopics,
  InitProducerId,
  OffsetForLeaderEpoch,
  DescribeConfigs,
  CreatePartitions,
  DeleteGroups,
  DescribeCluster,
]

export {
  ApiVersions,
  CreatePartitions,
  CreateTopics,
  DeleteGroups,
  DeleteTopics,
  DescribeCluster,
  DescribeConfigs,
  DescribeGroups,
  Fetch,
  FindCoordinator,
  Heartbeat,
  InitProducerId,
  JoinGroup,
  LeaveGroup,
  ListGroups,
  ListOffsets,
  Metadata,
  OffsetCommit,
  OffsetFetch,
  OffsetForLeaderEpoch,
  Produce,
  SyncGroup,
}

const byKey: (AnyApi | undefined)[] = []
for (const api of allApis) {
  if (byKey[api.key] !== undefined) throw new TypeError(`API key ${api.key} is used twice`)
  byKey[api.key] = api
}

export function apiByKey(key: number): AnyApi | undefined {
  return byKey[key]
}

/**
 * Reads the header of a request from a frame without its size. Throws a ProtocolError: of kind `unsupported` for a key
 * that is not in the list (where its body begins cannot be known, so it cannot be answered). A version beyond the table
 * is the caller's to judge, because ApiVersions is answered in any.
 */
export function decodeRequestHeader(payload: Uint8Array): RequestHeader {
  return readRequestHeader(payload, (key, version) => byKey[key]?.isFlexible(version))
}
