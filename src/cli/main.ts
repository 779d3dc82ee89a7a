#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// The command `varve`. One file a command; each returns its exit code: 0 done, 1 failed, 2 misused.
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { logCommand } from './log.ts'
import { serveCommand } from './serve.ts'

const MISUSED = 2

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return manifest.version
}

const program = new Command('varve')
  .description('A Kafka-compatible streaming platform: a broker, its tools, and an engine that you can import')
  .version(version(), '-V, --version')
  .showHelpAfterError('(varve --help shows what there is)')
  .exitOverride()
  .addCommand(serveCommand())
  .addCommand(logCommand())

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version end here too, with code 0.
    process.exitCode = error.exitCode === 0 ? 0 : MISUSED
  } else {
    process.stderr.write(`varve: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
