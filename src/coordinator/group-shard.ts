// SPDX-License-Identifier: Apache-2.0
// The groups of one partition of the offsets topic, from the moment this broker leads it until it no longer does
// (Kafka's GroupCoordinatorShard). Carries out the effects that groups ask for (answers, deadlines, writes), keeps
// memory equal to what the log holds, and replays the log first. Requests are taken apart in group-coordinator.ts.
import { KafkaError } from '../errors.ts'
import type { Partition } from '../partition/partition.ts'
import { ErrorCode } from '../protocol/errors.ts'
import type { Clock } from '../util/seams.ts'
import { Deadline, type Deadlines } from './deadlines.ts'
import { type Effect, Group, type GroupEnvironment, type GroupTimer } from './group.ts'
import { type GroupMetadata, groupRecord, type LogRecord, type OffsetAndMetadata, offsetRecord } from './group-log.ts'
import { LogWriter, type WriteOutcome } from './log-writer.ts'
import { GroupOffsets, type TopicPartition } from './offsets.ts'
import type { GroupLogger } from './types.ts'

export interface ShardEnvironment extends GroupEnvironment {
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly logger: GroupLogger
}

/** `loading`: being replayed. `failed`: it could not be, and will be tried again. `resigned`: another broker's now. */
export type ShardState = 'loading' | 'active' | 'failed' | 'resigned'

/** A group and what belongs to it. */
export interface GroupEntry {
  group: Group
  readonly offsets: GroupOffsets
  readonly deadlines: Map<GroupTimer, Deadline>
  /** True when the log holds metadata of the group, or is about to: then it takes a tombstone to be rid of it. */
  isInLog: boolean
}

/** One offset to commit (a value) or to delete (null). */
export interface OffsetWrite extends TopicPartition {
  readonly value: OffsetAndMetadata | null
}

type Answer = (error: KafkaError | null) => void

interface Wait {
  readonly deadline: Deadline
  readonly answer: Answer
}

export class GroupShard {
  readonly index: number
  readonly partition: Partition
  readonly #env: ShardEnvironment
  readonly #writer: LogWriter
  readonly #entries = new Map<string, GroupEntry>()
  /** Where the open transactions of a producer have committed offsets. */
  readonly #transactions = new Map<bigint, { readonly entry: GroupEntry; readonly at: TopicPartition }[]>()
  /** Those who wait for a write to have an outcome, each with a time by which it hears of one. */
  readonly #waits = new Set<Wait>()
  #state: ShardState = 'loading'

  constructor(index: number, partition: Partition, env: ShardEnvironment) {
    this.index = index
    this.partition = partition
    this.#env = env
    this.#writer = new LogWriter(partition, { batchBytes: env.config.appendBatchBytes, wallMs: () => env.wallMs() })
  }

  get state(): ShardState {
    return this.#state
  }

  get entries(): ReadonlyMap<string, GroupEntry> {
    return this.#entries
  }

  /** NONE, or why requests cannot be answered from here now. */
  get error(): number {
    if (this.#state === 'active') return ErrorCode.NONE
    return this.#state === 'loading' ? ErrorCode.COORDINATOR_LOAD_IN_PROGRESS : ErrorCode.NOT_COORDINATOR
  }

  entry(groupId: string): GroupEntry | undefined {
    return this.#entries.get(groupId)
  }

  /** Undefined when the shard has as many groups as it may have. */
  entryOrNew(groupId: string): GroupEntry | undefined {
    const existing = this.#entries.get(groupId)
    if (existing !== undefined) return existing
    if (this.#entries.size >= this.#env.config.groupsPerPartitionMax) return undefined
    return this.#newEntry(groupId)
  }

  #newEntry(groupId: string): GroupEntry {
    const group = new Group(groupId, this.#env)
    const entry = { group, offsets: new GroupOffsets(), deadlines: new Map(), isInLog: false }
    this.#entries.set(groupId, entry)
    return entry
  }

  // ── effects ───────────────────────────────────────────────────────────────────────────────────────────────────────

  run(entry: GroupEntry, effects: readonly Effect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'answer':
          effect.send()
          break
        case 'arm':
          this.#arm(entry, effect.timer, effect.delayMs)
          break
        case 'disarm':
          this.#disarm(entry, effect.timer)
          break
        case 'persist':
          this.#persist(entry, effect)
          break
        case 'note':
          this.#env.logger.info(effect.text)
          break
      }
    }
    this.#forgetIfNothing(entry)
  }

  #arm(entry: GroupEntry, timer: GroupTimer, delayMs: number): void {
    let deadline = entry.deadlines.get(timer)
    if (deadline === undefined) {
      const { group } = entry
      deadline = new Deadline(() => {
        entry.deadlines.delete(timer)
        this.run(entry, group.onTimer(timer))
      })
      entry.deadlines.set(timer, deadline)
    }
    this.#env.deadlines.arm(deadline, delayMs)
  }

  #disarm(entry: GroupEntry, timer: GroupTimer): void {
    const deadline = entry.deadlines.get(timer)
    if (deadline === undefined) return
    entry.deadlines.delete(timer)
    this.#env.deadlines.cancel(deadline)
  }

  #disarmAll(entry: GroupEntry): void {
    for (const deadline of entry.deadlines.values()) this.#env.deadlines.cancel(deadline)
    entry.deadlines.clear()
  }

  #persist(entry: GroupEntry, { metadata, purpose }: Effect & { kind: 'persist' }): void {
    const { group } = entry
    entry.isInLog = true
    this.#write([groupRecord(group.groupId, metadata)], {
      onWritten: () => {},
      onDone: this.#wait((error) => {
        this.run(entry, group.onPersisted(purpose, error === null ? ErrorCode.NONE : groupErrorOf(error)))
      }),
    })
  }

  /** A group that nobody is in, that stores nothing and that is not in the log, is no group. */
  #forgetIfNothing(entry: GroupEntry): void {
    const { group, offsets } = entry
    if (entry.isInLog || !group.isIdle || group.generationId > 0 || !offsets.isEmpty) return
    if (this.#entries.get(group.groupId) !== entry) return
    this.#disarmAll(entry)
    this.#entries.delete(group.groupId)
  }

  // ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Commits or deletes offsets; they count once they are in the log. Answers with the first error, or null. */
  writeOffsets(entry: GroupEntry, writes: readonly OffsetWrite[], answer: Answer): void {
    const { group, offsets } = entry
    const waiting = this.#wait(answer)
    for (const { topic, partition } of writes) offsets.writeStarted(topic, partition)
    const records = writes.map(({ topic, partition, value }) => offsetRecord(group.groupId, topic, partition, value))
    this.#write(records, {
      onWritten: (index, offset) => this.#applyOffset(entry, writes[index]!, offset),
      onDone: (error) => {
        for (const { topic, partition } of writes) offsets.writeEnded(topic, partition)
        this.#forgetIfNothing(entry)
        waiting(error)
      },
    })
  }

  #applyOffset(entry: GroupEntry, { topic, partition, value }: OffsetWrite, recordOffset: number): void {
    if (value === null) entry.offsets.remove(topic, partition)
    else entry.offsets.put(topic, partition, value, recordOffset)
  }

  /** Deletes an empty group with all its offsets. */
  deleteGroup(entry: GroupEntry, answer: Answer): void {
    const { group, offsets } = entry
    const gone = [...offsets.partitions()]
    const records = gone.map(({ topic, partition }) => offsetRecord(group.groupId, topic, partition, null))
    if (entry.isInLog) records.push(groupRecord(group.groupId, null))
    if (records.length === 0) {
      this.#removeGroup(entry)
      answer(null)
      return
    }
    const waiting = this.#wait(answer)
    for (const { topic, partition } of gone) offsets.writeStarted(topic, partition)
    this.#write(records, {
      onWritten: (index, offset) => {
        const at = gone[index]
        if (at === undefined) this.#removeGroup(entry)
        else this.#applyOffset(entry, { ...at, value: null }, offset)
      },
      onDone: (error) => {
        for (const { topic, partition } of gone) offsets.writeEnded(topic, partition)
        this.#forgetIfNothing(entry)
        waiting(error)
      },
    })
  }

  /** What the tombstone of a group does. If members have come meanwhile, they are a new group under the old name. */
  #removeGroup(entry: GroupEntry): void {
    entry.isInLog = false
    if (entry.group.state !== 'Empty') return
    this.run(entry, entry.group.unload(ErrorCode.UNKNOWN_MEMBER_ID))
    this.#disarmAll(entry)
    entry.group = new Group(entry.group.groupId, this.#env)
    this.#forgetIfNothing(entry)
  }

  #write(records: readonly LogRecord[], { onWritten, onDone }: WriteOutcome): void {
    // After resigning, memory is dropped and everybody has been answered.
    this.#writer.write(records, {
      onWritten: (index, offset) => {
        if (this.#state === 'active') onWritten(index, offset)
      },
      onDone: (error) => {
        if (this.#state === 'active') onDone(error)
      },
    })
  }

  /** Makes an answer come once and in time. A write that takes longer still counts when it gets there. */
  #wait(answer: Answer): Answer {
    const wait: Wait = { answer, deadline: new Deadline(() => this.#endWait(wait, tooLate())) }
    this.#waits.add(wait)
    this.#env.deadlines.arm(wait.deadline, this.#env.config.offsetsCommitTimeoutMs)
    return (error) => this.#endWait(wait, error)
  }

  #endWait(wait: Wait, error: KafkaError | null): void {
    if (!this.#waits.delete(wait)) return
    this.#env.deadlines.cancel(wait.deadline)
    wait.answer(error)
  }

  /** Answers null when all writes that are under way have an outcome. */
  awaitWrites(answer: Answer): void {
    if (this.#writer.isIdle) {
      answer(null)
      return
    }
    const waiting = this.#wait(answer)
    this.#writer.whenIdle(() => waiting(null))
  }

  // ── expiry ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Writes tombstones for offsets whose retention has passed, and for empty groups that have none left (KIP-211). */
  expireOffsets(): void {
    if (this.#state !== 'active') return
    const nowMs = this.#env.wallMs()
    for (const entry of [...this.#entries.values()]) this.#expireIn(entry, nowMs)
  }

  #expireIn(entry: GroupEntry, nowMs: number): void {
    const { group, offsets } = entry
    const expired = offsets.expired(group, nowMs, this.#env.config.offsetsRetentionMs)
    const logged = (error: KafkaError | null) => {
      if (error !== null) this.#env.logger.warn(`Offsets of group ${group.groupId} could not expire: ${error.message}`)
    }
    const keepsNone = expired.length === [...offsets.partitions()].length
    if (keepsNone && group.isIdle) this.deleteGroup(entry, logged)
    else if (expired.length > 0) this.writeOffsets(entry, expired.map(tombstone), logged)
  }

  /** A topic is gone, and with it the offsets committed for it. */
  deleteTopic(topic: string): void {
    if (this.#state !== 'active') return
    for (const entry of [...this.#entries.values()]) {
      const gone = entry.offsets.partitionsOf(topic)
      if (gone.length === 0) continue
      this.writeOffsets(entry, gone.map(tombstone), (error) => {
        if (error === null) return
        const { groupId } = entry.group
        this.#env.logger.warn(`Offsets of group ${groupId} for deleted topic ${topic} remain: ${error.message}`)
      })
    }
  }

  // ── replay ────────────────────────────────────────────────────────────────────────────────────────────────────────

  replayOffset(
    groupId: string,
    topic: string,
    partition: number,
    value: OffsetAndMetadata | null,
    recordOffset: number,
  ): void {
    const entry = this.#entries.get(groupId) ?? (value === null ? undefined : this.#newEntry(groupId))
    if (value === null) entry?.offsets.remove(topic, partition)
    else entry?.offsets.put(topic, partition, value, recordOffset)
  }

  replayTransactionalOffset(
    producerId: bigint,
    groupId: string,
    at: TopicPartition,
    value: OffsetAndMetadata,
    recordOffset: number,
  ): void {
    const entry = this.#entries.get(groupId) ?? this.#newEntry(groupId)
    entry.offsets.putTransactional(producerId, at, value, recordOffset)
    const touched = this.#transactions.get(producerId)
    if (touched === undefined) this.#transactions.set(producerId, [{ entry, at }])
    else touched.push({ entry, at })
  }

  /** What a transaction marker in the log does. */
  replayTransactionEnd(producerId: bigint, isCommit: boolean): void {
    for (const { entry, at } of this.#transactions.get(producerId) ?? []) {
      entry.offsets.endTransaction(producerId, at, isCommit)
    }
    this.#transactions.delete(producerId)
  }

  /** The last record of each group that the log holds; null where it is a tombstone. Ends loading. */
  activate(groups: ReadonlyMap<string, GroupMetadata | null>): void {
    for (const [groupId, metadata] of groups) {
      if (metadata === null) continue
      const entry = this.#entries.get(groupId) ?? this.#newEntry(groupId)
      entry.group = Group.fromLog(groupId, metadata, this.#env)
      entry.isInLog = true
    }
    this.#state = 'active'
    for (const entry of [...this.#entries.values()]) this.run(entry, entry.group.resume())
  }

  /** Loading failed; what was read is dropped. */
  fail(): void {
    this.#entries.clear()
    this.#transactions.clear()
    this.#state = 'failed'
  }

  /** After `fail`, before another try. */
  reload(): void {
    this.#state = 'loading'
  }

  /** Answers what is parked with NOT_COORDINATOR, forgets the groups and arms nothing any more. */
  resign(): void {
    if (this.#state === 'resigned') return
    this.#state = 'resigned'
    const notCoordinator = new KafkaError('NOT_COORDINATOR')
    for (const wait of [...this.#waits]) this.#endWait(wait, notCoordinator)
    for (const entry of this.#entries.values()) {
      for (const effect of entry.group.unload(ErrorCode.NOT_COORDINATOR)) if (effect.kind === 'answer') effect.send()
      this.#disarmAll(entry)
    }
    this.#entries.clear()
    this.#transactions.clear()
  }
}

function tooLate(): KafkaError {
  return new KafkaError(
    'REQUEST_TIMED_OUT',
    'The offsets topic did not take a write within offsets.commit.timeout.ms; its outcome is open.',
  )
}

function tombstone({ topic, partition }: TopicPartition): OffsetWrite {
  return { topic, partition, value: null }
}

/** Kafka's appendGroupMetadataErrorToResponseError. */
export function groupErrorOf(error: KafkaError): number {
  switch (error.code) {
    case 'UNKNOWN_TOPIC_OR_PARTITION':
    case 'NOT_ENOUGH_REPLICAS':
    case 'NOT_ENOUGH_REPLICAS_AFTER_APPEND':
    case 'REQUEST_TIMED_OUT':
      return ErrorCode.COORDINATOR_NOT_AVAILABLE
    case 'NOT_LEADER_OR_FOLLOWER':
    case 'KAFKA_STORAGE_ERROR':
      return ErrorCode.NOT_COORDINATOR
    case 'MESSAGE_TOO_LARGE':
    case 'RECORD_LIST_TOO_LARGE':
    case 'INVALID_FETCH_SIZE':
      return ErrorCode.UNKNOWN_SERVER_ERROR
    default:
      return error.errorCode
  }
}

/** As for groups, but that commits which are too large say so (Kafka's GroupMetadataManager.storeOffsets). */
export function commitErrorOf(error: KafkaError): number {
  switch (error.code) {
    case 'MESSAGE_TOO_LARGE':
    case 'RECORD_LIST_TOO_LARGE':
    case 'INVALID_FETCH_SIZE':
      return ErrorCode.INVALID_COMMIT_OFFSET_SIZE
    default:
      return groupErrorOf(error)
  }
}
