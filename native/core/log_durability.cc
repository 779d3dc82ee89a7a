// SPDX-License-Identifier: Apache-2.0
// LogImpl: what makes bytes durable and says so: group-committed syncs, seals of closed segments,
// checkpoints, the clean stop.
//
// Order of what reaches the disk: bytes of a segment, then its name in the directory, then durable_end_ and
// whoever waits for it. A seal is written after the sync of all that it vouches for, and never before the
// segments in front of it are synced: a valid seal says that everything up to its end is on stable storage.
#include <algorithm>

#include "core/log_impl.h"
#include "core/segment_files.h"

namespace varve {
namespace {

/// The log whose listener this thread is in just now: it may remove the listener without waiting for itself.
thread_local const LogImpl* calling_listener = nullptr;

}  // namespace

// --- listener ---

void LogImpl::SetListener(LogListener* listener) {
  std::lock_guard<std::mutex> lock(listener_mutex_);
  listener_ = listener;
}

void LogImpl::RemoveListener(const LogListener* listener) {
  std::unique_lock<std::mutex> lock(listener_mutex_);
  if (listener_ == listener) listener_ = nullptr;
  if (calling_listener != this) listener_idle_.wait(lock, [this] { return listener_calls_ == 0; });
}

void LogImpl::CallListener(const std::function<void(LogListener&)>& call) {
  std::unique_lock<std::mutex> lock(listener_mutex_);
  if (listener_ == nullptr) return;
  LogListener* const listener = listener_;
  ++listener_calls_;
  lock.unlock();
  const LogImpl* const outer = calling_listener;
  calling_listener = this;
  call(*listener);
  calling_listener = outer;
  lock.lock();
  if (--listener_calls_ == 0) listener_idle_.notify_all();
}

void LogImpl::TellDurable() {
  std::unique_lock<std::mutex> lock(listener_mutex_);
  // One thread tells, so that the listener never sees an older end after a newer one.
  if (telling_durable_) return;
  telling_durable_ = true;
  for (;;) {
    const LogPosition end = durable_end_.Load();
    if (end.offset <= told_durable_ || listener_ == nullptr) break;
    told_durable_ = end.offset;
    lock.unlock();
    CallListener([&end](LogListener& listener) { listener.OnDurable(end); });
    lock.lock();
  }
  telling_durable_ = false;
}

void LogImpl::OnDirectoryFailed(const Status& why) {
  CompleteFlushes(why);
  CallListener([&why](LogListener& listener) { listener.OnStorageFailure(why); });
}

// --- syncing ---

void LogImpl::Flush(std::function<void(Status)> done) {
  Status failed;
  bool pending = false;
  {
    std::lock_guard<std::mutex> lock(flush_mutex_);
    const int64_t end_offset = log_end_.offset();
    if (closed()) {
      failed = Status(Code::kClosed, path() + " is closed");
    } else if (!directory_->online()) {
      failed = Status(Code::kIo, directory_->failure());
    } else if (durable_end_.offset() < end_offset) {
      pending = true;
      if (done) flush_waiters_.push_back({end_offset, std::move(done)});
    }
  }
  if (pending) {
    directory_->flusher().Request(shared_from_this());
  } else if (done) {
    context_->executor().Post([done = std::move(done), failed] { done(failed); });
  }
}

void LogImpl::SyncNow() {
  const GateEntry entry(gate_);
  if (!entry) return;
  // What is appended from here on needs the flusher again.
  sync_wanted_.store(false, std::memory_order_release);
  [[maybe_unused]] const Status told = SyncRound();
}

Status LogImpl::SyncRound() {
  Status status;
  {
    std::lock_guard<std::mutex> sync(sync_mutex_);
    for (;;) {
      uint64_t truncations;
      {
        std::lock_guard<std::mutex> lock(flush_mutex_);
        truncations = truncations_;
      }
      const LogPosition end = log_end_.Load();
#ifdef VARVE_BUG_ACK_BEFORE_SYNC  // what test/crash_planted_bug_test.cc has to catch; defined nowhere else
      durable_end_.Store(end);
      CompleteFlushes(Status::Ok());
      TellDurable();
#endif
      status = directory_->online() ? SyncUpTo(end) : Status(Code::kIo, directory_->failure());
      std::lock_guard<std::mutex> lock(flush_mutex_);
      // A truncation in between: what was synced may be gone, and what replaced it may not be synced.
      if (truncations != truncations_) continue;
      if (status.ok()) durable_end_.Store(end);
      break;
    }
  }
  if (!status.ok()) directory_->Fail(status);
  CompleteFlushes(status);
  if (status.ok()) TellDurable();
  return status;
}

Status LogImpl::SyncUpTo(const LogPosition& end) {
  const LogPosition durable = durable_end_.Load();
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  bool synced = false;
  for (size_t index = list->Floor(durable.segment_base_offset); index < list->size(); ++index) {
    Segment& segment = *(*list)[index];
    if (segment.base_offset() > end.segment_base_offset) break;
    if (!segment.has_file()) continue;
    const bool same =
        segment.base_offset() == durable.segment_base_offset && segment.size() == durable.position;
    // A segment that was just trimmed is synced once more, so that its seal finds its size on disk.
    if (same && segment.name_durable.load(std::memory_order_acquire) && !segment.seal_due()) continue;
    VARVE_TRY(segment.Sync());
    VARVE_TRY(SyncNames(segment));
    synced = true;
  }
  if (synced) flush_count_.fetch_add(1, std::memory_order_relaxed);
  return Status::Ok();
}

Status LogImpl::SyncNames(Segment& segment) {
  if (!segment.name_durable.load(std::memory_order_acquire)) {
    VARVE_TRY(site_->vfs().SyncDirectory(path()));
    segment.name_durable.store(true, std::memory_order_release);
  }
  return directory_->SyncNames(name_made_);
}

void LogImpl::CompleteFlushes(const Status& status) {
  std::vector<FlushWaiter> done;
  {
    std::lock_guard<std::mutex> lock(flush_mutex_);
    const int64_t durable = durable_end_.offset();
    const int64_t end = log_end_.offset();
    for (size_t i = 0; i < flush_waiters_.size();) {
      FlushWaiter& waiter = flush_waiters_[i];
      // What was truncated meanwhile needs no sync any more.
      if (status.ok() && waiter.end_offset > durable && waiter.end_offset <= end) {
        ++i;
        continue;
      }
      done.push_back(std::move(waiter));
      waiter = std::move(flush_waiters_.back());
      flush_waiters_.pop_back();
    }
  }
  for (const FlushWaiter& waiter : done) waiter.done(status);
}

// --- seals ---

void LogImpl::PostSeal() {
  {
    std::lock_guard<std::mutex> lock(pending_mutex_);
    if (seal_posted_) return;
    seal_posted_ = true;
  }
  context_->executor().Post([weak = weak_from_this()] {
    if (const std::shared_ptr<LogImpl> self = weak.lock()) self->SealClosed();
  });
}

void LogImpl::SealClosed() {
  const GateEntry entry(gate_);
  if (!entry) return;
  {
    std::lock_guard<std::mutex> lock(pending_mutex_);
    seal_posted_ = false;
  }
  if (!directory_->online()) return;
  {
    std::lock_guard<std::mutex> files(files_mutex_);
    const std::shared_ptr<const SegmentList> list = segments_.Load();
    for (size_t index = 0; index + 1 < list->size(); ++index) {
      if (!(*list)[index]->is_active()) continue;
      const Status status = (*list)[index]->Finish();
      if (status.code() == Code::kIo) return directory_->Fail(status);
    }
  }
  if (!SyncRound().ok()) return;
  std::lock_guard<std::mutex> files(files_mutex_);
  WriteSealsLocked(false);
}

void LogImpl::WriteSealsLocked(bool also_active) {
  std::vector<PendingSnapshot> snapshots;
  {
    std::lock_guard<std::mutex> lock(pending_mutex_);
    snapshots.swap(pending_snapshots_);
  }
  Status status;
  for (const PendingSnapshot& snapshot : snapshots) {
    status = snapshots_.Write(snapshot.offset, snapshot.bytes, false);
    if (status.code() == Code::kIo) return directory_->Fail(status);
  }
  status = StoreEpochs();
  if (status.code() == Code::kIo) return directory_->Fail(status);
  const LogPosition durable = durable_end_.Load();
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  for (size_t index = 0; index < list->size(); ++index) {
    Segment& segment = *(*list)[index];
    const bool closed = index + 1 < list->size();
    if ((!closed && !also_active) || !segment.seal_due()) continue;
    if (segment.next_offset() > durable.offset) break;
    status = segment.WriteSeal();
    if (status.code() == Code::kIo) return directory_->Fail(status);
  }
}

Status LogImpl::StoreEpochs() {
  // An epoch without a batch needs no file: the next leader's takes its place, and every lookup answers the same.
  std::string text = epochs_.Encode(log_end_.offset());
  if (text == epochs_on_disk_) return Status::Ok();
  VARVE_TRY(site_->vfs().WriteFile(site_->PathOf(kEpochCheckpointName),
                                   {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, false));
  epochs_on_disk_ = std::move(text);
  return Status::Ok();
}

// --- checkpoint and stop ---

Status LogImpl::PrepareCheckpoint(int64_t* recovery_point) {
  const int64_t end = log_end_.offset();
  std::lock_guard<std::mutex> files(files_mutex_);
  // Taken before the files below are written, so that they cover it; a truncation from here on writes a mark.
  *recovery_point = durable_end_.offset();
  checkpoint_truncations_ = truncations_;
  claimed_recovery_point_ = std::max(claimed_recovery_point_, *recovery_point);
  if (!directory_->online()) return Status::Ok();
  VARVE_TRY(StoreEpochs());
  if (checkpointed_end_ == end) return Status::Ok();
  VARVE_TRY(segments_.Load()->active()->PersistIndexes());
  checkpointed_end_ = end;
  return Status::Ok();
}

Status LogImpl::AfterCheckpoint(int64_t recovery_point) {
  std::lock_guard<std::mutex> files(files_mutex_);
  if (checkpoint_truncations_ != truncations_) return Status::Ok();
  claimed_recovery_point_ = recovery_point;
  if (!mark_) return Status::Ok();
  // Durably, before segments below the new log start go: the mark would move the start back to where they were.
  VARVE_TRY(TruncationMark::Remove(site_->vfs(), path()));
  mark_.reset();
  return site_->vfs().SyncDirectory(path());
}

std::pair<std::string, std::string> LogImpl::VouchedEpochs() {
  std::lock_guard<std::mutex> files(files_mutex_);
  return {DirectoryName(tp_) + "/" + kEpochCheckpointName, epochs_on_disk_};
}

Status LogImpl::CloseCleanly() {
  {
    std::lock_guard<std::mutex> lock(append_mutex_);
    if (closed_.exchange(true)) return Status::Ok();
  }
  gate_.Shut();
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  Status status;
  if (!directory_->online()) {
    status = Status(Code::kIo, directory_->failure());
  } else if (appended_since_open_ || durable_end_.offset() < log_end_.offset()) {
    {
      std::lock_guard<std::mutex> files(files_mutex_);
      for (const std::shared_ptr<Segment>& segment : list->all()) {
        if (segment->is_active() && segment->has_file() && status.ok()) status = segment->Finish();
      }
    }
    if (status.ok()) status = SyncRound();
    std::lock_guard<std::mutex> files(files_mutex_);
    if (status.ok() && !snapshots_.Has(log_end_.offset())) {
      status = snapshots_.Write(log_end_.offset(), producers_.EncodeSnapshot(), false);
    }
    if (status.ok()) WriteSealsLocked(true);
    if (status.ok() && !directory_->online()) status = Status(Code::kIo, directory_->failure());
  }
  CompleteFlushes(status.ok() ? Status(Code::kClosed, path() + " is closed") : status);
  for (const DoomedSegment& doomed : doomed_) {
    doomed.segment->RemoveDeleted();
    doomed.segment->Release();
  }
  doomed_.clear();
  ReleaseSegments();
  checkpointed_end_ = log_end_.offset();
  return status;
}

/// A JavaScript handle may keep a closed log until it is collected; files it must not keep.
void LogImpl::ReleaseSegments() {
  for (const std::shared_ptr<Segment>& segment : segments_.Load()->all()) segment->Release();
  std::lock_guard<std::mutex> files(files_mutex_);
  for (const DoomedSegment& doomed : doomed_) doomed.segment->Release();
  std::lock_guard<std::mutex> lock(pending_mutex_);
  for (const std::shared_ptr<Segment>& segment : retired_) segment->Release();
}

void LogImpl::Abandon() {
  {
    std::lock_guard<std::mutex> lock(append_mutex_);
    if (closed_.exchange(true)) return;
  }
  gate_.Shut();
  CompleteFlushes(Status(Code::kClosed, path() + " was let go"));
  ReleaseSegments();
}

}  // namespace varve
