// SPDX-License-Identifier: Apache-2.0
// The client programs: their manifests, and the verbs of their contract (README.md) as functions.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { run } from './process.mjs'
import { fromLines, limits, toLines } from './records.mjs'

const compatDir = join(import.meta.dirname, '..')
const programsDir = join(compatDir, 'programs')
export const cacheDir = process.env.VARVE_COMPAT_CACHE ?? join(homedir(), '.cache', 'varve-compat')

export const clientNames = readdirSync(programsDir).filter((name) => existsSync(join(programsDir, name, 'client.json')))

export async function install(names) {
  const { stdout } = await run('bash', [join(compatDir, 'install.sh'), ...names], { timeoutMs: 600_000 })
  process.stdout.write(stdout)
}

export class Client {
  #command
  #args
  #cwd

  constructor(name) {
    const manifest = JSON.parse(readFileSync(join(programsDir, name, 'client.json'), 'utf8'))
    this.id = name
    this.title = manifest.name
    this.codecs = manifest.codecs
    this.creates = manifest.creates
    this.idempotent = manifest.idempotent
    this.outlivesBroker = manifest.cannotOutliveBroker === undefined
    this.cannotRead = Object.keys(manifest.cannotRead ?? {})
    this.cannotProduce = Object.keys(manifest.cannotProduce)
    this.cannotConsume = Object.keys(manifest.cannotConsume)
    for (const limit of [...this.cannotProduce, ...this.cannotConsume])
      if (!limits.includes(limit)) throw new Error(`${name}/client.json names the unknown limit ${limit}`)
    this.#cwd = join(cacheDir, 'programs', name)
    const [command, ...args] = manifest.command
    this.#command = command.includes('/') ? join(this.#cwd, command) : command
    this.#args = args
  }

  #run(args, options) {
    return run(this.#command, [...this.#args, ...args], { cwd: this.#cwd, ...options })
  }

  async create(bootstrap, partitions, topics) {
    await this.#run(['create', bootstrap, String(partitions), ...topics])
  }

  async produce(bootstrap, topic, records, { codec, dir, idempotent = false }) {
    const file = join(dir, `${this.id}-${topic}.jsonl`)
    writeFileSync(file, toLines(records))
    const args = ['produce', bootstrap, topic, file, codec]
    await this.#run(idempotent ? [...args, '--idempotent'] : args)
  }

  async consume(bootstrap, topics, group, count, { once = false, ...options } = {}) {
    const args = ['consume', bootstrap, topics.join(','), group, String(count)]
    const { stdout } = await this.#run(once ? [...args, '--once'] : args, options)
    return fromLines(stdout)
  }

  /** `consume` while something else goes on: the caller awaits `lines` later. */
  consumeMeanwhile(bootstrap, topics, group, count, options) {
    const lines = this.consume(bootstrap, topics, group, count, options)
    lines.catch(() => {})
    return lines
  }

  /** Only the Java program has this verb. */
  async describe(bootstrap, topics) {
    const { stdout } = await this.#run(['describe', bootstrap, ...topics])
    return JSON.parse(stdout.toString())
  }
}
