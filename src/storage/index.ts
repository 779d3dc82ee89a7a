// SPDX-License-Identifier: Apache-2.0
// The door `varve/storage`: the log engine in a program, without a broker.
export type { RecordCursor, RecordHeader } from '../protocol/record-batch.ts'
export type { Data, RecordInput } from './batch-encoder.ts'
export { Engine, type EngineOptions, openEngine } from './engine.ts'
export { type Appended, type FollowOptions, Log, LogBatch, LogRecord, type ReadOptions } from './log.ts'
export type { LogOptions } from './log-config.ts'
export type { NativeDirectory as DirectoryStatus, NativeLogStats as LogStats } from './native.ts'
export { StorageError, StorageErrorCode } from './storage-error.ts'
