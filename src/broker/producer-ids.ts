// SPDX-License-Identifier: Apache-2.0
// ProducerIds: ids for idempotent producers that never repeat, across restarts and crashes. A block is written to the metadata store before
// the first id of it is handed out; what was left of a block when the broker stopped is lost, never given twice.
import type { MetadataStore } from '../cluster/metadata-store.ts'

const KEY = '/producer-ids/next'
const BLOCK = 1000n

export class ProducerIds {
  readonly #store: MetadataStore
  #next = 0n
  #end = 0n
  #reserving: Promise<void> | undefined

  constructor(store: MetadataStore) {
    this.#store = store
  }

  async next(): Promise<bigint> {
    while (this.#next === this.#end) {
      this.#reserving ??= this.#reserve().finally(() => {
        this.#reserving = undefined
      })
      await this.#reserving
    }
    return this.#next++
  }

  /** No id up to `largest` is given out from now on: others gave those. Before the first next(). */
  async skipTo(largest: number): Promise<void> {
    const first = (BigInt(largest) / BLOCK + 1n) * BLOCK
    const entry = this.#store.get(KEY)
    if (BigInt(entry?.value ?? '0') < first) await this.#store.txn([], [{ put: KEY, value: String(first) }])
  }

  async #reserve(): Promise<void> {
    for (;;) {
      const entry = this.#store.get(KEY)
      const first = BigInt(entry?.value ?? '0')
      const result = await this.#store.txn(
        [{ key: KEY, revision: entry?.revision ?? 0 }],
        [{ put: KEY, value: String(first + BLOCK) }],
      )
      if (!result.succeeded) continue
      this.#next = first
      this.#end = first + BLOCK
      return
    }
  }
}
