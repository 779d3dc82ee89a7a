// SPDX-License-Identifier: Apache-2.0
#include "core/log_loader.h"

#include <algorithm>
#include <limits>

#include "core/partition_metadata.h"
#include "core/recovery.h"
#include "core/segment_files.h"

namespace varve {
namespace {

constexpr uint64_t kSmallFileBytesMax = uint64_t{16} << 20;

bool EndsWith(const std::string& name, std::string_view suffix) { return name.ends_with(suffix); }

/// What is being found out about one segment file.
struct SegmentFile {
  int64_t base_offset = 0;
  uint64_t size = 0;
};

class Loader {
 public:
  Loader(const LoadRequest& request, EpochCache* epochs, ProducerState* producers,
         ProducerSnapshots* snapshots)
      : request_(request),
        vfs_(request.site->vfs()),
        epochs_(*epochs),
        producers_(*producers),
        snapshots_(*snapshots) {}

  Result<LoadedLog> Load();

 private:
  std::string PathOf(const std::string& name) const { return request_.site->PathOf(name); }
  void Problem(const std::string& what) {
    if (!loaded_.problem.empty()) loaded_.problem += "; ";
    loaded_.problem += what;
  }

  /// Of the names that were listed: a file that is not there need not be asked for, once for each partition at a start.
  bool Listed(const std::string& name) const {
    return std::binary_search(names_.begin(), names_.end(), name);
  }
  Status LoadSealOf(Segment& segment) const {
    if (!Listed(OffsetFileName(segment.base_offset(), kSealSuffix)))
      return Status(Code::kNotFound, "no seal");
    return segment.LoadSeal();
  }
  Status TidyNames(std::vector<std::string>* names);
  bool HolesAllowed() const { return request_.foreign || request_.config.cleanup_compact; }
  Status CompleteSwaps(std::vector<std::string>* names, int64_t min_cleaned);
  Status RemoveFiles(int64_t base_offset);
  Status CollectFiles(const std::vector<std::string>& names);
  Status LoadClean();
  Status LoadUnclean();
  bool FullySealed(size_t index, const Segment& probe) const;
  Status KeepClosed(size_t index);
  bool EndFromWalk(Segment& segment);
  /// From where segment `index` has to be scanned; its size when not at all.
  struct ScanStart {
    uint32_t position = 0;
    int64_t offset = 0;
    std::shared_ptr<OffsetIndex> offsets;
    std::shared_ptr<TimeIndex> times;
    Segment::Timestamps timestamps;
  };
  ScanStart FindScanStart(size_t index, int64_t recovery_point);
  Status ScanSegment(size_t index, ScanStart start, ScanResult* result);
  Status LoadEpochs();
  bool LatestSealed(const std::vector<EpochEntry>& entries) const;
  void LoadTopicId();
  bool EpochsHold(const std::vector<EpochEntry>& entries);
  Status RebuildEpochs();
  Status KeepAborted(Segment& segment, const std::vector<AbortedTxn>& before);
  Status LoadProducers();
  std::shared_ptr<Segment> Found(size_t index, uint64_t size, int64_t next_offset, uint32_t trusted_from) {
    return Segment::Found(request_.site, files_[index].base_offset, static_cast<uint32_t>(size), next_offset,
                          trusted_from, request_.config);
  }
  int64_t NextBase(size_t index) const {
    return index + 1 < files_.size() ? files_[index + 1].base_offset : INT64_MAX;
  }

  const LoadRequest& request_;
  Vfs& vfs_;
  EpochCache& epochs_;
  ProducerState& producers_;
  ProducerSnapshots& snapshots_;
  LoadedLog loaded_;
  std::vector<std::string> names_;  ///< sorted
  std::vector<SegmentFile> files_;
  bool clean_ = false;  ///< as a clean stop left it
  std::vector<EpochEntry> scanned_epochs_;
  std::vector<Segment*> scanned_segments_;
  /// Offsets at and behind it were scanned; log end after a clean stop.
  int64_t scanned_from_ = 0;
  std::optional<TruncationMark> mark_;
  int64_t log_start_ = -1;
};

// --- names ---

Status Loader::TidyNames(std::vector<std::string>* names) {
  int64_t min_cleaned = INT64_MAX;
  bool tidy = false;
  for (std::string& name : *names) {
    const bool cleaned = EndsWith(name, kCleanedSuffix);
    if (!cleaned && !EndsWith(name, kDeletedSuffix) && !EndsWith(name, ".tmp")) continue;
    if (cleaned) {
      const std::string plain = name.substr(0, name.size() - kCleanedSuffix.size());
      if (const std::optional<int64_t> base = ParseOffsetFileName(plain, kLogSuffix)) {
        min_cleaned = std::min(min_cleaned, *base);
      }
    }
    VARVE_TRY(vfs_.Remove(PathOf(name)));
    name.clear();
    tidy = true;
  }
  if (tidy) std::erase(*names, std::string());
  return CompleteSwaps(names, min_cleaned);
}

/// Compaction was cut off between naming its result `.swap` and removing what it replaces (Kafka's
/// LogLoader): with a
/// `.cleaned` file of the same round still there the round was not complete, and its swaps from there on are
/// dropped; else each swap takes the place of the segments in its range.
Status Loader::CompleteSwaps(std::vector<std::string>* names, int64_t min_cleaned) {
  std::vector<int64_t> swaps;
  for (const std::string& name : *names) {
    if (!EndsWith(name, kSwapSuffix)) continue;
    const std::string plain = name.substr(0, name.size() - kSwapSuffix.size());
    const std::optional<int64_t> base = ParseOffsetFileName(plain, kLogSuffix);
    if (base && *base < min_cleaned) {
      swaps.push_back(*base);
      continue;
    }
    // Of its indexes only that of aborted transactions can't be rebuilt from what compaction left.
    const std::optional<int64_t> txn_base = ParseOffsetFileName(plain, kTxnIndexSuffix);
    if (txn_base && *txn_base < min_cleaned &&
        vfs_.Exists(PathOf(OffsetFileName(*txn_base, kLogSuffix) + std::string(kSwapSuffix))))
      continue;
    // A dropped swap goes as a whole.
    VARVE_TRY(vfs_.Remove(PathOf(name)));
  }
  if (swaps.empty()) {
    std::erase_if(*names, [](const std::string& name) { return EndsWith(name, kSwapSuffix); });
    return Status::Ok();
  }
  for (const int64_t base : swaps) {
    const std::string swap = PathOf(OffsetFileName(base, kLogSuffix)) + std::string(kSwapSuffix);
    Result<std::vector<uint8_t>> bytes = vfs_.ReadFile(swap, kSegmentBytesMax);
    if (!bytes.ok()) return bytes.status();
    ScanOptions options;
    options.expected_offset = base;
    options.segment_base_offset = base;
    options.gaps_allowed = true;
    const ScanResult scan = ScanBatches(*bytes, options, {});
    if (scan.valid_bytes != bytes->size()) {
      // Synced before it got this name; so this is bit rot, and what it was made from is still there.
      Problem(swap + " is damaged and was dropped");
      VARVE_TRY(vfs_.Remove(swap));
      continue;
    }
    for (const std::string& name : *names) {
      const std::optional<int64_t> old = ParseOffsetFileName(name, kLogSuffix);
      if (!old || *old <= base || *old >= scan.next_offset) continue;
      VARVE_TRY(RemoveFiles(*old));
    }
    // Not the index of aborted transactions: without a swap of its own it is the new one already.
    for (const std::string_view suffix : {kSealSuffix, kIndexSuffix, kTimeIndexSuffix, kLogSuffix}) {
      const Status status = vfs_.Remove(PathOf(OffsetFileName(base, suffix)));
      if (!status.ok() && status.code() != Code::kNotFound) return status;
    }
    // What the swap replaces must be gone for good when it has its name: the two would overlap.
    VARVE_TRY(vfs_.SyncDirectory(request_.site->path));
    const std::string aborted = PathOf(OffsetFileName(base, kTxnIndexSuffix));
    if (vfs_.Exists(aborted + std::string(kSwapSuffix))) {
      VARVE_TRY(vfs_.Rename(aborted + std::string(kSwapSuffix), aborted));
      VARVE_TRY(vfs_.SyncDirectory(request_.site->path));
    }
    VARVE_TRY(vfs_.Rename(swap, PathOf(OffsetFileName(base, kLogSuffix))));
  }
  VARVE_TRY(vfs_.SyncDirectory(request_.site->path));
  Result<std::vector<std::string>> again = vfs_.List(request_.site->path);
  if (!again.ok()) return again.status();
  *names = std::move(*again);
  return Status::Ok();
}

Status Loader::RemoveFiles(int64_t base_offset) {
  // The log file last: while it is there, the others are found again and removed.
  for (const std::string_view suffix :
       {kSealSuffix, kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix, kLogSuffix}) {
    const Status status = vfs_.Remove(PathOf(OffsetFileName(base_offset, suffix)));
    if (!status.ok() && status.code() != Code::kNotFound) return status;
  }
  return Status::Ok();
}

Status Loader::CollectFiles(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::optional<int64_t> base = ParseOffsetFileName(name, kLogSuffix);
    if (!base) continue;
    Result<uint64_t> size = vfs_.FileSize(PathOf(name));
    if (!size.ok()) return size.status();
    if (*size > kSegmentBytesMax) return Status(Code::kTooLarge, PathOf(name) + " is larger than 2 GiB");
    files_.push_back({*base, *size});
  }
  std::sort(files_.begin(), files_.end(),
            [](const SegmentFile& a, const SegmentFile& b) { return a.base_offset < b.base_offset; });
  // Sidecars of a segment that is gone.
  for (const std::string& name : names) {
    for (const std::string_view suffix : {kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix, kSealSuffix}) {
      const std::optional<int64_t> base = ParseOffsetFileName(name, suffix);
      if (!base) continue;
      const bool known = std::any_of(files_.begin(), files_.end(),
                                     [&](const SegmentFile& file) { return file.base_offset == *base; });
      if (!known) VARVE_TRY(vfs_.Remove(PathOf(name)));
    }
  }
  return Status::Ok();
}

// --- the whole ---

Result<LoadedLog> Loader::Load() {
  Result<std::vector<std::string>> names = vfs_.List(request_.site->path);
  if (!names.ok()) return names.status();
  VARVE_TRY(TidyNames(&*names));
  VARVE_TRY(CollectFiles(*names));
  snapshots_.Scan(*names);
  names_ = std::move(*names);
  std::sort(names_.begin(), names_.end());
  if (Listed(TruncationMark::kName)) {
    Result<std::optional<TruncationMark>> mark = TruncationMark::Read(vfs_, request_.site->path);
    if (!mark.ok()) return mark.status();
    mark_ = loaded_.mark = *mark;
  }
  LoadTopicId();
  // Segments wholly below the log start were on their way out; a crash may have brought some of them back.
  while (request_.log_start_verified && !mark_ && files_.size() > 1 &&
         files_[1].base_offset <= request_.log_start) {
    VARVE_TRY(RemoveFiles(files_.front().base_offset));
    files_.erase(files_.begin());
  }
  // A truncation moves the log start down too; the checkpoint may not know yet.
  log_start_ = request_.log_start;
  if (mark_ && mark_->log_start >= 0) log_start_ = std::min(log_start_, mark_->log_start);

  if (files_.empty()) {
    // Nothing was ever appended, or a truncation to an empty log was cut off: its mark says where it was to
    // begin.
    const int64_t base = std::max<int64_t>({log_start_, mark_ ? mark_->log_start : -1, 0});
    loaded_.segments.push_back(Segment::New(request_.site, base, request_.config, 0));
    loaded_.log_start = base;
    loaded_.end = loaded_.durable = {base, base, 0};
    loaded_.fresh = true;
    loaded_.epochs_file = epochs_.Encode();
    VARVE_TRY(snapshots_.DeleteAll());
    producers_.Clear(base);
    return std::move(loaded_);
  }

  clean_ = request_.clean && !mark_;
  if (clean_) {
    VARVE_TRY(LoadClean());
  }
  if (!clean_) {
    loaded_.segments.clear();
    VARVE_TRY(LoadUnclean());
  }
  const int64_t first = loaded_.segments.front()->base_offset();
  loaded_.log_start = std::clamp(log_start_, first, std::max(first, loaded_.end.offset));
  VARVE_TRY(LoadEpochs());
  VARVE_TRY(LoadProducers());
  return std::move(loaded_);
}

void Loader::LoadTopicId() {
  if (!Listed(kPartitionMetadataName)) return;
  Result<std::vector<uint8_t>> file = vfs_.ReadFile(PathOf(kPartitionMetadataName), kSmallFileBytesMax);
  if (file.ok()) {
    Result<PartitionMetadata> metadata = PartitionMetadata::Parse(*file);
    loaded_.topic_id = metadata.ok() ? Result<std::string>(metadata->topic_id) : metadata.status();
  } else if (file.status().code() != Code::kNotFound) {
    loaded_.topic_id = file.status();
  }
}

// --- after a clean stop ---

/// Kafka stopped cleanly, or our seal was lost: the log end is behind the last batch, which the last index
/// entry is near. False when the bytes are not what a clean stop leaves.
bool Loader::EndFromWalk(Segment& segment) {
  Result<std::shared_ptr<const MappedSegment>> bytes = segment.Map();
  if (!bytes.ok()) return false;
  uint32_t boundary = 0;
  int64_t next_offset = segment.base_offset();
  if (!segment.LastBoundary(**bytes, 0, segment.size(), &boundary, &next_offset).ok()) return false;
  if (boundary != segment.size()) return false;
  loaded_.end = {next_offset, segment.base_offset(), boundary};
  return true;
}

Status Loader::LoadClean() {
  for (size_t index = 0; index < files_.size(); ++index) {
    const SegmentFile& file = files_[index];
    loaded_.segments.push_back(Found(index, file.size, NextBase(index), static_cast<uint32_t>(file.size)));
  }
  Segment& last = *loaded_.segments.back();
  if (last.size() == 0) {
    loaded_.end = {last.base_offset(), last.base_offset(), 0};
  } else {
    const Status sealed = LoadSealOf(last);
    if (sealed.code() == Code::kIo || sealed.code() == Code::kUnsupported) return sealed;
    if (sealed.ok() && last.seal()->size_bytes == last.size()) {
      loaded_.end = {last.seal()->next_offset, last.base_offset(), last.size()};
    } else if (sealed.ok() || !EndFromWalk(last)) {
      Problem(last.PathOf(kLogSuffix) + " is not as the last stop left it: scanned");
      clean_ = false;
      return Status::Ok();
    }
  }
  last.SetNextOffset(loaded_.end.offset);
  loaded_.durable = loaded_.end;
  scanned_from_ = loaded_.end.offset;
  return Status::Ok();
}

// --- after anything else ---

Loader::ScanStart Loader::FindScanStart(size_t index, int64_t recovery_point) {
  const SegmentFile& file = files_[index];
  ScanStart whole;
  whole.offset = file.base_offset;
  whole.offsets = std::make_shared<OffsetIndex>(file.base_offset, request_.config.segment_index_bytes);
  whole.times = std::make_shared<TimeIndex>(file.base_offset, request_.config.segment_index_bytes);
  const std::shared_ptr<Segment> probe =
      Found(index, file.size, NextBase(index), static_cast<uint32_t>(file.size));
  // A segment that a truncation may have been taking away is scanned whatever its seal says: what was scanned has no holes.
  const bool sealed = LoadSealOf(*probe).ok() && probe->seal()->size_bytes <= file.size &&
                      !(mark_ && probe->seal()->next_offset > mark_->recovery_point_max);
  int64_t trusted_offset = recovery_point;
  if (sealed) trusted_offset = std::max(trusted_offset, probe->seal()->next_offset);
  if (trusted_offset <= file.base_offset) return whole;

  const IndexBounds bounds{file.base_offset, INT64_MAX, static_cast<uint32_t>(file.size),
                           request_.config.segment_index_bytes};
  Result<std::vector<uint8_t>> offset_file = vfs_.ReadFile(probe->PathOf(kIndexSuffix), kSmallFileBytesMax);
  Result<std::vector<uint8_t>> time_file = vfs_.ReadFile(probe->PathOf(kTimeIndexSuffix), kSmallFileBytesMax);
  if (!offset_file.ok() || !time_file.ok()) return whole;
  Result<std::unique_ptr<OffsetIndex>> offsets = OffsetIndex::Load(*offset_file, bounds);
  Result<std::unique_ptr<TimeIndex>> times = TimeIndex::Load(*time_file, bounds);
  if (!offsets.ok() || !times.ok()) return whole;
  (*offsets)->TruncateTo(trusted_offset);
  ScanStart start;
  start.offsets = std::move(*offsets);
  start.times = std::move(*times);
  const auto from_seal = [&] {
    const Seal& seal = *probe->seal();
    start.offsets->TruncateTo(seal.next_offset);
    start.times->TruncateTo(seal.next_offset);
    start.position = static_cast<uint32_t>(seal.size_bytes);
    start.offset = seal.next_offset;
    start.timestamps = {seal.max_timestamp, seal.offset_of_max_timestamp};
    return std::move(start);
  };
  if (sealed && probe->seal()->next_offset >= recovery_point) return from_seal();
  // Whatever is wrong behind the front that a seal speaks for, or in it: the front is not scanned, so that it is not cut.
  const auto without_entry = [&] { return sealed ? from_seal() : std::move(whole); };
  // From the last index entry below the recovery point: the time index is complete up to there. Both entries
  // are checked against the batches that they name.
  const OffsetPosition entry = start.offsets->Last();
  if (entry.position == 0) return without_entry();
  start.times->TruncateTo(entry.offset + 1);
  Result<std::shared_ptr<const MappedSegment>> bytes = probe->Map();
  if (!bytes.ok()) return without_entry();
  BatchHeader header;
  if (!probe->BatchAt(**bytes, entry.position, probe->size(), &header).ok() ||
      header.LastOffset() != entry.offset || header.base_offset < file.base_offset) {
    return without_entry();
  }
  const TimeIndexEntry time = start.times->Last();
  uint32_t timed_to = 0;
  if (time.timestamp != kNoTimestamp) {
    BatchPlace place;
    if (!probe->Locate(**bytes, time.offset, probe->size(), &place).ok() ||
        place.header.LastOffset() != time.offset || place.header.max_timestamp != time.timestamp) {
      return without_entry();
    }
    start.timestamps = {time.timestamp, time.offset};
    timed_to = place.position;
  }
  if (!probe->WalkTimestamps(**bytes, timed_to, entry.position, &start.timestamps).ok())
    return without_entry();
  start.position = entry.position;
  start.offset = header.base_offset;
  return start;
}

Status Loader::ScanSegment(size_t index, ScanStart start, ScanResult* result) {
  const SegmentFile& file = files_[index];
  ScanOptions options;
  options.expected_offset = start.offset;
  options.segment_base_offset = file.base_offset;
  options.gaps_allowed = HolesAllowed();
  IndexFeed feed{start.offsets.get(), start.times.get(), request_.config.index_interval_bytes};
  feed.max_timestamp = start.timestamps.max_timestamp;
  feed.offset_of_max = start.timestamps.offset_of_max;
  if (start.position > 0) feed.EntryDue();
  const auto visit = [&](const BatchHeader& header, uint64_t position, Bytes) {
    feed.Add(header, static_cast<uint32_t>(start.position + position));
    // Epochs never fall: one that a later batch falls below was damaged (no CRC covers it), and would poison the cache.
    if (header.partition_leader_epoch < 0) return;
    while (!scanned_epochs_.empty() && scanned_epochs_.back().epoch > header.partition_leader_epoch) {
      scanned_epochs_.pop_back();
    }
    if (scanned_epochs_.empty() || scanned_epochs_.back().epoch < header.partition_leader_epoch) {
      scanned_epochs_.push_back({header.partition_leader_epoch, header.base_offset});
    }
  };
  const std::string path = PathOf(OffsetFileName(file.base_offset, kLogSuffix));
  if (file.size > start.position) {
    Result<std::shared_ptr<File>> opened = vfs_.Open(path, OpenMode::kRead);
    if (!opened.ok()) return opened.status();
    {
      Result<std::shared_ptr<Mapping>> mapping = (*opened)->Map(0, file.size, MapMode::kReadOnly);
      if (!mapping.ok()) return mapping.status();
      const Bytes bytes{(*mapping)->data() + start.position, file.size - start.position};
      *result = ScanBatches(bytes, options, visit);
    }
    loaded_.recovered_bytes += file.size - start.position;
    const uint64_t end = start.position + result->valid_bytes;
    if (end < file.size) {
      if (result->verdict == ScanVerdict::kMidCorruption) {
        Problem(path + " at position " + std::to_string(end) + ": " + ScanStopName(result->stop) +
                " with batches behind it; cut there, none of it was known to be durable");
      }
      loaded_.truncated_bytes += result->stop == ScanStop::kZeroFill ? 0 : file.size - end;
      VARVE_TRY(CutFile(vfs_, path, end, result->stop != ScanStop::kZeroFill));
      files_[index].size = end;
    }
  } else {
    result->next_offset = start.offset;
  }
  const bool last = index + 1 == files_.size();
  if (!last && feed.max_timestamp != kNoTimestamp) {
    feed.times->MaybeAppend(feed.max_timestamp, feed.offset_of_max, true);
  }
  std::shared_ptr<Segment> segment = Found(index, files_[index].size, result->next_offset, start.position);
  segment->AdoptScanned(start.offsets, start.times, {feed.max_timestamp, feed.offset_of_max});
  scanned_segments_.push_back(segment.get());
  segment->name_durable.store(false, std::memory_order_release);
  loaded_.segments.push_back(std::move(segment));
  return Status::Ok();
}

/// Whether the seal speaks for all of a closed segment: it ends where the next one begins. (A seal from a clean stop, when
/// the segment was still the active one, speaks for the part in front, and what was appended behind it may be lost.) The
/// file may be longer by the zeros of allocated space.
bool Loader::FullySealed(size_t index, const Segment& probe) const {
  return probe.seal() && probe.seal()->size_bytes <= files_[index].size &&
         probe.seal()->next_offset == NextBase(index);
}

/// Takes a closed segment that lies below everything to be scanned as it is. When it was rolled but not trimmed before the
/// crash, the zeros behind its last batch go; what else may be wrong with it is found when it is read.
Status Loader::KeepClosed(size_t index) {
  SegmentFile& file = files_[index];
  const std::string path = PathOf(OffsetFileName(file.base_offset, kLogSuffix));
  std::shared_ptr<Segment> segment =
      Found(index, file.size, NextBase(index), static_cast<uint32_t>(file.size));
  uint64_t end = file.size;
  if (LoadSealOf(*segment).ok() && FullySealed(index, *segment)) {
    end = segment->seal()->size_bytes;
  } else if (file.size > 0) {
    const ScanStart start = FindScanStart(index, NextBase(index));
    ScanOptions options;
    options.expected_offset = start.offset;
    options.segment_base_offset = file.base_offset;
    options.gaps_allowed = HolesAllowed();
    Result<std::shared_ptr<const MappedSegment>> bytes = segment->Map();
    if (!bytes.ok()) return bytes.status();
    const ScanResult scan =
        ScanBatches({(*bytes)->data() + start.position, file.size - start.position}, options, {});
    loaded_.recovered_bytes += file.size - start.position;
    if (scan.stop == ScanStop::kZeroFill) end = start.position + scan.valid_bytes;
  }
  if (end < file.size) {
    segment.reset();
    VARVE_TRY(CutFile(vfs_, path, end, false));
    file.size = end;
    segment = Found(index, end, NextBase(index), static_cast<uint32_t>(end));
  }
  loaded_.segments.push_back(std::move(segment));
  return Status::Ok();
}

Status Loader::LoadUnclean() {
  // Everything up to the newest valid seal is durable and stays as it is.
  size_t scan_from = 0;
  std::shared_ptr<Segment> whole;  ///< the last one, when its seal speaks for all of it
  for (size_t index = files_.size(); index-- > 0;) {
    const std::shared_ptr<Segment> probe =
        Found(index, files_[index].size, NextBase(index), static_cast<uint32_t>(files_[index].size));
    const Status sealed = LoadSealOf(*probe);
    if (sealed.code() == Code::kIo || sealed.code() == Code::kUnsupported) return sealed;
    if (!sealed.ok() || probe->seal()->size_bytes > files_[index].size) continue;
    // A truncation may have been taking this one away.
    if (mark_ && probe->seal()->next_offset > mark_->recovery_point_max) continue;
    const bool last = index + 1 == files_.size();
    if (last && !mark_ && probe->seal()->size_bytes == files_[index].size) whole = probe;
    scan_from = !last && FullySealed(index, *probe) ? index + 1 : index;
    break;
  }
  int64_t recovery_point = request_.recovery_point;
  if (mark_) recovery_point = std::min(recovery_point, mark_->recovery_point_max);
  while (scan_from + 1 < files_.size() && files_[scan_from + 1].base_offset <= recovery_point) ++scan_from;
  for (size_t index = 0; index < scan_from; ++index) VARVE_TRY(KeepClosed(index));
  if (whole) {
    // Most logs of a broker with many: nothing was appended since the last clean stop.
    whole->SetNextOffset(whole->seal()->next_offset);
    loaded_.end = loaded_.durable = {whole->next_offset(), whole->base_offset(), whole->size()};
    scanned_from_ = loaded_.end.offset;
    loaded_.segments.push_back(std::move(whole));
    loaded_.scanned = loaded_.recovered_bytes > 0;
    return Status::Ok();
  }
  loaded_.scanned = true;

  size_t kept = scan_from;
  int64_t next_offset = -1;
  bool cut = false;
  for (size_t index = scan_from; index < files_.size() && !cut; ++index) {
    if (next_offset >= 0) {
      // The chain of segments: a hole is where a truncation or a lost name cut the log.
      const bool continues = HolesAllowed() ? files_[index].base_offset >= next_offset
                                            : files_[index].base_offset == next_offset;
      if (!continues) {
        Problem(PathOf(OffsetFileName(files_[index].base_offset, kLogSuffix)) +
                " does not continue the log at " + std::to_string(next_offset) + "; dropped");
        break;
      }
    }
    ScanStart start = FindScanStart(index, recovery_point);
    if (index == scan_from) {
      scanned_from_ = start.offset;
      loaded_.durable = {start.offset, files_[index].base_offset, start.position};
    }
    ScanResult result;
    VARVE_TRY(ScanSegment(index, std::move(start), &result));
    next_offset = result.next_offset;
    kept = index + 1;
    // Zeros behind a segment that was rolled but not trimmed yet are no cut: the next one tells by its base offset. With
    // holes allowed it could not tell, so anything else there ends the log.
    cut = HolesAllowed() && result.stop != ScanStop::kEnd && result.stop != ScanStop::kZeroFill;
  }
  for (size_t index = kept; index < files_.size(); ++index) {
    loaded_.truncated_bytes += files_[index].size;
    VARVE_TRY(RemoveFiles(files_[index].base_offset));
  }
  files_.resize(kept);
  Segment& last = *loaded_.segments.back();
  loaded_.end = {next_offset, last.base_offset(), last.size()};
  last.SetNextOffset(next_offset);
  return Status::Ok();
}

// --- epochs ---

/// Whether each entry names the first batch of its epoch, and the last one is that of the bytes that were not
/// scanned.
bool Loader::EpochsHold(const std::vector<EpochEntry>& entries) {
  const SegmentList list(loaded_.segments);
  const int64_t end = loaded_.end.offset;
  const auto epoch_at = [&](int64_t offset, BatchHeader* header) {
    Segment& segment = *list[list.Floor(offset)];
    if (segment.size() == 0) return false;
    Result<std::shared_ptr<const MappedSegment>> bytes = segment.Map();
    BatchPlace place;
    if (!bytes.ok() || !segment.Locate(**bytes, offset, segment.size(), &place).ok()) return false;
    *header = place.header;
    return true;
  };
  BatchHeader header;
  for (const EpochEntry& entry : entries) {
    // An epoch without a batch (yet) can't be checked, and does no harm: the next one begins where it does.
    if (entry.start_offset >= end) continue;
    if (entry.start_offset <= loaded_.log_start) {
      if (!epoch_at(loaded_.log_start, &header)) return false;
      if (header.partition_leader_epoch != entry.epoch && entry.start_offset == loaded_.log_start)
        return false;
      continue;
    }
    if (!epoch_at(entry.start_offset, &header) || header.base_offset != entry.start_offset ||
        header.partition_leader_epoch != entry.epoch) {
      return false;
    }
    // The batch before it belongs to an older epoch.
    if (!epoch_at(entry.start_offset - 1, &header) || header.partition_leader_epoch >= entry.epoch)
      return false;
  }
  const auto epoch_of = [&](int64_t offset) {
    int32_t latest = -1;
    for (const EpochEntry& entry : entries) {
      if (entry.start_offset <= offset) latest = entry.epoch;
    }
    return latest;
  };
  const int64_t last_known = std::min(scanned_from_, end) - 1;
  if (last_known < loaded_.log_start) return true;
  // A cut may have brought back what the log start had left behind when the file was written.
  if (!epoch_at(loaded_.log_start, &header)) return false;
  if (header.partition_leader_epoch >= 0 && epoch_of(loaded_.log_start) != header.partition_leader_epoch) {
    return false;
  }
  return epoch_at(last_known, &header) && epoch_of(last_known) == header.partition_leader_epoch;
}

Status Loader::RebuildEpochs() {
  std::vector<EpochEntry> entries;
  for (const std::shared_ptr<Segment>& segment : loaded_.segments) {
    if (segment->size() == 0) continue;
    // A sealed segment without a newer epoch need not be looked at.
    if (!entries.empty() && segment->seal() && segment->seal()->size_bytes == segment->size() &&
        segment->seal()->max_leader_epoch == entries.back().epoch) {
      continue;
    }
    Result<std::shared_ptr<const MappedSegment>> bytes = segment->Map();
    if (!bytes.ok()) return bytes.status();
    BatchHeader header;
    for (uint64_t position = 0; position < segment->size(); position += header.SizeBytes()) {
      // A damaged batch ends what this segment can say.
      if (!segment->BatchAt(**bytes, static_cast<uint32_t>(position), segment->size(), &header).ok()) break;
      if (header.partition_leader_epoch >= 0 &&
          (entries.empty() || entries.back().epoch < header.partition_leader_epoch)) {
        entries.push_back({header.partition_leader_epoch, header.base_offset});
      }
    }
  }
  epochs_.Reset(std::move(entries));
  return Status::Ok();
}

/// Whether the last of the epochs is the one that the last segment's seal names: an older checkpoint has fewer, and a power cut
/// after a clean stop may have brought back the one that this stop replaced, for which the checksums vouch too.
bool Loader::LatestSealed(const std::vector<EpochEntry>& entries) const {
  int32_t latest = kNoLeaderEpoch;
  for (const EpochEntry& entry : entries) {
    if (entry.start_offset < loaded_.end.offset) latest = entry.epoch;
  }
  const Segment& last = *loaded_.segments.back();
  if (last.size() == 0) return loaded_.segments.size() == 1;
  return last.seal() && last.seal()->size_bytes == last.size() && last.seal()->max_leader_epoch == latest;
}

Status Loader::LoadEpochs() {
  // Without a file there are no epochs, as with an empty one.
  loaded_.epochs_file = EpochCache().Encode();
  Result<std::vector<uint8_t>> file{Status(Code::kNotFound, "no epochs")};
  if (Listed(kEpochCheckpointName)) file = vfs_.ReadFile(PathOf(kEpochCheckpointName), kSmallFileBytesMax);
  if (!file.ok() && file.status().code() != Code::kNotFound) return file.status();
  bool holds = false;
  std::vector<EpochEntry> entries;
  if (file.ok()) {
    loaded_.epochs_file.assign(file->begin(), file->end());
    Result<std::vector<EpochEntry>> parsed = EpochCache::Parse(*file);
    if (parsed.ok()) {
      entries = std::move(*parsed);
      const bool vouched = (clean_ || !loaded_.scanned) && LatestSealed(entries) && request_.epochs_vouched &&
                           request_.epochs_vouched(*file) &&
                           (entries.empty() || entries.front().start_offset <= loaded_.log_start);
      holds = vouched || EpochsHold(entries);
    }
    // After a crash it may well be older than the log; after a clean stop somebody changed it.
    if (!holds && clean_) Problem(PathOf(kEpochCheckpointName) + " did not fit the log and was rebuilt");
  } else {
    holds = EpochsHold(entries);
  }
  if (holds) {
    // Where it was scanned the batches tell; an epoch that has none yet is kept when it is newer than all that have.
    const auto assign = [this](const EpochEntry& entry) {
      if (entry.epoch > epochs_.LatestEpoch()) epochs_.Assign(entry.epoch, entry.start_offset);
    };
    std::vector<EpochEntry> front = entries;
    std::erase_if(front, [this](const EpochEntry& entry) { return entry.start_offset >= scanned_from_; });
    epochs_.Reset(std::move(front));
    for (const EpochEntry& entry : scanned_epochs_) assign(entry);
    for (const EpochEntry& entry : entries) {
      if (entry.start_offset >= loaded_.end.offset) assign(entry);
    }
  } else {
    VARVE_TRY(RebuildEpochs());
  }
  // Kafka keeps an epoch that was assigned at the log end but has no batch yet.
  epochs_.TruncateFromEnd(loaded_.end.offset + 1);
  epochs_.TruncateFromStart(loaded_.log_start);
  return Status::Ok();
}

// --- producers ---

/// Compaction takes markers away, and what they aborted may still be there: then the file knows more than the batches tell. It is
/// believed where it has all that they tell, within the segment.
Status Loader::KeepAborted(Segment& segment, const std::vector<AbortedTxn>& before) {
  const Result<std::vector<AbortedTxn>> found = segment.AbortedTxns();
  if (!found.ok()) return found.status();
  auto aborted = std::make_shared<TxnIndex>(segment.base_offset());
  for (const AbortedTxn& txn : before) {
    if (txn.last_offset >= segment.next_offset() || !aborted->Append(txn).ok()) return Status::Ok();
  }
  for (const AbortedTxn& txn : *found) {
    if (std::find(before.begin(), before.end(), txn) == before.end()) return Status::Ok();
  }
  return segment.ReplaceAborted(std::move(aborted));
}

Status Loader::LoadProducers() {
  std::vector<int64_t> bases;
  for (const SegmentFile& file : files_) bases.push_back(file.base_offset);
  VARVE_TRY(snapshots_.RemoveStray(bases));
  VARVE_TRY(snapshots_.TruncateAndReload(&producers_, loaded_.log_start, loaded_.end.offset, 0,
                                         request_.producer_id_expiration_ms));
  // What the transaction index of a scanned segment holds is not vouched for by anything: it is found again,
  // from the snapshot at the segment's base where there is one. Most segments have no such file.
  std::vector<Segment*> refound;
  for (Segment* segment : scanned_segments_) {
    // One that a truncation was removing may have come back without its file.
    if (!segment->HasAbortedFile() && !mark_) continue;
    const Result<std::vector<AbortedTxn>> before = segment->AbortedTxns();
    VARVE_TRY(RebuildAborted(loaded_.segments, *segment, loaded_.log_start, loaded_.end.offset, &snapshots_));
    if (request_.config.cleanup_compact && before.ok()) VARVE_TRY(KeepAborted(*segment, *before));
    refound.push_back(segment);
  }
  // Appending needs that of the last segment, which after a clean stop is taken as it is.
  Segment& last = *loaded_.segments.back();
  const bool has_none =
      last.seal() && last.seal()->size_bytes == last.size() && last.seal()->txn_index.size_bytes == 0;
  if (refound.empty() || refound.back() != &last) {
    std::vector<AbortedTransaction> ignored;
    bool complete = false;
    if (!has_none && last.size() > 0 &&
        last.CollectAborted(0, 0, &ignored, &complete).code() == Code::kCorrupt)
      VARVE_TRY(RebuildAborted(loaded_.segments, last, loaded_.log_start, loaded_.end.offset, &snapshots_));
  }
  const int64_t from = producers_.map_end_offset();
  return ReplayProducers(loaded_.segments, loaded_.end.offset, &producers_,
                         [&](Segment& segment, const AbortedTxn& txn) {
                           if (txn.last_offset < std::max(from, scanned_from_)) return;
                           if (std::find(refound.begin(), refound.end(), &segment) != refound.end()) return;
                           const Status added = segment.AddAborted(txn);
                           if (!added.ok()) Problem(added.message());
                         });
}

}  // namespace

Result<LoadedLog> LoadLog(const LoadRequest& request, EpochCache* epochs, ProducerState* producers,
                          ProducerSnapshots* snapshots) {
  Loader loader(request, epochs, producers, snapshots);
  return loader.Load();
}

Status ReplayProducers(const std::vector<std::shared_ptr<Segment>>& segments, int64_t end_offset,
                       ProducerState* producers,
                       const std::function<void(Segment& segment, const AbortedTxn& txn)>& on_aborted) {
  int64_t from = producers->map_end_offset();
  for (size_t index = 0; index < segments.size() && from < end_offset; ++index) {
    Segment& segment = *segments[index];
    if (segment.size() == 0) continue;
    if (index + 1 < segments.size() && segments[index + 1]->base_offset() <= from) continue;
    Result<std::shared_ptr<const MappedSegment>> bytes = segment.Map();
    if (!bytes.ok()) return bytes.status();
    BatchPlace place;
    Status status = segment.Locate(**bytes, from, segment.size(), &place);
    while (status.ok()) {
      const BatchHeader& header = place.header;
      const uint32_t batch_end = place.position + static_cast<uint32_t>(header.SizeBytes());
      std::optional<EndTransactionMarker> marker;
      if (header.IsControl()) {
        VARVE_TRY(segment.Verify(**bytes, place.position, batch_end));
        marker = ParseEndTransactionMarker({(*bytes)->data() + place.position, header.SizeBytes()});
      }
      CompletedTxn completed;
      if (producers->Replay(header, marker ? &*marker : nullptr, &completed) && completed.aborted &&
          on_aborted) {
        on_aborted(segment, {completed.producer_id, completed.first_offset, completed.last_offset,
                             completed.last_stable_offset});
      }
      from = header.NextOffset();
      place.position = batch_end;
      status = segment.BatchAt(**bytes, place.position, segment.size(), &place.header);
    }
    // Damage in a closed segment is kept and told when it is read; what producers did there is unknown.
    if (status.code() == Code::kCorrupt) continue;
    if (status.code() != Code::kNotFound) return status;
  }
  if (producers->map_end_offset() < end_offset) producers->SetMapEndOffset(end_offset);
  return Status::Ok();
}

Status RebuildAborted(const std::vector<std::shared_ptr<Segment>>& segments, Segment& segment,
                      int64_t log_start, int64_t end_offset, ProducerSnapshots* snapshots) {
  auto aborted = std::make_shared<TxnIndex>(segment.base_offset());
  ProducerState producers;
  producers.Clear(log_start);
  if (snapshots->Has(segment.base_offset())) {
    Vfs& vfs = segment.site().vfs();
    Result<std::vector<uint8_t>> file =
        vfs.ReadFile(snapshots->PathOf(segment.base_offset()), kSmallFileBytesMax);
    if (!file.ok() ||
        !producers.LoadSnapshot(*file, segment.base_offset(), 0, std::numeric_limits<int64_t>::max()).ok()) {
      producers.Clear(log_start);
    }
  }
  VARVE_TRY(ReplayProducers(segments, std::min(end_offset, segment.next_offset()), &producers,
                            [&](Segment& holder, const AbortedTxn& txn) {
                              if (&holder != &segment) return;
                              [[maybe_unused]] const Status added = aborted->Append(txn);
                            }));
  return segment.ReplaceAborted(std::move(aborted));
}

}  // namespace varve
