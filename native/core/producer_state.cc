// SPDX-License-Identifier: Apache-2.0
#include "core/producer_state.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>

#include "core/crc32c.h"
#include "core/segment_files.h"

namespace varve {
namespace {

constexpr int16_t kSnapshotVersion = 1;
constexpr uint32_t kSnapshotCrcPosition = 2;
constexpr uint32_t kSnapshotCrcCoversFrom = 6;
/// A snapshot larger than this (23 million producers) is not one of ours or Kafka's.
constexpr uint64_t kSnapshotBytesMax = uint64_t{1} << 30;

constexpr int16_t kControlTypeAbort = 0;
constexpr int16_t kControlTypeCommit = 1;
constexpr int32_t kControlKeyBytes = 4;
constexpr int32_t kMarkerValueBytes = 6;
/// The first transaction version whose markers bump the producer epoch.
constexpr int16_t kTransactionVersionEpochBump = 2;

bool InSequence(int32_t last, int32_t next) {
  return last == std::numeric_limits<int32_t>::max() ? next == 0 : next == last + 1;
}

bool IsExpired(const ProducerEntry& entry, int64_t now_ms, int64_t expiration_ms) {
  return !entry.InTransaction() && entry.last_timestamp <= now_ms - expiration_ms;
}

void MoveToEpoch(ProducerEntry* entry, int16_t epoch) {
  if (entry->producer_epoch == epoch) return;
  entry->producer_epoch = epoch;
  entry->batch_count = 0;
  entry->batch_next = 0;
}

void AddBatch(ProducerEntry* entry, const ProducerBatch& batch) {
  entry->batches[entry->batch_next] = batch;
  entry->batch_next = entry->batch_next + 1 == kProducerBatchesRetained ? 0 : entry->batch_next + 1;
  if (entry->batch_count < kProducerBatchesRetained) entry->batch_count++;
}

const ProducerBatch* FindDuplicate(const ProducerEntry& entry, int32_t first_sequence,
                                   int32_t last_sequence) {
  for (int i = 0; i < entry.batch_count; i++) {
    const ProducerBatch& batch = entry.BatchFromNewest(i);
    if (batch.last_sequence == last_sequence && batch.FirstSequence() == first_sequence) return &batch;
  }
  return nullptr;
}

AppendError CheckSequence(const ProducerEntry& entry, int16_t epoch, int32_t first_sequence) {
  if (entry.producer_epoch == kNoProducerEpoch) return AppendError::kNone;
  const bool in_order =
      epoch == entry.producer_epoch ? InSequence(entry.LastSequence(), first_sequence) : first_sequence == 0;
  return in_order ? AppendError::kNone : AppendError::kOutOfOrderSequence;
}

AppendError CheckMarker(const ProducerEntry& entry, int16_t epoch, const EndTransactionMarker& marker,
                        int16_t transaction_version) {
  if (transaction_version >= kTransactionVersionEpochBump ? epoch <= entry.producer_epoch
                                                          : epoch < entry.producer_epoch) {
    // A coordinator that lost our answer, or was restarted, writes its marker again (KAFKA-19999).
    const bool repeated = transaction_version >= kTransactionVersionEpochBump &&
                          epoch == entry.producer_epoch && !entry.InTransaction();
    if (!repeated) return AppendError::kInvalidProducerEpoch;
  }
  return entry.coordinator_epoch > marker.coordinator_epoch ? AppendError::kCoordinatorFenced
                                                            : AppendError::kNone;
}

template <typename Txns, typename Txn>
void InsertByFirstOffset(Txns* txns, const Txn& txn) {
  const auto at =
      std::upper_bound(txns->begin(), txns->end(), txn.first_offset,
                       [](int64_t offset, const Txn& other) { return offset < other.first_offset; });
  txns->insert(at, txn);
}

}  // namespace

std::optional<EndTransactionMarker> ParseEndTransactionMarker(Bytes batch) {
  BatchHeader header;
  if (ParseBatchHeader(batch, &header) != BatchError::kOk || header.SizeBytes() > batch.size())
    return std::nullopt;
  if (!header.IsControl() || header.IsCompressed() || header.record_count < 1) return std::nullopt;
  RecordIterator records(batch.subspan(kBatchHeaderBytes, header.SizeBytes() - kBatchHeaderBytes),
                         header.record_count);
  RecordView record;
  if (!records.Next(&record) || record.key.size < kControlKeyBytes || record.value.size < kMarkerValueBytes) {
    return std::nullopt;
  }
  const int16_t type = LoadI16(record.key.data + 2);
  // Versions above 0 only add fields behind those read here.
  if ((type != kControlTypeAbort && type != kControlTypeCommit) || LoadI16(record.value.data) < 0) {
    return std::nullopt;
  }
  EndTransactionMarker marker;
  marker.commit = type == kControlTypeCommit;
  marker.coordinator_epoch = LoadI32(record.value.data + 2);
  marker.timestamp = header.timestamp_type() == TimestampType::kLogAppendTime
                         ? header.max_timestamp
                         : static_cast<int64_t>(static_cast<uint64_t>(header.base_timestamp) +
                                                static_cast<uint64_t>(record.timestamp_delta));
  return marker;
}

ProducerState::ProducerState() : hash_key_(std::bit_cast<uintptr_t>(this) * 0x9e3779b97f4a7c15u) {}
ProducerState::~ProducerState() = default;

// --- the map ---

size_t ProducerState::Bucket(int64_t producer_id) const {
  uint64_t hash = static_cast<uint64_t>(producer_id) ^ hash_key_;
  hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93u;
  hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93u;
  return static_cast<size_t>(hash >> 32) & (buckets_.size() - 1);
}

uint32_t ProducerState::FindSlot(int64_t producer_id) const {
  if (buckets_.empty()) return ProducerCheck::npos;
  for (size_t bucket = Bucket(producer_id); buckets_[bucket] != 0;
       bucket = (bucket + 1) & (buckets_.size() - 1)) {
    const uint32_t slot = buckets_[bucket] - 1;
    if (entries_[slot].producer_id == producer_id) return slot;
  }
  return ProducerCheck::npos;
}

void ProducerState::Rehash(size_t buckets) {
  buckets_.assign(buckets, 0);
  for (uint32_t slot = 0; slot < entries_.size(); slot++) {
    size_t bucket = Bucket(entries_[slot].producer_id);
    while (buckets_[bucket] != 0) bucket = (bucket + 1) & (buckets - 1);
    buckets_[bucket] = slot + 1;
  }
}

uint32_t ProducerState::Insert(int64_t producer_id) {
  constexpr size_t kBucketsMin = 4;
  const uint32_t slot = static_cast<uint32_t>(entries_.size());
  entries_.emplace_back().producer_id = producer_id;
  if (entries_.size() * 2 > buckets_.size()) {
    Rehash(std::bit_ceil(std::max(entries_.size() * 2, kBucketsMin)));
    return slot;
  }
  size_t bucket = Bucket(producer_id);
  while (buckets_[bucket] != 0) bucket = (bucket + 1) & (buckets_.size() - 1);
  buckets_[bucket] = slot + 1;
  return slot;
}

const ProducerEntry* ProducerState::Find(int64_t producer_id) const {
  const uint32_t slot = FindSlot(producer_id);
  return slot == ProducerCheck::npos ? nullptr : &entries_[slot];
}

uint32_t ProducerState::RemoveExpired(int64_t now_ms, int64_t expiration_ms) {
  const size_t before = entries_.size();
  std::erase_if(entries_,
                [=](const ProducerEntry& entry) { return IsExpired(entry, now_ms, expiration_ms); });
  const size_t removed = before - entries_.size();
  if (removed == 0) return 0;
  if (entries_.size() < entries_.capacity() / 4) entries_.shrink_to_fit();
  std::vector<uint32_t>().swap(buckets_);
  if (!entries_.empty()) Rehash(std::bit_ceil(entries_.size() * 2));
  return static_cast<uint32_t>(removed);
}

void ProducerState::Clear(int64_t offset) {
  entries_.clear();
  buckets_.clear();
  ongoing_.clear();
  unreplicated_.clear();
  map_end_offset_ = offset;
  snapshot_offset_ = -1;
}

void ProducerState::Recall(const ProducerState& older) {
  snapshot_offset_ = -1;
  for (ProducerEntry& entry : entries_) {
    const ProducerEntry* before = older.Find(entry.producer_id);
    if (before == nullptr || before->producer_epoch != entry.producer_epoch || entry.batch_count == 0 ||
        entry.batch_count == kProducerBatchesRetained) {
      continue;
    }
    ProducerEntry filled = entry;
    filled.batch_count = 0;
    const int64_t known_from = entry.BatchFromNewest(entry.batch_count - 1).FirstOffset();
    for (int i = before->batch_count - 1; i >= 0; i--) {
      if (before->BatchFromNewest(i).last_offset < known_from) AddBatch(&filled, before->BatchFromNewest(i));
    }
    for (int i = entry.batch_count - 1; i >= 0; i--) AddBatch(&filled, entry.BatchFromNewest(i));
    entry = filled;
  }
}

// --- appending ---

ProducerCheck ProducerState::CheckAppend(const BatchHeader& header, AppendOrigin origin,
                                         const EndTransactionMarker* marker,
                                         int16_t transaction_version) const {
  ProducerCheck check;
  check.slot = FindSlot(header.producer_id);
  if (check.slot == ProducerCheck::npos || origin == AppendOrigin::kReplica) return check;
  const ProducerEntry& entry = entries_[check.slot];
  if (header.IsControl()) {
    if (marker != nullptr)
      check.error = CheckMarker(entry, header.producer_epoch, *marker, transaction_version);
    return check;
  }
  if (origin == AppendOrigin::kClient && header.producer_epoch == entry.producer_epoch) {
    if (const ProducerBatch* batch = FindDuplicate(entry, header.base_sequence, header.LastSequence())) {
      check.duplicate = true;
      check.base_offset = batch->FirstOffset();
      check.last_offset = batch->last_offset;
      check.timestamp = batch->timestamp;
      return check;
    }
  }
  if (header.producer_epoch < entry.producer_epoch) {
    check.error = AppendError::kInvalidProducerEpoch;
    return check;
  }
  if (origin == AppendOrigin::kClient) {
    check.error = CheckSequence(entry, header.producer_epoch, header.base_sequence);
    if (check.error != AppendError::kNone) return check;
  }
  if (entry.InTransaction() && !header.IsTransactional()) check.error = AppendError::kInvalidTxnState;
  return check;
}

bool ProducerState::Update(const ProducerCheck& check, const BatchHeader& header, int64_t base_offset,
                           const EndTransactionMarker* marker, CompletedTxn* completed) {
  const int64_t last_offset = base_offset + header.last_offset_delta;
  map_end_offset_ = last_offset + 1;
  // A control batch without its marker was emptied by compaction, with all of its transaction.
  if (!header.HasProducerId() || (header.IsControl() && marker == nullptr)) return false;
  uint32_t slot = check.slot;
  // An earlier batch of the same append may have made the entry.
  if (slot == ProducerCheck::npos) slot = FindSlot(header.producer_id);
  if (slot == ProducerCheck::npos) slot = Insert(header.producer_id);
  ProducerEntry& entry = entries_[slot];
  assert(entry.producer_id == header.producer_id);
  MoveToEpoch(&entry, header.producer_epoch);
  if (header.IsControl()) return EndTransaction(&entry, *marker, last_offset, completed);

  AddBatch(&entry, {header.LastSequence(), header.last_offset_delta, last_offset, header.max_timestamp});
  entry.last_timestamp = header.max_timestamp;
  if (header.IsTransactional() && !entry.InTransaction()) {
    entry.current_txn_first_offset = base_offset;
    InsertByFirstOffset(&ongoing_, OpenTxn{base_offset, entry.producer_id, -1});
  }
  return false;
}

bool ProducerState::Replay(const BatchHeader& header, const EndTransactionMarker* marker,
                           CompletedTxn* completed) {
  return Update(ProducerCheck{}, header, header.base_offset, marker, completed);
}

bool ProducerState::EndTransaction(ProducerEntry* entry, const EndTransactionMarker& marker,
                                   int64_t last_offset, CompletedTxn* completed) {
  const int64_t first_offset = entry->current_txn_first_offset;
  entry->current_txn_first_offset = -1;
  entry->coordinator_epoch = marker.coordinator_epoch;
  entry->last_timestamp = marker.timestamp;
  // A transaction without data here moves no last stable offset.
  if (first_offset < 0) return false;
  if (completed != nullptr) {
    *completed = {entry->producer_id, first_offset, last_offset,
                  LastStableOffset(entry->producer_id, last_offset), !marker.commit};
  }
  std::erase_if(ongoing_, [=](const OpenTxn& txn) {
    return txn.first_offset == first_offset && txn.producer_id == entry->producer_id;
  });
  InsertByFirstOffset(&unreplicated_, OpenTxn{first_offset, entry->producer_id, last_offset});
  return true;
}

// --- transactions ---

int64_t ProducerState::LastStableOffset(int64_t producer_id, int64_t last_offset) const {
  for (const OpenTxn& txn : ongoing_) {
    if (txn.producer_id != producer_id) return txn.first_offset;
  }
  return last_offset + 1;
}

int64_t ProducerState::FirstUndecidedOffset() const {
  return ongoing_.empty() ? -1 : ongoing_.front().first_offset;
}

int64_t ProducerState::FirstUnstableOffset() const {
  if (unreplicated_.empty()) return FirstUndecidedOffset();
  const int64_t unreplicated = unreplicated_.front().first_offset;
  return ongoing_.empty() ? unreplicated : std::min(unreplicated, ongoing_.front().first_offset);
}

void ProducerState::OnHighWatermark(int64_t high_watermark) {
  if (unreplicated_.empty()) return;
  std::erase_if(unreplicated_, [=](const OpenTxn& txn) { return txn.last_offset < high_watermark; });
}

void ProducerState::OnLogStartOffset(int64_t log_start_offset) {
  OnHighWatermark(log_start_offset);
  map_end_offset_ = std::max(map_end_offset_, log_start_offset);
}

bool ProducerState::HasOpenTransaction(int64_t producer_id, int16_t producer_epoch) const {
  const ProducerEntry* entry = Find(producer_id);
  return entry != nullptr && entry->InTransaction() && entry->producer_epoch == producer_epoch;
}

int64_t ProducerState::OldestTransactionTimestamp() const {
  if (ongoing_.empty()) return -1;
  const ProducerEntry* entry = Find(ongoing_.front().producer_id);
  return entry == nullptr ? -1 : entry->last_timestamp;
}

// --- snapshots ---

std::vector<uint8_t> ProducerState::EncodeSnapshot() const {
  std::vector<uint8_t> bytes(kProducerSnapshotHeaderBytes + entries_.size() * kProducerSnapshotEntryBytes);
  StoreI16(bytes.data(), kSnapshotVersion);
  StoreU32(&bytes[kSnapshotCrcCoversFrom], static_cast<uint32_t>(entries_.size()));
  uint8_t* to = bytes.data() + kProducerSnapshotHeaderBytes;
  for (const ProducerEntry& entry : entries_) {
    const bool has_batch = entry.batch_count > 0;
    StoreI64(to, entry.producer_id);
    StoreI16(to + 8, entry.producer_epoch);
    StoreI32(to + 10, entry.LastSequence());
    StoreI64(to + 14, entry.LastDataOffset());
    StoreI32(to + 22, has_batch ? entry.BatchFromNewest(0).offset_delta : 0);
    StoreI64(to + 26, entry.last_timestamp);
    StoreI32(to + 34, entry.coordinator_epoch);
    StoreI64(to + 38, entry.current_txn_first_offset);
    to += kProducerSnapshotEntryBytes;
  }
  StoreU32(&bytes[kSnapshotCrcPosition], Crc32c(0, Bytes(bytes).subspan(kSnapshotCrcCoversFrom)));
  return bytes;
}

Status ProducerState::LoadSnapshot(Bytes snapshot, int64_t offset, int64_t now_ms, int64_t expiration_ms) {
  Clear(offset);
  if (snapshot.size() < kProducerSnapshotHeaderBytes) {
    return Status(Code::kCorrupt, "producer snapshot: too short for its header");
  }
  if (LoadI16(snapshot.data()) != kSnapshotVersion) {
    return Status(Code::kCorrupt,
                  "producer snapshot: unknown version " + std::to_string(LoadI16(snapshot.data())));
  }
  if (LoadU32(&snapshot[kSnapshotCrcPosition]) != Crc32c(0, snapshot.subspan(kSnapshotCrcCoversFrom))) {
    return Status(Code::kCorrupt, "producer snapshot: CRC does not fit");
  }
  const uint64_t count = LoadU32(&snapshot[kSnapshotCrcCoversFrom]);
  if (snapshot.size() != kProducerSnapshotHeaderBytes + count * kProducerSnapshotEntryBytes) {
    return Status(Code::kCorrupt, "producer snapshot: size does not fit its count");
  }
  entries_.reserve(count);
  for (uint64_t i = 0; i < count; i++) {
    const uint8_t* at = &snapshot[kProducerSnapshotHeaderBytes + i * kProducerSnapshotEntryBytes];
    ProducerEntry entry;
    entry.producer_id = LoadI64(at);
    entry.producer_epoch = LoadI16(at + 8);
    entry.last_timestamp = LoadI64(at + 26);
    entry.coordinator_epoch = LoadI32(at + 34);
    entry.current_txn_first_offset = std::max<int64_t>(LoadI64(at + 38), -1);
    if (LoadI64(at + 14) >= 0) {
      AddBatch(&entry, {LoadI32(at + 10), LoadI32(at + 22), LoadI64(at + 14), entry.last_timestamp});
    }
    if (IsExpired(entry, now_ms, expiration_ms)) continue;
    // The last of two entries for one producer holds, as where Kafka loads them into a map.
    uint32_t slot = FindSlot(entry.producer_id);
    if (slot == ProducerCheck::npos) slot = Insert(entry.producer_id);
    entries_[slot] = entry;
  }
  snapshot_offset_ = offset;
  for (const ProducerEntry& entry : entries_) {
    if (entry.InTransaction()) ongoing_.push_back({entry.current_txn_first_offset, entry.producer_id, -1});
  }
  std::sort(ongoing_.begin(), ongoing_.end(),
            [](const OpenTxn& a, const OpenTxn& b) { return a.first_offset < b.first_offset; });
  return Status::Ok();
}

// --- ProducerSnapshots ---

void ProducerSnapshots::Scan(const std::vector<std::string>& names) {
  offsets_.clear();
  for (const std::string& name : names) {
    if (const std::optional<int64_t> offset = ParseOffsetFileName(name, kSnapshotSuffix))
      offsets_.push_back(*offset);
  }
  std::sort(offsets_.begin(), offsets_.end());
}

bool ProducerSnapshots::Has(int64_t offset) const {
  return std::binary_search(offsets_.begin(), offsets_.end(), offset);
}

std::string ProducerSnapshots::PathOf(int64_t offset) const {
  return directory_ + '/' + OffsetFileName(offset, kSnapshotSuffix);
}

Status ProducerSnapshots::Write(int64_t offset, Bytes snapshot, bool durable) {
  if (Has(offset)) return Status::Ok();
  VARVE_TRY(vfs_->WriteFile(PathOf(offset), snapshot, durable));
  offsets_.insert(std::upper_bound(offsets_.begin(), offsets_.end(), offset), offset);
  return Status::Ok();
}

Status ProducerSnapshots::Delete(int64_t offset) {
  const auto at = std::lower_bound(offsets_.begin(), offsets_.end(), offset);
  if (at == offsets_.end() || *at != offset) return Status::Ok();
  const Status removed = vfs_->Remove(PathOf(offset));
  if (!removed.ok() && removed.code() != Code::kNotFound) return removed;
  offsets_.erase(at);
  return Status::Ok();
}

template <typename Which>
Status ProducerSnapshots::DeleteIf(Which which) {
  const std::vector<int64_t> offsets = offsets_;
  for (const int64_t offset : offsets) {
    if (which(offset)) VARVE_TRY(Delete(offset));
  }
  return Status::Ok();
}

Status ProducerSnapshots::DeleteBefore(int64_t offset) {
  return DeleteIf([=](int64_t snapshot) { return snapshot < offset; });
}

Status ProducerSnapshots::DeleteAll() {
  return DeleteIf([](int64_t) { return true; });
}

Status ProducerSnapshots::RemoveStray(std::span<const int64_t> base_offsets) {
  const int64_t latest = LatestOffset();
  return DeleteIf([=](int64_t snapshot) {
    if (std::binary_search(base_offsets.begin(), base_offsets.end(), snapshot)) return false;
    return snapshot != latest || (!base_offsets.empty() && snapshot < base_offsets.back());
  });
}

Status ProducerSnapshots::TruncateAndReload(ProducerState* state, int64_t log_start_offset,
                                            int64_t log_end_offset, int64_t now_ms, int64_t expiration_ms) {
  const bool ahead = LatestOffset() > log_end_offset;
  VARVE_TRY(
      DeleteIf([=](int64_t snapshot) { return snapshot > log_end_offset || snapshot <= log_start_offset; }));
  // A power cut must not bring one back beside what is appended from here on.
  if (ahead) VARVE_TRY(vfs_->SyncDirectory(directory_));
  if (state->map_end_offset() == log_end_offset) {
    state->OnLogStartOffset(log_start_offset);
    return Status::Ok();
  }
  while (!offsets_.empty()) {
    const int64_t offset = LatestOffset();
    const Result<std::vector<uint8_t>> bytes = vfs_->ReadFile(PathOf(offset), kSnapshotBytesMax);
    if (bytes.ok()) {
      if (state->LoadSnapshot(*bytes, offset, now_ms, expiration_ms).ok()) return Status::Ok();
    } else if (bytes.status().code() != Code::kNotFound && bytes.status().code() != Code::kTooLarge) {
      return bytes.status();
    }
    VARVE_TRY(Delete(offset));
  }
  state->Clear(log_start_offset);
  return Status::Ok();
}

}  // namespace varve
