// SPDX-License-Identifier: Apache-2.0
// How fast are the protocol's codecs? The compiled codec beside the interpreter that it replaces, on a small request and
// on a response that is mostly nested arrays. Prints one JSON line a case: operations per second.
import { cpus } from 'node:os'
import { Bench } from 'tinybench'
import { Heartbeat, Metadata } from '../src/protocol/apis/index.ts'
import { readStruct, writeStruct } from '../src/protocol/interpreter.ts'
import { Reader } from '../src/protocol/reader.ts'
import { Writer } from '../src/protocol/writer.ts'

const heartbeat = {
  groupId: 'orders-service',
  generationId: 17,
  memberId: 'consumer-1-0f8fad5b-d9cb-469f-a165-70867728950e',
}
const partitions = Array.from({ length: 6 }, (_, partitionIndex) => ({
  errorCode: 0,
  partitionIndex,
  leaderId: partitionIndex % 3,
  leaderEpoch: 4,
  replicaNodes: [0, 1, 2],
  isrNodes: [0, 1, 2],
  offlineReplicas: [],
}))
const metadata = {
  clusterId: '4L6g3nShT-eMCtK--X86sw',
  controllerId: 1,
  brokers: [0, 1, 2].map((nodeId) => ({ nodeId, host: `broker-${nodeId}.example.com`, port: 9092 })),
  topics: Array.from({ length: 20 }, (_, i) => ({
    errorCode: 0,
    name: `orders.of.region-${i}`,
    topicId: 'PFp_-8y1TXuGV0sfYvK2iQ',
    partitions,
  })),
}

const heartbeatBytes = Heartbeat.request.encode(4, heartbeat)
const metadataBytes = Metadata.response.encode(10, metadata)
const completeMetadata = Metadata.response.complete(metadata)
const writer = new Writer()
const reader = new Reader()

const bench = new Bench({ time: 1000, warmupTime: 500 })
bench.add('encode HeartbeatRequest v4, a frame', () => {
  Heartbeat.encodeRequest(4, 1, 'client', heartbeat)
})
bench.add('encode HeartbeatRequest v4, the body', () => {
  writer.begin()
  Heartbeat.request.encodeTo(writer, 4, heartbeat)
})
bench.add('decode HeartbeatRequest v4', () => {
  Heartbeat.decodeRequest(4, heartbeatBytes, 0)
})
bench.add('encode MetadataResponse v10, a frame', () => {
  Metadata.encodeResponse(10, 1, completeMetadata)
})
bench.add('decode MetadataResponse v10', () => {
  Metadata.response.decode(10, metadataBytes)
})
bench.add('encode MetadataResponse v10, interpreted', () => {
  writer.begin()
  writeStruct(Metadata.response.fields, { version: 10, flexible: true }, writer, completeMetadata)
  writer.finish()
})
bench.add('decode MetadataResponse v10, interpreted', () => {
  readStruct(Metadata.response.fields, { version: 10, flexible: true }, reader.open(metadataBytes, 0, Infinity, false))
})
await bench.run()

console.log(JSON.stringify({ cpu: cpus()[0]?.model, node: process.version, metadataBytes: metadataBytes.length }))
for (const { name, result } of bench.tasks) {
  if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`)
  console.log(JSON.stringify({ name, opsPerSecond: Math.round(result.throughput.mean), p50: result.throughput.p50 }))
}
