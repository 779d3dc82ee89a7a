// SPDX-License-Identifier: Apache-2.0
// The records that clients write and must read back: made from a seed, compared byte for byte.

/** What some client cannot express; a manifest names these in cannotProduce and cannotConsume, with the reason. */
export const limits = [
  'timestamps',
  'nullKeyAndValue',
  'nullKeyEmptyValue',
  'emptyKeyNullValue',
  'emptyBytes',
  'nullHeaderValues',
  'binaryHeaders',
  'interleavedHeaders',
  'headersPerRecord',
]

const recordsPerHeaderSet = 60
const words = 'varve lake sediment layer offset segment index reactor epoch quorum durable replica'.split(' ')

/** mulberry32: small, seeded, good enough to vary sizes and bytes. */
function randomFrom(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/**
 * Records over two or more partitions: null, empty, small, binary and 100 KiB values; null and empty keys; headers with
 * equal names, empty and null values; timestamps that go back and forth.
 * @param {{ seed: number, count: number, partitions: number, firstTimestamp: number, without?: string[] }} options
 */
export function makeRecords({ seed, count, partitions, firstTimestamp, without = [] }) {
  const random = randomFrom(seed)
  const below = (limit) => Math.floor(random() * limit)
  const can = (limit) => !without.includes(limit)
  const text = (size) => {
    let made = ''
    while (made.length < size) made += `${words[below(words.length)]} `
    return Buffer.from(made.slice(0, size))
  }
  const binary = (size) => Buffer.from(Uint8Array.from({ length: size }, () => below(256)))

  const makeValue = (index) => {
    if (index % 211 === 7) return text(100 * 1024)
    if (index === 100) return binary(100 * 1024)
    const kind = below(20)
    if (kind === 0) return null
    if (kind === 1) return Buffer.alloc(0)
    if (kind === 2) return binary(below(4096))
    return text(1 + below(400))
  }
  const keyMayBeNull = (value) => {
    if (value === null) return can('nullKeyAndValue')
    return value.length > 0 || can('nullKeyEmptyValue')
  }
  const makeKey = (value) => {
    const kind = below(6)
    if (kind === 0 && keyMayBeNull(value)) return null
    if (kind === 1 && (value !== null || can('emptyKeyNullValue'))) return Buffer.alloc(0)
    return kind === 2 ? binary(1 + below(64)) : Buffer.from(`key-${below(50)}`)
  }
  const makeHeaders = (index) => {
    const turn = can('headersPerRecord') ? below(5) : Math.floor(index / recordsPerHeaderSet) % 5
    const mark = can('headersPerRecord') ? String(index) : 'set'
    const bytes = can('binaryHeaders') ? Buffer.from([255, 254, 1, 128, 13, 200 + turn]) : Buffer.from('bytes')
    const nothing = can('nullHeaderValues') ? null : Buffer.alloc(0)
    if (turn === 0) return []
    if (turn === 1) return [['trace', Buffer.from(mark)]]
    if (turn === 2)
      return [
        ['empty', Buffer.alloc(0)],
        ['nothing', nothing],
        ['überschrift', bytes],
      ]
    const equalNames = [
      ['a', Buffer.from('1')],
      ['a', Buffer.from('2')],
      ['b', Buffer.from('3')],
    ]
    if (turn === 3) return equalNames
    return can('interleavedHeaders')
      ? [...equalNames, ['a', bytes]]
      : [
          ['b', bytes],
          ['a', Buffer.from(mark)],
        ]
  }

  return Array.from({ length: count }, (_, index) => {
    const value = makeValue(index)
    return {
      partition: below(partitions),
      key: makeKey(value),
      value,
      headers: makeHeaders(index),
      timestamp: firstTimestamp + index * 10 - (below(10) === 0 ? 5_000 : 0),
    }
  })
}

const encode = (bytes) => (bytes === null ? null : bytes.toString('base64'))

/** The lines that a program's `produce` reads. */
export function toLines(records) {
  return records
    .map((record) => {
      const headers = record.headers.map(([name, value]) => [name, encode(value)])
      return `${JSON.stringify({ ...record, key: encode(record.key), value: encode(record.value), headers })}\n`
    })
    .join('')
}

/** The lines that a program's `consume` printed, still in base64. */
export function fromLines(output) {
  const text = output.toString()
  return text === ''
    ? []
    : text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
}

/** How a reader with these limits sees bytes, which are in base64. */
export function bytesAsSeen(text, readerLimits) {
  return text === '' && readerLimits.includes('emptyBytes') ? null : text
}

function headersAsSeen(pairs, readerLimits) {
  const headers = pairs.map(([name, value]) => [name, bytesAsSeen(value, readerLimits)])
  if (!readerLimits.includes('interleavedHeaders')) return headers
  const names = [...new Set(headers.map(([name]) => name))]
  return names.flatMap((name) => headers.filter(([each]) => each === name))
}

/**
 * Throws unless `got`, in the order in which it came, is exactly `written` (partition by partition, from offset 0 on).
 * @param {object} how `readerLimits`: the reader's cannotConsume; `sentBetween`: [from, to] in ms when the writer cannot
 *   set timestamps
 */
export function compare(written, got, { readerLimits = [], sentBetween } = {}) {
  if (got.length !== written.length) throw new Error(`${got.length} records came back instead of ${written.length}`)
  for (const partition of new Set(written.map((record) => record.partition))) {
    const expected = written.filter((record) => record.partition === partition)
    const actual = got.filter((record) => record.partition === partition)
    if (actual.length !== expected.length)
      throw new Error(`partition ${partition}: ${actual.length} records instead of ${expected.length}`)
    expected.forEach((record, index) => {
      compareOne(record, actual[index], { index, readerLimits, sentBetween })
    })
  }
}

function compareOne(record, line, { index, readerLimits, sentBetween }) {
  const where = `partition ${record.partition}, offset ${index}`
  const same = (what, expected, actual) => {
    const [left, right] = [JSON.stringify(expected), JSON.stringify(actual)]
    if (left !== right) throw new Error(`${where}: ${what} ${right.slice(0, 200)} instead of ${left.slice(0, 200)}`)
  }
  same('offset', index, line.offset)
  same('key', bytesAsSeen(encode(record.key), readerLimits), line.key)
  same('value', bytesAsSeen(encode(record.value), readerLimits), line.value)
  const headers = record.headers.map(([name, value]) => [name, encode(value)])
  same('headers', headersAsSeen(headers, readerLimits), line.headers)
  if (sentBetween === undefined) same('timestamp', record.timestamp, line.timestamp)
  else if (line.timestamp < sentBetween[0] || line.timestamp > sentBetween[1])
    throw new Error(`${where}: timestamp ${line.timestamp} outside of the time of sending ${sentBetween.join(' to ')}`)
}
