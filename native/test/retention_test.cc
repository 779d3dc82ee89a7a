// SPDX-License-Identifier: Apache-2.0
// What time and size do to a log: rolls, retention, the log start, and what a restart knows of it. Kafka's rules: from the oldest segment
// on, stopping at the first that stays, never above the high watermark.
#include "engine_fixture.h"

namespace varve {
namespace {

class RetentionTest : public EngineFixture {
 protected:
  static constexpr int64_t kHourMs = 3'600'000;

  void SetUp() override { config_.index_interval_bytes = 300; }

  void AppendAt(Log& log, int64_t timestamp, int64_t now_ms) {
    ASSERT_EQ(Append(log, MakeBatch(1, 500, 1, timestamp), 0, now_ms).error, AppendError::kNone);
  }
  static uint32_t Segments(Log& log) { return log.Stats().segment_count; }
  std::vector<std::string> Names(std::string_view suffix) {
    std::vector<std::string> found;
    Result<std::vector<std::string>> names = vfs_->List("/data/orders-0");
    for (const std::string& name : *names) {
      if (name.ends_with(suffix)) found.push_back(name);
    }
    return found;
  }
};

TEST_F(RetentionTest, RollsWhenTheSegmentIsFullOrABatchIsLaterThanSegmentMs) {
  config_.segment_bytes = 2000;
  config_.segment_ms = kHourMs;
  auto engine = Open();
  auto log = OpenLog(*engine);
  for (int i = 0; i < 3; ++i) AppendAt(*log, kNow, kNow);
  EXPECT_EQ(Segments(*log), 1u);
  AppendAt(*log, kNow, kNow);
  EXPECT_EQ(Segments(*log), 2u) << "by size";
  AppendAt(*log, kNow + kHourMs, kNow + kHourMs);
  EXPECT_EQ(Segments(*log), 2u) << "just as old as it may be";
  AppendAt(*log, kNow + kHourMs + 1, kNow + kHourMs + 1);
  EXPECT_EQ(Segments(*log), 3u) << "by the batches' own time";
  engine->Abandon();
}

TEST_F(RetentionTest, RollsAnIdleSegmentByTheClock) {
  config_.segment_ms = kHourMs;
  auto engine = Open();
  auto log = OpenLog(*engine);
  engine->Maintain(kNow + 2 * kHourMs, false);
  EXPECT_EQ(Segments(*log), 1u) << "an empty one stays";
  AppendAt(*log, kNow, kNow);
  engine->Maintain(kNow, false);
  engine->Maintain(kNow + kHourMs, false);
  EXPECT_EQ(Segments(*log), 1u);
  engine->Maintain(kNow + kHourMs + 1, false);
  EXPECT_EQ(Segments(*log), 2u);
  engine->Abandon();
}

TEST_F(RetentionTest, CountsFromTheFirstAppendWhereBatchesHaveNoTime) {
  config_.segment_ms = kHourMs;
  for (const bool again : {false, true}) {
    auto engine = Open();
    auto log = OpenLog(*engine);
    AppendAt(*log, -1, kNow);
    AppendAt(*log, -1, kNow + kHourMs);
    EXPECT_EQ(Segments(*log), again ? 2u : 1u);
    AppendAt(*log, -1, kNow + kHourMs + 1);
    EXPECT_EQ(Segments(*log), again ? 3u : 2u);
    EXPECT_TRUE(engine->Close().ok());
  }
}

TEST_F(RetentionTest, DeletesWhatIsOlderThanRetentionMsFromTheOldestOn) {
  config_.segment_bytes = 1000;  // a batch each
  config_.retention_ms = kHourMs;
  config_.file_delete_delay_ms = 60'000;
  auto engine = Open();
  auto log = OpenLog(*engine);
  // The third is old, but behind one that is not.
  for (const int64_t timestamp : {kNow - 3 * kHourMs, kNow - 2 * kHourMs, kNow, kNow - 2 * kHourMs, kNow})
    AppendAt(*log, timestamp, kNow);
  Settle();
  ASSERT_TRUE(Flush(*log).ok());
  engine->Maintain(kNow, false);
  EXPECT_EQ(log->log_start_offset(), 0) << "only when told to";
  engine->Maintain(kNow, true);
  EXPECT_EQ(log->log_start_offset(), 2);
  LogSlice slice;
  EXPECT_EQ(log->Read(1, log->log_end(), {}, &slice).code(), Code::kOutOfRange);
  Settle();
  EXPECT_EQ(Names(".log").size(), 3u);
  EXPECT_EQ(Names(".log.deleted").size(), 2u) << "readers may still be slow";
  engine->Maintain(kNow + 60'001, false);
  Settle();
  EXPECT_EQ(Names(".deleted").size(), 0u);
  // All of it is old: the active segment goes too, and the log goes on where it was.
  engine->Maintain(kNow + kHourMs + 1, true);
  EXPECT_EQ(log->log_start_offset(), 5);
  EXPECT_EQ(log->log_end_offset(), 5);
  Settle();
  EXPECT_TRUE(engine->Close().ok());
  engine = Open();
  log = engine->FindLog({"orders", 0});
  EXPECT_EQ(log->log_start_offset(), 5);
  EXPECT_EQ(Append(*log, MakeBatch(1, 10, 1), 0).base_offset, 5) << "offsets are never given twice";
  engine->Abandon();
}

TEST_F(RetentionTest, DeletesTheOldestWhileWhatStaysIsAtLeastRetentionBytes) {
  config_.segment_bytes = 1000;
  auto engine = Open();
  auto log = OpenLog(*engine);
  for (int i = 0; i < 10; ++i) AppendAt(*log, kNow, kNow);
  Settle();
  ASSERT_TRUE(Flush(*log).ok());
  const uint64_t batch_bytes = log->Stats().size_bytes / 10;
  config_.retention_bytes = static_cast<int64_t>(3 * batch_bytes + 1);
  log->SetConfig(config_);
  engine->Maintain(kNow, true);
  EXPECT_EQ(log->log_start_offset(), 6) << "four stay: three would be less than retention.bytes";
  config_.retention_bytes = static_cast<int64_t>(3 * batch_bytes);
  log->SetConfig(config_);
  engine->Maintain(kNow, true);
  EXPECT_EQ(log->log_start_offset(), 7);
  engine->Abandon();
}

TEST_F(RetentionTest, TakesNothingAboveTheHighWatermarkAndNothingFromACompactedLog) {
  config_.segment_bytes = 1000;
  config_.retention_ms = 0;
  auto engine = Open();
  auto log = OpenLog(*engine);
  for (int i = 0; i < 5; ++i) AppendAt(*log, kNow - kHourMs, kNow);
  Settle();
  ASSERT_TRUE(Flush(*log).ok());
  {
    std::lock_guard<std::mutex> lock(log->append_mutex());
    log->SetHighWatermark(2);
  }
  engine->Maintain(kNow, true);
  EXPECT_EQ(log->log_start_offset(), 2);
  {
    std::lock_guard<std::mutex> lock(log->append_mutex());
    log->SetHighWatermark(5);
  }
  config_.cleanup_delete = false;
  log->SetConfig(config_);
  engine->Maintain(kNow, true);
  EXPECT_EQ(log->log_start_offset(), 2);
  engine->Abandon();
}

TEST_F(RetentionTest, KnowsTheLogStartAfterACleanStopAndAfterACheckpoint) {
  config_.segment_bytes = 1000;
  auto engine = Open();
  auto log = OpenLog(*engine);
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(Append(*log, MakeBatch(3, 200, static_cast<uint64_t>(i)), 0).error, AppendError::kNone);
  }
  Settle();
  const auto advance = [&](int64_t offset) {
    std::lock_guard<std::mutex> lock(log->append_mutex());
    return log->AdvanceLogStartOffset(offset);
  };
  EXPECT_EQ(advance(19).code(), Code::kOutOfRange);
  EXPECT_TRUE(advance(7).ok());
  EXPECT_TRUE(advance(3).ok());
  EXPECT_EQ(log->log_start_offset(), 7) << "it never goes back";
  EXPECT_TRUE(engine->Close().ok());
  engine = Open();
  log = engine->FindLog({"orders", 0});
  EXPECT_EQ(log->log_start_offset(), 7);
  std::vector<ModelBatch> found;
  ASSERT_TRUE(ReadAll(*log, 7, log->log_end(), &found).ok());
  EXPECT_EQ(found.front().base_offset, 6) << "a batch may begin before the log start";
  EXPECT_TRUE(advance(10).ok());
  engine->Maintain(kNow, false);
  Settle();
  engine->Maintain(kNow + 100'000, false);
  Settle();
  engine->Abandon();
  engine = Open();
  log = engine->FindLog({"orders", 0});
  EXPECT_EQ(log->log_start_offset(), 10) << "killed behind a checkpoint";
  EXPECT_EQ(log->log_end_offset(), 18);
  engine->Abandon();
}

TEST_F(RetentionTest, FindsTimestampsOverSegmentsAndTheLargestOfAll) {
  config_.segment_bytes = 1000;
  auto engine = Open();
  auto log = OpenLog(*engine);
  for (const int64_t timestamp : {1000, 1010, 1005, 1030, 1020}) AppendAt(*log, timestamp, kNow);
  const auto at = [&](int64_t timestamp, int64_t bound) {
    return log->OffsetForTimestamp(timestamp, bound)->offset;
  };
  EXPECT_EQ(at(0, 5), 0);
  EXPECT_EQ(at(1001, 5), 1);
  EXPECT_EQ(at(1006, 5), 1);
  EXPECT_EQ(at(1011, 5), 3);
  EXPECT_EQ(at(1011, 3), -1) << "bounded by what the reader may see";
  EXPECT_EQ(at(1031, 5), -1);
  EXPECT_EQ(log->OffsetOfMaxTimestamp(log->log_end_offset())->offset, 3);
  EXPECT_EQ(log->OffsetOfMaxTimestamp(log->log_end_offset())->timestamp_ms, 1030);
  {
    std::lock_guard<std::mutex> lock(log->append_mutex());
    ASSERT_TRUE(log->AdvanceLogStartOffset(2).ok());
  }
  EXPECT_EQ(at(1001, 5), 2);
  engine->Abandon();
}

}  // namespace
}  // namespace varve
