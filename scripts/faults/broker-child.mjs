// SPDX-License-Identifier: Apache-2.0
// `varve serve` as a child whose power is cut, and producers that wait for acks=all: what they were told is entered in a ledger.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { CreateTopics, Fetch, ListOffsets, Produce } from '../../dist/protocol/apis/index.js'
import { encodeBatch } from '../../dist/protocol/record-batch.js'
import { recordValue, someSize } from './records.mjs'

const MAIN = join(import.meta.dirname, '../../dist/cli/main.js')
const TOPIC = 'written'
const IN_FLIGHT = 4
const READY_MS = 30_000
const TOPIC_ALREADY_EXISTS = 36

export class BrokerChild {
  #child
  #closed
  #stderr = ''
  address

  static async start(dir) {
    const broker = new BrokerChild()
    const settings = { 'log.segment.bytes': 1 << 20, 'log.index.interval.bytes': 512, 'flush.max.delay.ms': 20 }
    const args = ['serve', '--data', dir, '--listen', '127.0.0.1:0', '--log-level', 'warn']
    for (const [name, value] of Object.entries(settings)) args.push('--set', `${name}=${value}`)
    broker.#child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    broker.#closed = once(broker.#child, 'close')
    broker.#child.stderr.setEncoding('utf8').on('data', (text) => {
      broker.#stderr += text
    })
    const ready = new Promise((resolve) => {
      createInterface({ input: broker.#child.stdout }).on('line', (line) => {
        const found = /\bready ([^\s:]+):(\d+)/.exec(line)
        if (found !== null) resolve({ host: found[1], port: Number(found[2]) })
      })
      broker.#closed.then(() => resolve(null))
      setTimeout(() => resolve(null), READY_MS).unref()
    })
    broker.address = await ready
    if (broker.address === null) {
      broker.#child.kill('SIGKILL')
      throw new Error(`the broker did not get ready: ${broker.#stderr}`)
    }
    return broker
  }

  /** SIGKILL; how it ended, which is by that unless it had failed before. */
  async kill() {
    this.#child.kill('SIGKILL')
    const [code, signal] = await this.#closed
    return { code, signal, stderr: this.#stderr }
  }
}

/** One connection; requests are answered in order. `null` answers: the connection is gone. */
class Requests {
  #socket
  #waiting = []
  #received = Buffer.alloc(0)
  #correlationId = 0
  #closed = false

  static async open(address) {
    const requests = new Requests()
    const socket = connect(address)
    requests.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', () => {})
    await Promise.race([once(socket, 'connect'), once(socket, 'close')])
    socket.on('close', () => requests.close())
    socket.on('data', (chunk) => requests.#onData(chunk))
    return requests
  }

  ask(api, version, body) {
    if (this.#closed) return Promise.resolve(null)
    this.#socket.write(api.encodeRequest(version, ++this.#correlationId, 'cut', body))
    return new Promise((resolve) => this.#waiting.push(resolve)).then((frame) =>
      frame === null ? null : api.decodeResponse(version, frame),
    )
  }

  close() {
    this.#closed = true
    this.#socket.destroy()
    for (const resolve of this.#waiting.splice(0)) resolve(null)
  }

  #onData(chunk) {
    this.#received = Buffer.concat([this.#received, chunk])
    while (this.#received.length >= 4 && this.#received.length >= 4 + this.#received.readInt32BE(0)) {
      const end = 4 + this.#received.readInt32BE(0)
      this.#waiting.shift()?.(this.#received.subarray(4, end))
      this.#received = this.#received.subarray(end)
    }
  }
}

function check(errorCode, what) {
  if (errorCode !== 0) throw new Error(`${what} failed with ${errorCode}`)
}

/** Reads every partition over the wire and holds it to the ledger. Returns the records read. */
export async function checkBroker(address, partitions, ledger) {
  const requests = await Requests.open(address)
  let count = 0
  try {
    for (let partition = 0; partition < partitions; partition++) {
      const ends = {}
      for (const [name, timestamp] of [
        ['start', -2],
        ['end', -1],
      ]) {
        const listed = await requests.ask(ListOffsets, 1, {
          replicaId: -1,
          topics: [{ name: TOPIC, partitions: [{ partitionIndex: partition, timestamp }] }],
        })
        const found = listed.topics[0].partitions[0]
        check(found.errorCode, `ListOffsets ${partition}`)
        ends[name] = Number(found.offset)
      }
      const all = []
      let offset = ends.start
      while (offset < ends.end) {
        const { responses } = await requests.ask(Fetch, 11, {
          maxWaitMs: 0,
          minBytes: 0,
          topics: [{ topic: TOPIC, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: 4 << 20 }] }],
          forgottenTopicsData: [],
        })
        const { errorCode, records } = responses[0].partitions[0]
        check(errorCode, `Fetch ${partition} at ${offset}`)
        if (records === null || records.length < 61)
          throw new Error(`Fetch ${partition} at ${offset} found nothing below ${ends.end}`)
        all.push(Buffer.from(records))
        let last = 0
        for (let at = 0; at + 61 <= records.length; at += 12 + all.at(-1).readInt32BE(at + 8)) last = at
        offset = Number(all.at(-1).readBigInt64BE(last)) + all.at(-1).readInt32BE(last + 23) + 1
      }
      count += ledger.check(partition, ends.start, ends.end, all)
    }
  } finally {
    requests.close()
  }
  return count
}

/** The topic, made when missing. */
export async function ensureTopic(address, partitions) {
  const requests = await Requests.open(address)
  const created = await requests.ask(CreateTopics, 4, {
    topics: [{ name: TOPIC, numPartitions: partitions, replicationFactor: 1, assignments: [], configs: [] }],
    timeoutMs: 10_000,
  })
  requests.close()
  const code = created.topics[0].errorCode
  if (code !== TOPIC_ALREADY_EXISTS) check(code, 'CreateTopics')
  return code === 0
}

/** Produces with acks=all to every partition until stop(). An error ends a producer: right once the power went, else a failure. */
export class Producers {
  /** The first error, null: none. */
  failure = null
  #stopped = false
  #counting = true
  #connections = []

  constructor(address, { partitions, cycle, random, ledger }) {
    for (let partition = 0; partition < partitions; partition++) {
      let sequence = 0
      void Requests.open(address).then(async (requests) => {
        this.#connections.push(requests)
        const one = async () => {
          while (!this.#stopped) {
            const base = sequence
            const count = 1 + random.below(4)
            sequence += count
            const records = Array.from({ length: count }, (_, i) => ({
              key: null,
              value: recordValue(cycle, partition, base + i, someSize(random)),
              timestampMs: Date.now(),
            }))
            const reply = await requests.ask(Produce, 9, {
              acks: -1,
              timeoutMs: 10_000,
              topicData: [{ name: TOPIC, partitionData: [{ index: partition, records: encodeBatch({ records }) }] }],
            })
            const produced = reply?.responses[0].partitionResponses[0]
            if (produced === undefined) return
            if (produced.errorCode !== 0) {
              this.failure ??= `Produce failed with ${produced.errorCode}`
              return
            }
            if (this.#counting) ledger.acknowledge(partition, cycle, Number(produced.baseOffset), base, count)
          }
        }
        await Promise.all(Array.from({ length: IN_FLIGHT }, one))
      })
    }
  }

  /** What is acknowledged from now on counts for nothing. */
  stopCounting() {
    this.#counting = false
  }

  stop() {
    this.#stopped = true
    for (const requests of this.#connections) requests.close()
  }
}
