// SPDX-License-Identifier: Apache-2.0
// Logs that lie in the directories when a broker starts in them for the first time: what a stopped Apache Kafka wrote. They become
// topics with the ids in their partition.metadata and go on in a later leader epoch; their configs are the defaults. On later starts
// a log that the metadata doesn't know is what was left of a deleted topic: never served, removed when its name is used again.
import type { Logger } from 'pino'
import type { NativeEngine } from '../storage/native.ts'
import type { ProducerIds } from './producer-ids.ts'
import type { Topics } from './topics.ts'

// Producers that were given an id and wrote nothing that is still there may come back with it.
const PRODUCER_IDS_SKIPPED = 1_000_000

export async function importLogs(
  engine: NativeEngine,
  topics: Topics,
  producerIds: ProducerIds,
  log: Logger,
  notTopics: ReadonlySet<string>,
  firstStart: boolean,
): Promise<void> {
  const unknown = new Map<string, number[]>()
  for (const { topic, partition } of engine.logs()) {
    if (notTopics.has(topic) || topics.get(topic) !== undefined) continue
    const partitions = unknown.get(topic)
    if (partitions === undefined) unknown.set(topic, [partition])
    else partitions.push(partition)
  }
  if (firstStart && unknown.size > 0) {
    // An id given twice would make the log take a new producer's batches for those of an old one that it has already.
    const largest = engine.logs().map((at) => engine.findLog(at.topic, at.partition)?.largestProducerId() ?? -1)
    await producerIds.skipTo(largest.reduce((a, b) => Math.max(a, b), 0) + PRODUCER_IDS_SKIPPED)
  }
  for (const [name, partitions] of unknown) {
    if (!firstStart) {
      log.warn({ topic: name, partitions: partitions.length }, 'log on disk belongs to no topic; it is not served')
      continue
    }
    try {
      const id = engine.readTopicId(name, partitions[0]!)
      const latestEpochs = partitions.map((partition) => engine.findLog(name, partition)?.latestEpoch() ?? -1)
      await topics.create({
        name,
        // A partition whose directory is missing begins empty.
        partitionCount: Math.max(...partitions) + 1,
        replicationFactor: 1,
        assignments: [],
        overrides: new Map(name === '__consumer_offsets' ? [['cleanup.policy', 'compact']] : []),
        reachedEpoch: Math.max(...latestEpochs),
        ...(id ? { id } : {}),
      })
      log.info({ topic: name, partitions: partitions.length }, 'topic found on disk')
    } catch (error) {
      log.error({ err: error, topic: name }, 'topic on disk could not be taken over')
    }
  }
}
