// SPDX-License-Identifier: Apache-2.0
// MemoryArena: the pages behind a MemoryVfs's mapped files: one sparse memfd cut into slots of 4 GiB, one
// slot a file, so that any number of files costs one descriptor, and shared and private mappings work as on a
// disk. Knows nothing of names, sizes or durability.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/bytes.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

class MemoryArena;

/// One file's pages: 4 GiB of address space in the arena, taken up as far as touched. Held by the file and by
/// each mapping of it; when the last lets go the pages are freed and the slot may be another file's. Bytes
/// never written read as zeros. Threading: as a disk file's pages: calls may overlap.
class MemorySlot {
 public:
  static constexpr uint64_t kBytes = uint64_t{4} << 30;

  MemorySlot(std::shared_ptr<MemoryArena> arena, int fd, uint32_t index);
  ~MemorySlot();
  MemorySlot(const MemorySlot&) = delete;
  MemorySlot& operator=(const MemorySlot&) = delete;

  Status Read(uint64_t position, MutableBytes to) const;
  Status Write(uint64_t position, Bytes from);
  /// Frees everything from `position` on; it reads as zeros from now.
  Status Drop(uint64_t position);
  /// Behind the last page that was touched at or after `position`; `position` when there is none.
  uint64_t TouchedEnd(uint64_t position) const;
  Result<uint8_t*> Map(uint64_t position, uint64_t bytes, MapMode mode) const;

 private:
  uint64_t base() const { return uint64_t{index_} * kBytes; }

  std::shared_ptr<MemoryArena> arena_;
  int fd_;
  uint32_t index_;
};

/// Made empty; the memfd comes with the first slot.
class MemoryArena : public std::enable_shared_from_this<MemoryArena> {
 public:
  ~MemoryArena();
  Result<std::shared_ptr<MemorySlot>> Take();

 private:
  friend class MemorySlot;
  Status MakeDescriptor();
  void GiveBack(uint32_t index);

  std::mutex mutex_;
  int fd_ = -1;
  uint32_t slots_ = 0;  // handed out so far; each is free or held
  std::vector<uint32_t> free_;
};

}  // namespace varve
