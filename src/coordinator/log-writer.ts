// SPDX-License-Identifier: Apache-2.0
// Appends records to one partition of the offsets topic. What is asked for in one tick of the event loop, or while
// appends are under way, leaves as one batch. Outcomes are told in the order of the log, record by record, so that what
// is in memory follows the log exactly. Whoever needs an answer by some time must see to that itself.
import { KafkaError } from '../errors.ts'
import type { Partition } from '../partition/partition.ts'
import { encodeBatch, type RecordToEncode } from '../protocol/record-batch.ts'
import type { LogRecord } from './group-log.ts'

/** Two: one on its way to stable storage, and the next one behind it. */
const APPENDS_IN_FLIGHT_MAX = 2
/** Lengths, deltas and header count of a record take no more than this. */
const RECORD_OVERHEAD_SIZE = 32

export interface WriteOutcome {
  /** A record is in the log, to stay. */
  onWritten(index: number, offset: number): void
  /** After the last record; the error is that of the first record that failed. */
  onDone(error: KafkaError | null): void
}

interface Write extends WriteOutcome {
  readonly records: readonly LogRecord[]
  /** How many of the records have been taken into batches. */
  taken: number
  error: KafkaError | null
}

/** The part of a write that is in a batch. */
interface Piece {
  readonly write: Write
  readonly from: number
  readonly to: number
}

interface Append {
  readonly pieces: readonly Piece[]
  outcome: { readonly baseOffset: number } | KafkaError | undefined
}

export class LogWriter {
  readonly #partition: Partition
  readonly #batchBytes: number
  readonly #wallMs: () => number
  readonly #queue: Write[] = []
  readonly #inFlight: Append[] = []
  #isFlushScheduled = false
  #onIdle: (() => void)[] = []

  constructor(partition: Partition, options: { readonly batchBytes: number; readonly wallMs: () => number }) {
    this.#partition = partition
    this.#batchBytes = options.batchBytes
    this.#wallMs = options.wallMs
  }

  get isIdle(): boolean {
    return this.#queue.length === 0 && this.#inFlight.length === 0
  }

  /** At least one record. */
  write(records: readonly LogRecord[], outcome: WriteOutcome): void {
    const { onWritten, onDone } = outcome
    this.#queue.push({ records, onWritten, onDone, taken: 0, error: null })
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    void Promise.resolve().then(() => {
      this.#isFlushScheduled = false
      this.#flush()
    })
  }

  /** Calls back when all that has been asked for so far, and what is asked for meanwhile, has its outcome. */
  whenIdle(callback: () => void): void {
    if (this.isIdle) callback()
    else this.#onIdle.push(callback)
  }

  #flush(): void {
    while (this.#queue.length > 0 && this.#inFlight.length < APPENDS_IN_FLIGHT_MAX) this.#appendNext()
  }

  #appendNext(): void {
    const { pieces, records } = this.#nextBatch()
    const append: Append = { pieces, outcome: undefined }
    this.#inFlight.push(append)
    this.#start(encodeBatch({ records })).then(
      (range) => this.#settle(append, range),
      (error: unknown) => this.#settle(append, toKafkaError(error)),
    )
  }

  async #start(batch: Uint8Array): Promise<{ readonly baseOffset: number }> {
    return this.#partition.append(batch, -1)
  }

  /** Writes are kept whole where they fit into a batch; one that is larger than a batch spans several. */
  #nextBatch(): { pieces: Piece[]; records: RecordToEncode[] } {
    const timestampMs = this.#wallMs()
    const pieces: Piece[] = []
    const records: RecordToEncode[] = []
    let size = 0
    for (let write = this.#queue[0]; write !== undefined; write = this.#queue[0]) {
      const from = write.taken
      if (pieces.length > 0 && size + sizeOf(write) > this.#batchBytes) break
      while (write.taken < write.records.length) {
        const record = write.records[write.taken]!
        const recordSize = sizeOfRecord(record)
        if (size > 0 && size + recordSize > this.#batchBytes) break
        size += recordSize
        records.push({ key: record.key, value: record.value, timestampMs })
        write.taken++
      }
      pieces.push({ write, from, to: write.taken })
      if (write.taken < write.records.length) break
      this.#queue.shift()
    }
    return { pieces, records }
  }

  #settle(append: Append, outcome: { readonly baseOffset: number } | KafkaError): void {
    append.outcome = outcome
    // An append that overtook another waits for it: outcomes are told in the order of the log.
    for (let first = this.#inFlight[0]; first?.outcome !== undefined; first = this.#inFlight[0]) {
      this.#inFlight.shift()
      tell(first.pieces, first.outcome)
    }
    this.#flush()
    if (!this.isIdle) return
    const callbacks = this.#onIdle
    this.#onIdle = []
    for (const callback of callbacks) callback()
  }
}

function tell(pieces: readonly Piece[], outcome: { readonly baseOffset: number } | KafkaError): void {
  let offset = outcome instanceof KafkaError ? -1 : outcome.baseOffset
  for (const { write, from, to } of pieces) {
    if (outcome instanceof KafkaError) write.error ??= outcome
    else for (let i = from; i < to; i++) write.onWritten(i, offset++)
    if (to === write.records.length) write.onDone(write.error)
  }
}

function sizeOf(write: Write): number {
  let size = 0
  for (let i = write.taken; i < write.records.length; i++) size += sizeOfRecord(write.records[i]!)
  return size
}

function sizeOfRecord(record: LogRecord): number {
  return record.key.length + (record.value?.length ?? 0) + RECORD_OVERHEAD_SIZE
}

function toKafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error
  const text = error instanceof Error ? error.message : String(error)
  return new KafkaError('UNKNOWN_SERVER_ERROR', `Appending to the offsets topic failed: ${text}`, { cause: error })
}
