// SPDX-License-Identifier: Apache-2.0
// DescriptorCache: the descriptors of a PosixVfs's open files within a limit. A file that was not used lately
// gives its descriptor to another and is opened again, by its path, when it is needed. Owns descriptors and
// who may have one; where a file is to be found is OpenPaths' to know, what is done with a descriptor is the
// File's.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/open_paths.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

/// Which files have a descriptor, and whose is the next to go: second chance by a clock's hand, that takes a
/// file with un-synced writes only when there is no other (see CachedDescriptor::MarkDirty).
class DescriptorCache {
 public:
  /// `descriptors_max` is kept except for files in use and files that have no name any more.
  explicit DescriptorCache(uint64_t descriptors_max) : descriptors_max_(descriptors_max) {}

  OpenPaths& paths() { return paths_; }

  /// Takes `open` (that returns a descriptor, or -1 with errno set) through a shortage: retried when
  /// interrupted, and once more after unused descriptors were closed when the process has none left. For
  /// descriptors that stay outside too.
  Result<int> OpenWith(const std::string& what, const std::function<int()>& open);

 private:
  friend class CachedDescriptor;
  using Ring = std::list<CachedDescriptor*>;

  void Reserve();
  void Unreserve();
  Ring::iterator Enter(CachedDescriptor* file);
  void Leave(Ring::iterator at);
  /// Lets go of up to `count` descriptors, without closing them yet.
  std::vector<int> Evict(uint64_t count);

  const uint64_t descriptors_max_;
  OpenPaths paths_;
  mutable std::mutex mutex_;
  Ring ring_;
  Ring::iterator hand_ = ring_.end();
  uint64_t count_ = 0;  // in the ring, or about to be
};

/// One open file's descriptor: present or closed for now. Held by the File. Destruction closes it.
///
/// Threading: any thread. Use() is a compare-and-swap while the descriptor is present. Reopening is done
/// under the file's own mutex, so that a slow open holds up nobody but those who want the same file.
class CachedDescriptor {
 public:
  /// A descriptor for the length of a block: it is not closed meanwhile.
  class Using {
   public:
    explicit Using(CachedDescriptor& file) : file_(&file), status_(file.Pin(/*under_change=*/false)) {}
    ~Using() {
      if (status_.ok()) file_->Unpin();
    }
    Using(const Using&) = delete;
    Using& operator=(const Using&) = delete;
    const Status& status() const { return status_; }
    int fd() const { return file_->fd_.load(std::memory_order_relaxed); }

   private:
    CachedDescriptor* file_;
    Status status_;
  };

  static Result<std::shared_ptr<CachedDescriptor>> Open(std::shared_ptr<DescriptorCache> cache,
                                                        std::string path, OpenMode mode);
  ~CachedDescriptor();
  CachedDescriptor(const CachedDescriptor&) = delete;
  CachedDescriptor& operator=(const CachedDescriptor&) = delete;

  /// Pin and Unpin in pairs; the descriptor stays in between.
  Status Pin(bool under_change);
  void Unpin() { state_.fetch_sub(1, std::memory_order_release); }
  int fd() const { return fd_.load(std::memory_order_relaxed); }

  /// The file's name is about to go: the descriptor, opened if need be, is all that remains of it, and stays.
  /// The Change is held. `*first`: it was not held before, so that Release() may take it back when the name
  /// stayed after all.
  Status Hold(bool* first);
  void Release() { state_.fetch_and(~kHeld, std::memory_order_release); }
  /// The name is gone.
  void Forget() { cache_->paths().Remove(entry_); }

  /// Un-synced writes. The kernel tells a failed write-back to descriptors that were open then, or to the
  /// next one opened, unless it has dropped the inode by then; so a dirty file keeps its descriptor as long
  /// as there are others to take.
  void MarkDirty() {
    if (!dirty_.load(std::memory_order_relaxed)) dirty_.store(true, std::memory_order_relaxed);
  }
  void MarkClean() { dirty_.store(false, std::memory_order_relaxed); }

  /// For messages: the name that it has, or had when it was opened.
  std::string path() const;
  const std::string& opened_as() const { return opened_as_; }

 private:
  friend class DescriptorCache;
  static constexpr uint32_t kPresent = 1u << 31;
  static constexpr uint32_t kHeld = 1u << 30;

  CachedDescriptor(std::shared_ptr<DescriptorCache> cache, int reopen_flags)
      : cache_(std::move(cache)), reopen_flags_(reopen_flags) {}

  bool PinPresent();
  Status Reopen(const std::string& path);
  void Publish(int fd);

  const std::shared_ptr<DescriptorCache> cache_;
  const int reopen_flags_;
  std::string opened_as_;
  OpenPaths::Entry entry_;
  dev_t device_ = 0;
  ino_t inode_ = 0;

  std::atomic<uint32_t> state_{0};  // kPresent, kHeld, and how many use it
  std::atomic<int> fd_{-1};         // changes only while kPresent is not set
  std::atomic<bool> used_lately_{false};
  std::atomic<bool> dirty_{false};
  std::mutex reopen_mutex_;
  DescriptorCache::Ring::iterator place_;  // guarded by the cache's mutex; valid while kPresent
};

}  // namespace varve
