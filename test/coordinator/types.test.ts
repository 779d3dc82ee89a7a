// SPDX-License-Identifier: Apache-2.0
// The coordinator's plain objects against the protocol tables: requests fit as they are decoded (checked by tsc), and
// what is answered can be encoded in every version that is served.
import { describe, expect, expectTypeOf, it } from 'vitest'
import type * as types from '../../src/coordinator/types.ts'
import type { AnyApi, Request, ResponseInit } from '../../src/protocol/api.ts'
import { DeleteGroups } from '../../src/protocol/apis/delete-groups.ts'
import { DescribeGroups } from '../../src/protocol/apis/describe-groups.ts'
import { FindCoordinator } from '../../src/protocol/apis/find-coordinator.ts'
import { Heartbeat } from '../../src/protocol/apis/heartbeat.ts'
import { JoinGroup } from '../../src/protocol/apis/join-group.ts'
import { LeaveGroup } from '../../src/protocol/apis/leave-group.ts'
import { ListGroups } from '../../src/protocol/apis/list-groups.ts'
import { OffsetCommit } from '../../src/protocol/apis/offset-commit.ts'
import { OffsetFetch } from '../../src/protocol/apis/offset-fetch.ts'
import { SyncGroup } from '../../src/protocol/apis/sync-group.ts'
import { Harness, overTheWire, subscription } from './harness.ts'

it('decoded requests are what the coordinator takes, and its answers what the tables encode', () => {
  expectTypeOf<Request<typeof JoinGroup>>().toExtend<types.JoinGroupRequest>()
  expectTypeOf<types.JoinGroupResponse>().toExtend<ResponseInit<typeof JoinGroup>>()
  expectTypeOf<Request<typeof SyncGroup>>().toExtend<types.SyncGroupRequest>()
  expectTypeOf<types.SyncGroupResponse>().toExtend<ResponseInit<typeof SyncGroup>>()
  expectTypeOf<Request<typeof Heartbeat>>().toExtend<types.HeartbeatRequest>()
  expectTypeOf<types.HeartbeatResponse>().toExtend<ResponseInit<typeof Heartbeat>>()
  expectTypeOf<Request<typeof LeaveGroup>>().toExtend<types.LeaveGroupRequest>()
  expectTypeOf<types.LeaveGroupResponse>().toExtend<ResponseInit<typeof LeaveGroup>>()
  expectTypeOf<Request<typeof OffsetCommit>>().toExtend<types.OffsetCommitRequest>()
  expectTypeOf<types.OffsetCommitResponse>().toExtend<ResponseInit<typeof OffsetCommit>>()
  expectTypeOf<Request<typeof OffsetFetch>>().toExtend<types.OffsetFetchRequest>()
  expectTypeOf<types.OffsetFetchResponse>().toExtend<ResponseInit<typeof OffsetFetch>>()
  expectTypeOf<Request<typeof FindCoordinator>>().toExtend<types.FindCoordinatorRequest>()
  expectTypeOf<types.FindCoordinatorResponse>().toExtend<ResponseInit<typeof FindCoordinator>>()
  expectTypeOf<Request<typeof DescribeGroups>>().toExtend<types.DescribeGroupsRequest>()
  expectTypeOf<types.DescribeGroupsResponse>().toExtend<ResponseInit<typeof DescribeGroups>>()
  expectTypeOf<Request<typeof ListGroups>>().toExtend<types.ListGroupsRequest>()
  expectTypeOf<types.ListGroupsResponse>().toExtend<ResponseInit<typeof ListGroups>>()
  expectTypeOf<Request<typeof DeleteGroups>>().toExtend<types.DeleteGroupsRequest>()
  expectTypeOf<types.DeleteGroupsResponse>().toExtend<ResponseInit<typeof DeleteGroups>>()
})

/** The request as a client of this version sends it, and the broker decodes it. */
function sent<A extends { request: { types: { out: unknown; in: unknown } } }>(
  api: A,
  version: number,
  request: A['request']['types']['in'],
): A['request']['types']['out'] {
  const message = (api as unknown as AnyApi).request
  return message.decode(version, message.encode(version, request as never))
}

function versionsOf({ served: [min, max] }: { served: readonly [number, number] }): number[] {
  return Array.from({ length: max - min + 1 }, (_, i) => min + i)
}

const contextOf = (apiVersion: number) => ({ apiVersion, clientId: 'c', clientHost: '/h' })
const endpointOf = (nodeId: number) => ({ nodeId, host: 'h', port: 9092 })
const topics = [{ name: 'orders', partitionIndexes: [0] }]
const partitions = [{ partitionIndex: 0, committedOffset: 5, committedMetadata: null }]
const join = { groupId: 'g', sessionTimeoutMs: 6000, memberId: '', protocolType: 'consumer' }
const protocols = [{ name: 'range', metadata: subscription('orders') }]

describe('every served version', () => {
  it.each(versionsOf(JoinGroup))('of JoinGroup %i, admitted and refused', async (version) => {
    const h = new Harness()
    const ask = async (over: object) => {
      const request = sent(JoinGroup, version, { ...join, protocols, ...over })
      return overTheWire(JoinGroup, version, await h.coordinator.joinGroup(contextOf(version), request))
    }
    expect((await ask({ groupId: '' })).errorCode).toBe(24)
    expect((await ask({ memberId: 'who' })).errorCode).toBe(25)
    const { memberId } = version >= 4 ? await ask({}) : { memberId: '' }
    const admitted = ask({ memberId })
    await h.advance(1)
    const answer = await admitted
    expect(answer).toMatchObject({ errorCode: 0, protocolName: 'range', leader: answer.memberId })
  })

  it.each(versionsOf(SyncGroup))('of SyncGroup %i', async (version) => {
    const h = new Harness()
    const { ids } = await h.stable(1)
    const named = version >= 5 ? { protocolType: 'consumer', protocolName: 'range' } : {}
    const request = { groupId: 'g', generationId: 1, memberId: ids[0]!, assignments: [], ...named }
    const ask = async (over: object) => {
      const asked = sent(SyncGroup, version, { ...request, ...over })
      return overTheWire(SyncGroup, version, await h.coordinator.syncGroup(contextOf(version), asked))
    }
    expect(await ask({})).toMatchObject({ errorCode: 0 })
    expect(await ask({ memberId: 'who' })).toMatchObject({ errorCode: 25 })
  })

  it.each(versionsOf(Heartbeat))('of Heartbeat %i', async (version) => {
    const h = new Harness()
    const { ids } = await h.stable(1)
    const request = sent(Heartbeat, version, { groupId: 'g', generationId: 1, memberId: ids[0]! })
    expect(overTheWire(Heartbeat, version, h.coordinator.heartbeat(contextOf(version), request)).errorCode).toBe(0)
  })

  it.each(versionsOf(LeaveGroup))('of LeaveGroup %i', async (version) => {
    const h = new Harness()
    const { ids } = await h.stable(1)
    for (const [memberId, code] of [
      ['who', 25],
      [ids[0]!, 0],
    ] as const) {
      const request = version >= 3 ? { groupId: 'g', members: [{ memberId }] } : { groupId: 'g', memberId }
      const answer = h.coordinator.leaveGroup(contextOf(version), sent(LeaveGroup, version, request))
      const { errorCode, members } = overTheWire(LeaveGroup, version, answer)
      expect(version >= 3 ? members[0]!.errorCode : errorCode).toBe(code)
    }
  })

  it.each(versionsOf(OffsetCommit))('of OffsetCommit %i', async (version) => {
    const h = new Harness()
    const request = sent(OffsetCommit, version, { groupId: 'g', topics: [{ name: 'orders', partitions }] })
    const answer = overTheWire(OffsetCommit, version, await h.coordinator.offsetCommit(contextOf(version), request))
    expect(answer.topics).toMatchObject([{ name: 'orders', partitions: [{ partitionIndex: 0, errorCode: 0 }] }])
    expect(await h.offsets()).toEqual({ 'orders-0': 5 })
  })

  it.each(versionsOf(OffsetFetch))('of OffsetFetch %i', async (version) => {
    const h = new Harness()
    await h.commit({ offset: 5 })
    const asked = version >= 8 ? { groups: [{ groupId: 'g', topics }] } : { groupId: 'g', topics }
    const ask = async () => {
      const request = sent(OffsetFetch, version, asked)
      return overTheWire(OffsetFetch, version, await h.coordinator.offsetFetch(contextOf(version), request))
    }
    const answer = await ask()
    expect((version >= 8 ? answer.groups[0]! : answer).topics[0]!.partitions[0]!.committedOffset).toBe(5)
    h.log.resign()
    const refused = await ask()
    const code = version >= 8 ? refused.groups[0]!.errorCode : refused.errorCode
    expect(version >= 2 ? code : refused.topics[0]!.partitions[0]!.errorCode).toBe(16)
  })

  it.each(versionsOf(FindCoordinator))('of FindCoordinator %i', async (version) => {
    const { coordinator } = new Harness()
    const codeOfKeyType = version === 0 ? [0] : [0, 42]
    for (const [keyType, code] of codeOfKeyType.entries()) {
      const asked = version >= 4 ? { coordinatorKeys: ['g', 'h'] } : { key: 'g' }
      const request = sent(FindCoordinator, version, { ...asked, keyType })
      const found = await coordinator.findCoordinator({ apiVersion: version, endpointOf }, request)
      const answer = overTheWire(FindCoordinator, version, found)
      const one = version >= 4 ? answer.coordinators[1]! : answer
      expect(one).toMatchObject({ errorCode: code, nodeId: code === 0 ? 1 : -1 })
    }
  })

  it.each(versionsOf(DescribeGroups))('of DescribeGroups %i', async (version) => {
    const h = new Harness()
    await h.stable(1)
    const request = sent(DescribeGroups, version, { groups: ['g', 'none'] })
    const answer = overTheWire(DescribeGroups, version, h.coordinator.describeGroups(contextOf(version), request))
    expect(answer.groups).toMatchObject([
      { groupState: 'Stable', errorCode: 0, members: [{}] },
      { groupState: 'Dead', errorCode: version >= 6 ? 69 : 0, members: [] },
    ])
  })

  it.each(versionsOf(ListGroups))('of ListGroups %i', async (version) => {
    const h = new Harness()
    await h.stable(1)
    const request = sent(ListGroups, version, {})
    const answer = overTheWire(ListGroups, version, h.coordinator.listGroups(contextOf(version), request))
    expect(answer).toMatchObject({ errorCode: 0, groups: [{ groupId: 'g', protocolType: 'consumer' }] })
  })

  it.each(versionsOf(DeleteGroups))('of DeleteGroups %i', async (version) => {
    const h = new Harness()
    await h.commit()
    const request = sent(DeleteGroups, version, { groupsNames: ['g', 'none'] })
    const answer = overTheWire(DeleteGroups, version, await h.coordinator.deleteGroups(contextOf(version), request))
    expect(answer.results.map(({ errorCode }) => errorCode)).toEqual([0, 69])
  })
})
