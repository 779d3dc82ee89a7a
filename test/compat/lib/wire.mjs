// SPDX-License-Identifier: Apache-2.0
// A connection that says what it is told to, in versions without flexible fields: Produce 3 and 8, Fetch 11, ListOffsets 5,
// CreateTopics 4. Nothing here knows varve's protocol tables.
import { once } from 'node:events'
import { connect } from 'node:net'

const answerMs = 10_000
const i8 = (value) => Buffer.from([value])
const i16 = (value) => sized(2, (bytes) => bytes.writeInt16BE(value))
const i32 = (value) => sized(4, (bytes) => bytes.writeInt32BE(value))
const i64 = (value) => sized(8, (bytes) => bytes.writeBigInt64BE(BigInt(value)))
const string = (text) => (text === null ? i16(-1) : Buffer.concat([i16(Buffer.byteLength(text)), Buffer.from(text)]))
const blob = (bytes) => (bytes === null ? i32(-1) : Buffer.concat([i32(bytes.length), bytes]))
const array = (items) => Buffer.concat([i32(items.length), ...items])

function sized(size, write) {
  const bytes = Buffer.alloc(size)
  write(bytes)
  return bytes
}

class Reader {
  #bytes
  #at = 0

  constructor(bytes) {
    this.#bytes = bytes
  }

  #take(size) {
    this.#at += size
    return this.#at - size
  }

  i16 = () => this.#bytes.readInt16BE(this.#take(2))
  i32 = () => this.#bytes.readInt32BE(this.#take(4))
  i64 = () => Number(this.#bytes.readBigInt64BE(this.#take(8)))

  bytes(size) {
    const at = this.#take(Math.max(size, 0))
    return this.#bytes.subarray(at, this.#at)
  }

  string = () => this.bytes(this.i16()).toString()
  array = (read) => Array.from({ length: Math.max(this.i32(), 0) }, read)
}

export class Closed extends Error {}

export class Wire {
  #socket
  #received = Buffer.alloc(0)
  #wake = () => {}
  #closed = false

  static async connect(bootstrap) {
    const wire = new Wire()
    const [host, port] = bootstrap.split(':')
    wire.#socket = connect(Number(port), host)
    wire.#socket.on('data', (chunk) => {
      wire.#received = Buffer.concat([wire.#received, chunk])
      wire.#wake()
    })
    wire.#socket.on('error', () => {})
    wire.#socket.on('close', () => {
      wire.#closed = true
      wire.#wake()
    })
    await once(wire.#socket, 'connect')
    return wire
  }

  get closed() {
    return this.#closed
  }

  close() {
    this.#closed = true
    this.#socket.destroy()
  }

  async #ask(key, version, body, answered = true) {
    const frame = Buffer.concat([i16(key), i16(version), i32(1), string('wire'), ...body])
    this.#socket.write(Buffer.concat([i32(frame.length), frame]))
    if (!answered) return undefined
    const until = Date.now() + answerMs
    for (;;) {
      const bytes = this.#received
      if (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
        const size = 4 + bytes.readInt32BE(0)
        this.#received = bytes.subarray(size)
        return new Reader(bytes.subarray(8, size))
      }
      if (this.#closed) throw new Closed('the connection was closed')
      if (Date.now() > until) throw new Error(`no answer to a request of key ${key} within ${answerMs / 1000} s`)
      await new Promise((resolve) => {
        this.#wake = resolve
        setTimeout(resolve, 1000).unref()
      })
    }
  }

  /** @param {Array<{ name: string, partitions: number, configs: Record<string, string> }>} topics */
  async create(topics) {
    const items = topics.map(({ name, partitions, configs }) => {
      const settings = Object.entries(configs).map(([key, value]) => Buffer.concat([string(key), string(value)]))
      return Buffer.concat([string(name), i32(partitions), i16(1), array([]), array(settings)])
    })
    const reader = await this.#ask(19, 4, [array(items), i32(10_000), i8(0)])
    reader.i32()
    for (const [name, code, text] of reader.array(() => [reader.string(), reader.i16(), reader.string()]))
      if (code !== 0) throw new Error(`CreateTopics ${name}: error ${code} ${text}`)
  }

  /**
   * One request with some partitions of one topic: `parts` are [partition, bytes]. What each was answered, in order of the
   * request; undefined for acks=0.
   */
  async produce(topic, parts, { version = 8, acks = -1, transactionalId = null } = {}) {
    const items = parts.map(([partition, bytes]) => Buffer.concat([i32(partition), blob(bytes)]))
    const body = [string(transactionalId), i16(acks), i32(5000), array([Buffer.concat([string(topic), array(items)])])]
    const reader = await this.#ask(0, version, body, acks !== 0)
    if (reader === undefined) return undefined
    const [answers] = reader.array(() => {
      reader.string()
      return reader.array(() => {
        const answer = {
          partition: reader.i32(),
          code: reader.i16(),
          baseOffset: reader.i64(),
          appendTime: reader.i64(),
        }
        if (version >= 5) answer.logStart = reader.i64()
        if (version < 8) return answer
        answer.badRecords = reader.array(() => {
          const index = reader.i32()
          reader.string()
          return index
        })
        reader.string()
        return answer
      })
    })
    return parts.map(([partition]) => answers.find((answer) => answer.partition === partition))
  }

  /** The bytes of a partition from an offset on, at most a mebibyte. */
  async fetch(topic, partition, offset = 0) {
    const part = Buffer.concat([i32(partition), i32(-1), i64(offset), i64(-1), i32(1 << 20)])
    const limits = [i32(-1), i32(0), i32(0), i32(1 << 20), i8(0), i32(0), i32(-1)]
    const topics = array([Buffer.concat([string(topic), array([part])])])
    const reader = await this.#ask(1, 11, [...limits, topics, array([]), string('')])
    reader.i32()
    const failed = reader.i16()
    reader.i32()
    const answers = reader.array(() => {
      reader.string()
      return reader.array(() => {
        reader.i32()
        const answer = { code: reader.i16(), highWatermark: reader.i64() }
        reader.i64()
        reader.i64()
        reader.array(() => [reader.i64(), reader.i64()])
        reader.i32()
        answer.records = reader.bytes(reader.i32())
        return answer
      })
    })
    const answer = answers[0]?.[0]
    if (failed !== 0 || answer?.code !== 0)
      throw new Error(`Fetch ${topic}-${partition}: error ${failed || answer?.code}`)
    return answer
  }

  /** Offset and timestamp of the first record at or after a time; -1 and -1 when there is none. */
  async offsetAt(topic, partition, timestamp) {
    const part = Buffer.concat([i32(partition), i32(-1), i64(timestamp)])
    const topics = array([Buffer.concat([string(topic), array([part])])])
    const reader = await this.#ask(2, 5, [i32(-1), i8(0), topics])
    reader.i32()
    const answers = reader.array(() => {
      reader.string()
      return reader.array(() => ({
        partition: reader.i32(),
        code: reader.i16(),
        timestamp: reader.i64(),
        offset: reader.i64(),
      }))
    })
    const { code, timestamp: found, offset } = answers[0][0]
    return { code, timestamp: found, offset }
  }
}
