// SPDX-License-Identifier: Apache-2.0
// openEngine(): the storage engine in a program. Owns the directory's lock, the logs handed out and the maintenance timer
// (retention, roll by time, checkpoints); close() ends all of it.
import { resolve } from 'node:path'
import { checkOptionNames } from '../util/options.ts'
import { BatchEncoder } from './batch-encoder.ts'
import { Log } from './log.ts'
import { checkedInteger, type LogOptions, logConfig } from './log-config.ts'
import { type NativeDirectory, type NativeEngine, type NativeLogConfig, native } from './native.ts'
import { StorageError } from './storage-error.ts'

export interface EngineOptions {
  /** The directory, made when missing; one engine at a time may have it. */
  readonly dir?: string
  /** Keep everything in memory instead; it goes with the engine. */
  readonly memory?: boolean
  /**
   * `commit` (default): appended data is synced in the background as fast as the disk allows, at the latest after
   * flushMaxDelayMs. `os`: only by flush(), a roll or close(), as Apache Kafka does.
   */
  readonly flush?: 'commit' | 'os'
  /** Default 1000. */
  readonly flushMaxDelayMs?: number
  /**
   * How appended bytes reach the page cache. `auto` (default): small batches through a mapping, those of 8 KiB and more by
   * pwrite. `pwrite` is what file systems that lie about fallocate get in any case.
   */
  readonly appendIo?: 'auto' | 'mmap' | 'pwrite'
  /** How often retention and roll by time are looked at. Default 5 minutes; 0: never. */
  readonly retentionCheckMs?: number
  /** Defaults of every log. */
  readonly log?: LogOptions
}

const OPTION_NAMES = [
  'dir',
  'memory',
  'flush',
  'flushMaxDelayMs',
  'appendIo',
  'retentionCheckMs',
  'log',
] as const satisfies ReadonlyArray<keyof EngineOptions>
const RETENTION_CHECK_MS = 5 * 60 * 1000
const MAINTAIN_MS = 1000
const TOPIC_NAME = /^[a-zA-Z0-9._-]{1,249}$/

/**
 * Opens (or makes) a directory of partition logs.
 * @throws StorageError LOCKED when another process has it, IO, CORRUPT, UNSUPPORTED; TypeError or RangeError for bad options.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  if (typeof options !== 'object' || options === null)
    throw new TypeError('openEngine takes options with either dir or memory: true')
  checkOptionNames('openEngine', options, OPTION_NAMES)
  const { dir, memory = false, flush = 'commit', appendIo = 'auto' } = options
  if (memory === (dir !== undefined)) throw new TypeError('openEngine takes either dir or memory: true')
  if (dir !== undefined && typeof dir !== 'string') throw new TypeError(`dir must be a string, got ${typeof dir}`)
  if (dir === '') throw new TypeError('dir must not be empty')
  if (flush !== 'commit' && flush !== 'os') throw new TypeError(`flush must be 'commit' or 'os', got ${String(flush)}`)
  if (appendIo !== 'auto' && appendIo !== 'mmap' && appendIo !== 'pwrite')
    throw new TypeError(`appendIo must be 'auto', 'mmap' or 'pwrite', got ${String(appendIo)}`)
  const delayRange = { min: 0, max: 2 ** 31 - 1 }
  const retentionCheckMs = checkedInteger(
    'retentionCheckMs',
    options.retentionCheckMs ?? RETENTION_CHECK_MS,
    delayRange,
  )
  const defaults = logConfig(options.log ?? {})
  const opened = await native.openEngine({
    directories: [dir === undefined ? '/memory' : resolve(dir)],
    memory,
    appendIo,
    flushMode: flush,
    flushMaxDelayMs: checkedInteger('flushMaxDelayMs', options.flushMaxDelayMs ?? 1000, delayRange),
    checkpointIntervalMs: 60_000,
    producerIdExpirationMs: 24 * 3600 * 1000,
    defaults,
  })
  return new Engine(opened, defaults, retentionCheckMs)
}

export class Engine {
  readonly #native: NativeEngine
  readonly #defaults: NativeLogConfig
  readonly #logs = new Map<string, Log>()
  // One for all logs: an append encodes and hands over before it returns.
  readonly #encoder = new BatchEncoder()
  readonly #maintenance: NodeJS.Timeout
  #closing: Promise<void> | undefined

  /** Made by openEngine(). */
  constructor(engine: NativeEngine, defaults: NativeLogConfig, retentionCheckMs: number) {
    this.#native = engine
    this.#defaults = defaults
    let checkedMs = Date.now()
    this.#maintenance = setInterval(() => {
      const nowMs = Date.now()
      const due = retentionCheckMs > 0 && nowMs - checkedMs >= retentionCheckMs
      if (due) checkedMs = nowMs
      this.#maintain(nowMs, due)
    }, MAINTAIN_MS)
    this.#maintenance.unref()
  }

  /**
   * A partition log, made when missing; nothing is allocated before its first append. Options apply when it is opened here
   * for the first time; later use log.configure().
   */
  log(topic: string, partition = 0, options: LogOptions = {}): Log {
    if (typeof topic !== 'string' || !TOPIC_NAME.test(topic) || topic === '.' || topic === '..')
      throw new RangeError(`topic must be 1 to 249 of [a-zA-Z0-9._-], got ${JSON.stringify(topic)}`)
    checkedInteger('partition', partition, { min: 0, max: 2 ** 31 - 1 })
    const key = `${topic}-${partition}`
    if (this.#closing !== undefined) throw new StorageError('the engine is closed', 'CLOSED')
    let log = this.#logs.get(key)
    if (log === undefined) {
      const config = logConfig(options, this.#defaults)
      log = new Log(this.#native.openLog(topic, partition, config), this.#encoder, config)
      this.#logs.set(key, log)
    }
    return log
  }

  /** Every log in the directory, opened here or not. */
  logs(): Array<{ topic: string; partition: number }> {
    return this.#native.logs()
  }

  /** Takes a log away: its records are gone at once for new readers, its files after fileDeleteDelayMs. */
  deleteLog(topic: string, partition = 0): void {
    this.#native.deleteLog(topic, partition)
    const key = `${topic}-${partition}`
    const log = this.#logs.get(key)
    this.#logs.delete(key)
    log?.deleted()
  }

  directories(): NativeDirectory[] {
    return this.#native.directories()
  }

  /** What was found wrong when logs were opened, as "path: why": damage that was cut away or rebuilt, and logs that can't be served. */
  problems(): string[] {
    return this.#native.problems()
  }

  /** Applies retention and roll by time now instead of at the next check. */
  maintain(): void {
    this.#maintain(Date.now(), true)
  }

  /** Syncs and closes. Views that were read become empty; followers end; every later call throws CLOSED. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #maintain(nowMs: number, doRetention: boolean): void {
    for (const log of this.#logs.values()) log.dropWindow()
    this.#native.maintain(nowMs, doRetention)
  }

  async #close(): Promise<void> {
    clearInterval(this.#maintenance)
    const closed = this.#native.close()
    for (const log of this.#logs.values()) log.wake()
    await closed
  }
}
