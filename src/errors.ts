// SPDX-License-Identifier: Apache-2.0
// The error classes of every layer. Users match on `code`; the broker's own layers match on KafkaError.errorCode.
import { type ErrorName, errorByName } from './protocol/errors.ts'

/** A failure that has a Kafka error code: what a handler turns into the code of a response field. */
export class KafkaError extends Error {
  readonly code: ErrorName
  readonly errorCode: number
  readonly retriable: boolean

  constructor(name: ErrorName, message?: string, options?: { cause?: unknown }) {
    const known = errorByName(name)
    super(message ?? known.message, options)
    this.name = 'KafkaError'
    this.code = name
    this.errorCode = known.code
    this.retriable = known.retriable
  }
}
