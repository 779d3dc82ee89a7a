// SPDX-License-Identifier: Apache-2.0
// MappedRange: an mmap'ed range of a descriptor and its end: what the Mappings of both Vfs share. Knows
// nothing of files' names or sizes; what Prefault means is its owner's.
#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"
#include "core/vfs.h"

namespace varve {

uint64_t PageBytes();

inline uint64_t RoundUp(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

/// mmap of [position, position + bytes) of `fd`. `what` names the file in a failure.
Result<uint8_t*> MapRange(int fd, uint64_t position, uint64_t bytes, MapMode mode, const std::string& what);

/// munmap in pieces, from the end: one call for 512 MiB of pages holds the process's mmap lock for 1.5 ms,
/// and every page fault of every thread waits for it. A piece is 8 MiB, and up to 64 MiB where there turns
/// out to be little to take down: most of a segment's mapping is space that was never touched.
void UnmapRange(uint8_t* data, uint64_t bytes);

/// A Mapping's common part: owns the range and takes it down.
class MappedRange : public Mapping {
 public:
  ~MappedRange() override;
  void Cut(uint64_t size) override;
  bool Resident(uint64_t position, uint64_t bytes) const override;

 protected:
  MappedRange(uint8_t* data, uint64_t bytes) : Mapping(data, bytes) {}
  /// kInvalid when [position, position + bytes) is not within the mapping.
  Status CheckRange(uint64_t position, uint64_t bytes) const;
};

}  // namespace varve
