// SPDX-License-Identifier: Apache-2.0
// Vfs: the one seam between the engine and storage. Two implementations: vfs_posix (a disk) and vfs_memory
// (no disk; with a crash model for tests and the simulator). Everything above knows files only through this
// header.
//
// Failures: kNoSpace is also what a process gets that has no descriptors or mappings left: nothing is wrong
// with the disk.
//
// Threading: a Vfs may be used from any thread. A File's data calls (Read, Write, Map) may run concurrently
// with Sync; calls that change its size (Allocate, Truncate) are the owner's, one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/status.h"

namespace varve {

enum class MapMode : uint8_t {
  kShared,    ///< readable and writable; stores reach the file
  kReadOnly,  ///< readable; a store is a fault
  kPrivate,   ///< readable and writable, copy on write: stores never reach the file (what JavaScript sees)
};

/// A mapped range of a file. Unmapped when the last owner lets go: whoever holds the pointer may read
/// `size()` bytes, whatever became of the file's name. Never read beyond what was written: a page beyond the
/// file's end is a SIGBUS.
class Mapping {
 public:
  virtual ~Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  uint8_t* data() const { return data_; }
  uint64_t size() const { return size_.load(std::memory_order_relaxed); }

  /// Populates pages [position, position + bytes) for writing ahead of the append point
  /// (MADV_POPULATE_WRITE): no fault on the hot thread. A full disk is kNoSpace here instead of a SIGBUS
  /// later. Memory: nothing to do.
  virtual Status Prefault(uint64_t position, uint64_t bytes) = 0;
  /// Gives back the range behind `size` (page-rounded), before the file is truncated to it. Only the owner of
  /// the writable mapping calls this, and only when nobody reads there.
  virtual void Cut(uint64_t size) = 0;
  /// True when all pages of the range are in memory (mincore); a cold read belongs on a helper thread.
  virtual bool Resident(uint64_t position, uint64_t bytes) const = 0;

 protected:
  Mapping(uint8_t* data, uint64_t size) : data_(data), size_(size) {}
  uint8_t* data_;
  std::atomic<uint64_t> size_;  ///< Cut makes it smaller while readers of the range in front of it go on
};

/// An open file. Closing is the destructor's; nothing is synced by it.
class File {
 public:
  virtual ~File() = default;

  /// Reads up to `to.size()` bytes at `position`; `*read` is smaller only at the end of the file.
  virtual Status Read(uint64_t position, MutableBytes to, uint64_t* read) = 0;
  /// Writes all bytes at `position` (pwrite, short writes continued), growing the file as needed.
  virtual Status Write(uint64_t position, Bytes from) = 0;
  /// The same for bytes that lie in two places: in one call where the system has one.
  virtual Status WriteTwo(uint64_t position, Bytes first, Bytes second) {
    VARVE_TRY(Write(position, first));
    return Write(position + first.size(), second);
  }
  /// Makes [0, bytes) of the file backed by real space (fallocate), growing it: a later store into a mapping
  /// there cannot fail for lack of space. kNoSpace leaves the size as it was.
  virtual Status Allocate(uint64_t bytes) = 0;
  /// Sets the size. Callers cut every writable or readable mapping to it first.
  virtual Status Truncate(uint64_t bytes) = 0;
  /// fdatasync: contents and size are on stable storage when it returns. After a failure the file must be
  /// treated as lost (its dirty pages may have been dropped): never call Sync again to see it succeed.
  virtual Status Sync() = 0;
  /// Starts write-back of a range without waiting (sync_file_range WRITE); a hint.
  virtual void StartWriteback(uint64_t position, uint64_t bytes) = 0;
  virtual Result<uint64_t> Size() = 0;
  /// Maps [position, position + bytes); position is a multiple of the page size. The range may reach beyond
  /// the end of the file (append space to come), but must not be touched there.
  virtual Result<std::shared_ptr<Mapping>> Map(uint64_t position, uint64_t bytes, MapMode mode) = 0;
  /// A descriptor for sendfile, or -1 when there is none (memory). It stays open until ReleaseDescriptor() is
  /// called as often, or the File goes: hold it for a call, not for the segment's life (PinnedDescriptor
  /// does), so that others can have it.
  virtual int Descriptor() = 0;
  virtual void ReleaseDescriptor() {}
};

/// A File's descriptor for the length of a block.
class PinnedDescriptor {
 public:
  explicit PinnedDescriptor(File& file) : file_(file), descriptor_(file.Descriptor()) {}
  ~PinnedDescriptor() {
    if (descriptor_ >= 0) file_.ReleaseDescriptor();
  }
  PinnedDescriptor(const PinnedDescriptor&) = delete;
  PinnedDescriptor& operator=(const PinnedDescriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  File& file_;
  int descriptor_;
};

enum class OpenMode : uint8_t {
  kRead,    ///< must exist
  kWrite,   ///< read and write; must exist
  kCreate,  ///< read and write; made when missing
};

/// Held while an engine owns a directory; releasing it is the destructor's.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() = default;
};

class Vfs {
 public:
  virtual ~Vfs() = default;

  virtual Result<std::shared_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  /// The whole file as bytes; kTooLarge above `limit`.
  virtual Result<std::vector<uint8_t>> ReadFile(const std::string& path, uint64_t limit) = 0;
  /// Replaces `path` as a unit: temporary file, write, sync, rename, sync of the directory (both skipped with
  /// durable = false: then the replacement is atomic for a killed process only).
  virtual Status WriteFile(const std::string& path, Bytes bytes, bool durable) = 0;
  /// Makes the directory and its missing parents; fine when it exists.
  virtual Status CreateDirectories(const std::string& path) = 0;
  /// Names (not paths) in a directory, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  virtual bool Exists(const std::string& path) = 0;
  virtual Result<uint64_t> FileSize(const std::string& path) = 0;
  virtual Status Remove(const std::string& path) = 0;
  /// Removes a directory with everything in it.
  virtual Status RemoveTree(const std::string& path) = 0;
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  /// Makes creations, renames and removals in a directory durable (fsync of the directory).
  virtual Status SyncDirectory(const std::string& path) = 0;
  /// kLocked names the pid of the owner when another process (or another engine of this one) has it.
  virtual Result<std::unique_ptr<DirectoryLock>> Lock(const std::string& directory) = 0;
  /// False where a mapping of fallocated space can't be trusted (NFS, FUSE, ZFS, btrfs): use pwrite there.
  virtual bool TrustsMappedAppend(const std::string& directory) = 0;
  virtual Result<uint64_t> FreeBytes(const std::string& directory) = 0;
};

/// The disk. One per process is enough; descriptors are an LRU within `descriptors_max` (0: three quarters of
/// RLIMIT_NOFILE, read when it is made), reopened by path when needed again.
std::shared_ptr<Vfs> MakePosixVfs(uint64_t descriptors_max = 0);

/// RLIMIT_NOFILE of this process.
struct DescriptorLimit {
  uint64_t soft = 0;
  uint64_t hard = 0;
};
/// Raises the soft limit to the hard one (as far as the system lets it) and says what they are now. Before
/// MakePosixVfs.
DescriptorLimit RaiseNofileLimit();

}  // namespace varve
