// SPDX-License-Identifier: Apache-2.0
#include "core/offset_index.h"

#include <algorithm>
#include <string>

namespace varve {
namespace {

/// Truncations that may come between a reader's steps before it settles for the front of the segment.
constexpr int kSearchAttempts = 4;

uint64_t Pack(uint32_t relative_offset, uint32_t position) {
  return uint64_t{relative_offset} << 32 | position;
}
uint32_t RelativeOffset(uint64_t packed) { return static_cast<uint32_t>(packed >> 32); }
uint32_t Position(uint64_t packed) { return static_cast<uint32_t>(packed); }

Status Corrupt(size_t slot, const char* what) {
  return Status(Code::kCorrupt, "offset index: entry " + std::to_string(slot) + ' ' + what + "; rebuild it");
}

}  // namespace

OffsetIndex::OffsetIndex(int64_t base_offset, uint32_t index_bytes_max)
    : base_offset_(base_offset),
      entries_max_(std::max(index_bytes_max / kOffsetIndexEntryBytes, uint32_t{1})) {}

OffsetIndex::OffsetIndex(int64_t base_offset, uint32_t index_bytes_max, uint32_t first_capacity)
    : base_offset_(base_offset),
      entries_max_(std::max(index_bytes_max / kOffsetIndexEntryBytes, uint32_t{1})),
      entries_(first_capacity) {}

Result<std::unique_ptr<OffsetIndex>> OffsetIndex::Load(Bytes file, const IndexBounds& bounds) {
  if (file.size() % kOffsetIndexEntryBytes != 0) {
    return Status(Code::kCorrupt,
                  "offset index: " + std::to_string(file.size()) + " bytes are no multiple of 8; rebuild it");
  }
  // No batch with an entry is at position 0, so zeros are space that was never written.
  size_t count = file.size() / kOffsetIndexEntryBytes;
  while (count > 0 && LoadU64(&file[(count - 1) * kOffsetIndexEntryBytes]) == 0) count--;
  std::unique_ptr<OffsetIndex> index(
      new OffsetIndex(bounds.base_offset, bounds.index_bytes_max, static_cast<uint32_t>(count)));
  uint64_t previous = 0;
  for (size_t slot = 0; slot < count; slot++) {
    const uint64_t packed = LoadU64(&file[slot * kOffsetIndexEntryBytes]);
    if (RelativeOffset(packed) > kRelativeOffsetMax) return Corrupt(slot, "has a negative offset");
    if (slot > 0 && RelativeOffset(packed) <= RelativeOffset(previous))
      return Corrupt(slot, "has no rising offset");
    if (Position(packed) <= Position(previous)) return Corrupt(slot, "has no rising position");
    if (Position(packed) >= bounds.log_bytes) return Corrupt(slot, "points behind the end of the log file");
    if (bounds.base_offset + RelativeOffset(packed) >= bounds.next_offset) {
      return Corrupt(slot, "is for an offset behind the segment's end");
    }
    index->entries_.Append({packed});
    previous = packed;
  }
  index->file_state_.persisted_count = static_cast<uint32_t>(count);
  return index;
}

OffsetPosition OffsetIndex::Decode(const Entries::Entry& entry) const {
  return {base_offset_ + RelativeOffset(entry[0]), Position(entry[0])};
}

bool OffsetIndex::Append(int64_t last_offset, uint32_t position) {
  if (IsFull() || !CanAppendOffset(last_offset) || position == 0) return false;
  if (const uint32_t count = entries_.count(); count > 0) {
    const OffsetPosition last = Decode(entries_.Get(count - 1));
    if (last_offset <= last.offset || position <= last.position) return false;
  }
  entries_.Append({Pack(static_cast<uint32_t>(last_offset - base_offset_), position)});
  return true;
}

template <typename Before>
OffsetPosition OffsetIndex::Search(Before before) const {
  for (int attempt = 0; attempt < kSearchAttempts; attempt++) {
    const Entries::Snapshot snapshot = entries_.Take();
    const uint32_t found = entries_.PartitionPoint(snapshot.count, before);
    const OffsetPosition answer =
        found == 0 ? OffsetPosition{base_offset_, 0} : Decode(entries_.Get(found - 1));
    if (entries_.Unchanged(snapshot)) return answer;
  }
  return {base_offset_, 0};
}

OffsetPosition OffsetIndex::Lookup(int64_t target) const {
  if (target < base_offset_) return {base_offset_, 0};
  const uint64_t relative = std::min<uint64_t>(
      static_cast<uint64_t>(target) - static_cast<uint64_t>(base_offset_), uint64_t{kRelativeOffsetMax});
  return Search([relative](const Entries::Entry& entry) { return RelativeOffset(entry[0]) <= relative; });
}

OffsetPosition OffsetIndex::LookupPosition(uint32_t position) const {
  return Search([position](const Entries::Entry& entry) { return Position(entry[0]) <= position; });
}

OffsetPosition OffsetIndex::Last() const {
  return Search([](const Entries::Entry&) { return true; });
}

void OffsetIndex::TruncateTo(int64_t offset) {
  const uint32_t keep =
      entries_.PartitionPoint(entries_.count(), [this, offset](const Entries::Entry& entry) {
        return base_offset_ + RelativeOffset(entry[0]) < offset;
      });
  entries_.TruncateTo(keep);
  file_state_.OnTruncate(keep);
}

Status OffsetIndex::Persist(File& file) {
  return PersistEntries<kOffsetIndexEntryBytes>(
      entries_, [](const Entries::Entry& entry, uint8_t* to) { StoreU64(to, entry[0]); }, file, &file_state_);
}

std::vector<uint8_t> OffsetIndex::Encode() const {
  const uint32_t count = entries_.count();
  std::vector<uint8_t> bytes(size_t{count} * kOffsetIndexEntryBytes);
  for (uint32_t slot = 0; slot < count; slot++) {
    StoreU64(&bytes[size_t{slot} * kOffsetIndexEntryBytes], entries_.Get(slot)[0]);
  }
  return bytes;
}

}  // namespace varve
