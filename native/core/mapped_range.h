// SPDX-License-Identifier: Apache-2.0
// MappedRange: an mmap'ed range of a descriptor and its end: what the Mappings of both Vfs share. Knows
// nothing of files' names or sizes; what Prefault means is its owner's.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "core/status.h"
#include "core/vfs.h"

namespace varve {

uint64_t PageBytes();

inline uint64_t RoundUp(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

/// mmap of [position, position + bytes) of `fd`. `what` names the file in a failure.
Result<uint8_t*> MapRange(int fd, uint64_t position, uint64_t bytes, MapMode mode, const std::string& what);

/// munmap in pieces of 8 MiB, from the end: one call for a whole segment's pages holds the process's mmap lock for
/// milliseconds, and every page fault of every thread waits for it. Behind `touched`, where there should be no pages,
/// the pieces grow as long as they are quick: most of a segment's mapping is space that was never used.
void UnmapRange(uint8_t* data, uint64_t bytes, uint64_t touched);

/// A Mapping's common part: owns the range and takes it down.
class MappedRange : public Mapping {
 public:
  ~MappedRange() override;
  void Cut(uint64_t size) override;
  bool Resident(uint64_t position, uint64_t bytes) const override;

 protected:
  /// `touched`: pages behind it are not used yet, as far as is known.
  MappedRange(uint8_t* data, uint64_t bytes, uint64_t touched) : Mapping(data, bytes), touched_(touched) {}
  void NoteTouched(uint64_t end);
  /// kInvalid when [position, position + bytes) is not within the mapping.
  Status CheckRange(uint64_t position, uint64_t bytes) const;

 private:
  std::atomic<uint64_t> touched_;
};

}  // namespace varve
