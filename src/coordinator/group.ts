// SPDX-License-Identifier: Apache-2.0
// One classic group as a state machine (Kafka's ClassicGroup and the classic half of its GroupMetadataManager; KIP-62,
// 134, 345, 389, 394, 814). Pure: no timers, no log, no sockets. Each method takes what has happened and returns the
// effects that the coordinator must carry out, in order.
//
//              join                    all joined, or too late             leader's sync is persisted
//   Empty ───────────► PreparingRebalance ────────► CompletingRebalance ────────────────────────► Stable
//     ▲                   │        ▲  ▲                     │  a member joins, leaves or is late    │
//     └───────────────────┘        │  └─────────────────────┘                                       │
//        nobody is left            └────────────────────────────────────────────────────────────────┘
//   Dead: the group is no longer looked after here; every parked request has been answered.
import { ErrorCode } from '../protocol/errors.ts'
import type { GroupCoordinatorConfig } from './config.ts'
import { CONSUMER_PROTOCOL_TYPE, subscribedTopics } from './consumer-protocol.ts'
import type { GroupMetadata } from './group-log.ts'
import { distinctProtocols, type JoinReply, Member, NOTHING, type SyncReply } from './member.ts'
import { Roster } from './roster.ts'
import type {
  DescribedGroupMember,
  HeartbeatRequest,
  JoinGroupRequest,
  JoinGroupResponse,
  JoinGroupResponseMember,
  MemberIdentity,
  SyncGroupRequest,
  SyncGroupResponse,
} from './types.ts'

export type GroupState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead'

/** `join` ends the joining, `sync` the waiting for syncs, `member:ID` the session of a member. */
export type GroupTimer = 'join' | 'sync' | `member:${string}`

export type Effect =
  | { readonly kind: 'answer'; readonly send: () => void }
  | { readonly kind: 'arm'; readonly timer: GroupTimer; readonly delayMs: number }
  | { readonly kind: 'disarm'; readonly timer: GroupTimer }
  /** Write this down, then tell `onPersisted`. */
  | { readonly kind: 'persist'; readonly metadata: GroupMetadata; readonly purpose: PersistPurpose }
  | { readonly kind: 'note'; readonly text: string }

export type PersistPurpose =
  | { readonly kind: 'empty' }
  | {
      readonly kind: 'assignment'
      readonly generationId: number
      readonly assignments: ReadonlyMap<string, Uint8Array>
    }
  | {
      readonly kind: 'replacement'
      readonly before: Member
      readonly member: Member
      readonly fields: ReplacementFields
    }

interface ReplacementFields {
  readonly generationId: number
  readonly leaderBefore: string
  readonly supportsSkippingAssignment: boolean
}

export interface JoinContext {
  readonly clientId: string
  readonly clientHost: string
  /** From JoinGroup 4 on: a new member is first told its id and joins again with it (KIP-394). */
  readonly requiresKnownMemberId: boolean
  /** From JoinGroup 9 on: a leader may be told to keep the assignment (KIP-814). */
  readonly supportsSkippingAssignment: boolean
}

export interface GroupEnvironment {
  readonly config: GroupCoordinatorConfig
  wallMs(): number
  /** What makes a member id unique. */
  memberIdSuffix(): string
}

/** The part of a member id that comes from the client is for people to read; it need not be whole. */
const MEMBER_ID_PREFIX_CODE_POINTS = 255

export class Group {
  readonly groupId: string
  readonly #env: GroupEnvironment
  #state: GroupState = 'Empty'
  #stateTimestampMs: number
  /** Null: no member has ever joined; the group only stores offsets. */
  #protocolType: string | null = null
  #protocolName: string | null = null
  #generationId = 0
  #leader: string | null = null
  readonly #members = new Roster()
  /** Ids that were given out and have not come back. */
  readonly #pendingJoin = new Set<string>()
  /** Members of this generation whose SyncGroup has not come. */
  readonly #pendingSync = new Set<string>()
  #joinedCount = 0
  #subscribedTopics: ReadonlySet<string> | undefined
  /** Set while a group that was empty waits for more members (KIP-134). */
  #initialDelay: { delayMs: number; remainingMs: number; newMemberCame: boolean } | undefined
  /** The last generation whose assignment was sent to the log. */
  #persistingGenerationId = -1
  #effects: Effect[] = []

  constructor(groupId: string, env: GroupEnvironment) {
    this.groupId = groupId
    this.#env = env
    this.#stateTimestampMs = env.wallMs()
  }

  /** The group that a record describes. Its members' sessions begin when `resume` is called. */
  static fromLog(groupId: string, metadata: GroupMetadata, env: GroupEnvironment): Group {
    const group = new Group(groupId, env)
    group.#protocolType = metadata.protocolType === '' ? null : metadata.protocolType
    group.#protocolName = metadata.protocolName
    group.#generationId = metadata.generationId
    group.#leader = metadata.leader
    for (const member of metadata.members) {
      group.#insert(Member.fromLog(member, metadata.protocolType, metadata.protocolName))
    }
    group.#state = metadata.members.length === 0 ? 'Empty' : 'Stable'
    group.#stateTimestampMs = metadata.stateTimestampMs
    group.#subscribedTopics = group.#computeSubscribedTopics()
    return group
  }

  get state(): GroupState {
    return this.#state
  }
  /** -1: not known, the record was written by an old Kafka. */
  get stateTimestampMs(): number {
    return this.#stateTimestampMs
  }
  get generationId(): number {
    return this.#generationId
  }
  get protocolType(): string | null {
    return this.#protocolType
  }
  get protocolName(): string | null {
    return this.#protocolName
  }
  get leader(): string | null {
    return this.#leader
  }
  get members(): Roster {
    return this.#members
  }
  get pendingJoinCount(): number {
    return this.#pendingJoin.size
  }
  /** True when nobody is in the group, nor about to be. */
  get isIdle(): boolean {
    return this.#state === 'Empty' && this.#pendingJoin.size === 0
  }
  /** True for a group that only stores offsets. */
  get isSimple(): boolean {
    return this.#protocolType === null
  }
  /** Undefined when the group's members did not say, or in a way that is not understood. */
  get subscribedTopics(): ReadonlySet<string> | undefined {
    return this.#subscribedTopics
  }

  // ── JoinGroup ─────────────────────────────────────────────────────────────────────────────────────────────────────

  join(context: JoinContext, request: JoinGroupRequest, reply: JoinReply): Effect[] {
    const { memberId } = request
    const protocols = distinctProtocols(request.protocols)
    if (!this.#hasRoomFor(memberId)) {
      this.#refuseJoin(reply, '', ErrorCode.GROUP_MAX_SIZE_REACHED)
      this.#drop(memberId)
      this.#completeJoinIfAllJoined()
    } else if (this.#state === 'Dead') {
      this.#refuseJoin(reply, memberId, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    } else if (!this.#supports(request.protocolType, protocols)) {
      this.#refuseJoin(reply, memberId, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    } else if (memberId === '') {
      this.#joinNew(context, { ...request, protocols }, reply)
    } else {
      this.#joinKnown(context, { ...request, protocols }, reply)
    }
    return this.#taken()
  }

  #joinNew(context: JoinContext, request: JoinGroupRequest, reply: JoinReply): void {
    const { groupInstanceId } = request
    const prefix = [...(groupInstanceId ?? context.clientId)].slice(0, MEMBER_ID_PREFIX_CODE_POINTS).join('')
    const memberId = `${prefix}-${this.#env.memberIdSuffix()}`
    if (groupInstanceId !== null) {
      const existing = this.#members.idOfInstance(groupInstanceId)
      if (existing === undefined) this.#add(context, request, memberId, reply)
      else this.#replaceStatic(context, request, this.#members.get(existing)!, memberId, reply)
    } else if (context.requiresKnownMemberId) {
      this.#pendingJoin.add(memberId)
      this.#arm(`member:${memberId}`, request.sessionTimeoutMs)
      this.#refuseJoin(reply, memberId, ErrorCode.MEMBER_ID_REQUIRED)
    } else {
      this.#add(context, request, memberId, reply)
    }
  }

  #joinKnown(context: JoinContext, request: JoinGroupRequest, reply: JoinReply): void {
    const { memberId, groupInstanceId } = request
    if (this.#pendingJoin.has(memberId)) {
      // An id is handed out to dynamic members only.
      if (groupInstanceId !== null) this.#refuseJoin(reply, memberId, ErrorCode.UNKNOWN_MEMBER_ID)
      else this.#add(context, request, memberId, reply)
      return
    }
    const error = this.memberError(memberId, groupInstanceId)
    if (error !== ErrorCode.NONE) {
      this.#refuseJoin(reply, memberId, error)
      return
    }
    const member = this.#members.get(memberId)!
    const isUnchanged = member.offers(request.protocols)
    // The leader of a stable group asks for a rebalance by joining: topics may have changed, and only it knows.
    const wantsRebalance =
      this.#state === 'PreparingRebalance' || !isUnchanged || (this.#state === 'Stable' && this.#leader === memberId)
    if (wantsRebalance) {
      this.#update(member, request, reply)
      this.#rebalanceOrComplete(`member ${memberId} joins again${reasonOf(request)}`)
    } else {
      // It missed the answer, or has nothing new: the generation as it is lets it sync.
      const response = this.#joined(member)
      this.#answer(() => reply(response))
    }
  }

  /** Kafka's acceptJoiningMember: while members gather, those who are there already count, not those who are awaited. */
  #hasRoomFor(memberId: string): boolean {
    const { groupMaxSize, groupPendingMembersMax } = this.#env.config
    const member = this.#members.get(memberId)
    if (memberId === '' && this.#pendingJoin.size >= groupPendingMembersMax) return false
    if (this.#state === 'Empty' || this.#state === 'Dead') return true
    if (this.#state === 'PreparingRebalance') return member?.join !== undefined || this.#joinedCount < groupMaxSize
    return member !== undefined || this.#members.size < groupMaxSize
  }

  #supports(protocolType: string, protocols: readonly { readonly name: string }[]): boolean {
    if (this.#members.size === 0) return protocolType !== '' && protocols.length > 0
    return protocolType === this.#protocolType && this.#members.sharesOneOf(protocols)
  }

  #add(context: JoinContext, request: JoinGroupRequest, memberId: string, reply: JoinReply): void {
    const { clientId, clientHost } = context
    const member = new Member({ ...request, memberId, clientId, clientHost, rebalanceTimeoutMs: rebalanceMs(request) })
    member.isNew = true
    if (this.#initialDelay !== undefined) this.#initialDelay.newMemberCame = true
    this.#pendingJoin.delete(memberId)
    this.#insert(member)
    this.#park(member, reply)
    // It does not know its id and cannot send heartbeats; and a client that gave up and came back would leave a ghost.
    this.#arm(`member:${memberId}`, this.#env.config.newMemberJoinTimeoutMs)
    this.#rebalanceOrComplete(`member ${memberId} joins${reasonOf(request)}`)
  }

  #update(member: Member, request: JoinGroupRequest, reply: JoinReply): void {
    this.#members.setProtocols(member, request.protocols)
    member.rebalanceTimeoutMs = rebalanceMs(request)
    member.sessionTimeoutMs = request.sessionTimeoutMs
    this.#park(member, reply)
  }

  #park(member: Member, reply: JoinReply): void {
    // The client asked again: whoever still waits for the first answer must not hold up its connection for ever.
    this.#finishJoin(member, refusedJoin(member.memberId, ErrorCode.REBALANCE_IN_PROGRESS))
    member.join = reply
    this.#joinedCount++
  }

  /** A static member is back without its id: it takes over from its former self, which is fenced (KIP-345). */
  #replaceStatic(
    context: JoinContext,
    request: JoinGroupRequest,
    before: Member,
    memberId: string,
    reply: JoinReply,
  ): void {
    const leaderBefore = this.#leader ?? ''
    const { supportsSkippingAssignment } = context
    this.#finishJoin(before, refusedJoin(before.memberId, ErrorCode.FENCED_INSTANCE_ID))
    this.#finishSync(before, ErrorCode.FENCED_INSTANCE_ID)
    const member = before.renamed(memberId, context)
    this.#replace(before, member)
    this.#update(member, request, reply)
    this.#arm(`member:${memberId}`, member.sessionTimeoutMs)

    if (this.#state === 'Stable' && this.#members.selectProtocol() === this.#protocolName) {
      // Nothing changes for the others: the new id is written down and the member goes on with its assignment.
      const fields = { generationId: this.#generationId, leaderBefore, supportsSkippingAssignment }
      this.#persist({ kind: 'replacement', before, member, fields })
    } else {
      // In CompletingRebalance too: the leader may have assigned to the id that is gone.
      this.#rebalanceOrComplete(`static member ${request.groupInstanceId} is back as ${memberId}`)
    }
  }

  #replace(before: Member, member: Member): void {
    this.#members.remove(before)
    this.#members.insert(member)
    if (this.#leader === before.memberId) this.#leader = member.memberId
    this.#disarm(`member:${before.memberId}`)
    this.#synced(before.memberId)
  }

  // ── the end of joining ────────────────────────────────────────────────────────────────────────────────────────────

  #rebalanceOrComplete(reason: string): void {
    if (this.#state === 'PreparingRebalance') this.#completeJoinIfAllJoined()
    else this.#prepareRebalance(reason)
  }

  #prepareRebalance(reason: string): void {
    if (this.#state === 'CompletingRebalance') this.#failSyncs(ErrorCode.REBALANCE_IN_PROGRESS)
    this.#pendingSync.clear()
    this.#disarm('sync')
    const isInitial = this.#state === 'Empty'
    this.#become('PreparingRebalance')
    this.#note(`prepares to rebalance after generation ${this.#generationId}: ${reason}`)
    if (isInitial) {
      const delayMs = this.#env.config.initialRebalanceDelayMs
      const remainingMs = Math.max(this.#members.rebalanceTimeoutMs() - delayMs, 0)
      this.#initialDelay = { delayMs, remainingMs, newMemberCame: false }
      this.#arm('join', delayMs)
    } else if (this.#haveAllJoined()) {
      this.#completeJoin()
    } else {
      this.#arm('join', this.#members.rebalanceTimeoutMs())
    }
  }

  #haveAllJoined(): boolean {
    return this.#joinedCount === this.#members.size && this.#pendingJoin.size === 0
  }

  #completeJoinIfAllJoined(): void {
    if (this.#state !== 'PreparingRebalance' || this.#initialDelay !== undefined) return
    if (this.#haveAllJoined()) this.#completeJoin()
  }

  #onJoinTimer(): void {
    const initial = this.#initialDelay
    if (initial?.newMemberCame && initial.delayMs > 0 && initial.remainingMs > 0) {
      const delayMs = Math.min(this.#env.config.initialRebalanceDelayMs, initial.remainingMs)
      const remainingMs = Math.max(initial.remainingMs - initial.delayMs, 0)
      this.#initialDelay = { delayMs, remainingMs, newMemberCame: false }
      this.#arm('join', delayMs)
    } else if (this.#state === 'PreparingRebalance') {
      this.#completeJoin()
    }
  }

  /** Begins a generation with those who have joined. Static members may be away until their session ends. */
  #completeJoin(): void {
    this.#initialDelay = undefined
    this.#disarm('join')
    const late = [...this.#members].filter((member) => member.join === undefined && !member.isStatic)
    for (const { memberId } of late) this.#drop(memberId)
    if (late.length > 0) this.#note(`removes ${late.length} members that did not join again in time`)

    if (this.#members.size > 0 && !this.#electJoinedLeader()) {
      this.#note('cannot rebalance: none of its static members joined; waits until they do or their sessions end')
      this.#arm('join', this.#members.rebalanceTimeoutMs())
      return
    }
    this.#generationId++
    this.#protocolName = this.#members.size > 0 ? this.#members.selectProtocol() : null
    this.#subscribedTopics = this.#computeSubscribedTopics()
    if (this.#members.size === 0) this.#becomeEmpty()
    else this.#startSync()
  }

  #electJoinedLeader(): boolean {
    if (this.#members.get(this.#leader)?.join !== undefined) return true
    for (const member of this.#members) {
      if (member.join === undefined) continue
      this.#leader = member.memberId
      return true
    }
    return false
  }

  #becomeEmpty(): void {
    this.#become('Empty')
    this.#leader = null
    this.#note(`is empty in generation ${this.#generationId}`)
    this.#persist({ kind: 'empty' })
  }

  #startSync(): void {
    this.#become('CompletingRebalance')
    this.#note(`has ${this.#members.size} members in generation ${this.#generationId}`)
    for (const member of this.#members) {
      this.#finishJoin(member, this.#joined(member))
      member.isNew = false
      this.#arm(`member:${member.memberId}`, member.sessionTimeoutMs)
      this.#pendingSync.add(member.memberId)
    }
    this.#arm('sync', this.#members.rebalanceTimeoutMs())
  }

  // ── SyncGroup ─────────────────────────────────────────────────────────────────────────────────────────────────────

  sync(request: SyncGroupRequest, reply: SyncReply): Effect[] {
    const error = this.#syncError(request)
    if (error !== ErrorCode.NONE) {
      const response = refusedSync(error)
      this.#answer(() => reply(response))
      return this.#taken()
    }
    const member = this.#members.get(request.memberId)!
    this.#synced(member.memberId)
    if (this.#state === 'Stable') {
      const response = this.#assigned(member)
      this.#answer(() => reply(response))
      return this.#taken()
    }
    this.#finishSync(member, ErrorCode.REBALANCE_IN_PROGRESS)
    member.sync = reply
    // A leader that asks twice is answered once; what was sent first is on its way to the log already.
    if (this.#leader === member.memberId && this.#persistingGenerationId !== this.#generationId) {
      const sent = new Map(request.assignments.map(({ memberId, assignment }) => [memberId, assignment]))
      const assignments = new Map([...this.#members].map(({ memberId: id }) => [id, sent.get(id) ?? NOTHING]))
      this.#persistingGenerationId = this.#generationId
      this.#persist({ kind: 'assignment', generationId: this.#generationId, assignments })
    }
    return this.#taken()
  }

  #syncError(request: SyncGroupRequest): number {
    const error = this.memberError(request.memberId, request.groupInstanceId)
    if (error !== ErrorCode.NONE) return error
    if (request.generationId !== this.#generationId) return ErrorCode.ILLEGAL_GENERATION
    if (
      (request.protocolType !== null && request.protocolType !== this.#protocolType) ||
      (request.protocolName !== null && this.#protocolName !== null && request.protocolName !== this.#protocolName)
    ) {
      return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    }
    return this.#state === 'PreparingRebalance' ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE
  }

  #synced(memberId: string): void {
    if (this.#pendingSync.delete(memberId) && this.#pendingSync.size === 0) this.#disarm('sync')
  }

  #onSyncTimer(): void {
    if (this.#pendingSync.size === 0) return
    const late = [...this.#pendingSync]
    for (const memberId of late) this.#drop(memberId)
    this.#prepareRebalance(`${late.length} members did not sync in time`)
  }

  #failSyncs(error: number): void {
    for (const member of this.#members) {
      member.assignment = NOTHING
      if (this.#finishSync(member, error)) this.#arm(`member:${member.memberId}`, member.sessionTimeoutMs)
    }
  }

  // ── what came of writing ──────────────────────────────────────────────────────────────────────────────────────────

  /** `error` NONE: the record is in the log, and stays there. */
  onPersisted(purpose: PersistPurpose, error: number): Effect[] {
    if (this.#state === 'Dead') return []
    if (purpose.kind === 'assignment') this.#onAssignmentPersisted(purpose, error)
    else if (purpose.kind === 'replacement') this.#onReplacementPersisted(purpose, error)
    else if (error !== ErrorCode.NONE) {
      // If the broker stops now, the last generation comes back, whose members are gone and will time out.
      this.#note(`could not write down that it is empty: error ${error}`)
    }
    return this.#taken()
  }

  #onAssignmentPersisted(purpose: PersistPurpose & { kind: 'assignment' }, error: number): void {
    // Another rebalance may have begun meanwhile: then the assignment is nobody's any more.
    if (this.#state !== 'CompletingRebalance' || this.#generationId !== purpose.generationId) return
    if (error !== ErrorCode.NONE) {
      this.#failSyncs(error)
      this.#prepareRebalance(`its assignment could not be written down: error ${error}`)
      return
    }
    this.#become('Stable')
    for (const member of this.#members) {
      member.assignment = purpose.assignments.get(member.memberId) ?? NOTHING
      if (member.sync === undefined) continue
      const { sync } = member
      const response = this.#assigned(member)
      member.sync = undefined
      this.#answer(() => sync(response))
      this.#arm(`member:${member.memberId}`, member.sessionTimeoutMs)
    }
    this.#note(`is stable in generation ${this.#generationId}`)
  }

  #onReplacementPersisted({ before, member, fields }: PersistPurpose & { kind: 'replacement' }, error: number): void {
    // Left, replaced again, or caught up in a rebalance that will answer it.
    if (this.#members.get(member.memberId) !== member) return
    if (this.#state !== 'Stable' || this.#generationId !== fields.generationId) return
    if (error === ErrorCode.NONE) {
      const isLeader = this.#leader === member.memberId
      // Before version 9 the member must not believe that it leads, or it would assign anew on its own.
      const joined = fields.supportsSkippingAssignment
        ? { ...this.#joined(member), skipAssignment: isLeader }
        : { ...this.#joined(member), leader: fields.leaderBefore, members: [] }
      this.#finishJoin(member, joined)
      this.#arm(`member:${member.memberId}`, member.sessionTimeoutMs)
      return
    }
    this.#finishJoin(member, refusedJoin('', error))
    this.#replace(member, before)
    this.#arm(`member:${before.memberId}`, before.sessionTimeoutMs)
    this.#note(`keeps static member ${before.memberId}: its successor could not be written down, error ${error}`)
  }

  // ── Heartbeat, LeaveGroup, OffsetCommit ───────────────────────────────────────────────────────────────────────────

  heartbeat(request: HeartbeatRequest): { readonly error: number; readonly effects: Effect[] } {
    let error = this.memberError(request.memberId, request.groupInstanceId)
    if (error === ErrorCode.NONE && request.generationId !== this.#generationId) error = ErrorCode.ILLEGAL_GENERATION
    if (error !== ErrorCode.NONE) return { error, effects: [] }
    this.#touch(request.memberId)
    if (this.#state === 'PreparingRebalance') error = ErrorCode.REBALANCE_IN_PROGRESS
    return { error, effects: this.#taken() }
  }

  /** Members leave; returns an error for each. An instance id without a member id is how an administrator removes one. */
  leave(identities: readonly MemberIdentity[]): { readonly errors: number[]; readonly effects: Effect[] } {
    const countBefore = this.#members.size
    const errors = identities.map((identity) => this.#leaveOne(identity))
    if (this.#state === 'PreparingRebalance') this.#completeJoinIfAllJoined()
    else if (this.#members.size < countBefore) this.#prepareRebalance('members left')
    return { errors, effects: this.#taken() }
  }

  #leaveOne({ memberId, groupInstanceId }: MemberIdentity): number {
    if (this.#pendingJoin.has(memberId)) {
      this.#drop(memberId)
      return ErrorCode.NONE
    }
    const leaving = memberId === '' ? (this.#members.idOfInstance(groupInstanceId ?? '') ?? '') : memberId
    const error = this.memberError(leaving, groupInstanceId)
    if (error === ErrorCode.NONE) this.#drop(leaving)
    return error
  }

  /** The error of an OffsetCommit by this member, as ClassicGroup.validateOffsetCommit has it. */
  commitError(generationId: number, memberId: string, groupInstanceId: string | null): number {
    if (this.#state === 'Dead') return ErrorCode.COORDINATOR_NOT_AVAILABLE
    // An administrator, or a consumer that assigns partitions to itself.
    if (generationId < 0 && this.#state === 'Empty') return ErrorCode.NONE
    const error = this.memberError(memberId, groupInstanceId)
    if (error !== ErrorCode.NONE) return error
    if (generationId !== this.#generationId) return ErrorCode.ILLEGAL_GENERATION
    return this.#state === 'CompletingRebalance' ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE
  }

  /** A commit keeps the session alive. */
  onCommit(memberId: string): Effect[] {
    if (this.#state === 'Stable' || this.#state === 'PreparingRebalance') this.#touch(memberId)
    return this.#taken()
  }

  /** NONE when this is a member. */
  memberError(memberId: string, groupInstanceId: string | null): number {
    if (this.#state === 'Dead') return ErrorCode.COORDINATOR_NOT_AVAILABLE
    return this.#members.error(memberId, groupInstanceId)
  }

  #touch(memberId: string): void {
    const member = this.#members.get(memberId)
    // A new member's time to join is not a session, and is longer.
    if (member !== undefined && !member.isNew) this.#arm(`member:${memberId}`, member.sessionTimeoutMs)
  }

  // ── time, beginning and end ───────────────────────────────────────────────────────────────────────────────────────

  onTimer(timer: GroupTimer): Effect[] {
    if (this.#state === 'Dead') return []
    if (timer === 'join') this.#onJoinTimer()
    else if (timer === 'sync') this.#onSyncTimer()
    else this.#onSessionTimer(timer.slice('member:'.length))
    return this.#taken()
  }

  #onSessionTimer(memberId: string): void {
    if (this.#pendingJoin.has(memberId)) {
      this.#drop(memberId)
      this.#completeJoinIfAllJoined()
      return
    }
    const member = this.#members.get(memberId)
    if (member === undefined) return
    // Whoever waits for an answer of ours cannot send heartbeats; its session begins anew with the answer.
    if (!member.isNew && (member.join !== undefined || member.sync !== undefined)) return
    this.#drop(memberId)
    const reason = `member ${memberId} was not heard of for ${member.sessionTimeoutMs} ms`
    if (this.#state === 'PreparingRebalance') this.#completeJoinIfAllJoined()
    else this.#prepareRebalance(reason)
  }

  /** After loading: members of a loaded group have one session timeout to show up. */
  resume(): Effect[] {
    for (const member of this.#members) this.#arm(`member:${member.memberId}`, member.sessionTimeoutMs)
    if (this.#members.size > this.#env.config.groupMaxSize) {
      this.#prepareRebalance(`it has ${this.#members.size} members, group.max.size is ${this.#env.config.groupMaxSize}`)
    }
    return this.#taken()
  }

  /** Answers everything that is parked and stops; the timers are the caller's to drop. */
  unload(error: number): Effect[] {
    for (const member of this.#members) {
      this.#finishJoin(member, refusedJoin(member.memberId, error))
      this.#finishSync(member, error)
    }
    this.#state = 'Dead'
    return this.#taken()
  }

  /** The group in a form that can be written down and compared. */
  toLog(assignments?: ReadonlyMap<string, Uint8Array>): GroupMetadata {
    return {
      protocolType: this.#protocolType ?? '',
      generationId: this.#generationId,
      protocolName: this.#protocolName,
      leader: this.#leader,
      stateTimestampMs: this.#stateTimestampMs,
      members: [...this.#members].map((member) => {
        const metadata = member.toLog(this.#protocolName)
        return assignments === undefined
          ? metadata
          : { ...metadata, assignment: assignments.get(member.memberId) ?? NOTHING }
      }),
    }
  }

  describeMembers(): DescribedGroupMember[] {
    const isStable = this.#state === 'Stable'
    return [...this.#members].map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      memberMetadata: isStable ? member.metadataFor(this.#protocolName) : NOTHING,
      memberAssignment: member.assignment,
    }))
  }

  // ── members ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #insert(member: Member): void {
    if (this.#members.size === 0) this.#protocolType = member.protocolType
    this.#leader ??= member.memberId
    this.#members.insert(member)
  }

  /** Removes a member or a pending one. A parked join is told that the member is unknown, so that its client starts over. */
  #drop(memberId: string): void {
    if (this.#pendingJoin.delete(memberId)) this.#disarm(`member:${memberId}`)
    const member = this.#members.get(memberId)
    if (member === undefined) return
    this.#disarm(`member:${memberId}`)
    this.#finishJoin(member, refusedJoin('', ErrorCode.UNKNOWN_MEMBER_ID))
    this.#finishSync(member, ErrorCode.UNKNOWN_MEMBER_ID)
    this.#members.remove(member)
    if (this.#leader === memberId) this.#leader = this.#members.first()?.memberId ?? null
    this.#synced(memberId)
  }

  #computeSubscribedTopics(): ReadonlySet<string> | undefined {
    if (this.#protocolType !== CONSUMER_PROTOCOL_TYPE) return undefined
    const all = new Set<string>()
    for (const member of this.#members) {
      const topics = subscribedTopics(member.metadataFor(this.#protocolName))
      if (topics === undefined) return undefined
      for (const topic of topics) all.add(topic)
    }
    return all
  }

  // ── effects ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #joined(member: Member): JoinGroupResponse {
    const isLeader = this.#leader === member.memberId
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      generationId: this.#generationId,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      leader: this.#leader ?? '',
      skipAssignment: false,
      memberId: member.memberId,
      members: isLeader ? this.#joinedMembers() : [],
    }
  }

  #joinedMembers(): JoinGroupResponseMember[] {
    return [...this.#members].map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      metadata: member.metadataFor(this.#protocolName),
    }))
  }

  #assigned(member: Member): SyncGroupResponse {
    const { assignment } = member
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      assignment,
    }
  }

  #become(state: GroupState): void {
    this.#state = state
    this.#stateTimestampMs = this.#env.wallMs()
  }

  #persist(purpose: PersistPurpose): void {
    const metadata = this.toLog(purpose.kind === 'assignment' ? purpose.assignments : undefined)
    this.#effects.push({ kind: 'persist', metadata, purpose })
  }

  #arm(timer: GroupTimer, delayMs: number): void {
    this.#effects.push({ kind: 'arm', timer, delayMs })
  }

  #disarm(timer: GroupTimer): void {
    this.#effects.push({ kind: 'disarm', timer })
  }

  #note(text: string): void {
    this.#effects.push({ kind: 'note', text: `Group ${this.groupId} ${text}.` })
  }

  #answer(send: () => void): void {
    this.#effects.push({ kind: 'answer', send })
  }

  #refuseJoin(reply: JoinReply, memberId: string, error: number): void {
    const response = refusedJoin(memberId, error)
    this.#answer(() => reply(response))
  }

  #finishJoin(member: Member, response: JoinGroupResponse): void {
    const { join } = member
    if (join === undefined) return
    member.join = undefined
    this.#joinedCount--
    this.#answer(() => join(response))
  }

  #finishSync(member: Member, error: number): boolean {
    const { sync } = member
    if (sync === undefined) return false
    member.sync = undefined
    const response = refusedSync(error)
    this.#answer(() => sync(response))
    return true
  }

  #taken(): Effect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }
}

function rebalanceMs(request: JoinGroupRequest): number {
  return request.rebalanceTimeoutMs < 0 ? request.sessionTimeoutMs : request.rebalanceTimeoutMs
}

function reasonOf(request: JoinGroupRequest): string {
  return request.reason == null || request.reason === '' ? '' : `; client reason: ${request.reason}`
}

export function refusedJoin(memberId: string, errorCode: number): JoinGroupResponse {
  return {
    throttleTimeMs: 0,
    errorCode,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leader: '',
    skipAssignment: false,
    memberId,
    members: [],
  }
}

export function refusedSync(errorCode: number): SyncGroupResponse {
  return { throttleTimeMs: 0, errorCode, protocolType: null, protocolName: null, assignment: NOTHING }
}
