// SPDX-License-Identifier: Apache-2.0
// Goal: the oddities of Kafka's protocol on which real clients depend stay as they are. Method: each one over the wire, as a client sees it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ApiVersions,
  CreateTopics,
  DeleteTopics,
  DescribeCluster,
  DescribeConfigs,
  DescribeGroups,
  Fetch,
  FindCoordinator,
  InitProducerId,
  JoinGroup,
  ListOffsets,
  Metadata,
  OffsetFetch,
  OffsetForLeaderEpoch,
  Produce,
} from '../../src/protocol/apis/index.ts'
import { batches, encodeBatch, records } from '../../src/protocol/record-batch.ts'
import { type RunningBroker, startBroker } from '../../src/testing/index.ts'
import { BrokerProcess } from '../util/broker-process.ts'
import { WireClient } from '../util/wire-client.ts'

let broker: RunningBroker
let client: WireClient

beforeAll(async () => {
  broker = await startBroker({
    topics: [
      'one',
      { name: 'three', partitions: 3 },
      { name: 'stamped', configs: { 'message.timestamp.type': 'LogAppendTime' } },
    ],
  })
  client = await WireClient.connect(broker.bootstrap)
})
afterAll(async () => {
  await client.close()
  await broker.stop()
})

const batchOf = (...values: string[]): Uint8Array =>
  encodeBatch({ records: values.map((value) => ({ key: null, value: Buffer.from(value), timestampMs: 1_000 })) })

async function produce(topic: string, batch: Uint8Array, index = 0) {
  const { responses } = await client.request(Produce, 9, {
    acks: -1,
    timeoutMs: 5000,
    topicData: [{ name: topic, partitionData: [{ index, records: batch }] }],
  })
  const answer = responses[0]!.partitionResponses[0]!
  expect(answer.errorCode).toBe(0)
  return answer
}

async function fetch(
  topic: string,
  fetchOffset: number,
  version = 11,
  more: { maxBytes?: number; isolationLevel?: number; partitionMaxBytes?: number } = {},
) {
  const { partitionMaxBytes = 1 << 20, ...request } = more
  const response = await client.request(Fetch, version, {
    maxWaitMs: 0,
    minBytes: 0,
    topics: [{ topic, partitions: [{ partition: 0, fetchOffset, partitionMaxBytes }] }],
    ...(version >= 7 ? { forgottenTopicsData: [] } : {}),
    ...request,
  })
  return { response, partition: response.responses[0]!.partitions[0]! }
}

describe('a request that names one thing many times', () => {
  it('is answered once for each, so that its answer does not outgrow the broker', async () => {
    const many = <T>(one: T): T[] => Array.from({ length: 1000 }, () => one)
    const { topics } = await client.request(Metadata, 9, { topics: many({ name: 'three' }) })
    expect(topics).toHaveLength(1)
    const resources = many({ resourceType: 2, resourceName: 'one', configurationKeys: null })
    expect((await client.request(DescribeConfigs, 4, { resources })).results).toHaveLength(1)
    await client.request(FindCoordinator, 4, { keyType: 0, coordinatorKeys: ['many'] })
    expect((await client.request(DescribeGroups, 5, { groups: many('many') })).groups).toHaveLength(1)
    const everything = many({ groupId: 'many', topics: null })
    expect((await client.request(OffsetFetch, 8, { groups: everything })).groups).toHaveLength(1)
  })
})

describe('Metadata before version 12', () => {
  it('takes no topic ids: INVALID_REQUEST', async () => {
    const topicId = 'AAAAAAAAAAAAAAAAAAAABQ'
    for (const topic of [{ name: null }, { name: 'one', topicId }]) {
      const { brokers, topics } = await client.request(Metadata, 10, { topics: [topic] })
      expect([brokers.length, topics![0]!.errorCode]).toEqual([0, 42])
    }
  })
})

describe('ApiVersions', () => {
  it('answers with header 0 in every version: no tag buffer behind the correlation id', async () => {
    client.send(ApiVersions, 3, { clientSoftwareName: 'x', clientSoftwareVersion: '1' })
    const frame = await client.frame()
    // Error code 0 follows at once.
    expect(frame.readInt16BE(4)).toBe(0)
  })

  it('advertises Produce from 0, every group API from 0, InitProducerId, and nothing that is not served', async () => {
    const { apiKeys } = await client.request(ApiVersions, 3, { clientSoftwareName: 'x', clientSoftwareVersion: '1' })
    const ranges = apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, minVersion, maxVersion])
    expect(ranges.sort(([a], [b]) => a! - b!)).toEqual([
      [0, 0, 13],
      [1, 4, 18],
      [2, 1, 11],
      [3, 0, 13],
      [8, 2, 9],
      [9, 1, 9],
      [10, 0, 6],
      [11, 0, 9],
      [12, 0, 4],
      [13, 0, 5],
      [14, 0, 5],
      [15, 0, 6],
      [16, 0, 5],
      [18, 0, 4],
      [19, 2, 7],
      [20, 1, 6],
      [22, 0, 5],
      [23, 2, 4],
      [32, 1, 4],
      [37, 0, 3],
      [42, 0, 3],
      [60, 0, 2],
    ])
  })

  it('finalizes no feature', async () => {
    const reply = await client.request(ApiVersions, 3, { clientSoftwareName: 'x', clientSoftwareVersion: '1' })
    expect([reply.supportedFeatures, reply.finalizedFeatures]).toEqual([[], []])
  })
})

describe('Metadata', () => {
  it('means all topics by an empty list in version 0, by null later, and none by an empty list', async () => {
    expect((await client.request(Metadata, 0, { topics: [] })).topics.length).toBeGreaterThanOrEqual(3)
    expect((await client.request(Metadata, 1, { topics: null })).topics.length).toBeGreaterThanOrEqual(3)
    expect((await client.request(Metadata, 1, { topics: [] })).topics).toEqual([])
  })

  it('names the address that the client connected to', async () => {
    const [host, port] = broker.bootstrap.split(':')
    const { brokers } = await client.request(Metadata, 9, { topics: [] })
    expect(brokers).toMatchObject([{ host, port: Number(port) }])
    const other = await WireClient.connect(`127.0.0.2:${port}`).catch(() => null)
    // Bound to 127.0.0.1 only.
    expect(other).toBe(null)
  })

  it('names to each client the address that this one connected to, on a listener for all', async () => {
    const everywhere = await startBroker({ listen: '0.0.0.0:0' })
    const port = Number(everywhere.bootstrap.split(':')[1])
    for (const host of ['127.0.0.1', '127.0.0.2']) {
      const its = await WireClient.connect(`${host}:${port}`)
      expect((await its.request(Metadata, 9, { topics: [] })).brokers).toMatchObject([{ host, port }])
      expect(await its.request(FindCoordinator, 3, { key: 'g', keyType: 0 })).toMatchObject({ host, port })
      await its.close()
    }
    await everywhere.stop()
  })

  it('names the advertised address when there is one, also to coordinators and DescribeCluster', async () => {
    const advertised = await startBroker({ configs: { 'advertised.listeners': 'PLAINTEXT://broker.example:1234' } })
    const its = await WireClient.connect(advertised.bootstrap)
    const address = { host: 'broker.example', port: 1234 }
    expect((await its.request(Metadata, 9, { topics: [] })).brokers).toMatchObject([address])
    expect(await its.request(FindCoordinator, 3, { key: 'g', keyType: 0 })).toMatchObject({ errorCode: 0, ...address })
    expect(
      (await its.request(DescribeCluster, 0, { includeClusterAuthorizedOperations: false })).brokers,
    ).toMatchObject([address])
    await its.close()
    await advertised.stop()
  })

  it('makes topics only when the request and the broker allow it', async () => {
    const ask = async (name: string, allow: boolean) =>
      (await client.request(Metadata, 9, { topics: [{ name }], allowAutoTopicCreation: allow })).topics[0]!.errorCode
    expect(await ask('auto-no', false)).toBe(3)
    expect(await ask('auto-yes', true)).toBe(0)
    // Versions below 4 have no flag: they allow it.
    expect((await client.request(Metadata, 1, { topics: [{ name: 'auto-old' }] })).topics[0]!.errorCode).toBe(0)
    const strict = await startBroker({ configs: { 'auto.create.topics.enable': 'false' } })
    const its = await WireClient.connect(strict.bootstrap)
    expect(
      (await its.request(Metadata, 9, { topics: [{ name: 'x' }], allowAutoTopicCreation: true })).topics[0]!.errorCode,
    ).toBe(3)
    await its.close()
    await strict.stop()
  })

  it('gives a topic one id for its life, and another when it is made again', async () => {
    const create = () =>
      client.request(CreateTopics, 7, {
        topics: [{ name: 'again', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
      })
    const id = async () => (await client.request(Metadata, 12, { topics: [{ name: 'again' }] })).topics[0]!.topicId
    const first = (await create()).topics[0]!.topicId
    expect(await id()).toBe(first)
    expect((await client.request(Metadata, 12, { topics: [{ name: null, topicId: first }] })).topics[0]).toMatchObject({
      errorCode: 0,
      name: 'again',
    })
    await produce('again', batchOf('old'))
    expect(
      (await client.request(DeleteTopics, 6, { topics: [{ topicId: first }], timeoutMs: 1000 })).responses[0]!
        .errorCode,
    ).toBe(0)
    expect((await client.request(Metadata, 12, { topics: [{ name: null, topicId: first }] })).topics[0]).toMatchObject({
      errorCode: 100,
      name: null,
    })
    const second = (await create()).topics[0]!.topicId
    expect(second).not.toBe(first)
    // Nothing of the old one is there.
    expect((await fetch('again', 0)).partition).toMatchObject({ errorCode: 0, highWatermark: 0 })
    const byOldId = await client.request(Fetch, 13, {
      maxWaitMs: 0,
      minBytes: 0,
      topics: [{ topicId: first, partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 100 }] }],
      forgottenTopicsData: [],
    })
    expect(byOldId.responses[0]!.partitions[0]!.errorCode).toBe(100)
  })
})

describe('empty arrays', () => {
  it('are never null where Java tools would fall over them', async () => {
    const created = await client.request(CreateTopics, 7, {
      topics: [
        { name: 'arrays', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] },
        { name: 'bad name', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] },
      ],
    })
    for (const { configs } of created.topics) expect(configs).not.toBe(null)
    const described = await client.request(DescribeConfigs, 4, {
      resources: [{ resourceType: 2, resourceName: 'one', configurationKeys: null }],
    })
    for (const { synonyms } of described.results[0]!.configs) expect(synonyms).toEqual([])
  })
})

describe('Fetch', () => {
  it('gives at least one whole batch, whatever the limits, which may begin before the offset', async () => {
    const { baseOffset } = await produce('one', batchOf('a'.repeat(10_000), 'b', 'c'))
    const { partition } = await fetch('one', baseOffset + 2, 11, { maxBytes: 1, partitionMaxBytes: 1 })
    const [batch] = [...batches(partition.records!)]
    expect(batch!.baseOffset).toBe(baseOffset)
    expect([...records(batch!)].map((record) => record.offset)).toEqual([baseOffset, baseOffset + 1, baseOffset + 2])
  })

  it('answers partitions in the order of the request, and declines sessions with id 0', async () => {
    const response = await client.request(Fetch, 11, {
      maxWaitMs: 0,
      minBytes: 0,
      sessionId: 0,
      sessionEpoch: 0,
      topics: [
        {
          topic: 'three',
          partitions: [2, 0, 1].map((partition) => ({ partition, fetchOffset: 0, partitionMaxBytes: 100 })),
        },
        { topic: 'one', partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 100 }] },
      ],
      forgottenTopicsData: [],
    })
    expect(response).toMatchObject({ errorCode: 0, sessionId: 0 })
    expect(response.responses.map(({ topic }) => topic)).toEqual(['three', 'one'])
    expect(response.responses[0]!.partitions.map(({ partitionIndex }) => partitionIndex)).toEqual([2, 0, 1])
  })

  it('has the same records in every version, compact or not, with offset and epoch patched and the CRC right', async () => {
    const { baseOffset } = await produce('one', batchOf('same'))
    const { topics } = await client.request(Metadata, 12, { topics: [{ name: 'one' }] })
    const seen = new Set<string>()
    for (let version = 4; version <= 18; version++) {
      const response = await client.request(Fetch, version, {
        maxWaitMs: 0,
        minBytes: 0,
        topics: [
          {
            ...(version >= 13 ? { topicId: topics[0]!.topicId } : { topic: 'one' }),
            partitions: [{ partition: 0, fetchOffset: baseOffset, partitionMaxBytes: 1 << 20 }],
          },
        ],
        ...(version >= 7 ? { forgottenTopicsData: [] } : {}),
      })
      const bytes = response.responses[0]!.partitions[0]!.records!
      const [batch] = [...batches(bytes, { checkCrc: true })]
      expect([batch!.baseOffset, batch!.leaderEpoch]).toEqual([baseOffset, topics[0]!.partitions[0]!.leaderEpoch])
      seen.add(Buffer.from(bytes).toString('hex'))
    }
    expect(seen.size).toBe(1)
  })

  it('fills in last stable offset and aborted transactions for read_committed', async () => {
    const { partition } = await fetch('one', 0, 11, { isolationLevel: 1 })
    expect(partition.lastStableOffset).toBe(partition.highWatermark)
    expect(partition.abortedTransactions).toEqual([])
    expect((await fetch('one', 0)).partition.abortedTransactions).toBe(null)
  })
})

describe('LogAppendTime', () => {
  it('is answered, stored in every record, and covered by the CRC', async () => {
    const from = Date.now()
    const { baseOffset, logAppendTimeMs } = await produce('stamped', batchOf('a', 'b'))
    expect(logAppendTimeMs).toBeGreaterThanOrEqual(from)
    const { partition } = await fetch('stamped', baseOffset)
    const [batch] = [...batches(partition.records!, { checkCrc: true })]
    expect([...records(batch!)].map((record) => record.timestampMs)).toEqual([logAppendTimeMs, logAppendTimeMs])
  })
})

describe('leader epochs', () => {
  it('are real, and OffsetForLeaderEpoch 2 answers for them', async () => {
    const { topics } = await client.request(Metadata, 9, { topics: [{ name: 'one' }] })
    const { leaderEpoch } = topics[0]!.partitions[0]!
    expect(leaderEpoch).toBeGreaterThanOrEqual(0)
    const ask = async (partition: { currentLeaderEpoch?: number; leaderEpoch: number }) => {
      const reply = await client.request(OffsetForLeaderEpoch, 2, {
        topics: [{ topic: 'one', partitions: [{ partition: 0, ...partition }] }],
      })
      return reply.topics[0]!.partitions[0]!
    }
    const { partition } = await fetch('one', 0)
    expect(await ask({ leaderEpoch })).toMatchObject({ errorCode: 0, leaderEpoch, endOffset: partition.highWatermark })
    expect(await ask({ leaderEpoch: leaderEpoch + 1 })).toMatchObject({ errorCode: 0, leaderEpoch: -1, endOffset: -1 })
    expect((await ask({ leaderEpoch, currentLeaderEpoch: leaderEpoch + 1 })).errorCode).toBe(75)
  })

  it('rise with every start of the broker, and older ones are fenced', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'varve-epochs-'))
    const epochs: number[] = []
    for (let start = 0; start < 3; start++) {
      const restarted = await startBroker({ dir, topics: ['t'] })
      const its = await WireClient.connect(restarted.bootstrap)
      const { topics } = await its.request(Metadata, 9, { topics: [{ name: 't' }] })
      epochs.push(topics[0]!.partitions[0]!.leaderEpoch)
      const fenced = await its.request(ListOffsets, 4, {
        replicaId: -1,
        topics: [{ name: 't', partitions: [{ partitionIndex: 0, timestamp: -1, currentLeaderEpoch: start - 1 }] }],
      })
      expect(fenced.topics[0]!.partitions[0]!.errorCode).toBe(start === 0 ? 0 : 74)
      await its.close()
      await restarted.stop()
    }
    expect(epochs).toEqual([0, 1, 2])
    rmSync(dir, { recursive: true })
  })
})

describe('groups and producers', () => {
  it('JoinGroup 4 sends a new member back for its id, older versions take it at once', async () => {
    const join = (version: number, groupId: string) =>
      client.request(JoinGroup, version, {
        groupId,
        sessionTimeoutMs: 10_000,
        rebalanceTimeoutMs: 10_000,
        memberId: '',
        protocolType: 'anything-goes',
        protocols: [{ name: 'p', metadata: Buffer.from([0, 255]) }],
      })
    await client.request(FindCoordinator, 1, { key: 'new' })
    const refused = await join(4, 'new')
    expect(refused.errorCode).toBe(79)
    expect(refused.memberId).not.toBe('')
    expect((await join(3, 'old')).errorCode).toBe(0)
  })

  it('a broker in memory waits for nobody at the first rebalance, one with a directory for three seconds', async () => {
    const wanted = async (its: WireClient, nodeId: string) => {
      const { results } = await its.request(DescribeConfigs, 4, {
        resources: [{ resourceType: 4, resourceName: nodeId, configurationKeys: ['group.initial.rebalance.delay.ms'] }],
      })
      return results[0]!.configs[0]!.value
    }
    expect(await wanted(client, '1')).toBe('0')
    const delayOf = async (...args: string[]): Promise<string | null> => {
      const served = await BrokerProcess.start([...args, '--listen', '127.0.0.1:0', '--log-level', 'warn'])
      const its = await WireClient.connect(served.bootstrap)
      const value = await wanted(its, '1')
      await its.close()
      await served.stop()
      return value
    }
    const dir = mkdtempSync(join(tmpdir(), 'varve-delay-'))
    expect([await delayOf('--memory'), await delayOf('--data', dir)]).toEqual(['0', '3000'])
    rmSync(dir, { recursive: true })
  })

  it('InitProducerId gives ids that never repeat, also to a producer that says 0/0', async () => {
    const ids = new Set<bigint>()
    for (let i = 0; i < 1500; i++)
      client.send(InitProducerId, 3, {
        transactionalId: null,
        transactionTimeoutMs: 0,
        producerId: 0n,
        producerEpoch: 0,
      })
    for (let i = 0; i < 1500; i++) {
      const { errorCode, producerId, producerEpoch } = await client.response(InitProducerId, 3)
      expect([errorCode, producerEpoch]).toEqual([0, 0])
      ids.add(producerId)
    }
    expect(ids.size).toBe(1500)
    const half = { transactionalId: null, transactionTimeoutMs: 0, producerId: 7n }
    expect(await client.request(InitProducerId, 3, half)).toMatchObject({ errorCode: 42, producerEpoch: -1 })
  })

  it('ids do not repeat over restarts, clean or not', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'varve-ids-'))
    const ids = new Set<bigint>()
    for (let start = 0; start < 3; start++) {
      const restarted = await startBroker({ dir })
      const its = await WireClient.connect(restarted.bootstrap)
      for (let i = 0; i < 3; i++)
        ids.add((await its.request(InitProducerId, 0, { transactionalId: null, transactionTimeoutMs: 0 })).producerId)
      await its.close()
      await restarted.stop()
    }
    expect(ids.size).toBe(9)
    rmSync(dir, { recursive: true })
  })
})

describe('throttle time', () => {
  it('is 0 in every answer that has it', async () => {
    expect((await client.request(Metadata, 9, { topics: [] })).throttleTimeMs).toBe(0)
    expect((await fetch('one', 0)).response.throttleTimeMs).toBe(0)
  })
})
