// SPDX-License-Identifier: Apache-2.0
#include "core/txn_index.h"

#include <algorithm>
#include <array>
#include <string>

namespace varve {
namespace {

constexpr int16_t kVersion = 0;

void StoreEntry(const AbortedTxn& txn, uint8_t* to) {
  StoreI16(to, kVersion);
  StoreI64(to + 2, txn.producer_id);
  StoreI64(to + 10, txn.first_offset);
  StoreI64(to + 18, txn.last_offset);
  StoreI64(to + 26, txn.last_stable_offset);
}

Status Corrupt(size_t slot, const char* what) {
  return Status(Code::kCorrupt,
                "transaction index: entry " + std::to_string(slot) + ' ' + what + "; rebuild it");
}

}  // namespace

Result<std::unique_ptr<TxnIndex>> TxnIndex::Load(Bytes file, int64_t base_offset) {
  if (file.size() % kTxnIndexEntryBytes != 0) {
    return Status(Code::kCorrupt, "transaction index: " + std::to_string(file.size()) +
                                      " bytes are no multiple of 34; rebuild it");
  }
  auto index = std::make_unique<TxnIndex>(base_offset);
  const size_t count = file.size() / kTxnIndexEntryBytes;
  index->entries_.reserve(count);
  // A marker may be the first batch of the segment; one before it can't be.
  int64_t marker_above = base_offset - 1;
  for (size_t slot = 0; slot < count; slot++) {
    const uint8_t* at = &file[slot * kTxnIndexEntryBytes];
    const AbortedTxn txn{LoadI64(at + 2), LoadI64(at + 10), LoadI64(at + 18), LoadI64(at + 26)};
    if (LoadI16(at) != kVersion) return Corrupt(slot, "has an unknown version");
    if (txn.producer_id < 0) return Corrupt(slot, "has no producer id");
    if (txn.last_offset <= marker_above) return Corrupt(slot, "lies before the one in front of it");
    if (txn.first_offset < 0 || txn.first_offset >= txn.last_offset)
      return Corrupt(slot, "begins behind its marker");
    if (txn.last_stable_offset < 0 || txn.last_stable_offset - 1 > txn.last_offset) {
      return Corrupt(slot, "has a last stable offset behind its marker");
    }
    index->entries_.push_back(txn);
    marker_above = txn.last_offset;
  }
  return index;
}

uint32_t TxnIndex::entry_count() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<uint32_t>(entries_.size());
}

std::vector<AbortedTxn> TxnIndex::Entries() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return entries_;
}

Status TxnIndex::Append(const AbortedTxn& txn) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!entries_.empty() && txn.last_offset <= entries_.back().last_offset) {
    return Status(Code::kInvalid, "transaction index: markers come in the order of the log");
  }
  entries_.push_back(txn);
  return Status::Ok();
}

Status TxnIndex::Append(const AbortedTxn& txn, File& file) {
  VARVE_TRY(Append(txn));
  std::array<uint8_t, kTxnIndexEntryBytes> entry;
  StoreEntry(txn, entry.data());
  return file.Write(size_bytes() - kTxnIndexEntryBytes, entry);
}

bool TxnIndex::CollectAborted(int64_t from, int64_t up_to, std::vector<AbortedTransaction>* out) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto at = std::partition_point(entries_.begin(), entries_.end(),
                                 [from](const AbortedTxn& txn) { return txn.last_offset < from; });
  for (; at != entries_.end(); ++at) {
    if (at->first_offset < up_to) out->push_back({at->producer_id, at->first_offset});
    // Whatever a later marker aborts began at or behind this last stable offset.
    if (at->last_stable_offset >= up_to) return true;
  }
  return false;
}

Status TxnIndex::TruncateTo(int64_t offset, File* file) {
  uint64_t size;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto keep = std::partition_point(entries_.begin(), entries_.end(), [offset](const AbortedTxn& txn) {
      return txn.last_offset < offset;
    });
    entries_.erase(keep, entries_.end());
    size = entries_.size() * uint64_t{kTxnIndexEntryBytes};
  }
  return file == nullptr ? Status::Ok() : file->Truncate(size);
}

std::vector<uint8_t> TxnIndex::Encode() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<uint8_t> bytes(entries_.size() * kTxnIndexEntryBytes);
  for (size_t slot = 0; slot < entries_.size(); slot++) {
    StoreEntry(entries_[slot], &bytes[slot * kTxnIndexEntryBytes]);
  }
  return bytes;
}

}  // namespace varve
