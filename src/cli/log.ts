// SPDX-License-Identifier: Apache-2.0
// `varve log`: looks at partition logs on disk, without a broker and beside a running one.
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { type DumpOptions, dumpFiles, filesToDump, NothingToShow } from './log-dump.ts'
import { toJson, writeLines } from './log-text.ts'
import { findingText, NotALog, type Totals, totalsText, type VerifyOptions, verifyDirectories } from './log-verify.ts'

interface DumpFlags {
  readonly records?: true
  readonly hex?: true
  readonly json?: true
  readonly from: number
  readonly limit?: number
}

interface VerifyFlags {
  readonly deep?: true
  readonly allowGaps?: true
  readonly json?: true
}

export function logCommand(): Command {
  const dump = new Command('dump')
    .description('Print the batches of segments, and what indexes, snapshots, seals and checkpoints hold')
    .argument('<path...>', 'files of a partition, its directory, or a log directory')
    .option('--records', 'print each record too')
    .option('--hex', 'keys and values in hexadecimal (default: as text where they are UTF-8)')
    .option('--from <offset>', 'leave out batches and index entries before this offset', count, 0)
    .option('--limit <n>', 'batches or entries of each file, at most', count)
    .option('--json', 'one JSON object a line')
    .exitOverride()
    .action((paths: string[], flags: DumpFlags) => runDump(paths, flags))
  const verify = new Command('verify')
    .description('Check that what lies in log directories fits together; takes no lock and changes nothing')
    .argument('<dir...>', 'log directories, or directories of partitions')
    .option('--deep', 'decode every record')
    .option('--allow-gaps', 'the topics are compacted: offsets may be missing')
    .option('--json', 'one JSON object a line, the last one with the totals')
    .addHelpText('after', '\nExit code: 0 no problems, 1 problems, 2 nothing that could be checked.')
    .exitOverride()
    .action((paths: string[], flags: VerifyFlags) => runVerify(paths, flags))
  return new Command('log')
    .description('Look at partition logs on disk')
    .exitOverride()
    .addCommand(dump)
    .addCommand(verify)
}

function count(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw new InvalidArgumentError('expected a number from 0 on')
  return value
}

function misused(command: string, message: string): never {
  process.stderr.write(`varve log ${command}: ${message}\n`)
  throw new CommanderError(2, 'varve.misused', message)
}

async function runDump(paths: readonly string[], flags: DumpFlags): Promise<void> {
  const options: DumpOptions = {
    records: flags.records === true,
    hex: flags.hex === true,
    json: flags.json === true,
    from: flags.from,
    limit: flags.limit ?? Infinity,
  }
  let files: string[]
  try {
    files = filesToDump(paths)
  } catch (error) {
    if (error instanceof NothingToShow) misused('dump', error.message)
    throw error
  }
  if (await writeLines(dumpFiles(files, options), process.stdout)) process.exitCode = 1
}

async function runVerify(paths: readonly string[], flags: VerifyFlags): Promise<void> {
  const json = flags.json === true
  const options: VerifyOptions = { deep: flags.deep === true, allowGaps: flags.allowGaps === true }
  try {
    const totals = await writeLines(verifyLines(paths, options, json), process.stdout)
    if (totals === undefined || totals.problems > 0) process.exitCode = 1
  } catch (error) {
    if (error instanceof NotALog) misused('verify', error.message)
    throw error
  }
}

function* verifyLines(paths: readonly string[], options: VerifyOptions, json: boolean): Generator<string, Totals> {
  const findings = verifyDirectories(paths, options)
  for (;;) {
    const next = findings.next()
    if (next.done) {
      yield json ? toJson({ type: 'totals', ...next.value }) : totalsText(next.value)
      return next.value
    }
    yield json ? toJson(next.value) : findingText(next.value)
  }
}
