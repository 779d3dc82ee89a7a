// SPDX-License-Identifier: Apache-2.0
// BrokerProcess: `varve serve` as a child, for tests that kill it. Needs dist/ (npm ci makes it).
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const MAIN = join(resolve(import.meta.dirname, '../..'), 'dist/cli/main.js')
const READY_MS = 30_000

export class BrokerProcess {
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>
  /** HOST:PORT */
  readonly bootstrap: string
  readonly readyMs: number
  readonly #stderr: string[]

  private constructor(
    child: ChildProcess,
    exited: Promise<number | null>,
    bootstrap: string,
    readyMs: number,
    stderr: string[],
  ) {
    this.#child = child
    this.#exited = exited
    this.bootstrap = bootstrap
    this.readyMs = readyMs
    this.#stderr = stderr
  }

  /** `args` go behind `varve serve`; `wrapper` is put before node, such as a tracer. */
  static async start(
    args: readonly string[],
    options: { wrapper?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
  ): Promise<BrokerProcess> {
    if (!existsSync(MAIN)) throw new Error('dist/ is missing: run npm run build:ts')
    const [command, ...rest] = [...(options.wrapper ?? []), process.execPath, MAIN, 'serve', ...args]
    const startedMs = performance.now()
    const child = spawn(command!, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: options.env ?? process.env })
    const exited = new Promise<number | null>((done) => child.once('exit', (code) => done(code)))
    const stderr: string[] = []
    createInterface({ input: child.stderr! }).on('line', (line) => stderr.push(line))
    const ready = new Promise<string>((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`not ready after ${READY_MS} ms: ${stderr.join('\n')}`)), READY_MS)
      createInterface({ input: child.stdout! }).on('line', (line) => {
        const found = /\bready (\S+)/.exec(line)
        if (found === null) return
        clearTimeout(timer)
        done(found[1]!)
      })
      void exited.then((code) => {
        clearTimeout(timer)
        fail(new Error(`broker ended with ${code}: ${stderr.join('\n')}`))
      })
    })
    try {
      const bootstrap = await ready
      return new BrokerProcess(child, exited, bootstrap, performance.now() - startedMs, stderr)
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid!
  }
  /** Log lines so far. */
  get log(): readonly string[] {
    return this.#stderr
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  /** SIGTERM; resolves with the exit code. */
  async stop(): Promise<number | null> {
    this.#child.kill('SIGTERM')
    return this.#exited
  }
}
