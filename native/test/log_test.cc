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

}  // namespace
}  // namespace varve
