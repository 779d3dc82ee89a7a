// SPDX-License-Identifier: Apache-2.0
// Every error code of the Kafka protocol (Apache Kafka 4.4.0, class Errors): code, name, whether a client may retry,
// and our own words for what went wrong and what to do. Retry decisions and texts come from here and nowhere else;
// the mapping from storage and coordinator failures to these codes belongs to the broker.

interface ErrorRow<C extends number = number, N extends string = string> {
  readonly code: C
  readonly name: N
  /** True when the same request may succeed later without being changed. */
  readonly retriable: boolean
  readonly message: string
}

const RETRIABLE = true
const FATAL = false

function row<const C extends number, const N extends string>(
  code: C,
  name: N,
  retriable: boolean,
  message: string,
): ErrorRow<C, N> {
  return { code, name, retriable, message }
}

const ERRORS = [
  row(-1, 'UNKNOWN_SERVER_ERROR', FATAL, 'The broker failed in an unexpected way; its log has the cause.'),
  row(0, 'NONE', FATAL, 'No error.'),
  row(1, 'OFFSET_OUT_OF_RANGE', FATAL, 'The offset lies outside the log; reset to the earliest or latest offset.'),
  row(2, 'CORRUPT_MESSAGE', RETRIABLE, 'A record batch is damaged: its CRC or size is wrong; send it again.'),
  row(3, 'UNKNOWN_TOPIC_OR_PARTITION', RETRIABLE, 'This broker has no such topic or partition; refresh metadata.'),
  row(4, 'INVALID_FETCH_SIZE', FATAL, 'The requested fetch size is not valid.'),
  row(5, 'LEADER_NOT_AVAILABLE', RETRIABLE, 'The partition has no leader at the moment; retry after an election.'),
  row(6, 'NOT_LEADER_OR_FOLLOWER', RETRIABLE, 'This broker does not lead or hold the partition; refresh metadata.'),
  row(7, 'REQUEST_TIMED_OUT', RETRIABLE, 'The request did not complete within its timeout; its outcome is unknown.'),
  row(8, 'BROKER_NOT_AVAILABLE', FATAL, 'The broker is not available.'),
  row(9, 'REPLICA_NOT_AVAILABLE', RETRIABLE, 'The replica is not available for this partition; refresh metadata.'),
  row(10, 'MESSAGE_TOO_LARGE', FATAL, 'A record batch exceeds max.message.bytes; send less or raise the limit.'),
  row(11, 'STALE_CONTROLLER_EPOCH', FATAL, 'Another controller has taken over.'),
  row(12, 'OFFSET_METADATA_TOO_LARGE', FATAL, 'The metadata of a committed offset exceeds offset.metadata.max.bytes.'),
  row(13, 'NETWORK_EXCEPTION', RETRIABLE, 'The connection ended before the response arrived.'),
  row(14, 'COORDINATOR_LOAD_IN_PROGRESS', RETRIABLE, 'The coordinator is still loading its state; retry.'),
  row(15, 'COORDINATOR_NOT_AVAILABLE', RETRIABLE, 'No coordinator is available yet; look it up again.'),
  row(16, 'NOT_COORDINATOR', RETRIABLE, 'This broker is not the coordinator; look it up again.'),
  row(
    17,
    'INVALID_TOPIC_EXCEPTION',
    FATAL,
    'The topic name is not valid here: up to 249 of a-z A-Z 0-9 . _ - and not internal.',
  ),
  row(18, 'RECORD_LIST_TOO_LARGE', FATAL, 'The record batches exceed segment.bytes; send less at once.'),
  row(
    19,
    'NOT_ENOUGH_REPLICAS',
    RETRIABLE,
    'Fewer replicas are in sync than min.insync.replicas asks; nothing was written.',
  ),
  row(20, 'NOT_ENOUGH_REPLICAS_AFTER_APPEND', RETRIABLE, 'Written, but to fewer in-sync replicas than asked.'),
  row(21, 'INVALID_REQUIRED_ACKS', FATAL, 'acks must be -1 (all), 0 or 1.'),
  row(22, 'ILLEGAL_GENERATION', FATAL, 'The generation id is not the current one of the group; join again.'),
  row(23, 'INCONSISTENT_GROUP_PROTOCOL', FATAL, 'The member shares no protocol with the group, or named none.'),
  row(24, 'INVALID_GROUP_ID', FATAL, 'The group id is not valid here.'),
  row(25, 'UNKNOWN_MEMBER_ID', FATAL, 'The group has no member of this id; join again.'),
  row(26, 'INVALID_SESSION_TIMEOUT', FATAL, 'The session timeout is outside group.min/max.session.timeout.ms.'),
  row(27, 'REBALANCE_IN_PROGRESS', FATAL, 'The group is rebalancing; join again.'),
  row(28, 'INVALID_COMMIT_OFFSET_SIZE', FATAL, 'The committed offset data is too large.'),
  row(29, 'TOPIC_AUTHORIZATION_FAILED', FATAL, 'Not authorized for this topic.'),
  row(30, 'GROUP_AUTHORIZATION_FAILED', FATAL, 'Not authorized for this group.'),
  row(31, 'CLUSTER_AUTHORIZATION_FAILED', FATAL, 'Not authorized for this operation on the cluster.'),
  row(32, 'INVALID_TIMESTAMP', FATAL, 'A record timestamp is outside the range that the topic accepts.'),
  row(33, 'UNSUPPORTED_SASL_MECHANISM', FATAL, 'The SASL mechanism is not enabled on this listener.'),
  row(34, 'ILLEGAL_SASL_STATE', FATAL, 'The request does not fit the state of the SASL exchange.'),
  row(
    35,
    'UNSUPPORTED_VERSION',
    FATAL,
    'This version of the API is not supported; ask ApiVersions for those that are.',
  ),
  row(36, 'TOPIC_ALREADY_EXISTS', FATAL, 'A topic of this name exists already.'),
  row(37, 'INVALID_PARTITIONS', FATAL, 'The number of partitions is not valid.'),
  row(38, 'INVALID_REPLICATION_FACTOR', FATAL, 'The replication factor is below 1 or above the number of brokers.'),
  row(39, 'INVALID_REPLICA_ASSIGNMENT', FATAL, 'The replica assignment is not valid.'),
  row(40, 'INVALID_CONFIG', FATAL, 'A configuration name or value is not valid.'),
  row(41, 'NOT_CONTROLLER', RETRIABLE, 'This broker is not the controller; refresh metadata.'),
  row(42, 'INVALID_REQUEST', FATAL, 'The request is malformed or contradicts itself; the broker log has the detail.'),
  row(43, 'UNSUPPORTED_FOR_MESSAGE_FORMAT', FATAL, 'The record format of the topic does not support this request.'),
  row(44, 'POLICY_VIOLATION', FATAL, 'A policy or limit of the broker forbids this request.'),
  row(45, 'OUT_OF_ORDER_SEQUENCE_NUMBER', FATAL, 'A batch of this producer is missing before this one.'),
  row(46, 'DUPLICATE_SEQUENCE_NUMBER', FATAL, 'This batch was written before.'),
  row(47, 'INVALID_PRODUCER_EPOCH', FATAL, 'A newer instance of this producer has taken over.'),
  row(48, 'INVALID_TXN_STATE', FATAL, 'The transaction is not in a state that allows this operation.'),
  row(49, 'INVALID_PRODUCER_ID_MAPPING', FATAL, 'The producer id does not belong to this transactional id.'),
  row(50, 'INVALID_TRANSACTION_TIMEOUT', FATAL, 'The transaction timeout exceeds transaction.max.timeout.ms.'),
  row(51, 'CONCURRENT_TRANSACTIONS', RETRIABLE, 'Another operation on this transaction is still running; retry.'),
  row(52, 'TRANSACTION_COORDINATOR_FENCED', FATAL, 'A newer transaction coordinator has taken over.'),
  row(53, 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED', FATAL, 'Not authorized for this transactional id.'),
  row(54, 'SECURITY_DISABLED', FATAL, 'No authorizer is configured on this broker.'),
  row(55, 'OPERATION_NOT_ATTEMPTED', FATAL, 'Not attempted, because another operation of the same request failed.'),
  row(56, 'KAFKA_STORAGE_ERROR', RETRIABLE, 'The disk that holds the log failed or is full.'),
  row(57, 'LOG_DIR_NOT_FOUND', FATAL, 'The log directory is not one of log.dirs.'),
  row(58, 'SASL_AUTHENTICATION_FAILED', FATAL, 'Authentication failed.'),
  row(59, 'UNKNOWN_PRODUCER_ID', FATAL, 'The broker no longer remembers this producer id.'),
  row(60, 'REASSIGNMENT_IN_PROGRESS', FATAL, 'The partition is being reassigned.'),
  row(61, 'DELEGATION_TOKEN_AUTH_DISABLED', FATAL, 'Delegation tokens are not enabled.'),
  row(62, 'DELEGATION_TOKEN_NOT_FOUND', FATAL, 'There is no such delegation token.'),
  row(63, 'DELEGATION_TOKEN_OWNER_MISMATCH', FATAL, 'The principal neither owns nor may renew this delegation token.'),
  row(64, 'DELEGATION_TOKEN_REQUEST_NOT_ALLOWED', FATAL, 'Delegation tokens cannot be requested on this connection.'),
  row(65, 'DELEGATION_TOKEN_AUTHORIZATION_FAILED', FATAL, 'Not authorized for this delegation token.'),
  row(66, 'DELEGATION_TOKEN_EXPIRED', FATAL, 'The delegation token has expired.'),
  row(67, 'INVALID_PRINCIPAL_TYPE', FATAL, 'The principal type is not supported.'),
  row(68, 'NON_EMPTY_GROUP', FATAL, 'The group still has members.'),
  row(69, 'GROUP_ID_NOT_FOUND', FATAL, 'There is no group of this id.'),
  row(70, 'FETCH_SESSION_ID_NOT_FOUND', RETRIABLE, 'The fetch session is gone; start a new one.'),
  row(
    71,
    'INVALID_FETCH_SESSION_EPOCH',
    RETRIABLE,
    'The fetch session epoch is not the expected one; start a new session.',
  ),
  row(72, 'LISTENER_NOT_FOUND', RETRIABLE, 'The leader has no listener of the name that this request came in by.'),
  row(73, 'TOPIC_DELETION_DISABLED', FATAL, 'delete.topic.enable is false.'),
  row(74, 'FENCED_LEADER_EPOCH', RETRIABLE, 'The leader epoch of the request is old; refresh metadata.'),
  row(
    75,
    'UNKNOWN_LEADER_EPOCH',
    RETRIABLE,
    'The leader epoch of the request is newer than the one known here; retry.',
  ),
  row(
    76,
    'UNSUPPORTED_COMPRESSION_TYPE',
    FATAL,
    'The compression type is not supported in this version of the request.',
  ),
  row(77, 'STALE_BROKER_EPOCH', FATAL, 'The broker has registered again since.'),
  row(78, 'OFFSET_NOT_AVAILABLE', RETRIABLE, 'The new leader does not know the high watermark yet; retry.'),
  row(79, 'MEMBER_ID_REQUIRED', FATAL, 'Join again with the member id of this response.'),
  row(80, 'PREFERRED_LEADER_NOT_AVAILABLE', RETRIABLE, 'The preferred leader is not available.'),
  row(81, 'GROUP_MAX_SIZE_REACHED', FATAL, 'The group has group.max.size members already.'),
  row(82, 'FENCED_INSTANCE_ID', FATAL, 'Another member has taken over this group.instance.id.'),
  row(83, 'ELIGIBLE_LEADERS_NOT_AVAILABLE', RETRIABLE, 'No replica is eligible to lead the partition.'),
  row(84, 'ELECTION_NOT_NEEDED', RETRIABLE, 'The partition has the wanted leader already.'),
  row(85, 'NO_REASSIGNMENT_IN_PROGRESS', FATAL, 'The partition is not being reassigned.'),
  row(86, 'GROUP_SUBSCRIBED_TO_TOPIC', FATAL, 'Offsets of a topic cannot be deleted while the group consumes it.'),
  row(87, 'INVALID_RECORD', FATAL, 'A record failed validation and its batch was refused.'),
  row(88, 'UNSTABLE_OFFSET_COMMIT', RETRIABLE, 'Offsets of a transaction that is still open are pending; retry.'),
  row(89, 'THROTTLING_QUOTA_EXCEEDED', RETRIABLE, 'A quota is exceeded; retry after the throttle time.'),
  row(90, 'PRODUCER_FENCED', FATAL, 'A newer producer with the same transactional id has taken over.'),
  row(91, 'RESOURCE_NOT_FOUND', FATAL, 'The resource does not exist.'),
  row(92, 'DUPLICATE_RESOURCE', FATAL, 'The request names the same resource twice.'),
  row(93, 'UNACCEPTABLE_CREDENTIAL', FATAL, 'The credential does not meet the requirements.'),
  row(94, 'INCONSISTENT_VOTER_SET', FATAL, 'The sender or the receiver is not one of the voters.'),
  row(95, 'INVALID_UPDATE_VERSION', FATAL, 'The version of the update is not valid.'),
  row(96, 'FEATURE_UPDATE_FAILED', FATAL, 'The finalized features could not be updated.'),
  row(97, 'PRINCIPAL_DESERIALIZATION_FAILURE', FATAL, 'The principal of a forwarded request could not be read.'),
  row(98, 'SNAPSHOT_NOT_FOUND', FATAL, 'There is no such snapshot.'),
  row(99, 'POSITION_OUT_OF_RANGE', FATAL, 'The position lies outside the snapshot.'),
  row(100, 'UNKNOWN_TOPIC_ID', RETRIABLE, 'This broker has no topic of this id; refresh metadata.'),
  row(101, 'DUPLICATE_BROKER_REGISTRATION', FATAL, 'The broker id is in use by another broker.'),
  row(102, 'BROKER_ID_NOT_REGISTERED', FATAL, 'The broker id is not registered.'),
  row(103, 'INCONSISTENT_TOPIC_ID', RETRIABLE, 'The topic id differs from that of the log; refresh metadata.'),
  row(104, 'INCONSISTENT_CLUSTER_ID', FATAL, 'The cluster id of the request is not that of this cluster.'),
  row(105, 'TRANSACTIONAL_ID_NOT_FOUND', FATAL, 'There is no such transactional id.'),
  row(
    106,
    'FETCH_SESSION_TOPIC_ID_ERROR',
    RETRIABLE,
    'The fetch session mixes topic names and topic ids; start a new one.',
  ),
  row(107, 'INELIGIBLE_REPLICA', FATAL, 'The new ISR names a replica that is not eligible.'),
  row(108, 'NEW_LEADER_ELECTED', FATAL, 'The partition state was changed, and its leader with it.'),
  row(109, 'OFFSET_MOVED_TO_TIERED_STORAGE', FATAL, 'The offset has moved to tiered storage.'),
  row(110, 'FENCED_MEMBER_EPOCH', FATAL, 'The member epoch is fenced; give up all partitions and join again.'),
  row(111, 'UNRELEASED_INSTANCE_ID', FATAL, 'Another member still uses this instance id; it must leave first.'),
  row(112, 'UNSUPPORTED_ASSIGNOR', FATAL, 'The group does not support this assignor.'),
  row(113, 'STALE_MEMBER_EPOCH', FATAL, 'The member epoch is old; send a heartbeat to learn the new one, then retry.'),
  row(114, 'MISMATCHED_ENDPOINT_TYPE', FATAL, 'The request went to an endpoint of the wrong type.'),
  row(115, 'UNSUPPORTED_ENDPOINT_TYPE', FATAL, 'This endpoint type is not supported.'),
  row(116, 'UNKNOWN_CONTROLLER_ID', FATAL, 'The controller id is not known.'),
  row(117, 'UNKNOWN_SUBSCRIPTION_ID', FATAL, 'The telemetry subscription is not known or out of date.'),
  row(118, 'TELEMETRY_TOO_LARGE', FATAL, 'The telemetry exceeds the size that the broker accepts.'),
  row(119, 'INVALID_REGISTRATION', FATAL, 'The broker registration is not valid.'),
  row(120, 'TRANSACTION_ABORTABLE', FATAL, 'The transaction failed; abort it, and the producer can go on.'),
  row(121, 'INVALID_RECORD_STATE', FATAL, 'The record cannot be acknowledged in its state.'),
  row(122, 'SHARE_SESSION_NOT_FOUND', RETRIABLE, 'The share session is gone; start a new one.'),
  row(
    123,
    'INVALID_SHARE_SESSION_EPOCH',
    RETRIABLE,
    'The share session epoch is not the expected one; start a new session.',
  ),
  row(124, 'FENCED_STATE_EPOCH', FATAL, 'The state epoch is not the one the coordinator has.'),
  row(125, 'INVALID_VOTER_KEY', FATAL, 'The voter key is not that of the receiving replica.'),
  row(126, 'DUPLICATE_VOTER', FATAL, 'The voter is in the set already.'),
  row(127, 'VOTER_NOT_FOUND', FATAL, 'The voter is not in the set.'),
  row(128, 'INVALID_REGULAR_EXPRESSION', FATAL, 'The regular expression is not valid.'),
  row(
    129,
    'REBOOTSTRAP_REQUIRED',
    FATAL,
    'The metadata of the client is stale; connect to the bootstrap servers again.',
  ),
  row(130, 'STREAMS_INVALID_TOPOLOGY', FATAL, 'The streams topology is not valid.'),
  row(131, 'STREAMS_INVALID_TOPOLOGY_EPOCH', FATAL, 'The streams topology epoch is not valid.'),
  row(132, 'STREAMS_TOPOLOGY_FENCED', FATAL, 'The streams topology epoch is old.'),
  row(
    133,
    'SHARE_SESSION_LIMIT_REACHED',
    RETRIABLE,
    'The broker has as many share sessions as it allows; retry later.',
  ),
  row(134, 'GROUP_DELETION_FAILED', FATAL, 'The group was not deleted; its own error message says why.'),
  row(135, 'STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED', FATAL, 'The topology description was not updated.'),
  row(136, 'CONTROLLER_ID_NOT_REGISTERED', FATAL, 'The controller id is not registered.'),
] as const

type Row = (typeof ERRORS)[number]

/** Kafka's own name of an error, as in its Errors class. */
export type ErrorName = Row['name']

export interface KnownError {
  readonly code: number
  readonly name: ErrorName
  readonly retriable: boolean
  readonly message: string
}

/** Code by name: `ErrorCode.NOT_COORDINATOR` is 16. */
export const ErrorCode = Object.freeze(Object.fromEntries(ERRORS.map((e) => [e.name, e.code]))) as {
  readonly [R in Row as R['name']]: R['code']
}

const byCode: ReadonlyMap<number, KnownError> = new Map(ERRORS.map((e) => [e.code, e]))
const byName: ReadonlyMap<string, KnownError> = new Map(ERRORS.map((e) => [e.name, e]))
const unknown = byCode.get(ErrorCode.UNKNOWN_SERVER_ERROR)!

export function errorByName(name: ErrorName): KnownError {
  return byName.get(name)!
}

/** A code that is not in the table, from a newer broker for instance, reads as UNKNOWN_SERVER_ERROR, as in Kafka's clients. */
export function errorByCode(code: number): KnownError {
  return byCode.get(code) ?? unknown
}

/** The whole table in order of code; docs/errors.md and the conformance test are made from it. */
export const errorTable: readonly KnownError[] = ERRORS
