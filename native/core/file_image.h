// SPDX-License-Identifier: Apache-2.0
// FileImage: a file's bytes at one moment, and what a power cut makes of two of them (what was synced, and
// what the machine had in memory). Pure; the randomness is the caller's seed.
#pragma once

#include <cstdint>
#include <vector>

#include "core/vfs_memory.h"

namespace varve {

struct FileImage {
  std::vector<uint8_t> bytes;  ///< at most `size`; zeros behind its end
  uint64_t size = 0;

  /// The byte that a reader of this image sees; zeros behind the end.
  uint8_t At(uint64_t position) const { return position < bytes.size() ? bytes[position] : 0; }
  /// Copies [position, position + to.size()) out, zeros where there is nothing.
  void CopyOut(uint64_t position, MutableBytes to) const;
  void Write(uint64_t position, Bytes from);
  void Resize(uint64_t to);
};

/// SplitMix64: small, fast, and the same on every machine.
class LossRandom {
 public:
  explicit LossRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  /// In [0, end); end > 0.
  uint64_t Below(uint64_t end) { return Next() % end; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

inline constexpr uint64_t kSectorBytes = 512;
inline constexpr uint64_t kImagePageBytes = 4096;

/// What is found after a power cut. Where the two images agree, that; where they differ, each sector of 512
/// bytes is by chance the durable one, the live one, or one up to some byte and the other behind it. The size
/// is either's or between; what has no bytes reads as zeros. `smallest_size` is the smallest that the file
/// had since it was synced: what lies behind was given back to the disk once, and may be zeros too.
FileImage MixImages(const FileImage& durable, const FileImage& live, uint64_t smallest_size,
                    MemoryVfs::Loss loss, LossRandom& random);

/// A sync that succeeds after one that failed: pages of 4 KiB that changed since then (`believed_clean` is
/// the live image of that moment) reach the durable image, all others stay lost though the kernel calls them
/// clean.
void SyncChangedPages(const FileImage& believed_clean, const FileImage& live, FileImage* durable);

}  // namespace varve
