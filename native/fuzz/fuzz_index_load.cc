// SPDX-License-Identifier: Apache-2.0
// Feeds bytes to everything that is loaded from a log directory besides the .log files: indexes, snapshots,
// checkpoints, the sidecars and the small property files. The first byte chooses the loader; with its top bit
// set the checksum of a format that has one is made right first, so that what lies behind it is reached.
// Whatever loads must encode to bytes that load to the same.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/checkpoint_file.h"
#include "core/crc32c.h"
#include "core/epoch_cache.h"
#include "core/meta_properties.h"
#include "core/offset_index.h"
#include "core/partition_metadata.h"
#include "core/producer_state.h"
#include "core/seal.h"
#include "core/text_scan.h"
#include "core/time_index.h"
#include "core/txn_index.h"
#include "core/vfs_memory.h"

namespace varve {
namespace {

constexpr int64_t kBaseOffset = 1000;

void Require(bool holds) {
  if (!holds) std::abort();
}

void LoadOffsetIndex(Bytes file) {
  const IndexBounds bounds{.base_offset = kBaseOffset, .next_offset = kBaseOffset + (1 << 30)};
  auto index = OffsetIndex::Load(file, bounds);
  if (!index.ok()) return;
  const OffsetPosition last = (*index)->Last();
  for (int64_t target = kBaseOffset - 1; target < last.offset + 2;
       target += 1 + (last.offset - kBaseOffset) / 37) {
    const OffsetPosition found = (*index)->Lookup(target);
    Require(found.offset <= target || found == OffsetPosition({kBaseOffset, 0}));
    Require((*index)->LookupPosition(found.position) == found);
  }
  const std::vector<uint8_t> bytes = (*index)->Encode();
  auto again = OffsetIndex::Load(bytes, bounds);
  Require(again.ok() && (*again)->Encode() == bytes);
  (*index)->TruncateTo(kBaseOffset + (last.offset - kBaseOffset) / 2);
  if ((*index)->Append(last.offset + 1, last.position + 1))
    Require((*index)->Last().offset == last.offset + 1);
  auto vfs = MakeMemoryVfs(false);
  auto on_disk = *vfs->Open("/i", OpenMode::kCreate);
  Require(on_disk->Write(0, file).ok() && (*again)->Persist(*on_disk).ok());
  Require(*vfs->ReadFile("/i", 1 << 20) == bytes);
}

void LoadTimeIndex(Bytes file) {
  const IndexBounds bounds{.base_offset = kBaseOffset};
  auto index = TimeIndex::Load(file, bounds);
  if (!index.ok()) return;
  const TimeIndexEntry last = (*index)->Last();
  Require((*index)->Lookup(INT64_MAX) == last && (*index)->Lookup(last.timestamp) == last);
  Require((*index)->Lookup(INT64_MIN) == (TimeIndexEntry{-1, kBaseOffset}));
  const std::vector<uint8_t> bytes = (*index)->Encode();
  auto again = TimeIndex::Load(bytes, bounds);
  Require(again.ok() && (*again)->Encode() == bytes);
  (*index)->TruncateTo(last.offset);
  (*index)->MaybeAppend(last.timestamp, last.offset, true);
}

void LoadTxnIndex(Bytes file) {
  auto index = TxnIndex::Load(file, kBaseOffset);
  if (!index.ok()) return;
  Require((*index)->Encode() == std::vector<uint8_t>(file.begin(), file.end()));
  std::vector<AbortedTransaction> found;
  (*index)->CollectAborted(kBaseOffset, INT64_MAX, &found);
  Require(found.size() <= (*index)->entry_count());
  Require((*index)->TruncateTo(kBaseOffset, nullptr).ok() && (*index)->entry_count() == 0);
}

void LoadSnapshot(std::vector<uint8_t> file, bool fix) {
  if (fix && file.size() >= kProducerSnapshotHeaderBytes)
    StoreU32(&file[2], Crc32c(0, Bytes(file).subspan(6)));
  ProducerState state;
  if (!state.LoadSnapshot(file, kBaseOffset, INT64_MIN / 2, 0).ok()) {
    Require(state.IsEmpty());
    return;
  }
  for (const ProducerEntry& entry : state.entries()) Require(state.Find(entry.producer_id) == &entry);
  const std::vector<uint8_t> bytes = state.EncodeSnapshot();
  ProducerState again;
  Require(again.LoadSnapshot(bytes, kBaseOffset, INT64_MIN / 2, 0).ok() && again.EncodeSnapshot() == bytes);
  Require(state.FirstUnstableOffset() == again.FirstUnstableOffset());
  state.RemoveExpired(INT64_MAX, 0);
  for (const ProducerEntry& entry : state.entries()) Require(entry.InTransaction());
}

void LoadEpochs(Bytes file) {
  auto entries = EpochCache::Parse(file);
  if (!entries.ok()) return;
  EpochCache cache;
  cache.Reset(*entries);
  auto again = EpochCache::Parse(AsBytes(cache.Encode()));
  Require(again.ok() && *again == *entries);
  for (const EpochEntry& entry : *entries) Require(cache.EpochForOffset(entry.start_offset) == entry.epoch);
}

void LoadCheckpoint(Bytes file) {
  auto entries = CheckpointFile::Parse(file);
  if (!entries.ok()) return;
  auto again = CheckpointFile::Parse(AsBytes(CheckpointFile::Encode(*entries)));
  Require(again.ok() && *again == *entries);
}

void LoadChecksums(std::vector<uint8_t> file, bool fix) {
  if (fix) {
    char own[32];
    std::snprintf(own, sizeof own, "crc32c %08x\n", Crc32c(0, file));
    file.insert(file.end(), own, own + 16);
  }
  auto checksums = Checksums::Parse(file);
  if (!checksums.ok()) return;
  const std::string text = checksums->Encode();
  auto again = Checksums::Parse(AsBytes(text));
  Require(again.ok() && again->Encode() == text);
}

void LoadSeal(std::vector<uint8_t> file, bool fix) {
  if (fix && file.size() >= 4)
    StoreU32(&file[file.size() - 4], Crc32c(0, Bytes(file).first(file.size() - 4)));
  auto seal = Seal::Load(file, kBaseOffset);
  if (!seal.ok()) return;
  for (uint32_t block = 0; block < seal->block_count(); block++) Require(seal->BlockBytes(block) > 0);
  Require(*Seal::Load(seal->Encode(), kBaseOffset) == *seal);
}

void BuildSeal(Bytes log) {
  SealBuilder whole(0);
  SealBuilder pieces(0);
  const Status status = whole.Add(log);
  Status piece = Status::Ok();
  for (size_t at = 0; at < log.size() && piece.ok(); at += 13)
    piece = pieces.Add(log.subspan(at, std::min<size_t>(13, log.size() - at)));
  Require(piece.code() == status.code());
  if (!status.ok()) return;
  auto seal = whole.Finish({}, {}, {});
  auto other = pieces.Finish({}, {}, {});
  Require(seal.ok() == other.ok());
  if (seal.ok()) Require(*seal == *other && seal->size_bytes == log.size());
}

void LoadProperties(Bytes file) {
  if (auto metadata = PartitionMetadata::Parse(file); metadata.ok()) {
    Require(PartitionMetadata::Parse(AsBytes(metadata->Encode()))->topic_id == metadata->topic_id);
  }
  if (auto meta = MetaProperties::Parse(file); meta.ok()) {
    auto again = MetaProperties::Parse(AsBytes(meta->Encode(0)));
    Require(again.ok() && again->properties() == meta->properties());
  }
  if (auto marker = CleanShutdownMarker::Parse(file); marker.ok()) {
    Require(CleanShutdownMarker::Parse(AsBytes(marker->Encode()))->broker_epoch == marker->broker_epoch);
  }
}

void LoadMarker(Bytes file) { (void)ParseEndTransactionMarker(file); }

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace varve;
  if (size == 0) return 0;
  const bool fix = (data[0] & 0x80) != 0;
  const Bytes file(data + 1, size - 1);
  const std::vector<uint8_t> copy(file.begin(), file.end());
  switch ((data[0] & 0x7f) % 11) {
    case 0:
      LoadOffsetIndex(file);
      break;
    case 1:
      LoadTimeIndex(file);
      break;
    case 2:
      LoadTxnIndex(file);
      break;
    case 3:
      LoadSnapshot(copy, fix);
      break;
    case 4:
      LoadEpochs(file);
      break;
    case 5:
      LoadCheckpoint(file);
      break;
    case 6:
      LoadChecksums(copy, fix);
      break;
    case 7:
      LoadSeal(copy, fix);
      break;
    case 8:
      BuildSeal(file);
      break;
    case 9:
      LoadProperties(file);
      break;
    default:
      LoadMarker(file);
  }
  return 0;
}
