// SPDX-License-Identifier: Apache-2.0
// What opening an engine asks of the disk when there is nothing to recover, and the leader epoch checkpoint, which is written when a
// batch of a new epoch is, not at each start. A broker with ten thousand partitions pays all of this ten thousand times.
#include <set>

#include "core/checkpoint_file.h"
#include "core/epoch_cache.h"
#include "core/meta_properties.h"
#include "engine_fixture.h"

namespace varve {
namespace {

class StartTest : public EngineFixture {
 protected:
  static constexpr const char* kEpochs = "/data/orders-0/leader-epoch-checkpoint";

  /// A log with one batch in each of `epochs`, cleanly stopped.
  void Fill(const std::vector<int32_t>& epochs) {
    const std::shared_ptr<Engine> engine = Open();
    const std::shared_ptr<Log> log = OpenLog(*engine);
    for (const int32_t epoch : epochs) {
      ASSERT_EQ(Append(*log, MakeBatch(3, 20, 1), epoch).error, AppendError::kNone);
    }
    ASSERT_TRUE(engine->WriteTopicId({"orders", 0}, "0X7NeOdcSLa0X7NeOdcSLA").ok());
    ASSERT_TRUE(engine->Close().ok());
  }
  std::string TextOf(const std::string& path) {
    const Result<std::vector<uint8_t>> file = vfs_->ReadFile(path, 1 << 20);
    return file.ok() ? std::string(file->begin(), file->end()) : "none";
  }
  static void Lead(Log& log, int32_t epoch) {
    std::lock_guard<std::mutex> lock(log.append_mutex());
    ASSERT_TRUE(log.AssignEpoch(epoch).ok());
  }
};

TEST_F(StartTest, NeitherMapsNorScansALogThatNothingWasAppendedTo) {
  Fill({0, 0});
  for (const bool clean : {true, false, false, true}) {
    SCOPED_TRACE(clean ? "clean" : "killed");
    std::set<std::string> asked;
    vfs_->SetFault([&](MemoryVfs::Call, const std::string& path) {
      if (path.find("orders-0/") != std::string::npos) asked.insert(path.substr(path.rfind('/') + 1));
      return Status::Ok();
    });
    std::shared_ptr<Engine> engine = Open();
    const std::shared_ptr<Log> log = engine->FindLog({"orders", 0});
    ASSERT_NE(log, nullptr);
    Lead(*log, log->LatestEpoch() + 1);
    const Result<LogPosition> start = log->PositionOf(0);
    ASSERT_TRUE(start.ok());
    EXPECT_EQ(start->position, 0u);
    EXPECT_EQ(log->log_end_offset(), 6);
    EXPECT_EQ(log->durable_end().offset, 6);
    const Result<std::string> topic_id = engine->ReadTopicId({"orders", 0});
    EXPECT_EQ(topic_id.ok() ? *topic_id : "", "0X7NeOdcSLa0X7NeOdcSLA");
    engine->Maintain(kNow, false);
    engine->Maintain(kNow + 100'000, false);
    Settle();
    vfs_->SetFault(nullptr);
    for (const std::string& name : asked) {
      EXPECT_FALSE(name.ends_with("index")) << name;
      EXPECT_FALSE(name.ends_with("tmp")) << name << " was written";
    }
    EXPECT_EQ(log->Stats().recovered_bytes, 0u);
    EXPECT_TRUE(engine->problems().empty());
    std::vector<ModelBatch> served;
    EXPECT_TRUE(ReadAll(*log, 0, log->log_end(), &served).ok());
    EXPECT_EQ(served.size(), 2u);
    if (clean) {
      ASSERT_TRUE(engine->Close().ok());
    } else {
      engine->Abandon();
    }
  }
}

TEST_F(StartTest, WritesAnEpochOnceABatchHasIt) {
  Fill({0});
  EXPECT_EQ(TextOf(kEpochs), "0\n1\n0 0\n");
  std::shared_ptr<Engine> engine = Open();
  std::shared_ptr<Log> log = engine->FindLog({"orders", 0});
  Lead(*log, 4);
  EXPECT_EQ(log->EndOffsetForEpoch(0).end_offset, 3);
  EXPECT_EQ(log->EndOffsetForEpoch(4).end_offset, 3);
  engine->Maintain(kNow, false);
  engine->Maintain(kNow + 100'000, false);
  EXPECT_EQ(TextOf(kEpochs), "0\n1\n0 0\n");
  ASSERT_EQ(Append(*log, MakeBatch(1, 20, 2), 4).error, AppendError::kNone);
  engine->Maintain(kNow + 200'000, false);
  EXPECT_EQ(TextOf(kEpochs), "0\n2\n0 0\n4 3\n");
  ASSERT_EQ(Append(*log, MakeBatch(1, 20, 3), 6).error, AppendError::kNone);
  ASSERT_TRUE(Flush(*log).ok());
  engine->Abandon();
  // The checkpoint is older than the log: the batches behind the recovery point say the rest.
  engine = Open();
  log = engine->FindLog({"orders", 0});
  EXPECT_EQ(log->LatestEpoch(), 6);
  EXPECT_EQ(log->EndOffsetForEpoch(0).end_offset, 3);
  EXPECT_EQ(log->EndOffsetForEpoch(4).end_offset, 4);
  EXPECT_EQ(log->EpochForOffset(4), 6);
  ASSERT_TRUE(engine->Close().ok());
  EXPECT_EQ(TextOf(kEpochs), "0\n3\n0 0\n4 3\n6 4\n");
}

TEST_F(StartTest, DoesNotTakeAnOlderEpochCheckpointBesideANewerSeal) {
  Fill({0});
  // All that vouches for the file, as a power cut may bring it back: nothing here but the seal was synced since.
  std::map<std::string, std::string> old;
  for (const std::string& name : {std::string("/data/") + kChecksumsName, std::string(kEpochs)})
    old[name] = TextOf(name);
  std::shared_ptr<Engine> engine = Open();
  ASSERT_EQ(Append(*engine->FindLog({"orders", 0}), MakeBatch(1, 20, 2), 7).error, AppendError::kNone);
  ASSERT_TRUE(engine->Close().ok());
  for (const auto& [name, text] : old) ASSERT_TRUE(vfs_->WriteFile(name, BytesOf(text), true).ok());
  ASSERT_TRUE(vfs_->Remove(std::string("/data/") + kCleanShutdownName).ok());
  engine = Open();
  const std::shared_ptr<Log> log = engine->FindLog({"orders", 0});
  EXPECT_EQ(log->LatestEpoch(), 7);
  EXPECT_EQ(log->EndOffsetForEpoch(0).end_offset, 3);
  EXPECT_EQ(log->EpochForOffset(3), 7);
  ASSERT_TRUE(engine->Close().ok());
}

}  // namespace
}  // namespace varve
