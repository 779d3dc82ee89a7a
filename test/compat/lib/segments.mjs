// SPDX-License-Identifier: Apache-2.0
// A look at stored segments without any broker: just enough of record batch v2 to see how a batch was compressed.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const lengthAt = 8
const magicAt = 16
const attributesAt = 21
const headerBytes = 61
const codecMask = 7
const codecNames = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

/** Paths of the files of a partition folder that end so, oldest first. */
export function filesOf(logDir, partition, ending) {
  const dir = join(logDir, partition)
  return readdirSync(dir)
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => join(dir, name))
}

/** The batches of one segment; one that is being written may end in zeros. */
export function batchesOf(path) {
  const bytes = readFileSync(path)
  const batches = []
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = bytes.readInt32BE(at + lengthAt)
    if (length === 0) break
    const magic = bytes.readInt8(at + magicAt)
    if (magic !== 2) throw new Error(`${path}: a batch of magic ${magic} at ${at}`)
    batches.push({ position: at, codec: codecNames[bytes.readInt16BE(at + attributesAt) & codecMask] })
    at += lengthAt + 4 + length
  }
  return batches
}

/** The codecs of all batches of a topic. */
export function codecsOf(logDir, topic) {
  const partitions = readdirSync(logDir).filter((name) => name.replace(/-\d+$/, '') === topic)
  const segments = partitions.flatMap((partition) => filesOf(logDir, partition, '.log'))
  return new Set(segments.flatMap(batchesOf).map((batch) => batch.codec))
}
