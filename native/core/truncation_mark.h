// SPDX-License-Identifier: Apache-2.0
// TruncationMark: a small file of varve's own in a partition's directory, `varve-truncation-mark`, that holds from a truncation to the
// next checkpoint of the log directory. The checkpoints are written seldom and for all logs at once; until then the recovery point
// and the log start on disk may say more than is left, and bytes appended behind the cut would pass for synced.
//
//   varve-truncation-mark 1\n
//   <recoveryPointMax> <logStart> <CRC32C of the two numbers as written, 8 hex digits>\n
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/status.h"
#include "core/vfs.h"

namespace varve {

struct TruncationMark {
  static constexpr const char* kName = "varve-truncation-mark";

  /// Only below it may anything be taken for durable.
  int64_t recovery_point_max = 0;
  /// Where the log begins when there is no segment, and what its start was lowered to; -1: the start did not move.
  int64_t log_start = -1;
  bool operator==(const TruncationMark&) const = default;

  /// Replaces the mark, durably.
  Status Write(Vfs& vfs, const std::string& directory) const;
  /// The mark, if there is one. A damaged one says that nothing is known to be durable.
  static Result<std::optional<TruncationMark>> Read(Vfs& vfs, const std::string& directory);
  static Status Remove(Vfs& vfs, const std::string& directory);
};

}  // namespace varve
