// SPDX-License-Identifier: Apache-2.0
// AddressLimits: how many connections one client address may hold, and make in a second. Knows no sockets; forgets addresses that left.
import type { Clock } from '../util/seams.ts'

interface Counts {
  connections: number
  /** Of the last connection. */
  second: number
  /** In that second. */
  created: number
}

export class AddressLimits {
  readonly #connectionsMax: number
  readonly #creationRateMax: number
  readonly #clock: Clock
  readonly #counts = new Map<string, Counts>()
  #sweptSecond = -1

  constructor(options: { readonly connectionsMax: number; readonly creationRateMax: number; readonly clock: Clock }) {
    this.#connectionsMax = options.connectionsMax
    this.#creationRateMax = options.creationRateMax
    this.#clock = options.clock
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#counts.size
  }

  /** Counts a connection, or says why it is not taken; `leave` must follow when it was. */
  enter(address: string): string | null {
    const second = this.#second()
    this.#sweep(second)
    let counts = this.#counts.get(address)
    if (counts === undefined) {
      counts = { connections: 0, second, created: 0 }
      this.#counts.set(address, counts)
    }
    if (counts.second !== second) {
      counts.second = second
      counts.created = 0
    }
    if (counts.connections >= this.#connectionsMax) return 'max.connections.per.ip is reached'
    if (counts.created >= this.#creationRateMax) return 'max.connection.creation.rate is reached'
    counts.connections++
    counts.created++
    return null
  }

  leave(address: string): void {
    const counts = this.#counts.get(address)
    if (counts !== undefined) counts.connections--
  }

  /** Once a second. Kept through its own second: connecting and leaving at once must not reset the rate. */
  #sweep(second: number): void {
    if (second === this.#sweptSecond) return
    this.#sweptSecond = second
    for (const [address, counts] of this.#counts)
      if (counts.connections === 0 && counts.second < second) this.#counts.delete(address)
  }

  #second(): number {
    return Math.floor(this.#clock.monoMs() / 1000)
  }
}
