// SPDX-License-Identifier: Apache-2.0
// A trace of system calls that strace wrote (-f -ttt -yy -o FILE), as data, and the question that matters of it: was every
// acks=all reply written after the sync that covers it? Owns no process.
import { spawnSync } from 'node:child_process'

export interface SystemCall {
  readonly thread: number
  readonly name: string
  /** Between the parentheses, as strace wrote it. */
  readonly text: string
  readonly result: number
  readonly injected: boolean
  /** Order of entry and return among all calls of the trace: line numbers. */
  readonly entered: number
  readonly returned: number
}

/** Fails with what to do: these tests are not skipped where they can't run, they are not started there. */
export function requireCommand(command: string, packageName: string): void {
  const { error } = spawnSync(command, ['-V'], { stdio: 'ignore' })
  if (error !== undefined)
    throw new Error(
      `${command} is needed by npm run test:faults and can't be run: install ${packageName} (${error.message})`,
    )
}

export function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new Error('npm run test:faults mounts file systems: run it as root, or run npm test, which needs no rights')
}

const LINE = /^(\d+)\s+[\d.]+\s+(.*)$/
const WHOLE = /^(\w+)\((.*)\)\s+= (-?\d+)(.*)$/s
const UNFINISHED = /^(\w+)\((.*?)\s*<unfinished \.\.\.>$/s
const RESUMED = /^<\.\.\. (\w+) resumed>(.*)\)\s+= (-?\d+)(.*)$/s

export function parseTrace(text: string): SystemCall[] {
  const calls: SystemCall[] = []
  const open = new Map<number, { name: string; text: string; entered: number }>()
  text.split('\n').forEach((line, at) => {
    const found = LINE.exec(line)
    if (found === null) return
    const thread = Number(found[1])
    const rest = found[2]!
    const unfinished = UNFINISHED.exec(rest)
    if (unfinished !== null) {
      open.set(thread, { name: unfinished[1]!, text: unfinished[2]!, entered: at })
      return
    }
    const resumed = RESUMED.exec(rest)
    const begun = resumed === null ? undefined : open.get(thread)
    if (resumed !== null && begun !== undefined) {
      open.delete(thread)
      calls.push({
        thread,
        name: begun.name,
        text: begun.text + resumed[2]!,
        result: Number(resumed[3]),
        injected: resumed[4]!.includes('INJECTED'),
        entered: begun.entered,
        returned: at,
      })
      return
    }
    const whole = WHOLE.exec(rest)
    if (whole === null) return
    calls.push({
      thread,
      name: whole[1]!,
      text: whole[2]!,
      result: Number(whole[3]),
      injected: whole[4]!.includes('INJECTED'),
      entered: at,
      returned: at,
    })
  })
  return calls
}

const ESCAPES: Record<string, number> = { n: 10, t: 9, r: 13, v: 11, f: 12, '"': 34, '\\': 92 }

/** The bytes of the first quoted string in a call's text. */
export function bytesOf(text: string): Buffer {
  const quoted = /"((?:[^"\\]|\\.)*)"/s.exec(text)?.[1] ?? ''
  const bytes: number[] = []
  for (const [, octal, escaped, plain] of quoted.matchAll(/\\([0-7]{1,3})|\\(.)|([^\\])/gs)) {
    if (octal !== undefined) bytes.push(Number.parseInt(octal, 8))
    else if (escaped !== undefined) bytes.push(ESCAPES[escaped] ?? escaped.charCodeAt(0))
    else bytes.push(plain!.charCodeAt(0))
  }
  return Buffer.from(bytes)
}

const RECEIVING = new Set(['read', 'recvfrom', 'recvmsg'])
const SENDING = new Set(['write', 'writev', 'sendto', 'sendmsg'])
const PRODUCE_KEY = 0

export interface AckCheck {
  /** Produce requests with a reply that the trace holds. */
  readonly replies: number
  /** Correlation ids of replies with no sync of the partition's log between the request's receipt and the reply. */
  readonly unsynced: number[]
}

/**
 * For a client that sends one Produce after the other on one connection, each in one piece. Strict: the sync must enter after
 * the read that brought the request returned, and return 0 before the write of the reply enters.
 */
export function checkSyncBeforeAck(calls: readonly SystemCall[], logFile: RegExp): AckCheck {
  const syncs = calls.filter(
    ({ name, text, result }) => (name === 'fdatasync' || name === 'fsync') && result === 0 && logFile.test(text),
  )
  const received = new Map<string, { correlationId: number; returned: number }>()
  let replies = 0
  const unsynced: number[] = []
  for (const call of calls) {
    const socket = /^\d+<(TCP:\[[^\]]+\])>/.exec(call.text)?.[1]
    if (socket === undefined || call.result <= 0) continue
    const bytes = bytesOf(call.text)
    if (RECEIVING.has(call.name) && bytes.length >= 12 && bytes.readInt16BE(4) === PRODUCE_KEY) {
      received.set(socket, { correlationId: bytes.readInt32BE(8), returned: call.returned })
    } else if (SENDING.has(call.name) && bytes.length >= 8) {
      const request = received.get(socket)
      if (request?.correlationId !== bytes.readInt32BE(4)) continue
      received.delete(socket)
      replies++
      const covered = syncs.some((sync) => sync.entered > request.returned && sync.returned < call.entered)
      if (!covered) unsynced.push(request.correlationId)
    }
  }
  return { replies, unsynced }
}
