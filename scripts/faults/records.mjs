// SPDX-License-Identifier: Apache-2.0
// Records that say what they are, and the ledger of what was acknowledged. A value is: cycle u32, log u32, sequence f64, size
// u32, then bytes that follow from these; so any record can be checked wherever it is found, and none can stand in for another.
import { batches, records } from '../../dist/protocol/record-batch.js'
import { Random } from './options.mjs'

export const HEADER_BYTES = 20
export const VALUE_BYTES_MAX = 1 << 16

const TABLE = Buffer.alloc(2 * VALUE_BYTES_MAX)
const random = new Random(1)
for (let i = 0; i < TABLE.length; i++) TABLE[i] = random.below(256)

function fillOf(cycle, log, sequence, size) {
  const start = (Math.imul(cycle, 0x9e3779b1) ^ Math.imul(log + 1, 0x85ebca6b) ^ Math.imul(sequence, 0xc2b2ae35)) >>> 0
  const at = start % VALUE_BYTES_MAX
  return TABLE.subarray(at, at + size - HEADER_BYTES)
}

/** `size`: of the value, from HEADER_BYTES to VALUE_BYTES_MAX. */
export function recordValue(cycle, log, sequence, size) {
  const value = Buffer.allocUnsafe(size)
  value.writeUInt32LE(cycle, 0)
  value.writeUInt32LE(log, 4)
  value.writeDoubleLE(sequence, 8)
  value.writeUInt32LE(size, 16)
  value.set(fillOf(cycle, log, sequence, size), HEADER_BYTES)
  return value
}

/** A size that is mostly small, sometimes a page or more, seldom large. */
export function someSize(random) {
  const kind = random.next()
  const below = kind < 0.7 ? 512 : kind < 0.97 ? 8192 : VALUE_BYTES_MAX
  return HEADER_BYTES + random.below(below - HEADER_BYTES)
}

/** What was acknowledged, over all cycles in one directory. */
export class Ledger {
  /** Log number to its acknowledged ranges. */
  #acked = new Map()
  /** Log number to the highest log start that was asked for. */
  #startLimits = new Map()
  acks = 0

  /** `count` records from `baseOffset` on, with sequences from `baseSequence` on. */
  acknowledge(log, cycle, baseOffset, baseSequence, count) {
    const ranges = this.#acked.get(log) ?? []
    ranges.push({ cycle, baseOffset, baseSequence, count })
    this.#acked.set(log, ranges)
    this.acks += count
  }

  /** Records below may be gone from now on. */
  allowStart(log, offset) {
    this.#startLimits.set(log, Math.max(offset, this.#startLimits.get(log) ?? 0))
  }

  toJSON() {
    return { acked: [...this.#acked], startLimits: [...this.#startLimits] }
  }

  static fromJSON({ acked, startLimits }) {
    const ledger = new Ledger()
    ledger.#acked = new Map(acked)
    ledger.#startLimits = new Map(startLimits)
    return ledger
  }

  /**
   * Holds a log as read (its batches in order, as bytes) to the ledger. Throws what is wrong.
   * Prefix: offsets without a gap from startOffset to endOffset, every record whole and where it was put, cycles in order, sequences rising
   * within a cycle (so nothing twice); every acknowledged record at its offset.
   */
  check(log, startOffset, endOffset, batchBytes) {
    const found = []
    let cycleBefore = -1
    let sequenceBefore = -1
    let next = startOffset
    for (const bytes of batchBytes) {
      for (const batch of batches(bytes, { checkCrc: true })) {
        for (const record of records(batch)) {
          // The first batch may begin before the log start.
          if (record.offset < startOffset) continue
          if (record.offset !== next) throw new Error(`log ${log}: offset ${record.offset} where ${next} was due`)
          next++
          const { cycle, sequence } = checkedValue(log, record)
          const inOrder = cycle > cycleBefore || (cycle === cycleBefore && sequence > sequenceBefore)
          if (!inOrder)
            throw new Error(
              `log ${log}: offset ${record.offset} has cycle ${cycle} sequence ${sequence} behind ${cycleBefore}/${sequenceBefore}`,
            )
          cycleBefore = cycle
          sequenceBefore = sequence
          found.push(cycle, sequence)
        }
      }
    }
    if (next !== endOffset) throw new Error(`log ${log}: read up to ${next}, its end is ${endOffset}`)
    const startLimit = this.#startLimits.get(log) ?? 0
    if (startOffset > startLimit)
      throw new Error(`log ${log}: starts at ${startOffset}, asked for ${startLimit} at most`)
    for (const { cycle, baseOffset, baseSequence, count } of this.#acked.get(log) ?? []) {
      for (let i = 0; i < count; i++) {
        const at = baseOffset + i
        if (at < startOffset) continue
        if (at >= endOffset)
          throw new Error(`log ${log}: offset ${at} was acknowledged in cycle ${cycle}, the log ends at ${endOffset}`)
        const place = 2 * (at - startOffset)
        if (found[place] !== cycle || found[place + 1] !== baseSequence + i)
          throw new Error(
            `log ${log}: offset ${at} was acknowledged as ${cycle}/${baseSequence + i} and is ${found[place]}/${found[place + 1]}`,
          )
      }
    }
    return found.length / 2
  }
}

function checkedValue(log, record) {
  const value = Buffer.from(record.value.buffer, record.value.byteOffset, record.value.byteLength)
  if (value.length < HEADER_BYTES)
    throw new Error(`log ${log}: offset ${record.offset} has a value of ${value.length} bytes`)
  const cycle = value.readUInt32LE(0)
  const sequence = value.readDoubleLE(8)
  const size = value.readUInt32LE(16)
  if (value.readUInt32LE(4) !== log || size !== value.length)
    throw new Error(
      `log ${log}: offset ${record.offset} is of log ${value.readUInt32LE(4)}, size ${size} in ${value.length}`,
    )
  if (!value.subarray(HEADER_BYTES).equals(fillOf(cycle, log, sequence, size)))
    throw new Error(
      `log ${log}: offset ${record.offset} (cycle ${cycle}, sequence ${sequence}) has other bytes than were written`,
    )
  return { cycle, sequence }
}
