// SPDX-License-Identifier: Apache-2.0
// The group coordinator's requests (Kafka's GroupCoordinatorService): checks them, finds the group, waits where an
// answer must wait, and gives each answer the shape that its version has. JoinGroup and SyncGroup are parked in the
// group (group.ts), which answers them by a deadline of its own; commits wait in the shard (group-shard.ts).
import type { KafkaError } from '../errors.ts'
import type { Partition } from '../partition/partition.ts'
import { ErrorCode, errorByCode } from '../protocol/errors.ts'
import type { CodecLookup } from '../protocol/record-batch.ts'
import type { Seams } from '../util/seams.ts'
import { defaultGroupCoordinatorConfig, type GroupCoordinatorConfig } from './config.ts'
import { Deadlines } from './deadlines.ts'
import { refusedJoin, refusedSync } from './group.ts'
import type { OffsetAndMetadata } from './group-log.ts'
import { commitErrorOf, type GroupEntry, type GroupShard, groupErrorOf, type OffsetWrite } from './group-shard.ts'
import { GroupShards } from './group-shards.ts'
import type { GroupOffsets } from './offsets.ts'
import type {
  CoordinatorEndpoint,
  DeletedGroup,
  DeleteGroupsRequest,
  DeleteGroupsResponse,
  DescribedGroup,
  DescribeGroupsRequest,
  DescribeGroupsResponse,
  FindCoordinatorRequest,
  FindCoordinatorResponse,
  FoundCoordinator,
  GroupLogger,
  GroupRequestContext,
  HeartbeatRequest,
  HeartbeatResponse,
  JoinGroupRequest,
  JoinGroupResponse,
  LeaveGroupRequest,
  LeaveGroupResponse,
  ListedGroup,
  ListGroupsRequest,
  ListGroupsResponse,
  MemberIdentity,
  OffsetCommitRequest,
  OffsetCommitRequestPartition,
  OffsetCommitResponse,
  OffsetFetchRequest,
  OffsetFetchRequestGroup,
  OffsetFetchResponse,
  OffsetFetchResponseGroup,
  OffsetFetchResponsePartition,
  OffsetFetchResponseTopic,
  SyncGroupRequest,
  SyncGroupResponse,
} from './types.ts'

export interface GroupCoordinatorOptions {
  readonly seams: Seams
  readonly logger: GroupLogger
  /** What differs from Kafka's defaults. */
  readonly config?: Partial<GroupCoordinatorConfig>
  /** This broker. */
  readonly nodeId: number
  /** How many partitions the offsets topic has; 0: there is none. */
  partitionCount(): number
  /** The partition of the offsets topic, if there is one and this broker holds a replica. */
  partitionFor(index: number): Partition | undefined
  /** Creates the offsets topic if there is none; a client has asked for a coordinator. */
  ensureOffsetsTopic(): Promise<void>
  topicExists(topic: string, partition: number): boolean
  /** The broker that leads a partition of the offsets topic; this one when left out. */
  leaderOf?(index: number): number | undefined
  /** For offsets topics that were compressed by another broker. */
  readonly codecs?: CodecLookup
}

const GROUP_KEY_TYPE = 0
/** -1 and -2 stand for latest and earliest; kafkajs commits them to reset a group. */
const COMMITTED_OFFSET_MIN = -2
const CLASSIC_TYPE = 'classic'

type MutablePartitions = { partitionIndex: number; errorCode: number }[]

export class GroupCoordinator {
  readonly #config: GroupCoordinatorConfig
  readonly #seams: Seams
  readonly #options: GroupCoordinatorOptions
  readonly #shards: GroupShards
  readonly #deadlines: Deadlines

  constructor(options: GroupCoordinatorOptions) {
    const { seams, logger } = options
    const config = { ...defaultGroupCoordinatorConfig, ...options.config }
    this.#config = config
    this.#seams = seams
    this.#options = options
    this.#deadlines = new Deadlines(seams.clock, seams.timers)
    const env = {
      config,
      logger,
      clock: seams.clock,
      deadlines: this.#deadlines,
      wallMs: () => seams.clock.wallMs(),
      memberIdSuffix: () => uuidText(seams.rng.uuid()),
    }
    this.#shards = new GroupShards({
      env,
      timers: seams.timers,
      partitionCount: () => options.partitionCount(),
      partitionFor: (index) => options.partitionFor(index),
      codecs: options.codecs,
    })
  }

  /** Takes up the partitions of the offsets topic that this broker leads. Requests may come before. */
  start(): void {
    this.#shards.start()
  }

  /** Answers parked requests with NOT_COORDINATOR and refuses new ones; resolves when nothing is being written any more. */
  async shutdown(): Promise<void> {
    await this.#shards.close()
  }

  /** The topic is gone, and with it the offsets that groups have committed for it. */
  onTopicDeleted(topic: string): void {
    for (const shard of this.#shards.all()) shard.deleteTopic(topic)
  }

  /** For metrics and tests. */
  stats(): { readonly groups: number; readonly members: number; readonly offsets: number; readonly deadlines: number } {
    let [groups, members, offsets] = [0, 0, 0]
    for (const shard of this.#shards.all()) {
      for (const entry of shard.entries.values()) {
        groups++
        members += entry.group.members.size
        offsets += entry.offsets.committedCount
      }
    }
    return { groups, members, offsets, deadlines: this.#deadlines.size }
  }

  // ── membership ────────────────────────────────────────────────────────────────────────────────────────────────────

  joinGroup(context: GroupRequestContext, request: JoinGroupRequest): Promise<JoinGroupResponse> {
    const { apiVersion } = context
    return new Promise((resolve) => {
      const reply = (response: JoinGroupResponse) => resolve(shapedJoin(response, apiVersion))
      const error = this.#joinError(request)
      if (error !== ErrorCode.NONE) {
        reply(refusedJoin(request.memberId, error))
        return
      }
      const found = this.#shards.find(request.groupId)
      if (typeof found === 'number') {
        reply(refusedJoin(request.memberId, found))
        return
      }
      // Only a member without an id may begin a group; one with an id comes too late for a group that is gone.
      const entry = request.memberId === '' ? found.entryOrNew(request.groupId) : found.entry(request.groupId)
      if (entry === undefined) {
        const refusal = request.memberId === '' ? ErrorCode.GROUP_MAX_SIZE_REACHED : ErrorCode.UNKNOWN_MEMBER_ID
        reply(refusedJoin(request.memberId, refusal))
        return
      }
      const joining = {
        clientId: context.clientId ?? '',
        clientHost: context.clientHost,
        requiresKnownMemberId: apiVersion >= 4,
        supportsSkippingAssignment: apiVersion >= 9,
      }
      found.run(entry, entry.group.join(joining, request, reply))
    })
  }

  #joinError({ groupId, sessionTimeoutMs }: JoinGroupRequest): number {
    const { minSessionTimeoutMs, maxSessionTimeoutMs } = this.#config
    if (groupId === '') return ErrorCode.INVALID_GROUP_ID
    const isInRange = sessionTimeoutMs >= minSessionTimeoutMs && sessionTimeoutMs <= maxSessionTimeoutMs
    return isInRange ? ErrorCode.NONE : ErrorCode.INVALID_SESSION_TIMEOUT
  }

  syncGroup({ apiVersion }: GroupRequestContext, request: SyncGroupRequest): Promise<SyncGroupResponse> {
    return new Promise((resolve) => {
      // From version 5 on a member must say what it believes the group to use (KIP-559).
      if (apiVersion >= 5 && (request.protocolType === null || request.protocolName === null)) {
        resolve(refusedSync(ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
        return
      }
      const found = this.#member(request.groupId)
      if (typeof found === 'number') resolve(refusedSync(found))
      else found.shard.run(found.entry, found.entry.group.sync(request, resolve))
    })
  }

  heartbeat(_context: GroupRequestContext, request: HeartbeatRequest): HeartbeatResponse {
    const found = this.#member(request.groupId)
    if (typeof found === 'number') {
      // Clients take an unexpected error for the end of their membership; while loading, nobody has missed anything.
      const isLoading = found === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
      return { throttleTimeMs: 0, errorCode: isLoading ? ErrorCode.NONE : found }
    }
    const { error, effects } = found.entry.group.heartbeat(request)
    found.shard.run(found.entry, effects)
    return { throttleTimeMs: 0, errorCode: error }
  }

  leaveGroup({ apiVersion }: GroupRequestContext, request: LeaveGroupRequest): LeaveGroupResponse {
    const isBatched = apiVersion >= 3
    const leaving: readonly MemberIdentity[] = isBatched
      ? request.members
      : [{ memberId: request.memberId, groupInstanceId: null }]
    const found = this.#member(request.groupId)
    if (typeof found === 'number' && found !== ErrorCode.UNKNOWN_MEMBER_ID) {
      return { throttleTimeMs: 0, errorCode: found, members: [] }
    }
    const errors = typeof found === 'number' ? leaving.map(() => found) : this.#leave(found, leaving)
    if (!isBatched) return { throttleTimeMs: 0, errorCode: errors[0]!, members: [] }
    const members = leaving.map(({ memberId, groupInstanceId }, i) => ({
      memberId,
      groupInstanceId,
      errorCode: errors[i]!,
    }))
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, members }
  }

  #leave({ shard, entry }: FoundGroup, leaving: readonly MemberIdentity[]): number[] {
    const { errors, effects } = entry.group.leave(leaving)
    shard.run(entry, effects)
    return errors
  }

  /** The group of a request that a member sends; UNKNOWN_MEMBER_ID when there is no such group. */
  #member(groupId: string): FoundGroup | number {
    if (groupId === '') return ErrorCode.INVALID_GROUP_ID
    const shard = this.#shards.find(groupId)
    if (typeof shard === 'number') return shard
    const entry = shard.entry(groupId)
    return entry === undefined ? ErrorCode.UNKNOWN_MEMBER_ID : { shard, entry }
  }

  // ── offsets ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async offsetCommit(context: GroupRequestContext, request: OffsetCommitRequest): Promise<OffsetCommitResponse> {
    const topics: { name: string; partitions: MutablePartitions }[] = []
    const writes: OffsetWrite[] = []
    /** The answers that depend on the group and on the write. */
    const written: MutablePartitions = []
    const nowMs = this.#seams.clock.wallMs()
    for (const { name, partitions } of request.topics) {
      const answers: MutablePartitions = []
      topics.push({ name, partitions: answers })
      for (const partition of partitions) {
        const { partitionIndex } = partition
        const answer = { partitionIndex, errorCode: this.#commitError(name, partition) }
        answers.push(answer)
        if (answer.errorCode !== ErrorCode.NONE) continue
        written.push(answer)
        const value = committedBy(request, partition, nowMs)
        writes.push({ topic: name, partition: partitionIndex, value })
      }
    }
    if (writes.length > 0) {
      const error = await this.#commit(context, request, writes)
      for (const answer of written) answer.errorCode = error
    }
    return { throttleTimeMs: 0, topics }
  }

  #commitError(topic: string, partition: OffsetCommitRequestPartition): number {
    if (!this.#options.topicExists(topic, partition.partitionIndex)) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    const metadataSize = partition.committedMetadata?.length ?? 0
    if (metadataSize > this.#config.offsetMetadataMaxBytes) return ErrorCode.OFFSET_METADATA_TOO_LARGE
    return partition.committedOffset < COMMITTED_OFFSET_MIN ? ErrorCode.INVALID_REQUEST : ErrorCode.NONE
  }

  #commit(context: GroupRequestContext, request: OffsetCommitRequest, writes: OffsetWrite[]): Promise<number> | number {
    const { groupId, memberId, groupInstanceId, generationIdOrMemberEpoch: generationId } = request
    const shard = this.#shards.find(groupId)
    if (typeof shard === 'number') return shard
    let entry = shard.entry(groupId)
    if (entry === undefined) {
      // A consumer that is in no group only stores its offsets. Older clients do not know that a group can be missing.
      if (generationId >= 0)
        return context.apiVersion >= 9 ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.ILLEGAL_GENERATION
      entry = shard.entryOrNew(groupId)
      if (entry === undefined) return ErrorCode.POLICY_VIOLATION
    }
    const error = entry.group.commitError(generationId, memberId, groupInstanceId)
    if (error !== ErrorCode.NONE) return error
    return new Promise((resolve) => {
      shard.writeOffsets(entry, writes, (failure) => resolve(codeOf(failure, commitErrorOf)))
      // After the write has begun: before, a new group has nothing in it and would be forgotten.
      shard.run(entry, entry.group.onCommit(memberId))
    })
  }

  async offsetFetch({ apiVersion }: GroupRequestContext, request: OffsetFetchRequest): Promise<OffsetFetchResponse> {
    const { requireStable } = request
    if (apiVersion >= 8) {
      const asked = request.groups.filter(isFirst())
      const groups = await Promise.all(asked.map((group) => this.#fetch(group, requireStable)))
      return { throttleTimeMs: 0, topics: [], errorCode: ErrorCode.NONE, groups }
    }
    const { topics, errorCode } = await this.#fetch(request, requireStable)
    if (errorCode === ErrorCode.NONE || apiVersion >= 2) return { throttleTimeMs: 0, topics, errorCode, groups: [] }
    // Version 1 has errors in partitions only.
    const failed = (request.topics ?? []).map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((partition) => noOffset(partition, errorCode)),
    }))
    return { throttleTimeMs: 0, topics: failed, errorCode, groups: [] }
  }

  async #fetch(request: OffsetFetchRequestGroup, requireStable: boolean): Promise<OffsetFetchResponseGroup> {
    const { groupId, topics } = request
    const shard = this.#shards.find(groupId)
    if (typeof shard === 'number') return { groupId, topics: [], errorCode: shard }
    // Commits that are on their way have an outcome in a moment. Those of a transaction do not: UNSTABLE_OFFSET_COMMIT.
    const entry = shard.entry(groupId)
    if (requireStable && entry !== undefined && isBeingWritten(entry.offsets, topics)) await writesOf(shard)
    const errorCode = shard.error
    if (errorCode !== ErrorCode.NONE) return { groupId, topics: [], errorCode }
    const offsets = shard.entry(groupId)?.offsets
    const fetched = topics === null ? allOffsets(offsets, requireStable) : someOffsets(offsets, topics, requireStable)
    return { groupId, topics: fetched, errorCode }
  }

  // ── finding, describing, listing, deleting ────────────────────────────────────────────────────────────────────────

  /** `endpointOf` says where a broker can be reached by this client; undefined when it is not alive. */
  async findCoordinator(
    context: { readonly apiVersion: number; endpointOf(nodeId: number): CoordinatorEndpoint | undefined },
    request: FindCoordinatorRequest,
  ): Promise<FindCoordinatorResponse> {
    const isBatched = context.apiVersion >= 4
    const keys = isBatched ? request.coordinatorKeys : [request.key]
    const failure = await this.#findFailure(request.keyType)
    const found = keys.map((key) => this.#found(key, failure, context.endpointOf))
    if (isBatched) {
      const nothing = { errorCode: ErrorCode.NONE, errorMessage: null, nodeId: 0, host: '', port: 0 }
      return { throttleTimeMs: 0, ...nothing, coordinators: found }
    }
    const { key: _, ...only } = found[0]!
    return { throttleTimeMs: 0, ...only, coordinators: [] }
  }

  async #findFailure(keyType: number): Promise<FindFailure | null> {
    if (keyType !== GROUP_KEY_TYPE) {
      return {
        errorCode: ErrorCode.INVALID_REQUEST,
        errorMessage: `Coordinators of key type ${keyType} are not served.`,
      }
    }
    try {
      await this.#options.ensureOffsetsTopic()
      this.#shards.attachAll()
      return null
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      this.#options.logger.error(`The offsets topic cannot be created: ${text}`)
      return unavailable(`The offsets topic cannot be created: ${text}`)
    }
  }

  #found(
    key: string,
    failure: FindFailure | null,
    endpointOf: (nodeId: number) => CoordinatorEndpoint | undefined,
  ): FoundCoordinator {
    const { leaderOf, nodeId } = this.#options
    const index = this.#shards.indexOf(key)
    const leader = index === undefined || leaderOf === undefined ? nodeId : leaderOf(index)
    const endpoint = failure === null && leader !== undefined ? endpointOf(leader) : undefined
    if (endpoint !== undefined) return { key, errorCode: ErrorCode.NONE, errorMessage: null, ...endpoint }
    const reason = failure ?? unavailable('The coordinator of this group is not available.')
    return { key, nodeId: -1, host: '', port: -1, ...reason }
  }

  describeGroups({ apiVersion }: GroupRequestContext, request: DescribeGroupsRequest): DescribeGroupsResponse {
    // Each once: a short request must not make an answer of any size.
    const asked = [...new Set(request.groups)]
    return { throttleTimeMs: 0, groups: asked.map((groupId) => this.#describe(groupId, apiVersion)) }
  }

  #describe(groupId: string, apiVersion: number): DescribedGroup {
    const nothing = { errorMessage: null, groupId, protocolType: '', protocolData: '', members: [] }
    const shard = this.#shards.find(groupId)
    if (typeof shard === 'number') return { ...nothing, errorCode: shard, groupState: '' }
    const entry = shard.entry(groupId)
    if (entry === undefined) {
      // From version 6 on a missing group is an error; before, it is a dead one (KIP-1043).
      if (apiVersion < 6) return { ...nothing, errorCode: ErrorCode.NONE, groupState: 'Dead' }
      const errorCode = ErrorCode.GROUP_ID_NOT_FOUND
      return { ...nothing, errorCode, errorMessage: `Group ${groupId} not found.`, groupState: 'Dead' }
    }
    const { group } = entry
    return {
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      groupId,
      groupState: group.state,
      protocolType: group.protocolType ?? '',
      protocolData: group.state === 'Stable' ? (group.protocolName ?? '') : '',
      members: group.describeMembers(),
    }
  }

  listGroups(_context: GroupRequestContext, request: ListGroupsRequest): ListGroupsResponse {
    const states = new Set(request.statesFilter.map((state) => state.toLowerCase()))
    const types = new Set(request.typesFilter.map((type) => type.toLowerCase()))
    const groups: ListedGroup[] = []
    let errorCode: number = ErrorCode.NONE
    for (const shard of this.#shards.all()) {
      // What is there is listed; the error says that it is not all.
      if (shard.state === 'loading') errorCode = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
      if (shard.state !== 'active') continue
      for (const { group } of shard.entries.values()) {
        if (states.size > 0 && !states.has(group.state.toLowerCase())) continue
        if (types.size > 0 && !types.has(CLASSIC_TYPE)) continue
        const { groupId, state: groupState } = group
        groups.push({ groupId, protocolType: group.protocolType ?? '', groupState, groupType: CLASSIC_TYPE })
      }
    }
    return { throttleTimeMs: 0, errorCode, groups }
  }

  async deleteGroups(_context: GroupRequestContext, request: DeleteGroupsRequest): Promise<DeleteGroupsResponse> {
    const names = [...new Set(request.groupsNames)]
    return { throttleTimeMs: 0, results: await Promise.all(names.map((groupId) => this.#delete(groupId))) }
  }

  async #delete(groupId: string): Promise<DeletedGroup> {
    const errorCode = await this.#deleteError(groupId)
    return { groupId, errorCode, errorMessage: errorCode === ErrorCode.NONE ? null : errorByCode(errorCode).message }
  }

  #deleteError(groupId: string): Promise<number> | number {
    const shard = this.#shards.find(groupId)
    if (typeof shard === 'number') return shard
    const entry = shard.entry(groupId)
    if (entry === undefined) return ErrorCode.GROUP_ID_NOT_FOUND
    if (entry.group.state !== 'Empty') return ErrorCode.NON_EMPTY_GROUP
    return new Promise((resolve) => shard.deleteGroup(entry, (failure) => resolve(codeOf(failure, groupErrorOf))))
  }
}

interface FoundGroup {
  readonly shard: GroupShard
  readonly entry: GroupEntry
}

interface FindFailure {
  readonly errorCode: number
  readonly errorMessage: string
}

function unavailable(errorMessage: string): FindFailure {
  return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, errorMessage }
}

function codeOf(failure: KafkaError | null, mapped: (error: KafkaError) => number): number {
  return failure === null ? ErrorCode.NONE : mapped(failure)
}

/** Up to version 6 the protocol name cannot be null. */
function shapedJoin(response: JoinGroupResponse, apiVersion: number): JoinGroupResponse {
  return apiVersion >= 7 || response.protocolName !== null ? response : { ...response, protocolName: '' }
}

function committedBy(
  request: OffsetCommitRequest,
  partition: OffsetCommitRequestPartition,
  nowMs: number,
): OffsetAndMetadata {
  return {
    offset: partition.committedOffset,
    leaderEpoch: partition.committedLeaderEpoch,
    metadata: partition.committedMetadata ?? '',
    commitTimestampMs: nowMs,
    expireTimestampMs: request.retentionTimeMs < 0 ? -1 : nowMs + request.retentionTimeMs,
  }
}

/** False for a group that was asked for everything before: a short request must not make an answer of any size. */
function isFirst(): (group: OffsetFetchRequestGroup) => boolean {
  const seen = new Set<string>()
  return ({ groupId, topics }) => topics !== null || seen.size < seen.add(groupId).size
}

function isBeingWritten(offsets: GroupOffsets, topics: OffsetFetchRequestGroup['topics']): boolean {
  if (topics === null) {
    for (const { topic, partition } of offsets.partitions()) if (offsets.hasPendingWrites(topic, partition)) return true
    return false
  }
  return topics.some(({ name, partitionIndexes }) =>
    partitionIndexes.some((index) => offsets.hasPendingWrites(name, index)),
  )
}

function writesOf(shard: GroupShard): Promise<void> {
  return new Promise((resolve) => shard.awaitWrites(() => resolve()))
}

function someOffsets(
  offsets: GroupOffsets | undefined,
  topics: NonNullable<OffsetFetchRequestGroup['topics']>,
  requireStable: boolean,
): OffsetFetchResponseTopic[] {
  return topics.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partition) => fetched(offsets, name, partition, requireStable)),
  }))
}

function allOffsets(offsets: GroupOffsets | undefined, requireStable: boolean): OffsetFetchResponseTopic[] {
  if (offsets === undefined) return []
  return [...offsets.committed()].map(([name, values]) => ({
    name,
    partitions: values.map(([partition]) => fetched(offsets, name, partition, requireStable)),
  }))
}

function fetched(
  offsets: GroupOffsets | undefined,
  topic: string,
  partition: number,
  requireStable: boolean,
): OffsetFetchResponsePartition {
  if (offsets === undefined) return noOffset(partition, ErrorCode.NONE)
  if (requireStable && !offsets.isStable(topic, partition)) return noOffset(partition, ErrorCode.UNSTABLE_OFFSET_COMMIT)
  const value = offsets.get(topic, partition)
  if (value === null) return noOffset(partition, ErrorCode.NONE)
  return {
    partitionIndex: partition,
    committedOffset: value.offset,
    committedLeaderEpoch: value.leaderEpoch,
    metadata: value.metadata,
    errorCode: ErrorCode.NONE,
  }
}

function noOffset(partitionIndex: number, errorCode: number): OffsetFetchResponsePartition {
  return { partitionIndex, committedOffset: -1, committedLeaderEpoch: -1, metadata: '', errorCode }
}

/** As Java prints it: 8-4-4-4-12. */
function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
