// SPDX-License-Identifier: Apache-2.0
// Runs a fixture of this folder in a Node process of its own: what a test here provokes may crash, and a crash must be an exit
// code to look at. Fixtures import dist/, as a program would. Does not own what they do.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestContext } from 'vitest'

export interface ChildResult {
  /** Null when a signal ended it. */
  readonly code: number | null
  /** SIGSEGV, SIGBUS, SIGABRT: what these tests exist to rule out. SIGKILL: it hung. */
  readonly signal: NodeJS.Signals | null
  readonly stderr: string
  /** What it reported, one value a line. */
  readonly reports: readonly unknown[]
}

const TIMEOUT_MS = 50_000

/** Runs test/lifecycle/fixtures/`name`.mjs with `args` until it ends; it must, within TIMEOUT_MS. */
export function runFixture(
  name: string,
  args: readonly string[],
  execArgv: readonly string[] = [],
): Promise<ChildResult> {
  const path = fileURLToPath(new URL(`./fixtures/${name}.mjs`, import.meta.url))
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(process.execPath, [...execArgv, path, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    const timeout = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS)
    let stdout = ''
    let stderr = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timeout)
      const lines = stdout.split('\n').filter((line) => line !== '')
      resolve({ code, signal, stderr, reports: lines.map((line) => JSON.parse(line) as unknown) })
    })
  })
}

/** A directory that goes with the test. */
export function newDirectory(test: Pick<TestContext, 'onTestFinished'>): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-lifecycle-'))
  test.onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}
