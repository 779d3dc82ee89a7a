// SPDX-License-Identifier: Apache-2.0
// MemoryInode: one file or directory of a MemoryVfs. A file's bytes are on the heap while it is small and
// nobody maps it, and in a slot of the arena from then on; with the crash model it also has its durable
// image. A directory's entries are here too, but kept by the Vfs. Knows nothing of faults, handles or locks
// of directories.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/file_image.h"
#include "core/memory_arena.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

/// What the files of one MemoryVfs share: the pages and the space.
class MemorySpace {
 public:
  MemoryArena& arena() { return *arena_; }
  void SetCapacity(uint64_t bytes) { capacity_.store(bytes); }
  uint64_t capacity() const { return capacity_.load(); }
  uint64_t used() const { return used_.load(); }
  /// False when the capacity does not allow it.
  bool Take(uint64_t bytes);
  void Give(uint64_t bytes) { used_.fetch_sub(bytes); }
  /// Without asking: what is there after a crash is there.
  void TakeAnyway(uint64_t bytes) { used_.fetch_add(bytes); }

 private:
  std::shared_ptr<MemoryArena> arena_ = std::make_shared<MemoryArena>();
  std::atomic<uint64_t> capacity_{0};
  std::atomic<uint64_t> used_{0};
};

/// Threading: a file's methods are safe from any thread. `path` and the entries are guarded by the Vfs.
class MemoryInode {
 public:
  using Entries = std::map<std::string, std::shared_ptr<MemoryInode>, std::less<>>;

  MemoryInode(std::shared_ptr<MemorySpace> space, bool is_directory, bool crash_model);
  ~MemoryInode();
  MemoryInode(const MemoryInode&) = delete;
  MemoryInode& operator=(const MemoryInode&) = delete;

  bool is_directory() const { return is_directory_; }
  std::string path;         ///< its name now, or the last one it had
  Entries entries;          ///< of a directory, as they are
  Entries durable_entries;  ///< as SyncDirectory left them (crash model)

  /// Names, handles and mappings of it. With the last its space is free again, though a power cut may still
  /// bring it back.
  void AddUser() { users_.fetch_add(1); }
  void DropUser();

  uint64_t Size();
  uint64_t Read(uint64_t position, MutableBytes to, Status* status);
  Status Write(uint64_t position, Bytes from);
  Status Allocate(uint64_t bytes);
  Status Truncate(uint64_t bytes);
  /// Space for a range of a mapping, as the disk would want it.
  Status Populate(uint64_t position, uint64_t bytes);
  Result<uint8_t*> Map(uint64_t position, uint64_t bytes, MapMode mode, std::shared_ptr<MemorySlot>* slot);
  /// The crash model's sync; nothing without it.
  Status Sync();
  /// A sync that failed: what was dirty counts as clean, and is not durable.
  Status LoseDirtyPages();
  Status Corrupt(uint64_t position, Bytes from);

  /// What a power cut leaves of it. `scratch` is room to read into, kept over many files: a fresh one each
  /// time would cost more than the bytes do.
  Result<FileImage> AfterCrash(MemoryVfs::Loss loss, LossRandom& random, FileImage* scratch);
  /// Makes a new file hold `image`, durable as live, with as much space taken as the file it is a copy of.
  void Restore(FileImage image, const MemoryInode& copy_of);
  /// A page behind the file's end was touched in a mapping.
  bool IsTouchedBeyondEnd();

 private:
  static constexpr uint64_t kHeapBytesMax = 1 << 20;

  Status Grow(uint64_t end);
  Status MoveToSlot();
  void BeforeChange();
  Status ReadLive(FileImage* live);
  std::string What(const char* verb) const { return std::string(verb) + " of a file in memory"; }

  const std::shared_ptr<MemorySpace> space_;
  const bool is_directory_;
  const bool crash_model_;

  std::mutex mutex_;
  FileImage heap_;                    // its size is the file's; its bytes while there is no slot
  std::shared_ptr<MemorySlot> slot_;  // never taken back
  std::atomic<uint64_t> taken_{0};    // of the space
  std::atomic<int64_t> users_{0};

  // Crash model. No durable image: it is as the live one (a file on the heap that was not changed since).
  std::optional<FileImage> durable_;
  uint64_t smallest_size_ = 0;  // since the last sync
  std::optional<FileImage> believed_clean_;
};

}  // namespace varve
