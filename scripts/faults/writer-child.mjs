// SPDX-License-Identifier: Apache-2.0
// An engine-writer as its parent sees it: started ahead, told where to write, killed, its lines entered in a ledger.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { openEngine } from '../../dist/storage/index.js'

const TOPIC = 'written'

export class WriterChild {
  #child
  #lines = ''
  #opened
  #closed
  #stderr = ''

  constructor() {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, 'engine-writer.mjs')], {
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#child.stdin.on('error', () => {})
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text
    })
    this.#closed = once(this.#child, 'close')
    this.#opened = new Promise((resolve) => {
      this.#child.stdout.setEncoding('latin1').on('data', (text) => {
        this.#lines += text
        resolve()
      })
      this.#closed.then(resolve)
    })
  }

  write(task) {
    this.#child.stdin.write(`${JSON.stringify(task)}\n`)
  }

  /** The engine is open, or the child has ended. */
  opened() {
    return this.#opened
  }

  /** What has come from it so far. */
  said() {
    return this.#lines.slice(0, this.#lines.lastIndexOf('\n') + 1).split('\n')
  }

  /** SIGKILL, then { code, signal, failure, lines }: everything that it had said. */
  async kill() {
    this.#child.kill('SIGKILL')
    const [code, signal] = await this.#closed
    const lines = this.said()
    const failure = lines.find((line) => line.startsWith('e '))?.slice(2) ?? this.#stderr
    return { code, signal, failure, lines }
  }
}

/** Enters a child's lines; `kinds`: which acknowledgements count ('ad' after a kill, 'd' after a power cut). */
export function enterLines(ledger, cycle, lines, kinds) {
  for (const line of lines) {
    const [kind, log, offset, count] = line.split(' ')
    if (kind === 's') ledger.allowStart(Number(log), Number(offset))
    else if (kind !== '' && kinds.includes(kind))
      ledger.acknowledge(Number(log), cycle, Number(offset), Number(offset), Number(count))
  }
}

/**
 * Opens the directory as after a crash and holds every log to the ledger. Returns the records read. `expected`: what the engine may have
 * to tell of; anything else is a failure.
 */
export async function checkDirectory(dir, logs, ledger, expected = /^$/) {
  const engine = await openEngine({ dir, log: { fileDeleteDelayMs: 0 } })
  try {
    const problems = [
      ...engine.problems().filter((problem) => !expected.test(problem)),
      ...engine
        .directories()
        .filter(({ online }) => !online)
        .map(({ path, failure }) => `${path} is offline: ${failure}`),
    ]
    if (problems.length > 0) throw new Error(problems.join('; '))
    let count = 0
    for (let number = 0; number < logs; number++) {
      const log = engine.log(TOPIC, number)
      const bytes = (function* () {
        for (const batch of log.batches(log.startOffset)) yield batch.bytes
      })()
      count += ledger.check(number, log.startOffset, log.endOffset, bytes)
    }
    return count
  } finally {
    await engine.close()
  }
}

/** checkDirectory() in a process of its own: with its end no file is open any more, and the file system can be unmounted. */
export async function checkElsewhere(dir, logs, ledger, expected) {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'engine-checker.mjs')], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify({ dir, logs, ledger, expected: expected.source }))
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(stderr.trim() || `the check ended by ${signal}`)
  return Number(stdout)
}
