// SPDX-License-Identifier: Apache-2.0
// How classic groups form, change and end: join, sync, heartbeat, leave and time.
import { describe, expect, it } from 'vitest'
import { ErrorCode } from '../../src/protocol/errors.ts'
import { settled } from '../util/virtual-seams.ts'
import { Harness, subscription, text, utf8 } from './harness.ts'

const delayed = { initialRebalanceDelayMs: 3000 }

describe('a new group', () => {
  it('tells a dynamic member its id first and admits it when it comes back with it (KIP-394)', async () => {
    const h = new Harness()
    const first = await h.join({ clientId: 'app' }).promise
    expect(first.errorCode).toBe(ErrorCode.MEMBER_ID_REQUIRED)
    expect(first.memberId).toMatch(/^app-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    const second = h.join({ memberId: first.memberId })
    await h.advance(1)
    expect(second.answer).toMatchObject({
      errorCode: 0,
      generationId: 1,
      protocolType: 'consumer',
      protocolName: 'range',
      leader: first.memberId,
      memberId: first.memberId,
      skipAssignment: false,
      members: [{ memberId: first.memberId, groupInstanceId: null }],
    })
    expect(h.state()).toBe('CompletingRebalance')
  })

  it('admits a dynamic member at once up to version 3', async () => {
    const h = new Harness()
    const joined = h.join({ version: 3 })
    await h.advance(1)
    expect(joined.answer).toMatchObject({ errorCode: 0, generationId: 1, members: [{}] })
  })

  it('admits a static member at once, with the instance id in its member id (KIP-345)', async () => {
    const h = new Harness()
    const joined = h.join({ groupInstanceId: 'i1' })
    await h.advance(1)
    expect(joined.answer?.memberId).toMatch(/^i1-/)
    expect(joined.answer?.members).toMatchObject([{ groupInstanceId: 'i1' }])
  })

  it('waits for group.initial.rebalance.delay.ms, and again while members keep coming (KIP-134)', async () => {
    const h = new Harness({ config: delayed })
    const a = h.join({ groupInstanceId: 'a' })
    await h.advance(2000)
    const b = h.join({ groupInstanceId: 'b' })
    await h.advance(1001)
    expect(a.answer).toBeUndefined()
    await h.advance(2999)
    expect([a.answer?.generationId, b.answer?.generationId]).toEqual([1, 1])
    expect(a.answer?.members).toHaveLength(2)
    expect(b.answer?.members).toHaveLength(0)
  })

  it('ends the initial delay at the longest rebalance timeout, however many keep coming', async () => {
    const h = new Harness({ config: delayed })
    const all = [h.join({ groupInstanceId: 'm0', rebalanceTimeoutMs: 8000 })]
    for (let i = 1; i <= 10; i++) {
      await h.advance(1000)
      all.push(h.join({ groupInstanceId: `m${i}`, rebalanceTimeoutMs: 8000 }))
    }
    expect(all[0]!.answer?.members.length).toBeGreaterThanOrEqual(8)
  })

  it('does not wait at all when the delay is 0', async () => {
    const h = new Harness()
    const joined = h.join({ groupInstanceId: 'a' })
    await h.advance(1)
    expect(joined.answer?.generationId).toBe(1)
  })

  it('gives every member what its leader sent, and nothing where the leader sent nothing', async () => {
    const h = new Harness()
    const { memberId: a, joined } = await h.joinTwice()
    const { memberId: b } = await h.joinTwice()
    await h.advance(1)
    expect(joined.answer?.leader).toBe(a)
    const follower = h.sync({ memberId: b })
    await settled()
    expect(follower.answer).toBeUndefined()
    const leader = h.sync({ memberId: a, protocolName: 'range', assign: { [a]: 'for a', stranger: 'x' } })
    await settled()
    expect(text(leader.answer!.assignment)).toBe('for a')
    expect(follower.answer!.assignment).toHaveLength(0)
    expect(leader.answer).toMatchObject({ errorCode: 0, protocolType: 'consumer', protocolName: 'range' })
    expect(h.state()).toBe('Stable')
  })

  it('answers a follower that syncs late from what is known', async () => {
    const h = new Harness()
    const { memberId: a } = await h.joinTwice()
    const { memberId: b } = await h.joinTwice()
    await h.advance(1)
    await h.sync({ memberId: a, assign: { [b]: 'for b' } }).promise
    expect(text((await h.sync({ memberId: b }).promise).assignment)).toBe('for b')
  })

  it('takes any protocol type and any bytes: connect and schema registry are groups too', async () => {
    const h = new Harness()
    const metadata = Uint8Array.from([0xff, 0, 1, 2, 0xfe])
    const joined = h.join({
      groupInstanceId: 'w',
      protocolType: 'connect',
      protocols: [{ name: 'sessioned', metadata }],
    })
    await h.advance(1)
    expect(joined.answer).toMatchObject({ protocolType: 'connect', protocolName: 'sessioned' })
    expect(new Uint8Array(joined.answer!.members[0]!.metadata)).toEqual(metadata)
  })
})

describe('protocols', () => {
  it('are chosen by vote among those that all members support', async () => {
    const h = new Harness()
    const offer = (...names: string[]) => names.map((name) => ({ name, metadata: subscription('orders') }))
    const a = h.join({ groupInstanceId: 'a', protocols: offer('only-a', 'range', 'sticky') })
    h.join({ groupInstanceId: 'b', protocols: offer('sticky', 'range') })
    h.join({ groupInstanceId: 'c', protocols: offer('sticky', 'range', 'only-c') })
    await h.advance(1)
    expect(a.answer?.protocolName).toBe('sticky')
  })

  it.each([
    ['another protocol type', { protocolType: 'connect' }],
    ['no protocol in common', { protocols: [{ name: 'sticky', metadata: utf8('') }] }],
    ['no protocol', { protocols: [] }],
    ['an empty protocol type', { protocolType: '' }],
  ])('refuse a member with %s: INCONSISTENT_GROUP_PROTOCOL', async (_, over) => {
    const h = new Harness()
    await h.stable(1)
    expect((await h.join(over).promise).errorCode).toBe(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    expect(h.state()).toBe('Stable')
  })

  it.each([
    ['no protocol', { protocols: [] }],
    ['an empty protocol type', { protocolType: '' }],
  ])('refuse %s in an empty group too, and leave no group behind', async (_, over) => {
    const h = new Harness()
    const refused = await h.join({ ...over, version: 5 }).promise
    expect(refused).toMatchObject({ errorCode: ErrorCode.INCONSISTENT_GROUP_PROTOCOL, protocolName: '' })
    expect(h.coordinator.stats()).toMatchObject({ groups: 0, deadlines: 0 })
  })

  it('count each name once, as often as a member may name it', async () => {
    const h = new Harness()
    const range = { name: 'range', metadata: subscription('orders') }
    h.join({ groupInstanceId: 'a', protocols: [range, range] })
    const b = h.join({ groupInstanceId: 'b', protocols: [range] })
    await h.advance(1)
    expect(b.answer).toMatchObject({ errorCode: 0, protocolName: 'range' })
  })
})

describe('a rebalance', () => {
  it('begins when a member joins, is told by heartbeat, and ends when all have joined again', async () => {
    const h = new Harness()
    const { ids, generationId } = await h.stable(2)
    const { joined } = await h.joinTwice()
    expect(h.state()).toBe('PreparingRebalance')
    for (const memberId of ids) {
      expect(h.heartbeat({ memberId, generationId }).errorCode).toBe(ErrorCode.REBALANCE_IN_PROGRESS)
    }
    const again = ids.map((memberId) => h.join({ memberId }))
    await settled()
    expect(again.map(({ answer }) => answer?.generationId)).toEqual([2, 2])
    expect(joined.answer?.generationId).toBe(2)
  })

  it('leaves behind dynamic members that do not join again within the longest rebalance timeout', async () => {
    const h = new Harness()
    const { ids } = await h.stable(3, { rebalanceTimeoutMs: 5000, sessionTimeoutMs: 30_000 })
    const { joined } = await h.joinTwice({ rebalanceTimeoutMs: 4000 })
    const again = h.join({ memberId: ids[1]!, rebalanceTimeoutMs: 5000 })
    await h.advance(4999)
    expect(again.answer).toBeUndefined()
    await h.advance(1)
    expect(joined.answer?.generationId).toBe(2)
    expect(again.answer?.leader).toBe(ids[1])
    expect(again.answer?.members.map(({ memberId }) => memberId).sort()).toEqual(
      [ids[1], joined.answer?.memberId].sort(),
    )
    expect(h.heartbeat({ memberId: ids[0]!, generationId: 1 }).errorCode).toBe(ErrorCode.UNKNOWN_MEMBER_ID)
  })

  it('waits for static members until their sessions end', async () => {
    const h = new Harness()
    const s1 = h.join({ groupInstanceId: 's1', sessionTimeoutMs: 20_000, rebalanceTimeoutMs: 5000 })
    await h.advance(1)
    await h.sync({ memberId: s1.answer!.memberId, groupInstanceId: 's1' }).promise
    const { joined } = await h.joinTwice({ rebalanceTimeoutMs: 5000 })
    await h.advance(5000)
    // The dynamic member goes on; the static one keeps its place, though it is not heard of.
    expect(joined.answer?.members).toHaveLength(2)
    expect(joined.answer?.leader).toBe(joined.answer?.memberId)
  })

  it('cannot end while no member has joined again, and goes on once one does', async () => {
    const h = new Harness()
    const join = { groupInstanceId: 's1', sessionTimeoutMs: 60_000, rebalanceTimeoutMs: 5000 }
    const s1 = h.join(join)
    const { memberId: d } = await h.joinTwice({ rebalanceTimeoutMs: 5000 })
    await h.advance(1)
    const id = s1.answer!.memberId
    await h.sync({ memberId: id, generationId: 1 }).promise
    await h.sync({ memberId: d, generationId: 1 }).promise
    expect(h.leave([{ memberId: d }]).errorCode).toBe(0)
    expect(h.state()).toBe('PreparingRebalance')
    await h.advance(12_000)
    expect(h.state()).toBe('PreparingRebalance')
    const again = h.join({ ...join, memberId: id })
    await settled()
    expect(again.answer).toMatchObject({ generationId: 2, leader: id })
  })

  it('cancels parked syncs, which then join again', async () => {
    const h = new Harness()
    const { memberId: a } = await h.joinTwice()
    const { memberId: b } = await h.joinTwice()
    await h.advance(1)
    const parked = h.sync({ memberId: b })
    await h.joinTwice()
    await settled()
    expect(parked.answer?.errorCode).toBe(ErrorCode.REBALANCE_IN_PROGRESS)
    await expect(h.sync({ memberId: a }).promise).resolves.toMatchObject({ errorCode: ErrorCode.REBALANCE_IN_PROGRESS })
  })

  it('is what a leader asks for by joining again, with the same metadata', async () => {
    const h = new Harness()
    const { leader, followers } = await h.stable(2)
    const unchanged = await h.join({ memberId: followers[0]! }).promise
    expect(unchanged).toMatchObject({ errorCode: 0, generationId: 1, members: [] })
    expect(h.state()).toBe('Stable')
    h.join({ memberId: leader })
    await settled()
    expect(h.state()).toBe('PreparingRebalance')
  })

  it('is forced by a follower whose metadata changed', async () => {
    const h = new Harness()
    const { followers } = await h.stable(2)
    h.join({ memberId: followers[0]!, protocols: [{ name: 'range', metadata: subscription('payments') }] })
    await settled()
    expect(h.state()).toBe('PreparingRebalance')
  })

  it('repeats the answer of this generation to a member that missed it', async () => {
    const h = new Harness()
    const { memberId, joined } = await h.joinTwice()
    await h.advance(1)
    expect((await h.join({ memberId }).promise).generationId).toBe(joined.answer!.generationId)
    expect(h.state()).toBe('CompletingRebalance')
  })

  it('answers the first of two joins of one member, so that no connection waits for ever', async () => {
    const h = new Harness()
    const { ids } = await h.stable(2)
    const first = h.join({ memberId: ids[0]! })
    const second = h.join({ memberId: ids[0]! })
    await settled()
    expect(first.answer?.errorCode).toBe(ErrorCode.REBALANCE_IN_PROGRESS)
    h.join({ memberId: ids[1]! })
    await settled()
    expect(second.answer?.generationId).toBe(2)
  })

  it('removes members that do not sync within the rebalance timeout', async () => {
    const h = new Harness()
    const { memberId: a } = await h.joinTwice({ rebalanceTimeoutMs: 6000, sessionTimeoutMs: 60_000 })
    const { memberId: b } = await h.joinTwice({ rebalanceTimeoutMs: 6000, sessionTimeoutMs: 60_000 })
    await h.advance(1)
    const parked = h.sync({ memberId: b })
    await h.advance(6000)
    expect(parked.answer?.errorCode).toBe(ErrorCode.REBALANCE_IN_PROGRESS)
    expect(h.heartbeat({ memberId: a }).errorCode).toBe(ErrorCode.UNKNOWN_MEMBER_ID)
    const again = h.join({ memberId: b })
    await settled()
    expect(again.answer).toMatchObject({ generationId: 2, leader: b })
  })

  it('goes into a new generation when the assignment cannot be written down', async () => {
    const h = new Harness()
    const { memberId: a } = await h.joinTwice()
    await h.advance(1)
    h.log.failNext('NOT_ENOUGH_REPLICAS')
    const synced = await h.sync({ memberId: a, assign: { [a]: 'x' } }).promise
    expect(synced.errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    expect(h.state()).toBe('PreparingRebalance')
    const again = h.join({ memberId: a })
    await settled()
    expect(again.answer?.generationId).toBe(2)
  })

  it('does not leave syncs parked when the log takes no writes', async () => {
    const h = new Harness()
    const { memberId: a } = await h.joinTwice()
    await h.advance(1)
    h.log.hold()
    const synced = h.sync({ memberId: a })
    await h.advance(4999)
    expect(synced.answer).toBeUndefined()
    await h.advance(1)
    expect(synced.answer?.errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE)
  })

  it('does not take an assignment of the generation before, however late its write ends', async () => {
    const h = new Harness()
    const { memberId: a } = await h.joinTwice()
    await h.advance(1)
    h.log.hold()
    const old = h.sync({ memberId: a, assign: { [a]: 'of generation 1' } })
    await settled()
    const { memberId: b } = await h.joinTwice()
    await settled()
    expect(old.answer?.errorCode).toBe(ErrorCode.REBALANCE_IN_PROGRESS)
    h.join({ memberId: a })
    await settled()
    const synced = [a, b].map((memberId) => h.sync({ memberId, generationId: 2 }))
    await settled()
    expect(h.state()).toBe('CompletingRebalance')
    h.log.release()
    await settled()
    expect(h.state()).toBe('Stable')
    expect(synced.map(({ answer }) => text(answer!.assignment))).toEqual(['', ''])
  })

  it('writes the first assignment of a leader that sends two, and answers with it', async () => {
    const h = new Harness()
    const { memberId: a } = await h.joinTwice()
    await h.advance(1)
    h.log.hold()
    const first = h.sync({ memberId: a, assign: { [a]: 'one' } })
    await settled()
    const second = h.sync({ memberId: a, assign: { [a]: 'two' } })
    await settled()
    h.log.release()
    await settled()
    expect(first.answer?.errorCode).toBe(ErrorCode.REBALANCE_IN_PROGRESS)
    expect(text(second.answer!.assignment)).toBe('one')
    expect(text((await h.restarted()).describe().members[0]!.memberAssignment)).toBe('one')
  })
})

describe('a session', () => {
  it('ends when nothing is heard of a member for its timeout, and the others rebalance', async () => {
    const h = new Harness()
    const { leader, followers, generationId } = await h.stable(2)
    await h.advance(9000)
    expect(h.heartbeat({ memberId: leader, generationId }).errorCode).toBe(0)
    await h.advance(1000)
    expect(h.state()).toBe('PreparingRebalance')
    expect(h.heartbeat({ memberId: followers[0]!, generationId }).errorCode).toBe(ErrorCode.UNKNOWN_MEMBER_ID)
    expect(h.heartbeat({ memberId: leader, generationId }).errorCode).toBe(ErrorCode.REBALANCE_IN_PROGRESS)
  })

  it('is kept alive by commits', async () => {
    const h = new Harness()
    const { ids, generationId } = await h.stable(1)
    for (let i = 0; i < 5; i++) {
      await h.advance(9000)
      expect(await h.commit({ memberId: ids[0]!, generationIdOrMemberEpoch: generationId })).toBe(0)
    }
    expect(h.state()).toBe('Stable')
  })

  it('does not end while the member waits for an answer of ours, and begins anew with the answer', async () => {
    const h = new Harness()
    const { ids } = await h.stable(2, { sessionTimeoutMs: 6000, rebalanceTimeoutMs: 20_000 })
    const slow = { sessionTimeoutMs: 6000, rebalanceTimeoutMs: 20_000 }
    const parked = h.join({ memberId: ids[0]!, ...slow })
    for (let i = 0; i < 3; i++) {
      await h.advance(5000)
      h.heartbeat({ memberId: ids[1]!, generationId: 1 })
    }
    expect(parked.answer).toBeUndefined()
    h.join({ memberId: ids[1]!, ...slow })
    await settled()
    expect(parked.answer?.generationId).toBe(2)
    await h.advance(5999)
    expect(h.heartbeat({ memberId: ids[0]!, generationId: 2 }).errorCode).toBe(0)
  })

  it('of an id that never came back ends too, and a rebalance does not wait for it longer', async () => {
    const h = new Harness()
    const { ids } = await h.stable(1)
    await h.join({ sessionTimeoutMs: 6000 }).promise
    const again = h.join({ memberId: ids[0]! })
    await h.advance(5999)
    expect(again.answer).toBeUndefined()
    await h.advance(1)
    expect(again.answer?.generationId).toBe(2)
  })

  it('of a new member is five minutes while its join is parked', async () => {
    const h = new Harness({ config: { newMemberJoinTimeoutMs: 300_000 } })
    const { ids } = await h.stable(1, { rebalanceTimeoutMs: 1_000_000, sessionTimeoutMs: 1_000_000 })
    const { joined } = await h.joinTwice({ rebalanceTimeoutMs: 1_000_000 })
    await h.advance(299_999)
    expect(joined.answer).toBeUndefined()
    await h.advance(1)
    expect(joined.answer).toMatchObject({ errorCode: ErrorCode.UNKNOWN_MEMBER_ID, memberId: '' })
    h.join({ memberId: ids[0]! })
    await settled()
    expect(h.describe().members).toHaveLength(1)
  })

  it.each([5999, 0, -1, 1_800_001])('of %i ms is refused: INVALID_SESSION_TIMEOUT', async (sessionTimeoutMs) => {
    const h = new Harness()
    expect((await h.join({ sessionTimeoutMs }).promise).errorCode).toBe(ErrorCode.INVALID_SESSION_TIMEOUT)
  })

  it('timeout serves as rebalance timeout in version 0', async () => {
    const h = new Harness()
    const a = h.join({ version: 0, groupId: 'v0', sessionTimeoutMs: 7000, rebalanceTimeoutMs: -1 })
    await h.advance(1)
    await h.sync({ groupId: 'v0', memberId: a.answer!.memberId }).promise
    const b = h.join({ version: 0, groupId: 'v0', sessionTimeoutMs: 6000, rebalanceTimeoutMs: -1 })
    h.heartbeat({ groupId: 'v0', memberId: a.answer!.memberId })
    await h.advance(6999)
    expect(b.answer).toBeUndefined()
    await h.advance(1)
    expect(b.answer?.generationId).toBe(2)
  })
})

describe('leaving', () => {
  it('makes the others rebalance, and the last one leaves an empty group without any timer', async () => {
    const h = new Harness()
    const { ids } = await h.stable(2)
    expect(h.leave([{ memberId: ids[0]! }]).members).toMatchObject([{ errorCode: 0 }])
    expect(h.state()).toBe('PreparingRebalance')
    expect(h.leave([{ memberId: ids[1]! }]).members).toMatchObject([{ errorCode: 0 }])
    await settled()
    expect(h.state()).toBe('Empty')
    expect(h.coordinator.stats()).toMatchObject({ groups: 1, members: 0, deadlines: 0 })
  })

  it('up to version 2 names one member and answers with its error', async () => {
    const h = new Harness()
    const { ids } = await h.stable(1)
    expect(h.leave([{ memberId: 'who' }], { version: 2 })).toMatchObject({
      errorCode: ErrorCode.UNKNOWN_MEMBER_ID,
      members: [],
    })
    expect(h.leave([{ memberId: ids[0]! }], { version: 0 })).toMatchObject({ errorCode: 0, members: [] })
  })

  it('takes many members, each with an error of its own', async () => {
    const h = new Harness()
    const s1 = h.join({ groupInstanceId: 's1' })
    const s2 = h.join({ groupInstanceId: 's2' })
    await h.advance(1)
    const pending = (await h.join().promise).memberId
    const answer = h.leave([
      { groupInstanceId: 's1' },
      { memberId: s1.answer!.memberId, groupInstanceId: 's1' },
      { memberId: 'old', groupInstanceId: 's2' },
      { memberId: 'who' },
      { groupInstanceId: 'nobody' },
      { memberId: pending },
    ])
    expect(answer.errorCode).toBe(0)
    expect(answer.members.map(({ errorCode }) => errorCode)).toEqual([0, 25, 82, 25, 25, 0])
    expect(h.describe().members.map(({ memberId }) => memberId)).toEqual([s2.answer!.memberId])
  })

  it('from a group that does not exist is UNKNOWN_MEMBER_ID for each member', () => {
    const h = new Harness()
    expect(h.leave([{ memberId: 'a' }, { memberId: 'b' }])).toMatchObject({
      errorCode: 0,
      members: [{ errorCode: ErrorCode.UNKNOWN_MEMBER_ID }, { errorCode: ErrorCode.UNKNOWN_MEMBER_ID }],
    })
    expect(h.leave([{ memberId: 'a' }], { version: 1 }).errorCode).toBe(ErrorCode.UNKNOWN_MEMBER_ID)
  })

  it('answers a parked join of the member that leaves', async () => {
    const h = new Harness()
    const { ids } = await h.stable(2)
    const parked = h.join({ memberId: ids[0]! })
    h.leave([{ memberId: ids[0]! }])
    await settled()
    expect(parked.answer?.errorCode).toBe(ErrorCode.UNKNOWN_MEMBER_ID)
  })

  it('answers a parked sync of the member that leaves', async () => {
    const h = new Harness()
    await h.joinTwice()
    const { memberId: b } = await h.joinTwice()
    await h.advance(1)
    const parked = h.sync({ memberId: b })
    h.leave([{ memberId: b }])
    await settled()
    expect(parked.answer?.errorCode).toBe(ErrorCode.UNKNOWN_MEMBER_ID)
  })

  it('of an id that was only handed out does not disturb a stable group', async () => {
    const h = new Harness()
    await h.stable(1)
    const { memberId } = await h.join().promise
    expect(h.leave([{ memberId }]).members).toMatchObject([{ errorCode: 0 }])
    expect(h.state()).toBe('Stable')
  })
})

describe('a static member', () => {
  async function stableStatics(h: Harness) {
    const [a, b] = [h.join({ groupInstanceId: 'a' }), h.join({ groupInstanceId: 'b' })]
    await h.advance(1)
    const [ida, idb] = [a.answer!.memberId, b.answer!.memberId]
    const synced = h.sync({ memberId: idb, groupInstanceId: 'b' })
    await h.sync({ memberId: ida, groupInstanceId: 'a', assign: { [ida]: 'A', [idb]: 'B' } }).promise
    expect(text((await synced.promise).assignment)).toBe('B')
    return { ida, idb }
  }

  it('that comes back without its id keeps its assignment, without a rebalance; its old self is fenced', async () => {
    const h = new Harness()
    const { idb } = await stableStatics(h)
    const back = await h.join({ groupInstanceId: 'b', clientId: 'new-host' }).promise
    expect(back).toMatchObject({ errorCode: 0, generationId: 1, skipAssignment: false, members: [] })
    expect(back.memberId).not.toBe(idb)
    expect(h.state()).toBe('Stable')
    const fenced = { memberId: idb, groupInstanceId: 'b', generationId: 1 }
    expect(h.heartbeat(fenced).errorCode).toBe(ErrorCode.FENCED_INSTANCE_ID)
    expect((await h.sync(fenced).promise).errorCode).toBe(ErrorCode.FENCED_INSTANCE_ID)
    expect((await h.join(fenced).promise).errorCode).toBe(ErrorCode.FENCED_INSTANCE_ID)
    expect(await h.commit({ ...fenced, generationIdOrMemberEpoch: 1 })).toBe(ErrorCode.FENCED_INSTANCE_ID)
    expect(text((await h.sync({ memberId: back.memberId, groupInstanceId: 'b' }).promise).assignment)).toBe('B')
    const described = h.describe().members.find(({ memberId }) => memberId === back.memberId)
    expect(described).toMatchObject({ clientId: 'new-host', groupInstanceId: 'b' })
  })

  it('that leads and comes back is told to skip the assignment from version 9 on (KIP-814)', async () => {
    const h = new Harness()
    const { ida } = await stableStatics(h)
    const back = await h.join({ groupInstanceId: 'a', version: 9 }).promise
    expect(back).toMatchObject({ errorCode: 0, leader: back.memberId, skipAssignment: true })
    expect(back.members).toHaveLength(2)
    expect(ida).not.toBe(back.memberId)
  })

  it('that leads and comes back before version 9 is not told that it leads', async () => {
    const h = new Harness()
    const { ida } = await stableStatics(h)
    const back = await h.join({ groupInstanceId: 'a', version: 8 }).promise
    expect(back).toMatchObject({ errorCode: 0, leader: ida, skipAssignment: false, members: [] })
  })

  it('keeps its new id over a restart of the broker', async () => {
    const h = new Harness()
    await stableStatics(h)
    const back = await h.join({ groupInstanceId: 'b' }).promise
    const next = await h.restarted()
    expect(next.heartbeat({ memberId: back.memberId, groupInstanceId: 'b' }).errorCode).toBe(0)
  })

  it('gets its old id back when the new one cannot be written down', async () => {
    const h = new Harness()
    const { idb } = await stableStatics(h)
    h.log.failNext('KAFKA_STORAGE_ERROR')
    const protocols = [{ name: 'range', metadata: subscription('orders', 'payments') }]
    expect((await h.join({ groupInstanceId: 'b', protocols }).promise).errorCode).toBe(ErrorCode.NOT_COORDINATOR)
    expect(h.heartbeat({ memberId: idb, groupInstanceId: 'b' }).errorCode).toBe(0)
    await h.advance(10_000)
    expect(h.describe().members).toHaveLength(0)
  })

  it('has a session from the moment its return is answered', async () => {
    const h = new Harness()
    const { ida } = await stableStatics(h)
    h.log.hold()
    const back = h.join({ groupInstanceId: 'b', sessionTimeoutMs: 6000 })
    await h.advance(4000)
    h.log.release()
    await settled()
    expect(back.answer?.errorCode).toBe(0)
    await h.advance(5000)
    expect(h.heartbeat({ memberId: ida }).errorCode).toBe(0)
    await h.advance(1000)
    expect(h.state()).toBe('PreparingRebalance')
  })

  it('that comes back with another choice of protocol makes the group rebalance', async () => {
    const h = new Harness()
    await stableStatics(h)
    h.join({ groupInstanceId: 'b', protocols: [{ name: 'sticky', metadata: utf8('') }] })
    await settled()
    expect(h.state()).toBe('Stable')
    const both = ['sticky', 'range'].map((name) => ({ name, metadata: subscription('orders') }))
    const solo = new Harness()
    const joined = solo.join({ groupInstanceId: 'a', protocols: both.toReversed() })
    await solo.advance(1)
    await solo.sync({ memberId: joined.answer!.memberId, assign: {} }).promise
    const back = solo.join({ groupInstanceId: 'a', protocols: both })
    await settled()
    expect(back.answer).toMatchObject({ generationId: 2, protocolName: 'sticky' })
  })

  it('that comes back before the group is stable makes it rebalance: the leader may have assigned to the old id', async () => {
    const h = new Harness()
    const [a, b] = [h.join({ groupInstanceId: 'a' }), h.join({ groupInstanceId: 'b' })]
    await h.advance(1)
    expect(b.answer?.generationId).toBe(1)
    const back = h.join({ groupInstanceId: 'b' })
    await settled()
    expect(h.state()).toBe('PreparingRebalance')
    h.join({ groupInstanceId: 'a', memberId: a.answer!.memberId })
    await settled()
    expect(back.answer?.generationId).toBe(2)
  })

  it('that comes back when a rebalance begins before its id is written down takes part in it', async () => {
    const h = new Harness()
    const { ida } = await stableStatics(h)
    h.log.hold()
    const back = h.join({ groupInstanceId: 'b' })
    await settled()
    h.join({ memberId: ida, groupInstanceId: 'a', protocols: [{ name: 'range', metadata: subscription('payments') }] })
    await settled()
    h.log.release()
    await settled()
    expect(back.answer).toMatchObject({ errorCode: 0, generationId: 2 })
    await h.advance(9999)
    expect(h.heartbeat({ memberId: back.answer!.memberId, generationId: 2 }).errorCode).toBe(0)
  })

  it('that is replaced before it has synced is not missed when the time for syncing ends', async () => {
    const h = new Harness()
    const joining = { sessionTimeoutMs: 60_000, rebalanceTimeoutMs: 6000 }
    const [a, b] = ['a', 'b'].map((groupInstanceId) => h.join({ groupInstanceId, ...joining }))
    await h.advance(1)
    await h.sync({ memberId: a!.answer!.memberId }).promise
    const back = await h.join({ groupInstanceId: 'b', ...joining }).promise
    expect(back.memberId).not.toBe(b!.answer!.memberId)
    await h.advance(6000)
    expect(h.state()).toBe('Stable')
  })

  it('that comes back while its former self waits fences it at once', async () => {
    const h = new Harness()
    const { ida, idb } = await stableStatics(h)
    await h.joinTwice()
    const former = h.join({ memberId: idb, groupInstanceId: 'b' })
    const back = h.join({ groupInstanceId: 'b' })
    await settled()
    expect(former.answer?.errorCode).toBe(ErrorCode.FENCED_INSTANCE_ID)
    h.join({ memberId: ida, groupInstanceId: 'a' })
    await settled()
    expect(back.answer?.generationId).toBe(2)
  })

  it('is removed by an administrator by its instance id alone', async () => {
    const h = new Harness()
    await stableStatics(h)
    expect(h.leave([{ groupInstanceId: 'b' }]).members).toMatchObject([{ errorCode: 0, memberId: '' }])
    expect(h.describe().members).toHaveLength(1)
  })
})

describe('the size of a group', () => {
  it('is limited by group.max.size: GROUP_MAX_SIZE_REACHED', async () => {
    const h = new Harness({ config: { groupMaxSize: 2 } })
    const { ids, generationId } = await h.stable(2)
    expect((await h.join().promise).errorCode).toBe(ErrorCode.GROUP_MAX_SIZE_REACHED)
    expect(h.heartbeat({ memberId: ids[0]!, generationId }).errorCode).toBe(0)
  })

  it('is cut down in the next rebalance when a loaded group is larger: the last to join again are turned away', async () => {
    const before = new Harness()
    const { ids } = await before.stable(3)
    const h = new Harness({ partitions: before.partitions, config: { groupMaxSize: 2 } })
    await h.advance(10)
    expect(h.state()).toBe('PreparingRebalance')
    const again = ids.map((memberId) => h.join({ memberId }))
    await settled()
    expect(again[2]!.answer).toMatchObject({ errorCode: ErrorCode.GROUP_MAX_SIZE_REACHED, memberId: '' })
    expect(again[0]!.answer?.members).toHaveLength(2)
  })

  it('bounds the ids that were handed out as well', async () => {
    const h = new Harness({ config: { groupPendingMembersMax: 3 } })
    const codes = []
    for (let i = 0; i < 4; i++) codes.push((await h.join().promise).errorCode)
    expect(codes).toEqual([79, 79, 79, 81])
    await h.advance(10_000)
    expect((await h.join().promise).errorCode).toBe(ErrorCode.MEMBER_ID_REQUIRED)
  })

  it('and the number of groups have bounds', async () => {
    const h = new Harness({ config: { groupsPerPartitionMax: 2 } })
    expect(await h.commit({ groupId: 'a' })).toBe(0)
    expect(await h.commit({ groupId: 'b' })).toBe(0)
    expect(await h.commit({ groupId: 'c' })).toBe(ErrorCode.POLICY_VIOLATION)
    expect((await h.join({ groupId: 'c' }).promise).errorCode).toBe(ErrorCode.GROUP_MAX_SIZE_REACHED)
    expect(await h.commit({ groupId: 'a', offset: 2 })).toBe(0)
  })

  it('may be thousands, on one timer', async () => {
    const h = new Harness()
    const joins = Array.from({ length: 10_000 }, (_, i) =>
      h.join({ groupInstanceId: `i${i}`, sessionTimeoutMs: 45_000 }),
    )
    await h.advance(1)
    const { leader } = joins[0]!.answer!
    await h.sync({ memberId: leader }).promise
    expect(h.state()).toBe('Stable')
    expect(h.coordinator.stats()).toMatchObject({ members: 10_000, deadlines: 10_001 })
    // The one of the deadlines, and the sweep for expired offsets.
    expect(h.seams.timers.pendingCount).toBe(2)
    for (const { answer } of joins) h.heartbeat({ memberId: answer!.memberId })
    expect(h.seams.timers.pendingCount).toBe(2)
  })

  it('of a client id does not matter to the member id that is made from it', async () => {
    const h = new Harness()
    const { memberId, joined } = await h.joinTwice({ clientId: '🦭'.repeat(8000), version: 5 })
    await h.advance(1)
    expect(joined.answer?.leader).toBe(memberId)
    expect([...memberId]).toHaveLength(255 + 37)
  })
})
