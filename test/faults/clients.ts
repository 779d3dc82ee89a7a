// SPDX-License-Identifier: Apache-2.0
// What the fault tests ask of a broker, in a line each. Sockets are WireClient's; nothing is retried here.
import { CreateTopics, Fetch, Produce } from '../../src/protocol/apis/index.ts'
import { batches, encodeBatch, records } from '../../src/protocol/record-batch.ts'
import type { WireClient } from '../util/wire-client.ts'

export async function createTopic(
  client: WireClient,
  name: string,
  options: { partitions?: number; configs?: Record<string, string> } = {},
): Promise<number> {
  const { topics } = await client.request(CreateTopics, 4, {
    timeoutMs: 30_000,
    topics: [
      {
        name,
        numPartitions: options.partitions ?? 1,
        replicationFactor: 1,
        assignments: [],
        configs: Object.entries(options.configs ?? {}).map(([key, value]) => ({ name: key, value })),
      },
    ],
  })
  return topics[0]!.errorCode
}

export function sendProduce(
  client: WireClient,
  topic: string,
  partition: number,
  value: string | Uint8Array,
  acks: -1 | 1 = -1,
): void {
  client.send(Produce, 9, {
    acks,
    timeoutMs: 10_000,
    topicData: [
      {
        name: topic,
        partitionData: [
          {
            index: partition,
            records: encodeBatch({ records: [{ key: null, value: Buffer.from(value), timestampMs: Date.now() }] }),
          },
        ],
      },
    ],
  })
}

export interface Produced {
  readonly errorCode: number
  readonly baseOffset: number
}

export async function producedReply(client: WireClient): Promise<Produced> {
  const { responses } = await client.response(Produce, 9)
  return responses[0]!.partitionResponses[0]!
}

/** One record, one request, one reply. */
export async function produce(
  client: WireClient,
  topic: string,
  partition: number,
  value: string | Uint8Array,
  acks: -1 | 1 = -1,
): Promise<Produced> {
  sendProduce(client, topic, partition, value, acks)
  return producedReply(client)
}

export interface Fetched {
  readonly errorCode: number
  readonly nextOffset: number
  readonly values: Map<number, Buffer>
}

/** One Fetch: the records from `offset` on, at most `bytes` of them, waiting up to `maxWaitMs` for the first. */
export async function fetch(
  client: WireClient,
  topic: string,
  partition: number,
  offset: number,
  options: { bytes?: number; maxWaitMs?: number } = {},
): Promise<Fetched> {
  const { responses } = await client.request(Fetch, 11, {
    maxWaitMs: options.maxWaitMs ?? 0,
    minBytes: options.maxWaitMs === undefined ? 0 : 1,
    topics: [{ topic, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: options.bytes ?? 4 << 20 }] }],
    forgottenTopicsData: [],
  })
  const found = responses[0]!.partitions[0]!
  const values = new Map<number, Buffer>()
  let nextOffset = offset
  for (const batch of batches(found.records ?? new Uint8Array(0), { checkCrc: true })) {
    for (const record of records(batch))
      if (record.offset >= offset) values.set(record.offset, Buffer.from(record.value!))
    nextOffset = batch.nextOffset
  }
  return { errorCode: found.errorCode, nextOffset, values }
}

/** Every record of a partition by offset; throws when a fetch fails or an offset is missing. */
export async function fetchAll(client: WireClient, topic: string, partition: number): Promise<Map<number, Buffer>> {
  const all = new Map<number, Buffer>()
  for (let offset = 0; ; ) {
    const { errorCode, nextOffset, values } = await fetch(client, topic, partition, offset)
    if (errorCode !== 0) throw new Error(`${topic}-${partition}: fetch at ${offset} failed with ${errorCode}`)
    for (const [at, value] of values) {
      if (at !== all.size) throw new Error(`${topic}-${partition}: offset ${at} follows ${all.size - 1}`)
      all.set(at, value)
    }
    if (nextOffset === offset) return all
    offset = nextOffset
  }
}
