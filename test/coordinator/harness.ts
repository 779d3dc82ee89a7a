// SPDX-License-Identifier: Apache-2.0
// A group coordinator on partitions in memory and virtual time, and members that speak to it in one line each. Every
// answer is encoded and decoded by the protocol tables on its way: one that its version cannot carry fails the test.
import { GroupCoordinator, type GroupCoordinatorOptions } from '../../src/coordinator/group-coordinator.ts'
import { OFFSETS_TOPIC } from '../../src/coordinator/group-log.ts'
import type {
  HeartbeatRequest,
  HeartbeatResponse,
  JoinGroupRequest,
  JoinGroupResponse,
  LeaveGroupResponse,
  MemberIdentity,
  OffsetCommitRequest,
  OffsetFetchRequest,
  OffsetFetchResponse,
  SyncGroupRequest,
  SyncGroupResponse,
} from '../../src/coordinator/types.ts'
import type { AnyApi } from '../../src/protocol/api.ts'
import { Heartbeat } from '../../src/protocol/apis/heartbeat.ts'
import { JoinGroup } from '../../src/protocol/apis/join-group.ts'
import { LeaveGroup } from '../../src/protocol/apis/leave-group.ts'
import { OffsetCommit } from '../../src/protocol/apis/offset-commit.ts'
import { OffsetFetch } from '../../src/protocol/apis/offset-fetch.ts'
import { SyncGroup } from '../../src/protocol/apis/sync-group.ts'
import { MemoryPartition } from '../util/memory-partition.ts'
import { settled, type VirtualSeams, virtualSeams } from '../util/virtual-seams.ts'

export const utf8 = (text: string) => new TextEncoder().encode(text)
export const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

/** What a consumer sends as metadata: version, topics, no user data. */
export function subscription(...topics: string[]): Uint8Array {
  const parts = topics.map((topic) => Buffer.concat([Buffer.from([0, topic.length]), Buffer.from(topic)]))
  return new Uint8Array(Buffer.concat([Buffer.from([0, 1, 0, 0, 0, topics.length]), ...parts, Buffer.alloc(4)]))
}

/** The same answer after a trip over the wire in this version. */
export function overTheWire<T>(api: unknown, version: number, response: T): T {
  const table = api as AnyApi
  const frame = table.encodeResponse(version, 7, response as never)
  return table.decodeResponse(version, frame.subarray(4)) as T
}

/** A request on its way: what it was answered with, if it was. */
export class Parked<T> {
  answer: T | undefined
  readonly promise: Promise<T>

  constructor(promise: Promise<T>) {
    this.promise = promise.then((answer) => {
      this.answer = answer
      return answer
    })
  }
}

export class Harness {
  readonly seams: VirtualSeams
  readonly partitions: MemoryPartition[]
  readonly notes: string[] = []
  readonly errors: string[] = []
  /** Topics with three partitions each. */
  readonly topics = new Set(['orders', 'payments'])
  coordinator: GroupCoordinator
  readonly #options: GroupCoordinatorOptions

  constructor(options: Partial<GroupCoordinatorOptions> & { seed?: number; partitions?: MemoryPartition[] } = {}) {
    this.seams = virtualSeams(options.seed)
    this.partitions = options.partitions ?? [new MemoryPartition(OFFSETS_TOPIC, 0)]
    this.#options = {
      logger: {
        info: (line) => this.notes.push(line),
        warn: (line) => this.errors.push(line),
        error: (line) => this.errors.push(line),
      },
      nodeId: 1,
      partitionCount: () => this.partitions.length,
      partitionFor: (index) => this.partitions[index],
      ensureOffsetsTopic: async () => {},
      topicExists: (topic, partition) => this.topics.has(topic) && partition >= 0 && partition < 3,
      ...options,
      seams: this.seams,
      config: { initialRebalanceDelayMs: 0, ...options.config },
    }
    this.coordinator = new GroupCoordinator(this.#options)
    if (options.partitions === undefined) for (const partition of this.partitions) partition.lead()
    this.coordinator.start()
  }

  /** The first partition of the offsets topic; the only one unless a test says otherwise. */
  get log(): MemoryPartition {
    return this.partitions[0]!
  }

  async advance(ms: number): Promise<void> {
    await this.seams.timers.advance(ms)
  }

  /** A second coordinator on the same log, as after a restart. */
  async restarted(): Promise<Harness> {
    const next = new Harness({ ...this.#options, partitions: this.partitions })
    await next.advance(10)
    return next
  }

  join(over: Partial<JoinGroupRequest> & { version?: number; clientId?: string } = {}): Parked<JoinGroupResponse> {
    const { version = 9, clientId = 'c', ...request } = over
    const full = {
      groupId: 'g',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 30_000,
      memberId: '',
      groupInstanceId: null,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: subscription('orders') }],
      ...request,
    }
    const answer = this.coordinator.joinGroup({ apiVersion: version, clientId, clientHost: '/127.0.0.1' }, full)
    return new Parked(answer.then((response) => overTheWire(JoinGroup, version, response)))
  }

  /** Version 5 where a protocol type or name is given, else 4, which has none. */
  sync(
    over: Partial<SyncGroupRequest> & { assign?: Record<string, string>; version?: number },
  ): Parked<SyncGroupResponse> {
    const isNamed = over.protocolType != null || over.protocolName != null
    const { assign = {}, version = isNamed ? 5 : 4, ...request } = over
    const full = {
      groupId: 'g',
      generationId: 1,
      memberId: '',
      groupInstanceId: null,
      protocolType: isNamed ? 'consumer' : null,
      protocolName: isNamed ? 'range' : null,
      assignments: Object.entries(assign).map(([memberId, value]) => ({ memberId, assignment: utf8(value) })),
      ...request,
    }
    const answer = this.coordinator.syncGroup(this.#context(version), full)
    return new Parked(answer.then((response) => overTheWire(SyncGroup, version, response)))
  }

  heartbeat(over: Partial<HeartbeatRequest>): HeartbeatResponse {
    const full = { groupId: 'g', generationId: 1, memberId: '', groupInstanceId: null, ...over }
    return overTheWire(Heartbeat, 4, this.coordinator.heartbeat(this.#context(4), full))
  }

  leave(
    members: readonly Partial<MemberIdentity>[],
    over: { groupId?: string; version?: number } = {},
  ): LeaveGroupResponse {
    const { groupId = 'g', version = 5 } = over
    const full = members.map((member) => ({ memberId: '', groupInstanceId: null, ...member }))
    const request = version >= 3 ? { memberId: '', members: full } : { memberId: full[0]!.memberId, members: [] }
    const response = this.coordinator.leaveGroup(this.#context(version), { groupId, ...request })
    return overTheWire(LeaveGroup, version, response)
  }

  /** Commits one offset and returns its error code. */
  async commit(over: Partial<OffsetCommitRequest> & CommitOne = {}): Promise<number> {
    const { version = 9, topic = 'orders', partition = 0, offset = 1, metadata = '', ...request } = over
    const full = {
      groupId: 'g',
      generationIdOrMemberEpoch: -1,
      memberId: '',
      groupInstanceId: null,
      retentionTimeMs: -1,
      topics: [
        {
          name: topic,
          partitions: [
            {
              partitionIndex: partition,
              committedOffset: offset,
              committedLeaderEpoch: 0,
              committedMetadata: metadata,
            },
          ],
        },
      ],
      ...request,
    }
    const response = await this.coordinator.offsetCommit(this.#context(version), full)
    return overTheWire(OffsetCommit, version, response).topics[0]!.partitions[0]!.errorCode
  }

  async fetch(over: Partial<OffsetFetchRequest> & { version?: number }): Promise<OffsetFetchResponse> {
    const { version = 9, ...request } = over
    const full = { groupId: '', topics: [], groups: [], requireStable: false, ...request }
    const response = await this.coordinator.offsetFetch(this.#context(version), full)
    return overTheWire(OffsetFetch, version, response)
  }

  /** All offsets of a group: 'topic-partition' to offset. */
  async offsets(groupId = 'g'): Promise<Record<string, number>> {
    const response = await this.fetch({ groups: [{ groupId, topics: null }] })
    const all = response.groups[0]!.topics.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex, committedOffset }) => [`${name}-${partitionIndex}`, committedOffset]),
    )
    return Object.fromEntries(all.sort())
  }

  describe(groupId = 'g', version = 6) {
    return this.coordinator.describeGroups(this.#context(version), { groups: [groupId] }).groups[0]!
  }

  state(groupId = 'g'): string {
    return this.describe(groupId).groupState
  }

  /** A dynamic member joins the way that clients do: once to be told its id, once with it. The second is left parked. */
  async joinTwice(
    over: Parameters<Harness['join']>[0] = {},
  ): Promise<{ memberId: string; joined: Parked<JoinGroupResponse> }> {
    const { memberId } = await this.join(over).promise
    return { memberId, joined: this.join({ ...over, memberId }) }
  }

  /** A stable group of this many members; the first leads. Each is assigned its own number. */
  async stable(count = 2, over: Parameters<Harness['join']>[0] = {}): Promise<StableGroup> {
    const joining = []
    for (let i = 0; i < count; i++) joining.push(await this.joinTwice(over))
    await this.advance(Math.max(this.#options.config?.initialRebalanceDelayMs ?? 0, 1))
    const joined = await Promise.all(joining.map(({ joined: { promise } }) => promise))
    const { generationId, leader } = joined[0]!
    const ids = joining.map(({ memberId }) => memberId)
    const assign = Object.fromEntries(ids.map((id, i) => [id, `a${i}`]))
    const groupId = over.groupId ?? 'g'
    const synced = ids.map((memberId) =>
      this.sync({ groupId, memberId, generationId, ...(memberId === leader ? { assign } : {}) }),
    )
    await settled()
    await Promise.all(synced.map(({ promise }) => promise))
    return { ids, leader, generationId, followers: ids.filter((id) => id !== leader) }
  }

  #context(apiVersion: number) {
    return { apiVersion, clientId: 'c', clientHost: '/127.0.0.1' }
  }
}

interface CommitOne {
  version?: number
  topic?: string
  partition?: number
  offset?: number
  metadata?: string
}

export interface StableGroup {
  readonly ids: string[]
  readonly leader: string
  readonly followers: string[]
  readonly generationId: number
}
