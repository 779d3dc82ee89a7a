// SPDX-License-Identifier: Apache-2.0
// LogImpl: reading and lookups, from any thread, on a snapshot of the segment list. A reader is bounded by a
// position that was published before it took the snapshot, so all bytes in front of it are written; what
// truncation or retention do meanwhile replaces the list, never the bytes.
#include <algorithm>

#include "core/batch_validator.h"
#include "core/log_impl.h"
#include "core/log_loader.h"

namespace varve {
namespace {

/// What one stored batch may decode to in a timestamp lookup.
constexpr uint64_t kDecodedBytesMax = uint64_t{1} << 30;

uint32_t LimitOf(const Segment& segment, const LogPosition& bound) {
  if (segment.base_offset() < bound.segment_base_offset) return segment.size();
  if (segment.base_offset() > bound.segment_base_offset) return 0;
  return std::min(bound.position, segment.size());
}

DecodeScratch& ThreadScratch() {
  static thread_local DecodeScratch scratch;
  return scratch;
}

/// The first record of the batch with timestamp >= `timestamp_ms` at or behind `from_offset`; offset -1:
/// none.
Result<TimestampOffset> RecordAtTimestamp(const MappedSegment& bytes, const BatchPlace& place,
                                          int64_t timestamp_ms, int64_t from_offset) {
  const BatchHeader& header = place.header;
  const Bytes batch{bytes.data() + place.position, header.SizeBytes()};
  TimestampOffset found;
  found.leader_epoch = header.partition_leader_epoch;
  if (header.timestamp_type() == TimestampType::kLogAppendTime) {
    found.timestamp_ms = header.max_timestamp;
    found.offset = std::max(header.base_offset, from_offset);
    return found;
  }
  DecodeScratch& scratch = ThreadScratch();
  Bytes records;
  const BatchError error = DecodeRecords(batch, header, kDecodedBytesMax, &scratch, &records);
  if (error == BatchError::kCodecUnavailable) {
    // Nobody here can look inside: the batch as a whole is the answer, a few records early at most.
    found.timestamp_ms = header.max_timestamp;
    found.offset = std::max(header.base_offset, from_offset);
    return found;
  }
  if (error != BatchError::kOk) return Status(Code::kCorrupt, BatchErrorText(error));
  RecordIterator iterator(records, header.record_count);
  for (RecordView record; iterator.Next(&record);) {
    const int64_t offset = header.base_offset + record.offset_delta;
    const int64_t timestamp = header.base_timestamp + record.timestamp_delta;
    if (offset < from_offset || timestamp < timestamp_ms) continue;
    found.timestamp_ms = timestamp;
    found.offset = offset;
    return found;
  }
  if (iterator.error() != BatchError::kOk) return Status(Code::kCorrupt, BatchErrorText(iterator.error()));
  return TimestampOffset{};
}

}  // namespace

// --- hints ---

void LogImpl::Remember(int64_t offset, uint64_t segment_id, uint32_t position) {
  std::lock_guard<std::mutex> lock(hint_mutex_);
  hints_[static_cast<uint64_t>(offset) * 0x9e3779b97f4a7c15u >> 61] = {offset, segment_id, position};
}

bool LogImpl::Recall(int64_t offset, uint64_t segment_id, uint32_t* position) {
  std::lock_guard<std::mutex> lock(hint_mutex_);
  const Hint& hint = hints_[static_cast<uint64_t>(offset) * 0x9e3779b97f4a7c15u >> 61];
  if (hint.offset != offset || hint.segment_id != segment_id) return false;
  *position = hint.position;
  return true;
}

// --- reading ---

Status LogImpl::FindBatch(int64_t offset, const LogPosition& bound, Found* found) {
  std::shared_ptr<const SegmentList> list = segments_.Load();
  for (size_t index = list->Floor(offset); index < list->size(); ++index) {
    const std::shared_ptr<Segment>& segment = (*list)[index];
    const uint32_t limit = LimitOf(*segment, bound);
    if (limit == 0) continue;
    Result<std::shared_ptr<const MappedSegment>> bytes = segment->Map();
    if (bytes.status().code() == Code::kNotFound) {
      // Truncated meanwhile: its next generation is in the list already, or will be at once.
      std::shared_ptr<const SegmentList> now = segments_.Load();
      if (now == list) return Status(Code::kNotFound, "");
      list = std::move(now);
      index = list->Floor(offset) - 1;
      continue;
    }
    if (!bytes.ok()) return bytes.status();
    uint32_t position = 0;
    Status status(Code::kNotFound, "");
    if (Recall(offset, segment->id(), &position)) {
      status = segment->BatchAt(**bytes, position, limit, &found->place.header);
      found->place.position = position;
      if (status.ok() && found->place.header.LastOffset() < offset) status = Status(Code::kNotFound, "");
    }
    if (!status.ok()) status = segment->Locate(**bytes, offset, limit, &found->place);
    if (status.code() == Code::kNotFound) continue;
    VARVE_TRY(status);
    found->segment = segment;
    found->bytes = std::move(*bytes);
    found->limit = limit;
    return Status::Ok();
  }
  return Status(Code::kNotFound, "");
}

Status LogImpl::Read(int64_t offset, const LogPosition& bound, const ReadOptions& options, LogSlice* out) {
  *out = LogSlice{};
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  const int64_t start = log_start_offset();
  if (offset < start || offset > bound.offset) {
    return Status(Code::kOutOfRange, "offset " + std::to_string(offset) + " is not within [" +
                                         std::to_string(start) + ", " + std::to_string(bound.offset) +
                                         "] of " + path());
  }
  if (offset == bound.offset) return Status::Ok();
  Found found;
  Status status = FindBatch(offset, bound, &found);
  if (status.code() == Code::kNotFound) return Status::Ok();
  VARVE_TRY(status);
  const uint32_t position = found.place.position;
  const uint64_t available = found.limit - position;
  const uint64_t first = std::min(found.place.header.SizeBytes(), available);
  uint64_t bytes = std::min<uint64_t>(available, options.max_bytes);
  if (options.at_least_one_batch) bytes = std::max(bytes, first);
  const bool to_bound = bytes == available && found.segment->base_offset() == bound.segment_base_offset &&
                        found.limit == bound.position;
  int64_t next_offset = to_bound ? bound.offset : -1;
  if (options.whole_batches && bytes < available) {
    uint32_t boundary = position;
    VARVE_TRY(found.segment->LastBoundary(*found.bytes, position, position + static_cast<uint32_t>(bytes),
                                          &boundary, &next_offset));
    bytes = boundary - position;
  }
  if (bytes == 0) return Status::Ok();
  status = found.segment->Verify(*found.bytes, position, position + static_cast<uint32_t>(bytes));
  if (status.code() == Code::kCorrupt && bytes > first) {
    // The damage may lie behind the batch that was asked for: that one is still good.
    bytes = first;
    next_offset = -1;
    status = found.segment->Verify(*found.bytes, position, position + static_cast<uint32_t>(bytes));
  }
  VARVE_TRY(status);
  if (next_offset >= 0) Remember(next_offset, found.segment->id(), position + static_cast<uint32_t>(bytes));
  out->segment = std::move(found.bytes);
  out->position = position;
  out->bytes = static_cast<uint32_t>(bytes);
  out->limit = found.limit;
  return Status::Ok();
}

Result<LogPosition> LogImpl::PositionOf(int64_t offset) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  const LogPosition end = log_end();
  if (offset == end.offset) return end;
  if (offset < log_start_offset() || offset > end.offset) {
    return Status(Code::kOutOfRange, "offset " + std::to_string(offset) + " is not in " + path());
  }
  {
    // Where a segment begins there is nothing to look up, and nothing to map.
    const std::shared_ptr<const SegmentList> list = segments_.Load();
    const Segment& segment = *(*list)[list->Floor(offset)];
    if (segment.base_offset() == offset) return LogPosition{offset, offset, 0};
  }
  Found found;
  const Status status = FindBatch(offset, end, &found);
  if (status.code() == Code::kNotFound) return end;
  if (!status.ok()) return status;
  return LogPosition{offset, found.segment->base_offset(), found.place.position};
}

// --- lookups ---

Result<TimestampOffset> LogImpl::OffsetForTimestamp(int64_t timestamp_ms, int64_t bound_offset) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  const int64_t start = log_start_offset();
  const LogPosition end = log_end();
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  for (size_t index = list->Floor(start); index < list->size(); ++index) {
    const std::shared_ptr<Segment>& segment = (*list)[index];
    if (segment->base_offset() >= bound_offset) break;
    const uint32_t limit = LimitOf(*segment, end);
    if (limit == 0) continue;
    Result<Segment::Timestamps> largest = segment->LargestTimestamp();
    if (!largest.ok()) return largest.status();
    if (largest->max_timestamp < timestamp_ms) continue;
    Result<std::shared_ptr<const MappedSegment>> bytes = segment->Map();
    if (!bytes.ok()) return bytes.status();
    BatchPlace place;
    Status status = segment->LocateTimestamp(**bytes, timestamp_ms, limit, &place);
    while (status.ok()) {
      if (place.header.base_offset >= bound_offset) return TimestampOffset{};
      if (place.header.LastOffset() >= start && place.header.max_timestamp >= timestamp_ms) {
        const uint32_t batch_end = place.position + static_cast<uint32_t>(place.header.SizeBytes());
        VARVE_TRY(segment->Verify(**bytes, place.position, batch_end));
        Result<TimestampOffset> record = RecordAtTimestamp(**bytes, place, timestamp_ms, start);
        if (!record.ok()) return record;
        if (record->offset >= bound_offset) return TimestampOffset{};
        if (record->offset >= 0) return record;
      }
      place.position += static_cast<uint32_t>(place.header.SizeBytes());
      status = segment->BatchAt(**bytes, place.position, limit, &place.header);
    }
    if (status.code() != Code::kNotFound) return status;
  }
  return TimestampOffset{};
}

Result<TimestampOffset> LogImpl::OffsetOfMaxTimestamp(int64_t bound_offset) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  std::shared_ptr<Segment> best;
  Segment::Timestamps largest;
  for (const std::shared_ptr<Segment>& segment : list->all()) {
    Result<Segment::Timestamps> timestamps = segment->LargestTimestamp();
    if (!timestamps.ok()) return timestamps.status();
    if (timestamps->max_timestamp > largest.max_timestamp) {
      largest = *timestamps;
      best = segment;
    }
  }
  if (!best) return TimestampOffset{};
  Result<std::shared_ptr<const MappedSegment>> bytes = best->Map();
  if (!bytes.ok()) return bytes.status();
  BatchPlace place;
  VARVE_TRY(best->Locate(**bytes, largest.offset_of_max, best->size(), &place));
  VARVE_TRY(best->Verify(**bytes, place.position,
                         place.position + static_cast<uint32_t>(place.header.SizeBytes())));
  Result<TimestampOffset> record = RecordAtTimestamp(**bytes, place, largest.max_timestamp, 0);
  if (record.ok() && record->offset >= bound_offset) return TimestampOffset{};
  return record;
}

EpochEndOffset LogImpl::EndOffsetForEpoch(int32_t leader_epoch) {
  return epochs_.EndOffsetFor(leader_epoch, log_end_offset());
}

int32_t LogImpl::EpochForOffset(int64_t offset) { return epochs_.EpochForOffset(offset); }

Status LogImpl::CollectAborted(int64_t from, int64_t up_to, std::vector<AbortedTransaction>* out) {
  if (closed()) return Status(Code::kClosed, path() + " is closed");
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  // A transaction of the range may end in a later segment: go on until the indexes say that none can.
  for (size_t index = list->Floor(from); index < list->size(); ++index) {
    bool complete = false;
    Segment& segment = *(*list)[index];
    Status status = segment.CollectAborted(from, up_to, out, &complete);
    if (status.code() == Code::kCorrupt) {
      std::lock_guard<std::mutex> files(files_mutex_);
      VARVE_TRY(RebuildAborted(list->all(), segment, log_start_offset(), log_end_offset(), &snapshots_));
      status = segment.CollectAborted(from, up_to, out, &complete);
    }
    VARVE_TRY(status);
    if (complete) break;
  }
  return Status::Ok();
}

}  // namespace varve
