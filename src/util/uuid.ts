// SPDX-License-Identifier: Apache-2.0
// Kafka's Uuid: 16 bytes, written as 22 characters of base64url.
import type { Rng } from './seams.ts'

/** A random id as text. Never one that begins with a dash: tools would take it for an option. */
export function randomUuid(rng: Rng): string {
  for (;;) {
    const text = uuidText(rng.uuid())
    if (!text.startsWith('-')) return text
  }
}

export function uuidText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}

/** The 16 bytes, or null when the text is no id. */
export function uuidBytes(text: string): Buffer | null {
  if (!/^[A-Za-z0-9_-]{22}$/.test(text)) return null
  return Buffer.from(text, 'base64url')
}
