// SPDX-License-Identifier: Apache-2.0
// The broker under test: varve as its users start it, or a real Kafka; both over a data folder that outlives a stop.
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { cacheDir } from './clients.mjs'
import { adopt, release, run, sleep, start } from './process.mjs'

const root = join(import.meta.dirname, '..', '..', '..')
const kafkaScript = join(root, 'test', 'compat', 'kafka.sh')
const readyWithinMs = 30_000
const stopsWithinMs = 30_000
const lastLines = 20

/** A port that is free, and the next one too (Kafka's controller takes it). */
async function findPort() {
  for (let attempt = 0; attempt < 50; attempt++) {
    const first = await listen(0)
    const { port } = first.address()
    const second = await listen(port + 1).catch(() => null)
    await Promise.all([first, second].filter(Boolean).map((server) => new Promise((done) => server.close(done))))
    if (second !== null) return port
  }
  throw new Error('no two neighbouring free ports found in 50 attempts')
}

function listen(port) {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

class Broker {
  constructor(dir, port) {
    this.dir = dir
    this.port = port
    this.bootstrap = `127.0.0.1:${port}`
  }
}

export class VarveBroker extends Broker {
  kind = 'varve'
  #process = null

  /** Where the partition folders are. */
  get logDir() {
    return this.dir
  }

  static async at(dir) {
    mkdirSync(dir, { recursive: true })
    return new VarveBroker(dir, await findPort())
  }

  async start() {
    const args = ['dist/cli/main.js', 'serve', '--data', this.dir, '--listen', this.bootstrap]
    const logPath = `${this.dir}.out`
    const log = openSync(logPath, 'a')
    const before = readFileSync(logPath).length
    // The delay is Kafka's 3 s otherwise, once for each of some two hundred groups.
    const settings = ['--set', 'group.initial.rebalance.delay.ms=0']
    const begun = Date.now()
    this.#process = start(process.execPath, [...args, ...settings], { cwd: root, stdio: ['ignore', log, log] })
    closeSync(log)
    let ended = null
    this.#process.ended.then((how) => {
      ended = how
    })
    for (;;) {
      const said = readFileSync(logPath).subarray(before).toString()
      if (/\bready\b/.test(said)) return Date.now() - begun
      const problem = ended !== null ? `ended with ${ended}` : 'printed no ready line'
      if (ended !== null || Date.now() - begun > readyWithinMs) {
        this.#process.kill()
        throw new Error(`varve serve ${problem}\n${said.trim().split('\n').slice(-lastLines).join('\n')}`)
      }
      await sleep(10)
    }
  }

  /** As an operator stops it: SIGTERM, after which it must end by itself with code 0. */
  async stop() {
    const how = await this.#end('SIGTERM')
    if (how !== 0) throw new Error(`varve serve ended with ${how} after SIGTERM`)
  }

  /** kill -9. */
  async kill() {
    await this.#end('SIGKILL')
  }

  async #end(signal) {
    const ending = this.#process
    if (ending === null) return 0
    this.#process = null
    process.kill(ending.child.pid, signal)
    const late = sleep(stopsWithinMs).then(() => 'late')
    const how = await Promise.race([ending.ended, late])
    if (how !== 'late') return how
    ending.kill()
    throw new Error(`varve serve did not end within ${stopsWithinMs / 1000} s after ${signal}`)
  }
}

export class KafkaBroker extends Broker {
  kind = 'kafka'
  #pid = 0

  get logDir() {
    return join(this.dir, 'log')
  }

  static async at(dir) {
    mkdirSync(dir, { recursive: true })
    return new KafkaBroker(dir, await findPort())
  }

  async start() {
    const begun = Date.now()
    const { stdout } = await kafka(['start', this.dir, String(this.port)], { timeoutMs: 120_000 })
    this.#pid = Number(stdout.toString())
    adopt(this.#pid)
    return Date.now() - begun
  }

  async stop() {
    await this.#end('stop')
  }

  async kill() {
    await this.#end('kill')
  }

  async #end(verb) {
    if (this.#pid === 0) return
    await kafka([verb, this.dir], { timeoutMs: 60_000 })
    release(this.#pid)
    this.#pid = 0
  }
}

/** A broker that somebody else runs: it can be neither stopped nor looked into. */
export class ForeignBroker {
  kind = 'foreign'

  constructor(bootstrap) {
    this.bootstrap = bootstrap
  }

  async start() {
    return 0
  }

  async stop() {}
}

const env = { VARVE_COMPAT_CACHE: cacheDir }

function kafka(args, options) {
  return run('bash', [kafkaScript, ...args], { env, ...options })
}

export async function installKafka() {
  await kafka(['install'], { timeoutMs: 600_000 })
}

/** Runs one of Kafka's tools; returns what it printed. */
export async function tool(className, args, options) {
  const { stdout, stderr } = await kafka(['tool', className, ...args], { timeoutMs: 90_000, ...options })
  return { stdout: stdout.toString(), stderr }
}
