// SPDX-License-Identifier: Apache-2.0
// What the group coordinator is asked and what it answers: plain objects with the field names of Kafka's schemas, so
// that a decoded request goes in and the answer comes out ready to be encoded. Only what the coordinator reads is asked
// for. Topic ids (version 10 of OffsetCommit and OffsetFetch) are not known here.

/** Who asks, and in which version: it decides on the shape of some answers and on which errors a client understands. */
export interface GroupRequestContext {
  readonly apiVersion: number
  readonly clientId: string | null
  /** As Kafka writes it, with a slash before the address: '/127.0.0.1'. */
  readonly clientHost: string
}

/** Metadata and assignments are kept, not copied: their bytes must not change afterwards. */
export interface JoinGroupRequest {
  readonly groupId: string
  readonly sessionTimeoutMs: number
  /** Below 0 (version 0): the session timeout is used. */
  readonly rebalanceTimeoutMs: number
  /** Empty: the member is new. */
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly protocolType: string
  readonly protocols: readonly { readonly name: string; readonly metadata: Uint8Array }[]
  readonly reason?: string | null
}

export interface JoinGroupResponse {
  readonly throttleTimeMs: number
  readonly errorCode: number
  readonly generationId: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly leader: string
  readonly skipAssignment: boolean
  readonly memberId: string
  readonly members: readonly JoinGroupResponseMember[]
}

export interface JoinGroupResponseMember {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly metadata: Uint8Array
}

export interface SyncGroupRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[]
}

export interface SyncGroupResponse {
  readonly throttleTimeMs: number
  readonly errorCode: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly assignment: Uint8Array
}

export interface HeartbeatRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly groupInstanceId: string | null
}

export interface HeartbeatResponse {
  readonly throttleTimeMs: number
  readonly errorCode: number
}

export interface LeaveGroupRequest {
  readonly groupId: string
  /** Versions 0 to 2. */
  readonly memberId: string
  /** Version 3 on. */
  readonly members: readonly MemberIdentity[]
}

export interface MemberIdentity {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly reason?: string | null
}

export interface LeaveGroupResponse {
  readonly throttleTimeMs: number
  readonly errorCode: number
  readonly members: readonly LeaveGroupResponseMember[]
}

export interface LeaveGroupResponseMember {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly errorCode: number
}

export interface OffsetCommitRequest {
  readonly groupId: string
  readonly generationIdOrMemberEpoch: number
  readonly memberId: string
  readonly groupInstanceId: string | null
  /** -1: as long as offsets.retention.minutes says. */
  readonly retentionTimeMs: number
  readonly topics: readonly OffsetCommitRequestTopic[]
}

export interface OffsetCommitRequestTopic {
  readonly name: string
  readonly partitions: readonly OffsetCommitRequestPartition[]
}

export interface OffsetCommitRequestPartition {
  readonly partitionIndex: number
  readonly committedOffset: number
  readonly committedLeaderEpoch: number
  readonly committedMetadata: string | null
}

export interface OffsetCommitResponse {
  readonly throttleTimeMs: number
  readonly topics: readonly OffsetCommitResponseTopic[]
}

export interface OffsetCommitResponseTopic {
  readonly name: string
  readonly partitions: readonly { readonly partitionIndex: number; readonly errorCode: number }[]
}

export interface OffsetFetchRequest {
  /** Versions 1 to 7. */
  readonly groupId: string
  /** Versions 1 to 7; null: every topic. */
  readonly topics: readonly OffsetFetchRequestTopic[] | null
  /** Version 8 on. */
  readonly groups: readonly OffsetFetchRequestGroup[]
  readonly requireStable: boolean
}

export interface OffsetFetchRequestTopic {
  readonly name: string
  readonly partitionIndexes: readonly number[]
}

export interface OffsetFetchRequestGroup {
  readonly groupId: string
  /** Null: every topic. */
  readonly topics: readonly OffsetFetchRequestTopic[] | null
}

export interface OffsetFetchResponse {
  readonly throttleTimeMs: number
  readonly topics: readonly OffsetFetchResponseTopic[]
  readonly errorCode: number
  readonly groups: readonly OffsetFetchResponseGroup[]
}

export interface OffsetFetchResponseGroup {
  readonly groupId: string
  readonly topics: readonly OffsetFetchResponseTopic[]
  readonly errorCode: number
}

export interface OffsetFetchResponseTopic {
  readonly name: string
  readonly partitions: readonly OffsetFetchResponsePartition[]
}

export interface OffsetFetchResponsePartition {
  readonly partitionIndex: number
  readonly committedOffset: number
  readonly committedLeaderEpoch: number
  readonly metadata: string | null
  readonly errorCode: number
}

export interface FindCoordinatorRequest {
  /** Versions 0 to 3. */
  readonly key: string
  readonly keyType: number
  /** Version 4 on. */
  readonly coordinatorKeys: readonly string[]
}

export interface FindCoordinatorResponse {
  readonly throttleTimeMs: number
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly coordinators: readonly FoundCoordinator[]
}

export interface FoundCoordinator {
  readonly key: string
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly errorCode: number
  readonly errorMessage: string | null
}

export interface DescribeGroupsRequest {
  readonly groups: readonly string[]
}

export interface DescribeGroupsResponse {
  readonly throttleTimeMs: number
  readonly groups: readonly DescribedGroup[]
}

export interface DescribedGroup {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly groupId: string
  readonly groupState: string
  readonly protocolType: string
  readonly protocolData: string
  readonly members: readonly DescribedGroupMember[]
}

export interface DescribedGroupMember {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly memberMetadata: Uint8Array
  readonly memberAssignment: Uint8Array
}

export interface ListGroupsRequest {
  /** Empty: every state. */
  readonly statesFilter: readonly string[]
  /** Empty: every type. */
  readonly typesFilter: readonly string[]
}

export interface ListGroupsResponse {
  readonly throttleTimeMs: number
  readonly errorCode: number
  readonly groups: readonly ListedGroup[]
}

export interface ListedGroup {
  readonly groupId: string
  readonly protocolType: string
  readonly groupState: string
  readonly groupType: string
}

export interface DeleteGroupsRequest {
  readonly groupsNames: readonly string[]
}

export interface DeleteGroupsResponse {
  readonly throttleTimeMs: number
  readonly results: readonly DeletedGroup[]
}

export interface DeletedGroup {
  readonly groupId: string
  readonly errorCode: number
  readonly errorMessage: string | null
}

/** Where a broker can be reached by the client that asks. */
export interface CoordinatorEndpoint {
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

/** For the broker's log; each text names the group it is about. */
export interface GroupLogger {
  info(text: string): void
  warn(text: string): void
  error(text: string): void
}
