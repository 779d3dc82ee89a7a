// SPDX-License-Identifier: Apache-2.0
// LogImpl: what takes records away: truncation, the log start, retention, deletion. Bytes that a reader holds
// are never changed and never cut under it: a segment that is truncated is replaced by a new generation of
// itself.
#include <algorithm>

#include "core/log_impl.h"
#include "core/log_loader.h"
#include "core/segment_files.h"

namespace varve {

Status LogImpl::TruncateTo(int64_t offset) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  if (offset < 0) return Status(Code::kInvalid, "cannot truncate to " + std::to_string(offset));
  if (offset >= log_end_.offset()) return Status::Ok();
  if (offset <= segments_.Load()->first()->base_offset()) return TruncateFullyAndStartAt(offset);
  std::lock_guard<std::mutex> files(files_mutex_);
  const std::shared_ptr<const SegmentList> list = segments_.Load();

  // Where to cut: before the batch that holds the offset. With the target inside a batch the log ends before
  // it.
  size_t index = list->Floor(offset);
  if ((*list)[index]->base_offset() == offset) --index;
  const std::shared_ptr<Segment>& cut = (*list)[index];
  uint32_t position = cut->size();
  int64_t end_offset = offset;
  if (cut->size() > 0) {
    Result<std::shared_ptr<const MappedSegment>> bytes = cut->Map();
    if (!bytes.ok()) return bytes.status();
    BatchPlace place;
    const Status status = cut->Locate(**bytes, offset, cut->size(), &place);
    if (status.ok()) {
      position = place.position;
      end_offset = std::min(offset, place.header.base_offset);
    } else if (status.code() != Code::kNotFound) {
      return status;
    }
  }

  VARVE_TRY(MarkTruncation(end_offset, log_start_offset() > end_offset ? end_offset : -1,
                           index + 1 < list->size()));
  bool names_changed = false;
  VARVE_TRY(Checked(cut->RemoveSeal(&names_changed)));
  // In this order: a seal, or a later segment, that came back after the bytes were cut would not fit them.
  const Status removed = RemoveSegments(*list, index + 1, names_changed);
  if (!removed.ok()) return removed;
  Status cut_status;
  Result<std::shared_ptr<Segment>> truncated = cut->Truncate(position, end_offset, config_, &cut_status);
  if (!truncated.ok()) {
    // Appends would go on into a segment whose file is about to be removed.
    return index + 1 < list->size() ? Offline(truncated.status()) : Checked(truncated.status());
  }

  std::vector<std::shared_ptr<Segment>> segments(list->all().begin(),
                                                 list->all().begin() + static_cast<long>(index));
  segments.push_back(std::move(*truncated));
  const Status ended = EndAt(std::move(segments), {end_offset, cut->base_offset(), position});
  return cut_status.ok() ? ended : Offline(cut_status);
}

Status LogImpl::TruncateFullyAndStartAt(int64_t offset) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  if (offset < 0) return Status(Code::kInvalid, "cannot start at " + std::to_string(offset));
  std::lock_guard<std::mutex> files(files_mutex_);
  VARVE_TRY(MarkTruncation(offset, offset, true));
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  VARVE_TRY(RemoveSegments(*list, 0, true));
  std::shared_ptr<Segment> fresh = Segment::New(site_, offset, config_, 0);
  Status made;
  if (offset > 0) {
    made = fresh->CreateFile();
    if (made.ok()) made = site_->vfs().SyncDirectory(path());
    fresh->name_durable.store(made.ok(), std::memory_order_release);
  }
  log_start_.store(offset, std::memory_order_release);
  const Status ended = EndAt({std::move(fresh)}, {offset, offset, 0});
  return made.ok() ? ended : Offline(made);
}

/// A recovery point that claims more than what stays must not outlive the cut: bytes appended behind it are new. And of
/// segments on their way out any may come back after a crash, with a seal that speaks for those in front of it. No mark is
/// needed when none goes and the recovery point on disk claims less.
Status LogImpl::MarkTruncation(int64_t end_offset, int64_t new_start, bool removes_segments) {
  TruncationMark mark;
  mark.recovery_point_max = std::min(end_offset, durable_end_.offset());
  mark.log_start = new_start;
  if (mark_) {
    mark.recovery_point_max = std::min(mark.recovery_point_max, mark_->recovery_point_max);
    if (new_start < 0) mark.log_start = mark_->log_start;
  } else if (claimed_recovery_point_ <= mark.recovery_point_max && new_start < 0 && !removes_segments) {
    return Status::Ok();
  }
  if (mark_ == mark) return Status::Ok();
  VARVE_TRY(Checked(mark.Write(site_->vfs(), path())));
  mark_ = mark;
  return Status::Ok();
}

/// Renames the files of segments from index `from` on, the last one first, and makes that durable. Half done, names on the disk
/// and the list here would no longer agree, and a new segment might take up an old one's file: then no more is written.
Status LogImpl::RemoveSegments(const SegmentList& list, size_t from, bool names_changed) {
  Status status;
  for (size_t doomed = list.size(); doomed > from && status.ok(); --doomed) {
    const std::shared_ptr<Segment>& segment = list[doomed - 1];
    if (!segment->has_file()) continue;
    status = segment->MarkDeleted();
    doomed_.push_back({segment, 0});
    names_changed = true;
  }
  if (status.ok() && names_changed) status = site_->vfs().SyncDirectory(path());
  return status.ok() ? status : Offline(status);
}

/// A disk that fails takes the directory offline; anything else is the caller's to see.
Status LogImpl::Checked(Status status) {
  if (status.code() == Code::kIo) directory_->Fail(status);
  return status;
}

Status LogImpl::Offline(Status status) {
  directory_->Fail(status);
  return status;
}

Status LogImpl::EndAt(std::vector<std::shared_ptr<Segment>> segments, const LogPosition& end) {
  segments.back()->Activate();
  SetSegments(std::move(segments));
  {
    std::lock_guard<std::mutex> lock(flush_mutex_);
    ++truncations_;
    log_end_.Store(end);
    if (durable_end_.offset() > end.offset) durable_end_.Store(end);
  }
  {
    std::lock_guard<std::mutex> lock(listener_mutex_);
    told_durable_ = std::min(told_durable_, end.offset);
  }
  const int64_t start = std::min(log_start_offset(), end.offset);
  log_start_.store(start, std::memory_order_release);
  appended_since_open_ = true;
  checkpointed_end_ = -1;
  epochs_.TruncateFromEnd(end.offset);
  epochs_.TruncateFromStart(start);
  {
    std::lock_guard<std::mutex> lock(pending_mutex_);
    std::erase_if(pending_snapshots_,
                  [&](const PendingSnapshot& snapshot) { return snapshot.offset > end.offset; });
  }
  high_watermark_ = std::min(high_watermark_, end.offset);
  Status status = snapshots_.TruncateAndReload(&producers_, start, end.offset, 0,
                                               context_->options.producer_id_expiration_ms);
  if (status.ok()) status = ReplayProducers(segments_.Load()->all(), end.offset, &producers_, {});
  producer_count_.store(producers_.producer_count(), std::memory_order_relaxed);
  UpdateFirstUnstable();
  // Without its producers a log would accept what it must not.
  return status.ok() ? status : Offline(status);
}

Status LogImpl::AdvanceLogStartOffset(int64_t offset) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  if (offset > log_end_.offset()) {
    return Status(Code::kOutOfRange,
                  "log start " + std::to_string(offset) + " is behind the log end of " + path());
  }
  if (offset <= log_start_offset()) return Status::Ok();
  log_start_.store(offset, std::memory_order_release);
  start_moved_ = true;
  epochs_.TruncateFromStart(offset);
  producers_.OnLogStartOffset(offset);
  UpdateFirstUnstable();
  return Status::Ok();
}

// --- retention ---

bool LogImpl::Maintain(int64_t now_ms, bool do_retention) {
  const GateEntry entry(gate_);
  if (!entry || !directory_->online()) return false;
  bool moved = false;
  {
    std::lock_guard<std::mutex> lock(append_mutex_);
    if (closed()) return false;
    if (producers_.RemoveExpired(now_ms, context_->options.producer_id_expiration_ms) > 0) {
      producer_count_.store(producers_.producer_count(), std::memory_order_relaxed);
    }
    if (active_->size() > 0 && active_->AgeMs(now_ms) > config_.segment_ms - roll_jitter_ms_) {
      [[maybe_unused]] const Status rolled = RollTo(log_end_.offset(), now_ms);
    }
    if (do_retention) RetireExpired(now_ms);
    RetireBelowStart();
    moved = std::exchange(start_moved_, false);
  }
  return moved;
}

/// Moves the log start over segments that retention.ms or retention.bytes has outlived. Kafka's rules
/// (UnifiedLog.deleteOldSegments): from the oldest on, stop at the first that stays; only below the high
/// watermark; the active segment is rolled when it goes too.
void LogImpl::RetireExpired(int64_t now_ms) {
  if (!config_.cleanup_delete) return;
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  const int64_t limit = high_watermark_ >= 0 ? high_watermark_ : durable_end_.offset();
  uint64_t size = 0;
  for (const std::shared_ptr<Segment>& segment : list->all()) size += segment->size();
  int64_t start = log_start_offset();
  for (size_t index = 0; index < list->size(); ++index) {
    Segment& segment = *(*list)[index];
    const bool last = index + 1 == list->size();
    const int64_t upper = last ? log_end_.offset() : (*list)[index + 1]->base_offset();
    if (segment.size() == 0 || upper > limit) break;
    bool expired = false;
    if (config_.retention_ms >= 0) {
      const Result<Segment::Timestamps> timestamps = segment.LargestTimestamp();
      const int64_t largest = timestamps.ok() && timestamps->max_timestamp >= 0
                                  ? timestamps->max_timestamp
                                  : now_ms - segment.AgeMs(now_ms);
      expired = now_ms - largest > config_.retention_ms;
    }
    if (!expired && config_.retention_bytes >= 0 && size >= static_cast<uint64_t>(config_.retention_bytes)) {
      expired = size - static_cast<uint64_t>(config_.retention_bytes) >= segment.size();
    }
    if (!expired) break;
    size -= segment.size();
    start = std::max(start, upper);
    if (last && !RollTo(log_end_.offset(), now_ms).ok()) return;
  }
  if (start > log_start_offset()) [[maybe_unused]]
    const Status moved = AdvanceLogStartOffset(start);
}

/// Takes segments wholly below the log start out of the list. Their files go after the log start is
/// checkpointed.
void LogImpl::RetireBelowStart() {
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  const int64_t start = log_start_offset();
  size_t keep = 0;
  while (keep + 1 < list->size() && (*list)[keep + 1]->base_offset() <= start) ++keep;
  if (keep == 0) return;
  std::vector<std::shared_ptr<Segment>> segments(list->all().begin() + static_cast<long>(keep),
                                                 list->all().end());
  SetSegments(std::move(segments));
  std::lock_guard<std::mutex> lock(pending_mutex_);
  for (size_t index = 0; index < keep; ++index) retired_.push_back((*list)[index]);
}

void LogImpl::DeleteDoomed(int64_t now_ms) {
  const GateEntry entry(gate_);
  if (!entry || !directory_->online()) return;
  std::vector<std::shared_ptr<Segment>> retired;
  {
    std::lock_guard<std::mutex> lock(pending_mutex_);
    retired.swap(retired_);
  }
  const int64_t delay_ms = config().file_delete_delay_ms;
  std::lock_guard<std::mutex> files(files_mutex_);
  if (!retired.empty()) {
    // What stays must be there when what goes is gone: an empty log that begins at 0 again would reuse
    // offsets.
    const std::shared_ptr<Segment> first = segments_.Load()->first();
    Status status = first->CreateFile();
    if (status.ok() && !first->name_durable.load(std::memory_order_acquire)) status = SyncNames(*first);
    for (const std::shared_ptr<Segment>& segment : retired) {
      if (status.ok()) status = segment->MarkDeleted();
      if (status.ok()) doomed_.push_back({segment, now_ms + delay_ms});
    }
    if (status.ok()) status = snapshots_.DeleteBefore(first->base_offset());
    if (status.code() == Code::kIo) return directory_->Fail(status);
    if (!status.ok()) {
      std::lock_guard<std::mutex> lock(pending_mutex_);
      retired_.insert(retired_.end(), retired.begin(), retired.end());
    }
  }
  std::erase_if(doomed_, [now_ms](const DoomedSegment& doomed) {
    if (doomed.due_ms > now_ms) return false;
    doomed.segment->RemoveDeleted();
    return true;
  });
}

Status LogImpl::MoveAway(const std::string& to) {
  Abandon();
  std::lock_guard<std::mutex> files(files_mutex_);
  VARVE_TRY(site_->vfs().Rename(path(), to));
  return site_->vfs().SyncDirectory(directory_->path());
}

}  // namespace varve
