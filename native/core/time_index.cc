// SPDX-License-Identifier: Apache-2.0
#include "core/time_index.h"

#include <algorithm>
#include <string>

namespace varve {
namespace {

constexpr int kSearchAttempts = 4;
/// One entry, and the one that closes the segment.
constexpr uint32_t kEntriesMin = 2;

int64_t Timestamp(const std::array<uint64_t, 2>& entry) { return static_cast<int64_t>(entry[0]); }
uint32_t RelativeOffset(const std::array<uint64_t, 2>& entry) { return static_cast<uint32_t>(entry[1]); }

Status Corrupt(size_t slot, const char* what) {
  return Status(Code::kCorrupt, "time index: entry " + std::to_string(slot) + ' ' + what + "; rebuild it");
}

void StoreEntry(const std::array<uint64_t, 2>& entry, uint8_t* to) {
  StoreU64(to, entry[0]);
  StoreU32(to + 8, RelativeOffset(entry));
}

bool IsZeroEntry(const uint8_t* entry) { return LoadU64(entry) == 0 && LoadU32(entry + 8) == 0; }

}  // namespace

TimeIndex::TimeIndex(int64_t base_offset, uint32_t index_bytes_max)
    : base_offset_(base_offset),
      entries_max_(std::max(index_bytes_max / kTimeIndexEntryBytes, kEntriesMin)) {}

TimeIndex::TimeIndex(int64_t base_offset, uint32_t index_bytes_max, uint32_t first_capacity)
    : base_offset_(base_offset),
      entries_max_(std::max(index_bytes_max / kTimeIndexEntryBytes, kEntriesMin)),
      entries_(first_capacity) {}

Result<std::unique_ptr<TimeIndex>> TimeIndex::Load(Bytes file, const IndexBounds& bounds) {
  if (file.size() % kTimeIndexEntryBytes != 0) {
    return Status(Code::kCorrupt,
                  "time index: " + std::to_string(file.size()) + " bytes are no multiple of 12; rebuild it");
  }
  size_t count = file.size() / kTimeIndexEntryBytes;
  const size_t slots = count;
  while (count > 0 && IsZeroEntry(&file[(count - 1) * kTimeIndexEntryBytes])) count--;
  // A segment of records from 1970-01-01 has a first entry that looks like space never written; Kafka's
  // preallocated files are never as short as one entry.
  if (count == 0 && slots == 1) count = 1;
  std::unique_ptr<TimeIndex> index(
      new TimeIndex(bounds.base_offset, bounds.index_bytes_max, static_cast<uint32_t>(count)));
  Entries::Entry previous = {static_cast<uint64_t>(int64_t{-1}), 0};
  for (size_t slot = 0; slot < count; slot++) {
    const uint8_t* at = &file[slot * kTimeIndexEntryBytes];
    const Entries::Entry entry = {LoadU64(at), LoadU32(at + 8)};
    if (RelativeOffset(entry) > kRelativeOffsetMax) return Corrupt(slot, "has a negative offset");
    if (Timestamp(entry) <= Timestamp(previous)) return Corrupt(slot, "has no rising timestamp");
    if (RelativeOffset(entry) < RelativeOffset(previous)) return Corrupt(slot, "has a falling offset");
    if (bounds.base_offset + RelativeOffset(entry) >= bounds.next_offset) {
      return Corrupt(slot, "is for an offset behind the segment's end");
    }
    index->entries_.Append(entry);
    previous = entry;
  }
  index->file_state_.persisted_count = static_cast<uint32_t>(count);
  return index;
}

TimeIndexEntry TimeIndex::Decode(const Entries::Entry& entry) const {
  return {Timestamp(entry), base_offset_ + RelativeOffset(entry)};
}

bool TimeIndex::MaybeAppend(int64_t timestamp, int64_t offset, bool closing) {
  if (closing ? entries_.count() >= entries_max_ : IsFull()) return false;
  if (offset < base_offset_ || offset - base_offset_ > kRelativeOffsetMax) return false;
  const TimeIndexEntry last = Last();
  if (timestamp <= last.timestamp || offset < last.offset) return false;
  entries_.Append({static_cast<uint64_t>(timestamp), static_cast<uint64_t>(offset - base_offset_)});
  return true;
}

template <typename Before>
TimeIndexEntry TimeIndex::Search(Before before) const {
  for (int attempt = 0; attempt < kSearchAttempts; attempt++) {
    const Entries::Snapshot snapshot = entries_.Take();
    const uint32_t found = entries_.PartitionPoint(snapshot.count, before);
    const TimeIndexEntry answer =
        found == 0 ? TimeIndexEntry{-1, base_offset_} : Decode(entries_.Get(found - 1));
    if (entries_.Unchanged(snapshot)) return answer;
  }
  return {-1, base_offset_};
}

TimeIndexEntry TimeIndex::Lookup(int64_t timestamp) const {
  return Search([timestamp](const Entries::Entry& entry) { return Timestamp(entry) <= timestamp; });
}

TimeIndexEntry TimeIndex::Last() const {
  return Search([](const Entries::Entry&) { return true; });
}

void TimeIndex::TruncateTo(int64_t offset) {
  const uint32_t keep = entries_.PartitionPoint(
      entries_.count(),
      [this, offset](const Entries::Entry& entry) { return base_offset_ + RelativeOffset(entry) < offset; });
  entries_.TruncateTo(keep);
  file_state_.OnTruncate(keep);
}

Status TimeIndex::Persist(File& file) {
  return PersistEntries<kTimeIndexEntryBytes>(entries_, StoreEntry, file, &file_state_);
}

std::vector<uint8_t> TimeIndex::Encode() const {
  const uint32_t count = entries_.count();
  std::vector<uint8_t> bytes(size_t{count} * kTimeIndexEntryBytes);
  for (uint32_t slot = 0; slot < count; slot++) {
    StoreEntry(entries_.Get(slot), &bytes[size_t{slot} * kTimeIndexEntryBytes]);
  }
  return bytes;
}

}  // namespace varve
