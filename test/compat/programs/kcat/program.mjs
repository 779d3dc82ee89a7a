// SPDX-License-Identifier: Apache-2.0
// kcat as a compat client: this program only splits the records into runs of kcat and takes its output apart.
// The contract of the verbs is in test/compat/README.md.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { main, readRecords, writeRecords } from './lines.mjs'

const newline = 10

async function kcat(args, input) {
  const child = spawn('kcat', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const chunks = []
  child.stdout.on('data', (chunk) => chunks.push(chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`kcat ${args.join(' ')} ended with ${code ?? signal}`)
  return Buffer.concat(chunks)
}

/** Records that one run of kcat can carry: one partition, the same headers, null values apart from empty ones. */
function runsOf(records) {
  const runs = []
  for (const partition of new Set(records.map((record) => record.partition))) {
    let last = null
    for (const record of records.filter((each) => each.partition === partition)) {
      const args = record.headers.flatMap(([name, value]) => ['-H', `${name}=${value}`])
      if (record.value === null) args.push('-Z')
      const sort = args.join('\n')
      if (last?.sort !== sort) {
        last = { partition, sort, args, records: [] }
        runs.push(last)
      }
      last.records.push(record)
    }
  }
  return runs
}

async function produce(bootstrap, topic, file, codec, flag) {
  // Two delimiters that no record contains.
  const [keyEnd, recordEnd] = ['K', 'R'].map((letter) => `<${letter}${randomBytes(12).toString('hex')}>`)
  const config = ['-X', `enable.idempotence=${flag === '--idempotent'}`, '-X', 'acks=all', '-X', 'linger.ms=20']
  for (const run of runsOf(readRecords(file))) {
    const input = []
    for (const { key, value } of run.records) {
      if (key !== null) input.push(key, Buffer.from(keyEnd))
      input.push(value ?? Buffer.alloc(0), Buffer.from(recordEnd))
    }
    const target = ['-b', bootstrap, '-P', '-t', topic, '-p', String(run.partition), '-z', codec]
    await kcat([...target, '-K', keyEnd, '-D', recordEnd, ...run.args, ...config], Buffer.concat(input))
  }
}

async function consume(bootstrap, topics, group, count) {
  const format = '%t %p %o %T %K %S\n%k%s%h\n'
  const args = ['-b', bootstrap, '-q', '-f', format, '-c', count, '-X', 'auto.offset.reset=earliest', '-G', group]
  const output = await kcat([...args, ...topics.split(',')], '')
  const got = []
  for (let at = 0; at < output.length; ) {
    const headEnd = output.indexOf(newline, at)
    const [topic, ...numbers] = output.toString('latin1', at, headEnd).split(' ')
    const [partition, offset, timestamp, keySize, valueSize] = numbers.map(Number)
    const keyStart = headEnd + 1
    const valueStart = keyStart + Math.max(keySize, 0)
    const headersStart = valueStart + Math.max(valueSize, 0)
    const key = keySize < 0 ? null : output.subarray(keyStart, valueStart)
    const value = valueSize < 0 ? null : output.subarray(valueStart, headersStart)
    const lineEnd = output.indexOf(newline, headersStart)
    const headers = output.toString('latin1', headersStart, lineEnd).split(',').filter(Boolean).map(toPair)
    got.push({ topic, partition, offset, key, value, headers, timestamp })
    at = lineEnd + 1
  }
  writeRecords(got)
}

/** One header of %h, which writes name=value,name=value: names and values here hold no equals sign and no comma. */
function toPair(text) {
  const [name, value] = text.split('=').map((part) => Buffer.from(part, 'latin1'))
  return [name.toString(), value.toString('latin1') === 'NULL' ? null : value]
}

await main({ produce, consume })
