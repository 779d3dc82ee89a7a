// SPDX-License-Identifier: Apache-2.0
// DataPlane: the native plane as the main thread drives it. Owns the turns (deadlines and completions), the windows that
// outputs lie in, and the partitions that are open. What may be served natively is published here; who decides is the broker.
import {
  type NativeConnection,
  type NativeCounters,
  type NativeEngine,
  type NativePartition,
  type NativePartitionConfig,
  type NativePlane,
  type NativePlaneOptions,
  type NativeTopicGrant,
  native,
} from '../storage/native.ts'
import { StorageError } from '../storage/storage-error.ts'
import type { Clock, TimerHandle, Timers } from '../util/seams.ts'
import { LocalPartition } from './local-partition.ts'

export interface PlaneConnection {
  readonly native: NativeConnection
  /** Flags changed outside of a call of the owner's: deadlines, long polls, acknowledged appends. */
  onFlags: (flags: number) => void
}

// Old ones are still held by the writes that use them.
const WINDOWS_MAX = 16

export class DataPlane {
  readonly #engine: NativeEngine
  readonly #plane: NativePlane
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #connections = new Map<number, PlaneConnection>()
  readonly #windows = new Map<number, Buffer>()
  #timer: TimerHandle | undefined
  #timerAtMs = Number.POSITIVE_INFINITY
  #rearmQueued = false
  #closed = false

  constructor(engine: NativeEngine, options: NativePlaneOptions, seams: { clock: Clock; timers: Timers }) {
    this.#engine = engine
    this.#clock = seams.clock
    this.#timers = seams.timers
    this.#plane = native.createPlane(engine, options, () => this.#turn())
  }

  /**
   * Opens a partition's log, made when missing. Clients reach it once its topic is published. A log of another topic id is what
   * was left of a deleted topic of that name: it goes first.
   */
  openPartition(topic: string, index: number, config: NativePartitionConfig, topicId?: string): LocalPartition {
    const known = topicId === undefined ? '' : this.#knownTopicId(topic, index)
    if (known !== '' && known !== topicId) this.#engine.deleteLog(topic, index)
    const log = this.#engine.openLog(topic, index, config.log)
    if (topicId !== undefined && known !== topicId) this.#engine.writeTopicId(topic, index, topicId)
    const opened: NativePartition = this.#plane.publishPartition(log)
    opened.setConfig(config)
    return new LocalPartition(topic, index, opened, this.#clock)
  }

  /**
   * '' when there is no log, no id, or none that can be read: the file is not synced when it is made, so a power cut may leave it empty beside
   * records that were. A deleted topic's directory lost its name durably, so what is here belongs to the topic that is opened.
   */
  #knownTopicId(topic: string, index: number): string {
    try {
      return this.#engine.readTopicId(topic, index) ?? ''
    } catch (error) {
      if (error instanceof StorageError && error.code === 'CORRUPT') return ''
      throw error
    }
  }

  /** Takes the partition's records away. Waiters were ended by LocalPartition.close() before. */
  deleteLog(topic: string, index: number): void {
    this.#engine.deleteLog(topic, index)
  }

  publishTopic(grant: NativeTopicGrant): void {
    this.#plane.publishTopic(grant)
  }

  removeTopic(name: string): void {
    this.#plane.removeTopic(name)
  }

  connect(onFlags: (flags: number) => void): PlaneConnection {
    const connection: PlaneConnection = { native: this.#plane.connect(), onFlags }
    this.#connections.set(connection.native.id, connection)
    return connection
  }

  disconnect(connection: PlaneConnection): void {
    this.#connections.delete(connection.native.id)
    connection.native.close()
  }

  counters(): NativeCounters {
    return this.#plane.counters()
  }

  /** The bytes of a window that an output named just now. */
  window(windowId: number): Buffer {
    let window = this.#windows.get(windowId)
    if (window === undefined) {
      window = Buffer.from(this.#plane.window(windowId))
      this.#windows.set(windowId, window)
      if (this.#windows.size > WINDOWS_MAX) this.#windows.delete(this.#windows.keys().next().value!)
    }
    return window
  }

  /** A connection got work: its deadline may be earlier than the one the timer waits for. Looked at once a turn of the event loop. */
  rearmSoon(): void {
    if (this.#rearmQueued) return
    this.#rearmQueued = true
    setImmediate(() => {
      this.#rearmQueued = false
      if (!this.#closed) this.#rearm()
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    for (const connection of this.#connections.values()) connection.native.close()
    this.#connections.clear()
    this.#windows.clear()
    this.#plane.close()
  }

  #turn(): void {
    if (this.#closed) return
    const ready = this.#plane.turn(this.#clock.monoMs(), this.#clock.wallMs())
    for (const id of ready) {
      const connection = this.#connections.get(id)
      if (connection !== undefined) connection.onFlags(connection.native.flags())
    }
    this.#rearm()
  }

  #rearm(): void {
    if (this.#closed) return
    const deadlineMs = this.#plane.nextDeadlineMs()
    if (deadlineMs < 0 || deadlineMs >= this.#timerAtMs) return
    this.#timer?.cancel()
    this.#timerAtMs = deadlineMs
    this.#timer = this.#timers.after(Math.max(0, deadlineMs - this.#clock.monoMs()), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY
      this.#turn()
    })
  }
}
