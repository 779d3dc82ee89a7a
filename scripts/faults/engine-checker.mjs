// SPDX-License-Identifier: Apache-2.0
// checkDirectory() for one directory as given on stdin; says how many records it read, or fails with what is wrong.
import { text } from 'node:stream/consumers'
import { Ledger } from './records.mjs'
import { checkDirectory } from './writer-child.mjs'

const { dir, logs, ledger, expected } = JSON.parse(await text(process.stdin))
try {
  process.stdout.write(String(await checkDirectory(dir, logs, Ledger.fromJSON(ledger), new RegExp(expected))))
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}
