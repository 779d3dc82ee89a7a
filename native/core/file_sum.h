// SPDX-License-Identifier: Apache-2.0
// FileSum: what a sidecar remembers of a small file that has no checksum of its own.
#pragma once

#include <cstdint>

#include "core/bytes.h"
#include "core/crc32c.h"

namespace varve {

struct FileSum {
  uint32_t size_bytes = 0;
  uint32_t crc = 0;  ///< CRC32C
  bool operator==(const FileSum&) const = default;

  /// `file` is below 4 GiB.
  static FileSum Of(Bytes file) { return {static_cast<uint32_t>(file.size()), Crc32c(0, file)}; }
};

}  // namespace varve
