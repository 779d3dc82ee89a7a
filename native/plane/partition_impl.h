// SPDX-License-Identifier: Apache-2.0
// PartitionImpl: what the plane's requests do with a Partition: append and wait for acknowledgement, read,
// and wait for bytes. Kafka's counterparts: kafka.cluster.Partition, DelayedProduce, DelayedFetch.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/published_position.h"
#include "plane/partition.h"
#include "plane/waiters.h"

namespace varve {

/// One partition of a Fetch as far as the partition is concerned.
struct PartitionRead {
  int64_t fetch_offset = 0;
  int32_t current_leader_epoch = -1;
  int32_t last_fetched_epoch = -1;
  uint32_t max_bytes = 0;
  bool at_least_one_batch = false;
  bool read_committed = false;
};

struct PartitionReadResult {
  KafkaError error = KafkaError::kNone;
  int64_t high_watermark = -1;
  int64_t last_stable_offset = -1;
  int64_t log_start_offset = -1;
  int32_t diverging_epoch = -1;  ///< with diverging_end_offset, when not -1
  int64_t diverging_end_offset = -1;
  int32_t leader_id = -1;  ///< with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH
  int32_t leader_epoch = -1;
  LogSlice slice;
};

class PartitionImpl final : public Partition,
                            public LogListener,
                            public std::enable_shared_from_this<PartitionImpl> {
 public:
  PartitionImpl(std::shared_ptr<Log> log, FlushMode flush_mode);
  ~PartitionImpl() override;

  const TopicPartition& topic_partition() const override { return log_->topic_partition(); }
  Log& log() override { return *log_; }
  PartitionInfo Info() const override;
  void ApplyState(const PartitionState& state) override;
  void SetConfig(const PartitionConfig& config, const LogConfig& log_config) override;
  void AppendLocal(Bytes batches, int16_t acks, int64_t wall_ms,
                   std::function<void(const PartitionAppend&)> done) override;
  void Close(KafkaError error) override;

  void OnDurable(const LogPosition& end) override;
  void OnStorageFailure(const Status& why) override;

  /// What a produced batch has to satisfy; without the lock.
  ValidationOptions Validation(int64_t wall_ms, bool zstd_allowed) const;
  /// One validated batch of a client. With acks -1 and no error `waiter` (its group set) may get parked: then
  /// true is returned, its group's `pending` was raised, and `waiter->result` says how it ended once it is
  /// unlinked.
  bool Append(Bytes batch, int16_t acks, int64_t wall_ms, AckWaiter* waiter, PartitionAppend* appended);
  /// Takes a parked waiter out. False: it is done already.
  bool CancelAck(AckWaiter* waiter);

  /// Reads without the lock, bounded by the high watermark or the last stable offset.
  void Read(const PartitionRead& request, PartitionReadResult* result);
  /// Parks a waiter (group, max_bytes and read_committed set) at `read`'s offset and takes what is there
  /// already off its group's missing bytes. False: nothing to wait for, the Fetch has to be answered now; the
  /// waiter is not parked.
  bool ParkFetch(const PartitionRead& read, const LogSlice& slice, FetchWaiter* waiter);
  void CancelFetch(FetchWaiter* waiter);

  /// Ends what waits now with `error`; later requests are judged afresh.
  void FailWaiters(KafkaError error);

  int32_t leader_id() const { return leader_id_.load(std::memory_order_relaxed); }
  int32_t leader_epoch() const { return leader_epoch_.load(std::memory_order_relaxed); }

  /// Asks the log for a sync on behalf of whoever waits; called by Completions, without the lock.
  void StartFlush();

 private:
  // The locked part of Append and AppendLocal.
  KafkaError AppendLocked(Bytes batches, AppendOrigin origin, int16_t acks, int64_t wall_ms,
                          PartitionAppend* appended, Completions* completions);
  void ParkAck(AckWaiter* waiter, Completions* completions);
  void CompleteAck(AckWaiter* waiter, KafkaError result, Completions* completions);
  void CompleteAllAcks(KafkaError result, Completions* completions);
  void FireAllFetches(Completions* completions);
  void Fire(FetchWaiter* waiter, Completions* completions);
  void AdvanceHighWatermark(Completions* completions);
  void WakeFetches(Completions* completions);
  /// The end that the ISR has: this replica's own, durable or not, until others report theirs.
  LogPosition InSyncEnd() const;
  int64_t LastStableOffset(int64_t high_watermark) const;
  LogPosition Bound(bool read_committed, const LogPosition& high_watermark) const;
  /// Bytes between the waiter's start and `bound` as far as they count; -1: the answer can't wait.
  static int64_t Available(const FetchWaiter& waiter, const LogPosition& bound);
  void WantFlush(Completions* completions);
  void FlushDone(const Status& status);
  void Fail(KafkaError error, Completions* completions);
  /// Whether a Fetch that knows this leader epoch (-1: none) may read here.
  KafkaError CheckLeadership(int32_t current_leader_epoch) const;
  KafkaError error() const { return error_.load(std::memory_order_acquire); }

  const std::shared_ptr<Log> log_;
  const FlushMode flush_mode_;

  // Guarded by the log's append_mutex().
  PartitionState state_;
  WaiterList<AckWaiter> acks_;  // by required_offset
  WaiterList<FetchWaiter> fetches_;
  bool flush_under_way_ = false;

  // Written under the lock, read without it.
  PublishedPosition high_watermark_;
  std::atomic<bool> is_leader_{false};
  std::atomic<int32_t> leader_id_{-1};
  std::atomic<int32_t> leader_epoch_{-1};
  std::atomic<KafkaError> error_{KafkaError::kNone};  // closed, or the log directory failed

  // Configs that validation obeys; each is read alone, so a change may be seen in parts.
  std::atomic<int32_t> max_message_bytes_;
  std::atomic<int64_t> timestamp_before_max_ms_;
  std::atomic<int64_t> timestamp_after_max_ms_;
  std::atomic<uint64_t> max_decompressed_bytes_;
  std::atomic<bool> strict_;
  std::atomic<bool> log_append_time_;
  std::atomic<bool> compacted_;
};

}  // namespace varve
