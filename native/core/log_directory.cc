// SPDX-License-Identifier: Apache-2.0
#include "core/log_directory.h"

#include <algorithm>

#include "core/meta_properties.h"
#include "core/path_text.h"
#include "core/segment_files.h"

namespace varve {

LogDirectory::LogDirectory(std::shared_ptr<const EngineContext> context, std::string path)
    : context_(std::move(context)),
      path_(std::move(path)),
      flusher_(std::make_shared<Flusher>(context_->options.executor, context_->options.flush_max_delay_ms)),
      checkpoints_(&context_->vfs(), path_) {}

Status LogDirectory::Open() {
  Vfs& vfs = context_->vfs();
  // The names of directories made here must be as durable as what they will hold.
  std::vector<std::string> parents;
  for (std::string missing = path_; !vfs.Exists(missing);) {
    missing = ParentPath(missing);
    parents.push_back(missing);
    if (missing == "/" || missing == ".") break;
  }
  VARVE_TRY(vfs.CreateDirectories(path_));
  for (const std::string& parent : parents) VARVE_TRY(vfs.SyncDirectory(parent));
  Result<std::unique_ptr<DirectoryLock>> lock = vfs.Lock(path_);
  if (!lock.ok()) return lock.status();
  lock_ = std::move(*lock);
  map_appends_ = context_->options.append_io != AppendIo::kPwrite && vfs.TrustsMappedAppend(path_);
  VARVE_TRY(checkpoints_.Load());
  // An unverified recovery point could make start-up skip bytes that need a scan, an unverified log start hide
  // records. Kafka's own log starts are taken: nothing vouches for them, and nothing contradicts them.
  foreign_ = !vfs.Exists(path_ + "/" + kChecksumsName);
  const LoadedCheckpoint& recovery = checkpoints_.loaded(CheckpointKind::kRecoveryPoint);
  if (recovery.trust == CheckpointTrust::kVerified) {
    for (const CheckpointEntry& entry : recovery.entries) {
      recovery_points_[DirectoryName(entry.topic_partition)] = entry.offset;
    }
  }
  const LoadedCheckpoint& starts = checkpoints_.loaded(CheckpointKind::kLogStart);
  log_starts_verified_ = starts.trust == CheckpointTrust::kVerified;
  if (log_starts_verified_ || foreign_) {
    for (const CheckpointEntry& entry : starts.entries) {
      log_starts_[DirectoryName(entry.topic_partition)] = entry.offset;
    }
  }
  checkpoints_.DropLoaded();
  Result<std::vector<uint8_t>> mark = vfs.ReadFile(path_ + "/" + kCleanShutdownName, 4096);
  clean_start_ = mark.ok() && CleanShutdownMarker::Parse(*mark).ok();
  return Status::Ok();
}

Status LogDirectory::SyncNames(uint64_t made) {
  if (names_durable_.load(std::memory_order_acquire) >= made) return Status::Ok();
  std::lock_guard<std::mutex> lock(names_mutex_);
  if (names_durable_.load(std::memory_order_acquire) >= made) return Status::Ok();
  const uint64_t covered = names_made_.load(std::memory_order_acquire);
  VARVE_TRY(context_->vfs().SyncDirectory(path_));
  names_durable_.store(covered, std::memory_order_release);
  return Status::Ok();
}

Status LogDirectory::RemoveCleanMark() {
  Vfs& vfs = context_->vfs();
  const std::string path = path_ + "/" + kCleanShutdownName;
  if (!vfs.Exists(path)) return Status::Ok();
  VARVE_TRY(vfs.Remove(path));
  return vfs.SyncDirectory(path_);
}

Status LogDirectory::WriteCleanMark() {
  const std::string text = CleanShutdownMarker{}.Encode();
  return context_->vfs().WriteFile(path_ + "/" + kCleanShutdownName,
                                   {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, true);
}

std::string LogDirectory::failure() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

void LogDirectory::Fail(const Status& why) {
  std::vector<std::weak_ptr<DirectoryMember>> members;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!online()) return;
    failure_ = why.message();
    online_.store(false, std::memory_order_release);
    members = members_;
  }
  context_->executor().Post([members = std::move(members), why] {
    for (const std::weak_ptr<DirectoryMember>& weak : members) {
      if (const std::shared_ptr<DirectoryMember> member = weak.lock()) member->OnDirectoryFailed(why);
    }
  });
}

void LogDirectory::Join(const std::weak_ptr<DirectoryMember>& member) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (members_.size() == members_.capacity()) {
    std::erase_if(members_, [](const std::weak_ptr<DirectoryMember>& weak) { return weak.expired(); });
  }
  members_.push_back(member);
}

int64_t LogDirectory::RecoveryPointOf(const TopicPartition& tp) const {
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  const auto at = recovery_points_.find(DirectoryName(tp));
  return at == recovery_points_.end() ? -1 : at->second;
}

int64_t LogDirectory::LogStartOf(const TopicPartition& tp) const {
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  const auto at = log_starts_.find(DirectoryName(tp));
  return at == log_starts_.end() ? -1 : at->second;
}

bool LogDirectory::CheckpointKnows(const TopicPartition& tp) const {
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  const std::string name = DirectoryName(tp);
  return recovery_points_.contains(name) || log_starts_.contains(name);
}

void LogDirectory::KeepUnopened(const TopicPartition& tp) {
  const Offsets offsets{tp, RecoveryPointOf(tp), LogStartOf(tp)};
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  unopened_.push_back(offsets);
}

void LogDirectory::ForgetUnopened(const TopicPartition& tp) {
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  std::erase_if(unopened_, [&tp](const Offsets& one) { return one.tp == tp; });
}

bool LogDirectory::IsUnopened(const TopicPartition& tp) const {
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  return std::any_of(unopened_.begin(), unopened_.end(), [&tp](const Offsets& one) { return one.tp == tp; });
}

bool LogDirectory::has_unopened() const {
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  return !unopened_.empty();
}

bool LogDirectory::VerifiesFile(const std::string& name, Bytes bytes) const {
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  return checkpoints_.Verify(name, bytes);
}

Status LogDirectory::StoreCheckpoints(const std::vector<Offsets>& logs,
                                      const std::vector<std::pair<std::string, std::string>>& vouched,
                                      bool durable) {
  std::vector<CheckpointEntry> recovery;
  std::vector<CheckpointEntry> starts;
  for (const Offsets& log : logs) {
    recovery.push_back({log.tp, log.recovery_point});
    if (log.log_start > 0) starts.push_back({log.tp, log.log_start});
  }
  std::lock_guard<std::mutex> lock(checkpoint_mutex_);
  for (const Offsets& log : unopened_) {
    if (log.recovery_point >= 0) recovery.push_back({log.tp, log.recovery_point});
    if (log.log_start > 0) starts.push_back({log.tp, log.log_start});
  }
  for (const auto& [name, contents] : vouched) {
    checkpoints_.Record(name, {reinterpret_cast<const uint8_t*>(contents.data()), contents.size()});
  }
  VARVE_TRY(checkpoints_.Store(
      {{CheckpointKind::kRecoveryPoint, &recovery}, {CheckpointKind::kLogStart, &starts}}, durable));
  recovery_points_.clear();
  log_starts_.clear();
  for (const CheckpointEntry& entry : recovery)
    recovery_points_[DirectoryName(entry.topic_partition)] = entry.offset;
  for (const CheckpointEntry& entry : starts)
    log_starts_[DirectoryName(entry.topic_partition)] = entry.offset;
  return Status::Ok();
}

}  // namespace varve
