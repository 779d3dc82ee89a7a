// SPDX-License-Identifier: Apache-2.0
// Recovery as a pure decision over bytes: which prefix of a segment is whole batches in order, and what to
// call the rest. Owns no file, changes nothing; log_loader turns the answer into truncation and rebuilt
// indexes. Apache Kafka's counterpart: LogSegment.recover.
//
// What follows the valid prefix is one of:
//   kClean          nothing: the bytes end with a whole batch
//   kTruncateTail   zero fill of allocated space, or a batch that a crash left unfinished, and nothing valid behind
//   kMidCorruption  a batch is broken although valid later batches follow it. After a power cut that is ordinary where
//                   nothing was synced (pages reach the disk in any order); in synced bytes it is bit rot.
#pragma once

#include <cstdint>
#include <functional>

#include "core/bytes.h"
#include "core/record_batch.h"

namespace varve {

enum class ScanVerdict : uint8_t { kClean, kTruncateTail, kMidCorruption };

/// Why the scan stopped, for the log and for tests.
enum class ScanStop : uint8_t {
  kEnd,         ///< all bytes were batches
  kZeroFill,    ///< nothing but zeros from here on
  kShortBatch,  ///< fewer bytes left than the batch (or its header) needs
  kBadHeader,   ///< magic, length, counts or base offset make no sense
  kBadCrc,
  kOffsetGap,  ///< a base offset that does not continue the log
};
const char* ScanStopName(ScanStop stop);

struct ScanOptions {
  /// What the first batch's base offset has to be; at least, where there are holes.
  int64_t expected_offset = 0;
  /// Offsets are relative to it in the indexes: the last offset of each batch is at most 2^31-1 above.
  int64_t segment_base_offset = 0;
  /// A hole in the offsets, as compaction leaves it, is taken for one where the next batch lies behind it: a changed
  /// base offset would overlap that. In front of the last batch only with this: there the two look alike.
  bool gaps_allowed = false;
  /// False only where a seal or a clean stop vouches for the bytes.
  bool verify_crc = true;
};

struct ScanResult {
  /// Bytes of whole, valid, consecutive batches from the front.
  uint64_t valid_bytes = 0;
  /// Behind the last of them (expected_offset when there is none).
  int64_t next_offset = 0;
  uint64_t batch_count = 0;
  ScanVerdict verdict = ScanVerdict::kClean;
  ScanStop stop = ScanStop::kEnd;
};

/// Called for each valid batch in order; `position` counts from the front of the bytes scanned.
using ScanVisitor = std::function<void(const BatchHeader& header, uint64_t position, Bytes batch)>;

/// Reads batches from the front of `bytes` until one is not valid. `visit` may be empty.
ScanResult ScanBatches(Bytes bytes, const ScanOptions& options, const ScanVisitor& visit);

/// Whether a header can be one of a stored batch: lengths, counts and attributes in range, offsets ascending.
bool PlausibleHeader(const BatchHeader& header);

/// Whether bytes behind a break hold a valid batch that continues at or above `expected_offset`: tells
/// kMidCorruption from a torn tail. Work is bounded by a small multiple of the bytes.
bool FindValidBatch(Bytes bytes, int64_t expected_offset);

}  // namespace varve
