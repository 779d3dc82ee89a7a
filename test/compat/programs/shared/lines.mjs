// SPDX-License-Identifier: Apache-2.0
// The JSON lines of the compat programs written in JavaScript; each links to this file.
import { readFileSync, writeSync } from 'node:fs'

export const decode = (text) => (text === null ? null : Buffer.from(text, 'base64'))
export const encode = (bytes) => (bytes === null || bytes === undefined ? null : bytes.toString('base64'))

/** The records of FILE, with bytes where the lines have base64. */
export function readRecords(file) {
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  return lines.map((line) => {
    const { partition, key, value, headers, timestamp } = JSON.parse(line)
    const pairs = headers.map(([name, bytes]) => [name, decode(bytes)])
    return { partition, key: decode(key), value: decode(value), headers: pairs, timestamp }
  })
}

/** Prints records, whose keys, values and header values are bytes or null. Returns only when a slow pipe has taken all. */
export function writeRecords(records) {
  const lines = records.map(({ topic, partition, offset, key, value, headers, timestamp }) => {
    const pairs = headers.map(([name, bytes]) => [name, encode(bytes)])
    return `${JSON.stringify({ topic, partition, offset, key: encode(key), value: encode(value), headers: pairs, timestamp })}\n`
  })
  const bytes = Buffer.from(lines.join(''))
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
}

/** Runs the verb that the command line names; a library's open handles do not keep the program up. */
export async function main(verbs) {
  const [verb, ...rest] = process.argv.slice(2)
  await verbs[verb](...rest)
  process.exit(0)
}
