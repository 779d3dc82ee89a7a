// SPDX-License-Identifier: Apache-2.0
// Time and chance under a test's control: a clock that moves only when told to, timers that fire on it in a fixed
// order, and random numbers from a seed. Code under test runs as it would, months in milliseconds.
import type { Clock, Rng, Seams, TimerHandle, Timers } from '../../src/util/seams.ts'

export class VirtualClock implements Clock {
  /** Moved by VirtualTimers, or by a test that wants the clock to run ahead of its timers. */
  nowMs = 0
  /** Added to the monotonic time; changing it steps the wall clock, as an operator or NTP would. */
  wallOffsetMs = 1_700_000_000_000

  monoMs(): number {
    return this.nowMs
  }

  wallMs(): number {
    return this.nowMs + this.wallOffsetMs
  }
}

interface Entry {
  dueMs: number
  readonly sequence: number
  readonly periodMs: number | undefined
  readonly fn: () => void
}

/** Lets everything that is waiting on promises run as far as it can without time passing. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export class VirtualTimers implements Timers {
  readonly #clock: VirtualClock
  readonly #entries = new Set<Entry>()
  #sequence = 0

  constructor(clock: VirtualClock) {
    this.#clock = clock
  }

  /** Timers that have yet to fire. */
  get pendingCount(): number {
    return this.#entries.size
  }

  after(delayMs: number, fn: () => void): TimerHandle {
    return this.#add(delayMs, undefined, fn)
  }

  every(periodMs: number, fn: () => void): TimerHandle {
    return this.#add(periodMs, periodMs, fn)
  }

  #add(delayMs: number, periodMs: number | undefined, fn: () => void): TimerHandle {
    if (!(delayMs >= 0)) throw new RangeError(`delayMs must be 0 or more, got ${delayMs}`)
    const entry = { dueMs: this.#clock.nowMs + delayMs, sequence: this.#sequence++, periodMs, fn }
    this.#entries.add(entry)
    return { cancel: () => void this.#entries.delete(entry) }
  }

  /** Moves time on by `ms`, firing what becomes due in order of time, then of setting; promises settle in between. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#clock.nowMs + ms
    await settled()
    for (let next = this.#next(); next !== undefined && next.dueMs <= endMs; next = this.#next()) {
      this.#clock.nowMs = Math.max(this.#clock.nowMs, next.dueMs)
      if (next.periodMs === undefined) this.#entries.delete(next)
      else next.dueMs += next.periodMs
      next.fn()
      await settled()
    }
    this.#clock.nowMs = endMs
  }

  #next(): Entry | undefined {
    let first: Entry | undefined
    for (const entry of this.#entries) {
      if (first === undefined || entry.dueMs < first.dueMs) first = entry
      else if (entry.dueMs === first.dueMs && entry.sequence < first.sequence) first = entry
    }
    return first
  }
}

/** mulberry32: small, fast, and the same on every machine. */
export class SeededRng implements Rng {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  uuid(): Uint8Array {
    const bytes = new Uint8Array(16)
    const view = new DataView(bytes.buffer)
    for (let i = 0; i < 16; i += 4) view.setUint32(i, this.u32())
    bytes[6] = (bytes[6]! & 0x0f) | 0x40
    bytes[8] = (bytes[8]! & 0x3f) | 0x80
    return bytes
  }
}

export interface VirtualSeams extends Seams {
  readonly clock: VirtualClock
  readonly timers: VirtualTimers
}

export function virtualSeams(seed = 1): VirtualSeams {
  const clock = new VirtualClock()
  return { clock, timers: new VirtualTimers(clock), rng: new SeededRng(seed) }
}
