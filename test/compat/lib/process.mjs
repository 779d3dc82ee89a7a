// SPDX-License-Identifier: Apache-2.0
// Child processes with a deadline. Each leads a process group of its own, so that what it started ends with it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const groups = new Set()
const lastLines = 12
const defaultTimeoutMs = 30_000

process.on('exit', () => {
  for (const pid of groups) killGroup(pid)
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1))

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

/** A process group that another program started for us: killed when this process ends, unless it was released. */
export function adopt(pid) {
  groups.add(pid)
}

export function release(pid) {
  groups.delete(pid)
}

/** Starts a program whose group is killed when this process ends; `ended` resolves to its code or signal. */
export function start(command, args, { cwd, env, stdio = ['ignore', 'pipe', 'pipe'] } = {}) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio, detached: true })
  if (child.pid !== undefined) groups.add(child.pid)
  const ended = once(child, 'close').then(([code, signal]) => {
    killGroup(child.pid)
    groups.delete(child.pid)
    return code ?? signal
  })
  ended.catch(() => {})
  return { child, ended, kill: () => killGroup(child.pid) }
}

/**
 * Runs a program to its end; throws when it fails or outlives its deadline, with what it said last.
 * @returns {Promise<{ stdout: Buffer, stderr: string, code: number | string }>}
 */
export async function run(command, args, { timeoutMs = defaultTimeoutMs, input, accept = [0], ...options } = {}) {
  const stdio = [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe']
  const { child, ended, kill } = start(command, args, { ...options, stdio })
  const out = collect(child.stdout)
  const err = collect(child.stderr)
  if (input !== undefined) {
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  }
  let late = false
  const timer = setTimeout(() => {
    late = true
    kill()
  }, timeoutMs)
  const code = await ended
  clearTimeout(timer)
  const [stdout, stderr] = [Buffer.concat(out), Buffer.concat(err).toString()]
  if (late)
    throw new Error(`${describe(command, args)} did not end within ${timeoutMs / 1000} s${tail(stdout, stderr)}`)
  if (!accept.includes(code)) throw new Error(`${describe(command, args)} ended with ${code}${tail(stdout, stderr)}`)
  return { stdout, stderr, code }
}

function collect(stream) {
  const chunks = []
  stream.on('data', (chunk) => chunks.push(chunk))
  return chunks
}

function describe(command, args) {
  return [command, ...args].join(' ').slice(0, 300)
}

function tail(stdout, stderr) {
  const text = stderr.trim() || stdout.toString('latin1').trim().slice(-2000)
  const lines = text.split('\n').slice(-lastLines)
  return lines[0] === '' ? '' : `\n${lines.map((line) => `      | ${line.slice(0, 300)}`).join('\n')}`
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
