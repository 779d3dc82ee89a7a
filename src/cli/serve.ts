// SPDX-License-Identifier: Apache-2.0
// `varve serve`: a broker in this process until SIGTERM or SIGINT. Owns flags, the config file, the ready line and the signals.
import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { type Logger, pino } from 'pino'
import { Broker } from '../broker/broker.ts'
import { BrokerConfig } from '../broker/config/config.ts'
import { type ListenAddress, parseAdvertised, parseListenAddress } from '../broker/listeners.ts'
import { KafkaError } from '../errors.ts'
import { native } from '../storage/native.ts'
import { StorageError } from '../storage/storage-error.ts'
import { parseProperties } from '../util/properties.ts'
import { systemSeams } from '../util/system-seams.ts'

type Setting = readonly [name: string, value: string]

interface ServeFlags {
  readonly data?: string
  readonly listen?: string[]
  readonly advertise?: string[]
  readonly nodeId?: string
  readonly ioThreads: string
  readonly config?: string
  readonly set?: Setting[]
  readonly memory?: true
  readonly logLevel: string
}

const DEFAULT_LISTEN = '127.0.0.1:9092'
// What 10,000 partitions with their connections want; below it the engine reopens files more often.
const NOFILE_WANTED = 16_384
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent']

export function serveCommand(): Command {
  return new Command('serve')
    .description('Run a broker until it is told to stop (SIGTERM, SIGINT)')
    .option('--data <dir,...>', 'directories of partition logs (default: ./varve-data)')
    .option(
      '--listen <[name=]host:port|unix:path>',
      `where to listen; may be repeated (default: ${DEFAULT_LISTEN})`,
      collect,
    )
    .option(
      '--advertise <[name=]host:port>',
      'what clients are told to connect to (default: the address they connected to)',
      collect,
    )
    .option('--node-id <n>', 'id of this broker (default: 1)')
    .option('--io-threads <n>', 'native I/O threads; 0: Node sockets', '0')
    .option('--config <file>', 'a properties file with Kafka config keys')
    .option('--set <key=value>', 'one config key; may be repeated; stronger than --config', collectSetting)
    .option('--memory', 'keep everything in memory: nothing is left when it stops')
    .option('--log-level <level>', LOG_LEVELS.join(', '), 'info')
    .addHelpText('after', '\nEvery Kafka broker config that is served can be set, e.g. --set log.retention.hours=24.')
    .allowExcessArguments(false)
    .exitOverride()
    .action((flags: ServeFlags) => serve(flags))
}

function collect(value: string, all: string[] = []): string[] {
  return [...all, value]
}

function collectSetting(value: string, all: Setting[] = []): Setting[] {
  const at = value.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('expected KEY=VALUE')
  return [...all, [value.slice(0, at), value.slice(at + 1)]]
}

function misused(message: string): never {
  process.stderr.write(`varve serve: ${message}\n`)
  throw new CommanderError(2, 'varve.misused', message)
}

async function serve(flags: ServeFlags): Promise<void> {
  let config: BrokerConfig
  let listen: ListenAddress[]
  try {
    config = configOf(flags)
    listen = config.list('listeners').map(parseListenAddress)
  } catch (error) {
    if (error instanceof KafkaError) misused(error.message)
    throw error
  }
  if (flags.ioThreads !== '0')
    misused(`--io-threads ${flags.ioThreads}: only 0 (Node sockets) is available in this version`)
  if (!LOG_LEVELS.includes(flags.logLevel)) misused(`--log-level must be one of ${LOG_LEVELS.join(', ')}`)

  // Structured logs go to stderr: stdout has the one ready line.
  const log = pino({ level: flags.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2))
  if (config.withoutEffect.length > 0)
    log.warn({ configs: config.withoutEffect }, 'accepted without effect: docs/configuration.md says why')
  const nofile = native.raiseNofileLimit()
  if (nofile.soft < NOFILE_WANTED)
    log.warn(
      { nofile: nofile.soft },
      `few file descriptors: raise the hard limit to ${NOFILE_WANTED} (ulimit -Hn) for many partitions`,
    )

  const stopRequest = new StopRequest(log)
  let broker: Broker
  try {
    broker = await Broker.start({ config, memory: flags.memory === true, listen, seams: systemSeams, log })
  } catch (error) {
    if (error instanceof StorageError && error.code === 'IO')
      throw new Error(`${error.message} (log directories are chosen with --data)`, { cause: error })
    throw error
  }
  const addresses = broker.listeners.addresses.map((address) =>
    address.kind === 'unix' ? `unix:${address.path}` : `${hostText(address.host)}:${address.port}`,
  )
  if (!stopRequest.received)
    process.stdout.write(`varve ready ${addresses.join(' ')} node ${broker.nodeId} cluster ${broker.clusterId}\n`)

  await stopRequest.promise
  try {
    await broker.stop()
  } catch (error) {
    log.error({ err: error }, 'stop failed')
    process.exitCode = 1
  }
}

/**
 * The first SIGTERM or SIGINT, from the moment it is made: one that comes while the broker starts stops it when it has started. Later
 * ones are noted only: dying half way through would leave the next start to recover what a clean stop had nearly written down.
 */
class StopRequest {
  received = false
  readonly promise: Promise<void>

  constructor(log: Logger) {
    this.promise = new Promise((resolve) => {
      const take = (signal: NodeJS.Signals): void => {
        log.info({ signal }, this.received ? 'stopping already; SIGKILL would end it without waiting' : 'stopping')
        this.received = true
        resolve()
      }
      process.on('SIGTERM', take)
      process.on('SIGINT', take)
    })
  }
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

/** Flags over --set over the file over the defaults. */
function configOf(flags: ServeFlags): BrokerConfig {
  const set: Record<string, string> = {}
  if (flags.config !== undefined) {
    let text: string
    try {
      text = readFileSync(flags.config, 'utf8')
    } catch (error) {
      misused(`--config ${flags.config} can't be read: ${(error as Error).message}`)
    }
    Object.assign(set, parseProperties(text))
  }
  for (const [name, value] of flags.set ?? []) set[name] = value
  if (flags.data !== undefined && flags.memory) misused('--memory keeps nothing in directories: leave out --data')
  if (flags.data !== undefined) set['log.dirs'] = flags.data
  if (flags.nodeId !== undefined) set['node.id'] = flags.nodeId
  if (flags.listen !== undefined) set.listeners = flags.listen.join(',')
  else set.listeners ??= DEFAULT_LISTEN
  if (flags.advertise !== undefined) set['advertised.listeners'] = flags.advertise.join(',')
  // A broker in memory is for tests: nobody wants to wait three seconds for the first rebalance there.
  if (flags.memory) set['group.initial.rebalance.delay.ms'] ??= '0'
  const config = new BrokerConfig(set)
  for (const text of config.list('advertised.listeners')) parseAdvertised(text)
  return config
}
