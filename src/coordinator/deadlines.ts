// SPDX-License-Identifier: Apache-2.0
// Any number of deadlines on one timer. A binary heap ordered by the time at which a deadline is looked at: putting a
// deadline off, which each heartbeat does, only notes the new time, and the entry sinks when its old time comes.
import type { Clock, TimerHandle, Timers } from '../util/seams.ts'

/** Fires once each time it is armed; arming again moves it. */
export class Deadline {
  readonly run: () => void
  /** When it is due. */
  dueMs = 0
  /** What the heap is ordered by; never later than dueMs. */
  queuedMs = 0
  /** Place in the heap, -1 when not armed. */
  index = -1

  constructor(run: () => void) {
    this.run = run
  }
}

export class Deadlines {
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #heap: Deadline[] = []
  #timer: TimerHandle | undefined
  #timerDueMs = Number.POSITIVE_INFINITY
  #isRunning = false

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock
    this.#timers = timers
  }

  /** How many are armed. */
  get size(): number {
    return this.#heap.length
  }

  arm(deadline: Deadline, delayMs: number): void {
    // At least 1 ms: what arms itself again at once must not hold up everything else.
    const dueMs = this.#clock.monoMs() + Math.max(delayMs, 1)
    deadline.dueMs = dueMs
    if (deadline.index === -1) {
      deadline.queuedMs = dueMs
      deadline.index = this.#heap.length
      this.#heap.push(deadline)
      this.#rise(deadline)
    } else if (dueMs < deadline.queuedMs) {
      deadline.queuedMs = dueMs
      this.#rise(deadline)
    }
    this.#schedule()
  }

  /** Cancelling what is not armed does nothing. */
  cancel(deadline: Deadline): void {
    if (deadline.index === -1) return
    this.#remove(deadline)
    this.#schedule()
  }

  #remove(deadline: Deadline): void {
    const hole = deadline.index
    const last = this.#heap.pop()!
    deadline.index = -1
    if (last === deadline) return
    this.#place(last, hole)
    this.#rise(last)
    this.#sink(last)
  }

  #fire(): void {
    this.#timer = undefined
    this.#timerDueMs = Number.POSITIVE_INFINITY
    const nowMs = this.#clock.monoMs()
    this.#isRunning = true
    try {
      for (;;) {
        const first = this.#heap[0]
        if (first === undefined || first.queuedMs > nowMs) break
        if (first.dueMs > nowMs) {
          first.queuedMs = first.dueMs
          this.#sink(first)
        } else {
          this.#remove(first)
          first.run()
        }
      }
    } finally {
      this.#isRunning = false
      this.#schedule()
    }
  }

  #schedule(): void {
    if (this.#isRunning) return
    const first = this.#heap[0]
    if (first === undefined) {
      this.#timer?.cancel()
      this.#timer = undefined
      this.#timerDueMs = Number.POSITIVE_INFINITY
    } else if (first.queuedMs < this.#timerDueMs) {
      // A timer that is too early is left to fire and finds nothing due; one that is too late is replaced.
      this.#timer?.cancel()
      this.#timerDueMs = first.queuedMs
      this.#timer = this.#timers.after(Math.max(first.queuedMs - this.#clock.monoMs(), 0), () => this.#fire())
    }
  }

  #place(deadline: Deadline, index: number): void {
    this.#heap[index] = deadline
    deadline.index = index
  }

  #rise(deadline: Deadline): void {
    let index = deadline.index
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = this.#heap[above]!
      if (parent.queuedMs <= deadline.queuedMs) break
      this.#place(parent, index)
      index = above
    }
    this.#place(deadline, index)
  }

  #sink(deadline: Deadline): void {
    const count = this.#heap.length
    let index = deadline.index
    for (;;) {
      let below = 2 * index + 1
      if (below >= count) break
      if (below + 1 < count && this.#heap[below + 1]!.queuedMs < this.#heap[below]!.queuedMs) below++
      const child = this.#heap[below]!
      if (deadline.queuedMs <= child.queuedMs) break
      this.#place(child, index)
      index = below
    }
    this.#place(deadline, index)
  }
}
