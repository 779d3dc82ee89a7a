// SPDX-License-Identifier: Apache-2.0
// Listeners: the sockets a broker accepts on. Owns binding, the limits on connections (all of them on by default) and the
// transports of live connections; what is said on them is the transport's.
import { lstatSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { KafkaError } from '../errors.ts'
import { AddressLimits } from './address-limits.ts'
import type { BrokerServices } from './broker-services.ts'
import { SocketTransport } from './socket-transport.ts'

export type ListenAddress =
  | { readonly name: string; readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly name: string; readonly kind: 'unix'; readonly path: string }

const DRAIN_POLL_MS = 5

/** `NAME://HOST:PORT`, `HOST:PORT`, `[::1]:PORT`, `unix:PATH`, each also as `NAME=...`. Throws KafkaError INVALID_CONFIG. */
export function parseListenAddress(text: string): ListenAddress {
  const fail = (): never => {
    throw new KafkaError(
      'INVALID_CONFIG',
      `Invalid listener ${text}: expected [NAME=]HOST:PORT, NAME://HOST:PORT or unix:PATH`,
    )
  }
  const named = /^(?:([A-Za-z][A-Za-z0-9_]*)(?::\/\/|=))?(.*)$/s.exec(text.trim())
  const name = (named?.[1] ?? 'PLAINTEXT').toUpperCase()
  const address = named?.[2] ?? ''
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length)
    return path === '' ? fail() : { name, kind: 'unix', path }
  }
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/\s]*)):(\d{1,5})$/.exec(address)
  const port = Number(parts?.[3])
  if (parts === null || port > 65535) return fail()
  return { name, kind: 'tcp', host: parts[1] ?? (parts[2] === '' ? '0.0.0.0' : parts[2]!), port }
}

/** One address to advertise; must be TCP with a real host and port. */
export function parseAdvertised(text: string): { name: string; host: string; port: number } {
  const address = parseListenAddress(text)
  if (address.kind !== 'tcp' || address.port === 0)
    throw new KafkaError('INVALID_CONFIG', `Invalid advertised listener ${text}: expected [NAME=]HOST:PORT`)
  return address
}

export class Listeners {
  readonly #broker: BrokerServices
  readonly #servers: Server[] = []
  readonly #unixPaths: string[] = []
  readonly #transports = new Set<SocketTransport>()
  readonly #connectionsMax: number
  readonly #perAddress: AddressLimits
  readonly #idleMs: number
  /** As bound, in order: ports that were 0 are filled in. */
  readonly addresses: ListenAddress[] = []

  constructor(broker: BrokerServices) {
    this.#broker = broker
    this.#connectionsMax = broker.config.number('max.connections')
    this.#perAddress = new AddressLimits({
      connectionsMax: broker.config.number('max.connections.per.ip'),
      creationRateMax: broker.config.number('max.connection.creation.rate'),
      clock: broker.seams.clock,
    })
    this.#idleMs = broker.config.number('connections.max.idle.ms')
  }

  get connectionCount(): number {
    return this.#transports.size
  }

  async listen(address: ListenAddress): Promise<void> {
    if (address.kind === 'unix') await removeStaleSocket(address.path)
    const server = createServer({ noDelay: true, keepAlive: true }, (socket) => this.#accept(socket, address.name))
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, address)))
      const listening = (): void => resolve()
      if (address.kind === 'unix') server.listen(address.path, listening)
      else server.listen({ host: address.host, port: address.port, backlog: 1024 }, listening)
    })
    server.removeAllListeners('error')
    // Out of descriptors and the like: the connection is lost, the listener goes on.
    server.on('error', (error) => this.#broker.log.error({ err: error }, 'accept failed'))
    this.#servers.push(server)
    if (address.kind === 'unix') {
      this.#unixPaths.push(address.path)
      this.addresses.push(address)
    } else {
      const bound = server.address()
      const port = typeof bound === 'object' && bound !== null ? bound.port : address.port
      this.addresses.push({ ...address, port })
    }
  }

  /** Takes no more connections and requests, lets answers under way out for at most `graceMs`, then closes every connection. */
  async close(graceMs: number): Promise<void> {
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    const { clock } = this.#broker.seams
    const untilMs = clock.monoMs() + graceMs
    for (const transport of this.#transports) transport.drain()
    while (clock.monoMs() < untilMs && [...this.#transports].some((transport) => transport.busy))
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS))
    for (const transport of this.#transports) transport.destroy()
    await Promise.all(closed)
    for (const path of this.#unixPaths) {
      try {
        unlinkSync(path)
      } catch {
        // Node removed it with the server.
      }
    }
  }

  #accept(socket: Socket, listenerName: string): void {
    const host = normalized(socket.remoteAddress)
    const refusal =
      this.#transports.size >= this.#connectionsMax
        ? 'max.connections is reached'
        : host === null
          ? null
          : this.#perAddress.enter(host)
    if (refusal !== null) {
      this.#broker.log.warn({ client: host ?? 'unix', reason: refusal }, 'connection refused')
      socket.destroy()
      return
    }
    const localHost = normalized(socket.localAddress)
    const client = {
      host: host ?? 'unix',
      localAddress: localHost === null ? null : { host: localHost, port: socket.localPort! },
      listenerName,
    }
    if (this.#idleMs > 0) socket.setTimeout(this.#idleMs, () => socket.destroy())
    const transport = new SocketTransport(socket, client, this.#broker, () => {
      this.#transports.delete(transport)
      if (host !== null) this.#perAddress.leave(host)
    })
    this.#transports.add(transport)
  }
}

/** A killed process leaves its socket's name behind, on which nobody listens any more and nobody else can. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw new Error(`unix:${path} is no socket but a file: choose another path with --listen`)
  const isStale = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => resolve(false))
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
    probe.on('connect', () => probe.destroy())
  })
  if (isStale) unlinkSync(path)
}

/** An IPv4 address that came over an IPv6 socket as what it is. */
function normalized(address: string | undefined): string | null {
  if (address === undefined) return null
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
}

function listenError(error: NodeJS.ErrnoException, address: ListenAddress): Error {
  const where = address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`
  const what =
    error.code === 'EADDRINUSE'
      ? `${where} is in use by another process: stop it, or choose another address with --listen`
      : error.code === 'EACCES'
        ? `${where} may not be bound by this user: choose a port above 1023`
        : `${where} can't be bound: ${error.message}`
  return new Error(what, { cause: error })
}
