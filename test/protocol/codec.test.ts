// SPDX-License-Identifier: Apache-2.0
// The compiled codec against the interpreter, and both against the values that went in.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { rolldown } from 'rolldown'
import { describe, expect, test } from 'vitest'
import { compileDecoder, compileEncoder } from '../../src/protocol/compiler.ts'
import { readStruct, writeStruct } from '../../src/protocol/interpreter.ts'
import { ProtocolError } from '../../src/protocol/protocol-error.ts'
import { Reader } from '../../src/protocol/reader.ts'
import { Writer } from '../../src/protocol/writer.ts'
import { allForms, type MessageForm, messageOf } from './arbitrary.ts'

const RUNS = 15

function written(write: (writer: Writer) => void): Buffer {
  const writer = new Writer()
  writer.begin()
  write(writer)
  return writer.finish()
}

/** Which error is not compared: what Message throws is always the interpreter's. */
type Outcome = { value: unknown; position: number } | 'ProtocolError'

function outcome(bytes: Uint8Array, maxElements: number, decode: (reader: Reader) => unknown): Outcome {
  const reader = new Reader().open(bytes, 0, maxElements, false)
  try {
    return { value: decode(reader), position: reader.position }
  } catch (error) {
    if (error instanceof ProtocolError) return 'ProtocolError'
    throw error
  }
}

function compiledAndInterpreted(form: MessageForm) {
  const { message } = form
  const encode = compileEncoder(message.name, message.fields, form)
  const decode = compileDecoder(message.name, message.fields, form)
  return { encode, decode, interpret: (reader: Reader) => readStruct(message.fields, form, reader) }
}

describe.each(allForms)('$label', (form) => {
  const { message } = form
  const { encode, decode, interpret } = compiledAndInterpreted(form)

  test('compiled and interpreted codec write the same bytes, and read back what was written', () => {
    fc.assert(
      fc.property(messageOf(form), (value) => {
        const bytes = written((writer) => encode(writer, value))
        expect(bytes.equals(written((writer) => writeStruct(message.fields, form, writer, value)))).toBe(true)
        const complete = message.complete(value)
        expect(outcome(bytes, Infinity, decode)).toEqual({ value: complete, position: bytes.length })
        expect(outcome(bytes, Infinity, interpret)).toEqual({ value: complete, position: bytes.length })
      }),
      { numRuns: RUNS },
    )
  })

  test('what another version could carry is written alike or refused by both', () => {
    const { versions } = message
    const other = fc.constantFrom(versions.min, versions.max).chain((version) => {
      return messageOf({ ...form, version, flexible: message.isFlexible(version) })
    })
    const attempt = (write: (writer: Writer) => void) => {
      try {
        return written(write).toString('hex')
      } catch {
        return 'refused'
      }
    }
    fc.assert(
      fc.property(other, (value) => {
        const interpreted = attempt((writer) => writeStruct(message.fields, form, writer, value))
        expect(attempt((writer) => encode(writer, value))).toBe(interpreted)
      }),
      { numRuns: RUNS },
    )
  })

  test('damaged bytes give the same value or a ProtocolError in both, and nothing else', () => {
    const damage = fc.array(fc.record({ at: fc.nat(), byte: fc.nat(255) }), { maxLength: 4 })
    fc.assert(
      fc.property(messageOf(form), damage, fc.nat(), (value, changes, cut) => {
        const bytes = written((writer) => encode(writer, value))
        const damaged = Buffer.from(bytes.subarray(0, bytes.length - (cut % 3 === 0 ? cut % (bytes.length + 1) : 0)))
        for (const { at, byte } of changes) if (damaged.length > 0) damaged[at % damaged.length] = byte
        expect(outcome(damaged, 1000, decode)).toEqual(outcome(damaged, 1000, interpret))
      }),
      { numRuns: RUNS },
    )
  })

  test('random bytes give a value or a ProtocolError', () => {
    // Small bytes are the interesting ones: lengths and counts that make sense.
    const bytes = fc.array(fc.oneof({ weight: 3, arbitrary: fc.nat(4) }, fc.nat(255)), { maxLength: 200 })
    fc.assert(
      fc.property(bytes, (random) => {
        expect(outcome(Uint8Array.from(random), 1000, decode)).toEqual(
          outcome(Uint8Array.from(random), 1000, interpret),
        )
      }),
      { numRuns: RUNS },
    )
  })
})

test('a function of the compiled codec shows in stacks as message and version', () => {
  const form = allForms.find(({ label }) => label === 'MetadataResponse v10')!
  const { encode, decode } = compiledAndInterpreted(form)
  expect([encode.name, decode.name]).toEqual(['MetadataResponse_v10', 'MetadataResponse_v10'])
  const brokers = {
    get length(): number {
      throw new Error('from inside')
    },
  }
  let stack = ''
  try {
    written((writer) => encode(writer, { brokers }))
  } catch (error) {
    stack = (error as Error).stack!
  }
  expect(stack).toMatch(/at MetadataResponse_v10 \(varve\/protocol\/MetadataResponse_v10\.encode\.js:\d+:\d+\)/)
})

test('the interpreter stands in where code generation from strings is forbidden', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'varve-protocol-'))
  try {
    const input = join(directory, 'main.ts')
    const api = new URL('../../src/protocol/apis/index.ts', import.meta.url).pathname
    writeFileSync(
      input,
      `import { Heartbeat } from '${api}'
       let forbidden = false
       try { new Function('return 1') } catch (error) { forbidden = error instanceof EvalError }
       const frame = Heartbeat.encodeRequest(4, 1, 'c', { groupId: 'g', generationId: 2, memberId: 'm' })
       console.log(JSON.stringify([forbidden, Heartbeat.decodeRequest(4, frame.subarray(4), 12)]))`,
    )
    const bundle = await rolldown({ input, platform: 'node' })
    const { output } = await bundle.write({ dir: directory, format: 'esm', entryFileNames: 'main.mjs' })
    const program = join(directory, output[0].fileName)
    const run = spawnSync(process.execPath, ['--disallow-code-generation-from-strings', program], { encoding: 'utf8' })
    expect(run.stderr).toBe('')
    const heartbeat = { groupId: 'g', generationId: 2, memberId: 'm', groupInstanceId: null }
    expect(JSON.parse(run.stdout)).toEqual([true, heartbeat])
  } finally {
    rmSync(directory, { recursive: true })
  }
})
