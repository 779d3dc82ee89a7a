// SPDX-License-Identifier: Apache-2.0
// The records of __consumer_offsets as Kafka writes them (OffsetCommitKey and -Value, GroupMetadataKey and -Value): to
// bytes and back. Keys and values begin with an int16 version; the version of a key also tells what the record is. Keys
// that Kafka's newer group types write (3 and up) are recognised as foreign and left alone.
import { Message } from '../protocol/message.ts'
import { MAX_REQUEST_ELEMENTS } from '../protocol/reader.ts'
import { array, bytes, int32, offset, string, timestampMs, uuid } from '../protocol/schema.ts'
import { Writer } from '../protocol/writer.ts'

export const OFFSETS_TOPIC = '__consumer_offsets'

const OFFSET_KEY_VERSION = 1
const GROUP_KEY_VERSION = 2
const OFFSET_VALUE_VERSION = 3
/** The only one that can say when an offset expires. */
const OFFSET_VALUE_WITH_EXPIRY_VERSION = 1
const GROUP_VALUE_VERSION = 3
const FIRST_FLEXIBLE = 4

const offsetKey = new Message('OffsetCommitKey', {
  versions: { min: 0, max: 1 },
  flexible: Number.POSITIVE_INFINITY,
  maxElements: 0,
  fields: { group: string, topic: string, partition: int32 },
})

const offsetValue = new Message('OffsetCommitValue', {
  versions: { min: 0, max: 4 },
  flexible: FIRST_FLEXIBLE,
  maxElements: 64,
  fields: {
    offset: offset,
    leaderEpoch: int32.in('3+').default(-1).ignorable(),
    metadata: string,
    commitTimestamp: timestampMs,
    expireTimestamp: timestampMs.in('1').default(-1).ignorable(),
    topicId: uuid.in('4+').tagged(0).ignorable(),
  },
})

const groupKey = new Message('GroupMetadataKey', {
  versions: { min: 2, max: 2 },
  flexible: Number.POSITIVE_INFINITY,
  maxElements: 0,
  fields: { group: string },
})

const groupValue = new Message('GroupMetadataValue', {
  versions: { min: 0, max: 4 },
  flexible: FIRST_FLEXIBLE,
  maxElements: MAX_REQUEST_ELEMENTS,
  fields: {
    protocolType: string,
    generation: int32,
    protocol: string.nullable(),
    leader: string.nullable(),
    currentStateTimestamp: timestampMs.in('2+').default(-1).ignorable(),
    members: array({
      memberId: string,
      groupInstanceId: string.in('3+').nullable().default(null).ignorable(),
      clientId: string,
      clientHost: string,
      rebalanceTimeout: int32.in('1+').default(-1).ignorable(),
      sessionTimeout: int32,
      subscription: bytes,
      assignment: bytes,
    }),
  },
})

/** A committed offset. */
export interface OffsetAndMetadata {
  readonly offset: number
  /** -1: not known. */
  readonly leaderEpoch: number
  readonly metadata: string
  readonly commitTimestampMs: number
  /** -1: as the broker's retention says. */
  readonly expireTimestampMs: number
}

/** A generation of a group, as it is persisted. */
export interface GroupMetadata {
  readonly protocolType: string
  readonly generationId: number
  readonly protocolName: string | null
  readonly leader: string | null
  /** When the group took its state; -1: not known. */
  readonly stateTimestampMs: number
  readonly members: readonly MemberMetadata[]
}

export interface MemberMetadata {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly rebalanceTimeoutMs: number
  readonly sessionTimeoutMs: number
  readonly subscription: Uint8Array
  readonly assignment: Uint8Array
}

/** A record to append; a null value is a tombstone. */
export interface LogRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array | null
}

/** What the key of a record says that the record is about. */
export type GroupLogKey =
  | { readonly kind: 'offset'; readonly groupId: string; readonly topic: string; readonly partition: number }
  | { readonly kind: 'group'; readonly groupId: string }

const writer = new Writer()

function begin(version: number): Writer {
  writer.begin()
  writer.int16(version)
  return writer
}

export function offsetRecord(
  groupId: string,
  topic: string,
  partition: number,
  value: OffsetAndMetadata | null,
): LogRecord {
  offsetKey.encodeTo(begin(OFFSET_KEY_VERSION), OFFSET_KEY_VERSION, { group: groupId, topic, partition })
  const key = writer.finish()
  if (value === null) return { key, value: null }
  const version = value.expireTimestampMs === -1 ? OFFSET_VALUE_VERSION : OFFSET_VALUE_WITH_EXPIRY_VERSION
  offsetValue.encodeTo(begin(version), version, {
    offset: value.offset,
    leaderEpoch: value.leaderEpoch,
    metadata: value.metadata,
    commitTimestamp: value.commitTimestampMs,
    expireTimestamp: value.expireTimestampMs,
  })
  return { key, value: writer.finish() }
}

export function groupRecord(groupId: string, value: GroupMetadata | null): LogRecord {
  groupKey.encodeTo(begin(GROUP_KEY_VERSION), GROUP_KEY_VERSION, { group: groupId })
  const key = writer.finish()
  if (value === null) return { key, value: null }
  groupValue.encodeTo(begin(GROUP_VALUE_VERSION), GROUP_VALUE_VERSION, {
    protocolType: value.protocolType,
    generation: value.generationId,
    protocol: value.protocolName,
    leader: value.leader,
    currentStateTimestamp: value.stateTimestampMs,
    members: value.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeout: member.rebalanceTimeoutMs,
      sessionTimeout: member.sessionTimeoutMs,
      subscription: member.subscription,
      assignment: member.assignment,
    })),
  })
  return { key, value: writer.finish() }
}

/** Null for records that are not ours. Like the readers of values, throws ProtocolError at bytes that no version has. */
export function readKey(bytes: Uint8Array): GroupLogKey | null {
  switch (versionOf(bytes)) {
    case 0:
    case OFFSET_KEY_VERSION: {
      const { group, topic, partition } = offsetKey.decode(OFFSET_KEY_VERSION, bytes, 2)
      return { kind: 'offset', groupId: group, topic, partition }
    }
    case GROUP_KEY_VERSION:
      return { kind: 'group', groupId: groupKey.decode(GROUP_KEY_VERSION, bytes, 2).group }
    default:
      return null
  }
}

/**
 * Reads offset commits in place, in the versions that are written today: a log holds far more of them than of anything
 * else. What it does not take is for readKey and readOffsetValue, which also say what is wrong with it.
 */
export class OffsetCommitReader {
  groupId = ''
  topic = ''
  partition = 0
  value: OffsetAndMetadata | null = null

  /** The key is bytes[keyStart, keyEnd), the value bytes[valueStart, valueEnd). */
  read(bytes: Buffer, keyStart: number, keyEnd: number, valueStart: number, valueEnd: number): boolean {
    if (keyEnd - keyStart < 10 || int16At(bytes, keyStart) !== OFFSET_KEY_VERSION) return false
    if (valueEnd - valueStart < 24 || int16At(bytes, valueStart) !== OFFSET_VALUE_VERSION) return false
    const topicSizeAt = keyStart + 4 + int16At(bytes, keyStart + 2)
    if (topicSizeAt < keyStart + 4 || topicSizeAt + 6 > keyEnd) return false
    const partitionAt = topicSizeAt + 2 + int16At(bytes, topicSizeAt)
    const metadataSize = int16At(bytes, valueStart + 14)
    if (partitionAt !== keyEnd - 4 || metadataSize !== valueEnd - valueStart - 24) return false
    this.groupId = bytes.toString('utf8', keyStart + 4, topicSizeAt)
    this.topic = bytes.toString('utf8', topicSizeAt + 2, partitionAt)
    this.partition = int32At(bytes, partitionAt)
    const metadataAt = valueStart + 16
    const metadata = metadataSize === 0 ? '' : bytes.toString('utf8', metadataAt, metadataAt + metadataSize)
    const offset = int64At(bytes, valueStart + 2)
    const commitTimestampMs = int64At(bytes, valueEnd - 8)
    const leaderEpoch = int32At(bytes, valueStart + 10)
    this.value = { offset, leaderEpoch, metadata, commitTimestampMs, expireTimestampMs: -1 }
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(commitTimestampMs)) return false
    return !(this.groupId.includes('\uFFFD') || this.topic.includes('\uFFFD') || metadata.includes('\uFFFD'))
  }
}

function int16At(bytes: Buffer, position: number): number {
  return ((bytes[position]! << 24) >> 16) | bytes[position + 1]!
}

function int32At(bytes: Buffer, position: number): number {
  return (int16At(bytes, position) << 16) | (int16At(bytes, position + 2) & 0xffff)
}

function int64At(bytes: Buffer, position: number): number {
  return int32At(bytes, position) * 2 ** 32 + (int32At(bytes, position + 4) >>> 0)
}

function versionOf(bytes: Uint8Array): number {
  return bytes.length < 2 ? -1 : ((bytes[0]! << 24) >> 16) | bytes[1]!
}

export function readOffsetValue(bytes: Uint8Array): OffsetAndMetadata {
  const value = offsetValue.decode(versionOf(bytes), bytes, 2)
  return {
    offset: value.offset,
    leaderEpoch: value.leaderEpoch,
    metadata: value.metadata,
    commitTimestampMs: value.commitTimestamp,
    expireTimestampMs: value.expireTimestamp,
  }
}

export function readGroupValue(bytes: Uint8Array): GroupMetadata {
  const value = groupValue.decode(versionOf(bytes), bytes, 2)
  return {
    protocolType: value.protocolType,
    generationId: value.generation,
    protocolName: value.protocol,
    leader: value.leader,
    stateTimestampMs: value.currentStateTimestamp,
    members: value.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      // Version 0 knows one timeout for both.
      rebalanceTimeoutMs: member.rebalanceTimeout === -1 ? member.sessionTimeout : member.rebalanceTimeout,
      sessionTimeoutMs: member.sessionTimeout,
      subscription: member.subscription,
      assignment: member.assignment,
    })),
  }
}

/** The partition of the offsets topic that holds a group: Java's String.hashCode and Kafka's Utils.abs, bit for bit. */
export function partitionOf(groupId: string, partitionCount: number): number {
  let hash = 0
  for (let i = 0; i < groupId.length; i++) hash = (Math.imul(31, hash) + groupId.charCodeAt(i)) | 0
  return hash === -(2 ** 31) ? 0 : Math.abs(hash) % partitionCount
}
