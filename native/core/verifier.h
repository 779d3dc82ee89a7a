// SPDX-License-Identifier: Apache-2.0
// SegmentVerifier: which bytes of one segment may be served. Bytes written or scanned by this process are
// good by definition; all others are checked when they are first touched: against the seal's block CRCs where
// there is a seal, else batch by batch (CRC, header, ascending base offsets). What fails is kCorrupt for
// ever: it is never served and never cut.
//
// Threading: any thread; one lock, taken only for bytes not known to be good yet.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/seal.h"
#include "core/status.h"

namespace varve {

class SegmentVerifier {
 public:
  /// Bytes at and behind `trusted_from` need no check. `name` is the file's, for messages.
  SegmentVerifier(std::string name, int64_t base_offset, uint32_t trusted_from);

  /// The blocks that `seal` covers are checked against it. Before the first Check.
  void SetSeal(const Seal& seal);

  bool AllTrusted() const { return all_trusted_.load(std::memory_order_acquire); }

  /// Whether [from, to) of `bytes` may be served; `bytes` is the segment as published. `from` is a batch boundary (a
  /// sealed segment does not mind), `to` need not be one. No batch reaches to `next_offset` or beyond.
  Status Check(Bytes bytes, uint32_t from, uint32_t to, int64_t next_offset);

  /// Everything is good from here on (a scan has seen all of it).
  void TrustAll();

 private:
  struct Range {
    uint32_t from;
    uint32_t to;
    int64_t next_offset;  ///< behind its last batch
  };
  /// Beyond this many separate ranges the oldest knowledge is dropped and gained again when needed.
  static constexpr size_t kRangesMax = 1024;

  Status CheckBlocks(Bytes bytes, uint32_t from, uint32_t to);
  Status CheckBatches(Bytes bytes, uint32_t from, uint32_t to, int64_t next_offset);
  Status Corrupt(uint64_t position, const std::string& what) const;
  bool BlockVerified(uint32_t block) const;
  void AddRange(const Range& range);

  const std::string name_;
  const int64_t base_offset_;
  const uint32_t trusted_from_;
  std::atomic<bool> all_trusted_;

  std::mutex mutex_;
  std::optional<Seal> seal_;
  uint32_t sealed_bytes_ = 0;  ///< min(the seal's size, trusted_from_)
  std::unique_ptr<std::atomic<uint64_t>[]> verified_blocks_;
  uint32_t verified_block_count_ = 0;
  std::vector<Range> ranges_;  ///< verified batches of unsealed bytes, sorted, disjoint; mutex_
};

}  // namespace varve
