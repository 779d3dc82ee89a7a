// SPDX-License-Identifier: Apache-2.0
// What listeners, dispatch and handlers may ask of the broker that they run in: its parts, never how they are started and stopped
// (broker.ts, which provides this).
import type { Logger } from 'pino'
import type { GroupCoordinator } from '../coordinator/group-coordinator.ts'
import type { DataPlane } from '../partition/data-plane.ts'
import type { Seams } from '../util/seams.ts'
import type { BrokerConfig } from './config/config.ts'
import type { ProducerIds } from './producer-ids.ts'
import type { Topics } from './topics.ts'

export interface BrokerServices {
  readonly config: BrokerConfig
  readonly seams: Seams
  readonly log: Logger
  readonly nodeId: number
  readonly clusterId: string
  readonly rack: string | null
  readonly plane: DataPlane
  readonly topics: Topics
  readonly producerIds: ProducerIds
  readonly groups: GroupCoordinator
  /** The address that a client is told to connect to. */
  addressFor(client: {
    readonly listenerName: string
    readonly localAddress: { readonly host: string; readonly port: number } | null
  }): { host: string; port: number }
  /** Makes __consumer_offsets when it is missing. */
  ensureOffsetsTopic(): Promise<void>
}
