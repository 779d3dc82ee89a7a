// SPDX-License-Identifier: Apache-2.0
// Goal: topics that another version stored do not keep a broker from starting. Method: a topic's record is put into a stopped broker's
// metadata log as a version with other configs and bounds would have.
import { expect, it, onTestFinished } from 'vitest'
import { BrokerConfig, TopicConfig } from '../../src/broker/config/config.ts'
import { METADATA_LOG } from '../../src/broker/topics.ts'
import { LocalMetadataStore } from '../../src/cluster/local-metadata-store.ts'
import { DataPlane } from '../../src/partition/data-plane.ts'
import { DescribeConfigs, Metadata, Produce } from '../../src/protocol/apis/index.ts'
import { encodeBatch } from '../../src/protocol/record-batch.ts'
import { native } from '../../src/storage/native.ts'
import { startBroker } from '../../src/testing/index.ts'
import { systemSeams } from '../../src/util/system-seams.ts'
import { newDirectory } from '../lifecycle/child.ts'
import { WireClient } from '../util/wire-client.ts'

/** Replaces what the broker's metadata says of a topic's configs. */
async function storeConfigs(dir: string, topic: string, configs: Record<string, string>): Promise<void> {
  const config = new TopicConfig(new BrokerConfig({}), {}).partition()
  const engine = await native.openEngine({
    directories: [dir],
    memory: false,
    appendIo: 'mmap',
    flushMode: 'commit',
    flushMaxDelayMs: 1000,
    checkpointIntervalMs: 60_000,
    producerIdExpirationMs: 86_400_000,
    defaults: config.log,
  })
  const plane = new DataPlane(
    engine,
    {
      requestBytesMax: 1 << 20,
      outputBytesMax: 1 << 20,
      receivedBytesMax: 1 << 20,
      fetchBytesMax: 1 << 20,
      frameDeadlineMs: 1000,
      writeDeadlineMs: 1000,
      requestsInFlightMax: 10,
    },
    systemSeams,
  )
  const log = plane.openPartition(METADATA_LOG, 0, config)
  log.applyState({ isLeader: true, leaderId: 0, leaderEpoch: 0, localId: 0, isr: [0], minInsyncReplicas: 1 })
  const store = LocalMetadataStore.open(log, systemSeams.clock)
  const key = `/topics/${topic}`
  const record = JSON.parse(store.get(key)!.value) as object
  await store.txn([], [{ put: key, value: JSON.stringify({ ...record, configs }) }])
  await store.close()
  plane.close()
  await engine.close()
}

it('starts with topic configs that are unknown or out of bounds here: their defaults hold, the others stay', async () => {
  const dir = newDirectory({ onTestFinished })
  await (await startBroker({ dir, topics: ['orders'] })).stop()
  await storeConfigs(dir, 'orders', {
    'retention.ms': '-7',
    'segment.bytes': 'many',
    'config.of.tomorrow': 'on',
    'max.message.bytes': '5000',
  })
  await using broker = await startBroker({ dir })
  const client = await WireClient.connect(broker.bootstrap)
  onTestFinished(() => client.close())
  const { topics } = await client.request(Metadata, 8, { topics: [{ name: 'orders' }], allowAutoTopicCreation: false })
  expect(topics[0]!.errorCode).toBe(0)
  const { results } = await client.request(DescribeConfigs, 1, {
    resources: [{ resourceType: 2, resourceName: 'orders', configurationKeys: null }],
  })
  const configs = new Map(results[0]!.configs.map(({ name, value, configSource }) => [name, { value, configSource }]))
  expect(configs.get('retention.ms')).toEqual({ value: '604800000', configSource: 5 })
  expect(configs.get('segment.bytes')).toEqual({ value: '1073741824', configSource: 5 })
  expect(configs.get('max.message.bytes')).toEqual({ value: '5000', configSource: 1 })
  const records = encodeBatch({ records: [{ key: null, value: Buffer.from('x'), timestampMs: Date.now() }] })
  const { responses } = await client.request(Produce, 9, {
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: 'orders', partitionData: [{ index: 0, records }] }],
  })
  expect(responses[0]!.partitionResponses[0]!.errorCode).toBe(0)
})
