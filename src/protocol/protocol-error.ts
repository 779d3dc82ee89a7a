// SPDX-License-Identifier: Apache-2.0
// The one error that decoding and encoding throw. It says what was wrong in which field; what to do about it (close the
// connection, or answer INVALID_REQUEST) is for the caller, who goes by `kind`.

/**
 * - `truncated`: a length points beyond the frame
 * - `malformed`: bytes that no encoder writes (length -5, null where null is not allowed, tags out of order)
 * - `limit`: well-formed so far, but more elements or tagged fields than are accepted
 * - `range`: an offset outside ±(2^53 - 1)
 * - `utf8`: a string that is not UTF-8; decoding again with `lenientUtf8` gives the rest of the request
 * - `unsupported`: encoding, a value is set that this version cannot carry; or an API or version that has no table
 * - `value`: encoding, a value of the wrong type or range
 */
export type ProtocolErrorKind = 'truncated' | 'malformed' | 'limit' | 'range' | 'utf8' | 'unsupported' | 'value'

export class ProtocolError extends Error {
  readonly kind: ProtocolErrorKind
  readonly detail: string
  /** Such as `topics[3].name`; empty when it is not a field that is wrong. */
  path = ''
  /** Such as `MetadataRequest v9`. */
  where = ''

  constructor(kind: ProtocolErrorKind, detail: string) {
    super(detail)
    this.name = 'ProtocolError'
    this.kind = kind
    this.detail = detail
  }

  /** Called while the error travels up through the message, innermost field first. */
  within(segment: string): this {
    const joint = this.path === '' || this.path.startsWith('[') ? '' : '.'
    this.path = segment + joint + this.path
    return this
  }

  in(messageName: string, version: number): this {
    this.where = `${messageName} v${version}`
    this.message = `${this.where}${this.path === '' ? '' : ` at ${this.path}`}: ${this.detail}`
    return this
  }
}
