// SPDX-License-Identifier: Apache-2.0
// Settings of a log in the embedded API: names, defaults (Kafka's) and checks. The broker has a table of its own with
// Kafka's config keys and maps them to the same native settings.
import { checkOptionNames } from '../util/options.ts'
import type { NativeLogConfig } from './native.ts'

export interface LogOptions {
  /** A segment is closed at this size (segment.bytes). Default 1 GiB, at least 4 KiB, at most 2^31 - 1. */
  readonly segmentBytes?: number
  /** A segment is closed at this age even when it isn't full (segment.ms). Default 7 days. */
  readonly segmentMs?: number
  /** Bytes between two entries of the offset index (index.interval.bytes). Default 4096. */
  readonly indexIntervalBytes?: number
  /** Records older than this are deleted, a segment at a time (retention.ms). Default -1: kept forever. */
  readonly retentionMs?: number
  /** The oldest segments are deleted above this total size (retention.bytes). Default -1: no limit. */
  readonly retentionBytes?: number
  /** Deleted files stay this long for readers that are slow (file.delete.delay.ms). Default 60 s. */
  readonly fileDeleteDelayMs?: number
  /** Records get the time of their append instead of their own (message.timestamp.type). Default false. */
  readonly logAppendTime?: boolean
}

const DAY_MS = 24 * 3600 * 1000

interface Range {
  readonly min: number
  readonly max: number
}
const RANGES: Record<Exclude<keyof LogOptions, 'logAppendTime'>, Range> = {
  segmentBytes: { min: 4096, max: 2 ** 31 - 1 },
  segmentMs: { min: 1, max: Number.MAX_SAFE_INTEGER },
  indexIntervalBytes: { min: 0, max: 2 ** 31 - 1 },
  retentionMs: { min: -1, max: Number.MAX_SAFE_INTEGER },
  retentionBytes: { min: -1, max: Number.MAX_SAFE_INTEGER },
  fileDeleteDelayMs: { min: 0, max: Number.MAX_SAFE_INTEGER },
}

/** Throws RangeError or TypeError naming the option and the value; nothing was touched then. */
export function checkedInteger(name: string, value: unknown, { min, max }: Range): number {
  if (typeof value !== 'number') throw new TypeError(`${name} must be a number, got ${typeof value}`)
  if (!Number.isInteger(value) || value < min || value > max)
    throw new RangeError(`${name} must be an integer from ${min} to ${max}, got ${value}`)
  return value
}

const LOG_OPTION_NAMES = [...Object.keys(RANGES), 'logAppendTime']

export const DEFAULT_LOG_CONFIG: NativeLogConfig = {
  segmentBytes: 2 ** 30,
  segmentMs: 7 * DAY_MS,
  segmentJitterMs: 0,
  segmentIndexBytes: 10 * 1024 * 1024,
  indexIntervalBytes: 4096,
  retentionMs: -1,
  retentionBytes: -1,
  fileDeleteDelayMs: 60_000,
  cleanupDelete: true,
  cleanupCompact: false,
  logAppendTime: false,
}

/** `options` over `base`, checked. */
export function logConfig(options: LogOptions, base: NativeLogConfig = DEFAULT_LOG_CONFIG): NativeLogConfig {
  checkOptionNames('a log', options, LOG_OPTION_NAMES)
  const config: { -readonly [K in keyof NativeLogConfig]: NativeLogConfig[K] } = { ...base }
  for (const [name, range] of Object.entries(RANGES) as Array<[keyof typeof RANGES, Range]>) {
    const value = options[name]
    if (value !== undefined) config[name] = checkedInteger(name, value, range)
  }
  if (options.logAppendTime !== undefined) config.logAppendTime = Boolean(options.logAppendTime)
  return config
}
