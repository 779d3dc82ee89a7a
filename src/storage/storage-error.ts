// SPDX-License-Identifier: Apache-2.0
// What the storage engine fails with. Native code throws this class too (it is handed over once, when the addon loads), so
// that a failure looks the same wherever it was found.

/** Match on `code`; the message is for people. */
export const StorageErrorCode = {
  /** The engine, log or view was used after close(). */
  closed: 'CLOSED',
  /** Bytes on disk are not what was written. They are never returned. */
  corrupt: 'CORRUPT',
  /** An offset outside [startOffset, endOffset]. */
  outOfRange: 'OUT_OF_RANGE',
  /** The disk is full: free space, then go on; nothing was appended. */
  noSpace: 'NO_SPACE',
  /** Another process has the directory; the message names its pid. */
  locked: 'LOCKED',
  /** The disk failed; the log directory is offline until the engine is opened again. */
  io: 'IO',
  /** An argument that can't be served, such as a batch with a wrong CRC. */
  invalid: 'INVALID',
  notFound: 'NOT_FOUND',
  /** A file format version or codec that this build doesn't know. */
  unsupported: 'UNSUPPORTED',
  /** Larger than the configured limit. */
  tooLarge: 'TOO_LARGE',
} as const
export type StorageErrorCode = (typeof StorageErrorCode)[keyof typeof StorageErrorCode]

export class StorageError extends Error {
  readonly code: StorageErrorCode
  /** The system call's errno, 0 when none failed. */
  readonly errno: number

  constructor(message: string, code: StorageErrorCode, errno = 0, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'StorageError'
    this.code = code
    this.errno = errno
  }
}
