// SPDX-License-Identifier: Apache-2.0
// The short forms of the two crash loops: 300 kills of a writing process, 20 power cuts. The long ones: npm run test:kills, test:power.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { requireCommand, requireRoot } from './trace.ts'

const SCRIPTS = join(import.meta.dirname, '../../scripts/faults')

function run(script: string, ...args: string[]): { status: number | null; last: string; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(SCRIPTS, script), ...args], { encoding: 'utf8' })
  const output = stdout + stderr
  return { status, last: stdout.trimEnd().split('\n').at(-1) ?? '', output }
}

it('keeps what append() returned and a correct prefix over 300 kills of the writing process', () => {
  const { status, last, output } = run('kill-engine.mjs', '--kills', '300')
  expect(last, output).toBe('300 passed, 0 failed')
  expect(status).toBe(0)
})

it('keeps what appendDurable() and acks=all acknowledged over 20 power cuts on ext4', () => {
  requireRoot()
  requireCommand('mkfs.ext4', 'e2fsprogs')
  requireCommand('python3', 'python3')
  const { status, last, output } = run('cut-power.mjs', '--cuts', '20')
  expect(last, output).toBe('20 passed, 0 failed')
  expect(status).toBe(0)
})

it('would find an engine that acknowledges before it has synced', () => {
  requireRoot()
  const { status, output } = run('cut-power.mjs', '--cuts', '12', '--seed', '1', '--believe-appends')
  expect(output).toMatch(/was acknowledged (in cycle|as)/)
  expect(status).toBe(1)
})
