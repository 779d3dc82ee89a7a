// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli, RFC 3720 appendix B.4) for TypeScript: what record batches v2 carry. Slicing by 16 tables, by 8
// below a few hundred bytes, where making a DataView costs more than it saves. The broker's own data path uses the
// native variant in native/core.

const POLYNOMIAL_REFLECTED = 0x82f63b78
const SLICES = 16
/** Below this many bytes single byte loads win. */
const WIDE_SIZE_MIN = 512

/** Slice s, entry b: what byte b followed by s zero bytes adds to the remainder. */
const table = makeTable()

function makeTable(): Int32Array {
  const made = new Int32Array(256 * SLICES)
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte
    for (let bit = 0; bit < 8; bit++) {
      remainder = remainder & 1 ? (remainder >>> 1) ^ POLYNOMIAL_REFLECTED : remainder >>> 1
    }
    made[byte] = remainder
  }
  for (let i = 256; i < made.length; i++) {
    const shorter = made[i - 256]!
    made[i] = made[shorter & 255]! ^ (shorter >>> 8)
  }
  return made
}

/** The checksum of bytes[start, end) as an unsigned integer; `seed` continues an earlier checksum. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  if (start < 0 || end > bytes.length || start > end) {
    throw new RangeError(`crc32c of bytes ${start} to ${end} of ${bytes.length}`)
  }
  const state = end - start < WIDE_SIZE_MIN ? narrow(bytes, start, end, ~seed) : wide(bytes, start, end, ~seed)
  return ~state >>> 0
}

function narrow(b: Uint8Array, start: number, end: number, state: number): number {
  const t = table
  let c = state
  let p = start
  for (; p + 8 <= end; p += 8) {
    c ^= b[p]! | (b[p + 1]! << 8) | (b[p + 2]! << 16) | (b[p + 3]! << 24)
    c =
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + b[p + 4]!]! ^
      t[512 + b[p + 5]!]! ^
      t[256 + b[p + 6]!]! ^
      t[b[p + 7]!]!
  }
  for (; p < end; p++) c = t[(c ^ b[p]!) & 255]! ^ (c >>> 8)
  return c
}

function wide(b: Uint8Array, start: number, end: number, state: number): number {
  const t = table
  const view = new DataView(b.buffer, b.byteOffset, b.byteLength)
  let c = state
  let p = start
  for (; p + 16 <= end; p += 16) {
    const w0 = c ^ view.getInt32(p, true)
    const w1 = view.getInt32(p + 4, true)
    const w2 = view.getInt32(p + 8, true)
    const w3 = view.getInt32(p + 12, true)
    c =
      t[3840 + (w0 & 255)]! ^
      t[3584 + ((w0 >>> 8) & 255)]! ^
      t[3328 + ((w0 >>> 16) & 255)]! ^
      t[3072 + (w0 >>> 24)]! ^
      t[2816 + (w1 & 255)]! ^
      t[2560 + ((w1 >>> 8) & 255)]! ^
      t[2304 + ((w1 >>> 16) & 255)]! ^
      t[2048 + (w1 >>> 24)]! ^
      t[1792 + (w2 & 255)]! ^
      t[1536 + ((w2 >>> 8) & 255)]! ^
      t[1280 + ((w2 >>> 16) & 255)]! ^
      t[1024 + (w2 >>> 24)]! ^
      t[768 + (w3 & 255)]! ^
      t[512 + ((w3 >>> 8) & 255)]! ^
      t[256 + ((w3 >>> 16) & 255)]! ^
      t[w3 >>> 24]!
  }
  return narrow(b, p, end, c)
}
