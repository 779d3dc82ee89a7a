// SPDX-License-Identifier: Apache-2.0
#include "core/memory_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "core/mapped_range.h"

namespace varve {
namespace {

constexpr uint32_t kSlotsMax = 1u << 30;
constexpr uint64_t kArenaBytes = uint64_t{kSlotsMax} * MemorySlot::kBytes;  // 2^62: sparse, costs nothing

}  // namespace

MemorySlot::MemorySlot(std::shared_ptr<MemoryArena> arena, int fd, uint32_t index)
    : arena_(std::move(arena)), fd_(fd), index_(index) {}

MemorySlot::~MemorySlot() {
  [[maybe_unused]] Status ignored = Drop(0);
  arena_->GiveBack(index_);
}

Status MemorySlot::Read(uint64_t position, MutableBytes to) const {
  size_t done = 0;
  while (done < to.size()) {
    ssize_t got =
        pread(fd_, to.data() + done, to.size() - done, static_cast<off_t>(base() + position + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Status::FromErrno(got == 0 ? EIO : errno, "read of memory file");
    done += static_cast<size_t>(got);
  }
  return Status::Ok();
}

Status MemorySlot::Write(uint64_t position, Bytes from) {
  size_t done = 0;
  while (done < from.size()) {
    ssize_t wrote =
        pwrite(fd_, from.data() + done, from.size() - done, static_cast<off_t>(base() + position + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return Status::FromErrno(errno, "write of memory file");
    done += static_cast<size_t>(wrote);
  }
  return Status::Ok();
}

Status MemorySlot::Drop(uint64_t position) {
  if (position >= kBytes) return Status::Ok();
  while (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(base() + position),
                   static_cast<off_t>(kBytes - position)) != 0) {
    if (errno != EINTR) return Status::FromErrno(errno, "punch of memory file");
  }
  return Status::Ok();
}

uint64_t MemorySlot::TouchedEnd(uint64_t position) const {
  uint64_t end = position;
  uint64_t at = position;
  while (at < kBytes) {
    off_t data = lseek(fd_, static_cast<off_t>(base() + at), SEEK_DATA);
    if (data < 0 || static_cast<uint64_t>(data) >= base() + kBytes) break;
    off_t hole = lseek(fd_, data, SEEK_HOLE);
    if (hole < 0) break;
    end = std::min(static_cast<uint64_t>(hole) - base(), kBytes);
    at = end;
  }
  return end;
}

Result<uint8_t*> MemorySlot::Map(uint64_t position, uint64_t bytes, MapMode mode) const {
  if (position > kBytes || bytes > kBytes - position) {
    return Status(Code::kInvalid, "a file in memory is mapped within its first 4 GiB");
  }
  return MapRange(fd_, base() + position, bytes, mode, "memory file");
}

MemoryArena::~MemoryArena() {
  if (fd_ >= 0) close(fd_);
}

Result<std::shared_ptr<MemorySlot>> MemoryArena::Take() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (fd_ < 0) VARVE_TRY(MakeDescriptor());
  uint32_t index = slots_;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else if (slots_ == kSlotsMax) {
    return Status(Code::kNoSpace, "more files in memory than there are slots for");
  } else {
    slots_++;
  }
  return std::make_shared<MemorySlot>(shared_from_this(), fd_, index);
}

Status MemoryArena::MakeDescriptor() {
  struct rlimit limit;
  // A file larger than the limit is not only refused: SIGXFSZ ends the process.
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < kArenaBytes) {
    return Status(Code::kUnsupported,
                  "storage in memory needs an unlimited file size: run with ulimit -f unlimited");
  }
  int fd = memfd_create("varve", MFD_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, "memfd_create");
  if (ftruncate(fd, static_cast<off_t>(kArenaBytes)) != 0) {
    Status failed = Status::FromErrno(errno, "ftruncate of memory files");
    close(fd);
    return failed;
  }
  fd_ = fd;
  return Status::Ok();
}

void MemoryArena::GiveBack(uint32_t index) {
  std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(index);
}

}  // namespace varve
