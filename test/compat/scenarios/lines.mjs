// SPDX-License-Identifier: Apache-2.0
// `kcat -b … -P -t lines -z lz4 < FILE` as a user types it, with a real file, read back byte for byte: by kcat with
// every codec, and the lines sent with lz4 by every client. kcat takes no empty line for a record: FILE has none.
import { run } from '../lib/process.mjs'

const wantedLines = 100_000
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const newline = 10
const timeoutMs = 120_000

/** The package list of the distribution, or a made-up one where there is none. */
async function makeFile() {
  const dumped = await run('apt-cache', ['dumpavail'], { timeoutMs }).catch(() => ({ stdout: Buffer.alloc(0) }))
  const lines = dumped.stdout.toString('latin1').split('\n').filter(Boolean)
  if (lines.length >= wantedLines) return Buffer.from(`${lines.join('\n')}\n`, 'latin1')
  const made = Array.from({ length: wantedLines }, (_, index) => `Package: ${(index * 2_654_435_761) % 4_294_967_291}`)
  return Buffer.from(`${made.join('\n')}\n`)
}

export async function lines({ report, clients, bootstrap }) {
  report.section('lines')
  const whole = await makeFile()
  let end = 0
  for (let line = 0; line < wantedLines; line++) end = whole.indexOf(newline, end) + 1
  const part = whole.subarray(0, end)

  const send = async (topic, codec, bytes) => {
    await run('kcat', ['-b', bootstrap, '-P', '-t', topic, '-z', codec], { input: bytes, timeoutMs })
    const read = await run('kcat', ['-b', bootstrap, '-C', '-t', topic, '-e', '-q', '-o', 'beginning'], { timeoutMs })
    if (!read.stdout.equals(bytes)) throw new Error(`${read.stdout.length} other bytes came back than ${bytes.length}`)
  }

  const count = whole.toString('latin1').split('\n').length - 1
  await report.case(`kcat -P -t lines-all -z lz4 < FILE of ${count} lines, read back by kcat`, () =>
    send('lines-all', 'lz4', whole),
  )
  for (const codec of codecs) {
    const topic = codec === 'lz4' ? 'lines' : `lines-${codec}`
    await report.case(`kcat -P -t ${topic} -z ${codec} < FILE of ${wantedLines} lines, read back by kcat`, () =>
      send(topic, codec, part),
    )
  }
  const expected = part.toString('latin1').split('\n').slice(0, -1)
  for (const client of clients)
    await report.case(`${client.id} reads the same ${wantedLines} lines`, async () => {
      const got = await client.consume(bootstrap, ['lines'], `lines-${client.id}`, wantedLines, { timeoutMs })
      if (got.length !== wantedLines) throw new Error(`${got.length} lines came back`)
      for (const [index, record] of got.entries()) {
        const value = Buffer.from(record.value, 'base64').toString('latin1')
        if (record.key !== null || record.offset !== index || value !== expected[index])
          throw new Error(`line ${index + 1} came back as ${JSON.stringify(record).slice(0, 200)}`)
      }
    })
}
