// SPDX-License-Identifier: Apache-2.0
#include "core/mapped_range.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>

namespace varve {
namespace {

constexpr uint64_t kUnmapBytes = uint64_t{8} << 20;
constexpr uint64_t kUnmapBytesMax = uint64_t{512} << 20;
/// A piece that took no longer than this had hardly a page in it.
constexpr std::chrono::microseconds kUnmapQuick(20);

}  // namespace

uint64_t PageBytes() {
  static const uint64_t bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

Result<uint8_t*> MapRange(int fd, uint64_t position, uint64_t bytes, MapMode mode, const std::string& what) {
  constexpr auto kLimit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (bytes == 0 || position % PageBytes() != 0 || bytes > kLimit - PageBytes() ||
      position > kLimit - bytes) {
    return Status(Code::kInvalid, what + ": can't map " + std::to_string(bytes) + " bytes at position " +
                                      std::to_string(position) +
                                      ": map at least one byte, from a page's beginning");
  }
  int protection = mode == MapMode::kReadOnly ? PROT_READ : PROT_READ | PROT_WRITE;
  int flags = (mode == MapMode::kPrivate ? MAP_PRIVATE : MAP_SHARED) | MAP_NORESERVE;
  void* at = mmap(nullptr, bytes, protection, flags, fd, static_cast<off_t>(position));
  if (at == MAP_FAILED) {
    int failed = errno;
    // The disk is well: nothing is offline for this, and a later attempt may succeed.
    if (failed == ENOMEM) {
      return Status(Code::kNoSpace, what + ": no more mappings: raise vm.max_map_count (or memory limits)",
                    failed);
    }
    return Status::FromErrno(failed, what + ": mmap");
  }
  return static_cast<uint8_t*>(at);
}

void UnmapRange(uint8_t* data, uint64_t bytes, uint64_t touched) {
  uint64_t left = RoundUp(bytes, PageBytes());
  // munmap refuses an address within a page, and what it refuses would stay mapped for ever.
  touched = RoundUp(touched, PageBytes());
  uint64_t piece = kUnmapBytes;
  while (left > 0) {
    uint64_t length = left <= 2 * kUnmapBytes ? left : std::min(piece, left);
    if (left > touched) length = std::min(length, std::max(left - touched, kUnmapBytes));
    left -= length;
    auto before = std::chrono::steady_clock::now();
    munmap(data + left, length);
    bool quick = std::chrono::steady_clock::now() - before <= kUnmapQuick;
    piece = quick && left > touched ? std::min(piece * 2, kUnmapBytesMax) : kUnmapBytes;
  }
}

MappedRange::~MappedRange() { UnmapRange(data_, size(), touched_.load(std::memory_order_relaxed)); }

void MappedRange::Cut(uint64_t new_size) {
  uint64_t keep = RoundUp(new_size, PageBytes());
  uint64_t mapped = RoundUp(size(), PageBytes());
  if (keep >= mapped) return;
  size_.store(keep, std::memory_order_relaxed);
  uint64_t touched = touched_.load(std::memory_order_relaxed);
  UnmapRange(data_ + keep, mapped - keep, touched > keep ? touched - keep : 0);
}

bool MappedRange::Resident(uint64_t position, uint64_t bytes) const {
  if (!CheckRange(position, bytes).ok()) return false;
  uint64_t page = PageBytes();
  uint64_t at = position / page * page;
  uint64_t end = position + bytes;
  unsigned char pages[256];
  while (at < end) {
    uint64_t piece = std::min<uint64_t>(RoundUp(end - at, page), sizeof pages * page);
    if (mincore(data_ + at, piece, pages) != 0) return false;
    for (uint64_t i = 0; i < piece / page; i++) {
      if ((pages[i] & 1) == 0) return false;
    }
    at += piece;
  }
  return true;
}

void MappedRange::NoteTouched(uint64_t end) {
  if (touched_.load(std::memory_order_relaxed) < end) touched_.store(end, std::memory_order_relaxed);
}

Status MappedRange::CheckRange(uint64_t position, uint64_t bytes) const {
  uint64_t mapped = size();
  if (position <= mapped && bytes <= mapped - position) return Status::Ok();
  return Status(Code::kInvalid, "bytes " + std::to_string(position) + "+" + std::to_string(bytes) +
                                    " are not in a mapping of " + std::to_string(mapped));
}

}  // namespace varve
