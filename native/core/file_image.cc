// SPDX-License-Identifier: Apache-2.0
#include "core/file_image.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace varve {
namespace {

/// How the un-synced sectors of one file fared. Write-back is seldom uniform: often all of a file or none of
/// it got out, or the front of it.
struct LossPattern {
  uint64_t live_percent;  // chance of a sector to have got out
  uint64_t cut;           // behind it (before it when `reversed`) nothing did
  bool reversed;

  static LossPattern Draw(uint64_t bytes, LossRandom& random) {
    static constexpr std::array<uint64_t, 6> kPercents = {0, 10, 50, 50, 90, 100};
    LossPattern pattern;
    pattern.live_percent = kPercents[random.Below(kPercents.size())];
    pattern.cut = random.OneIn(2) ? bytes : random.Below(bytes + 1);
    pattern.reversed = pattern.cut < bytes && random.OneIn(2);
    return pattern;
  }

  bool IsLive(uint64_t position, LossRandom& random) const {
    bool may = reversed ? position >= cut : position < cut;
    return random.Below(100) < live_percent && may;
  }
};

void FitBytes(FileImage* image) {
  if (image->bytes.size() > image->size) image->bytes.resize(image->size);
}

uint64_t DrawSize(const FileImage& durable, const FileImage& live, uint64_t smallest_size,
                  LossRandom& random) {
  uint64_t low = std::min({durable.size, live.size, smallest_size});
  uint64_t high = std::max(durable.size, live.size);
  if (low == high) return high;
  switch (random.Below(4)) {
    case 0:
      return durable.size;
    case 1:
      return low + random.Below(high - low + 1);
    default:
      return live.size;
  }
}

}  // namespace

void FileImage::CopyOut(uint64_t position, MutableBytes to) const {
  uint64_t held = position >= bytes.size() ? 0 : std::min<uint64_t>(to.size(), bytes.size() - position);
  if (held > 0) std::memcpy(to.data(), bytes.data() + position, held);
  if (held < to.size()) std::memset(to.data() + held, 0, to.size() - held);
}

void FileImage::Write(uint64_t position, Bytes from) {
  if (from.empty()) return;
  uint64_t end = position + from.size();
  if (bytes.size() < end) bytes.resize(end);
  std::memcpy(bytes.data() + position, from.data(), from.size());
  size = std::max(size, end);
}

void FileImage::Resize(uint64_t to) {
  size = to;
  FitBytes(this);
}

uint64_t LossRandom::Next() {
  state_ += 0x9E3779B97F4A7C15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

FileImage MixImages(const FileImage& durable, const FileImage& live, uint64_t smallest_size,
                    MemoryVfs::Loss loss, LossRandom& random) {
  if (loss == MemoryVfs::Loss::kAll) return durable;
  if (loss == MemoryVfs::Loss::kNone) return live;
  FileImage found;
  found.size = DrawSize(durable, live, smallest_size, random);
  uint64_t end = std::min<uint64_t>(found.size, std::max(durable.bytes.size(), live.bytes.size()));
  LossPattern pattern = LossPattern::Draw(end, random);
  bool zeros_possible = smallest_size < std::min(durable.size, live.size);
  found.bytes.resize(end);
  durable.CopyOut(0, found.bytes);
  uint8_t sector_live[kSectorBytes];
  for (uint64_t at = 0; at < end; at += kSectorBytes) {
    uint64_t length = std::min(kSectorBytes, end - at);
    uint8_t* sector = found.bytes.data() + at;
    // In place while both have the bytes: most sectors are equal, and this loop is what a crash costs.
    const uint8_t* other = sector_live;
    if (at + length <= live.bytes.size()) {
      other = live.bytes.data() + at;
    } else {
      live.CopyOut(at, {sector_live, length});
    }
    if (std::memcmp(sector, other, length) == 0) continue;
    bool is_live = pattern.IsLive(at, random);
    if (random.OneIn(8)) {
      uint64_t torn = 1 + random.Below(kSectorBytes - 1);
      if (torn >= length) torn = length;
      if (is_live) {
        std::memcpy(sector, other, torn);
      } else {
        std::memcpy(sector + torn, other + torn, length - torn);
      }
    } else if (is_live) {
      std::memcpy(sector, other, length);
    }
    if (zeros_possible && at + length > smallest_size && random.OneIn(8)) {
      uint64_t from = std::max(at, smallest_size) - at;
      std::memset(sector + from, 0, length - from);
    }
  }
  return found;
}

void SyncChangedPages(const FileImage& believed_clean, const FileImage& live, FileImage* durable) {
  durable->Resize(live.size);
  uint64_t end = std::min<uint64_t>(live.size, std::max(live.bytes.size(), believed_clean.bytes.size()));
  uint8_t now[kImagePageBytes];
  uint8_t then[kImagePageBytes];
  for (uint64_t at = 0; at < end; at += kImagePageBytes) {
    uint64_t length = std::min(kImagePageBytes, end - at);
    live.CopyOut(at, {now, length});
    believed_clean.CopyOut(at, {then, length});
    if (std::memcmp(now, then, length) != 0) durable->Write(at, {now, length});
  }
}

}  // namespace varve
