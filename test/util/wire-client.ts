// SPDX-License-Identifier: Apache-2.0
// WireClient: a Kafka connection with nothing clever in it, for tests: requests by our tables or as raw bytes, responses in order.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { AnyApi, RequestInit, Response } from '../../src/protocol/api.ts'

export class ConnectionClosed extends Error {}

export class WireClient {
  readonly #socket: Socket
  readonly #waiting: Array<{ resolve: (frame: Buffer) => void; reject: (error: Error) => void }> = []
  readonly #frames: Buffer[] = []
  #received: Buffer[] = []
  #receivedBytes = 0
  #correlationId = 0
  #closed = false
  /** Resolves when the peer, or anything, has closed the connection. */
  readonly closed: Promise<void>

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('error', () => {})
    this.closed = new Promise((resolve) =>
      socket.on('close', () => {
        this.#closed = true
        for (const { reject } of this.#waiting.splice(0)) reject(new ConnectionClosed('connection closed'))
        resolve()
      }),
    )
  }

  /** `address`: HOST:PORT or unix:PATH. */
  static async connect(address: string): Promise<WireClient> {
    const at = address.lastIndexOf(':')
    const socket = address.startsWith('unix:')
      ? connect(address.slice('unix:'.length))
      : connect(Number(address.slice(at + 1)), address.slice(0, at))
    await once(socket, 'connect')
    return new WireClient(socket)
  }

  async request<A extends AnyApi>(api: A, version: number, body: RequestInit<A>): Promise<Response<A>> {
    this.send(api, version, body)
    return this.response(api, version)
  }

  /** Sends without waiting; the reply is the next response(), if there is one. */
  send<A extends AnyApi>(api: A, version: number, body: RequestInit<A>): void {
    this.write(api.encodeRequest(version, ++this.#correlationId, 'test', body))
  }

  async response<A extends AnyApi>(api: A, version: number): Promise<Response<A>> {
    return api.decodeResponse(version, await this.frame()) as Response<A>
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** The next frame behind its size. Rejects with ConnectionClosed. */
  frame(): Promise<Buffer> {
    const frame = this.#frames.shift()
    if (frame !== undefined) return Promise.resolve(frame)
    if (this.#closed) return Promise.reject(new ConnectionClosed('connection closed'))
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  async close(): Promise<void> {
    this.#socket.destroy()
    await this.closed
  }

  #onData(chunk: Buffer): void {
    this.#received.push(chunk)
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes < 4) return
    let bytes = this.#received.length === 1 ? this.#received[0]! : Buffer.concat(this.#received)
    while (bytes.length >= 4) {
      const size = bytes.readInt32BE(0)
      if (bytes.length < 4 + size) break
      const frame = bytes.subarray(4, 4 + size)
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#frames.push(frame)
      else waiting.resolve(frame)
      bytes = bytes.subarray(4 + size)
    }
    this.#received = bytes.length > 0 ? [bytes] : []
    this.#receivedBytes = bytes.length
  }
}
