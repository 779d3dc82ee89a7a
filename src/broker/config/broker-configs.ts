// SPDX-License-Identifier: Apache-2.0
// All configs of a broker: Kafka's, and varve's own where Kafka has none.
import { coordinatorConfigs } from './coordinator-configs.ts'
import type { BrokerConfigDefinition } from './definition.ts'
import { logConfigs } from './log-configs.ts'
import { serverConfigs } from './server-configs.ts'

/** Names that Kafka does not know. */
export const varveConfigs: readonly BrokerConfigDefinition[] = [
  {
    name: 'flush.max.delay.ms',
    type: 'int',
    defaultValue: '1000',
    min: 0,
    importance: 'high',
    effect: 'obeyed',
    dynamic: 'read-only',
    doc: 'With flush.mode=commit: how long data that nobody waits for (acks=0 and 1) may stay unsynced.',
  },
  {
    name: 'flush.mode',
    type: 'string',
    defaultValue: 'commit',
    oneOf: ['commit', 'os'],
    importance: 'high',
    effect: 'obeyed',
    dynamic: 'read-only',
    doc: 'commit: acks=all is answered when the data is on stable storage, and consumers see it then. os: the page cache is enough, which is what Apache Kafka does.',
  },
  {
    name: 'log.append.io',
    type: 'string',
    defaultValue: 'auto',
    oneOf: ['auto', 'mmap', 'pwrite'],
    importance: 'medium',
    effect: 'obeyed',
    dynamic: 'read-only',
    doc: 'How bytes reach the page cache: auto copies batches below 8 KiB into a mapping and writes larger ones, whichever costs less; mmap maps all; pwrite writes all, which is what file systems that do not keep what fallocate promises get in any case.',
  },
  {
    name: 'max.decompressed.batch.bytes',
    type: 'long',
    defaultValue: '67109632',
    min: 1,
    importance: 'medium',
    effect: 'obeyed',
    dynamic: 'read-only',
    doc: 'What a compressed batch may decompress to; a larger one is refused with MESSAGE_TOO_LARGE.',
  },
  {
    name: 'strict.produce.validation',
    type: 'boolean',
    defaultValue: 'true',
    importance: 'medium',
    effect: 'obeyed',
    dynamic: 'read-only',
    doc: 'Looks into every batch when it is produced and refuses what would harm consumers. false takes what Apache Kafka takes.',
  },
]

/** By name. */
export const brokerConfigs: readonly BrokerConfigDefinition[] = [
  ...serverConfigs,
  ...logConfigs,
  ...coordinatorConfigs,
  ...varveConfigs,
].sort((a, b) => (a.name < b.name ? -1 : 1))
