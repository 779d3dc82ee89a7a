// SPDX-License-Identifier: Apache-2.0
// Partition directories made by hand: batches from record-batch.ts and the small files beside them.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { crc32c } from '../../src/protocol/crc32c.ts'
import { type BatchToEncode, encodeBatch, RecordBatch } from '../../src/protocol/record-batch.ts'

export const T0 = 1_700_000_000_000

/** A directory that goes with the test. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'varve-log-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** `count` records from `baseOffset` on. */
export function batch(baseOffset: number, count = 2, more: Partial<BatchToEncode> = {}): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({
    key: Buffer.from(`k${baseOffset + i}`),
    value: Buffer.from(`value ${baseOffset + i}`),
    timestampMs: T0 + baseOffset + i,
  }))
  return Buffer.from(encodeBatch({ records, baseOffset, leaderEpoch: 0, ...more }))
}

/** A transaction's end. */
export function marker(baseOffset: number, type: 'commit' | 'abort', producerId: bigint, producerEpoch = 0): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'commit' ? 1 : 0])
  const records = [{ key, value: Buffer.from([0, 0, 0, 0, 0, 9]), timestampMs: T0 + baseOffset }]
  const header = { baseOffset, leaderEpoch: 0, producerId, producerEpoch, transactional: true, control: true }
  return Buffer.from(encodeBatch({ records, ...header }))
}

/** The batch with one header field changed and the CRC that it then has. */
export function withLastOffsetDelta(bytes: Buffer, lastOffsetDelta: number): Buffer {
  const changed = Buffer.from(bytes)
  changed.writeInt32BE(lastOffsetDelta, 23)
  changed.writeUInt32BE(crc32c(changed, 21), 17)
  return changed
}

export function offsetName(offset: number, suffix: string): string {
  return String(offset).padStart(20, '0') + suffix
}

interface Layout {
  /** Batches of each segment. */
  readonly segments: readonly (readonly Buffer[])[]
  readonly epochs?: ReadonlyArray<readonly [epoch: number, startOffset: number]>
}

/** Writes segments with an index entry for every batch but the first, time indexes, and seals for all but the last. */
export function writePartition(directory: string, { segments, epochs }: Layout): void {
  mkdirSync(directory, { recursive: true })
  segments.forEach((batches, i) => {
    const base = new RecordBatch(batches[0]!).baseOffset
    const write = (suffix: string, bytes: Uint8Array): void => {
      writeFileSync(join(directory, offsetName(base, suffix)), bytes)
    }
    let position = 0
    let max: readonly [timestampMs: number, offset: number] = [-1, -1]
    const index: Buffer[] = []
    const times: Buffer[] = []
    for (const bytes of batches) {
      const header = new RecordBatch(bytes)
      if (header.maxTimestampMs > max[0]) max = [header.maxTimestampMs, header.nextOffset - 1]
      if (position > 0) index.push(indexEntry(header.nextOffset - 1 - base, position))
      position += bytes.length
    }
    times.push(timeEntry(max[0], max[1] - base))
    const log = Buffer.concat(batches)
    write('.log', log)
    write('.index', Buffer.concat(index))
    write('.timeindex', Buffer.concat(times))
    if (i < segments.length - 1) write('.seal', seal(log, base, Buffer.concat(index), Buffer.concat(times)))
  })
  if (epochs !== undefined) writeFileSync(join(directory, 'leader-epoch-checkpoint'), epochText(epochs))
}

export function epochText(epochs: ReadonlyArray<readonly [epoch: number, startOffset: number]>): string {
  return `0\n${epochs.length}\n${epochs.map((entry) => `${entry.join(' ')}\n`).join('')}`
}

export function indexEntry(relativeOffset: number, position: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeInt32BE(relativeOffset)
  bytes.writeUInt32BE(position, 4)
  return bytes
}

export function timeEntry(timestampMs: number, relativeOffset: number): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeBigInt64BE(BigInt(timestampMs))
  bytes.writeInt32BE(relativeOffset, 8)
  return bytes
}

export function txnEntry(producerId: bigint, firstOffset: number, lastOffset: number): Buffer {
  const bytes = Buffer.alloc(34)
  const numbers = [producerId, BigInt(firstOffset), BigInt(lastOffset), BigInt(lastOffset + 1)]
  numbers.forEach((number, i) => {
    bytes.writeBigInt64BE(number, 2 + i * 8)
  })
  return bytes
}

export function snapshot(
  producers: ReadonlyArray<{ id: bigint; epoch: number; lastSequence: number; lastOffset: number }>,
): Buffer {
  const body = Buffer.alloc(4 + producers.length * 46)
  body.writeInt32BE(producers.length)
  producers.forEach(({ id, epoch, lastSequence, lastOffset }, i) => {
    const at = 4 + i * 46
    body.writeBigInt64BE(id, at)
    body.writeInt16BE(epoch, at + 8)
    body.writeInt32BE(lastSequence, at + 10)
    body.writeBigInt64BE(BigInt(lastOffset), at + 14)
    body.writeInt32BE(1, at + 22)
    body.writeBigInt64BE(BigInt(T0), at + 26)
    body.writeInt32BE(-1, at + 34)
    body.writeBigInt64BE(-1n, at + 38)
  })
  const head = Buffer.alloc(6)
  head.writeInt16BE(1)
  head.writeUInt32BE(crc32c(body), 2)
  return Buffer.concat([head, body])
}

/** A seal as docs/storage-format.md has it, computed from the bytes. */
export function seal(log: Buffer, base: number, index: Buffer, times: Buffer): Buffer {
  const blockBytes = 1 << 20
  const blocks = Math.ceil(log.length / blockBytes)
  const bytes = Buffer.alloc(100 + blocks * 4 + 4)
  let count = 0
  let records = 0
  let next = base
  let max: readonly [timestampMs: number, offset: number] = [-1, -1]
  let epoch = -1
  for (let position = 0; position < log.length; ) {
    const size = 12 + log.readInt32BE(position + 8)
    const header = new RecordBatch(log.subarray(position, position + size))
    count++
    records += header.recordCount
    next = header.nextOffset
    epoch = Math.max(epoch, header.leaderEpoch)
    if (header.maxTimestampMs > max[0]) max = [header.maxTimestampMs, next - 1]
    position += size
  }
  bytes.write('VSEL', 'latin1')
  bytes.writeUInt16BE(1, 4)
  const wide = [base, next, log.length, ...max, records, count]
  wide.forEach((number, i) => {
    bytes.writeBigInt64BE(BigInt(number), 8 + i * 8)
  })
  bytes.writeInt32BE(epoch, 64)
  for (const [at, file] of [
    [68, index],
    [76, times],
    [84, Buffer.alloc(0)],
  ] as const) {
    bytes.writeUInt32BE(file.length, at)
    bytes.writeUInt32BE(crc32c(file), at + 4)
  }
  bytes.writeUInt32BE(blockBytes, 92)
  bytes.writeUInt32BE(blocks, 96)
  for (let block = 0; block < blocks; block++)
    bytes.writeUInt32BE(
      crc32c(log, block * blockBytes, Math.min((block + 1) * blockBytes, log.length)),
      100 + block * 4,
    )
  bytes.writeUInt32BE(crc32c(bytes, 0, bytes.length - 4), bytes.length - 4)
  return bytes
}
