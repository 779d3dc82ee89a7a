// SPDX-License-Identifier: Apache-2.0
// LogImpl: appending, rolling, leader epochs, first unstable offset. All under append_mutex_.
#include <algorithm>

#include "core/batch_validator.h"
#include "core/log_impl.h"
#include "core/log_loader.h"
#include "core/recovery.h"

namespace varve {
namespace {

/// How far below a snapshot batches of its producers are looked for: more than five of the largest usual ones.
constexpr uint32_t kRecallBytesMax = 16u << 20;

}  // namespace

AppendError LogImpl::ErrorOf(const Status& status) {
  switch (status.code()) {
    case Code::kNoSpace:
      return AppendError::kNoSpace;
    case Code::kInvalid:
    case Code::kCorrupt:
      return AppendError::kCorrupt;
    case Code::kIo:
      directory_->Fail(status);
      return AppendError::kStorage;
    default:
      return AppendError::kStorage;
  }
}

AppendResult LogImpl::Append(Bytes batches, AppendOrigin origin, int32_t leader_epoch, int64_t now_ms) {
  if (closed() || !directory_->online()) return {.error = AppendError::kStorage};
  const LogPosition before = log_end_.Load();
  AppendResult result = AppendChecked(batches, origin, leader_epoch, now_ms);
  if (log_end_.offset() != before.offset) {
    appended_since_open_ = true;
    if (!sync_wanted_.exchange(true, std::memory_order_acq_rel) &&
        context_->options.flush_mode == FlushMode::kCommit) {
      directory_->flusher().RequestLater(shared_from_this());
    }
  }
  return result;
}

AppendResult LogImpl::AppendChecked(Bytes batches, AppendOrigin origin, int32_t leader_epoch,
                                    int64_t now_ms) {
  AppendResult result;
  int64_t next_offset = log_end_.offset();
  const bool assign = origin != AppendOrigin::kReplica;
  bool transactional = false;
  // Several batches (a follower's fetch) are appended one by one: an error keeps those before it, as
  // result.last_offset tells.
  while (!batches.empty()) {
    PendingBatch pending;
    const BatchError unreadable = ParseBatchHeader(batches, &pending.header);
    // What a client has put there is overwritten.
    if (assign) pending.header.partition_leader_epoch = leader_epoch;
    if (unreadable != BatchError::kOk || pending.header.SizeBytes() > batches.size() ||
        !PlausibleHeader(pending.header)) {
      result.error = AppendError::kCorrupt;
      break;
    }
    const Bytes batch = batches.first(pending.header.SizeBytes());
    batches = batches.subspan(batch.size());
    result.error = CheckBatch(batch, origin, next_offset, &pending);
    if (result.error != AppendError::kNone) break;
    if (pending.check.duplicate) {
      result.duplicate = true;
      result.base_offset = pending.check.base_offset;
      result.last_offset = pending.check.last_offset;
      if (config_.log_append_time) result.log_append_time_ms = pending.check.timestamp;
      break;
    }
    const int64_t append_time_ms = assign && config_.log_append_time ? now_ms : -1;
    const int64_t base_offset = assign ? next_offset : pending.header.base_offset;
    const int64_t last_offset = base_offset + pending.header.last_offset_delta;
    const int64_t batch_timestamp = append_time_ms >= 0 ? append_time_ms : pending.header.max_timestamp;
    std::shared_ptr<Segment> active = active_;
    if (MustRoll(*active, batch.size(), last_offset, batch_timestamp, now_ms)) {
      const Status rolled = RollTo(std::max(next_offset, last_offset - kRelativeOffsetMax), now_ms);
      if (!rolled.ok()) {
        result.error = ErrorOf(rolled);
        break;
      }
      active = active_;
    }
    const uint32_t position = active->size();
    Status status = active->Prepare(static_cast<uint32_t>(batch.size()));
    if (status.ok()) {
      status = active->Put(position, batch, base_offset,
                           assign ? leader_epoch : pending.header.partition_leader_epoch, append_time_ms,
                           &pending.header);
    }
    if (!status.ok()) {
      result.error = ErrorOf(status);
      break;
    }
    pending.position = position;
    CommitBatch(*active, pending);
    transactional |= pending.header.IsTransactional() || pending.marker.has_value();
    const uint32_t end = position + static_cast<uint32_t>(batch.size());
    active->Publish(end, now_ms);
    next_offset = pending.header.NextOffset();
    // The end is published behind the bytes: a reader that sees it sees them.
    log_end_.Store({next_offset, active->base_offset(), end});
    appended_bytes_.fetch_add(batch.size(), std::memory_order_relaxed);
    appended_batches_.fetch_add(1, std::memory_order_relaxed);
    if (result.base_offset < 0) result.base_offset = base_offset;
    result.last_offset = last_offset;
    result.log_append_time_ms = append_time_ms;
  }
  if (transactional) UpdateFirstUnstable();
  return result;
}

AppendError LogImpl::CheckBatch(Bytes batch, AppendOrigin origin, int64_t next_offset,
                                PendingBatch* pending) {
  const BatchHeader& header = pending->header;
  if (batch.size() > std::min<uint64_t>(config_.segment_bytes, kSegmentBytesMax))
    return AppendError::kRecordListTooLarge;
  if (origin == AppendOrigin::kReplica) {
    if (!VerifyCrc(batch)) return AppendError::kCorrupt;
    // Holes come from compaction; in any other log a hole is a leader that this replica must not follow
    // blindly.
    const bool continues =
        config_.cleanup_compact ? header.base_offset >= next_offset : header.base_offset == next_offset;
    if (!continues) return AppendError::kOffsetGap;
  }
  if (header.IsControl()) pending->marker = ParseEndTransactionMarker(batch);
  if (!header.HasProducerId()) return AppendError::kNone;
  const EndTransactionMarker* const marker = pending->marker ? &*pending->marker : nullptr;
  pending->check = producers_.CheckAppend(header, origin, marker);
  if (pending->check.error == AppendError::kOutOfOrderSequence && producers_.snapshot_offset() >= 0) {
    RecallProducers();
    pending->check = producers_.CheckAppend(header, origin, marker);
  }
  return pending->check.error;
}

/// A producer that lost the answers of up to five batches in a crash sends all of them again; the snapshot has only the last.
void LogImpl::RecallProducers() {
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  const int64_t end = producers_.snapshot_offset();
  const int64_t start = log_start_offset();
  int64_t from = end;
  uint32_t budget = kRecallBytesMax;
  for (size_t index = list->Floor(end) + 1; index-- > 0 && from > start && budget > 0;) {
    Segment& segment = *(*list)[index];
    if (segment.base_offset() >= end) continue;
    if (segment.size() <= budget) {
      from = segment.base_offset();
      budget -= segment.size();
      continue;
    }
    const Result<int64_t> near = segment.OffsetBefore(segment.size() - budget);
    if (near.ok()) from = *near;
    break;
  }
  ProducerState older;
  older.Clear(std::max(from, start));
  // What is damaged there can't be recalled.
  [[maybe_unused]] const Status ignored = ReplayProducers(list->all(), end, &older, {});
  producers_.Recall(older);
}

bool LogImpl::MustRoll(Segment& active, uint64_t bytes, int64_t last_offset, int64_t max_timestamp,
                       int64_t now_ms) {
  const uint64_t size = active.size();
  if (last_offset - active.base_offset() > kRelativeOffsetMax) return true;
  if (size == 0) return false;
  if (size + bytes > std::min<uint64_t>(config_.segment_bytes, active.capacity())) return true;
  if (active.IndexFull()) return true;
  // Kafka's LogSegment.timeWaitedForRoll: by the batches' own timestamps where they have them.
  const int64_t first_timestamp = active.FirstBatchTimestamp();
  const int64_t waited_ms = first_timestamp >= 0 ? max_timestamp - first_timestamp : active.AgeMs(now_ms);
  return waited_ms > config_.segment_ms - roll_jitter_ms_;
}

void LogImpl::CommitBatch(Segment& segment, const PendingBatch& pending) {
  const BatchHeader& header = pending.header;
  segment.Commit(header, pending.position);
  const int32_t epoch = header.partition_leader_epoch;
  if (epoch >= 0 && epoch != epochs_.LatestEpoch()) epochs_.Assign(epoch, header.base_offset);
  if (!header.HasProducerId()) {
    producers_.SetMapEndOffset(header.NextOffset());
    return;
  }
  CompletedTxn completed;
  const EndTransactionMarker* marker = pending.marker ? &*pending.marker : nullptr;
  if (producers_.Update(pending.check, header, header.base_offset, marker, &completed) && completed.aborted) {
    const Status added = segment.AddAborted(
        {completed.producer_id, completed.first_offset, completed.last_offset, completed.last_stable_offset});
    if (added.code() == Code::kIo) directory_->Fail(added);
  }
  producer_count_.store(producers_.producer_count(), std::memory_order_relaxed);
}

void LogImpl::UpdateFirstUnstable() {
  first_unstable_.store(producers_.FirstUnstableOffset(), std::memory_order_release);
}

void LogImpl::SetHighWatermark(int64_t high_watermark) {
  high_watermark_ = high_watermark;
  if (producers_.FirstUnstableOffset() < 0) return;
  producers_.OnHighWatermark(high_watermark);
  UpdateFirstUnstable();
}

int64_t LogImpl::LargestProducerId() const {
  int64_t largest = -1;
  for (const ProducerEntry& entry : producers_.entries()) largest = std::max(largest, entry.producer_id);
  return largest;
}

Status LogImpl::AssignEpoch(int32_t leader_epoch) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  if (leader_epoch < 0)
    return Status(Code::kInvalid, "leader epoch " + std::to_string(leader_epoch) + " is negative");
  epochs_.Assign(leader_epoch, log_end_.offset());
  return Status::Ok();
}

void LogImpl::SetSegments(std::vector<std::shared_ptr<Segment>> segments) {
  active_ = segments.back();
  segments_.Store(std::move(segments));
}

Status LogImpl::Roll(int64_t now_ms) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  if (active_->size() == 0) return Status::Ok();
  return RollTo(log_end_.offset(), now_ms);
}

Status LogImpl::RollTo(int64_t base_offset, int64_t now_ms) {
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  std::vector<std::shared_ptr<Segment>> segments = list->all();
  std::shared_ptr<Segment> next = Segment::New(site_, base_offset, config_, now_ms);
  if (segments.back()->size() == 0) {
    // Nothing in it: the new one takes its place.
    if (segments.back()->base_offset() == base_offset) return Status::Ok();
    segments.pop_back();
  } else {
    std::lock_guard<std::mutex> lock(pending_mutex_);
    segments.back()->SetNextOffset(base_offset);
    producers_.SetMapEndOffset(base_offset);
    pending_snapshots_.push_back({base_offset, producers_.EncodeSnapshot()});
  }
  segments.push_back(std::move(next));
  SetSegments(std::move(segments));
  log_end_.Store({log_end_.offset(), base_offset, 0});
  PostSeal();
  return Status::Ok();
}

}  // namespace varve
