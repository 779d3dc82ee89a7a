// SPDX-License-Identifier: Apache-2.0
// Log: one partition's records as segments on a Vfs, in Kafka's format. Owns segments, indexes, producer state, leader
// epochs, aborted transactions, the log start and log end, and what of them is durable. Does not own replication: high
// watermark, leadership and waiting belong to plane/partition; background work is scheduled by the Engine.
//
// Threading: append_mutex() is the partition's one lock. Methods marked [locked] are called with it held, and are O(bytes)
// without blocking on a disk, except where they roll. Read, lookups and the published values may be called from
// any thread without it. Lock order: append_mutex() before any lock inside Log; Log never calls out with one held.
// Apache Kafka's counterparts: UnifiedLog, LogSegment, ProducerStateManager, LeaderEpochFileCache.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/record_batch.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

struct TopicPartition {
  std::string topic;
  int32_t partition = 0;
  bool operator==(const TopicPartition&) const = default;
};

/// Topic configs that the log itself obeys, under Kafka's names; may change while the log is open.
struct LogConfig {
  uint64_t segment_bytes = uint64_t{1} << 30;               // segment.bytes
  int64_t segment_ms = int64_t{7} * 24 * 3600 * 1000;        // segment.ms
  int64_t segment_jitter_ms = 0;                             // segment.jitter.ms
  uint32_t segment_index_bytes = 10u << 20;                  // segment.index.bytes
  uint32_t index_interval_bytes = 4096;                      // index.interval.bytes
  int64_t retention_ms = int64_t{7} * 24 * 3600 * 1000;      // retention.ms, -1: forever
  int64_t retention_bytes = -1;                              // retention.bytes, -1: no limit
  int64_t file_delete_delay_ms = 60 * 1000;                  // file.delete.delay.ms
  bool cleanup_delete = true;                                // cleanup.policy has delete: retention applies
  bool cleanup_compact = false;                              // cleanup.policy has compact
  bool log_append_time = false;                              // message.timestamp.type=LogAppendTime
  bool operator==(const LogConfig&) const = default;
};

/// Who appends: decides which checks apply, never where bytes go.
enum class AppendOrigin : uint8_t {
  kClient,       ///< a validated Produce: offsets assigned here, sequence numbers checked
  kCoordinator,  ///< the broker itself: offsets assigned here, control batches allowed
  kReplica,      ///< a follower's fetch: offsets and epochs kept, continuity checked
};

enum class AppendError : uint8_t {
  kNone = 0,
  kOutOfOrderSequence,   ///< OUT_OF_ORDER_SEQUENCE_NUMBER
  kInvalidProducerEpoch, ///< INVALID_PRODUCER_EPOCH
  kDuplicateSequence,    ///< DUPLICATE_SEQUENCE_NUMBER: older than the five batches remembered
  kInvalidTxnState,      ///< INVALID_TXN_STATE
  kRecordListTooLarge,   ///< RECORD_LIST_TOO_LARGE: does not fit into one segment
  kOffsetGap,            ///< kReplica: the batch does not continue the log
  kCorrupt,              ///< kReplica: header or CRC wrong
  kNoSpace,              ///< disk full: nothing was appended, later appends may succeed
  kStorage,              ///< the log directory is offline, or the log closed
  kCoordinatorFenced,    ///< TRANSACTION_COORDINATOR_FENCED: a marker of an older coordinator epoch
};

struct AppendResult {
  AppendError error = AppendError::kNone;
  bool duplicate = false;           ///< answered from producer state; nothing was appended
  int64_t base_offset = -1;         ///< of the first batch (the original one's for a duplicate)
  int64_t last_offset = -1;
  int64_t log_append_time_ms = -1;  ///< with log_append_time, else -1
};

/// A logical offset and where its batch begins: LogOffsetMetadata in Kafka. Readers are bounded by one of these.
struct LogPosition {
  int64_t offset = 0;
  int64_t segment_base_offset = 0;
  uint32_t position = 0;
};

/// A segment's bytes as a reader holds them: file and mapping stay while it is held, whatever retention or truncation do.
class SegmentBytes {
 public:
  virtual ~SegmentBytes() = default;
  /// Unique in this process over all logs and generations of a segment (truncation makes a new one).
  uint64_t id() const { return id_; }
  int64_t base_offset() const { return base_offset_; }
  /// The bytes; only [0, end of a LogSlice] may be read.
  virtual const uint8_t* data() const = 0;
  /// How far this mapping reaches. Another one of the same segment may reach further.
  virtual uint64_t mapped_bytes() const = 0;
  virtual File& file() const = 0;

 protected:
  SegmentBytes(uint64_t id, int64_t base_offset) : id_(id), base_offset_(base_offset) {}
  uint64_t id_;
  int64_t base_offset_;
};

/// What a read found: `bytes` bytes at `position` of one segment. bytes = 0: nothing to read (yet).
struct LogSlice {
  std::shared_ptr<const SegmentBytes> segment;
  uint32_t position = 0;
  uint32_t bytes = 0;
  /// Where the segment's bytes end that the bound lets be read; those below stay as long as the file does.
  uint32_t limit = 0;
  const uint8_t* data() const { return segment->data() + position; }
};

struct ReadOptions {
  uint32_t max_bytes = 1u << 20;
  /// The first batch is returned even when larger than max_bytes (KIP-74).
  bool at_least_one_batch = true;
  /// End on a batch boundary; else the last batch may be cut at max_bytes, as Kafka's brokers do.
  bool whole_batches = false;
};

struct TimestampOffset {
  int64_t timestamp_ms = -1;
  int64_t offset = -1;
  int32_t leader_epoch = -1;
};

struct EpochEndOffset {
  int32_t leader_epoch = -1;  ///< the largest epoch known that is <= the one asked for; -1: none
  int64_t end_offset = -1;
};

struct AbortedTransaction {
  int64_t producer_id;
  int64_t first_offset;
};

struct LogStats {
  uint64_t size_bytes = 0;
  uint32_t segment_count = 0;
  uint64_t appended_bytes = 0;
  uint64_t appended_batches = 0;
  uint64_t flush_count = 0;
  uint64_t recovered_bytes = 0;   ///< scanned when it was opened
  uint64_t truncated_bytes = 0;   ///< cut when it was opened
  uint32_t rebuilt_indexes = 0;
  uint32_t producer_count = 0;
};

/// Told of what background work did to a log. Called without locks held, from an Executor's thread.
class LogListener {
 public:
  virtual ~LogListener() = default;
  /// Everything below `end` is on stable storage. Monotone.
  virtual void OnDurable(const LogPosition& end) = 0;
  /// The log directory went offline; every later append fails with kStorage.
  virtual void OnStorageFailure(const Status& why) = 0;
};

class Log {
 public:
  virtual ~Log() = default;

  virtual const TopicPartition& topic_partition() const = 0;
  virtual const std::string& path() const = 0;
  std::mutex& append_mutex() { return append_mutex_; }

  // --- published; any thread ---------------------------------------------------------------------------------------
  virtual int64_t log_start_offset() const = 0;
  virtual int64_t log_end_offset() const = 0;
  virtual LogPosition log_end() const = 0;
  /// Behind the last byte that is on stable storage; equals log_end() after a clean stop or a Flush.
  virtual LogPosition durable_end() const = 0;
  /// First offset of the oldest open transaction (or of a completed one whose marker lies above `high_watermark`); -1: none.
  /// What read_committed readers stop at.
  virtual int64_t first_unstable_offset() const = 0;
  virtual LogStats Stats() const = 0;
  virtual LogConfig config() const = 0;

  // --- appending; [locked] -------------------------------------------------------------------------------------------
  /// Appends whole batches (already validated; for kReplica checked here). kClient takes exactly one. Base offset and
  /// leader epoch are patched in the log's copy; `batches` is not changed. `now_ms` is the wall clock: LogAppendTime and roll by time.
  virtual AppendResult Append(Bytes batches, AppendOrigin origin, int32_t leader_epoch, int64_t now_ms) = 0;
  /// Starts a new leader epoch at the log end (LeaderEpochFileCache.assign).
  virtual Status AssignEpoch(int32_t leader_epoch) = 0;
  /// Drops everything at and behind `offset`: mappings are retired, never shrunk under a reader.
  virtual Status TruncateTo(int64_t offset) = 0;
  virtual Status TruncateFullyAndStartAt(int64_t offset) = 0;
  /// Moves the log start up (DeleteRecords, or a follower's leader said so); segments wholly below are deleted later.
  virtual Status AdvanceLogStartOffset(int64_t offset) = 0;
  /// Closes the active segment now; fine when it is empty (then nothing happens).
  virtual Status Roll(int64_t now_ms) = 0;
  /// The high watermark as the partition knows it: first_unstable_offset() and retention depend on it.
  virtual void SetHighWatermark(int64_t high_watermark) = 0;
  /// Of the idempotent producers that are remembered; -1: none.
  virtual int64_t LargestProducerId() const = 0;

  // --- reading; any thread --------------------------------------------------------------------------------------------
  /// From the batch that holds `offset` up to `bound` (a high watermark, LSO, durable or log end). kOutOfRange outside
  /// [logStartOffset, bound.offset]; kCorrupt when bytes of a closed segment are not what was written: they are never returned.
  virtual Status Read(int64_t offset, const LogPosition& bound, const ReadOptions& options, LogSlice* out) = 0;
  /// Where the batch holding `offset` begins; offset = log end is allowed. For turning an LSO or a follower's HW into a bound.
  virtual Result<LogPosition> PositionOf(int64_t offset) = 0;
  /// The first record with a timestamp >= `timestamp_ms` below `bound_offset` (ListOffsets); {-1,-1} when there is none.
  virtual Result<TimestampOffset> OffsetForTimestamp(int64_t timestamp_ms, int64_t bound_offset) = 0;
  /// The record with the largest timestamp (ListOffsets -3), the first of equals; {-1,-1} when it does not lie below
  /// `bound_offset`, as in Kafka.
  virtual Result<TimestampOffset> OffsetOfMaxTimestamp(int64_t bound_offset) = 0;
  virtual EpochEndOffset EndOffsetForEpoch(int32_t leader_epoch) = 0;
  virtual int32_t LatestEpoch() = 0;
  /// Epoch of the record at `offset`, -1 when unknown.
  virtual int32_t EpochForOffset(int64_t offset) = 0;
  /// Aborted transactions that overlap [from, up_to) (read_committed Fetch).
  virtual Status CollectAborted(int64_t from, int64_t up_to, std::vector<AbortedTransaction>* out) = 0;

  // --- durability; any thread ------------------------------------------------------------------------------------------
  /// Asks for everything appended so far to become durable; `done` runs on an Executor's thread. Requests of one
  /// moment share one fdatasync.
  virtual void Flush(std::function<void(Status)> done) = 0;

  // --- compaction's seam; any thread, append_mutex() not held ----------------------------------------------------------
  /// Puts `batches` (whole, in order, base offsets and epochs as they are to be) in the place of the closed segments from the
  /// one at `first_base_offset` up to the one that begins at `end_offset`. Holes only with cleanup_compact. Readers keep what
  /// they hold. After a crash the log has the old segments, or the new one and those of the old that lie wholly behind its last
  /// batch. kInvalid, with nothing changed: not closed, durable and below the high watermark, or changed meanwhile. kCorrupt: an
  /// old segment is damaged, and stays.
  virtual Status ReplaceSegments(int64_t first_base_offset, int64_t end_offset, Bytes batches) = 0;

  virtual void SetConfig(const LogConfig& config) = 0;
  /// At most one: the last one set.
  virtual void SetListener(LogListener* listener) = 0;
  /// After this returns no call of `listener` is under way or comes. Another one that was set since stays.
  virtual void RemoveListener(const LogListener* listener) = 0;

 protected:
  std::mutex append_mutex_;
};

}  // namespace varve
