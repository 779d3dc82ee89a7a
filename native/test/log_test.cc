// SPDX-License-Identifier: Apache-2.0
// The log as a list of batches: what is appended is read back, whatever rolls, truncates and reopens in
// between.
#include "engine_fixture.h"

namespace varve {
namespace {

class LogTest : public EngineFixture {};

TEST_F(LogTest, ReadsBackWhatWasAppended) {
  auto engine = Open();
  auto log = OpenLog(*engine);
  EXPECT_EQ(log->log_end_offset(), 0);
  const auto first = MakeBatch(3, 100, 1);
  const auto second = MakeBatch(2, 50, 2);
  AppendResult result = Append(*log, first);
  EXPECT_EQ(result.error, AppendError::kNone);
  EXPECT_EQ(result.base_offset, 0);
  EXPECT_EQ(result.last_offset, 2);
  result = Append(*log, second);
  EXPECT_EQ(result.base_offset, 3);
  EXPECT_EQ(log->log_end_offset(), 5);
  std::vector<ModelBatch> found;
  ASSERT_TRUE(ReadAll(*log, 0, log->log_end(), &found).ok());
  ASSERT_EQ(found.size(), 2u);
  ExpectSameBatch({0, 3, first}, found[0].bytes);
  ExpectSameBatch({3, 5, second}, found[1].bytes);
}

/// It lies outside the CRC and is the leader's to write: whatever a client has put there is in order.
TEST_F(LogTest, WritesItsOwnLeaderEpochOverTheClients) {
  auto engine = Open();
  auto log = OpenLog(*engine);
  auto batch = MakeBatch(1, 100, 1);
  for (const int32_t epoch : {-1, -2, INT32_MIN, INT32_MAX}) {
    StoreI32(batch.data() + kPartitionLeaderEpochPosition, epoch);
    ASSERT_EQ(Append(*log, batch, 4).error, AppendError::kNone) << epoch;
  }
  EXPECT_EQ(log->LatestEpoch(), 4);
  std::vector<ModelBatch> found;
  ASSERT_TRUE(ReadAll(*log, 0, log->log_end(), &found).ok());
  EXPECT_EQ(found.size(), 4u);
}

TEST_F(LogTest, IsThereAgainAfterACleanStop) {
  const auto batch = MakeBatch(3, 100, 1);
  {
    auto engine = Open();
    auto log = OpenLog(*engine);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(Append(*log, batch, 4).error, AppendError::kNone);
    const Status closed = engine->Close();
    EXPECT_TRUE(closed.ok()) << closed.message();
  }
  auto engine = Open();
  ASSERT_TRUE(engine->problems().empty()) << engine->problems()[0];
  EXPECT_TRUE(engine->Directories()[0].clean_start);
  auto log = engine->FindLog({"orders", 0});
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(log->log_end_offset(), 300);
  EXPECT_EQ(log->durable_end().offset, 300);
  EXPECT_EQ(log->LatestEpoch(), 4);
  EXPECT_EQ(log->Stats().recovered_bytes, 0u);
  std::vector<ModelBatch> found;
  ASSERT_TRUE(ReadAll(*log, 0, log->log_end(), &found).ok());
  ASSERT_EQ(found.size(), 100u);
  EXPECT_EQ(Append(*log, batch, 5).base_offset, 300);
  found.clear();
  ASSERT_TRUE(ReadAll(*log, 290, log->log_end(), &found).ok());
  EXPECT_EQ(found.back().next_offset, 303);
}

TEST_F(LogTest, IsThereAgainAfterAKill) {
  const auto batch = MakeBatch(3, 100, 1);
  {
    auto engine = Open();
    auto log = OpenLog(*engine);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(Append(*log, batch, 4).error, AppendError::kNone);
    engine->Abandon();
  }
  auto engine = Open();
  EXPECT_FALSE(engine->Directories()[0].clean_start);
  auto log = engine->FindLog({"orders", 0});
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(log->log_end_offset(), 300);
  EXPECT_EQ(log->LatestEpoch(), 4);
  EXPECT_EQ(log->Stats().truncated_bytes, 0u);
  EXPECT_EQ(Append(*log, batch, 5).base_offset, 300);
  std::vector<ModelBatch> found;
  ASSERT_TRUE(ReadAll(*log, 0, log->log_end(), &found).ok());
  EXPECT_EQ(found.size(), 101u);
  EXPECT_TRUE(Flush(*log).ok());
  EXPECT_EQ(log->durable_end().offset, 303);
}

/// An append lies in a mapping; the mapping, and the room ahead, may be taken for another log's while there is more to come.
TEST_F(LogTest, TrimsASegmentWhoseMappingWasTakenForAnothers) {
  EngineOptions options = Options();
  options.maps_max = 1;
  Result<std::shared_ptr<Engine>> engine = Engine::Open(options);
  ASSERT_TRUE(engine.ok());
  auto log = OpenLog(**engine);
  const auto batch = MakeBatch(1, 100, 1);
  ASSERT_EQ(Append(*log, batch).error, AppendError::kNone);
  auto other = OpenLog(**engine, "others");
  ASSERT_EQ(Append(*other, batch).error, AppendError::kNone);
  {
    std::lock_guard<std::mutex> lock(log->append_mutex());
    ASSERT_TRUE(log->Roll(kNow).ok());
  }
  Settle();
  EXPECT_EQ(*vfs_->FileSize("/data/orders-0/00000000000000000000.log"), batch.size());
  ASSERT_EQ(Append(*log, batch).error, AppendError::kNone);
  ASSERT_EQ(Append(*other, batch).error, AppendError::kNone);
  ASSERT_TRUE((*engine)->Close().ok());
  EXPECT_EQ(*vfs_->FileSize("/data/orders-0/00000000000000000001.log"), batch.size());
  EXPECT_TRUE(vfs_->FilesTouchedBeyondEnd().empty());
}

TEST_F(LogTest, TakesALargerBatchThanTheSegmentHadRoomForWhenItsFirstOneFoundTheDiskFull) {
  config_.segment_bytes = 64 << 10;
  auto engine = Open();
  auto log = OpenLog(*engine);
  vfs_->SetFault([](MemoryVfs::Call call, const std::string&) {
    return call == MemoryVfs::Call::kAllocate ? Status(Code::kNoSpace, "full") : Status::Ok();
  });
  ASSERT_EQ(Append(*log, MakeBatch(1, 100, 1)).error, AppendError::kNoSpace);
  vfs_->SetFault(nullptr);
  config_.segment_bytes = 16 << 20;
  log->SetConfig(config_);
  // More than the mapping that the first one left has bytes for.
  const auto batch = MakeBatch(1, 8 << 20, 2);
  ASSERT_EQ(Append(*log, batch).error, AppendError::kNone);
  std::vector<ModelBatch> found;
  ASSERT_TRUE(ReadAll(*log, 0, log->log_end(), &found).ok());
  ASSERT_EQ(found.size(), 1u);
  ExpectSameBatch({0, 1, batch}, found[0].bytes);
  EXPECT_TRUE(engine->Close().ok());
}

/// Without room to copy what stays (a reader holds the file) a truncation fails; when later segments have lost their names by
/// then, nothing may be acknowledged that goes into them.
TEST_F(LogTest, WritesNoMoreAfterATruncationThatTheDiskHadNoRoomFor) {
  config_.segment_bytes = 400;
  auto engine = Open();
  auto log = OpenLog(*engine);
  for (int i = 0; i < 6; ++i) ASSERT_EQ(Append(*log, MakeBatch(1, 100, 1)).error, AppendError::kNone);
  ASSERT_TRUE(Flush(*log).ok());
  ASSERT_GE(log->Stats().segment_count, 3u);
  LogSlice held;
  ASSERT_TRUE(log->Read(0, log->log_end(), {}, &held).ok());
  vfs_->SetFault([](MemoryVfs::Call call, const std::string& path) {
    return call == MemoryVfs::Call::kWrite && path.ends_with(".log.tmp") ? Status(Code::kNoSpace, "full")
                                                                         : Status::Ok();
  });
  {
    std::lock_guard<std::mutex> lock(log->append_mutex());
    EXPECT_EQ(log->TruncateTo(1).code(), Code::kNoSpace);
  }
  vfs_->SetFault(nullptr);
  EXPECT_EQ(Append(*log, MakeBatch(1, 100, 2)).error, AppendError::kStorage);
  EXPECT_FALSE(Flush(*log).ok());
}

/// What can't be opened when the engine is may well be opened later, say when there are descriptors again.
TEST_F(LogTest, RecoversALogThatCouldNotBeOpenedWithTheEngine) {
  EngineOptions options = Options();
  options.append_io = AppendIo::kPwrite;  // the file ends with its last batch, as after a clean stop
  const auto checkpoint = [](Engine& engine) {
    engine.Maintain(kNow, false);
    engine.Maintain(kNow + 100'000, false);
  };
  const auto advance = [](Log& log, int64_t offset) {
    std::lock_guard<std::mutex> lock(log.append_mutex());
    ASSERT_TRUE(log.AdvanceLogStartOffset(offset).ok());
  };
  auto engine = *Engine::Open(options);
  auto log = OpenLog(*engine);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(Append(*log, MakeBatch(1, 100, 1)).error, AppendError::kNone);
  ASSERT_TRUE(Flush(*log).ok());
  advance(*log, 2);
  checkpoint(*engine);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(Append(*log, MakeBatch(1, 100, 1)).error, AppendError::kNone);
  engine->Abandon();

  const auto full = [](MemoryVfs::Call call, const std::string& path) {
    return call == MemoryVfs::Call::kList && path.ends_with("orders-0")
               ? Status(Code::kNoSpace, "too many open files")
               : Status::Ok();
  };
  // Not opened, so not looked at: that engine's stop says nothing of it.
  vfs_->SetFault(full);
  engine = *Engine::Open(options);
  EXPECT_EQ(engine->problems().size(), 1u);
  EXPECT_EQ(engine->FindLog({"orders", 0}), nullptr);
  ASSERT_TRUE(engine->Close().ok());
  engine = *Engine::Open(options);
  EXPECT_FALSE(engine->Directories()[0].clean_start);

  vfs_->SetFault(nullptr);
  checkpoint(*engine);
  log = OpenLog(*engine);
  EXPECT_EQ(log->log_start_offset(), 2);
  EXPECT_EQ(log->log_end_offset(), 6);
  EXPECT_LE(log->durable_end().offset, 4) << "nobody has synced the rest";
  Settle();
  EXPECT_EQ(log->durable_end().offset, 6);
  advance(*log, 5);
  ASSERT_TRUE(engine->Close().ok());
  engine = *Engine::Open(options);
  EXPECT_TRUE(engine->Directories()[0].clean_start);
  EXPECT_EQ(engine->FindLog({"orders", 0})->log_start_offset(), 5);
  engine->Abandon();
}

/// A batch that ends a transaction, as a coordinator writes it.
std::vector<uint8_t> AbortMarker(int64_t producer_id) {
  std::vector<uint8_t> buffer;
  BatchBuilder builder(&buffer);
  BatchMetadata metadata;
  metadata.is_transactional = metadata.is_control = true;
  metadata.producer_id = producer_id;
  metadata.producer_epoch = 0;
  builder.Begin(metadata);
  const std::vector<uint8_t> key(4);
  const std::vector<uint8_t> value(6);
  builder.Append(1000, NullableBytes::Of(key), NullableBytes::Of(value));
  const MutableBytes batch = builder.Finish();
  return {batch.begin(), batch.end()};
}

TEST_F(LogTest, KnowsAnAbortThatTheDiskHadNoRoomForAfterARestart) {
  for (const MemoryVfs::Call failing : {MemoryVfs::Call::kOpen, MemoryVfs::Call::kWrite}) {
    for (const bool clean : {true, false}) {
      SCOPED_TRACE(clean);
      vfs_ = MakeMemoryVfs(false);
      auto engine = Open();
      auto log = OpenLog(*engine);
      BatchMetadata metadata;
      metadata.is_transactional = true;
      metadata.producer_id = 5;
      metadata.producer_epoch = 0;
      metadata.base_sequence = 0;
      const auto data = MakeBatch(1, 50, 1, 1000, metadata);
      ASSERT_EQ(Append(*log, data, 0, kNow, AppendOrigin::kCoordinator).error, AppendError::kNone);
      vfs_->SetFault([failing](MemoryVfs::Call call, const std::string& path) {
        return call == failing && path.ends_with(".txnindex") ? Status(Code::kNoSpace, "full") : Status::Ok();
      });
      ASSERT_EQ(Append(*log, AbortMarker(5), 0, kNow, AppendOrigin::kCoordinator).error, AppendError::kNone);
      vfs_->SetFault(nullptr);
      const auto aborted = [](Log& in) {
        std::vector<AbortedTransaction> found;
        EXPECT_TRUE(in.CollectAborted(0, in.log_end_offset(), &found).ok());
        return found.size();
      };
      EXPECT_EQ(aborted(*log), 1u);
      ASSERT_TRUE(Flush(*log).ok());
      engine->Maintain(kNow, false);
      engine->Maintain(kNow + 100'000, false);
      if (clean) {
        ASSERT_TRUE(engine->Close().ok());
      } else {
        engine->Abandon();
      }
      engine = Open();
      EXPECT_EQ(aborted(*engine->FindLog({"orders", 0})), 1u);
      engine->Abandon();
    }
  }
}

/// What the log must hold, as plainly as can be.
class Model {
 public:
  void Append(int64_t base_offset, int64_t next_offset, const std::vector<uint8_t>& bytes) {
    batches_.push_back({base_offset, next_offset, bytes});
  }
  void TruncateTo(int64_t offset) {
    while (!batches_.empty() && batches_.back().next_offset > offset) batches_.pop_back();
  }
  const std::vector<ModelBatch>& batches() const { return batches_; }
  int64_t end() const { return batches_.empty() ? start_ : batches_.back().next_offset; }
  void StartAt(int64_t offset) {
    batches_.clear();
    start_ = offset;
  }
  void CheckAll(Log& log) const {
    ASSERT_EQ(log.log_end_offset(), end());
    std::vector<ModelBatch> found;
    const int64_t start = log.log_start_offset();
    const Status status = ReadAll(log, start, log.log_end(), &found);
    ASSERT_TRUE(status.ok()) << status.message();
    size_t at = 0;
    while (at < batches_.size() && batches_[at].next_offset <= start) ++at;
    ASSERT_EQ(found.size(), batches_.size() - at);
    for (size_t i = 0; i < found.size(); ++i) ExpectSameBatch(batches_[at + i], found[i].bytes);
  }
  void CheckRead(Log& log, int64_t offset) const {
    LogSlice slice;
    ReadOptions options;
    options.max_bytes = 1;
    options.whole_batches = true;
    ASSERT_TRUE(log.Read(offset, log.log_end(), options, &slice).ok());
    for (const ModelBatch& batch : batches_) {
      if (offset >= batch.next_offset) continue;
      ASSERT_EQ(slice.bytes, batch.bytes.size());
      ExpectSameBatch(batch, {slice.data(), slice.bytes});
      const Result<LogPosition> position = log.PositionOf(offset);
      ASSERT_TRUE(position.ok());
      EXPECT_EQ(position->position, slice.position);
      EXPECT_EQ(position->segment_base_offset, slice.segment->base_offset());
      return;
    }
    FAIL() << "the model has no batch for " << offset;
  }

 private:
  std::vector<ModelBatch> batches_;
  int64_t start_ = 0;
};

class LogModelTest : public LogTest, public ::testing::WithParamInterface<std::tuple<AppendIo, uint64_t>> {};

/// Random appends, reads, rolls, truncations, kills and clean stops against the model. Slices read before are kept and must not
/// change, whatever happens to the log.
TEST_P(LogModelTest, HoldsWhatTheModelHolds) {
  const auto [io, seed] = GetParam();
  std::mt19937_64 random(seed);
  config_.segment_bytes = 4000 + random() % 20000;
  config_.index_interval_bytes = 1 + random() % 3000;
  EngineOptions options = Options();
  options.append_io = io;
  options.written_bytes_min = 1000;
  const auto open = [&] {
    Result<std::shared_ptr<Engine>> engine = Engine::Open(options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return *engine;
  };
  std::shared_ptr<Engine> engine = open();
  std::shared_ptr<Log> log = OpenLog(*engine);
  Model model;
  struct Held {
    LogSlice slice;
    std::vector<uint8_t> bytes;
  };
  std::vector<Held> held;
  int32_t epoch = 0;
  for (int step = 0; step < 600; ++step) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " step " + std::to_string(step));
    const uint64_t dice = random() % 100;
    if (dice < 60) {
      const int records = 1 + static_cast<int>(random() % 5);
      const auto batch = MakeBatch(records, random() % 700, random(), 1000 + step);
      const int64_t end = log->log_end_offset();
      const AppendResult result = Append(*log, batch, epoch);
      ASSERT_EQ(result.error, AppendError::kNone);
      ASSERT_EQ(result.base_offset, end);
      model.Append(end, end + records, batch);
    } else if (dice < 80) {
      if (model.batches().empty()) continue;
      const int64_t start = log->log_start_offset();
      if (start == model.end()) continue;
      const int64_t offset =
          start + static_cast<int64_t>(random() % static_cast<uint64_t>(model.end() - start));
      model.CheckRead(*log, offset);
      if (HasFatalFailure()) return;
      LogSlice slice;
      ASSERT_TRUE(log->Read(offset, log->log_end(), {}, &slice).ok());
      held.push_back({slice, {slice.data(), slice.data() + slice.bytes}});
      if (held.size() > 8) held.erase(held.begin() + static_cast<long>(random() % held.size()));
    } else if (dice < 84) {
      std::lock_guard<std::mutex> lock(log->append_mutex());
      ASSERT_TRUE(log->Roll(kNow).ok());
    } else if (dice < 90) {
      const int64_t start = log->log_start_offset();
      const int64_t back = static_cast<int64_t>(random() % 40);
      const int64_t offset = std::max(start, model.end() - back);
      std::lock_guard<std::mutex> lock(log->append_mutex());
      const Status status = log->TruncateTo(offset);
      ASSERT_TRUE(status.ok()) << status.message();
      model.TruncateTo(offset);
      if (offset == 0) model.StartAt(0);
      ++epoch;
    } else if (dice < 91) {
      const int64_t offset = static_cast<int64_t>(random() % 1000);
      std::lock_guard<std::mutex> lock(log->append_mutex());
      ASSERT_TRUE(log->TruncateFullyAndStartAt(offset).ok());
      model.StartAt(offset);
      ++epoch;
    } else if (dice < 94) {
      Settle();
    } else {
      if (dice < 97) {
        ASSERT_TRUE(engine->Close().ok());
      } else {
        engine->Abandon();
      }
      log.reset();
      engine = open();
      EXPECT_TRUE(engine->problems().empty()) << engine->problems()[0];
      log = engine->FindLog({"orders", 0});
      ASSERT_NE(log, nullptr);
      model.CheckAll(*log);
      if (HasFatalFailure()) return;
      ++epoch;
    }
    for (const Held& one : held) {
      ASSERT_EQ(std::memcmp(one.slice.data(), one.bytes.data(), one.bytes.size()), 0);
    }
  }
  model.CheckAll(*log);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LogModelTest,
                         ::testing::Combine(::testing::Values(AppendIo::kAuto, AppendIo::kMmap,
                                                              AppendIo::kPwrite),
                                            ::testing::Range(uint64_t{1}, uint64_t{13})));

}  // namespace
}  // namespace varve
