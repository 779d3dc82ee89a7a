// SPDX-License-Identifier: Apache-2.0
// The sources of nondeterminism that coordinator/, cluster/ and client/ may use: two clocks, timers and random
// numbers, each a parameter. Real ones are made by systemSeams(); tests and the simulator pass their own.

export interface Clock {
  /** Milliseconds of a clock that never goes back; for timeouts and leases. */
  monoMs(): number
  /** Milliseconds since the Unix epoch; for what is written down or shown, never for timeouts. */
  wallMs(): number
}

export interface TimerHandle {
  /** Cancelling twice, or after the timer has fired, does nothing. */
  cancel(): void
}

export interface Timers {
  /** Calls `fn` once, `delayMs` from now at the earliest; never before this call has returned. */
  after(delayMs: number, fn: () => void): TimerHandle
  every(periodMs: number, fn: () => void): TimerHandle
}

export interface Rng {
  /** A random integer, 0 to 2^32 - 1. */
  u32(): number
  /** A random version-4 UUID as 16 bytes. */
  uuid(): Uint8Array
}

export interface Seams {
  readonly clock: Clock
  readonly timers: Timers
  readonly rng: Rng
}
