// SPDX-License-Identifier: Apache-2.0
// Goal: what a group has committed stays where the group is looked for. Method: over the wire, across restarts with other settings.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { CreatePartitions, FindCoordinator, OffsetCommit, OffsetFetch } from '../../src/protocol/apis/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { WireClient } from '../util/wire-client.ts'

const GROUPS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']

async function withBroker(dir: string, offsetsPartitions: string, use: (client: WireClient) => Promise<void>) {
  const configs = { 'offsets.topic.num.partitions': offsetsPartitions }
  await using broker = await startBroker({ dir, topics: ['orders'], configs })
  const client = await WireClient.connect(broker.bootstrap)
  try {
    await use(client)
  } finally {
    await client.close()
  }
}

async function commit(client: WireClient, groupId: string, committedOffset: number): Promise<number> {
  const partition = { partitionIndex: 0, committedOffset, committedLeaderEpoch: -1, committedMetadata: null }
  const { topics } = await client.request(OffsetCommit, 8, {
    groupId,
    topics: [{ name: 'orders', partitions: [partition] }],
  })
  return topics[0]!.partitions[0]!.errorCode
}

async function committed(client: WireClient, groupId: string): Promise<number> {
  const topics = [{ name: 'orders', partitionIndexes: [0] }]
  // COORDINATOR_LOAD_IN_PROGRESS passes.
  const group = await vi.waitFor(async () => {
    const { groups } = await client.request(OffsetFetch, 8, { groups: [{ groupId, topics }] })
    expect(groups[0]!.errorCode).toBe(0)
    return groups[0]!
  })
  return group.topics[0]!.partitions[0]!.committedOffset
}

it.each([
  ['more', '3', '50'],
  ['fewer', '50', '3'],
])(
  'finds groups by the partitions that the offsets topic has, when the settings ask for %s by now',
  async (...args) => {
    const [, before, after] = args
    const dir = mkdtempSync(join(tmpdir(), 'varve-groups-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    await withBroker(dir, before, async (client) => {
      await client.request(FindCoordinator, 4, { keyType: 0, coordinatorKeys: GROUPS })
      for (const [i, groupId] of GROUPS.entries()) expect(await commit(client, groupId, 100 + i)).toBe(0)
    })
    await withBroker(dir, after, async (client) => {
      for (const [i, groupId] of GROUPS.entries()) {
        expect(await committed(client, groupId)).toBe(100 + i)
        expect(await commit(client, groupId, 200 + i)).toBe(0)
      }
    })
  },
)

it('does not grow the offsets topic, which would move groups away from their offsets', async () => {
  await using broker = await startBroker({ topics: ['orders'] })
  const client = await WireClient.connect(broker.bootstrap)
  await client.request(FindCoordinator, 4, { keyType: 0, coordinatorKeys: ['g'] })
  const topics = [{ name: '__consumer_offsets', count: 60, assignments: null }]
  const { results } = await client.request(CreatePartitions, 2, { topics, timeoutMs: 1000, validateOnly: false })
  expect(results).toMatchObject([{ errorCode: 44 }])
  expect(results[0]!.errorMessage).toContain('keeps its partition count')
  await client.close()
})
