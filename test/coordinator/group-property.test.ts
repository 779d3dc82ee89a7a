// SPDX-License-Identifier: Apache-2.0
// Members that join, sync, commit, crash and come back in any order and at any time; appends that hang and fail. What
// must hold whatever they do is checked after every step.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { JoinGroupResponse, SyncGroupResponse } from '../../src/coordinator/types.ts'
import { ErrorCode } from '../../src/protocol/errors.ts'
import { settled } from '../util/virtual-seams.ts'
import { Harness, type Parked, subscription, text } from './harness.ts'

const SESSION_MS = 8000
const REBALANCE_MS = 10_000
/** A rebalance, then the writing of its outcome, which is given 5 s. */
const PARKED_MS_MAX = REBALANCE_MS + 5000

interface Waiting {
  readonly sinceMs: number
  readonly parked: Parked<JoinGroupResponse> | Parked<SyncGroupResponse>
}

/** What a client knows. A crash makes it forget all of it, but not its instance id. */
class Client {
  readonly instanceId: string | null
  memberId = ''
  generationId = -1
  leader = ''
  isSynced = false
  topics = 1
  join: Parked<JoinGroupResponse> | undefined
  sync: Parked<SyncGroupResponse> | undefined

  constructor(instanceId: string | null) {
    this.instanceId = instanceId
  }

  forget(): void {
    this.memberId = ''
    this.generationId = -1
    this.isSynced = false
    this.join = undefined
    this.sync = undefined
  }
}

class World {
  readonly h = new Harness({ config: { initialRebalanceDelayMs: 500, newMemberJoinTimeoutMs: PARKED_MS_MAX } })
  readonly clients = ['s0', 's1', null, null, null].map((instanceId) => new Client(instanceId))
  #waiting: Waiting[] = []
  #generationId = 0
  /** By generation: who was told to assign. */
  readonly #assigners = new Map<number, string>()
  #nextOffset = 1
  #lastSeenOffset = -1

  async step({ who, what, ms }: Step): Promise<void> {
    const client = this.clients[who]!
    if (what === 'advance') await this.h.advance(ms)
    else if (what === 'wait') await this.h.advance(6000)
    else if (what === 'round') await this.#round(ms)
    else if (what === 'heldRound') await this.#round(ms, true)
    else if (what === 'hold') this.h.log.hold()
    else if (what === 'release') this.h.log.release()
    else if (what === 'fail') this.h.log.failNext(ms % 2 === 0 ? 'NOT_ENOUGH_REPLICAS' : 'KAFKA_STORAGE_ERROR')
    else this.#act(client, what)
    await settled()
    this.#learn()
    this.#check()
  }

  /** What well-behaved members do about a rebalance; `ms` chooses which of them are there. The log may hang at its end. */
  async #round(ms: number, isHeld = false): Promise<void> {
    const present = this.clients.filter((_, i) => ((ms >> i) & 1) === 1)
    for (const what of ['heartbeat', 'join', 'join', 'advance', 'sync'] as const) {
      for (const client of what === 'advance' ? [] : present) {
        const isSettled = this.h.state() === 'Stable' && client.isSynced
        if (what === 'heartbeat' || !isSettled) this.#act(client, what)
      }
      if (what === 'advance') {
        await this.h.advance(501)
        if (isHeld) this.h.log.hold()
      }
      await settled()
      this.#learn()
      this.#check()
    }
  }

  #act(client: Client, what: Step['what']): void {
    const { h } = this
    const { memberId, generationId } = client
    const identity = { memberId, groupInstanceId: client.instanceId }
    switch (what) {
      case 'join':
        if (client.join === undefined) this.#join(client)
        break
      case 'change':
        client.topics++
        break
      case 'sync':
        if (generationId < 0 || client.sync !== undefined) break
        client.sync = h.sync({ ...identity, generationId, assign: this.#assignment(client) })
        this.#waiting.push({ sinceMs: h.seams.clock.nowMs, parked: client.sync })
        break
      case 'heartbeat':
        if (memberId !== '') this.#on(client, h.heartbeat({ ...identity, generationId }).errorCode)
        break
      case 'leave':
        if (memberId !== '') h.leave([identity])
        client.forget()
        break
      case 'crash':
        client.forget()
        break
      case 'commit':
        if (client.isSynced)
          void h.commit({ ...identity, generationIdOrMemberEpoch: generationId, offset: this.#nextOffset++ })
        break
    }
  }

  #join(client: Client): void {
    const { memberId, instanceId: groupInstanceId, topics } = client
    const metadata = subscription(...Array.from({ length: topics }, (_, i) => `t${i}`))
    const protocols = [{ name: 'range', metadata }]
    const timeouts = { sessionTimeoutMs: SESSION_MS, rebalanceTimeoutMs: REBALANCE_MS }
    client.join = this.h.join({ memberId, groupInstanceId, protocols, ...timeouts })
    client.isSynced = false
    this.#waiting.push({ sinceMs: this.h.seams.clock.nowMs, parked: client.join })
  }

  /** What a leader sends: for each member something that only it may get, in this generation only. */
  #assignment(client: Client): Record<string, string> {
    if (client.leader !== client.memberId) return {}
    const { members } = this.h.describe()
    return Object.fromEntries(
      members.map(({ memberId, groupInstanceId }) => [
        memberId,
        `${client.generationId} ${groupInstanceId ?? memberId}`,
      ]),
    )
  }

  #learn(): void {
    for (const client of this.clients) {
      const joined = client.join?.answer
      if (joined !== undefined) {
        client.join = undefined
        this.#onJoined(client, joined)
      }
      const synced = client.sync?.answer
      if (synced !== undefined) {
        client.sync = undefined
        this.#onSynced(client, synced)
      }
    }
  }

  #onJoined(client: Client, joined: JoinGroupResponse): void {
    if (joined.errorCode !== ErrorCode.NONE) {
      if (joined.errorCode === ErrorCode.MEMBER_ID_REQUIRED) client.memberId = joined.memberId
      else this.#on(client, joined.errorCode)
      return
    }
    expect(joined.generationId).toBeGreaterThanOrEqual(Math.max(client.generationId, 1))
    client.memberId = joined.memberId
    client.generationId = joined.generationId
    client.leader = joined.leader
    expect(joined.members.length > 0).toBe(joined.leader === joined.memberId)
    if (joined.leader !== joined.memberId || joined.skipAssignment) return
    // Of one generation, one member only is told to assign.
    expect(this.#assigners.get(joined.generationId) ?? joined.memberId).toBe(joined.memberId)
    this.#assigners.set(joined.generationId, joined.memberId)
  }

  #onSynced(client: Client, synced: SyncGroupResponse): void {
    if (synced.errorCode !== ErrorCode.NONE) {
      this.#on(client, synced.errorCode)
      return
    }
    client.isSynced = true
    const mine = `${client.generationId} ${client.instanceId ?? client.memberId}`
    expect(text(synced.assignment)).toBe(mine)
  }

  #on(client: Client, error: number): void {
    const isLost: number[] = [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID]
    if (isLost.includes(error)) client.forget()
  }

  #check(): void {
    const { h } = this
    const { nowMs } = h.seams.clock
    this.#waiting = this.#waiting.filter(({ parked }) => parked.answer === undefined)
    for (const { sinceMs } of this.#waiting) expect(nowMs - sinceMs).toBeLessThanOrEqual(PARKED_MS_MAX)
    for (const { generationId } of this.clients) this.#generationId = Math.max(this.#generationId, generationId)
    expect(h.coordinator.stats().deadlines).toBeLessThanOrEqual(60)
  }

  async checkOffset(): Promise<void> {
    const offset = (await this.h.offsets())['orders-0'] ?? -1
    expect(offset).toBeGreaterThanOrEqual(this.#lastSeenOffset)
    this.#lastSeenOffset = offset
  }

  /** Once nothing fails any more and everybody is there, the group becomes stable with all of them. */
  async heal(): Promise<void> {
    this.h.log.release()
    for (let i = 0; i < 12; i++) {
      await this.#round(31)
      await this.h.advance(2500)
      this.#learn()
    }
    await this.#round(31)
    expect(this.h.state()).toBe('Stable')
    expect(this.clients.map(({ isSynced }) => isSynced)).toEqual([true, true, true, true, true])
    expect(this.h.describe().members).toHaveLength(this.clients.length)
  }

  /** When all have left or are gone there is nobody, nothing is parked, and no time is kept. */
  async end(): Promise<void> {
    for (const [i, client] of this.clients.entries()) this.#act(client, i % 2 === 0 ? 'leave' : 'crash')
    for (let i = 0; i < 10; i++) {
      await this.h.advance(5000)
      this.#learn()
    }
    expect(this.h.coordinator.stats()).toMatchObject({ members: 0, deadlines: 0 })
    this.#check()
    expect(this.#waiting).toEqual([])
    expect(this.h.seams.timers.pendingCount).toBe(1)
  }

  /** A broker that starts from the log knows what this one knows. */
  async checkReplay(): Promise<void> {
    await settled()
    const now = this.h.describe()
    if (now.groupState !== 'Stable' && now.groupState !== 'Empty') return
    // Ids were handed out and nothing else has happened: that is not written down.
    if (now.protocolType === '' && this.#lastSeenOffset === -1) return
    const next = await this.h.restarted()
    expect(await next.offsets()).toEqual(await this.h.offsets())
    const then = next.describe()
    expect({ ...then, members: comparable(then.members) }).toEqual({ ...now, members: comparable(now.members) })
    for (const { memberId, generationId } of this.clients) {
      const beat = { memberId, generationId }
      if (this.h.heartbeat(beat).errorCode === 0) expect(next.heartbeat(beat).errorCode).toBe(0)
    }
    await next.coordinator.shutdown()
  }
}

function comparable(members: ReturnType<Harness['describe']>['members']) {
  return members
    .map(({ memberMetadata, memberAssignment, ...rest }) => [
      JSON.stringify(rest),
      text(memberMetadata),
      text(memberAssignment),
    ])
    .sort()
}

const ACTIONS = [
  'join',
  'join',
  'join',
  'sync',
  'sync',
  'sync',
  'heartbeat',
  'commit',
  'leave',
  'crash',
  'change',
] as const
const TIME = ['advance', 'advance', 'wait', 'round', 'round', 'round'] as const
const FAULTS = ['heldRound', 'heldRound', 'hold', 'release', 'release', 'fail'] as const

interface Step {
  readonly who: number
  readonly what: (typeof ACTIONS)[number] | (typeof TIME)[number] | (typeof FAULTS)[number]
  readonly ms: number
}

function steps(...whats: readonly Step['what'][]): fc.Arbitrary<Step[]> {
  const ms = fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 700 }), fc.integer({ min: 0, max: 9000 }))
  return fc.array(fc.record({ who: fc.nat(4), what: fc.constantFrom(...whats), ms }), { maxLength: 80, size: 'max' })
}

describe('a group, whatever its members do', () => {
  it('has one assigner a generation, gives each what it was assigned, and can be replayed', async () => {
    await fc.assert(
      fc.asyncProperty(steps(...ACTIONS, ...TIME), async (all) => {
        const world = new World()
        for (const step of all) await world.step(step)
        await world.checkOffset()
        await world.checkReplay()
        await world.heal()
        await world.checkReplay()
        await world.end()
        await world.checkReplay()
      }),
      { numRuns: 60 },
    )
  })

  it('keeps all of this, but for the replay, when appends hang and fail', async () => {
    await fc.assert(
      fc.asyncProperty(steps(...ACTIONS, ...TIME, ...FAULTS), async (all) => {
        const world = new World()
        for (const step of all) {
          await world.step(step)
          await world.checkOffset()
        }
        await world.heal()
        await world.end()
      }),
      { numRuns: 60 },
    )
  })
})
