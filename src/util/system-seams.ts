// SPDX-License-Identifier: Apache-2.0
// The real clock, timers and random numbers behind the seams. Timers are unreferenced: a pending timeout alone
// never keeps a process alive.
import { randomBytes } from 'node:crypto'
import type { Clock, Rng, Seams, Timers } from './seams.ts'

// setTimeout takes at most 2^31 - 1 ms; a longer delay would fire at once.
const DELAY_MS_MAX = 2 ** 31 - 1

export const systemClock: Clock = {
  monoMs: () => performance.now(),
  wallMs: () => Date.now(),
}

export const systemTimers: Timers = {
  after(delayMs, fn) {
    const timer = setTimeout(fn, Math.min(delayMs, DELAY_MS_MAX))
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  every(periodMs, fn) {
    const timer = setInterval(fn, Math.min(periodMs, DELAY_MS_MAX))
    timer.unref()
    return { cancel: () => clearInterval(timer) }
  },
}

export const systemRng: Rng = {
  u32: () => randomBytes(4).readUInt32LE(0),
  uuid() {
    const bytes = randomBytes(16)
    bytes[6] = (bytes[6]! & 0x0f) | 0x40
    bytes[8] = (bytes[8]! & 0x3f) | 0x80
    return bytes
  },
}

export const systemSeams: Seams = { clock: systemClock, timers: systemTimers, rng: systemRng }
