// SPDX-License-Identifier: Apache-2.0
// Recovery: the pure scan over byte images, then whole logs whose files were cut or changed at every byte. Method: build a small log,
// damage a copy of its files, open it, and hold what it serves against what was appended.
#include "core/recovery.h"

#include <set>

#include "core/offset_index.h"
#include "core/segment_files.h"
#include "engine_fixture.h"

namespace varve {
namespace {

std::vector<uint8_t> Stored(const std::vector<uint8_t>& batch, int64_t base_offset, int32_t epoch = 0) {
  std::vector<uint8_t> stored = batch;
  PatchBaseOffset(stored.data(), base_offset);
  PatchLeaderEpoch(stored.data(), epoch);
  return stored;
}

void AppendTo(std::vector<uint8_t>* image, const std::vector<uint8_t>& bytes) {
  image->insert(image->end(), bytes.begin(), bytes.end());
}

class ScanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 4; ++i) AppendTo(&image_, Stored(MakeBatch(2, 40, static_cast<uint64_t>(i)), 2 * i));
    batch_bytes_ = image_.size() / 4;
  }
  ScanResult Scan(int64_t expected = 0, bool gaps = false) {
    ScanOptions options;
    options.expected_offset = expected;
    options.gaps_allowed = gaps;
    return ScanBatches(image_, options, {});
  }
  std::vector<uint8_t> image_;
  size_t batch_bytes_ = 0;
};

TEST_F(ScanTest, FindsAllBatchesOfACleanImage) {
  const ScanResult result = Scan();
  EXPECT_EQ(result.verdict, ScanVerdict::kClean);
  EXPECT_EQ(result.stop, ScanStop::kEnd);
  EXPECT_EQ(result.valid_bytes, image_.size());
  EXPECT_EQ(result.next_offset, 8);
  EXPECT_EQ(result.batch_count, 4u);
}

TEST_F(ScanTest, CallsZeroFillATail) {
  const size_t size = image_.size();
  image_.resize(size + 5000);
  const ScanResult result = Scan();
  EXPECT_EQ(result.verdict, ScanVerdict::kTruncateTail);
  EXPECT_EQ(result.stop, ScanStop::kZeroFill);
  EXPECT_EQ(result.valid_bytes, size);
}

TEST_F(ScanTest, CallsAnUnfinishedLastBatchATail) {
  for (size_t cut = 1; cut < batch_bytes_; ++cut) {
    std::vector<uint8_t> whole = image_;
    image_.resize(whole.size() - cut);
    const ScanResult result = Scan();
    EXPECT_EQ(result.verdict, ScanVerdict::kTruncateTail);
    EXPECT_EQ(result.valid_bytes, 3 * batch_bytes_);
    EXPECT_EQ(result.next_offset, 6);
    image_ = whole;
  }
}

TEST_F(ScanTest, TellsABrokenBatchWithGoodOnesBehindItFromATornTail) {
  image_[batch_bytes_ + kBatchHeaderBytes + 5] ^= 1;
  ScanResult result = Scan();
  EXPECT_EQ(result.verdict, ScanVerdict::kMidCorruption);
  EXPECT_EQ(result.stop, ScanStop::kBadCrc);
  EXPECT_EQ(result.valid_bytes, batch_bytes_);
  image_[batch_bytes_ + kBatchHeaderBytes + 5] ^= 1;
  image_[3 * batch_bytes_ + kBatchHeaderBytes + 5] ^= 1;
  result = Scan();
  EXPECT_EQ(result.verdict, ScanVerdict::kTruncateTail);
}

TEST_F(ScanTest, FindsGoodBatchesEvenBehindADamagedLength) {
  image_[batch_bytes_ + kBatchLengthPosition] ^= 0x40;
  const ScanResult result = Scan();
  EXPECT_EQ(result.verdict, ScanVerdict::kMidCorruption);
  EXPECT_EQ(result.valid_bytes, batch_bytes_);
}

TEST_F(ScanTest, TakesAHoleForCompactionsWhenTheNextBatchLiesBehindIt) {
  AppendTo(&image_, Stored(MakeBatch(1, 40, 9), 20));
  // The last batch: a changed base offset would look the same.
  EXPECT_EQ(Scan().stop, ScanStop::kOffsetGap);
  EXPECT_EQ(Scan(0, true).stop, ScanStop::kEnd);
  EXPECT_EQ(Scan(0, true).next_offset, 21);
  AppendTo(&image_, Stored(MakeBatch(1, 40, 9), 21));
  EXPECT_EQ(Scan().stop, ScanStop::kEnd);
  EXPECT_EQ(Scan().next_offset, 22);
}

TEST_F(ScanTest, NeverGoesBackInOffsets) {
  AppendTo(&image_, Stored(MakeBatch(1, 40, 9), 3));
  EXPECT_EQ(Scan(0, true).stop, ScanStop::kOffsetGap);
  EXPECT_EQ(Scan(0, true).valid_bytes, 4 * batch_bytes_);
}

TEST_F(ScanTest, FindsEveryFlippedByteButThatOfAnEpoch) {
  for (size_t at = 0; at < image_.size(); ++at) {
    const size_t within = at % batch_bytes_;
    const bool epoch = within >= kPartitionLeaderEpochPosition && within < kPartitionLeaderEpochPosition + 4;
    image_[at] ^= 0xff;
    const ScanResult result = Scan();
    image_[at] ^= 0xff;
    // An epoch's sign is all that can be wrong about it.
    if (epoch && within != kPartitionLeaderEpochPosition) {
      EXPECT_EQ(result.stop, ScanStop::kEnd) << at;
    } else {
      EXPECT_NE(result.stop, ScanStop::kEnd) << at;
      EXPECT_EQ(result.valid_bytes, at / batch_bytes_ * batch_bytes_) << at;
    }
  }
}

/// A log of a few small segments in a MemoryVfs, and what it holds.
class RecoveryTest : public EngineFixture {
 protected:
  void SetUp() override {
    config_.segment_bytes = 1200;
    config_.index_interval_bytes = 300;
  }

  /// Every third batch is of an idempotent producer. One of six begins a transaction that another one aborts.
  static std::vector<uint8_t> BatchNumber(int i) {
    BatchMetadata metadata;
    if (i % 3 == 0) {
      metadata.producer_id = 7;
      metadata.producer_epoch = 0;
      metadata.base_sequence = i / 3 * 2;
    } else if (i % 6 == 1 || i % 6 == 4) {
      metadata.producer_id = 9;
      metadata.producer_epoch = 0;
      metadata.is_transactional = true;
      metadata.is_control = i % 6 == 4;
      metadata.base_sequence = metadata.is_control ? kNoSequence : i / 6 * 2;
    }
    const auto seed = static_cast<uint64_t>(i);
    if (!metadata.is_control) return MakeBatch(2, 20 + static_cast<size_t>(i), seed, 1000 + i, metadata);
    const std::vector<uint8_t> abort(4, 0);
    const std::vector<uint8_t> value(6, 0);
    std::vector<uint8_t> buffer;
    BatchBuilder builder(&buffer);
    builder.Begin(metadata);
    for (int record = 0; record < 2; ++record)
      builder.Append(1000 + i + record, NullableBytes::Of(abort), NullableBytes::Of(value));
    const MutableBytes batch = builder.Finish();
    return {batch.begin(), batch.end()};
  }

  void Build(bool clean, int batches = 24, bool checkpointed = false) {
    auto engine = Open();
    auto log = OpenLog(*engine);
    ASSERT_TRUE(engine->WriteTopicId({"orders", 0}, kTopicId).ok());
    for (int i = 0; i < batches; ++i) {
      const auto batch = BatchNumber(i);
      const AppendResult result =
          Append(*log, batch, i / 6, kNow, i % 6 == 4 ? AppendOrigin::kCoordinator : AppendOrigin::kClient);
      ASSERT_EQ(result.error, AppendError::kNone);
      model_.push_back({result.base_offset, result.last_offset + 1, batch});
      if (i == batches * 2 / 3) {
        ASSERT_TRUE(Flush(*log).ok());
        engine->Maintain(kNow, false);
        engine->Maintain(kNow + 100'000, false);
        early_ = vfs_->Clone();
      }
    }
    if (checkpointed) {
      ASSERT_TRUE(Flush(*log).ok());
      engine->Maintain(kNow + 200'000, false);
    }
    if (clean) {
      ASSERT_TRUE(engine->Close().ok());
    } else {
      engine->Abandon();
    }
  }

  struct Outcome {
    size_t served = 0;  ///< batches from the front that were served, all as appended
    Status status;      ///< of reading on
    int64_t end = 0;
    uint32_t rebuilt = 0;
    bool opened = false;
  };
  /// Opens the log on `vfs` and reads it from the start: whatever is served must be what was appended.
  Outcome OpenAndRead(const std::shared_ptr<MemoryVfs>& vfs) {
    Outcome outcome;
    EngineOptions options = Options();
    options.vfs = vfs;
    options.executor = MakeInlineExecutor();
    Result<std::shared_ptr<Engine>> engine = Engine::Open(options);
    if (!engine.ok()) {
      outcome.status = engine.status();
      return outcome;
    }
    auto log = (*engine)->FindLog({"orders", 0});
    if (!log) {
      outcome.status = Status(Code::kCorrupt, (*engine)->problems().empty() ? "" : (*engine)->problems()[0]);
      return outcome;
    }
    outcome.opened = true;
    outcome.end = log->log_end_offset();
    std::vector<ModelBatch> found;
    outcome.status = ReadAll(*log, log->log_start_offset(), log->log_end(), &found, 200);
    outcome.served = found.size();
    size_t skipped = 0;
    while (skipped < model_.size() && model_[skipped].base_offset < log->log_start_offset()) ++skipped;
    for (size_t i = 0; i < found.size() && i + skipped < model_.size(); ++i) {
      ExpectSameBatch(model_[i + skipped], found[i].bytes);
    }
    EXPECT_LE(found.size() + skipped, model_.size());
    // Lookups by offset and by time go through the indexes: what they find must be right, or be said to be damaged.
    for (const ModelBatch& batch : model_) {
      if (batch.next_offset > outcome.end || batch.base_offset < log->log_start_offset()) continue;
      LogSlice slice;
      ReadOptions one;
      one.max_bytes = 1;
      const Status status = log->Read(batch.base_offset, log->log_end(), one, &slice);
      if (status.ok() && slice.bytes > 0) ExpectSameBatch(batch, {slice.data(), slice.bytes});
      EXPECT_TRUE(status.ok() || status.code() == Code::kCorrupt) << status.message();
      const int64_t timestamp = 1000 + (&batch - model_.data());
      const Result<TimestampOffset> at = log->OffsetForTimestamp(timestamp, outcome.end);
      if (at.ok() && log->log_start_offset() == 0 && outcome.end == model_.back().next_offset) {
        // Batch i has timestamps 1000 + i and 1001 + i: the first one with `timestamp` is in the batch before it.
        const int64_t expected = batch.base_offset == 0 ? 0 : batch.base_offset - 1;
        EXPECT_EQ(at->offset, expected) << "timestamp " << timestamp;
      }
      EXPECT_TRUE(at.ok() || at.status().code() == Code::kCorrupt) << at.status().message();
    }
    outcome.rebuilt = log->Stats().rebuilt_indexes;
    if (outcome.end == model_.back().next_offset && outcome.status.ok()) {
      // Epochs began every six batches; the last batch with a producer id is known again as a duplicate.
      for (int32_t epoch = 0; check_epochs_ && epoch < static_cast<int32_t>(model_.size()) / 6; ++epoch) {
        const EpochEndOffset end = log->EndOffsetForEpoch(epoch);
        EXPECT_EQ(end.leader_epoch, epoch);
        EXPECT_EQ(end.end_offset, 12 * (epoch + 1));
      }
      std::vector<AbortedTransaction> aborted;
      const Status collected = log->CollectAborted(0, outcome.end, &aborted);
      EXPECT_TRUE(collected.ok()) << collected.message();
      EXPECT_EQ(aborted.size(), model_.size() / 6);
      for (size_t i = 0; i < aborted.size(); ++i) {
        EXPECT_EQ(aborted[i].producer_id, 9);
        EXPECT_EQ(aborted[i].first_offset, static_cast<int64_t>(12 * i + 2));
      }
      const ModelBatch& last = model_[(model_.size() - 1) / 3 * 3];
      const AppendResult again = Append(*log, last.bytes, 100);
      EXPECT_EQ(again.error, AppendError::kNone);
      EXPECT_TRUE(again.duplicate);
      EXPECT_EQ(again.base_offset, last.base_offset);
    }
    // The log goes on where it ended.
    if (outcome.status.ok()) {
      const auto batch = MakeBatch(1, 10, 99);
      const AppendResult result = Append(*log, batch, 100);
      EXPECT_EQ(result.error, AppendError::kNone);
      EXPECT_EQ(result.base_offset, outcome.end);
    }
    (*engine)->Abandon();
    return outcome;
  }

  std::vector<std::string> Files() {
    std::vector<std::string> files;
    for (const std::string& directory : {std::string("/data"), std::string("/data/orders-0")}) {
      Result<std::vector<std::string>> names = vfs_->List(directory);
      for (const std::string& name : *names) {
        const std::string path = directory + "/" + name;
        if (vfs_->ReadFile(path, 1 << 20).ok()) files.push_back(path);
      }
    }
    return files;
  }

  /// What a file is called but for its offset.
  static std::string KindOf(const std::string& path) {
    const std::string name = path.substr(path.rfind('/') + 1);
    return name.size() > 20 && name[20] == '.' ? name.substr(20) : name;
  }

  static constexpr const char* kTopicId = "AAAAAAAAAAAAAAAAAAAAAQ";
  std::vector<ModelBatch> model_;
  /// The disk after two thirds of it.
  std::shared_ptr<MemoryVfs> early_;
  /// False where an epoch in the open tail was changed: nothing covers it, the one exception.
  bool check_epochs_ = true;
};

/// What lies beside the segment that is cut.
enum class Beside {
  kOlder,         ///< what a checkpoint of some batches before has left
  kCheckpointed,  ///< indexes and a recovery point that speak for all of it
  kStopped,       ///< and its seal, a producer snapshot and the mark of a clean stop
  kStale,         ///< all from before it was there
};
class RecoveryCutTest : public RecoveryTest, public ::testing::WithParamInterface<Beside> {};

TEST_P(RecoveryCutTest, OpensAfterACutAtEveryByteOfTheLastSegmentWithACorrectPrefix) {
  Build(GetParam() == Beside::kStopped, 24, GetParam() == Beside::kCheckpointed);
  if (GetParam() == Beside::kStale) {
    for (const std::string& file : Files()) {
      if (file.ends_with(".log") || !early_->Exists(file)) continue;
      ASSERT_TRUE(vfs_->WriteFile(file, early_->ReadFile(file, 1 << 20).value(), true).ok());
    }
  }
  std::string last;
  for (const std::string& file : Files()) {
    if (file.ends_with(".log")) last = file;
  }
  const uint64_t size = vfs_->FileSize(last).value();
  const int64_t base = ParseOffsetFileName(last.substr(last.rfind('/') + 1), kLogSuffix).value();
  for (uint64_t cut = 0; cut <= size; ++cut) {
    SCOPED_TRACE("cut at " + std::to_string(cut) + " of " + std::to_string(size));
    const std::shared_ptr<MemoryVfs> vfs = vfs_->Clone();
    ASSERT_TRUE((*vfs->Open(last, OpenMode::kWrite))->Truncate(cut).ok());
    const Outcome outcome = OpenAndRead(vfs);
    ASSERT_TRUE(outcome.opened) << outcome.status.message();
    EXPECT_TRUE(outcome.status.ok()) << outcome.status.message();
    // Whole batches in front of the cut are all there.
    int64_t end = base;
    uint64_t position = 0;
    for (const ModelBatch& batch : model_) {
      if (batch.base_offset < base) continue;
      position += batch.bytes.size();
      if (position > cut) break;
      end = batch.next_offset;
    }
    EXPECT_EQ(outcome.end, end);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Beside, RecoveryCutTest,
                         ::testing::Values(Beside::kOlder, Beside::kCheckpointed, Beside::kStopped,
                                           Beside::kStale));

/// After a clean stop nothing may be lost to a flipped byte: what can't be served any more is said to be corrupt.
TEST_F(RecoveryTest, FindsEveryFlippedByteOfEveryFileAfterACleanStop) {
  Build(true);
  std::set<std::string> kinds;
  for (const std::string& file : Files()) {
    kinds.insert(KindOf(file));
    const uint64_t size = vfs_->FileSize(file).value();
    for (uint64_t at = 0; at < size; ++at) {
      for (const uint8_t mask : {0x01, 0x80, 0xff}) {
        SCOPED_TRACE(file + " byte " + std::to_string(at) + " mask " + std::to_string(mask));
        const std::shared_ptr<MemoryVfs> vfs = vfs_->Clone();
        const uint8_t flipped = vfs->ReadFile(file, 1 << 20).value()[at] ^ mask;
        ASSERT_TRUE(vfs->Corrupt(file, at, {&flipped, 1}).ok());
        const Outcome outcome = OpenAndRead(vfs);
        if (!outcome.opened) {
          // Only a file that claims to be a newer varve's may be refused as a whole.
          EXPECT_TRUE(outcome.status.message().find("newer") != std::string::npos)
              << outcome.status.message();
        } else if (outcome.status.ok()) {
          EXPECT_FALSE(file.ends_with(".log")) << "a changed record went unnoticed";
          EXPECT_EQ(outcome.end, model_.back().next_offset);
          EXPECT_EQ(outcome.served, model_.size());
        } else {
          EXPECT_EQ(outcome.status.code(), Code::kCorrupt) << outcome.status.message();
          EXPECT_TRUE(file.ends_with(".log"))
              << "only damaged records may be unreadable: " << outcome.status.message();
        }
        if (HasFailure()) return;
      }
    }
  }
  // Nothing that may lie there was left out; docs/storage-format.md has a row for each.
  EXPECT_EQ(kinds, (std::set<std::string>{".index", ".kafka_cleanshutdown", ".lock", ".log", ".seal",
                                          ".snapshot", ".timeindex", ".txnindex", "leader-epoch-checkpoint",
                                          "log-start-offset-checkpoint", "partition.metadata",
                                          "recovery-point-offset-checkpoint", "varve.checksums"}));
}

/// After a kill the scanned tail may be cut at the damage; never is a wrong byte served.
TEST_F(RecoveryTest, NeverServesAFlippedByteAfterAKill) {
  Build(false);
  for (const std::string& file : Files()) {
    const uint64_t size = vfs_->FileSize(file).value();
    for (uint64_t at = 0; at < size; ++at) {
      SCOPED_TRACE(file + " byte " + std::to_string(at));
      const std::shared_ptr<MemoryVfs> vfs = vfs_->Clone();
      const uint8_t flipped = vfs->ReadFile(file, 1 << 20).value()[at] ^ 0xff;
      if (file.ends_with(".log") && at >= 1300) break;  // allocated space behind the last batch
      ASSERT_TRUE(vfs->Corrupt(file, at, {&flipped, 1}).ok());
      check_epochs_ = !file.ends_with(".log");
      const Outcome outcome = OpenAndRead(vfs);
      if (!outcome.opened) {
        EXPECT_TRUE(outcome.status.message().find("newer") != std::string::npos) << outcome.status.message();
      } else if (!file.ends_with(".log")) {
        EXPECT_TRUE(outcome.status.ok()) << outcome.status.message();
        EXPECT_EQ(outcome.served, model_.size());
      } else if (!outcome.status.ok()) {
        EXPECT_EQ(outcome.status.code(), Code::kCorrupt) << outcome.status.message();
      }
      if (HasFailure()) return;
    }
  }
}

/// Bit rot in the front of the active segment, which a seal speaks for, must not take along what was appended behind it.
TEST_F(RecoveryTest, KeepsWhatWasAppendedBehindADamagedFront) {
  vfs_ = MakeMemoryVfs(true);
  config_.segment_bytes = 64 << 10;
  config_.index_interval_bytes = 100;
  auto engine = Open();
  auto log = OpenLog(*engine);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Append(*log, MakeBatch(1, 500, 1, 1000)).error, AppendError::kNone);
  log.reset();
  ASSERT_TRUE(engine->Close().ok());
  const std::string path = "/data/orders-0/" + OffsetFileName(0, kLogSuffix);
  std::vector<uint8_t> bytes = vfs_->ReadFile(path, 1 << 20).value();
  bytes[kMagicPosition] ^= 1;
  ASSERT_TRUE(vfs_->WriteFile(path, bytes, true).ok());
  engine = Open();
  log = OpenLog(*engine);
  ASSERT_EQ(log->log_end_offset(), 3);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Append(*log, MakeBatch(1, 500, 1, 1000)).error, AppendError::kNone);
  log.reset();
  ASSERT_TRUE(engine->Close().ok());
  engine = Open();
  log = OpenLog(*engine);
  EXPECT_EQ(log->log_end_offset(), 6);
  std::vector<ModelBatch> found;
  EXPECT_TRUE(ReadAll(*log, 3, log->log_end(), &found).ok());
  EXPECT_EQ(found.size(), 3u);
  EXPECT_EQ(ReadAll(*log, 0, log->log_end(), &found).code(), Code::kCorrupt);
  log.reset();
  engine->Abandon();
}

/// A batch of one record that an idempotent producer sent.
std::vector<uint8_t> BatchOf(int64_t producer_id, int32_t sequence, size_t value_bytes) {
  BatchMetadata metadata;
  metadata.producer_id = producer_id;
  metadata.producer_epoch = 0;
  metadata.base_sequence = sequence;
  return MakeBatch(1, value_bytes, 1, 1000, metadata);
}

/// A producer that lost five answers sends all five batches again. The snapshot of a stop, or of a roll, has only the last.
TEST_F(RecoveryTest, KnowsTheLastFiveBatchesOfAProducerAgain) {
  for (const bool stopped : {true, false}) {
    for (const int rolled_at : {-1, 9, 7, 4}) {
      SCOPED_TRACE((stopped ? "stopped, rolled at " : "killed, rolled at ") + std::to_string(rolled_at));
      vfs_ = MakeMemoryVfs(true);
      auto engine = Open();
      auto log = OpenLog(*engine);
      for (int i = 0; i < 10; ++i) {
        if (i == rolled_at) {
          std::lock_guard<std::mutex> lock(log->append_mutex());
          ASSERT_TRUE(log->Roll(kNow).ok());
        }
        for (const int64_t producer_id : {1, 2}) {
          ASSERT_EQ(Append(*log, BatchOf(producer_id, i, 200)).error, AppendError::kNone);
        }
      }
      log.reset();
      if (stopped) {
        ASSERT_TRUE(engine->Close().ok());
      } else {
        engine->Abandon();
      }
      engine = Open();
      log = OpenLog(*engine);
      for (int i = 5; i < 10; ++i) {
        const AppendResult again = Append(*log, BatchOf(2, i, 200));
        EXPECT_TRUE(again.duplicate) << i;
        EXPECT_EQ(again.base_offset, 2 * i + 1);
      }
      EXPECT_EQ(Append(*log, BatchOf(1, 4, 200)).error, AppendError::kOutOfOrderSequence);
      EXPECT_EQ(Append(*log, BatchOf(1, 11, 200)).error, AppendError::kOutOfOrderSequence);
      EXPECT_EQ(Append(*log, BatchOf(1, 10, 200)).base_offset, 20);
      log.reset();
      engine->Abandon();
    }
  }
}

/// The producers of records that a truncation cut off were saved at a stop; those of the records that came instead must be found.
TEST_F(RecoveryTest, FindsTheProducersOfTheRecordsThatReplacedTruncatedOnes) {
  vfs_ = MakeMemoryVfs(true);
  auto engine = Open();
  auto log = OpenLog(*engine);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(Append(*log, BatchOf(1, i, 20)).error, AppendError::kNone);
  ASSERT_TRUE(engine->Close().ok());
  // Long enough ago for all of it to be on the disk.
  vfs_ = vfs_->Clone();
  engine = Open();
  log = OpenLog(*engine);
  {
    std::lock_guard<std::mutex> lock(log->append_mutex());
    ASSERT_TRUE(log->TruncateTo(2).ok());
  }
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Append(*log, BatchOf(2, i, 20)).error, AppendError::kNone);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(Append(*log, BatchOf(3, i, 20)).error, AppendError::kNone);
  ASSERT_TRUE(Flush(*log).ok());
  vfs_ = vfs_->Crash(MemoryVfs::Loss::kAll, 1);
  auto after = Open();
  auto found = OpenLog(*after);
  ASSERT_EQ(found->log_end_offset(), 7);
  EXPECT_TRUE(Append(*found, BatchOf(2, 2, 20)).duplicate);
  after->Abandon();
  log.reset();
  engine->Abandon();
}

/// An index entry that is wrong but in order is found when opening looks up an epoch through it, and the index is rebuilt there and
/// then; what is appended afterwards must go into the rebuilt one.
TEST_F(RecoveryTest, AppendsIntoTheIndexThatOpeningHadToRebuild) {
  config_.segment_bytes = 64 << 10;
  config_.index_interval_bytes = 100;
  Build(false, 48);
  const std::string path = "/data/orders-0/" + OffsetFileName(0, kIndexSuffix);
  const std::vector<uint8_t> index = vfs_->ReadFile(path, 1 << 20).value();
  ASSERT_GT(index.size(), 10 * kOffsetIndexEntryBytes);
  uint32_t rebuilt = 0;
  for (size_t at = 0; at < index.size(); ++at) {
    SCOPED_TRACE("byte " + std::to_string(at));
    const std::shared_ptr<MemoryVfs> vfs = vfs_->Clone();
    const uint8_t flipped = index[at] ^ 0x01;
    ASSERT_TRUE(vfs->Corrupt(path, at, {&flipped, 1}).ok());
    EngineOptions options = Options();
    options.vfs = vfs;
    options.executor = MakeInlineExecutor();
    Result<std::shared_ptr<Engine>> engine = Engine::Open(options);
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    const std::shared_ptr<Log> log = (*engine)->FindLog({"orders", 0});
    ASSERT_NE(log, nullptr);
    rebuilt += log->Stats().rebuilt_indexes;
    for (int i = 0; i < 20; ++i) {
      const auto batch = MakeBatch(2, 60, static_cast<uint64_t>(i));
      ASSERT_EQ(Append(*log, batch, 100).error, AppendError::kNone);
    }
    const uint32_t log_bytes = log->log_end().position;
    ASSERT_TRUE((*engine)->Close().ok());
    const auto stored = OffsetIndex::Load(vfs->ReadFile(path, 1 << 20).value(), {.base_offset = 0});
    ASSERT_TRUE(stored.ok()) << stored.status().message();
    EXPECT_GT((*stored)->Last().position + 600, log_bytes) << "what was appended is not in the index";
    if (HasFailure()) return;
  }
  EXPECT_GT(rebuilt, 0u);
}

}  // namespace
}  // namespace varve
