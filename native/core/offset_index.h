// SPDX-License-Identifier: Apache-2.0
// OffsetIndex: from an offset to where in one segment's .log file to begin looking for it; Kafka's
// OffsetIndex and its file format (`%020d.index`). Lives in heap, never in a mapping: the file is only
// written to (Persist) and loaded from. Does not decide how often there is an entry: the segment adds one
// when more than index.interval.bytes were appended since the last one, before counting the batch at hand, so
// the first batch of a segment never has an entry.
//
//   entry, 8 bytes, big-endian:
//   offset size field
//        0    4 relativeOffset   last offset of the batch - the segment's base offset; strictly rising
//        4    4 position         of the batch's first byte in the .log file; strictly rising, never 0
//
// There is no header and no checksum: every entry is a hint, to be checked against the batch header it points
// to. The seal of a closed segment holds the file's CRC32C. Kafka preallocates the file
// of an active segment with zeros and leaves them there when it is killed; Load cuts them off.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "core/bytes.h"
#include "core/index_entries.h"
#include "core/index_file.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

inline constexpr uint32_t kOffsetIndexEntryBytes = 8;
/// Relative offsets are int32: a segment rolls before an offset beyond base offset + this.
inline constexpr int64_t kRelativeOffsetMax = std::numeric_limits<int32_t>::max();

struct OffsetPosition {
  int64_t offset = 0;
  uint32_t position = 0;
  bool operator==(const OffsetPosition&) const = default;
};

/// What the file next to an index allows its entries to be.
struct IndexBounds {
  int64_t base_offset = 0;
  int64_t next_offset = std::numeric_limits<int64_t>::max();  ///< no entry is for an offset at or above
  uint32_t log_bytes = std::numeric_limits<uint32_t>::max();  ///< size of the .log file
  uint32_t index_bytes_max = 10u << 20;                       ///< segment.index.bytes
};

/// Threading: Append and TruncateTo are the owner's (the append lock); everything const from any thread
/// without a lock. Persist may run beside Append and readers, not beside TruncateTo or another Persist.
class OffsetIndex {
 public:
  OffsetIndex(int64_t base_offset, uint32_t index_bytes_max);

  /// An index from the bytes of its file, ready to be searched and (an active segment) to be appended to.
  /// kCorrupt when the size is no multiple of an entry, or an entry breaks order or `bounds`: rebuild it from
  /// the log.
  static Result<std::unique_ptr<OffsetIndex>> Load(Bytes file, const IndexBounds& bounds);

  int64_t base_offset() const { return base_offset_; }
  uint32_t entry_count() const { return entries_.count(); }
  uint64_t size_bytes() const { return uint64_t{entry_count()} * kOffsetIndexEntryBytes; }
  /// No room for one more within segment.index.bytes: the log rolls before the next append.
  bool IsFull() const { return entries_.count() >= entries_max_; }
  /// False for an offset that relative offsets cannot express: roll first.
  bool CanAppendOffset(int64_t offset) const {
    return offset >= base_offset_ && offset - base_offset_ <= kRelativeOffsetMax;
  }

  /// Adds "the batch that ends with `last_offset` begins at `position`". False, with nothing changed, when
  /// full or when not above the last entry in both: a missing hint does no harm.
  bool Append(int64_t last_offset, uint32_t position);

  /// The entry with the greatest offset <= `target`, or {base offset, 0}: the batch holding `target` begins
  /// at this position or behind it.
  OffsetPosition Lookup(int64_t target) const;
  /// The entry with the greatest position <= `position`, or {base offset, 0}: a batch boundary from which to
  /// walk to `position`.
  OffsetPosition LookupPosition(uint32_t position) const;
  /// Kafka's lastOffset(): {base offset, 0} when there is no entry.
  OffsetPosition Last() const;

  /// Drops the entries for offsets >= `offset`. A reader at that moment gets an answer from before or after
  /// it.
  void TruncateTo(int64_t offset);

  /// Brings `file` to exactly the entries there are: writes those added since the last Persist to it and cuts
  /// what is behind them (stale entries, Kafka's zeros). `file` is the same on every call. Syncs nothing.
  Status Persist(File& file);
  /// The file as Persist would leave it.
  std::vector<uint8_t> Encode() const;

 private:
  using Entries = IndexEntries<1>;

  OffsetIndex(int64_t base_offset, uint32_t index_bytes_max, uint32_t first_capacity);
  OffsetPosition Decode(const Entries::Entry& entry) const;
  template <typename Before>
  OffsetPosition Search(Before before) const;

  const int64_t base_offset_;
  const uint32_t entries_max_;
  Entries entries_;
  IndexFileState file_state_;
};

}  // namespace varve
