// SPDX-License-Identifier: Apache-2.0
// Committing, fetching, expiring and deleting offsets.
import { describe, expect, it } from 'vitest'
import { ErrorCode } from '../../src/protocol/errors.ts'
import { batches, records } from '../../src/protocol/record-batch.ts'
import { settled } from '../util/virtual-seams.ts'
import { Harness, subscription } from './harness.ts'

const DAY_MS = 24 * 3_600_000

describe('OffsetCommit', () => {
  it('by a consumer without a group stores offsets, which any client reads back', async () => {
    const h = new Harness()
    expect(await h.commit({ offset: 42, metadata: 'note' })).toBe(0)
    const response = await h.fetch({
      groups: [{ groupId: 'g', topics: [{ name: 'orders', partitionIndexes: [0, 1] }] }],
    })
    expect(response.groups).toMatchObject([
      {
        groupId: 'g',
        errorCode: 0,
        topics: [
          {
            name: 'orders',
            partitions: [
              { partitionIndex: 0, committedOffset: 42, committedLeaderEpoch: 0, metadata: 'note', errorCode: 0 },
              { partitionIndex: 1, committedOffset: -1, committedLeaderEpoch: -1, metadata: '', errorCode: 0 },
            ],
          },
        ],
      },
    ])
    expect(h.describe()).toMatchObject({ groupState: 'Empty', protocolType: '' })
  })

  it('may go back: that is how offsets are reset', async () => {
    const h = new Harness()
    for (const offset of [100, 5, 10 ** 12]) {
      expect(await h.commit({ offset })).toBe(0)
      expect(await h.offsets()).toEqual({ 'orders-0': offset })
    }
  })

  it.each([
    [-7, ErrorCode.INVALID_REQUEST],
    [-3, ErrorCode.INVALID_REQUEST],
    [-2, 0],
    [-1, 0],
  ])('of %i is answered with %i: only latest and earliest may be negative', async (offset, code) => {
    const h = new Harness()
    expect(await h.commit({ offset })).toBe(code)
  })

  it('refuses metadata beyond offset.metadata.max.bytes, partition by partition', async () => {
    const h = new Harness()
    expect(await h.commit({ metadata: 'x'.repeat(4096) })).toBe(0)
    expect(await h.commit({ metadata: 'x'.repeat(4097), offset: 9 })).toBe(ErrorCode.OFFSET_METADATA_TOO_LARGE)
    expect(await h.offsets()).toEqual({ 'orders-0': 1 })
  })

  it.each([
    ['an unknown topic', { topic: 'nothing' }],
    ['an unknown partition', { partition: 3 }],
    ['a negative partition', { partition: -1 }],
  ])('for %s is UNKNOWN_TOPIC_OR_PARTITION', async (_, over) => {
    const h = new Harness()
    expect(await h.commit(over)).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    expect(h.coordinator.stats()).toMatchObject({ groups: 0, deadlines: 0 })
  })

  it('answers each partition by itself', async () => {
    const h = new Harness()
    const at = (partitionIndex: number, committedMetadata = '') => ({
      partitionIndex,
      committedOffset: 5,
      committedLeaderEpoch: -1,
      committedMetadata,
    })
    const response = await h.coordinator.offsetCommit(
      { apiVersion: 8, clientId: 'c', clientHost: '/h' },
      {
        groupId: 'g',
        generationIdOrMemberEpoch: -1,
        memberId: '',
        groupInstanceId: null,
        retentionTimeMs: -1,
        topics: [
          { name: 'orders', partitions: [at(0), at(1, 'x'.repeat(5000)), at(7)] },
          { name: 'gone', partitions: [at(0)] },
        ],
      },
    )
    expect(response.topics).toEqual([
      {
        name: 'orders',
        partitions: [
          { partitionIndex: 0, errorCode: 0 },
          { partitionIndex: 1, errorCode: 12 },
          { partitionIndex: 7, errorCode: 3 },
        ],
      },
      { name: 'gone', partitions: [{ partitionIndex: 0, errorCode: 3 }] },
    ])
    expect(await h.offsets()).toEqual({ 'orders-0': 5 })
  })

  it('counts only when it is in the log', async () => {
    const h = new Harness()
    await h.commit({ offset: 1 })
    h.log.hold()
    const commit = h.commit({ offset: 2 })
    await settled()
    expect(await h.offsets()).toEqual({ 'orders-0': 1 })
    h.log.release()
    expect(await commit).toBe(0)
    expect(await h.offsets()).toEqual({ 'orders-0': 2 })
  })

  it.each([
    ['NOT_ENOUGH_REPLICAS', ErrorCode.COORDINATOR_NOT_AVAILABLE],
    ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', ErrorCode.COORDINATOR_NOT_AVAILABLE],
    ['UNKNOWN_TOPIC_OR_PARTITION', ErrorCode.COORDINATOR_NOT_AVAILABLE],
    ['REQUEST_TIMED_OUT', ErrorCode.COORDINATOR_NOT_AVAILABLE],
    ['NOT_LEADER_OR_FOLLOWER', ErrorCode.NOT_COORDINATOR],
    ['KAFKA_STORAGE_ERROR', ErrorCode.NOT_COORDINATOR],
    ['MESSAGE_TOO_LARGE', ErrorCode.INVALID_COMMIT_OFFSET_SIZE],
    ['RECORD_LIST_TOO_LARGE', ErrorCode.INVALID_COMMIT_OFFSET_SIZE],
    ['POLICY_VIOLATION', ErrorCode.POLICY_VIOLATION],
  ] as const)('whose append fails with %s is answered with %i, and leaves nothing', async (name, code) => {
    const h = new Harness()
    h.log.failNext(name)
    expect(await h.commit()).toBe(code)
    expect(h.coordinator.stats()).toMatchObject({ groups: 0, offsets: 0, deadlines: 0 })
    expect(await h.commit({ offset: 3 })).toBe(0)
  })

  it('is answered after offsets.commit.timeout.ms at the latest, and still counts when it gets there', async () => {
    const h = new Harness()
    h.log.hold()
    const commit = h.commit({ offset: 8 })
    await h.advance(5000)
    expect(await commit).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    h.log.release()
    await settled()
    expect(await h.offsets()).toEqual({ 'orders-0': 8 })
    expect(h.coordinator.stats().deadlines).toBe(0)
  })

  it('of many requests in one tick leaves as one batch', async () => {
    const h = new Harness()
    const before = h.log.appendCount
    const codes = await Promise.all(Array.from({ length: 500 }, (_, i) => h.commit({ groupId: `g${i}`, offset: i })))
    expect(new Set(codes)).toEqual(new Set([0]))
    expect(h.log.appendCount - before).toBe(1)
    expect([...batches(h.log.bytes())].map((batch) => [...records(batch)].length)).toEqual([500])
  })

  it('of a group takes the last of several for one partition, in the order in which they came', async () => {
    const h = new Harness()
    await Promise.all([h.commit({ offset: 3 }), h.commit({ offset: 9 }), h.commit({ offset: 4 })])
    expect(await h.offsets()).toEqual({ 'orders-0': 4 })
    expect(await (await h.restarted()).offsets()).toEqual({ 'orders-0': 4 })
  })
})

describe('OffsetFetch', () => {
  it('up to version 7 asks for one group and is answered at the top', async () => {
    const h = new Harness()
    await h.commit({ offset: 7 })
    for (const version of [1, 2, 5, 7]) {
      const response = await h.fetch({ version, groupId: 'g', topics: [{ name: 'orders', partitionIndexes: [0] }] })
      expect(response).toMatchObject({ errorCode: 0, topics: [{ partitions: [{ committedOffset: 7 }] }], groups: [] })
    }
  })

  it('answers many groups in one request, and all topics for null', async () => {
    const h = new Harness()
    await h.commit({ groupId: 'a', offset: 1 })
    await h.commit({ groupId: 'a', topic: 'payments', partition: 2, offset: 2 })
    const response = await h.fetch({
      groups: [
        { groupId: 'a', topics: null },
        { groupId: 'never heard of', topics: null },
        { groupId: 'never heard of', topics: [{ name: 'orders', partitionIndexes: [1] }] },
      ],
    })
    expect(response.groups[0]!.topics.map(({ name }) => name)).toEqual(['orders', 'payments'])
    expect(response.groups[1]).toMatchObject({ errorCode: 0, topics: [] })
    expect(response.groups[2]).toMatchObject({ errorCode: 0, topics: [{ partitions: [{ committedOffset: -1 }] }] })
  })

  it('that requires stable offsets waits for commits that are on their way', async () => {
    const h = new Harness()
    await h.commit({ offset: 1 })
    h.log.hold()
    const commit = h.commit({ offset: 2 })
    const ask = (topics: { name: string; partitionIndexes: number[] }[] | null) =>
      h.fetch({ groups: [{ groupId: 'g', topics }], requireStable: true })
    const waiting = [ask(null), ask([{ name: 'orders', partitionIndexes: [0] }])]
    const elsewhere = await ask([{ name: 'payments', partitionIndexes: [0] }])
    expect(elsewhere.groups[0]!.topics[0]!.partitions[0]).toMatchObject({ committedOffset: -1, errorCode: 0 })
    h.log.release()
    await commit
    for (const response of await Promise.all(waiting)) {
      expect(response.groups[0]!.topics[0]!.partitions[0]).toMatchObject({ committedOffset: 2, errorCode: 0 })
    }
  })

  it('that requires stable offsets says UNSTABLE_OFFSET_COMMIT when they do not become stable in time', async () => {
    const h = new Harness()
    await h.commit({ offset: 1 })
    h.log.hold()
    void h.commit({ offset: 2 })
    const waiting = h.fetch({ groups: [{ groupId: 'g', topics: null }], requireStable: true })
    await h.advance(5000)
    expect((await waiting).groups[0]!.topics[0]!.partitions[0]).toMatchObject({
      committedOffset: -1,
      errorCode: ErrorCode.UNSTABLE_OFFSET_COMMIT,
    })
  })

  it('reports a missing coordinator for the group, and in version 1 for each partition', async () => {
    const h = new Harness()
    h.log.resign()
    const topics = [{ name: 'orders', partitionIndexes: [0, 1] }]
    expect((await h.fetch({ groups: [{ groupId: 'g', topics }] })).groups[0]!.errorCode).toBe(16)
    expect(await h.fetch({ version: 5, groupId: 'g', topics })).toMatchObject({ errorCode: 16, topics: [] })
    const oldest = await h.fetch({ version: 1, groupId: 'g', topics })
    expect(oldest.topics[0]!.partitions.map(({ errorCode }) => errorCode)).toEqual([16, 16])
  })
})

describe('expiry', () => {
  it('takes offsets of a group that only stores them, offsets.retention.minutes after the commit', async () => {
    const h = new Harness()
    await h.commit({ partition: 0 })
    await h.advance(6 * DAY_MS)
    await h.commit({ partition: 1 })
    await h.advance(DAY_MS + 600_000)
    expect(await h.offsets()).toEqual({ 'orders-1': 1 })
    await h.advance(6 * DAY_MS)
    expect(h.coordinator.stats()).toMatchObject({ groups: 0, offsets: 0 })
    expect((await h.restarted()).coordinator.stats()).toMatchObject({ groups: 0, offsets: 0 })
  })

  it('leaves a group with members alone, and counts from when it became empty (KIP-211)', async () => {
    const h = new Harness()
    const { ids, generationId } = await h.stable(1, { sessionTimeoutMs: 1_800_000 })
    await h.commit({ memberId: ids[0]!, generationIdOrMemberEpoch: generationId })
    for (let i = 0; i < 20 * 48; i++) {
      await h.advance(1_799_000)
      h.heartbeat({ memberId: ids[0]!, generationId })
    }
    expect(await h.offsets()).toEqual({ 'orders-0': 1 })
    h.leave([{ memberId: ids[0]! }])
    await h.advance(7 * DAY_MS - 600_000)
    expect(await h.offsets()).toEqual({ 'orders-0': 1 })
    await h.advance(1_200_000)
    expect(h.coordinator.stats()).toMatchObject({ groups: 0, offsets: 0 })
  })

  it('does not take what was committed to an empty group lately, as a reset does', async () => {
    const h = new Harness()
    const { ids } = await h.stable(1)
    h.leave([{ memberId: ids[0]! }])
    // Offsets keep an empty group: one is committed before the week is over.
    await h.commit({ partition: 1 })
    await h.advance(6 * DAY_MS)
    expect(await h.commit({ partition: 0 })).toBe(0)
    await h.advance(2 * DAY_MS)
    expect(await h.offsets()).toEqual({ 'orders-0': 1 })
  })

  it('takes offsets of topics that a consuming group has left behind', async () => {
    const h = new Harness()
    const { ids, generationId } = await h.stable(1, { sessionTimeoutMs: 1_800_000 })
    const member = { memberId: ids[0]!, generationIdOrMemberEpoch: generationId }
    await h.commit({ ...member, topic: 'orders' })
    await h.commit({ ...member, topic: 'payments' })
    for (let i = 0; i < 8 * 48; i++) {
      await h.advance(1_799_000)
      h.heartbeat({ memberId: ids[0]!, generationId })
    }
    expect(await h.offsets()).toEqual({ 'orders-0': 1 })
    expect(h.state()).toBe('Stable')
  })

  it('keeps all offsets of a group whose subscription it cannot read', async () => {
    const h = new Harness()
    const protocols = [{ name: 'own', metadata: Uint8Array.from([1, 2, 3]) }]
    const joining = { protocols, sessionTimeoutMs: 1_800_000 }
    const { ids, generationId } = await h.stable(1, joining)
    await h.commit({ memberId: ids[0]!, generationIdOrMemberEpoch: generationId, topic: 'payments' })
    for (let i = 0; i < 8 * 48; i++) {
      await h.advance(1_799_000)
      h.heartbeat({ memberId: ids[0]!, generationId })
    }
    expect(await h.offsets()).toEqual({ 'payments-0': 1 })
  })

  it('honours the retention of a commit up to version 4, also after a restart', async () => {
    const h = new Harness()
    await h.commit({ version: 4, retentionTimeMs: 60_000, partition: 0 })
    await h.commit({ version: 4, retentionTimeMs: 30 * DAY_MS, partition: 1 })
    const next = await h.restarted()
    await next.advance(8 * DAY_MS)
    expect(await next.offsets()).toEqual({ 'orders-1': 1 })
  })

  it('does not take an offset that is being committed again', async () => {
    const h = new Harness()
    await h.commit()
    await h.advance(7 * DAY_MS - 1)
    h.log.hold()
    const commit = h.commit({ offset: 2 })
    await h.advance(600_000)
    h.log.release()
    expect(await commit).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    await settled()
    expect(await h.offsets()).toEqual({ 'orders-0': 2 })
  })

  it('is tried again when it could not be written down', async () => {
    const h = new Harness()
    await h.commit()
    await h.advance(7 * DAY_MS - 1)
    h.log.failNext('NOT_ENOUGH_REPLICAS')
    await h.advance(600_000)
    expect(h.errors).toHaveLength(1)
    expect(await h.offsets()).toEqual({ 'orders-0': 1 })
    await h.advance(600_000)
    expect(h.coordinator.stats()).toMatchObject({ groups: 0 })
  })

  it('removes an empty group that has no offsets', async () => {
    const h = new Harness()
    const { ids } = await h.stable(1)
    h.leave([{ memberId: ids[0]! }])
    await h.advance(600_000)
    expect(h.coordinator.stats()).toMatchObject({ groups: 0 })
    expect((await h.restarted()).coordinator.stats()).toMatchObject({ groups: 0 })
  })
})

describe('a topic that is deleted', () => {
  it('takes the offsets committed for it along, in every group, and no others', async () => {
    const h = new Harness()
    await h.commit({ groupId: 'a', topic: 'orders' })
    await h.commit({ groupId: 'a', topic: 'payments' })
    await h.commit({ groupId: 'b', topic: 'orders', partition: 2 })
    h.coordinator.onTopicDeleted('orders')
    await settled()
    expect([await h.offsets('a'), await h.offsets('b')]).toEqual([{ 'payments-0': 1 }, {}])
    const next = await h.restarted()
    expect([await next.offsets('a'), await next.offsets('b')]).toEqual([{ 'payments-0': 1 }, {}])
  })

  it('takes those along that are on their way to the log', async () => {
    const h = new Harness()
    h.log.hold()
    const commit = h.commit()
    await settled()
    h.coordinator.onTopicDeleted('orders')
    h.log.release()
    expect(await commit).toBe(0)
    await settled()
    expect(await h.offsets()).toEqual({})
  })
})

describe('DeleteGroups', () => {
  const context = { apiVersion: 2, clientId: 'c', clientHost: '/h' }
  const remove = async (h: Harness, ...groupsNames: string[]) => {
    const { results } = await h.coordinator.deleteGroups(context, { groupsNames })
    return results.map(({ groupId, errorCode }) => [groupId, errorCode])
  }

  it('deletes empty groups with their offsets, also from the log', async () => {
    const h = new Harness()
    const { ids, generationId } = await h.stable(1)
    await h.commit({ memberId: ids[0]!, generationIdOrMemberEpoch: generationId })
    await h.commit({ groupId: 'simple' })
    expect(await remove(h, 'g', 'simple', 'none', 'g')).toEqual([
      ['g', ErrorCode.NON_EMPTY_GROUP],
      ['simple', 0],
      ['none', ErrorCode.GROUP_ID_NOT_FOUND],
    ])
    h.leave([{ memberId: ids[0]! }])
    expect(await remove(h, 'g')).toEqual([['g', 0]])
    expect(h.coordinator.stats()).toMatchObject({ groups: 0, offsets: 0, deadlines: 0 })
    expect((await h.restarted()).coordinator.stats()).toMatchObject({ groups: 0, offsets: 0 })
    expect(h.state()).toBe('Dead')
  })

  it('deletes commits that are on their way', async () => {
    const h = new Harness()
    await h.commit({ partition: 0 })
    h.log.hold()
    const commit = h.commit({ partition: 1 })
    const deleted = remove(h, 'g')
    await settled()
    h.log.release()
    expect([await commit, await deleted]).toEqual([0, [['g', 0]]])
    expect(h.coordinator.stats()).toMatchObject({ groups: 0, offsets: 0 })
  })

  it('leaves alone what came after it: a commit, or a member', async () => {
    const h = new Harness()
    const { ids } = await h.stable(1)
    h.leave([{ memberId: ids[0]! }])
    await h.commit({ partition: 0 })
    h.log.hold()
    const deleted = remove(h, 'g')
    const commit = h.commit({ partition: 1, offset: 5 })
    const joined = h.join({ groupInstanceId: 'i' })
    await settled()
    h.log.release()
    expect([await deleted, await commit]).toEqual([[['g', 0]], 0])
    await h.advance(1)
    expect(joined.answer?.errorCode).toBe(0)
    expect(await h.offsets()).toEqual({ 'orders-1': 5 })
    await h.sync({ memberId: joined.answer!.memberId, generationId: joined.answer!.generationId }).promise
    const next = await h.restarted()
    expect(await next.offsets()).toEqual({ 'orders-1': 5 })
    expect(next.describe()).toMatchObject({ groupState: 'Stable', members: [{ groupInstanceId: 'i' }] })
  })

  it('that cannot be written down deletes nothing', async () => {
    const h = new Harness()
    await h.commit()
    h.log.failNext('KAFKA_STORAGE_ERROR')
    expect(await remove(h, 'g')).toEqual([['g', ErrorCode.NOT_COORDINATOR]])
    expect(await h.offsets()).toEqual({ 'orders-0': 1 })
  })
})

describe('ListGroups and DescribeGroups', () => {
  const context = { apiVersion: 5, clientId: 'c', clientHost: '/h' }

  it('list groups by state and type, whatever the case', async () => {
    const h = new Harness()
    await h.stable(1, { groupId: 'busy' })
    await h.commit({ groupId: 'idle' })
    const list = (statesFilter: string[], typesFilter: string[]) =>
      h.coordinator.listGroups(context, { statesFilter, typesFilter }).groups.map(({ groupId }) => groupId)
    expect(list([], [])).toEqual(['busy', 'idle'])
    expect(list(['stable'], [])).toEqual(['busy'])
    expect(list(['Empty', 'Dead'], ['CLASSIC'])).toEqual(['idle'])
    expect(list([], ['consumer'])).toEqual([])
    expect(list(['nonsense'], [])).toEqual([])
    expect(h.coordinator.listGroups(context, { statesFilter: [], typesFilter: [] })).toMatchObject({
      errorCode: 0,
      groups: [
        { groupId: 'busy', protocolType: 'consumer', groupState: 'Stable', groupType: 'classic' },
        { groupId: 'idle', protocolType: '', groupState: 'Empty', groupType: 'classic' },
      ],
    })
  })

  it('describe members with metadata once the group is stable', async () => {
    const h = new Harness()
    const { ids } = await h.stable(1, { clientId: 'app' })
    expect(h.describe()).toMatchObject({
      errorCode: 0,
      groupState: 'Stable',
      protocolType: 'consumer',
      protocolData: 'range',
      members: [{ memberId: ids[0], groupInstanceId: null, clientId: 'app', clientHost: '/127.0.0.1' }],
    })
    expect(h.describe().members[0]!.memberMetadata).toEqual(subscription('orders'))
    await h.joinTwice()
    expect(h.describe()).toMatchObject({ groupState: 'PreparingRebalance', protocolData: '' })
    expect(h.describe().members[0]!.memberMetadata).toHaveLength(0)
  })

  it('call a group that is missing dead, and from version 6 on not found (KIP-1043)', () => {
    const h = new Harness()
    expect(h.describe('none', 5)).toMatchObject({ errorCode: 0, groupState: 'Dead', members: [], errorMessage: null })
    expect(h.describe('none', 6)).toMatchObject({
      errorCode: 69,
      groupState: 'Dead',
      errorMessage: 'Group none not found.',
    })
  })
})

describe('FindCoordinator', () => {
  const endpointOf = (nodeId: number) => (nodeId === 1 ? { nodeId, host: 'here', port: 9092 } : undefined)
  const here = { nodeId: 1, host: 'here', port: 9092, errorCode: 0, errorMessage: null }

  it('names this broker when it is alone, after making sure of the offsets topic', async () => {
    let made = 0
    const h = new Harness({
      ensureOffsetsTopic: async () => {
        made++
      },
    })
    const request = { key: 'g', keyType: 0, coordinatorKeys: [] }
    expect(await h.coordinator.findCoordinator({ apiVersion: 0, endpointOf }, request)).toMatchObject(here)
    const many = { key: '', keyType: 0, coordinatorKeys: ['a', 'b'] }
    expect((await h.coordinator.findCoordinator({ apiVersion: 4, endpointOf }, many)).coordinators).toEqual([
      { key: 'a', ...here },
      { key: 'b', ...here },
    ])
    expect(made).toBe(2)
  })

  it('names the leader of the group’s partition where there are several brokers', async () => {
    const h = new Harness({ leaderOf: () => 2 })
    const request = { key: 'g', keyType: 0, coordinatorKeys: [] }
    const endpoint = (nodeId: number) => ({ nodeId, host: `h${nodeId}`, port: 1 })
    const found = await h.coordinator.findCoordinator({ apiVersion: 3, endpointOf: endpoint }, request)
    expect(found).toMatchObject({ nodeId: 2, host: 'h2', errorCode: 0 })
    const dead = await h.coordinator.findCoordinator({ apiVersion: 3, endpointOf }, request)
    expect(dead).toMatchObject({ nodeId: -1, host: '', port: -1, errorCode: 15 })
  })

  it('says that it is not available while the topic cannot be made', async () => {
    const h = new Harness({
      ensureOffsetsTopic: async () => {
        throw new Error('no space')
      },
    })
    const found = await h.coordinator.findCoordinator(
      { apiVersion: 4, endpointOf },
      { key: '', keyType: 0, coordinatorKeys: ['g'] },
    )
    expect(found.coordinators).toMatchObject([{ key: 'g', nodeId: -1, errorCode: 15 }])
    expect(found.coordinators[0]!.errorMessage).toContain('no space')
  })

  it.each([1, 2, 9])('refuses key type %i, which has no coordinator here', async (keyType) => {
    const h = new Harness()
    const found = await h.coordinator.findCoordinator(
      { apiVersion: 2, endpointOf },
      { key: 'x', keyType, coordinatorKeys: [] },
    )
    expect(found).toMatchObject({ errorCode: ErrorCode.INVALID_REQUEST, nodeId: -1 })
  })
})
