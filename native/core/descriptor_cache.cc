// SPDX-License-Identifier: Apache-2.0
#include "core/descriptor_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace varve {
namespace {

/// How far the hand looks for a clean file before it takes a dirty one.
constexpr int kCleanSearch = 64;
/// How many descriptors are given up when the process has none left.
constexpr uint64_t kShortage = 16;

void CloseAll(const std::vector<int>& descriptors) {
  for (int fd : descriptors) close(fd);
}

}  // namespace

Result<int> DescriptorCache::OpenWith(const std::string& what, const std::function<int()>& open) {
  bool evicted = false;
  for (;;) {
    int fd = open();
    if (fd >= 0) return fd;
    int failed = errno;
    if (failed == EINTR) continue;
    if (failed != EMFILE && failed != ENFILE) return Status::FromErrno(failed, what);
    if (!evicted) {
      evicted = true;
      std::vector<int> victims;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        victims = Evict(kShortage);
      }
      CloseAll(victims);
      if (!victims.empty()) continue;
    }
    // The disk is well: nothing is offline for this, and a later attempt may succeed.
    return Status(Code::kNoSpace, what + ": too many open files: raise the limit (ulimit -n)", failed);
  }
}

void DescriptorCache::Reserve() {
  std::vector<int> victims;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    count_++;
    if (count_ > descriptors_max_) victims = Evict(count_ - descriptors_max_);
  }
  CloseAll(victims);
}

void DescriptorCache::Unreserve() {
  std::lock_guard<std::mutex> lock(mutex_);
  count_--;
}

DescriptorCache::Ring::iterator DescriptorCache::Enter(CachedDescriptor* file) {
  // Behind the hand: what was opened last is looked at last.
  return ring_.insert(hand_, file);
}

void DescriptorCache::Leave(Ring::iterator at) {
  if (hand_ == at) ++hand_;
  ring_.erase(at);
  count_--;
}

std::vector<int> DescriptorCache::Evict(uint64_t count) {
  std::vector<int> victims;
  CachedDescriptor* dirty = nullptr;
  int searched = 0;
  auto take = [&](CachedDescriptor* file) {
    int fd = file->fd_.load(std::memory_order_relaxed);
    uint32_t idle = CachedDescriptor::kPresent;
    if (!file->state_.compare_exchange_strong(idle, 0, std::memory_order_acquire, std::memory_order_relaxed))
      return;
    // Whoever reopens it from here on waits for the cache's mutex before it enters again.
    Leave(file->place_);
    victims.push_back(fd);
    searched = 0;
  };
  // Twice around: the first time may only take second chances away.
  for (size_t steps = 2 * ring_.size(); steps > 0 && victims.size() < count && !ring_.empty(); steps--) {
    if (hand_ == ring_.end()) hand_ = ring_.begin();
    CachedDescriptor* file = *hand_;
    ++hand_;
    searched++;
    if (file->state_.load(std::memory_order_relaxed) != CachedDescriptor::kPresent) {
    } else if (file->used_lately_.exchange(false, std::memory_order_relaxed)) {
    } else if (file->dirty_.load(std::memory_order_relaxed)) {
      if (dirty == nullptr) dirty = file;
    } else {
      take(file);
    }
    if (searched >= kCleanSearch && dirty != nullptr && victims.size() < count) {
      take(dirty);
      dirty = nullptr;
    }
  }
  if (dirty != nullptr && victims.size() < count) take(dirty);
  return victims;
}

Result<std::shared_ptr<CachedDescriptor>> CachedDescriptor::Open(std::shared_ptr<DescriptorCache> cache,
                                                                 std::string path, OpenMode mode) {
  int reopen_flags = O_CLOEXEC | (mode == OpenMode::kRead ? O_RDONLY : O_RDWR);
  int flags = reopen_flags | (mode == OpenMode::kCreate ? O_CREAT : 0);
  std::shared_ptr<CachedDescriptor> file(new CachedDescriptor(cache, reopen_flags));
  file->opened_as_ = path;
  OpenPaths::Opening opening = cache->paths().BeginOpen(path);
  cache->Reserve();
  Result<int> fd = cache->OpenWith("open " + path, [&] { return open(path.c_str(), flags, 0644); });
  struct stat stat;
  Status status = fd.status();
  if (status.ok() && fstat(*fd, &stat) != 0) status = Status::FromErrno(errno, "fstat " + path);
  if (status.ok() && S_ISDIR(stat.st_mode)) status = Status::FromErrno(EISDIR, "open " + path);
  if (!status.ok()) {
    if (fd.ok()) close(*fd);
    cache->Unreserve();
    return status;
  }
  file->device_ = stat.st_dev;
  file->inode_ = stat.st_ino;
  file->Publish(*fd);
  file->Unpin();
  cache->paths().Add(file->entry_, std::move(path), file);
  return file;
}

CachedDescriptor::~CachedDescriptor() {
  cache_->paths().Remove(entry_);
  {
    std::lock_guard<std::mutex> lock(cache_->mutex_);
    if ((state_.load(std::memory_order_acquire) & kPresent) == 0) return;
    cache_->Leave(place_);
  }
  close(fd());
}

bool CachedDescriptor::PinPresent() {
  uint32_t state = state_.load(std::memory_order_relaxed);
  while ((state & kPresent) != 0) {
    if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire, std::memory_order_relaxed))
      continue;
    if (!used_lately_.load(std::memory_order_relaxed)) used_lately_.store(true, std::memory_order_relaxed);
    return true;
  }
  return false;
}

Status CachedDescriptor::Pin(bool under_change) {
  if (PinPresent()) return Status::Ok();
  if (under_change) return Reopen(cache_->paths().PathOf(entry_));
  OpenPaths::Opening opening = cache_->paths().BeginReopen(entry_);
  return Reopen(opening.path());
}

Status CachedDescriptor::Reopen(const std::string& path) {
  std::lock_guard<std::mutex> lock(reopen_mutex_);
  if (PinPresent()) return Status::Ok();
  std::string what = "reopen " + (path.empty() ? opened_as_ : path);
  cache_->Reserve();
  Result<int> fd = cache_->OpenWith(what, [&] { return open(path.c_str(), reopen_flags_); });
  Status status = fd.status();
  if (status.ok()) {
    struct stat stat;
    if (fstat(*fd, &stat) != 0) {
      status = Status::FromErrno(errno, what);
    } else if (stat.st_dev != device_ || stat.st_ino != inode_) {
      status = Status(Code::kIo, what + ": another file is there now: it was replaced while in use");
    }
    if (!status.ok()) close(*fd);
  } else if (status.code() == Code::kNotFound) {
    status = Status(Code::kIo, what + ": it was removed or renamed while in use", status.system_errno());
  }
  if (!status.ok()) {
    cache_->Unreserve();
    return status;
  }
  Publish(*fd);
  return Status::Ok();
}

void CachedDescriptor::Publish(int fd) {
  std::lock_guard<std::mutex> lock(cache_->mutex_);
  place_ = cache_->Enter(this);
  fd_.store(fd, std::memory_order_relaxed);
  // A second use is what counts: whoever looks at every file once does not push out the ones in constant use.
  used_lately_.store(false, std::memory_order_relaxed);
  state_.fetch_add(kPresent + 1, std::memory_order_release);
}

Status CachedDescriptor::Hold(bool* first) {
  VARVE_TRY(Pin(/*under_change=*/true));
  *first = (state_.fetch_or(kHeld, std::memory_order_acq_rel) & kHeld) == 0;
  Unpin();
  return Status::Ok();
}

std::string CachedDescriptor::path() const {
  std::string path = cache_->paths().PathOf(entry_);
  return path.empty() ? opened_as_ : path;
}

}  // namespace varve
