// SPDX-License-Identifier: Apache-2.0
#include "core/segment.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "core/batch_validator.h"
#include "core/crc32c.h"
#include "core/recovery.h"
#include "core/segment_files.h"

namespace varve {
namespace {

/// Larger than any index that segment.index.bytes allows in earnest.
constexpr uint64_t kIndexFileBytesMax = uint64_t{256} << 20;
constexpr uint64_t kSealFileBytesMax = uint64_t{1} << 20;

uint64_t NextSegmentId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

/// Which files this process maps as segments, over all engines.
class MappedPaths {
 public:
  static MappedPaths& Of() {
    static auto* paths = new MappedPaths;  // never destroyed: mappings may outlive static objects
    return *paths;
  }
  void Add(const Vfs& vfs, const std::string& path) {
    std::lock_guard<std::mutex> lock(mutex_);
    ++counts_[{&vfs, path}];
  }
  void Remove(const Vfs& vfs, const std::string& path) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto at = counts_.find({&vfs, path});
    if (--at->second == 0) counts_.erase(at);
  }
  bool Has(const Vfs& vfs, const std::string& path) {
    std::lock_guard<std::mutex> lock(mutex_);
    return counts_.contains({&vfs, path});
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<const Vfs*, std::string>, int> counts_;
};

}  // namespace

// --- MappedSegment ---

MappedSegment::MappedSegment(uint64_t id, int64_t base_offset, std::string path, std::shared_ptr<File> file,
                             std::shared_ptr<Mapping> mapping, std::shared_ptr<const EngineContext> context)
    : SegmentBytes(id, base_offset),
      file_(std::move(file)),
      mapping_(std::move(mapping)),
      path_(std::move(path)),
      context_(std::move(context)) {
  context_->maps->Mapped();
  MappedPaths::Of().Add(context_->vfs(), path_);
}

MappedSegment::~MappedSegment() {
  mapping_.reset();
  MappedPaths::Of().Remove(context_->vfs(), path_);
  context_->maps->Unmapped();
}

Status CutFile(Vfs& vfs, const std::string& path, uint64_t size, bool durable) {
  if (!MappedPaths::Of().Has(vfs, path)) {
    Result<std::shared_ptr<File>> file = vfs.Open(path, OpenMode::kWrite);
    if (!file.ok()) return file.status();
    VARVE_TRY((*file)->Truncate(size));
    if (!durable) return Status::Ok();
    const Status synced = (*file)->Sync();
    // Whatever it says: the bytes are cut, and the disk can't be asked again.
    return synced.ok() ? synced : Status(Code::kIo, synced.message(), synced.system_errno());
  }
  const std::string copy_path = path + ".tmp";
  {
    Result<std::shared_ptr<File>> from = vfs.Open(path, OpenMode::kRead);
    if (!from.ok()) return from.status();
    Result<std::shared_ptr<File>> copy = vfs.Open(copy_path, OpenMode::kCreate);
    if (!copy.ok()) return copy.status();
    VARVE_TRY((*copy)->Truncate(0));
    std::vector<uint8_t> piece(std::min<uint64_t>(size, uint64_t{1} << 20));
    for (uint64_t position = 0; position < size;) {
      const uint64_t bytes = std::min<uint64_t>(piece.size(), size - position);
      uint64_t read = 0;
      VARVE_TRY((*from)->Read(position, {piece.data(), bytes}, &read));
      if (read == 0) return Status(Code::kCorrupt, path + " is shorter than it was");
      VARVE_TRY((*copy)->Write(position, {piece.data(), read}));
      position += read;
    }
    // As durable as what it replaces was: that may have been acknowledged.
    VARVE_TRY((*copy)->Sync());
  }
  VARVE_TRY(vfs.Rename(copy_path, path));
  return vfs.SyncDirectory(path.substr(0, path.rfind('/')));
}

// --- IndexFeed ---

void IndexFeed::Add(const BatchHeader& header, uint32_t position) {
  if (header.max_timestamp > max_timestamp) {
    max_timestamp = header.max_timestamp;
    offset_of_max = header.LastOffset();
  }
  if (bytes_since_entry > interval_bytes) {
    offsets->Append(header.LastOffset(), position);
    times->MaybeAppend(max_timestamp, offset_of_max);
    bytes_since_entry = 0;
  }
  bytes_since_entry += static_cast<uint32_t>(header.SizeBytes());
}

// --- Segment: making ---

Segment::Segment(std::shared_ptr<const LogSite> site, int64_t base_offset, uint32_t size, int64_t next_offset,
                 uint32_t trusted_from, const LogConfig& config)
    : site_(std::move(site)),
      base_offset_(base_offset),
      id_(NextSegmentId()),
      size_(size),
      next_offset_(next_offset),
      has_file_(false),
      verifier_(site_->PathOf(OffsetFileName(base_offset, kLogSuffix)), base_offset, trusted_from),
      capacity_(0),
      segment_bytes_(0),
      index_bytes_max_(config.segment_index_bytes),
      feed_{nullptr, nullptr, config.index_interval_bytes} {
  SetLimits(config);
}

Segment::~Segment() {
  if (space_) space_->Discard();
}

std::shared_ptr<Segment> Segment::New(std::shared_ptr<const LogSite> site, int64_t base_offset,
                                      const LogConfig& config, int64_t now_ms) {
  std::shared_ptr<Segment> segment(new Segment(std::move(site), base_offset, 0, base_offset, 0, config));
  segment->created_ms_ = now_ms;
  segment->AdoptIndexes(std::make_shared<OffsetIndex>(base_offset, config.segment_index_bytes),
                        std::make_shared<TimeIndex>(base_offset, config.segment_index_bytes),
                        std::make_shared<TxnIndex>(base_offset), Timestamps{});
  segment->Activate();
  return segment;
}

std::shared_ptr<Segment> Segment::Found(std::shared_ptr<const LogSite> site, int64_t base_offset,
                                        uint32_t size, int64_t next_offset, uint32_t trusted_from,
                                        const LogConfig& config) {
  std::shared_ptr<Segment> segment(
      new Segment(std::move(site), base_offset, size, next_offset, trusted_from, config));
  segment->has_file_.store(true, std::memory_order_release);
  segment->name_durable.store(true, std::memory_order_release);
  return segment;
}

std::string Segment::PathOf(std::string_view suffix) const {
  return site_->PathOf(OffsetFileName(base_offset_, suffix));
}

void Segment::SetLimits(const LogConfig& config) {
  segment_bytes_ = static_cast<uint32_t>(std::min<uint64_t>(config.segment_bytes, kSegmentBytesMax));
  feed_.interval_bytes = config.index_interval_bytes;
  index_interval_bytes_.store(config.index_interval_bytes, std::memory_order_relaxed);
  // A mapping that exists bounds the file; without one the next mapping is as large as asked for now.
  std::lock_guard<std::mutex> lock(mutex_);
  if (!mapped_) capacity_ = std::max(segment_bytes_, size());
}

Status Segment::Damaged(uint64_t position, const char* what) const {
  return Status(Code::kCorrupt,
                PathOf(kLogSuffix) + " at position " + std::to_string(position) + ": " + what);
}

// --- Segment: file and mapping ---

void Segment::Activate() {
  std::lock_guard<std::mutex> lock(mutex_);
  active_.store(true, std::memory_order_release);
  // Loading may have opened it for reading only.
  mapped_.reset();
  file_.reset();
  // It may also have rebuilt the indexes that were adopted, or let go of them. What is appended goes into those that readers
  // ask, and these stay as long as it is active.
  if (feed_.offsets != nullptr) {
    feed_.offsets = view_.offsets.get();
    feed_.times = view_.times.get();
  }
}

Status Segment::OpenFileLocked() {
  if (file_) return Status::Ok();
  const bool active = active_.load(std::memory_order_acquire);
  const OpenMode mode = has_file() ? (active ? OpenMode::kWrite : OpenMode::kRead) : OpenMode::kCreate;
  Result<std::shared_ptr<File>> file = site_->vfs().Open(PathOf(kLogSuffix), mode);
  if (!file.ok()) return file.status();
  file_ = std::move(*file);
  has_file_.store(true, std::memory_order_release);
  return Status::Ok();
}

Status Segment::MapLocked() {
  VARVE_TRY(OpenFileLocked());
  const bool active = active_.load(std::memory_order_acquire);
  if (active) capacity_ = std::max(segment_bytes_, size());
  const uint64_t bytes = active ? capacity_ : size();
  const MapMode mode = active && site_->map_appends ? MapMode::kShared : MapMode::kReadOnly;
  Result<std::shared_ptr<Mapping>> mapping = file_->Map(0, bytes, mode);
  if (!mapping.ok()) return mapping.status();
  mapped_ = std::make_shared<MappedSegment>(id_, base_offset_, PathOf(kLogSuffix), file_, std::move(*mapping),
                                            site_->context);
  return Status::Ok();
}

Result<std::shared_ptr<const MappedSegment>> Segment::Map() {
  touched_.store(true, std::memory_order_relaxed);
  std::shared_ptr<const MappedSegment> mapped;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (mapped_) return mapped_;
    if (retired_ || !has_file() || size() == 0) {
      return Status(Code::kNotFound, PathOf(kLogSuffix) + " is empty, or was truncated");
    }
    VARVE_TRY(MapLocked());
    mapped = mapped_;
  }
  site_->context->maps->Register(shared_from_this());
  return mapped;
}

void Segment::DropMapping() {
  std::shared_ptr<const MappedSegment> mapped;
  std::shared_ptr<AppendSpace> space;
  View view;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    mapped = std::move(mapped_);
    space = std::move(space_);
    // The heap that a closed segment's indexes take goes with its mapping.
    if (!active_.load(std::memory_order_acquire)) view = std::move(view_);
  }
  if (space) space->Close();
}

void Segment::Release() {
  std::shared_ptr<const MappedSegment> mapped;
  std::shared_ptr<AppendSpace> space;
  std::shared_ptr<File> file;
  std::shared_ptr<File> txn_file;
  View view;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    retired_ = true;
    mapped = std::move(mapped_);
    space = std::move(space_);
    file = std::move(file_);
    txn_file = std::move(txn_file_);
    view = std::move(view_);
  }
  if (space) space->Discard();
}

Status Segment::CreateFile() {
  std::lock_guard<std::mutex> lock(mutex_);
  return OpenFileLocked();
}

Status Segment::Sync() {
  std::shared_ptr<File> file;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!has_file()) return Status::Ok();
    VARVE_TRY(OpenFileLocked());
    file = file_;
  }
  VARVE_TRY(file->Sync());
  return SyncAborted();
}

/// The transaction index becomes durable with the batches that it speaks for: nothing scans them again once they are.
Status Segment::SyncAborted() {
  if (!aborted_unsynced_.exchange(false, std::memory_order_acq_rel)) return Status::Ok();
  std::shared_ptr<File> file;
  bool made;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    file = txn_file_;
    made = std::exchange(txn_file_made_, false);
  }
  if (file) VARVE_TRY(file->Sync());
  return made ? site_->vfs().SyncDirectory(site_->path) : Status::Ok();
}

// --- Segment: reading ---

Status Segment::EnsureSealLooked() {
  if (seal_looked_.load(std::memory_order_acquire)) return Status::Ok();
  std::lock_guard<std::mutex> lock(load_mutex_);
  if (seal_looked_.load(std::memory_order_acquire)) return Status::Ok();
  const Status status = LoadSeal();
  if (status.code() == Code::kIo) return status;
  // Without a good seal the batches' own CRCs are asked.
  seal_looked_.store(true, std::memory_order_release);
  return Status::Ok();
}

Status Segment::LoadSeal() {
  Result<std::vector<uint8_t>> file = site_->vfs().ReadFile(PathOf(kSealSuffix), kSealFileBytesMax);
  if (!file.ok()) return file.status();
  Result<Seal> seal = Seal::Load(*file, base_offset_);
  if (!seal.ok()) return seal.status();
  verifier_.SetSeal(*seal);
  if (seal->size_bytes == size()) {
    std::lock_guard<std::mutex> lock(timestamps_mutex_);
    if (!timestamps_) timestamps_ = Timestamps{seal->max_timestamp, seal->offset_of_max_timestamp};
  }
  sealed_.store(true, std::memory_order_release);
  seal_ = std::move(*seal);
  seal_looked_.store(true, std::memory_order_release);
  return Status::Ok();
}

Status Segment::Verify(const MappedSegment& bytes, uint32_t from, uint32_t to) {
  if (verifier_.AllTrusted()) return Status::Ok();
  VARVE_TRY(EnsureSealLooked());
  return verifier_.Check(Published(bytes), from, to, next_offset());
}

Status Segment::BatchAt(const MappedSegment& bytes, uint32_t position, uint32_t limit, BatchHeader* header) {
  if (uint64_t{position} + kBatchHeaderBytes > limit) return Status(Code::kNotFound, "end of segment");
  VARVE_TRY(Verify(bytes, position, position + kBatchHeaderBytes));
  if (ParseBatchHeader({bytes.data() + position, limit - position}, header) != BatchError::kOk ||
      !PlausibleHeader(*header)) {
    return Damaged(position, "no batch header where a batch should begin");
  }
  return Status::Ok();
}

Status Segment::WalkTo(const MappedSegment& bytes, uint32_t from, int64_t offset, uint32_t limit,
                       BatchPlace* place) {
  uint64_t position = from;
  while (position < limit) {
    VARVE_TRY(BatchAt(bytes, static_cast<uint32_t>(position), limit, &place->header));
    if (place->header.LastOffset() >= offset) {
      place->position = static_cast<uint32_t>(position);
      return Status::Ok();
    }
    position += place->header.SizeBytes();
  }
  return Status(Code::kNotFound, "end of segment");
}

bool Segment::HintHolds(const MappedSegment& bytes, const OffsetPosition& hint, uint32_t limit) {
  BatchHeader header;
  return BatchAt(bytes, hint.position, limit, &header).ok() && header.LastOffset() == hint.offset &&
         header.base_offset >= base_offset_;
}

Status Segment::Locate(const MappedSegment& bytes, int64_t offset, uint32_t limit, BatchPlace* place) {
  limit = std::min(limit, size());
  Result<std::shared_ptr<OffsetIndex>> offsets = Offsets();
  if (!offsets.ok()) return offsets.status();
  OffsetPosition hint = (*offsets)->Lookup(offset);
  if (hint.position >= limit) hint.position = 0;
  if (hint.position != 0 && !HintHolds(bytes, hint, limit)) {
    // Damaged data and a wrong index look alike from here: what a walk from the front finds decides.
    hint.position = 0;
    const Status walked = WalkTo(bytes, 0, offset, limit, place);
    if (walked.ok() || walked.code() == Code::kNotFound) {
      if (active_.load(std::memory_order_acquire)) {
        rebuild_wanted_.store(true, std::memory_order_relaxed);
      } else {
        const Status rebuilt = RebuildIndexes(bytes);
        if (!rebuilt.ok() && rebuilt.code() != Code::kCorrupt) return rebuilt;
      }
    }
    return walked;
  }
  return WalkTo(bytes, hint.position, offset, limit, place);
}

Result<int64_t> Segment::OffsetBefore(uint32_t position) {
  Result<std::shared_ptr<OffsetIndex>> offsets = Offsets();
  if (!offsets.ok()) return offsets.status();
  return (*offsets)->LookupPosition(position).offset;
}

Status Segment::LastBoundary(const MappedSegment& bytes, uint32_t position, uint32_t end, uint32_t* boundary,
                             int64_t* next_offset) {
  end = std::min(end, size());
  BatchHeader header;
  // An index entry near the end saves most of the walk; it is checked like any hint.
  Result<std::shared_ptr<OffsetIndex>> offsets = Offsets();
  if (!offsets.ok()) return offsets.status();
  const OffsetPosition hint = (*offsets)->LookupPosition(end);
  if (hint.position > position && hint.position < end && HintHolds(bytes, hint, end))
    position = hint.position;
  while (position < end) {
    const Status status = BatchAt(bytes, position, end, &header);
    if (status.code() == Code::kNotFound) break;
    VARVE_TRY(status);
    if (position + header.SizeBytes() > end) break;
    position += static_cast<uint32_t>(header.SizeBytes());
    *next_offset = header.NextOffset();
  }
  *boundary = position;
  return Status::Ok();
}

Status Segment::LocateTimestamp(const MappedSegment& bytes, int64_t timestamp, uint32_t limit,
                                BatchPlace* place) {
  limit = std::min(limit, size());
  Result<std::shared_ptr<TimeIndex>> times = Times();
  if (!times.ok()) return times.status();
  uint64_t position = 0;
  const TimeIndexEntry entry = (*times)->Lookup(timestamp);
  if (entry.timestamp != kNoTimestamp) {
    // The entry is right when the batch it names ends there and has that timestamp.
    BatchPlace named;
    const Status status = Locate(bytes, entry.offset, limit, &named);
    if (status.code() == Code::kCorrupt) return status;
    if (status.ok() && named.header.LastOffset() == entry.offset &&
        named.header.max_timestamp == entry.timestamp) {
      position = named.position;
    } else if (status.ok()) {
      if (active_.load(std::memory_order_acquire)) {
        rebuild_wanted_.store(true, std::memory_order_relaxed);
      } else {
        VARVE_TRY(RebuildIndexes(bytes));
      }
    }
  }
  while (position < limit) {
    VARVE_TRY(BatchAt(bytes, static_cast<uint32_t>(position), limit, &place->header));
    if (place->header.max_timestamp >= timestamp) {
      place->position = static_cast<uint32_t>(position);
      return Status::Ok();
    }
    position += place->header.SizeBytes();
  }
  return Status(Code::kNotFound, "no such timestamp");
}

Result<Segment::Timestamps> Segment::LargestTimestamp() {
  {
    std::lock_guard<std::mutex> lock(timestamps_mutex_);
    if (timestamps_) return *timestamps_;
  }
  if (size() == 0) return Timestamps{};
  VARVE_TRY(EnsureSealLooked());
  {
    std::lock_guard<std::mutex> lock(timestamps_mutex_);
    if (timestamps_) return *timestamps_;
  }
  Result<std::shared_ptr<const MappedSegment>> bytes = Map();
  if (!bytes.ok()) return bytes.status();
  Result<std::shared_ptr<TimeIndex>> times = Times();
  if (!times.ok()) return times.status();
  Timestamps found;
  const TimeIndexEntry last = (*times)->Last();
  BatchPlace place;
  // A crash may have left the time index behind the offset index, or both behind the log: from its last entry on, the batches
  // are asked. The entry itself is right when the batch that it names ends there and has that timestamp.
  uint32_t from = 0;
  if (last.timestamp != kNoTimestamp && Locate(**bytes, last.offset, size(), &place).ok() &&
      place.header.LastOffset() == last.offset && place.header.max_timestamp == last.timestamp) {
    found = {last.timestamp, last.offset};
    from = place.position;
  }
  VARVE_TRY(WalkTimestamps(**bytes, from, size(), &found));
  std::lock_guard<std::mutex> lock(timestamps_mutex_);
  if (!timestamps_) timestamps_ = found;
  return *timestamps_;
}

Status Segment::WalkTimestamps(const MappedSegment& bytes, uint32_t from, uint32_t end, Timestamps* largest) {
  BatchHeader header;
  for (uint64_t position = from; position < end; position += header.SizeBytes()) {
    VARVE_TRY(BatchAt(bytes, static_cast<uint32_t>(position), end, &header));
    if (header.max_timestamp > largest->max_timestamp) *largest = {header.max_timestamp, header.LastOffset()};
  }
  return Status::Ok();
}

int64_t Segment::FirstBatchTimestamp() {
  if (first_batch_timestamp_ != kNoTimestamp || size() == 0) return first_batch_timestamp_;
  Result<std::shared_ptr<const MappedSegment>> bytes = Map();
  BatchHeader header;
  if (bytes.ok() && BatchAt(**bytes, 0, size(), &header).ok()) first_batch_timestamp_ = header.max_timestamp;
  return first_batch_timestamp_;
}

Status Segment::CollectAborted(int64_t from, int64_t up_to, std::vector<AbortedTransaction>* out,
                               bool* complete) {
  Result<std::shared_ptr<TxnIndex>> aborted = Aborted();
  if (!aborted.ok()) return aborted.status();
  *complete = (*aborted)->CollectAborted(from, up_to, out);
  return Status::Ok();
}

// --- Segment: indexes ---

void Segment::AdoptIndexes(std::shared_ptr<OffsetIndex> offsets, std::shared_ptr<TimeIndex> times,
                           std::shared_ptr<TxnIndex> aborted, const Timestamps& timestamps) {
  {
    std::lock_guard<std::mutex> lock(timestamps_mutex_);
    timestamps_ = timestamps;
  }
  feed_.max_timestamp = timestamps.max_timestamp;
  feed_.offset_of_max = timestamps.offset_of_max;
  feed_.offsets = offsets.get();
  feed_.times = times.get();
  std::lock_guard<std::mutex> lock(mutex_);
  view_ = {std::move(offsets), std::move(times), std::move(aborted)};
}

void Segment::AdoptScanned(std::shared_ptr<OffsetIndex> offsets, std::shared_ptr<TimeIndex> times,
                           const Timestamps& timestamps) {
  AdoptIndexes(std::move(offsets), std::move(times), nullptr, timestamps);
}

Status Segment::ReplaceAborted(std::shared_ptr<TxnIndex> aborted) {
  site_->rebuilt_indexes.fetch_add(1, std::memory_order_relaxed);
  const std::string path = PathOf(kTxnIndexSuffix);
  Status status;
  if (aborted->entry_count() > 0) {
    status = site_->vfs().WriteFile(path, aborted->Encode(), true);
  } else {
    status = site_->vfs().Remove(path);
    if (status.ok()) status = site_->vfs().SyncDirectory(site_->path);
    if (status.code() == Code::kNotFound) status = Status::Ok();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  view_.aborted = std::move(aborted);
  txn_file_.reset();
  return status;
}

Status Segment::TruncateAborted(int64_t offset) {
  Result<std::shared_ptr<TxnIndex>> aborted = Aborted();
  if (!aborted.ok()) return aborted.status();
  if (!HasAbortedFile()) return Status::Ok();
  Result<std::shared_ptr<File>> file = OpenAborted();
  if (!file.ok()) return file.status();
  VARVE_TRY((*aborted)->TruncateTo(offset, file->get()));
  aborted_unsynced_.store(true, std::memory_order_release);
  return Status::Ok();
}

Result<std::shared_ptr<File>> Segment::OpenAborted() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (txn_file_) return txn_file_;
  }
  const bool made = !HasAbortedFile();
  Result<std::shared_ptr<File>> file = site_->vfs().Open(PathOf(kTxnIndexSuffix), OpenMode::kCreate);
  if (!file.ok()) return file.status();
  std::lock_guard<std::mutex> lock(mutex_);
  txn_file_ = *file;
  txn_file_made_ = made;
  return file;
}

Result<std::shared_ptr<OffsetIndex>> Segment::Offsets() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (view_.offsets) return view_.offsets;
  }
  VARVE_TRY(LoadIndexes());
  std::lock_guard<std::mutex> lock(mutex_);
  if (view_.offsets) return view_.offsets;
  // Evicted between the two: an empty index is right, only slow.
  return std::make_shared<OffsetIndex>(base_offset_, index_bytes_max_);
}

Result<std::shared_ptr<TimeIndex>> Segment::Times() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (view_.times) return view_.times;
  }
  VARVE_TRY(LoadIndexes());
  std::lock_guard<std::mutex> lock(mutex_);
  if (view_.times) return view_.times;
  return std::make_shared<TimeIndex>(base_offset_, index_bytes_max_);
}

Result<std::shared_ptr<TxnIndex>> Segment::Aborted() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (view_.aborted) return view_.aborted;
  }
  VARVE_TRY(EnsureSealLooked());
  std::lock_guard<std::mutex> load(load_mutex_);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (view_.aborted) return view_.aborted;
  }
  std::shared_ptr<TxnIndex> aborted;
  Result<std::vector<uint8_t>> file = site_->vfs().ReadFile(PathOf(kTxnIndexSuffix), kIndexFileBytesMax);
  const bool must_match = seal_.has_value() && seal_->size_bytes == size();
  if (!file.ok()) {
    if (file.status().code() != Code::kNotFound) return file.status();
    if (must_match && seal_->txn_index.size_bytes != 0) {
      return Status(Code::kCorrupt, PathOf(kTxnIndexSuffix) + " is missing although the seal names it");
    }
    aborted = std::make_shared<TxnIndex>(base_offset_);
  } else {
    if (must_match && FileSum::Of(*file) != seal_->txn_index) {
      return Status(Code::kCorrupt, PathOf(kTxnIndexSuffix) + " differs from its seal");
    }
    Result<std::unique_ptr<TxnIndex>> loaded = TxnIndex::Load(*file, base_offset_);
    if (!loaded.ok()) return loaded.status();
    aborted = std::move(*loaded);
  }
  std::lock_guard<std::mutex> lock(mutex_);
  view_.aborted = aborted;
  return aborted;
}

Status Segment::LoadIndexes() {
  VARVE_TRY(EnsureSealLooked());
  std::lock_guard<std::mutex> load(load_mutex_);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (view_.offsets && view_.times) return Status::Ok();
  }
  const bool must_match = seal_.has_value() && seal_->size_bytes == size();
  const IndexBounds bounds{base_offset_, next_offset(), size(), index_bytes_max_};
  std::shared_ptr<OffsetIndex> offsets;
  std::shared_ptr<TimeIndex> times;
  Result<std::vector<uint8_t>> file = site_->vfs().ReadFile(PathOf(kIndexSuffix), kIndexFileBytesMax);
  if (file.ok() && (!must_match || FileSum::Of(*file) == seal_->index)) {
    Result<std::unique_ptr<OffsetIndex>> loaded = OffsetIndex::Load(*file, bounds);
    if (loaded.ok()) offsets = std::move(*loaded);
  }
  file = site_->vfs().ReadFile(PathOf(kTimeIndexSuffix), kIndexFileBytesMax);
  if (file.ok() && (!must_match || FileSum::Of(*file) == seal_->time_index)) {
    Result<std::unique_ptr<TimeIndex>> loaded = TimeIndex::Load(*file, bounds);
    if (loaded.ok()) times = std::move(*loaded);
  }
  if (offsets && times) {
    std::lock_guard<std::mutex> lock(mutex_);
    view_.offsets = std::move(offsets);
    view_.times = std::move(times);
    return Status::Ok();
  }
  if (size() == 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    view_.offsets = std::make_shared<OffsetIndex>(base_offset_, index_bytes_max_);
    view_.times = std::make_shared<TimeIndex>(base_offset_, index_bytes_max_);
    return Status::Ok();
  }
  Result<std::shared_ptr<const MappedSegment>> bytes = Map();
  if (!bytes.ok()) return bytes.status();
  const Status rebuilt = RebuildIndexes(**bytes);
  // Damaged bytes end the index early; reading them says so.
  return rebuilt.code() == Code::kCorrupt ? Status::Ok() : rebuilt;
}

Status Segment::RebuildIndexes(const MappedSegment& bytes) {
  site_->rebuilt_indexes.fetch_add(1, std::memory_order_relaxed);
  auto offsets = std::make_shared<OffsetIndex>(base_offset_, index_bytes_max_);
  auto times = std::make_shared<TimeIndex>(base_offset_, index_bytes_max_);
  IndexFeed feed{offsets.get(), times.get(), index_interval_bytes_.load(std::memory_order_relaxed)};
  const uint32_t end = size();
  Status status;
  for (uint64_t position = 0; position < end;) {
    BatchHeader header;
    status = BatchAt(bytes, static_cast<uint32_t>(position), end, &header);
    if (!status.ok()) break;
    feed.Add(header, static_cast<uint32_t>(position));
    position += header.SizeBytes();
  }
  const bool closed = !active_.load(std::memory_order_acquire);
  if (closed && feed.max_timestamp != kNoTimestamp)
    times->MaybeAppend(feed.max_timestamp, feed.offset_of_max, true);
  {
    std::lock_guard<std::mutex> lock(timestamps_mutex_);
    if (status.ok()) timestamps_ = Timestamps{feed.max_timestamp, feed.offset_of_max};
  }
  std::lock_guard<std::mutex> lock(mutex_);
  view_.offsets = std::move(offsets);
  view_.times = std::move(times);
  return status;
}

// --- Segment: appending ---

Status Segment::Prepare(uint32_t bytes) {
  const uint32_t end = size() + bytes;
  bool mapped_now = false;
  if (feed_.offsets == nullptr || rebuild_wanted_.load(std::memory_order_relaxed)) VARVE_TRY(PrepareFeed());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (mapped_ && end > capacity_) {
      // Still empty, mapped for an append that failed, and segment.bytes was raised since.
      if (space_) space_->Discard();
      space_.reset();
      mapped_.reset();
    }
    if (!mapped_) {
      VARVE_TRY(MapLocked());
      mapped_now = true;
    }
    if (!space_) {
      Result<uint64_t> allocated = file_->Size();
      if (!allocated.ok()) return allocated.status();
      space_ = std::make_shared<AppendSpace>(file_, site_->map_appends ? mapped_->shared_mapping() : nullptr,
                                             *allocated, capacity_);
    }
    appending_ = mapped_;
    appending_space_ = space_;
  }
  touched_.store(true, std::memory_order_relaxed);
  if (mapped_now) site_->context->maps->Register(shared_from_this());
  if (!site_->map_appends) return Status::Ok();
  return appending_space_->Reserve(end);
}

/// What the indexes of a segment that was found hold is loaded, or made again, before the first batch is
/// added to them.
Status Segment::PrepareFeed() {
  if (rebuild_wanted_.exchange(false, std::memory_order_relaxed) && size() > 0) {
    Result<std::shared_ptr<const MappedSegment>> mapped = Map();
    if (!mapped.ok()) return mapped.status();
    const Status rebuilt = RebuildIndexes(**mapped);
    if (!rebuilt.ok() && rebuilt.code() != Code::kCorrupt) return rebuilt;
  }
  Result<std::shared_ptr<OffsetIndex>> offsets = Offsets();
  if (!offsets.ok()) return offsets.status();
  Result<std::shared_ptr<TimeIndex>> times = Times();
  if (!times.ok()) return times.status();
  Result<std::shared_ptr<TxnIndex>> aborted = Aborted();
  if (!aborted.ok()) return aborted.status();
  Result<Timestamps> timestamps = LargestTimestamp();
  if (!timestamps.ok()) return timestamps.status();
  feed_.max_timestamp = timestamps->max_timestamp;
  feed_.offset_of_max = timestamps->offset_of_max;
  if (size() > 0) feed_.EntryDue();
  feed_.offsets = offsets->get();
  feed_.times = times->get();
  return Status::Ok();
}

Status Segment::Put(uint32_t position, Bytes batch, int64_t base_offset, int32_t leader_epoch,
                    int64_t append_time_ms, BatchHeader* header) {
  stored_by_mapping_ = site_->map_appends && batch.size() < site_->written_bytes_min;
  if (!stored_by_mapping_) return Write(position, batch, base_offset, leader_epoch, append_time_ms, header);
  uint8_t* to = appending_->mapping().data() + position;
  std::memcpy(to, batch.data(), batch.size());
  PatchBaseOffset(to, base_offset);
  if (leader_epoch != kNoLeaderEpoch) PatchLeaderEpoch(to, leader_epoch);
  if (append_time_ms >= 0) PatchAppendTime({to, batch.size()}, append_time_ms);
  if (ParseBatchHeader({to, batch.size()}, header) != BatchError::kOk) {
    return Status(Code::kInvalid, "not a record batch");
  }
  FeedSeal(position, *header, {to, batch.size()}, {});
  return Status::Ok();
}

/// As Put, by a call: only the header is copied.
Status Segment::Write(uint32_t position, Bytes batch, int64_t base_offset, int32_t leader_epoch,
                      int64_t append_time_ms, BatchHeader* header) {
  uint8_t head[kBatchHeaderBytes];
  if (batch.size() < sizeof head) return Status(Code::kInvalid, "not a record batch");
  std::memcpy(head, batch.data(), sizeof head);
  const Bytes rest = batch.subspan(sizeof head);
  PatchBaseOffset(head, base_offset);
  if (leader_epoch != kNoLeaderEpoch) PatchLeaderEpoch(head, leader_epoch);
  if (append_time_ms >= 0) PatchAppendTime(head, rest, append_time_ms);
  if (ParseBatchHeader(head, header) != BatchError::kOk) return Status(Code::kInvalid, "not a record batch");
  VARVE_TRY(appending_->file().WriteTwo(position, head, rest));
  FeedSeal(position, *header, head, rest);
  return Status::Ok();
}

void Segment::FeedSeal(uint32_t position, const BatchHeader& header, Bytes first, Bytes second) {
  if (position == 0) seal_builder_ = std::make_unique<SealBuilder>(base_offset_);
  if (seal_builder_ == nullptr) return;
  if (seal_builder_->size_bytes() == position) {
    seal_builder_->AddBatch(header, first, second);
  } else {
    seal_builder_.reset();
  }
}

void Segment::Commit(const BatchHeader& header, uint32_t position) {
  if (position == 0) first_batch_timestamp_ = header.max_timestamp;
  const int64_t before = feed_.max_timestamp;
  feed_.Add(header, position);
  next_offset_.store(header.NextOffset(), std::memory_order_release);
  if (feed_.max_timestamp != before) {
    std::lock_guard<std::mutex> lock(timestamps_mutex_);
    timestamps_ = Timestamps{feed_.max_timestamp, feed_.offset_of_max};
  }
}

void Segment::Publish(uint32_t size, int64_t now_ms) {
  if (created_ms_ == 0) created_ms_ = now_ms;
  size_.store(size, std::memory_order_release);
  // What is written needs no page faulted in ahead: the call makes it, without zeroing it first.
  if (stored_by_mapping_) appending_space_->Advance(size, now_ms, site_->context->executor());
  appending_.reset();
  appending_space_.reset();
}

Status Segment::AddAborted(const AbortedTxn& txn) {
  Result<std::shared_ptr<TxnIndex>> aborted = Aborted();
  if (!aborted.ok()) return aborted.status();
  Result<std::shared_ptr<File>> file = OpenAborted();
  const Status added = file.ok() ? (*aborted)->Append(txn, **file) : (*aborted)->Append(txn);
  if (!added.ok() || !file.ok()) aborted_unwritten_.store(true, std::memory_order_relaxed);
  aborted_unsynced_.store(true, std::memory_order_release);
  return added.ok() && !file.ok() ? file.status() : added;
}

bool Segment::IndexFull() {
  return feed_.offsets != nullptr && (feed_.offsets->IsFull() || feed_.times->IsFull());
}

// --- Segment: closing ---

Status Segment::Finish() {
  std::shared_ptr<AppendSpace> space;
  std::shared_ptr<const MappedSegment> mapped;
  std::shared_ptr<File> file;
  View view;
  const uint32_t end = size();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    active_.store(false, std::memory_order_release);
    space = std::move(space_);
    mapped = mapped_;
    file = file_;
    // From here on the segment may be made to let go of them.
    view = view_;
  }
  if (space) space->Discard();
  if (file) {
    // Without a space, too: that may have gone with a mapping that was taken for another log's.
    const Result<uint64_t> size = file->Size();
    if (!size.ok()) return size.status();
    if (mapped && site_->map_appends) mapped->mapping().Cut(end);
    if (*size > end) VARVE_TRY(file->Truncate(end));
  }
  if (has_file()) seal_due_.store(true, std::memory_order_release);
  if (feed_.times != nullptr && feed_.max_timestamp != kNoTimestamp) {
    view.times->MaybeAppend(feed_.max_timestamp, feed_.offset_of_max, true);
  }
  return Persist(view);
}

Status Segment::PersistIndexes() {
  View view;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    view = view_;
  }
  return Persist(view);
}

Status Segment::Persist(const View& view) {
  if (!has_file()) return Status::Ok();
  std::lock_guard<std::mutex> lock(persist_mutex_);
  if (view.aborted && aborted_unwritten_.exchange(false, std::memory_order_relaxed)) {
    // In place: the appender may have the file open, and add to it meanwhile.
    Status written;
    Result<std::shared_ptr<File>> aborted = OpenAborted();
    written = aborted.ok() ? (*aborted)->Write(0, view.aborted->Encode()) : aborted.status();
    if (!written.ok()) {
      aborted_unwritten_.store(true, std::memory_order_relaxed);
      return written;
    }
    aborted_unsynced_.store(true, std::memory_order_release);
  }
  if (!view.offsets || !view.times) return Status::Ok();
  Result<std::shared_ptr<File>> file = site_->vfs().Open(PathOf(kIndexSuffix), OpenMode::kCreate);
  if (!file.ok()) return file.status();
  VARVE_TRY(view.offsets->Persist(**file));
  file = site_->vfs().Open(PathOf(kTimeIndexSuffix), OpenMode::kCreate);
  if (!file.ok()) return file.status();
  return view.times->Persist(**file);
}

FileSum Segment::SumOf(std::string_view suffix) const {
  Result<std::vector<uint8_t>> file = site_->vfs().ReadFile(PathOf(suffix), kIndexFileBytesMax);
  return file.ok() ? FileSum::Of(*file) : FileSum{};
}

Status Segment::WriteSeal() {
  if (size() == 0) {
    seal_due_.store(false, std::memory_order_release);
    return Status::Ok();
  }
  VARVE_TRY(PersistIndexes());
  // The bytes were synced before; the size that Finish trimmed it to maybe not.
  VARVE_TRY(Sync());
  if (seal_builder_ == nullptr || seal_builder_->size_bytes() != size()) {
    Result<std::shared_ptr<const MappedSegment>> bytes = Map();
    if (!bytes.ok()) return bytes.status();
    auto builder = std::make_unique<SealBuilder>(base_offset_);
    VARVE_TRY(builder->Add(Published(**bytes)));
    seal_builder_ = std::move(builder);
  }
  Result<Seal> seal =
      seal_builder_->Finish(SumOf(kIndexSuffix), SumOf(kTimeIndexSuffix), SumOf(kTxnIndexSuffix));
  if (!seal.ok()) return seal.status();
  // A closed segment reaches to the base of the next one, whatever compaction left of its end.
  seal->next_offset = next_offset();
  VARVE_TRY(site_->vfs().WriteFile(PathOf(kSealSuffix), seal->Encode(), false));
  seal_builder_.reset();
  seal_due_.store(false, std::memory_order_release);
  sealed_.store(true, std::memory_order_release);
  return Status::Ok();
}

Status Segment::RemoveSeal(bool* existed) {
  sealed_.store(false, std::memory_order_release);
  const Status status = site_->vfs().Remove(PathOf(kSealSuffix));
  *existed = status.ok();
  return status.code() == Code::kNotFound ? Status::Ok() : status;
}

Result<std::shared_ptr<Segment>> Segment::Truncate(uint32_t size, int64_t next_offset,
                                                   const LogConfig& config, Status* status) {
  Result<std::shared_ptr<OffsetIndex>> offsets = Offsets();
  if (!offsets.ok()) return offsets.status();
  Result<std::shared_ptr<TimeIndex>> times = Times();
  if (!times.ok()) return times.status();
  Result<std::shared_ptr<TxnIndex>> aborted = Aborted();
  if (!aborted.ok()) return aborted.status();

  std::shared_ptr<AppendSpace> space;
  std::shared_ptr<const MappedSegment> mapped;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!file_ && has_file()) VARVE_TRY(OpenFileLocked());
    space = std::move(space_);
    mapped = std::move(mapped_);
    retired_ = true;
  }
  if (space) space->Discard();
  space.reset();
  mapped.reset();
  *status = CutFile(site_->vfs(), PathOf(kLogSuffix), size, true);
  if (status->code() == Code::kNoSpace) {
    std::lock_guard<std::mutex> lock(mutex_);
    retired_ = false;
    return *status;
  }

  std::shared_ptr<Segment> next =
      Found(site_, base_offset_, size, next_offset, verifier_.AllTrusted() ? 0 : size, config);
  next->name_durable.store(name_durable.load(std::memory_order_acquire), std::memory_order_release);
  next->created_ms_ = created_ms_;
  next->Activate();
  (*offsets)->TruncateTo(next_offset);
  (*times)->TruncateTo(next_offset);
  next->AdoptIndexes(*offsets, *times, *aborted, Timestamps{});
  for (const Status& step : {next->TruncateAborted(next_offset), next->RefeedTimestamps()}) {
    if (status->ok()) *status = step;
  }
  return next;
}

Status Segment::RefeedTimestamps() {
  // The time index knows the largest timestamp up to the last offset index entry; the few batches behind it
  // are asked.
  const TimeIndexEntry last = feed_.times->Last();
  Timestamps largest{last.timestamp, last.timestamp == kNoTimestamp ? -1 : last.offset};
  if (size() > 0) {
    Result<std::shared_ptr<const MappedSegment>> bytes = Map();
    if (!bytes.ok()) return bytes.status();
    VARVE_TRY(WalkTimestamps(**bytes, feed_.offsets->Last().position, size(), &largest));
  }
  feed_.max_timestamp = largest.max_timestamp;
  feed_.offset_of_max = largest.offset_of_max;
  std::lock_guard<std::mutex> lock(timestamps_mutex_);
  timestamps_ = largest;
  return Status::Ok();
}

void Segment::Retire() {
  std::lock_guard<std::mutex> lock(mutex_);
  retired_ = true;
}

Result<std::vector<AbortedTxn>> Segment::AbortedTxns() {
  Result<std::shared_ptr<TxnIndex>> aborted = Aborted();
  if (!aborted.ok()) return aborted.status();
  return (*aborted)->Entries();
}

Status Segment::MarkDeleted() {
  for (const std::string_view suffix :
       {kLogSuffix, kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix, kSealSuffix}) {
    const std::string path = PathOf(suffix);
    const Status status = site_->vfs().Rename(path, path + std::string(kDeletedSuffix));
    if (!status.ok() && status.code() != Code::kNotFound) return status;
  }
  return Status::Ok();
}

void Segment::RemoveDeleted() {
  for (const std::string_view suffix :
       {kLogSuffix, kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix, kSealSuffix}) {
    // A file that can't be removed is removed by the next start.
    [[maybe_unused]] const Status ignored = site_->vfs().Remove(PathOf(suffix) + std::string(kDeletedSuffix));
  }
}

}  // namespace varve
