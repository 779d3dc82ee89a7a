// SPDX-License-Identifier: Apache-2.0
// startBroker(): the real broker in this process, on a port of its own. Owns defaults that fit a test: memory, an ephemeral port, no
// waiting for the first rebalance, no log output.
import { pino } from 'pino'
import { Broker } from '../broker/broker.ts'
import { BrokerConfig } from '../broker/config/config.ts'
import { parseListenAddress } from '../broker/listeners.ts'
import { checkOptionNames } from '../util/options.ts'
import { systemSeams } from '../util/system-seams.ts'

export interface StartBrokerOptions {
  /** Topics to make at once: a name has one partition. */
  readonly topics?: ReadonlyArray<
    | string
    | { readonly name: string; readonly partitions?: number; readonly configs?: Readonly<Record<string, string>> }
  >
  /** Kafka's broker configs. */
  readonly configs?: Readonly<Record<string, string>>
  /** Keep records in this directory instead of in memory. */
  readonly dir?: string
  /** Where to listen, HOST:PORT or unix:PATH. Default 127.0.0.1 with a free port. */
  readonly listen?: string
}

export interface RunningBroker extends AsyncDisposable {
  /** HOST:PORT (or unix:PATH) for clients. */
  readonly bootstrap: string
  readonly clusterId: string
  /** Stops it cleanly; what was in memory is gone. Idempotent. */
  stop(): Promise<void>
}

const OPTION_NAMES = ['topics', 'configs', 'dir', 'listen'] as const satisfies ReadonlyArray<keyof StartBrokerOptions>

/**
 * Starts a broker in this process.
 * @throws TypeError for options that there are not; StorageError LOCKED when another process has `dir`; KafkaError INVALID_CONFIG or INVALID_TOPIC_EXCEPTION for bad options.
 */
export async function startBroker(options: StartBrokerOptions = {}): Promise<RunningBroker> {
  checkOptionNames('startBroker', options, OPTION_NAMES)
  if (options.topics !== undefined && !Array.isArray(options.topics))
    throw new TypeError(`topics must be an array, got ${typeof options.topics}`)
  for (const name of ['log.dirs', 'log.dir', 'listeners'])
    if (options.configs?.[name] !== undefined)
      throw new TypeError(`configs must not have ${name}: the options dir and listen say that`)
  const memory = options.dir === undefined
  const set: Record<string, string> = { 'group.initial.rebalance.delay.ms': '0', ...options.configs }
  if (options.dir !== undefined) set['log.dirs'] = options.dir
  const broker = await Broker.start({
    config: new BrokerConfig(set),
    memory,
    listen: [parseListenAddress(options.listen ?? '127.0.0.1:0')],
    seams: systemSeams,
    log: pino({ level: 'silent' }),
  })
  try {
    for (const topic of options.topics ?? []) {
      const { name, partitions = 1, configs = {} } = typeof topic === 'string' ? { name: topic } : topic
      if (broker.topics.get(name) !== undefined) continue
      await broker.topics.create({
        name,
        partitionCount: partitions,
        replicationFactor: 1,
        assignments: [],
        overrides: new Map(Object.entries(configs)),
      })
    }
  } catch (error) {
    await broker.stop()
    throw error
  }
  const address = broker.listeners.addresses[0]!
  const stop = (): Promise<void> => broker.stop()
  return {
    bootstrap: address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`,
    clusterId: broker.clusterId,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}
