// SPDX-License-Identifier: Apache-2.0
#include "plane/partition.h"

#include <algorithm>

#include "plane/partition_impl.h"

namespace varve {
namespace {

KafkaError FromAppend(AppendError error) {
  switch (error) {
    case AppendError::kNone:
      return KafkaError::kNone;
    case AppendError::kOutOfOrderSequence:
      return KafkaError::kOutOfOrderSequenceNumber;
    case AppendError::kInvalidProducerEpoch:
      return KafkaError::kInvalidProducerEpoch;
    case AppendError::kDuplicateSequence:
      return KafkaError::kDuplicateSequenceNumber;
    case AppendError::kInvalidTxnState:
      return KafkaError::kInvalidTxnState;
    case AppendError::kRecordListTooLarge:
      return KafkaError::kRecordListTooLarge;
    case AppendError::kCoordinatorFenced:
      return KafkaError::kTransactionCoordinatorFenced;
    case AppendError::kOffsetGap:
    case AppendError::kCorrupt:
      return KafkaError::kCorruptMessage;
    case AppendError::kNoSpace:
    case AppendError::kStorage:
      return KafkaError::kKafkaStorageError;
  }
  return KafkaError::kUnknownServerError;
}

KafkaError FromRead(Code code) {
  switch (code) {
    case Code::kOk:
      return KafkaError::kNone;
    case Code::kOutOfRange:
      return KafkaError::kOffsetOutOfRange;
    case Code::kCorrupt:
      return KafkaError::kCorruptMessage;
    case Code::kClosed:
    case Code::kNoSpace:
    case Code::kLocked:
    case Code::kIo:
    case Code::kNotFound:
      return KafkaError::kKafkaStorageError;
    case Code::kInvalid:
    case Code::kUnsupported:
    case Code::kTooLarge:
      return KafkaError::kUnknownServerError;
  }
  return KafkaError::kUnknownServerError;
}

}  // namespace

void Completions::Run() {
  if (flush_ != nullptr) std::exchange(flush_, nullptr)->StartFlush();
  for (size_t i = 0; i < loop_count_; ++i) std::exchange(loops_[i], nullptr)->Wake();
  loop_count_ = 0;
  for (const auto& loop : std::exchange(more_loops_, {})) loop->Wake();
  for (auto& append : std::exchange(appends_, {})) append->done(append->appended);
}

std::shared_ptr<Partition> Partition::Create(std::shared_ptr<Log> log, FlushMode flush_mode) {
  auto partition = std::make_shared<PartitionImpl>(log, flush_mode);
  log->SetListener(partition.get());
  return partition;
}

PartitionImpl::PartitionImpl(std::shared_ptr<Log> log, FlushMode flush_mode)
    : log_(std::move(log)), flush_mode_(flush_mode) {
  SetConfig(PartitionConfig{}, log_->config());
  // Nothing is known to be committed until a leader says so; a leader of an ISR of one does at once.
  const int64_t start = log_->log_start_offset();
  const Result<LogPosition> position = log_->PositionOf(start);
  high_watermark_.Store(position.ok() ? *position : LogPosition{start, start, 0});
}

PartitionImpl::~PartitionImpl() {
  log_->RemoveListener(this);
  // Only the broker's own appends can be left: requests hold their partitions.
  Completions completions;
  CompleteAllAcks(KafkaError::kNotLeaderOrFollower, &completions);
}

PartitionInfo PartitionImpl::Info() const {
  PartitionInfo info{};
  info.leader_epoch = leader_epoch();
  info.is_leader = is_leader_.load(std::memory_order_acquire);
  info.high_watermark = high_watermark_.offset();
  info.last_stable_offset = LastStableOffset(info.high_watermark);
  info.log_start_offset = log_->log_start_offset();
  info.log_end_offset = log_->log_end_offset();
  return info;
}

void PartitionImpl::SetConfig(const PartitionConfig& config, const LogConfig& log_config) {
  max_message_bytes_.store(config.max_message_bytes, std::memory_order_relaxed);
  timestamp_before_max_ms_.store(config.timestamp_before_max_ms, std::memory_order_relaxed);
  timestamp_after_max_ms_.store(config.timestamp_after_max_ms, std::memory_order_relaxed);
  max_decompressed_bytes_.store(config.max_decompressed_batch_bytes, std::memory_order_relaxed);
  strict_.store(config.strict_validation, std::memory_order_relaxed);
  log_append_time_.store(log_config.log_append_time, std::memory_order_relaxed);
  compacted_.store(log_config.cleanup_compact, std::memory_order_relaxed);
  if (!(log_->config() == log_config)) log_->SetConfig(log_config);
}

ValidationOptions PartitionImpl::Validation(int64_t wall_ms, bool zstd_allowed) const {
  ValidationOptions options;
  options.now_ms = wall_ms;
  options.max_message_bytes = max_message_bytes_.load(std::memory_order_relaxed);
  options.max_decompressed_bytes = max_decompressed_bytes_.load(std::memory_order_relaxed);
  options.timestamp_before_max_ms = timestamp_before_max_ms_.load(std::memory_order_relaxed);
  options.timestamp_after_max_ms = timestamp_after_max_ms_.load(std::memory_order_relaxed);
  options.log_append_time = log_append_time_.load(std::memory_order_relaxed);
  options.compacted = compacted_.load(std::memory_order_relaxed);
  options.zstd_allowed = zstd_allowed;
  options.strict = strict_.load(std::memory_order_relaxed);
  return options;
}

// --- control
// ---------------------------------------------------------------------------------------------------------

void PartitionImpl::ApplyState(const PartitionState& state) {
  Completions completions;
  std::lock_guard lock(log_->append_mutex());
  // A late message of an older epoch must not bring an old leader back.
  if (error() != KafkaError::kNone || state.leader_epoch < state_.leader_epoch) return;
  const bool new_reign = state.leader_epoch != state_.leader_epoch || state.is_leader != state_.is_leader;
  if (new_reign) {
    // Published first: a Fetch that is fired below and read again on another thread must not see the old
    // role.
    is_leader_.store(false, std::memory_order_release);
    leader_id_.store(state.leader_id, std::memory_order_relaxed);
    leader_epoch_.store(state.leader_epoch, std::memory_order_release);
    CompleteAllAcks(KafkaError::kNotLeaderOrFollower, &completions);
  }
  state_ = state;
  if (new_reign && state.is_leader && log_->LatestEpoch() < state.leader_epoch &&
      !log_->AssignEpoch(state.leader_epoch).ok()) {
    Fail(KafkaError::kKafkaStorageError, &completions);
    return;
  }
  leader_id_.store(state.leader_id, std::memory_order_relaxed);
  is_leader_.store(state.is_leader, std::memory_order_release);
  if (new_reign) FireAllFetches(&completions);
  AdvanceHighWatermark(&completions);
  WantFlush(&completions);
}

void PartitionImpl::Close(KafkaError error) {
  {
    Completions completions;
    std::lock_guard lock(log_->append_mutex());
    Fail(error, &completions);
  }
  log_->RemoveListener(this);
}

void PartitionImpl::Fail(KafkaError error, Completions* completions) {
  error_.store(error, std::memory_order_release);
  is_leader_.store(false, std::memory_order_release);
  CompleteAllAcks(error, completions);
  FireAllFetches(completions);
}

void PartitionImpl::FailWaiters(KafkaError error) {
  Completions completions;
  std::lock_guard lock(log_->append_mutex());
  CompleteAllAcks(error, &completions);
  FireAllFetches(&completions);
}

void PartitionImpl::OnStorageFailure(const Status& why) {
  Completions completions;
  std::lock_guard lock(log_->append_mutex());
  if (error() == KafkaError::kNone) Fail(KafkaError::kKafkaStorageError, &completions);
}

// --- appending
// -------------------------------------------------------------------------------------------------------

KafkaError PartitionImpl::AppendLocked(Bytes batches, AppendOrigin origin, int16_t acks, int64_t wall_ms,
                                       PartitionAppend* appended, Completions* completions) {
  appended->log_start_offset = log_->log_start_offset();
  if (error() != KafkaError::kNone) return error();
  if (!state_.is_leader) return KafkaError::kNotLeaderOrFollower;
  if (acks == -1 && static_cast<int32_t>(state_.isr.size()) < state_.min_insync_replicas)
    return KafkaError::kNotEnoughReplicas;
  const AppendResult result = log_->Append(batches, origin, state_.leader_epoch, wall_ms);
  if (result.error != AppendError::kNone) return FromAppend(result.error);
  appended->base_offset = result.base_offset;
  appended->last_offset = result.last_offset;
  appended->log_append_time_ms = result.log_append_time_ms;
  AdvanceHighWatermark(completions);
  return KafkaError::kNone;
}

bool PartitionImpl::Append(Bytes batch, int16_t acks, int64_t wall_ms, AckWaiter* waiter,
                           PartitionAppend* appended) {
  Completions completions;
  std::lock_guard lock(log_->append_mutex());
  appended->error = AppendLocked(batch, AppendOrigin::kClient, acks, wall_ms, appended, &completions);
  if (appended->error != KafkaError::kNone) return false;
  const bool park = acks == -1 && high_watermark_.offset() <= appended->last_offset;
  if (park) {
    waiter->required_offset = appended->last_offset + 1;
    waiter->group->pending.fetch_add(1, std::memory_order_relaxed);
    ParkAck(waiter, &completions);
  }
  WantFlush(&completions);
  return park;
}

void PartitionImpl::AppendLocal(Bytes batches, int16_t acks, int64_t wall_ms,
                                std::function<void(const PartitionAppend&)> done) {
  auto append = std::make_unique<LocalAppend>();
  append->done = std::move(done);
  Completions completions;
  std::lock_guard lock(log_->append_mutex());
  PartitionAppend& appended = append->appended;
  appended.error = AppendLocked(batches, AppendOrigin::kCoordinator, acks, wall_ms, &appended, &completions);
  if (appended.error == KafkaError::kNone && acks == -1 && high_watermark_.offset() <= appended.last_offset) {
    append->required_offset = appended.last_offset + 1;
    ParkAck(append.release(), &completions);
  } else {
    completions.Done(std::move(append));
  }
  WantFlush(&completions);
}

void PartitionImpl::ParkAck(AckWaiter* waiter, Completions* completions) {
  waiter->result = KafkaError::kNone;
  // A retried duplicate waits for its original offset, which may lie below the last one's.
  AckWaiter* after = acks_.last();
  while (after != nullptr && after->required_offset > waiter->required_offset) after = after->previous;
  acks_.InsertAfter(after, waiter);
}

bool PartitionImpl::CancelAck(AckWaiter* waiter) {
  std::lock_guard lock(log_->append_mutex());
  if (!waiter->linked.load(std::memory_order_relaxed)) return false;
  acks_.Remove(waiter);
  return true;
}

void PartitionImpl::CompleteAck(AckWaiter* waiter, KafkaError result, Completions* completions) {
  waiter->result = result;
  if (waiter->group == nullptr) {
    acks_.Remove(waiter);
    auto* append = static_cast<LocalAppend*>(waiter);
    append->appended.error = result;
    completions->Done(std::unique_ptr<LocalAppend>(append));
    return;
  }
  if (waiter->group->pending.fetch_sub(1, std::memory_order_acq_rel) == 1)
    waiter->group->connection->PushFinished(waiter->group, completions);
  // Last: an owner that finds the waiter unlinked may use the request again.
  acks_.Remove(waiter);
}

void PartitionImpl::CompleteAllAcks(KafkaError result, Completions* completions) {
  while (AckWaiter* waiter = acks_.first()) CompleteAck(waiter, result, completions);
}

// --- the high watermark
// ----------------------------------------------------------------------------------------------

LogPosition PartitionImpl::InSyncEnd() const {
  for (const int32_t replica : state_.isr)
    if (replica != state_.local_id) return high_watermark_.Load();
  return flush_mode_ == FlushMode::kCommit ? log_->durable_end() : log_->log_end();
}

void PartitionImpl::AdvanceHighWatermark(Completions* completions) {
  if (!state_.is_leader || error() != KafkaError::kNone) return;
  const LogPosition end = InSyncEnd();
  if (end.offset <= high_watermark_.offset()) return;
  log_->SetHighWatermark(end.offset);
  high_watermark_.Store(end);
  const KafkaError result = static_cast<int32_t>(state_.isr.size()) < state_.min_insync_replicas
                                ? KafkaError::kNotEnoughReplicasAfterAppend
                                : KafkaError::kNone;
  while (acks_.first() != nullptr && acks_.first()->required_offset <= end.offset)
    CompleteAck(acks_.first(), result, completions);
  WakeFetches(completions);
}

void PartitionImpl::OnDurable(const LogPosition& end) {
  // FlushDone of the same sync has mostly been here: the lock that appends hold is not asked for twice. Whoever leads an
  // ISR of one and starts to later, in ApplyState, advances by itself.
  if (end.offset <= high_watermark_.offset()) return;
  Completions completions;
  std::lock_guard lock(log_->append_mutex());
  AdvanceHighWatermark(&completions);
}

void PartitionImpl::WantFlush(Completions* completions) {
  // One at a time: whatever comes while it runs shares the next one (group commit).
  if (flush_mode_ != FlushMode::kCommit || flush_under_way_ || error() != KafkaError::kNone ||
      !state_.is_leader)
    return;
  if (acks_.empty() && fetches_.empty()) return;
  if (log_->durable_end().offset >= log_->log_end_offset()) return;
  flush_under_way_ = true;
  completions->Flush(this);
}

void PartitionImpl::StartFlush() {
  log_->Flush([weak = weak_from_this()](const Status& status) {
    if (const auto self = weak.lock()) self->FlushDone(status);
  });
}

void PartitionImpl::FlushDone(const Status& status) {
  Completions completions;
  std::lock_guard lock(log_->append_mutex());
  flush_under_way_ = false;
  if (!status.ok()) {
    // A sync that failed is never tried again: what waits for it was not made durable and never will be.
    if (error() == KafkaError::kNone) Fail(KafkaError::kKafkaStorageError, &completions);
    return;
  }
  AdvanceHighWatermark(&completions);
  WantFlush(&completions);
}

// --- reading
// ---------------------------------------------------------------------------------------------------------

int64_t PartitionImpl::LastStableOffset(int64_t high_watermark) const {
  const int64_t unstable = log_->first_unstable_offset();
  return unstable >= 0 ? std::min(unstable, high_watermark) : high_watermark;
}

LogPosition PartitionImpl::Bound(bool read_committed, const LogPosition& high_watermark) const {
  if (!read_committed) return high_watermark;
  const int64_t stable = LastStableOffset(high_watermark.offset);
  if (stable == high_watermark.offset) return high_watermark;
  const Result<LogPosition> position = log_->PositionOf(stable);
  return position.ok() ? *position : LogPosition{};  // below every offset: nothing to read
}

KafkaError PartitionImpl::CheckLeadership(int32_t current_leader_epoch) const {
  if (error() != KafkaError::kNone) return error();
  const int32_t epoch = leader_epoch_.load(std::memory_order_acquire);
  if (current_leader_epoch != -1 && current_leader_epoch < epoch) return KafkaError::kFencedLeaderEpoch;
  if (current_leader_epoch > epoch) return KafkaError::kUnknownLeaderEpoch;
  return is_leader_.load(std::memory_order_acquire) ? KafkaError::kNone : KafkaError::kNotLeaderOrFollower;
}

void PartitionImpl::Read(const PartitionRead& request, PartitionReadResult* result) {
  result->error = CheckLeadership(request.current_leader_epoch);
  if (result->error != KafkaError::kNone) {
    if (result->error == KafkaError::kNotLeaderOrFollower ||
        result->error == KafkaError::kFencedLeaderEpoch) {
      result->leader_id = leader_id();
      result->leader_epoch = leader_epoch();
    }
    return;
  }
  const LogPosition high_watermark = high_watermark_.Load();
  const int64_t log_start = log_->log_start_offset();
  const bool in_range = request.fetch_offset >= log_start && request.fetch_offset <= log_->log_end_offset();
  if (request.last_fetched_epoch >= 0) {
    const EpochEndOffset end = log_->EndOffsetForEpoch(request.last_fetched_epoch);
    if (end.end_offset < 0 || end.leader_epoch < 0 || request.fetch_offset < log_start) {
      result->error = KafkaError::kOffsetOutOfRange;
      return;
    }
    if (end.leader_epoch < request.last_fetched_epoch || end.end_offset < request.fetch_offset) {
      result->diverging_epoch = end.leader_epoch;
      result->diverging_end_offset = end.end_offset;
    }
  }
  if (!in_range && result->diverging_epoch < 0) {
    result->error = KafkaError::kOffsetOutOfRange;
    return;
  }
  const LogPosition bound = Bound(request.read_committed, high_watermark);
  if (result->diverging_epoch < 0 && request.fetch_offset < bound.offset &&
      (request.max_bytes > 0 || request.at_least_one_batch)) {
    ReadOptions options;
    options.max_bytes = request.max_bytes;
    options.at_least_one_batch = request.at_least_one_batch;
    const Status status = log_->Read(request.fetch_offset, bound, options, &result->slice);
    if (!status.ok()) {
      result->error = FromRead(status.code());
      result->slice = LogSlice{};
      return;
    }
    // A first batch that is cut off is of no use to anybody (KIP-74).
    LogSlice& slice = result->slice;
    if (slice.bytes > 0 && !request.at_least_one_batch &&
        (slice.bytes < kBatchPreludeBytes ||
         LoadU32(slice.data() + kBatchLengthPosition) > slice.bytes - kBatchPreludeBytes))
      slice = LogSlice{};
  }
  result->high_watermark = high_watermark.offset;
  result->last_stable_offset = LastStableOffset(high_watermark.offset);
  result->log_start_offset = log_start;
}

int64_t PartitionImpl::Available(const FetchWaiter& waiter, const LogPosition& bound) {
  if (bound.offset <= waiter.start.offset) return 0;
  if (bound.segment_base_offset != waiter.start.segment_base_offset) return -1;
  return std::min<int64_t>(int64_t{bound.position} - waiter.start.position, waiter.max_bytes);
}

bool PartitionImpl::ParkFetch(const PartitionRead& read, const LogSlice& slice, FetchWaiter* waiter) {
  Completions completions;
  std::lock_guard lock(log_->append_mutex());
  if (CheckLeadership(read.current_leader_epoch) != KafkaError::kNone) return false;
  const LogPosition bound = Bound(waiter->read_committed, high_watermark_.Load());
  if (slice.bytes > 0) {
    waiter->start = {read.fetch_offset, slice.segment->base_offset(), slice.position};
  } else if (bound.offset == read.fetch_offset) {
    waiter->start = bound;
  } else {
    const Result<LogPosition> start = log_->PositionOf(read.fetch_offset);
    if (!start.ok()) return false;
    waiter->start = *start;
    waiter->start.offset = read.fetch_offset;
  }
  waiter->counted_bytes = Available(*waiter, bound);
  if (waiter->counted_bytes < 0) return false;
  waiter->group->missing_bytes.fetch_sub(waiter->counted_bytes, std::memory_order_relaxed);
  fetches_.InsertAfter(fetches_.last(), waiter);
  WantFlush(&completions);
  return true;
}

void PartitionImpl::CancelFetch(FetchWaiter* waiter) {
  if (!waiter->linked.load(std::memory_order_acquire)) return;
  std::lock_guard lock(log_->append_mutex());
  if (waiter->linked.load(std::memory_order_relaxed)) fetches_.Remove(waiter);
}

void PartitionImpl::Fire(FetchWaiter* waiter, Completions* completions) {
  FetchGroup* group = waiter->group;
  if (!group->fired.exchange(true, std::memory_order_acq_rel))
    group->connection->PushFinished(group, completions);
  // Last: an owner that finds the waiter unlinked may use the request again.
  fetches_.Remove(waiter);
}

void PartitionImpl::FireAllFetches(Completions* completions) {
  while (FetchWaiter* waiter = fetches_.first()) Fire(waiter, completions);
}

void PartitionImpl::WakeFetches(Completions* completions) {
  if (fetches_.empty()) return;
  const LogPosition high_watermark = high_watermark_.Load();
  // The last stable offset costs a look-up: only for those who read up to it.
  LogPosition stable;
  bool stable_known = false;
  for (FetchWaiter* waiter = fetches_.first(); waiter != nullptr;) {
    FetchWaiter* next = waiter->next;
    if (waiter->read_committed && !stable_known) {
      stable = Bound(true, high_watermark);
      stable_known = true;
    }
    const int64_t available = Available(*waiter, waiter->read_committed ? stable : high_watermark);
    const int64_t more = available - waiter->counted_bytes;
    if (available < 0) {
      Fire(waiter, completions);
    } else if (more > 0) {
      waiter->counted_bytes = available;
      if (waiter->group->missing_bytes.fetch_sub(more, std::memory_order_acq_rel) <= more)
        Fire(waiter, completions);
    }
    waiter = next;
  }
}

}  // namespace varve
