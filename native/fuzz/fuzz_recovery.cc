// SPDX-License-Identifier: Apache-2.0
// Opens a log directory that holds what the input says. The input is a little program: which file to write next, bytes of its own
// or well-formed ones (batches, seals, checkpoints, the mark of a clean stop) to put there, checksums to make right, bytes to
// spoil. Whatever lies there, opening may refuse but not crash; no batch with a wrong CRC is served; appending goes on at the
// end that there is, and after a clean stop it opens again. What recovery must keep is recovery_test's and crash_test's to say.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/checkpoint_file.h"
#include "core/crc32c.h"
#include "core/engine.h"
#include "core/epoch_cache.h"
#include "core/meta_properties.h"
#include "core/producer_state.h"
#include "core/seal.h"
#include "core/segment_files.h"
#include "core/truncation_mark.h"
#include "core/vfs_memory.h"
#include "fuzz/fuzz_input.h"

namespace varve {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;
constexpr size_t kFileBytesMax = 1 << 16;
const std::string kDirectory = "/data";
const std::string kPartition = kDirectory + "/orders-0/";

void Require(bool holds) {
  if (!holds) std::abort();
}

Bytes BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class Disk {
 public:
  explicit Disk(Bytes bytes) : input_(bytes) {
    Require(vfs_->CreateDirectories(kPartition).ok());
    while (!input_.empty()) Step();
    Flush();
  }
  const std::shared_ptr<MemoryVfs>& vfs() const { return vfs_; }

 private:
  void Step() {
    switch (input_.Byte() % 12) {
      case 0:
        Choose();
        break;
      case 1:
        Put(input_.Take(input_.Byte()));
        break;
      case 2:
        Put(std::vector<uint8_t>(size_t{input_.Byte()} * 8, 0));
        break;
      case 3:
        if (!file_.empty())
          file_[(input_.Byte() | size_t{input_.Byte()} << 8) % file_.size()] ^= input_.Byte();
        break;
      case 4:
        MakeChecksumRight();
        break;
      case 5:
        Seal();
        break;
      case 6:
        Checkpoints();
        break;
      case 7:
        file_.resize(file_.size() - std::min<size_t>(file_.size(), input_.Byte()));
        break;
      default:
        Batch();
    }
  }

  int64_t Offset() {
    static constexpr int64_t kOffsets[] = {0, 0, 0, 4, 8, 16, 100, int64_t{1} << 40};
    return kOffsets[input_.Byte() % 8];
  }

  void Choose() {
    static constexpr std::string_view kSuffixes[] = {kLogSuffix,       kLogSuffix,      kIndexSuffix,
                                                     kTimeIndexSuffix, kTxnIndexSuffix, kSnapshotSuffix,
                                                     kSealSuffix};
    static const char* const kNames[] = {"orders-0/leader-epoch-checkpoint",
                                         "orders-0/partition.metadata",
                                         "orders-0/varve-truncation-mark",
                                         "recovery-point-offset-checkpoint",
                                         "log-start-offset-checkpoint",
                                         kChecksumsName,
                                         ".kafka_cleanshutdown",
                                         "meta.properties"};
    Flush();
    const uint8_t kind = input_.Byte();
    if (kind % 4 == 3) {
      path_ = kDirectory + "/" + kNames[kind / 4 % 8];
      return;
    }
    base_ = Offset();
    path_ = kPartition + OffsetFileName(base_, kSuffixes[kind % 7]);
    if (kind >= 240) path_ += kind % 2 == 0 ? kSwapSuffix : kCleanedSuffix;
    next_ = base_;
  }
  void Put(Bytes bytes) {
    if (file_.size() + bytes.size() <= kFileBytesMax) file_.insert(file_.end(), bytes.begin(), bytes.end());
  }
  void Flush() {
    if (!path_.empty() && !file_.empty()) Require(vfs_->WriteFile(path_, file_, true).ok());
    file_.clear();
  }

  void Batch() {
    const uint8_t shape = input_.Byte();
    BatchMetadata metadata;
    metadata.base_offset = next_ + (shape % 16 == 15 ? static_cast<int8_t>(input_.Byte()) : 0);
    metadata.partition_leader_epoch = static_cast<int32_t>(input_.Byte() % 8) - 1;
    if (shape & 0x10) {
      metadata.producer_id = shape % 3;
      metadata.producer_epoch = static_cast<int16_t>(shape % 2);
      metadata.base_sequence = static_cast<int32_t>(input_.Byte());
      metadata.is_transactional = (shape & 0x20) != 0;
      metadata.is_control = (shape & 0x60) == 0x60;
    }
    std::vector<uint8_t> buffer;
    BatchBuilder builder(&buffer);
    builder.Begin(metadata);
    const int records = metadata.is_control ? 1 : 1 + shape % 4;
    const std::vector<uint8_t> key{0, 0, 0, static_cast<uint8_t>(shape >> 7)};
    const std::vector<uint8_t> value(metadata.is_control ? 6 : input_.Byte(), 0);
    for (int i = 0; i < records; ++i)
      builder.Append(1000 + shape + i, metadata.is_control ? NullableBytes::Of(key) : NullableBytes{},
                     NullableBytes::Of(value));
    Put(builder.Finish());
    next_ = metadata.base_offset + records;
  }

  void MakeChecksumRight() {
    if (path_.ends_with(kSnapshotSuffix) && file_.size() >= kProducerSnapshotHeaderBytes) {
      StoreU32(&file_[2], Crc32c(0, Bytes(file_).subspan(6)));
    } else if (path_.ends_with(kSealSuffix) && file_.size() >= 4) {
      StoreU32(&file_[file_.size() - 4], Crc32c(0, Bytes(file_).first(file_.size() - 4)));
    }
  }

  /// A good seal over the log file that is being made, which may be spoiled afterwards.
  void Seal() {
    if (!path_.ends_with(kLogSuffix)) return;
    SealBuilder builder(base_);
    if (!builder.Add(file_).ok()) return;
    Result<varve::Seal> seal = builder.Finish({}, {}, {});
    if (!seal.ok()) return;
    seal->next_offset = std::max(seal->next_offset, seal->next_offset + input_.Byte() % 4);
    Require(vfs_->WriteFile(kPartition + OffsetFileName(base_, kSealSuffix), seal->Encode(), true).ok());
  }

  void Checkpoints() {
    Flush();
    const uint8_t shape = input_.Byte();
    if (shape & 1)
      Require(
          vfs_->WriteFile(kDirectory + "/.kafka_cleanshutdown", BytesOf(CleanShutdownMarker{}.Encode()), true)
              .ok());
    if (shape & 2) {
      const TruncationMark mark{Offset(), shape & 0x80 ? Offset() : -1};
      Require(mark.Write(*vfs_, kPartition.substr(0, kPartition.size() - 1)).ok());
    }
    const std::vector<CheckpointEntry> points{{{"orders", 0}, Offset()}};
    const std::vector<CheckpointEntry> starts{{{"orders", 0}, Offset()}};
    CheckpointSet set(vfs_.get(), kDirectory);
    if (!set.Load().ok()) return;
    if (shape & 4) {
      EpochCache epochs;
      epochs.Assign(shape >> 5, Offset());
      Require(epochs.Store(*vfs_, kPartition + kEpochCheckpointName, true).ok());
      set.Record(std::string("orders-0/") + kEpochCheckpointName, BytesOf(epochs.Encode()));
    }
    std::vector<CheckpointSet::Update> updates{{CheckpointKind::kRecoveryPoint, &points}};
    if (shape & 8) updates.push_back({CheckpointKind::kLogStart, &starts});
    Require(set.Store(updates, true).ok());
  }

  const std::shared_ptr<MemoryVfs> vfs_ = MakeMemoryVfs(false);
  fuzz::Input input_;
  std::string path_ = kPartition + OffsetFileName(0, kLogSuffix);
  int64_t base_ = 0;
  int64_t next_ = 0;
  std::vector<uint8_t> file_;
};

/// Reads from the log start on, as far as it goes: every batch that is served is whole and has the right CRC.
void ReadAll(Log& log) {
  int64_t offset = log.log_start_offset();
  const LogPosition end = log.log_end();
  Require(offset <= end.offset);
  while (offset < end.offset) {
    LogSlice slice;
    ReadOptions options;
    options.whole_batches = true;
    options.max_bytes = 300;
    const Status status = log.Read(offset, end, options, &slice);
    if (!status.ok() || slice.bytes == 0) {
      Require(status.ok() || status.code() == Code::kCorrupt);
      break;
    }
    for (Bytes rest{slice.data(), slice.bytes}; !rest.empty();) {
      BatchHeader header;
      Require(ParseBatchHeader(rest, &header) == BatchError::kOk && header.SizeBytes() <= rest.size());
      const Bytes batch = rest.first(header.SizeBytes());
      Require(VerifyCrc(batch));
      // A base offset is under no CRC: where neither a scan nor a seal vouches for it, it may say anything.
      if (header.LastOffset() < offset || header.NextOffset() > end.offset) return;
      offset = header.NextOffset();
      rest = rest.subspan(batch.size());
    }
  }
}

void LookAround(Log& log) {
  const int64_t end = log.log_end_offset();
  for (int64_t offset = log.log_start_offset(); offset < std::min(end, log.log_start_offset() + 40);
       ++offset) {
    const Result<LogPosition> position = log.PositionOf(offset);
    Require(position.ok() || position.status().code() == Code::kCorrupt);
    log.EpochForOffset(offset);
  }
  for (int64_t timestamp = 990; timestamp < 1300; timestamp += 30)
    [[maybe_unused]] const Result<TimestampOffset> found = log.OffsetForTimestamp(timestamp, end);
  [[maybe_unused]] const Result<TimestampOffset> largest = log.OffsetOfMaxTimestamp(log.log_end_offset());
  std::vector<AbortedTransaction> aborted;
  [[maybe_unused]] const Status collected = log.CollectAborted(log.log_start_offset(), end, &aborted);
  for (int32_t epoch = -1; epoch < 9; ++epoch) log.EndOffsetForEpoch(epoch);
}

void Try(Bytes input) {
  const uint8_t mode = input.empty() ? 0 : input[0];
  const Disk disk(input.empty() ? input : input.subspan(1));
  EngineOptions options;
  options.directories = {kDirectory};
  options.vfs = disk.vfs();
  options.append_io = mode & 1 ? AppendIo::kPwrite : AppendIo::kMmap;
  options.defaults.segment_bytes = 4096;
  options.defaults.index_interval_bytes = 64;
  options.defaults.segment_index_bytes = 256;
  options.defaults.cleanup_compact = (mode & 2) != 0;
  const auto executor = MakeInlineExecutor();
  options.executor = executor;
  Result<std::shared_ptr<Engine>> engine = Engine::Open(options);
  if (!engine.ok()) return;
  std::shared_ptr<Log> log = (*engine)->FindLog({"orders", 0});
  if (!log) {
    Require(!(*engine)->problems().empty());
    Require((*engine)->Close().ok());
    return;
  }
  LookAround(*log);
  ReadAll(*log);
  int64_t end = log->log_end_offset();
  {
    std::vector<uint8_t> buffer;
    BatchBuilder builder(&buffer);
    builder.Begin({});
    builder.Append(2000, NullableBytes{}, NullableBytes::Of(BytesOf("value")));
    const MutableBytes batch = builder.Finish();
    std::lock_guard<std::mutex> lock(log->append_mutex());
    for (int i = 0; i < 3; ++i) {
      const AppendResult result = log->Append(batch, AppendOrigin::kClient, 9, kNow);
      if (result.error != AppendError::kNone) break;
      Require(result.base_offset == end);
      end = result.last_offset + 1;
    }
  }
  while (executor->Step(0)) {
  }
  ReadAll(*log);
  log.reset();
  if (!(*engine)->Close().ok()) return;
  engine = Engine::Open(options);
  Require(engine.ok());
  log = (*engine)->FindLog({"orders", 0});
  Require(log != nullptr);
  ReadAll(*log);
  LookAround(*log);
  log.reset();
  Require((*engine)->Close().ok());
  Require(disk.vfs()->FilesTouchedBeyondEnd().empty());
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::Try({data, size});
  return 0;
}
