// SPDX-License-Identifier: Apache-2.0
// LocalMetadataStore: the metadata of a broker that is alone, in a log of its own. A transaction is one record batch, so it is there whole
// or not at all; its last record carries the revision. When the log has grown far beyond what is alive, a snapshot is appended as one
// batch and everything before it deleted. Owns the map in memory; the log's durability is the partition's.
import type { Partition } from '../partition/partition.ts'
import { batches, encodeBatch, type RecordToEncode, records } from '../protocol/record-batch.ts'
import type { Clock } from '../util/seams.ts'
import type { Change, Compare, Entry, MetadataStore, Operation, TxnResult } from './metadata-store.ts'

/** The log that the store is kept in: a partition that can also forget its beginning. */
export interface MetadataLog extends Partition {
  deleteBefore(offset: number): void
}

const READ_BYTES = 4 << 20
const SNAPSHOT_AT_BYTES = 4 << 20
/** The key of the record that ends a transaction. */
const END_KEY = ''

interface End {
  readonly revision: number
  /** The batch holds everything: what was before it is forgotten. */
  readonly snapshot?: true
}

export class LocalMetadataStore implements MetadataStore {
  readonly #log: MetadataLog
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()
  readonly #watchers = new Set<(change: Change) => void>()
  #revision = 0
  #liveBytes = 0
  #logBytes = 0
  #last: Promise<unknown> = Promise.resolve()

  private constructor(log: MetadataLog, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  /** Replays the log. Throws KafkaError CORRUPT_MESSAGE when it can't be read. */
  static open(log: MetadataLog, clock: Clock): LocalMetadataStore {
    const store = new LocalMetadataStore(log, clock)
    let offset = log.logStartOffset
    while (offset < log.logEndOffset) {
      const chunk = log.read(offset, READ_BYTES, { upTo: 'logEnd' })
      if (chunk.length === 0) break
      for (const batch of batches(chunk)) {
        const changes: Array<[key: string, value: string | null]> = []
        for (const record of records(batch)) {
          const key = text(record.key) ?? END_KEY
          const value = text(record.value)
          if (key === END_KEY) store.#replay(changes, JSON.parse(value ?? '{}') as End)
          else changes.push([key, value])
        }
        offset = batch.nextOffset
        store.#logBytes += batch.bytes.length
      }
    }
    return store
  }

  get revision(): number {
    return this.#revision
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key)
  }

  list(prefix: string): Entry[] {
    const found: Entry[] = []
    for (const entry of this.#entries.values()) if (entry.key.startsWith(prefix)) found.push(entry)
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  txn(
    compare: readonly Compare[],
    then: readonly Operation[],
    otherwise: readonly Operation[] = [],
  ): Promise<TxnResult> {
    // One after the other: what a comparison saw still holds when its changes are applied.
    const result = this.#last.then(() => this.#txn(compare, then, otherwise))
    this.#last = result.catch(() => undefined)
    return result
  }

  watch(fromRevision: number, listener: (change: Change) => void): { cancel(): void } {
    for (const entry of [...this.#entries.values()].sort((a, b) => a.revision - b.revision))
      if (entry.revision > fromRevision) listener(entry)
    this.#watchers.add(listener)
    return { cancel: () => this.#watchers.delete(listener) }
  }

  async close(): Promise<void> {
    await this.#last
  }

  async #txn(
    compare: readonly Compare[],
    then: readonly Operation[],
    otherwise: readonly Operation[],
  ): Promise<TxnResult> {
    const succeeded = compare.every(({ key, revision }) => (this.#entries.get(key)?.revision ?? 0) === revision)
    const operations = succeeded ? then : otherwise
    if (operations.length === 0) return { succeeded, revision: this.#revision }
    const revision = this.#revision + 1
    const changes = operations.map((operation): [string, string | null] =>
      'put' in operation ? [operation.put, operation.value] : [operation.delete, null],
    )
    await this.#append(changes, { revision })
    this.#apply(changes, revision)
    for (const [key, value] of changes) for (const watcher of this.#watchers) watcher({ key, value, revision })
    if (this.#logBytes > SNAPSHOT_AT_BYTES && this.#logBytes > 4 * this.#liveBytes) {
      // The transaction is done whatever becomes of this: without it the log is longer than need be, and the next one tries again.
      await this.#snapshot().catch(() => {})
    }
    return { succeeded, revision }
  }

  async #append(changes: ReadonlyArray<readonly [string, string | null]>, end: End): Promise<number> {
    const timestampMs = this.#clock.wallMs()
    const toEncode: RecordToEncode[] = changes.map(([key, value]) => ({
      key: Buffer.from(key),
      value: value === null ? null : Buffer.from(value),
      timestampMs,
    }))
    toEncode.push({ key: Buffer.from(END_KEY), value: Buffer.from(JSON.stringify(end)), timestampMs })
    const bytes = encodeBatch({ records: toEncode })
    const { baseOffset } = await this.#log.append(bytes, -1)
    this.#logBytes += bytes.length
    return baseOffset
  }

  async #snapshot(): Promise<void> {
    const live = [...this.#entries.values()]
    // A key's own revision comes back as the snapshot's: still later than any that was seen, so comparisons only fail safe.
    const baseOffset = await this.#append(
      live.map((entry) => [entry.key, entry.value] as const),
      { revision: this.#revision, snapshot: true },
    )
    this.#log.deleteBefore(baseOffset)
    this.#logBytes = this.#liveBytes
  }

  #replay(changes: ReadonlyArray<readonly [string, string | null]>, end: End): void {
    if (end.snapshot) {
      this.#entries.clear()
      this.#liveBytes = 0
      this.#logBytes = 0
    }
    this.#apply(changes, end.revision)
  }

  #apply(changes: ReadonlyArray<readonly [string, string | null]>, revision: number): void {
    for (const [key, value] of changes) {
      const old = this.#entries.get(key)
      if (old !== undefined) this.#liveBytes -= key.length + old.value.length
      if (value === null) {
        this.#entries.delete(key)
      } else {
        this.#entries.set(key, { key, value, revision })
        this.#liveBytes += key.length + value.length
      }
    }
    this.#revision = revision
  }
}

function text(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
}
