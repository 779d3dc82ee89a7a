// SPDX-License-Identifier: Apache-2.0
// TimeIndex: from a timestamp to an offset in one segment from which to look for it; Kafka's TimeIndex and
// its file format (`%020d.timeindex`). Same life as OffsetIndex: in heap, its file only written and loaded.
// The segment adds an entry together with each entry of the offset index, and one more, with the segment's
// largest timestamp, when it closes.
//
//   entry, 12 bytes, big-endian:
//   offset size field
//        0    8 timestamp        largest of the segment up to and with relativeOffset; strictly rising
//        8    4 relativeOffset   last offset of the first batch with that maxTimestamp - base offset; never
//                                falling
//
// An entry says: a record with a timestamp above `timestamp` comes behind `relativeOffset`. The last one of a
// closed segment is its largest timestamp. No checksum: a hint, as in OffsetIndex.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/bytes.h"
#include "core/index_entries.h"
#include "core/index_file.h"
#include "core/offset_index.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

inline constexpr uint32_t kTimeIndexEntryBytes = 12;

/// timestamp -1 with the base offset: nothing indexed (Kafka's TimestampOffset with NO_TIMESTAMP).
struct TimeIndexEntry {
  int64_t timestamp = -1;
  int64_t offset = 0;
  bool operator==(const TimeIndexEntry&) const = default;
};

/// Threading as OffsetIndex.
class TimeIndex {
 public:
  TimeIndex(int64_t base_offset, uint32_t index_bytes_max);

  /// As OffsetIndex::Load; `bounds.log_bytes` is not used.
  static Result<std::unique_ptr<TimeIndex>> Load(Bytes file, const IndexBounds& bounds);

  int64_t base_offset() const { return base_offset_; }
  uint32_t entry_count() const { return entries_.count(); }
  uint64_t size_bytes() const { return uint64_t{entry_count()} * kTimeIndexEntryBytes; }
  /// One slot early: the last one is for the entry written when the segment closes.
  bool IsFull() const { return entries_.count() + 1 >= entries_max_; }

  /// Adds an entry when `timestamp` is above the last entry's. False when it is not, when the index is full
  /// or when `offset` lies below the last entry's. `closing`: the segment closes; the reserved slot may be
  /// used.
  bool MaybeAppend(int64_t timestamp, int64_t offset, bool closing = false);

  /// The entry with the greatest timestamp <= `timestamp`, or {-1, base offset}.
  TimeIndexEntry Lookup(int64_t timestamp) const;
  /// {-1, base offset} when there is none.
  TimeIndexEntry Last() const;

  /// Drops the entries for offsets >= `offset`.
  void TruncateTo(int64_t offset);

  /// As OffsetIndex::Persist.
  Status Persist(File& file);
  std::vector<uint8_t> Encode() const;

 private:
  using Entries = IndexEntries<2>;

  TimeIndex(int64_t base_offset, uint32_t index_bytes_max, uint32_t first_capacity);
  TimeIndexEntry Decode(const Entries::Entry& entry) const;
  template <typename Before>
  TimeIndexEntry Search(Before before) const;

  const int64_t base_offset_;
  const uint32_t entries_max_;
  Entries entries_;
  IndexFileState file_state_;
};

}  // namespace varve
