// SPDX-License-Identifier: Apache-2.0
// Every request in every state of a group. The codes were compared with those of Kafka 4.3.1 over the wire: no difference.
import { describe, expect, it } from 'vitest'
import { settled } from '../util/virtual-seams.ts'
import { Harness, subscription } from './harness.ts'

const STATES = ['absent', 'Empty', 'PreparingRebalance', 'CompletingRebalance', 'Stable'] as const

interface Stage {
  readonly h: Harness
  /** A member, or one that was there; its current generation; and a static member that has been replaced. */
  readonly memberId: string
  readonly generationId: number
  readonly fencedId: string
}

/** Brings a group into a state: one dynamic member, and one static that came back under a new id. */
async function stage(state: (typeof STATES)[number]): Promise<Stage> {
  const h = new Harness()
  if (state === 'absent') return { h, memberId: 'm', generationId: 1, fencedId: 'm' }
  const former = h.join({ groupInstanceId: 's' })
  const { memberId } = await h.joinTwice()
  await h.advance(1)
  const fencedId = former.answer!.memberId
  const s = h.join({ groupInstanceId: 's' })
  const d = h.join({ memberId })
  await settled()
  const generationId = d.answer!.generationId
  const staticId = s.answer!.memberId
  if (state !== 'CompletingRebalance') {
    const { leader } = d.answer!
    const synced = [staticId, memberId].map((id) => h.sync({ memberId: id, generationId, assign: { [leader]: 'all' } }))
    await Promise.all(synced.map(({ promise }) => promise))
  }
  if (state === 'PreparingRebalance') h.join({ memberId: d.answer!.leader })
  if (state === 'Empty') {
    h.leave([{ memberId }, { memberId: staticId }])
    await settled()
  }
  await settled()
  expect(h.state()).toBe(state)
  return { h, memberId, generationId, fencedId }
}

const PARKED = 'parked'
type Outcome = number | typeof PARKED

async function outcome(parked: { answer: { errorCode: number } | undefined }): Promise<Outcome> {
  await settled()
  return parked.answer?.errorCode ?? PARKED
}

const fenced = { groupInstanceId: 's' }
const unknown = { memberId: 'who' }
const wrongGeneration = (at: Stage) => ({ memberId: at.memberId, generationId: at.generationId + 1 })
const context = { apiVersion: 2, clientId: 'c', clientHost: '/h' }

const REQUESTS: Record<string, [request: (at: Stage) => Promise<Outcome> | Outcome, ...outcomes: Outcome[]]> = {
  //                                                                         absent Empty Preparing Completing Stable
  'JoinGroup by a new member': [({ h }) => outcome(h.join()), 79, 79, 79, 79, 79],
  'JoinGroup by a new member, version 3': [
    ({ h }) => outcome(h.join({ version: 3 })),
    PARKED,
    PARKED,
    PARKED,
    PARKED,
    PARKED,
  ],
  'JoinGroup by an unknown member': [({ h }) => outcome(h.join(unknown)), 25, 25, 25, 25, 25],
  'JoinGroup by a fenced member': [
    ({ h, fencedId }) => outcome(h.join({ ...fenced, memberId: fencedId })),
    ...([25, 25, 82, 82, 82] as const),
  ],
  'JoinGroup with another protocol type': [
    ({ h }) => outcome(h.join({ protocolType: 'connect' })),
    ...([79, 79, 23, 23, 23] as const),
  ],
  'JoinGroup without protocols': [({ h }) => outcome(h.join({ protocols: [] })), 23, 23, 23, 23, 23],
  'JoinGroup with an empty group id': [({ h }) => outcome(h.join({ groupId: '' })), 24, 24, 24, 24, 24],
  'JoinGroup with a session of 1 ms': [({ h }) => outcome(h.join({ sessionTimeoutMs: 1 })), 26, 26, 26, 26, 26],
  'JoinGroup by a member with new metadata': [
    ({ h, memberId }) => outcome(h.join({ memberId, protocols: [{ name: 'range', metadata: subscription('x') }] })),
    // In PreparingRebalance it is the last that was missing.
    ...([25, 25, 0, PARKED, PARKED] as const),
  ],
  'SyncGroup by a member': [
    ({ h, memberId, generationId }) => outcome(h.sync({ memberId, generationId })),
    ...([25, 25, 27, PARKED, 0] as const),
  ],
  'SyncGroup by an unknown member': [
    ({ h, generationId }) => outcome(h.sync({ ...unknown, generationId })),
    25,
    25,
    25,
    25,
    25,
  ],
  'SyncGroup by a fenced member': [
    ({ h, fencedId, generationId }) => outcome(h.sync({ ...fenced, memberId: fencedId, generationId })),
    ...([25, 25, 82, 82, 82] as const),
  ],
  'SyncGroup of another generation': [(at) => outcome(at.h.sync(wrongGeneration(at))), 25, 25, 22, 22, 22],
  'SyncGroup with another protocol type': [
    ({ h, memberId, generationId }) => outcome(h.sync({ memberId, generationId, protocolType: 'connect' })),
    ...([25, 25, 23, 23, 23] as const),
  ],
  'SyncGroup with another protocol': [
    ({ h, memberId, generationId }) => outcome(h.sync({ memberId, generationId, protocolName: 'sticky' })),
    ...([25, 25, 23, 23, 23] as const),
  ],
  'SyncGroup without protocol, version 5': [
    ({ h, memberId, generationId }) => outcome(h.sync({ version: 5, memberId, generationId })),
    ...([23, 23, 23, 23, 23] as const),
  ],
  'SyncGroup with the right protocol': [
    ({ h, memberId, generationId }) => outcome(h.sync({ memberId, generationId, protocolName: 'range' })),
    ...([25, 25, 27, PARKED, 0] as const),
  ],
  'SyncGroup with an empty group id': [({ h }) => outcome(h.sync({ groupId: '' })), 24, 24, 24, 24, 24],
  'Heartbeat by a member': [
    ({ h, memberId, generationId }) => h.heartbeat({ memberId, generationId }).errorCode,
    ...([25, 25, 27, 0, 0] as const),
  ],
  'Heartbeat by an unknown member': [({ h }) => h.heartbeat(unknown).errorCode, 25, 25, 25, 25, 25],
  'Heartbeat by a fenced member': [
    ({ h, fencedId, generationId }) => h.heartbeat({ ...fenced, memberId: fencedId, generationId }).errorCode,
    ...([25, 25, 82, 82, 82] as const),
  ],
  'Heartbeat of another generation': [(at) => at.h.heartbeat(wrongGeneration(at)).errorCode, 25, 25, 22, 22, 22],
  'Heartbeat with an empty group id': [({ h }) => h.heartbeat({ groupId: '' }).errorCode, 24, 24, 24, 24, 24],
  'LeaveGroup by a member': [
    ({ h, memberId }) => h.leave([{ memberId }]).members[0]!.errorCode,
    ...([25, 25, 0, 0, 0] as const),
  ],
  'LeaveGroup by an unknown member': [({ h }) => h.leave([unknown]).members[0]!.errorCode, 25, 25, 25, 25, 25],
  'LeaveGroup by a fenced member': [
    ({ h, fencedId }) => h.leave([{ ...fenced, memberId: fencedId }]).members[0]!.errorCode,
    ...([25, 25, 82, 82, 82] as const),
  ],
  'LeaveGroup by instance id': [({ h }) => h.leave([fenced]).members[0]!.errorCode, 25, 25, 0, 0, 0],
  'LeaveGroup with an empty group id': [({ h }) => h.leave([unknown], { groupId: '' }).errorCode, 24, 24, 24, 24, 24],
  'OffsetCommit by a member': [
    ({ h, memberId, generationId }) => h.commit({ memberId, generationIdOrMemberEpoch: generationId }),
    ...([69, 25, 0, 27, 0] as const),
  ],
  'OffsetCommit by a member, version 8': [
    ({ h, memberId, generationId }) => h.commit({ version: 8, memberId, generationIdOrMemberEpoch: generationId }),
    ...([22, 25, 0, 27, 0] as const),
  ],
  'OffsetCommit without member and generation': [({ h }) => h.commit(), 0, 0, 25, 25, 25],
  'OffsetCommit by an unknown member': [
    ({ h, generationId }) => h.commit({ ...unknown, generationIdOrMemberEpoch: generationId }),
    ...([69, 25, 25, 25, 25] as const),
  ],
  'OffsetCommit by a member without generation': [
    ({ h, memberId }) => h.commit({ memberId, generationIdOrMemberEpoch: -1 }),
    ...([0, 0, 22, 22, 22] as const),
  ],
  'OffsetCommit of another generation': [
    ({ h, memberId, generationId }) => h.commit({ memberId, generationIdOrMemberEpoch: generationId + 1 }),
    ...([69, 25, 22, 22, 22] as const),
  ],
  'OffsetCommit by a fenced member': [
    ({ h, fencedId, generationId }) =>
      h.commit({ ...fenced, memberId: fencedId, generationIdOrMemberEpoch: generationId }),
    ...([69, 25, 82, 82, 82] as const),
  ],
  OffsetFetch: [
    async ({ h }) => (await h.fetch({ groups: [{ groupId: 'g', topics: null }] })).groups[0]!.errorCode,
    ...([0, 0, 0, 0, 0] as const),
  ],
  DeleteGroups: [
    async ({ h }) => (await h.coordinator.deleteGroups(context, { groupsNames: ['g'] })).results[0]!.errorCode,
    ...([69, 0, 68, 68, 68] as const),
  ],
}

describe.each(Object.entries(REQUESTS))('%s', (_, [request, ...outcomes]) => {
  it.each(STATES.map((state, i) => [state, outcomes[i]!] as const))('in state %s: %s', async (state, expected) => {
    expect(await request(await stage(state))).toBe(expected)
  })
})
