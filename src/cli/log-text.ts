// SPDX-License-Identifier: Apache-2.0
// How `varve log` writes values: bytes as text where they are text, times, counts; and lines to standard output at the reader's pace.
import type { Writable } from 'node:stream'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
// What a terminal would obey or hide; JSON.stringify escapes only those below 0x20.
const UNPRINTABLE = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

/** The text that bytes are in UTF-8, or null. */
export function textOf(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes)
  } catch {
    return null
  }
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** In quotes, safe for a terminal. */
export function quoted(text: string): string {
  return JSON.stringify(text).replace(UNPRINTABLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** null, "text", or 0x... */
export function bytesText(bytes: Uint8Array | null, hex: boolean): string {
  if (bytes === null) return 'null'
  const text = hex ? null : textOf(bytes)
  return text === null ? `0x${hexOf(bytes)}` : quoted(text)
}

/** Under `name` as text, or under nameHex. */
export function bytesJson(name: string, bytes: Uint8Array | null, hex: boolean): Record<string, string | null> {
  if (bytes === null) return { [name]: null }
  const text = hex ? null : textOf(bytes)
  return text === null ? { [`${name}Hex`]: hexOf(bytes) } : { [name]: text }
}

/** A time of a record: -1 is none. */
export function timeText(timestampMs: number): string {
  if (timestampMs === -1) return 'none'
  const date = new Date(timestampMs)
  return Number.isNaN(date.getTime()) ? `${timestampMs}ms` : date.toISOString()
}

/** bigint as a number where that is exact, else as a text. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) => {
    if (typeof one !== 'bigint') return one
    return one >= Number.MIN_SAFE_INTEGER && one <= Number.MAX_SAFE_INTEGER ? Number(one) : String(one)
  })
}

export function counted(count: number, noun: string): string {
  const plural = noun.endsWith('ch') ? `${noun}es` : `${noun}s`
  return `${count.toLocaleString('en-US')} ${count === 1 ? noun : plural}`
}

const CHUNK_CHARS = 1 << 16

/** Writes each line, waiting for a slow reader. Resolves with the generator's result; early with undefined when the reader is gone. */
export async function writeLines<T>(lines: Generator<string, T>, out: Writable): Promise<T | undefined> {
  let gone = false
  let wake = (): void => {}
  const onDrain = (): void => wake()
  const onError = (error: NodeJS.ErrnoException): void => {
    // `varve log dump ... | head` has seen enough.
    if (error.code !== 'EPIPE') throw error
    gone = true
    wake()
  }
  out.on('error', onError)
  out.on('drain', onDrain)
  try {
    let chunk = ''
    const flush = async (): Promise<void> => {
      if (chunk === '' || gone) return
      const mayGoOn = out.write(chunk)
      chunk = ''
      if (mayGoOn || gone) return
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    for (;;) {
      const next = lines.next()
      if (next.done) {
        await flush()
        return next.value
      }
      chunk += `${next.value}\n`
      if (chunk.length >= CHUNK_CHARS) await flush()
      if (gone) return undefined
    }
  } finally {
    out.off('drain', onDrain)
    // `onError` stays: the last write may still fail.
  }
}
