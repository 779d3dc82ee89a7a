// SPDX-License-Identifier: Apache-2.0
// Compaction's seam: closed segments replaced under readers, and cut off by a power failure or a failing disk before every call. The log
// must then hold the old batches or the new ones, never a mixture that overlaps, and all that lies in front and behind.
#include "engine_fixture.h"

namespace varve {
namespace {

class ReplaceTest : public EngineFixture {
 protected:
  void SetUp() override {
    config_.segment_bytes = 1600;
    config_.index_interval_bytes = 300;
    config_.cleanup_compact = true;
  }

  /// Batches of two records over several closed segments, all durable and sealed.
  void Fill(Engine& engine) {
    log_ = OpenLog(engine);
    old_.clear();
    for (int i = 0; i < 24; ++i) {
      const std::vector<uint8_t> batch = MakeBatch(2, 150, static_cast<uint64_t>(i), 1000 + i);
      const AppendResult result = Append(*log_, batch, i / 8);
      ASSERT_EQ(result.error, AppendError::kNone);
      old_.push_back({result.base_offset, result.last_offset + 1, batch});
      if (i == 20) Settle();
    }
    Settle();
    ASSERT_TRUE(Flush(*log_).ok());
  }

  static std::vector<std::string> Names(Vfs& vfs) {
    Result<std::vector<std::string>> names = vfs.List("/data/orders-0");
    return names.ok() ? std::move(*names) : std::vector<std::string>();
  }

  /// Base offsets of the segments, by their files.
  std::vector<int64_t> Bases(Vfs& vfs) {
    std::vector<int64_t> bases;
    for (const std::string& name : Names(vfs)) {
      if (name.ends_with(".log")) bases.push_back(std::stoll(name));
    }
    return bases;
  }

  /// What is to stand in the place of the segments at [1, 4): every other batch of theirs, as stored.
  void Plan() {
    const std::vector<int64_t> bases = Bases(*vfs_);
    ASSERT_GE(bases.size(), 6u);
    from_ = bases[1];
    to_ = bases[4];
    std::vector<ModelBatch> stored;
    ASSERT_TRUE(ReadAll(*log_, 0, log_->log_end(), &stored).ok());
    new_.clear();
    replacement_.clear();
    int nth = 0;
    for (size_t i = 0; i < old_.size(); ++i) {
      const bool inside = old_[i].base_offset >= from_ && old_[i].base_offset < to_;
      if (inside && nth++ % 2 == 1) continue;
      new_.push_back(old_[i]);
      if (inside) replacement_.insert(replacement_.end(), stored[i].bytes.begin(), stored[i].bytes.end());
    }
  }

  static void ExpectHolds(Log& log, const std::vector<ModelBatch>& model) {
    std::vector<ModelBatch> found;
    const Status status = ReadAll(log, 0, log.log_end(), &found);
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_EQ(found.size(), model.size());
    for (size_t i = 0; i < found.size(); ++i) ExpectSameBatch(model[i], found[i].bytes);
  }

  /// Opened on `vfs`: the old batches or the new ones, and goes on. True: the new ones.
  bool OpensWithEither(std::shared_ptr<MemoryVfs> vfs) {
    EngineOptions options = Options();
    options.vfs = vfs;
    options.executor = MakeInlineExecutor();
    Result<std::shared_ptr<Engine>> engine = Engine::Open(options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    if (!engine.ok()) return false;
    EXPECT_TRUE((*engine)->problems().empty()) << (*engine)->problems()[0];
    const std::shared_ptr<Log> log = (*engine)->FindLog({"orders", 0});
    EXPECT_NE(log, nullptr);
    std::vector<ModelBatch> found;
    const Status status = ReadAll(*log, 0, log->log_end(), &found);
    EXPECT_TRUE(status.ok()) << status.message();
    const bool is_new = found.size() == new_.size();
    const std::vector<ModelBatch>& model = is_new ? new_ : old_;
    EXPECT_EQ(found.size(), model.size());
    for (size_t i = 0; i < std::min(found.size(), model.size()); ++i)
      ExpectSameBatch(model[i], found[i].bytes);
    EXPECT_EQ(log->log_end_offset(), old_.back().next_offset);
    EXPECT_EQ(log->LatestEpoch(), 2);
    // Cuts of the opening end here: what is appended now is in no model.
    vfs->SetFault(nullptr);
    EXPECT_EQ(Append(*log, MakeBatch(1, 10, 1), 9).error, AppendError::kNone);
    for (const std::string& name : Names(*vfs)) {
      EXPECT_FALSE(name.ends_with(".swap") || name.ends_with(".cleaned")) << name;
    }
    (*engine)->Abandon();
    EXPECT_TRUE(vfs->FilesTouchedBeyondEnd().empty());
    return is_new;
  }

  std::shared_ptr<Log> log_;
  std::vector<ModelBatch> old_;
  std::vector<ModelBatch> new_;
  std::vector<uint8_t> replacement_;
  int64_t from_ = 0;
  int64_t to_ = 0;
};

TEST_F(ReplaceTest, PutsTheNewInThePlaceOfTheOldUnderReaders) {
  for (const bool clean : {true, false}) {
    vfs_ = MakeMemoryVfs(false);
    auto engine = Open();
    Fill(*engine);
    Plan();
    LogSlice held;
    ASSERT_TRUE(log_->Read(from_, log_->log_end(), {}, &held).ok());
    const std::vector<uint8_t> before(held.data(), held.data() + held.bytes);
    const LogPosition high_watermark = log_->PositionOf(to_).value();
    const Status replaced = log_->ReplaceSegments(from_, to_, replacement_);
    ASSERT_TRUE(replaced.ok()) << replaced.message();
    ExpectHolds(*log_, new_);
    EXPECT_EQ(std::memcmp(held.data(), before.data(), before.size()), 0);
    // Bounded as before, and an offset of a hole gives what comes next.
    std::vector<ModelBatch> found;
    [[maybe_unused]] const Status to_the_hole = ReadAll(*log_, 0, high_watermark, &found);
    ASSERT_FALSE(found.empty());
    EXPECT_LE(found.back().next_offset, to_);
    LogSlice slice;
    ASSERT_TRUE(log_->Read(from_ + 2, log_->log_end(), {}, &slice).ok());
    BatchHeader header;
    ASSERT_EQ(ParseBatchHeader({slice.data(), slice.bytes}, &header), BatchError::kOk);
    EXPECT_EQ(header.base_offset, from_ + 4);
    EXPECT_EQ(log_->OffsetForTimestamp(1001 + from_ / 2, to_)->offset, from_ + 1);
    EXPECT_EQ(Bases(*vfs_).size(), static_cast<size_t>(log_->Stats().segment_count));
    Settle();
    engine->Maintain(kNow, false);
    Settle();
    EXPECT_EQ(Append(*log_, MakeBatch(1, 10, 1), 9).base_offset, old_.back().next_offset);
    new_.push_back({old_.back().next_offset, old_.back().next_offset + 1, MakeBatch(1, 10, 1)});
    // Once more, over what was replaced.
    if (clean) {
      EXPECT_TRUE(engine->Close().ok());
    } else {
      engine->Abandon();
    }
    engine = Open();
    EXPECT_TRUE(engine->problems().empty()) << engine->problems()[0];
    log_ = engine->FindLog({"orders", 0});
    ExpectHolds(*log_, new_);
    EXPECT_EQ(log_->EndOffsetForEpoch(0).end_offset, 16);
    for (const std::string& name : Names(*vfs_)) {
      EXPECT_FALSE(name.find(".deleted") != std::string::npos) << name;
    }
    engine->Abandon();
  }
}

TEST_F(ReplaceTest, TakesOutASegmentOfWhichNothingIsLeft) {
  auto engine = Open();
  Fill(*engine);
  Plan();
  ASSERT_TRUE(log_->ReplaceSegments(from_, to_, {}).ok());
  std::erase_if(new_,
                [&](const ModelBatch& one) { return one.base_offset >= from_ && one.base_offset < to_; });
  ExpectHolds(*log_, new_);
  Settle();
  engine->Abandon();
  engine = Open();
  log_ = engine->FindLog({"orders", 0});
  ExpectHolds(*log_, new_);
  EXPECT_TRUE(engine->Close().ok());
  engine = Open();
  log_ = engine->FindLog({"orders", 0});
  ExpectHolds(*log_, new_);
  engine->Abandon();
}

TEST_F(ReplaceTest, RefusesWhatIsNotClosedDurableOrWholeAndChangesNothing) {
  auto engine = Open();
  Fill(*engine);
  Plan();
  const std::vector<int64_t> bases = Bases(*vfs_);
  const auto refused = [&](int64_t from, int64_t to, Bytes batches) {
    const Status status = log_->ReplaceSegments(from, to, batches);
    EXPECT_EQ(status.code(), Code::kInvalid) << status.message();
    ExpectHolds(*log_, old_);
  };
  refused(from_ + 1, to_, replacement_);
  refused(from_, to_ + 1, replacement_);
  refused(bases.back(), log_->log_end_offset(), replacement_);
  refused(from_, bases[2], replacement_);  // beyond the end of what is replaced
  refused(bases[0], to_, Bytes(replacement_).first(replacement_.size() - 1));
  std::vector<uint8_t> changed = replacement_;
  changed.back() ^= 1;
  refused(from_, to_, changed);
  {
    std::lock_guard<std::mutex> lock(log_->append_mutex());
    log_->SetHighWatermark(to_ - 1);
  }
  refused(from_, to_, replacement_);
  {
    std::lock_guard<std::mutex> lock(log_->append_mutex());
    log_->SetHighWatermark(to_);
  }
  // Holes are compaction's.
  config_.cleanup_compact = false;
  log_->SetConfig(config_);
  refused(from_, to_, replacement_);
  EXPECT_TRUE(engine->Close().ok());
  EXPECT_EQ(log_->ReplaceSegments(from_, to_, replacement_).code(), Code::kClosed);
}

TEST_F(ReplaceTest, LeavesDamageWhereAReaderIsToldOfIt) {
  auto engine = Open();
  Fill(*engine);
  Plan();
  EXPECT_TRUE(engine->Close().ok());
  const std::string path = "/data/orders-0/" + (std::string(20 - std::to_string(from_).size(), '0') +
                                                std::to_string(from_) + ".log");
  const uint8_t flipped = vfs_->ReadFile(path, 1 << 20).value()[200] ^ 1;
  ASSERT_TRUE(vfs_->Corrupt(path, 200, {&flipped, 1}).ok());
  engine = Open();
  log_ = engine->FindLog({"orders", 0});
  EXPECT_EQ(log_->ReplaceSegments(from_, to_, replacement_).code(), Code::kCorrupt);
  LogSlice slice;
  EXPECT_EQ(log_->Read(from_, log_->log_end(), {}, &slice).code(), Code::kCorrupt);
  engine->Abandon();
}

TEST_F(ReplaceTest, KeepsWhatIsKnownOfAbortedTransactions) {
  auto engine = Open();
  log_ = OpenLog(*engine);
  BatchMetadata data{.is_transactional = true, .producer_id = 7, .producer_epoch = 0, .base_sequence = 0};
  ASSERT_EQ(Append(*log_, MakeBatch(2, 150, 1, 1000, data), 0).error, AppendError::kNone);
  std::vector<uint8_t> marker;
  BatchBuilder builder(&marker);
  builder.Begin({.is_transactional = true, .is_control = true, .producer_id = 7, .producer_epoch = 0});
  const std::vector<uint8_t> abort = {0, 0, 0, 0};
  const std::vector<uint8_t> value = {0, 0, 0, 0, 0, 0};
  builder.Append(1000, NullableBytes::Of(abort), NullableBytes::Of(value));
  const MutableBytes control = builder.Finish();
  ASSERT_EQ(Append(*log_, control, 0, kNow, AppendOrigin::kCoordinator).error, AppendError::kNone);
  for (int i = 0; i < 8; ++i) Append(*log_, MakeBatch(2, 150, static_cast<uint64_t>(i)), 0);
  Settle();
  ASSERT_TRUE(Flush(*log_).ok());
  const std::vector<int64_t> bases = Bases(*vfs_);
  ASSERT_GE(bases.size(), 3u);
  std::vector<ModelBatch> stored;
  ASSERT_TRUE(ReadAll(*log_, 0, log_->log_end(), &stored).ok());
  // The marker alone goes; what it aborted stays, and must not come to be taken for committed.
  std::vector<uint8_t> batches;
  for (const ModelBatch& one : stored) {
    if (one.base_offset >= bases[2] || one.base_offset == 2) continue;
    batches.insert(batches.end(), one.bytes.begin(), one.bytes.end());
  }
  const auto expect_aborted = [&] {
    std::vector<AbortedTransaction> aborted;
    ASSERT_TRUE(log_->CollectAborted(0, log_->log_end_offset(), &aborted).ok());
    ASSERT_EQ(aborted.size(), 1u);
    EXPECT_EQ(aborted[0].producer_id, 7);
    EXPECT_EQ(aborted[0].first_offset, 0);
  };
  expect_aborted();
  int disks = 0;
  std::vector<std::shared_ptr<MemoryVfs>> found;
  vfs_->SetFault([&](MemoryVfs::Call, const std::string&) {
    found.push_back(vfs_->Clone());
    return Status::Ok();
  });
  ASSERT_TRUE(log_->ReplaceSegments(0, bases[2], batches).ok());
  vfs_->SetFault(nullptr);
  expect_aborted();
  Settle();
  EXPECT_TRUE(engine->Close().ok());
  found.push_back(vfs_->Clone());
  for (const std::shared_ptr<MemoryVfs>& vfs : found) {
    SCOPED_TRACE("killed at call " + std::to_string(++disks));
    vfs_ = vfs;
    executor_ = MakeInlineExecutor();
    engine = Open();
    log_ = engine->FindLog({"orders", 0});
    expect_aborted();
    engine->Abandon();
  }
  EXPECT_GT(disks, 15);
}

TEST_F(ReplaceTest, IsWholeOrNotAtAllAfterAPowerCutAtEveryCall) {
  vfs_ = MakeMemoryVfs(true);
  auto engine = Open();
  Fill(*engine);
  Plan();
  std::vector<std::shared_ptr<MemoryVfs>> cuts;
  uint64_t seed = 0;
  const auto cut = [&] {
    cuts.push_back(vfs_->Crash(MemoryVfs::Loss::kAll, 0));
    cuts.push_back(vfs_->Crash(MemoryVfs::Loss::kNone, 0));
    for (int i = 0; i < 12; ++i) cuts.push_back(vfs_->Crash(MemoryVfs::Loss::kRandom, ++seed));
  };
  vfs_->SetFault([&](MemoryVfs::Call, const std::string&) {
    cut();
    return Status::Ok();
  });
  ASSERT_TRUE(log_->ReplaceSegments(from_, to_, replacement_).ok());
  vfs_->SetFault(nullptr);
  cut();
  const size_t last = cuts.size() - 14;
  int changed = 0;
  int kept = 0;
  for (size_t at = 0; at < cuts.size(); ++at) {
    SCOPED_TRACE("disk " + std::to_string(at) + " of " + std::to_string(cuts.size()));
    // The opening is cut off too, before each of its calls.
    std::vector<std::shared_ptr<MemoryVfs>> nested;
    if (at % 5 == 0) {
      cuts[at]->SetFault([&](MemoryVfs::Call, const std::string&) {
        if (nested.size() < 60) nested.push_back(cuts[at]->Crash(MemoryVfs::Loss::kRandom, ++seed));
        return Status::Ok();
      });
    }
    const std::shared_ptr<MemoryVfs> disk = cuts[at];
    const bool is_new = OpensWithEither(disk);
    disk->SetFault(nullptr);
    ++(is_new ? changed : kept);
    EXPECT_TRUE(is_new || at < last) << "a replacement that was answered is undone";
    for (const std::shared_ptr<MemoryVfs>& again : nested) {
      OpensWithEither(again);
      if (HasFailure()) return;
    }
    if (HasFailure()) return;
    cuts[at].reset();
  }
  EXPECT_GT(changed, 20);
  EXPECT_GT(kept, 20);
  engine->Abandon();
}

TEST_F(ReplaceTest, SurvivesAnErrorOfEveryCall) {
  for (const Code code : {Code::kIo, Code::kNoSpace}) {
    bool hit = true;
    for (int n = 1; hit; ++n) {
      SCOPED_TRACE("call " + std::to_string(n));
      vfs_ = MakeMemoryVfs(false);
      executor_ = MakeInlineExecutor();
      auto engine = Open();
      Fill(*engine);
      Plan();
      int calls = 0;
      hit = false;
      vfs_->SetFault([&](MemoryVfs::Call, const std::string& path) {
        if (++calls != n) return Status::Ok();
        hit = true;
        return Status(code, "injected into " + path, code == Code::kIo ? EIO : ENOSPC);
      });
      const Status status = log_->ReplaceSegments(from_, to_, replacement_);
      vfs_->SetFault(nullptr);
      EXPECT_TRUE(hit || status.ok()) << status.message();
      if (engine->Directories()[0].online) {
        ExpectHolds(*log_, status.ok() ? new_ : old_);
        // What is left of a failed one does no harm to the next.
        if (!status.ok()) {
          EXPECT_TRUE(log_->ReplaceSegments(from_, to_, replacement_).ok());
        }
        ExpectHolds(*log_, new_);
      } else {
        EXPECT_FALSE(status.ok());
      }
      engine->Abandon();
      OpensWithEither(vfs_);
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace varve
