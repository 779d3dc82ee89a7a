// SPDX-License-Identifier: Apache-2.0
// LogImpl: the Log of log.h over segments in one directory entry. Split over files by what it does:
//   log_append.cc       appending, rolling, epochs, first unstable offset
//   log_read.cc         reading and lookups
//   log_durability.cc   syncing, sealing, checkpoints, clean stop
//   log_truncate.cc     truncation, log start, retention, deletion
//   log_replace.cc      compaction's seam
//   log_loader.{h,cc}   what is found on disk when it is opened
//
// Locks, in order: replace_mutex_ > append_mutex_ (of Log) > files_mutex_ > sync_mutex_ > flush_mutex_ > listener_mutex_.
// Below them the ones inside Segment, EpochCache, MappedBudget and LogDirectory, which call nothing that
// locks upwards. Callbacks run with none held.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "core/engine_context.h"
#include "core/epoch_cache.h"
#include "core/flusher.h"
#include "core/log.h"
#include "core/log_directory.h"
#include "core/producer_state.h"
#include "core/published_position.h"
#include "core/segment_list.h"
#include "core/task_gate.h"
#include "core/truncation_mark.h"

namespace varve {

struct LoadedLog;

class LogImpl final : public Log,
                      public FlushTarget,
                      public DirectoryMember,
                      public std::enable_shared_from_this<LogImpl> {
 public:
  /// Opens (or makes) the log in `directory`. `clean`: the last owner stopped cleanly.
  static Result<std::shared_ptr<LogImpl>> Open(std::shared_ptr<const EngineContext> context,
                                               std::shared_ptr<LogDirectory> directory,
                                               const TopicPartition& tp, const LogConfig& config, bool clean);
  ~LogImpl() override;

  // --- Log ---
  const TopicPartition& topic_partition() const override { return tp_; }
  const std::string& path() const override { return site_->path; }
  int64_t log_start_offset() const override { return log_start_.load(std::memory_order_acquire); }
  int64_t log_end_offset() const override { return log_end_.offset(); }
  LogPosition log_end() const override { return log_end_.Load(); }
  LogPosition durable_end() const override { return durable_end_.Load(); }
  int64_t first_unstable_offset() const override { return first_unstable_.load(std::memory_order_acquire); }
  LogStats Stats() const override;
  LogConfig config() const override;

  AppendResult Append(Bytes batches, AppendOrigin origin, int32_t leader_epoch, int64_t now_ms) override;
  Status AssignEpoch(int32_t leader_epoch) override;
  Status TruncateTo(int64_t offset) override;
  Status TruncateFullyAndStartAt(int64_t offset) override;
  Status AdvanceLogStartOffset(int64_t offset) override;
  Status Roll(int64_t now_ms) override;
  void SetHighWatermark(int64_t high_watermark) override;
  int64_t LargestProducerId() const override;

  Status Read(int64_t offset, const LogPosition& bound, const ReadOptions& options, LogSlice* out) override;
  Result<LogPosition> PositionOf(int64_t offset) override;
  Result<TimestampOffset> OffsetForTimestamp(int64_t timestamp_ms, int64_t bound_offset) override;
  Result<TimestampOffset> OffsetOfMaxTimestamp(int64_t bound_offset) override;
  EpochEndOffset EndOffsetForEpoch(int32_t leader_epoch) override;
  int32_t LatestEpoch() override { return epochs_.LatestEpoch(); }
  int32_t EpochForOffset(int64_t offset) override;
  Status CollectAborted(int64_t from, int64_t up_to, std::vector<AbortedTransaction>* out) override;

  void Flush(std::function<void(Status)> done) override;
  Status ReplaceSegments(int64_t first_base_offset, int64_t end_offset, Bytes batches) override;
  void SetConfig(const LogConfig& config) override;
  void SetListener(LogListener* listener) override;
  void RemoveListener(const LogListener* listener) override;

  // --- the engine's ---
  LogDirectory& directory() { return *directory_; }
  /// Producer expiry, roll by time, and with `do_retention` retention: what is due at `now_ms`. True when the
  /// log start moved: it is to be checkpointed before DeleteDoomed takes the files away.
  bool Maintain(int64_t now_ms, bool do_retention);
  /// Renames the files of segments that left the log, and removes those whose delay is over.
  void DeleteDoomed(int64_t now_ms);
  /// Index tails and epochs to disk, before a checkpoint names `*recovery_point` (the durable end).
  Status PrepareCheckpoint(int64_t* recovery_point);
  /// The checkpoint is on stable storage.
  Status AfterCheckpoint(int64_t recovery_point);
  /// Trims, syncs, snapshots, seals. Afterwards the log is closed.
  Status CloseCleanly();
  /// Closed, files as they are.
  void Abandon();
  /// Takes the log away: closed, its directory renamed to `to`.
  Status MoveAway(const std::string& to);
  /// For the checkpoint's sidecar: name relative to the log directory, and contents.
  std::pair<std::string, std::string> VouchedEpochs();
  /// Of partition.metadata; empty: it has none. kCorrupt: one that can't be read.
  Result<std::string> TopicId() const;
  Status SetTopicId(const std::string& topic_id);
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  /// What was wrong when it was opened, and what was done about it; empty: nothing.
  const std::string& problem() const { return problem_; }

  // --- FlushTarget, DirectoryMember ---
  void SyncNow() override;
  void OnDirectoryFailed(const Status& why) override;

 private:
  LogImpl(std::shared_ptr<const EngineContext> context, std::shared_ptr<LogDirectory> directory,
          const TopicPartition& tp, const LogConfig& config);
  void Adopt(LoadedLog loaded);

  // log_append.cc
  struct PendingBatch {
    BatchHeader header;  ///< as stored
    uint32_t position;
    ProducerCheck check;
    std::optional<EndTransactionMarker> marker;
  };
  AppendResult AppendChecked(Bytes batches, AppendOrigin origin, int32_t leader_epoch, int64_t now_ms);
  AppendError CheckBatch(Bytes batch, AppendOrigin origin, int64_t next_offset, PendingBatch* pending);
  void RecallProducers();
  bool MustRoll(Segment& active, uint64_t bytes, int64_t last_offset, int64_t max_timestamp, int64_t now_ms);
  Status RollTo(int64_t base_offset, int64_t now_ms);
  void SetSegments(std::vector<std::shared_ptr<Segment>> segments);
  AppendError ErrorOf(const Status& status);
  void CommitBatch(Segment& segment, const PendingBatch& pending);
  void UpdateFirstUnstable();

  // log_read.cc
  struct Hint {
    int64_t offset = -1;
    uint64_t segment_id = 0;
    uint32_t position = 0;
  };
  /// The batch that holds `offset`, or the first one behind it, and the segment it is in.
  struct Found {
    std::shared_ptr<Segment> segment;
    std::shared_ptr<const MappedSegment> bytes;
    uint32_t limit = 0;
    BatchPlace place;
  };
  /// kNotFound: nothing at or behind `offset` before `bound`.
  Status FindBatch(int64_t offset, const LogPosition& bound, Found* found);
  void Remember(int64_t offset, uint64_t segment_id, uint32_t position);
  bool Recall(int64_t offset, uint64_t segment_id, uint32_t* position);

  // log_truncate.cc
  Status EndAt(std::vector<std::shared_ptr<Segment>> segments, const LogPosition& end);
  Status MarkTruncation(int64_t end_offset, int64_t new_start, bool removes_segments);
  Status RemoveSegments(const SegmentList& list, size_t from, bool names_changed);
  Status Checked(Status status);
  Status Offline(Status status);
  void RetireExpired(int64_t now_ms);
  void RetireBelowStart();

  // log_replace.cc
  struct Replacement;
  Status CheckReplaced(const SegmentList& list, const Replacement& replacement) const;
  Status WriteCleaned(const Replacement& replacement);
  Status SwapFiles(const Replacement& replacement);

  // log_durability.cc
  Status SyncRound();
  Status SyncUpTo(const LogPosition& end);
  Status SyncNames(Segment& segment);
  void PostSeal();
  void SealClosed();
  void WriteSealsLocked(bool also_active);
  Status StoreEpochs();
  void ReleaseSegments();
  void CompleteFlushes(const Status& status);
  void TellDurable();
  /// Runs `call` on the listener with no lock held; RemoveListener waits for it.
  void CallListener(const std::function<void(LogListener&)>& call);

  const std::shared_ptr<const EngineContext> context_;
  const std::shared_ptr<LogDirectory> directory_;
  const TopicPartition tp_;
  std::shared_ptr<LogSite> site_;
  std::string problem_;

  // --- published ---
  std::atomic<int64_t> log_start_{0};
  PublishedPosition log_end_;      ///< written under append_mutex_
  PublishedPosition durable_end_;  ///< written under flush_mutex_
  std::atomic<int64_t> first_unstable_{-1};
  PublishedSegments segments_;  ///< replaced under append_mutex_
  EpochCache epochs_;
  std::atomic<bool> closed_{false};
  std::atomic<uint64_t> appended_bytes_{0};
  std::atomic<uint64_t> appended_batches_{0};
  std::atomic<uint64_t> flush_count_{0};
  std::atomic<uint32_t> producer_count_{0};
  uint64_t recovered_bytes_ = 0;
  uint64_t truncated_bytes_ = 0;

  mutable std::mutex config_mutex_;
  Result<std::string> topic_id_{std::string()};  ///< config_mutex_
  LogConfig config_;  ///< changed under append_mutex_ and config_mutex_; read under either

  // --- under append_mutex_ ---
  std::shared_ptr<Segment> active_;  ///< the last of segments_
  ProducerState producers_;
  int64_t high_watermark_ = -1;  ///< -1: nobody replicates this log; what is durable is committed
  bool start_moved_ = false;     ///< since the last Maintain
  int64_t roll_jitter_ms_ = 0;
  bool appended_since_open_ = false;

  std::mutex replace_mutex_;  ///< one ReplaceSegments at a time

  // --- files; files_mutex_ ---
  /// Serialises what changes files other than by appending: finishing, sealing, checkpointing, truncating,
  /// deleting.
  std::mutex files_mutex_;
  ProducerSnapshots snapshots_;
  std::string epochs_on_disk_;          ///< contents of the leader epoch checkpoint
  int64_t checkpointed_end_ = -1;       ///< log end when the index tails were last persisted
  std::optional<TruncationMark> mark_;  ///< as it lies in the directory
  /// The highest recovery point that a checkpoint on disk may name for this log.
  int64_t claimed_recovery_point_ = -1;
  uint64_t checkpoint_truncations_ = 0;  ///< truncations_ when the last checkpoint took its recovery point
  struct PendingSnapshot {
    int64_t offset;
    std::vector<uint8_t> bytes;
  };
  std::mutex pending_mutex_;  ///< leaf: what a roll leaves for the background
  std::vector<PendingSnapshot> pending_snapshots_;
  std::vector<std::shared_ptr<Segment>> retired_;  ///< out of the list, files not renamed yet
  struct DoomedSegment {
    std::shared_ptr<Segment> segment;
    int64_t due_ms;
  };
  std::vector<DoomedSegment> doomed_;  ///< renamed, not yet removed
  bool seal_posted_ = false;           ///< pending_mutex_
  TaskGate gate_;

  // --- durability ---
  std::mutex sync_mutex_;   ///< one sync of this log at a time
  uint64_t name_made_ = 0;  ///< this log's directory in LogDirectory's count; 0: it was durable already
  std::atomic<bool> sync_wanted_{false};  ///< appended to since the last sync began, and the flusher knows
  std::mutex flush_mutex_;
  /// A sync that began before the last truncation publishes nothing. Changed under files_mutex_ and
  /// flush_mutex_.
  uint64_t truncations_ = 0;
  struct FlushWaiter {
    int64_t end_offset;
    std::function<void(Status)> done;
  };
  std::vector<FlushWaiter> flush_waiters_;

  std::mutex listener_mutex_;
  std::condition_variable listener_idle_;
  LogListener* listener_ = nullptr;
  int listener_calls_ = 0;
  bool telling_durable_ = false;  ///< a thread is at it and looks again before it stops
  int64_t told_durable_ = 0;

  // --- hints ---
  static constexpr size_t kHints = 8;
  std::mutex hint_mutex_;
  Hint hints_[kHints];
};

}  // namespace varve
