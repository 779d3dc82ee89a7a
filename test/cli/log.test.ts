// SPDX-License-Identifier: Apache-2.0
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { logCommand } from '../../src/cli/log.ts'
import { type DumpOptions, dumpFiles, filesToDump } from '../../src/cli/log-dump.ts'
import { writeLines } from '../../src/cli/log-text.ts'
import { type Finding, findingText, type Totals, verifyDirectories } from '../../src/cli/log-verify.ts'
import { openEngine } from '../../src/storage/index.ts'
import {
  batch,
  epochText,
  indexEntry,
  marker,
  offsetName,
  seal,
  snapshot,
  T0,
  temporaryDirectory,
  timeEntry,
  txnEntry,
  withLastOffsetDelta,
  writePartition,
} from './log-fixtures.ts'

interface Verified {
  findings: Finding[]
  /** Without the directory in front. */
  problems: string[]
  notes: string[]
  totals: Totals
}

function verify(directory: string, options: { deep?: boolean; allowGaps?: boolean } = {}): Verified {
  const findings: Finding[] = []
  const running = verifyDirectories([directory], { deep: false, allowGaps: false, ...options })
  for (;;) {
    const next = running.next()
    if (next.done) {
      const texts = (type: Finding['type']) =>
        findings
          .filter((finding) => finding.type === type)
          .map((finding) => findingText(finding).replaceAll(`${directory}/`, '').replaceAll(directory, '.'))
      return { findings, problems: texts('problem'), notes: texts('note'), totals: next.value }
    }
    findings.push(next.value)
  }
}

const DUMP: DumpOptions = { records: false, hex: false, json: false, from: 0, limit: Infinity }

function dump(path: string, options: Partial<DumpOptions> = {}): { lines: string[]; damaged: boolean } {
  const lines: string[] = []
  const running = dumpFiles(filesToDump([path]), { ...DUMP, ...options })
  for (;;) {
    const next = running.next()
    if (next.done) return { lines, damaged: next.value }
    lines.push(next.value)
  }
}

/** Three segments of `orders-0`; returns the partition's directory. */
function orders(): string {
  const directory = join(temporaryDirectory(), 'orders-0')
  const segments = [
    [batch(0), batch(2), batch(4)],
    [batch(6), batch(8)],
    [batch(10, 3), batch(13, 1)],
  ]
  writePartition(directory, { segments, epochs: [[0, 0]] })
  return directory
}

function change(file: string, at: number, mask = 0xff): void {
  const bytes = readFileSync(file)
  bytes[at] = bytes[at]! ^ mask
  writeFileSync(file, bytes)
}

/** What is on disk, and when it was changed. */
function fingerprint(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const { mtimeMs, size } = statSync(join(directory, name))
      return `${name} ${mtimeMs} ${size}`
    })
}

async function writeWithEngine(dir: string, close: boolean): Promise<() => Promise<void>> {
  const engine = await openEngine({ dir })
  const log = engine.log('orders', 0, { segmentBytes: 8192, indexIntervalBytes: 300 })
  for (let i = 0; i < 200; i++)
    log.append([
      { key: `k${i}`, value: 'v'.repeat(60), timestamp: T0 + i },
      { value: null, timestamp: T0 - i },
    ])
  await log.flush()
  engine.log('empty', 0)
  if (close) await engine.close()
  return () => engine.close()
}

afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
})

describe('varve log verify', () => {
  it('finds nothing wrong with what the fixtures and the engine write', async () => {
    const directory = orders()
    expect(verify(directory, { deep: true })).toMatchObject({
      findings: [],
      totals: { partitions: 1, segments: 3, batches: 7, records: 14, problems: 0 },
    })
    const dir = temporaryDirectory()
    await writeWithEngine(dir, true)
    const { findings, totals } = verify(dir, { deep: true })
    expect(findings).toEqual([])
    expect(totals).toMatchObject({ partitions: 2, batches: 200, records: 400, problems: 0 })
    expect(totals.segments).toBeGreaterThan(2)
  })

  it('looks at a directory that is in use without a lock and without changing anything', async () => {
    const dir = temporaryDirectory()
    const engine = await openEngine({ dir })
    const log = engine.log('orders', 0)
    for (let i = 0; i < 200; i++) log.append([{ value: `${i}` }])
    await log.flush()
    const before = fingerprint(dir)
    const { problems, notes, totals } = verify(dir)
    expect(problems).toEqual([])
    expect(notes).toEqual([`note: .: in use by process ${process.pid}: its tail may move`])
    expect(totals.records).toBe(200)
    expect(fingerprint(dir)).toEqual(before)
    await engine.close()
  })

  it('takes what a killed process left as it is', async () => {
    const dir = temporaryDirectory()
    const close = await writeWithEngine(dir, false)
    const copy = join(temporaryDirectory(), 'copy')
    cpSync(dir, copy, { recursive: true })
    await close()
    expect(verify(copy)).toMatchObject({ problems: [], totals: { records: 400 } })
  })

  it('finds any flipped bit of what the engine wrote, and tells of one in a segment in one line', async () => {
    const dir = temporaryDirectory()
    await writeWithEngine(dir, true)
    const files = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) => {
      const path = join(dir, name)
      // Which topic a partition is of, and whether the stop was clean, nothing else says.
      return (
        statSync(path).isFile() && statSync(path).size > 0 && !/\.kafka_cleanshutdown|partition\.metadata/.test(name)
      )
    })
    expect(files.length).toBeGreaterThan(15)
    const flip = fc.record({ file: fc.constantFrom(...files), at: fc.nat(), bit: fc.nat({ max: 7 }) })
    fc.assert(
      fc.property(flip, ({ file, at, bit }) => {
        const path = join(dir, file)
        const original = readFileSync(path)
        try {
          change(path, at % original.length, 1 << bit)
          const { problems } = verify(dir)
          expect(problems.length).toBeGreaterThan(0)
          if (file.endsWith('.log')) expect(problems.some((problem) => problem.startsWith(file))).toBe(true)
        } finally {
          writeFileSync(path, original)
        }
      }),
      { numRuns: 150, seed: 7 },
    )
  })

  it('finds every cut of the last segment that is not between two batches', () => {
    const directory = orders()
    const log = join(directory, offsetName(10, '.log'))
    const whole = readFileSync(log)
    const boundary = 12 + whole.readInt32BE(8)
    for (let size = whole.length - 1; size > 0; size -= 3) {
      truncateSync(log, size)
      const { problems } = verify(directory)
      if (size === boundary)
        expect(problems).toEqual([
          expect.stringMatching(/\.index: 1 entry/),
          expect.stringMatching(/\.timeindex: 1 entry/),
        ])
      // The first bytes of a batch are zeros, like allocated space.
      else expect(problems[0]).toMatch(/position \d+.*(?:are left|too few)|index: 1 entry/)
      writeFileSync(log, whole)
    }
  })

  it('calls a torn tail behind the recovery point a note: the next start cuts it', () => {
    const directory = orders()
    const top = join(directory, '..')
    const log = join(directory, offsetName(10, '.log'))
    const whole = readFileSync(log)
    writeFileSync(log, Buffer.concat([whole, batch(14).subarray(0, 70), Buffer.alloc(500)]))
    writeFileSync(join(top, 'meta.properties'), 'version=1\n')
    const recoveryPoint = (offset: number): void =>
      writeFileSync(join(top, 'recovery-point-offset-checkpoint'), `0\n1\norders 0 ${offset}\n`)
    recoveryPoint(14)
    expect(verify(top)).toMatchObject({
      problems: [],
      notes: [
        expect.stringMatching(
          /^note: orders-0\/0*10\.log: position \d+, offset 14: its CRC is .*; the next start repairs it$/,
        ),
      ],
    })
    recoveryPoint(15)
    expect(verify(top).problems).toEqual([
      expect.stringMatching(
        /0*10\.log: position \d+, offset 14: its CRC is 0x[0-9a-f]+, that of its bytes 0x[0-9a-f]+$/,
      ),
    ])
    writeFileSync(log, whole)
    expect(verify(top).problems).toEqual(['orders-0: it ends with offset 13, but all below 15 was on stable storage'])
    recoveryPoint(14)
    writeFileSync(join(top, '.kafka_cleanshutdown'), '{"version":0,"brokerEpoch":-1}')
    expect(verify(top).findings).toEqual([])
  })

  it('goes on behind damage and says how much is lost', () => {
    const directory = orders()
    const log = join(directory, offsetName(0, '.log'))
    const size = batch(0).length
    // The length of the middle batch: what follows can't be found by it.
    change(log, size + 9)
    expect(verify(directory).problems).toEqual([
      `${offsetName(0, '.log')}: position ${size}: a batch of ${size + 0xff0000} bytes where ${2 * size} are left; the next batch begins ${size} bytes later`,
    ])
    change(log, size + 9)
    change(log, size + 80, 1)
    expect(verify(directory).problems).toEqual([
      expect.stringMatching(`^${offsetName(0, '.log')}: position ${size}, offset 2: its CRC is 0x[0-9a-f]{8}, that of`),
    ])
  })

  const wrong: Record<string, [breakIt: (directory: string) => void, told: RegExp[]]> = {
    'batches that are missing between segments': [
      (directory) => {
        for (const suffix of ['.log', '.index', '.timeindex', '.seal']) rmSync(join(directory, offsetName(6, suffix)))
      },
      [/^0*10\.log: the segment before it ends with offset 5: offsets are missing$/],
    ],
    'batches that are missing within a segment': [
      (directory) =>
        writeFileSync(join(directory, offsetName(10, '.log')), Buffer.concat([batch(10, 3), batch(14, 1)])),
      [/^0*10\.log: position \d+, offset 14: its base offset should be 13: offsets are missing$/],
    ],
    'a base offset that was changed': [
      (directory) => change(join(directory, offsetName(6, '.log')), 2, 1),
      [/^0*6\.log: position 0, offset \d+: its base offset should be 6: offsets are missing$/],
    ],
    'a base offset that was changed in the last batch of a segment': [
      (directory) => change(join(directory, offsetName(6, '.log')), batch(6).length + 7, 1),
      [/^0*6\.log: position \d+, offset 9: its base offset should be 8: offsets are missing$/],
    ],
    'offsets that are there twice': [
      (directory) =>
        writeFileSync(join(directory, offsetName(10, '.log')), Buffer.concat([batch(10, 3), batch(12, 1)])),
      [/^0*10\.log: position \d+, offset 12: its base offset should be 13: offsets are there twice$/],
    ],
    'a leader epoch that the checkpoint does not know': [
      (directory) => change(join(directory, offsetName(10, '.log')), 15, 4),
      [/^0*10\.log: position 0, offset 10: its leader epoch is 4, leader-epoch-checkpoint says 0 for its offset$/],
    ],
    'epochs that do not rise': [
      (directory) =>
        writeFileSync(
          join(directory, 'leader-epoch-checkpoint'),
          epochText([
            [0, 0],
            [1, 5],
            [1, 8],
          ]),
        ),
      [/^leader-epoch-checkpoint: epoch 1 at offset 8 does not rise over epoch 1 at 5$/],
    ],
    'an epoch behind the log’s end': [
      (directory) =>
        writeFileSync(
          join(directory, 'leader-epoch-checkpoint'),
          epochText([
            [0, 0],
            [1, 99],
          ]),
        ),
      [/^leader-epoch-checkpoint: offset 99: epoch 1 begins at offset 99, behind the log's end at 14$/],
    ],
    'an index entry that points between batches': [
      (directory) => writeFileSync(join(directory, offsetName(10, '.index')), indexEntry(3, 50)),
      [/^0*10\.index: an entry says offset 13 at position 50: no batch begins there$/],
    ],
    'an index entry with another offset': [
      (directory) => writeFileSync(join(directory, offsetName(10, '.index')), indexEntry(2, batch(10, 3).length)),
      [/^0*10\.index: an entry says offset 12 at position \d+: the batch there ends with offset 13$/],
    ],
    'index entries out of order': [
      (directory) => {
        const good = indexEntry(3, batch(10, 3).length)
        writeFileSync(join(directory, offsetName(10, '.index')), Buffer.concat([good, indexEntry(2, 5)]))
      },
      [
        /^0*10\.index: its entry 0 breaks the order: offset 13 at position 115$/,
        /an entry says offset 12 at position 5/,
      ],
    ],
    'half an index entry': [
      (directory) => writeFileSync(join(directory, offsetName(10, '.index')), Buffer.alloc(11, 1)),
      [/^0*10\.index: 11 bytes are not a multiple of 8$/],
    ],
    'a time that no batch has': [
      (directory) => writeFileSync(join(directory, offsetName(10, '.timeindex')), timeEntry(T0 + 7, 2)),
      [/^0*10\.timeindex: an entry says 2023-.*\.007Z at offset 12: the largest of its batch is 2023-.*\.012Z$/],
    ],
    'times that fall': [
      (directory) =>
        writeFileSync(
          join(directory, offsetName(10, '.timeindex')),
          Buffer.concat([timeEntry(T0 + 12, 2), timeEntry(T0 + 11, 3)]),
        ),
      [/^0*10\.timeindex: its entry 0 breaks the order: 2023-.*\.012Z at offset 12$/],
    ],
    'a closed segment with zeros behind it': [
      (directory) => {
        const log = join(directory, offsetName(6, '.log'))
        writeFileSync(log, Buffer.concat([readFileSync(log), Buffer.alloc(100)]))
      },
      [
        /^0*6\.log: position \d+: a closed segment ends with 100 zero bytes$/,
        /^0*6\.seal: the size is \d+ by the seal/,
      ],
    ],
    'a seal of other bytes': [
      (directory) => {
        const index = readFileSync(join(directory, offsetName(6, '.index')))
        const times = readFileSync(join(directory, offsetName(6, '.timeindex')))
        const other = Buffer.concat([batch(6), batch(8, 2, { leaderEpoch: 1 })])
        writeFileSync(join(directory, offsetName(6, '.seal')), seal(other, 6, index, times))
      },
      [
        /^0*6\.seal: the largest leader epoch is 1 by the seal and 0 in the segment$/,
        /^0*6\.log: position 0: bytes 0 to/,
      ],
    ],
    'an index that is not the one that was sealed': [
      (directory) => writeFileSync(join(directory, offsetName(6, '.index')), ''),
      [/^0*6\.index: it is not what was sealed: 8 bytes with CRC 0x[0-9a-f]{8} then, 0 with 0x00000000 now$/],
    ],
    'a damaged snapshot': [
      (directory) => {
        const bytes = snapshot([{ id: 1n, epoch: 0, lastSequence: 1, lastOffset: 5 }])
        writeFileSync(join(directory, offsetName(6, '.snapshot')), bytes.fill(9, 20, 21))
      },
      [/^0*6\.snapshot: offset 6: its CRC is 0x[0-9a-f]{8}, that of its bytes 0x[0-9a-f]{8}$/],
    ],
    'a snapshot behind the log’s end': [
      (directory) => writeFileSync(join(directory, offsetName(99, '.snapshot')), snapshot([])),
      [/^0*99\.snapshot: offset 99: it is for an offset behind the log's end at 14$/],
    ],
    'a topic id that is none': [
      (directory) => writeFileSync(join(directory, 'partition.metadata'), 'version: 0\ntopic_id: short'),
      [/^partition\.metadata: it is not 'version: 0' and 'topic_id: ID'$/],
    ],
    'records that the header does not count': [
      (directory) => {
        const gapped = withLastOffsetDelta(batch(13, 1), 5)
        writeFileSync(join(directory, offsetName(10, '.log')), Buffer.concat([batch(10, 3), gapped]))
      },
      [/^0*10\.log: position \d+, offset 13: it says 1 record for offsets 13\.\.18$/, /^0*10\.index: an entry says/],
    ],
  }

  it.each(Object.entries(wrong))('tells of %s', (_what, [breakIt, told]) => {
    const directory = orders()
    breakIt(directory)
    const { problems } = verify(directory)
    told.forEach((pattern, i) => {
      expect(problems[i]).toMatch(pattern)
    })
  })

  it('takes holes in compacted logs: told so, by name, or by the cleaner’s checkpoint', () => {
    const top = temporaryDirectory()
    const segments = [[batch(3), withLastOffsetDelta(batch(9, 1), 4)], [batch(20)]]
    writeFileSync(join(top, 'meta.properties'), 'version=1\n')
    writePartition(join(top, 'orders-0'), { segments, epochs: [[0, 0]] })
    writePartition(join(top, '__consumer_offsets-3'), { segments, epochs: [[0, 0]] })
    expect(verify(top).problems.length).toBeGreaterThan(0)
    expect(verify(top).problems.every((problem) => problem.startsWith('orders-0/'))).toBe(true)
    expect(verify(top, { allowGaps: true }).problems).toEqual([])
    writeFileSync(join(top, 'cleaner-offset-checkpoint'), '0\n1\norders 0 20\n')
    expect(verify(top).problems).toEqual([])
  })

  it('holds snapshots and transaction indexes to the batches', () => {
    const directory = join(temporaryDirectory(), 'payments-0')
    const producer = { producerId: 7n, producerEpoch: 0 }
    const first = [
      batch(0, 2, { ...producer, baseSequence: 0, transactional: true }),
      batch(2, 1, { producerId: 9n, producerEpoch: 3, baseSequence: 2 ** 31 - 1 }),
      marker(3, 'abort', 7n),
      batch(4, 2, { ...producer, baseSequence: 2, transactional: true }),
      marker(6, 'commit', 7n),
    ]
    writePartition(directory, { segments: [first, [batch(7, 1)]] })
    const txnindex = join(directory, offsetName(0, '.txnindex'))
    const snapshotFile = join(directory, offsetName(7, '.snapshot'))
    // The seal knows of no aborted transaction.
    rmSync(join(directory, offsetName(0, '.seal')))
    const last = { id: 7n, epoch: 0, lastSequence: 3, lastOffset: 5 }
    const other = { id: 9n, epoch: 3, lastSequence: 2 ** 31 - 1, lastOffset: 2 }

    expect(verify(directory).problems).toEqual([
      expect.stringMatching(
        /txnindex: offset 3: the transaction of producer 7 that was aborted at offset 3 is missing$/,
      ),
    ])
    writeFileSync(txnindex, txnEntry(7n, 0, 3))
    writeFileSync(snapshotFile, snapshot([last, other, { id: 8n, epoch: 0, lastSequence: 5, lastOffset: 1 }]))
    expect(verify(directory).findings).toEqual([])

    writeFileSync(txnindex, txnEntry(7n, 1, 3))
    expect(verify(directory).problems).toEqual([expect.stringMatching(/at offset 3 began at 1, it began at 0$/)])
    const unstable = txnEntry(7n, 0, 3)
    unstable[33] = 3
    writeFileSync(txnindex, unstable)
    expect(verify(directory).problems).toEqual([
      expect.stringMatching(/last stable offset was 3 when offset 3 ended a transaction, it was 4$/),
    ])
    writeFileSync(txnindex, txnEntry(7n, 0, 6))
    expect(verify(directory).problems).toEqual([
      expect.stringMatching(/offset 3 is missing$/),
      expect.stringMatching(/producer 7 aborted at offset 6: no abort marker of it is there$/),
    ])
    writeFileSync(txnindex, txnEntry(7n, 0, 3))
    writeFileSync(snapshotFile, snapshot([{ ...last, lastSequence: 1 }, other]))
    expect(verify(directory).problems).toEqual([
      expect.stringMatching(/producer 7 ends with sequence 1 at offset 5, in the log with 3 at 5$/),
    ])
    writeFileSync(snapshotFile, snapshot([{ ...last, lastOffset: 7 }]))
    expect(verify(directory).problems).toEqual([expect.stringMatching(/offset 7, which is not before the snapshot$/)])
  })

  it('decodes every record when it is to go deep', () => {
    const directory = orders()
    const log = join(directory, offsetName(10, '.log'))
    const gzip = { id: 1 as const, compress: gzipSync, decompress: () => new Uint8Array() }
    const broken = { ...gzip, compress: (bytes: Uint8Array) => gzipSync(bytes).subarray(0, -12) }
    writeFileSync(log, Buffer.concat([batch(10, 3, { codec: gzip }), batch(13, 50, { codec: broken })]))
    rmSync(join(directory, offsetName(10, '.index')))
    rmSync(join(directory, offsetName(10, '.timeindex')))
    expect(verify(directory).problems).toEqual([])
    expect(verify(directory, { deep: true }).problems).toEqual([
      expect.stringMatching(/0*10\.log: position \d+, offset 13: its records can't be read: /),
    ])
  })

  it('notes what is on its way in or out, and old message formats', () => {
    const directory = orders()
    const top = join(directory, '..')
    for (const suffix of ['.log.deleted', '.index.deleted', '.log.swap', '.timeindex.cleaned'])
      writeFileSync(join(directory, offsetName(0, suffix)), '')
    writeFileSync(join(directory, offsetName(500, '.index')), '')
    writeFileSync(join(top, 'meta.properties'), 'version=1\n')
    mkdirSync(join(top, 'orders-1.0123456789abcdef0123456789abcdef-delete'))
    const old = Buffer.alloc(40)
    old.writeInt32BE(28, 8)
    old[16] = 1
    writeFileSync(join(directory, offsetName(10, '.log')), old)
    const { problems, notes } = verify(top)
    expect(problems.filter((problem) => !problem.includes('index'))).toEqual([])
    expect(notes.sort()).toEqual([
      'note: orders-0/00000000000000000010.log: 1 message of format 0 or 1 not checked',
      'note: orders-0/00000000000000000500.index: there is no .log file to it',
      'note: orders-0: 1 file complete, to replace segments at the next start (.swap)',
      'note: orders-0: 1 file unfinished, to be removed at the next start (.cleaned)',
      'note: orders-0: 2 files to be removed (.deleted)',
      'note: orders-1.0123456789abcdef0123456789abcdef-delete: waits for its removal',
    ])
  })

  it('lists the first findings of a file and counts the others', () => {
    const directory = join(temporaryDirectory(), 'orders-0')
    writePartition(directory, { segments: [Array.from({ length: 60 }, (_, i) => batch(i * 2))] })
    writeFileSync(
      join(directory, offsetName(0, '.index')),
      Buffer.concat(Array.from({ length: 50 }, (_, i) => indexEntry(i + 1, i + 1))),
    )
    const { problems, totals } = verify(directory)
    expect(problems.length).toBe(21)
    expect(problems.at(-1)).toMatch(/30 more findings not listed$/)
    expect(totals.problems).toBe(50)
  })

  it('finds a partition that is in two log directories', () => {
    const [one, two] = [join(orders(), '..'), join(orders(), '..')]
    const findings = [...verifyDirectories([one, two], { deep: false, allowGaps: false })]
    expect(findings).toEqual([
      { type: 'problem', file: join(two, 'orders-0'), text: `the same partition is in ${one} too` },
    ])
  })
})

describe('varve log dump', () => {
  it('shows batches, and records as text that is safe for a terminal', () => {
    const directory = join(temporaryDirectory(), 'orders-0')
    const records = [
      { key: null, value: Buffer.from('a\u001b[31m\u202eb"'), timestampMs: T0 },
      {
        key: Buffer.from([0xff, 0x00]),
        value: null,
        headers: [{ key: 'h', value: Buffer.from('x') }],
        timestampMs: -1,
      },
    ]
    const gzip = { id: 1 as const, compress: gzipSync, decompress: () => new Uint8Array() }
    writePartition(directory, {
      segments: [
        [
          batch(0, 2, { records, codec: gzip, producerId: 7n, producerEpoch: 1, baseSequence: 5, transactional: true }),
          marker(2, 'commit', 7n, 1),
        ],
      ],
    })
    const file = join(directory, offsetName(0, '.log'))
    const { lines, damaged } = dump(file, { records: true })
    expect(damaged).toBe(false)
    expect(lines).toEqual([
      `== ${file}`,
      expect.stringMatching(
        /^batch offsets 0\.\.1 position 0 size \d+ records 2 codec gzip leaderEpoch 0 producerId 7 producerEpoch 1 sequence 5 timestamps 2023-11-14T22:13:20\.000Z\.\.2023-11-14T22:13:20\.000Z transactional crc ok$/,
      ),
      '  offset 0 timestamp 2023-11-14T22:13:20.000Z key null value "a\\u001b[31m\\u202eb\\""',
      '  offset 1 timestamp none key 0xff00 value null header "h" "x"',
      expect.stringMatching(/^batch offsets 2\.\.2 .* transactional control crc ok$/),
      '  offset 2 timestamp 2023-11-14T22:13:20.002Z commit marker coordinatorEpoch 9',
    ])
    expect(dump(file, { records: true, hex: true }).lines[2]).toMatch(/key null value 0x611b5b33316d/)
    const json = dump(file, { records: true, json: true }).lines.map((line) => JSON.parse(line))
    expect(json[0]).toMatchObject({
      type: 'batch',
      baseOffset: 0,
      lastOffset: 1,
      codec: 'gzip',
      producerId: 7,
      crcOk: true,
    })
    expect(json[2]).toEqual({
      type: 'record',
      offset: 1,
      timestampMs: -1,
      keyHex: 'ff00',
      value: null,
      headers: [{ key: 'h', value: 'x' }],
    })
    expect(json[4]).toMatchObject({ type: 'marker', offset: 2, marker: 'commit', coordinatorEpoch: 9 })
  })

  it('shows every kind of file of a directory, the segment first', () => {
    const directory = orders()
    writeFileSync(
      join(directory, offsetName(6, '.snapshot')),
      snapshot([{ id: 3n, epoch: 1, lastSequence: 4, lastOffset: 5 }]),
    )
    writeFileSync(join(directory, offsetName(0, '.txnindex')), txnEntry(7n, 1, 3))
    writeFileSync(join(directory, 'partition.metadata'), 'version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ')
    writeFileSync(join(directory, '..', 'recovery-point-offset-checkpoint'), '0\n1\norders 0 14\n')
    writeFileSync(join(directory, '..', 'not-ours'), 'x')
    const { lines, damaged } = dump(join(directory, '..'))
    expect(damaged).toBe(false)
    const shown = lines.map((line) => line.replace(`${join(directory, '..')}/`, ''))
    expect(shown.filter((line) => line.startsWith('==')).slice(0, 6)).toEqual([
      '== recovery-point-offset-checkpoint',
      '== orders-0/00000000000000000000.log',
      '== orders-0/00000000000000000000.index',
      '== orders-0/00000000000000000000.seal',
      '== orders-0/00000000000000000000.timeindex',
      '== orders-0/00000000000000000000.txnindex',
    ])
    for (const line of [
      'partition topic orders partition 0 offset 14',
      `entry offset 3 position ${batch(0).length}`,
      'entry timestamp 2023-11-14T22:13:20.005Z offset 5',
      'aborted producerId 7 firstOffset 1 lastOffset 3 lastStableOffset 4',
      'producer producerId 3 producerEpoch 1 lastSequence 4 lastOffset 5 offsetDelta 1 timestamp 2023-11-14T22:13:20.000Z coordinatorEpoch -1 currentTxnFirstOffset -1',
      'epoch epoch 0 startOffset 0',
      'topic id AAAAAAAAAAAAAAAAAAAAAQ',
    ])
      expect(shown).toContain(line)
    expect(shown.find((line) => line.startsWith('seal '))).toMatch(
      /^seal baseOffset 0 nextOffset 6 sizeBytes \d+ .* index 16 bytes 0x[0-9a-f]{8} .* blockCrcs 0x[0-9a-f]{8}$/,
    )
  })

  it('goes on behind damage, says so, and reports it', () => {
    const directory = orders()
    const log = join(directory, offsetName(0, '.log'))
    const size = batch(0).length
    change(log, 70)
    change(log, size + 16)
    writeFileSync(join(directory, offsetName(6, '.seal')), 'short')
    const { lines, damaged } = dump(directory, { records: true })
    expect(damaged).toBe(true)
    expect(lines[1]).toMatch(/crc DAMAGED: 0x[0-9a-f]{8} stored, 0x[0-9a-f]{8} computed$/)
    expect(lines[2]).toBe(`damaged position ${size} size ${size}: magic -3 is no record format`)
    expect(lines[3]).toMatch(/^batch offsets 4\.\.5 /)
    expect(lines).toContain('damaged: 5 bytes are too few for a seal')
  })

  it('begins and ends where it is told', () => {
    const directory = orders()
    const { lines } = dump(join(directory, offsetName(0, '.log')), { from: 3, limit: 1 })
    expect(lines.slice(1)).toEqual([expect.stringMatching(/^batch offsets 2\.\.3 /)])
  })
})

describe('the command', () => {
  async function run(...args: string[]): Promise<{ out: string; err: string; code: unknown }> {
    let [out, err] = ['', '']
    vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      out += String(chunk)
      return true
    })
    vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
      err += String(chunk)
      return true
    })
    process.exitCode = undefined
    try {
      await logCommand().parseAsync(args, { from: 'user' })
    } catch (error) {
      return { out, err, code: (error as { exitCode?: number }).exitCode }
    }
    return { out, err, code: process.exitCode ?? 0 }
  }

  it('ends with 0 when all is well and with 1 when something is not', async () => {
    const directory = orders()
    const sizes = [0, 6, 10].map((base) => statSync(join(directory, offsetName(base, '.log'))).size)
    expect(await run('verify', directory)).toEqual({
      out: `1 partition, 3 segments, 7 batches, 14 records, ${sizes.reduce((sum, size) => sum + size)} bytes: no problems\n`,
      err: '',
      code: 0,
    })
    change(join(directory, offsetName(6, '.log')), batch(6).length + 70)
    const { out, code } = await run('verify', directory)
    expect(code).toBe(1)
    expect(out).toMatch(/: 1 problem\n$/)
    const json = (await run('verify', '--json', directory)).out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(json).toEqual([
      expect.objectContaining({ type: 'problem', position: batch(6).length, offset: 8 }),
      expect.objectContaining({ type: 'totals', problems: 1, batches: 6 }),
    ])
    expect((await run('dump', directory)).code).toBe(1)
    expect((await run('dump', join(directory, offsetName(0, '.log')))).code).toBe(0)
  })

  it.each<[RegExp, (directory: string) => string[]]>([
    [
      /holds no \.log files and no directories of partitions \(TOPIC-N\): name a log directory/,
      (dir) => ['verify', dir],
    ],
    [/holds no \.log files and no directories of partitions \(TOPIC-N\): name a log directory/, (dir) => ['dump', dir]],
    [/nowhere can't be read: .*no such file/, (dir) => ['verify', join(dir, 'nowhere')]],
    [/nowhere can't be read: there is no such file/, (dir) => ['dump', join(dir, 'nowhere')]],
    [/file\.txt is a file: name its directory/, (dir) => ['verify', join(dir, 'file.txt')]],
    [/file\.txt is no file of a log: expected a name like 0{20}\.log/, (dir) => ['dump', join(dir, 'file.txt')]],
  ])('is misused with %s', async (told, argsOf) => {
    const directory = temporaryDirectory()
    writeFileSync(join(directory, 'file.txt'), '')
    const { err, code } = await run(...argsOf(directory))
    expect(err).toMatch(told)
    expect(code).toBe(2)
  })

  it('waits for a slow reader, and stops when the reader has gone', async () => {
    function* lines(): Generator<string, string> {
      for (let i = 0; i < 5000; i++) yield 'x'.repeat(100)
      return 'done'
    }
    const slow = new PassThrough({ highWaterMark: 1024 })
    let got = 0
    slow.on('data', (chunk: Buffer) => {
      got += chunk.length
      slow.pause()
      setTimeout(() => slow.resume(), 1)
    })
    expect(await writeLines(lines(), slow)).toBe('done')
    slow.end()
    await vi.waitFor(() => expect(got).toBe(5000 * 101))

    let writes = 0
    const gone = new Writable({
      highWaterMark: 1,
      write(_chunk, _encoding, done) {
        writes++
        done(Object.assign(new Error('the reader has gone'), { code: 'EPIPE' }))
      },
    })
    expect(await writeLines(lines(), gone)).toBeUndefined()
    expect(writes).toBe(1)
  })
})
