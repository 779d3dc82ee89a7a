// SPDX-License-Identifier: Apache-2.0
// SocketTransport: a Node socket over a native Connection. Bytes go in as they come; outputs (scratch bytes and slices of
// mapped segments) go out without a copy; punted requests go to dispatch, one at a time. Owns backpressure towards the socket.
import type { Socket } from 'node:net'
import type { DataPlane, PlaneConnection } from '../partition/data-plane.ts'
import { ConnectionFlag, PIECE_NUMBERS } from '../storage/native.ts'
import type { Clock, TimerHandle } from '../util/seams.ts'
import type { BrokerServices } from './broker-services.ts'
import { dispatch } from './dispatch.ts'
import type { ClientContext } from './handler.ts'

const SCRATCH_BYTES = 256 * 1024
// Below this a new scratch is taken: reply headers are small, and a copied slice has at most 4 KiB.
const SCRATCH_REST_BYTES = 16 * 1024
const PIECES_MAX = 64
// What a socket is given at once: it tells what of it was read only when all of it was.
const WRITE_BYTES_MAX = 1 << 20
// As long may a peer leave what it is sent unread.
const WRITE_DEADLINE_MS = 60_000
const WRITE_CHECK_MS = 5000

/** Bytes that replies are copied to; shared by all sockets, thrown away when used up: writes under way keep it alive. */
class Scratch {
  bytes = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  used = 0

  ensureRoom(): void {
    if (this.bytes.length - this.used >= SCRATCH_REST_BYTES) return
    this.bytes = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
    this.used = 0
  }
}

const scratch = new Scratch()
const pieces = new Float64Array(PIECES_MAX * PIECE_NUMBERS)
const slot = new Float64Array(1)

export class SocketTransport {
  readonly #socket: Socket
  readonly #broker: BrokerServices
  readonly #plane: DataPlane
  readonly #clock: Clock
  readonly #client: ClientContext
  readonly #connection: PlaneConnection
  readonly #punts: Array<{ slot: number; frame: Buffer }> = []
  /** Parts of answers that the socket has no room for yet. */
  readonly #waiting: Uint8Array[] = []
  #writeDeadline: TimerHandle | undefined
  #dispatching = false
  #ending = false
  #draining = false
  #closed = false

  constructor(socket: Socket, client: ClientContext, broker: BrokerServices, onClosed: () => void) {
    this.#socket = socket
    this.#client = client
    this.#broker = broker
    this.#plane = broker.plane
    this.#clock = broker.seams.clock
    this.#connection = this.#plane.connect((flags) => this.#service(flags))
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('drain', () => {
      if (!this.#closed) this.#service(this.#connection.native.flags())
    })
    // Whatever goes wrong with a socket costs that connection, never more.
    socket.on('error', (error) => broker.log.debug({ err: error, client: client.host }, 'connection failed'))
    socket.on('close', () => {
      if (this.#closed) return
      this.#closed = true
      this.#writeDeadline?.cancel()
      this.#plane.disconnect(this.#connection)
      onClosed()
    })
  }

  /** Takes no more requests. Bytes are still read, and dropped: a socket closed over unread ones takes its last answers with it. */
  drain(): void {
    this.#draining = true
    if (!this.#closed) this.#socket.resume()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** True while a request is answered or its answer is not sent. */
  get busy(): boolean {
    if (this.#closed) return false
    return (
      this.#dispatching || this.#waiting.length > 0 || this.#socket.writableLength > 0 || this.#connection.native.busy()
    )
  }

  #receive(chunk: Buffer): void {
    if (this.#closed || this.#draining || this.#ending) return
    this.#service(this.#connection.native.receive(chunk, this.#clock.monoMs(), this.#clock.wallMs()))
    this.#plane.rearmSoon()
  }

  #service(flags: number): void {
    if (flags & ConnectionFlag.hasPunts) this.#takePunts()
    const after = flags & ConnectionFlag.hasOutput || this.#waiting.length > 0 ? this.#pump() : flags
    if (this.#closed) return
    this.#watchWrites()
    if (after & ConnectionFlag.mustClose) this.#end(this.#connection.native.closeReason())
    if (this.#ending) {
      // What was answered before goes out.
      if (!(after & ConnectionFlag.hasOutput) && this.#waiting.length === 0) this.#socket.destroySoon()
      return
    }
    if (this.#draining) return
    if (after & ConnectionFlag.pauseReading) this.#socket.pause()
    else if (this.#socket.isPaused()) this.#socket.resume()
  }

  /** Writes what there is until the socket holds enough. Returns the flags afterwards. */
  #pump(): number {
    const socket = this.#socket
    const native = this.#connection.native
    this.#writeWaiting()
    while (!socket.writableNeedDrain && !this.#closed) {
      scratch.ensureRoom()
      const count = native.output(scratch.bytes, scratch.used, pieces, this.#clock.monoMs(), this.#clock.wallMs())
      if (count === 0) break
      if (count > 1) socket.cork()
      for (let i = 0; i < count * PIECE_NUMBERS; i += PIECE_NUMBERS) {
        const windowId = pieces[i]!
        const start = pieces[i + 1]!
        const end = start + pieces[i + 2]!
        if (windowId === 0) {
          scratch.used = end
          this.#write(scratch.bytes.subarray(start, end))
        } else {
          this.#write(this.#plane.window(windowId).subarray(start, end))
        }
      }
      if (count > 1) socket.uncork()
      this.#writeWaiting()
    }
    return this.#closed ? 0 : native.flags()
  }

  #write(bytes: Uint8Array): void {
    if (this.#waiting.length === 0 && bytes.length <= WRITE_BYTES_MAX) this.#socket.write(bytes)
    else this.#waiting.push(bytes)
  }

  #writeWaiting(): void {
    while (this.#waiting.length > 0 && !this.#socket.writableNeedDrain) {
      const bytes = this.#waiting[0]!
      if (bytes.length > WRITE_BYTES_MAX) this.#waiting[0] = bytes.subarray(WRITE_BYTES_MAX)
      else this.#waiting.shift()
      this.#socket.write(bytes.subarray(0, WRITE_BYTES_MAX))
    }
  }

  /** While the socket holds something: a peer that takes nothing of it for WRITE_DEADLINE_MS is let go. */
  #watchWrites(takenBefore = -1, stalledMs = 0): void {
    const socket = this.#socket
    if (this.#writeDeadline !== undefined || socket.writableLength === 0) return
    const taken = socket.bytesWritten - socket.writableLength
    if (taken !== takenBefore) stalledMs = 0
    if (stalledMs < WRITE_DEADLINE_MS) {
      this.#writeDeadline = this.#broker.seams.timers.after(WRITE_CHECK_MS, () => {
        this.#writeDeadline = undefined
        this.#watchWrites(taken, stalledMs + WRITE_CHECK_MS)
      })
      return
    }
    this.#end('the peer reads no responses')
    socket.destroy()
  }

  #end(reason: string): void {
    if (this.#ending) return
    this.#ending = true
    this.#broker.log.info({ client: this.#client.host, reason }, 'connection closed')
  }

  #takePunts(): void {
    const native = this.#connection.native
    for (;;) {
      const frame = native.takePunt(slot)
      if (frame === null) break
      this.#punts.push({ slot: slot[0]!, frame })
    }
    if (this.#dispatching) return
    this.#dispatchAll().catch((error: unknown) => {
      // A defect of ours; nothing that one client sends may cost the process.
      this.#broker.log.error({ err: error, client: this.#client.host }, 'dispatch failed; connection closed')
      this.#socket.destroy()
    })
  }

  async #dispatchAll(): Promise<void> {
    this.#dispatching = true
    for (;;) {
      const punt = this.#punts.shift()
      if (punt === undefined) break
      const reply = await dispatch(this.#broker, this.#client, punt.frame)
      if (this.#closed) break
      const native = this.#connection.native
      const monoMs = this.#clock.monoMs()
      const wallMs = this.#clock.wallMs()
      if (reply.kind === 'close') {
        this.#end(reply.reason)
        this.#service(this.#connection.native.flags())
        break
      }
      const flags =
        reply.kind === 'frame'
          ? native.answer(punt.slot, reply.frame, monoMs, wallMs)
          : native.retry(punt.slot, monoMs, wallMs)
      this.#service(flags)
      this.#plane.rearmSoon()
    }
    this.#dispatching = false
  }
}
