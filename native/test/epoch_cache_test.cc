// SPDX-License-Identifier: Apache-2.0
#include "core/epoch_cache.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/text_scan.h"
#include "core/vfs_memory.h"
#include "test/kafka_golden_files.h"

namespace varve {

bool operator==(const EpochEndOffset& a, const EpochEndOffset& b) {
  return a.leader_epoch == b.leader_epoch && a.end_offset == b.end_offset;
}
void PrintTo(const EpochEndOffset& end, std::ostream* out) {
  *out << '{' << end.leader_epoch << ", " << end.end_offset << '}';
}
void PrintTo(const EpochEntry& entry, std::ostream* out) {
  *out << '{' << entry.epoch << ", " << entry.start_offset << '}';
}

namespace {

using Epochs = std::vector<EpochEntry>;

Result<Epochs> Parse(std::string_view text) { return EpochCache::Parse(AsBytes(text)); }

TEST(EpochCache, AnEmptyCacheKnowsNothing) {
  const EpochCache cache;
  EXPECT_EQ(cache.LatestEpoch(), -1);
  EXPECT_EQ(cache.EndOffsetFor(0, 10), (EpochEndOffset{-1, -1}));
  EXPECT_EQ(cache.EpochForOffset(0), -1);
  EXPECT_EQ(cache.PreviousEpoch(5), -1);
  EXPECT_FALSE(cache.Latest().has_value());
  EXPECT_FALSE(cache.Earliest().has_value());
}

TEST(EpochCache, AssigningTheLatestEpochAgainChangesNothing) {
  EpochCache cache;
  EXPECT_TRUE(cache.Assign(2, 10));
  EXPECT_FALSE(cache.Assign(2, 10));
  EXPECT_FALSE(cache.Assign(2, 15));
  EXPECT_EQ(cache.Entries(), (Epochs{{2, 10}}));
  EXPECT_TRUE(cache.Assign(2, 7)) << "an earlier start";
  EXPECT_EQ(cache.Entries(), (Epochs{{2, 7}}));
}

TEST(EpochCache, ANewEntryTakesTheConflictingOnesAway) {
  EpochCache cache;
  for (const EpochEntry& entry : Epochs{{1, 0}, {2, 10}, {3, 20}, {5, 30}})
    ASSERT_TRUE(cache.Assign(entry.epoch, entry.start_offset));
  EXPECT_TRUE(cache.Assign(6, 30)) << "epoch 5 wrote nothing";
  EXPECT_EQ(cache.Entries(), (Epochs{{1, 0}, {2, 10}, {3, 20}, {6, 30}}));
  EXPECT_TRUE(cache.Assign(3, 40)) << "an old epoch comes back: the later one goes";
  EXPECT_EQ(cache.Entries(), (Epochs{{1, 0}, {2, 10}, {3, 40}}));
  EXPECT_TRUE(cache.Assign(4, 5));
  EXPECT_EQ(cache.Entries(), (Epochs{{1, 0}, {4, 5}}));
  EXPECT_EQ(cache.LatestEpoch(), 4);
}

TEST(EpochCache, EndOffsetsFollowKip101And279) {
  EpochCache cache;
  for (const EpochEntry& entry : Epochs{{2, 10}, {4, 20}, {7, 30}})
    ASSERT_TRUE(cache.Assign(entry.epoch, entry.start_offset));
  EXPECT_EQ(cache.EndOffsetFor(7, 99), (EpochEndOffset{7, 99})) << "the latest ends at the log end";
  EXPECT_EQ(cache.EndOffsetFor(4, 99), (EpochEndOffset{4, 30}));
  EXPECT_EQ(cache.EndOffsetFor(2, 99), (EpochEndOffset{2, 20}));
  EXPECT_EQ(cache.EndOffsetFor(5, 99), (EpochEndOffset{4, 30})) << "unknown, between: the largest below it";
  EXPECT_EQ(cache.EndOffsetFor(3, 99), (EpochEndOffset{2, 20}));
  EXPECT_EQ(cache.EndOffsetFor(1, 99), (EpochEndOffset{1, 10})) << "older than all: where the log begins";
  EXPECT_EQ(cache.EndOffsetFor(8, 99), (EpochEndOffset{-1, -1})) << "newer than all";
  EXPECT_EQ(cache.EndOffsetFor(-1, 99), (EpochEndOffset{-1, -1}));
}

TEST(EpochCache, KnowsTheEpochOfAnOffset) {
  EpochCache cache;
  for (const EpochEntry& entry : Epochs{{2, 10}, {4, 20}})
    ASSERT_TRUE(cache.Assign(entry.epoch, entry.start_offset));
  for (const auto& [offset, epoch] :
       std::vector<std::pair<int64_t, int32_t>>{{0, -1}, {9, -1}, {10, 2}, {19, 2}, {20, 4}, {1 << 30, 4}}) {
    EXPECT_EQ(cache.EpochForOffset(offset), epoch) << offset;
  }
  EXPECT_EQ(cache.PreviousEpoch(4), 2);
  EXPECT_EQ(cache.PreviousEpoch(3), 2);
  EXPECT_EQ(cache.PreviousEpoch(2), -1);
}

TEST(EpochCache, TruncationFromTheEndDropsEpochsThatBeganThere) {
  for (const auto& [end, left] : std::vector<std::pair<int64_t, size_t>>{
           {31, 3}, {30, 2}, {21, 2}, {20, 1}, {11, 1}, {10, 0}, {0, 0}}) {
    EpochCache cache;
    for (const EpochEntry& entry : Epochs{{2, 10}, {4, 20}, {7, 30}})
      ASSERT_TRUE(cache.Assign(entry.epoch, entry.start_offset));
    EXPECT_EQ(cache.TruncateFromEnd(end), left < 3) << end;
    EXPECT_EQ(cache.Entries().size(), left) << end;
    EXPECT_EQ(cache.LatestEpoch(), left == 0 ? -1 : cache.Entries().back().epoch);
    EXPECT_FALSE(cache.TruncateFromEnd(end));
  }
}

TEST(EpochCache, TruncationFromTheStartKeepsTheEpochThatHoldsTheStart) {
  const auto after = [](int64_t start) {
    EpochCache cache;
    for (const EpochEntry& entry : Epochs{{2, 10}, {4, 20}, {7, 30}})
      EXPECT_TRUE(cache.Assign(entry.epoch, entry.start_offset));
    const bool changed = cache.TruncateFromStart(start);
    EXPECT_EQ(changed, cache.Entries() != (Epochs{{2, 10}, {4, 20}, {7, 30}})) << start;
    return cache.Entries();
  };
  EXPECT_EQ(after(5), (Epochs{{2, 10}, {4, 20}, {7, 30}}));
  EXPECT_EQ(after(10), (Epochs{{2, 10}, {4, 20}, {7, 30}}));
  EXPECT_EQ(after(15), (Epochs{{2, 15}, {4, 20}, {7, 30}}));
  EXPECT_EQ(after(20), (Epochs{{4, 20}, {7, 30}}));
  EXPECT_EQ(after(29), (Epochs{{4, 29}, {7, 30}}));
  EXPECT_EQ(after(500), (Epochs{{7, 500}}));
}

TEST(EpochCache, AgreesWithASearchThroughAllRecords) {
  std::mt19937_64 rng(9);
  for (int round = 0; round < 200; round++) {
    EpochCache cache;
    std::vector<int32_t> epoch_of;  // by offset
    int32_t epoch = static_cast<int32_t>(rng() % 3);
    for (uint64_t i = 1 + rng() % 8; i > 0; i--) {
      const int64_t start = static_cast<int64_t>(epoch_of.size());
      for (uint64_t n = 1 + rng() % 5; n > 0; n--) epoch_of.push_back(epoch);
      ASSERT_TRUE(cache.Assign(epoch, start));
      epoch += 1 + static_cast<int32_t>(rng() % 3);
    }
    if (rng() % 2 == 0) {
      epoch_of.resize(1 + rng() % epoch_of.size());
      cache.TruncateFromEnd(static_cast<int64_t>(epoch_of.size()));
    }
    const int64_t end = static_cast<int64_t>(epoch_of.size());
    for (int64_t offset = 0; offset < end; offset++)
      ASSERT_EQ(cache.EpochForOffset(offset), epoch_of[static_cast<size_t>(offset)]);
    for (int32_t asked = 0; asked <= epoch_of.back(); asked++) {
      int64_t want = 0;
      while (want < end && epoch_of[static_cast<size_t>(want)] <= asked) want++;
      ASSERT_EQ(cache.EndOffsetFor(asked, end).end_offset, want) << asked;
    }
  }
}

TEST(EpochCache, IsWrittenAndReadInKafkasFormat) {
  EpochCache cache;
  EXPECT_EQ(cache.Encode(), "0\n0\n");
  cache.Assign(0, 0);
  EXPECT_EQ(cache.Encode(), kafka_golden::kLeaderEpochCheckpoint);
  cache.Assign(3, 12345678901);
  EXPECT_EQ(cache.Encode(), "0\n2\n0 0\n3 12345678901\n");
  auto vfs = MakeMemoryVfs(false);
  ASSERT_TRUE(cache.Store(*vfs, "/leader-epoch-checkpoint", true).ok());
  EpochCache loaded;
  ASSERT_TRUE(loaded.Load(*vfs, "/leader-epoch-checkpoint").ok());
  EXPECT_EQ(loaded.Entries(), cache.Entries());
  EXPECT_EQ(loaded.LatestEpoch(), 3);
  EXPECT_EQ(loaded.Load(*vfs, "/none").code(), Code::kNotFound);
  EXPECT_EQ(loaded.LatestEpoch(), -1);
}

TEST(EpochCache, RefusesFilesThatAreNotOfTheFormat) {
  EXPECT_EQ(*Parse(""), Epochs{}) << "Kafka makes the file empty";
  EXPECT_EQ(*Parse("0\n1\n5 7"), (Epochs{{5, 7}})) << "an editor took the last line end away";
  for (const char* text : {"1\n1\n5 7\n", "0", "0\n", "x\n1\n5 7\n", "0\n2\n5 7\n", "0\n0\n5 7\n",
                           "0\n1\n5\n", "0\n1\n5 7 9\n", "0\n1\n5  7\n", "0\n1\n-5 7\n", "0\n1\n5 -7\n",
                           "0\n2\n5 7\n5 8\n", "0\n2\n5 7\n6 7\n", "0\n2\n5 7\n4 8\n", "0\n1\n5 7\n\n",
                           "0\n1\n5 99999999999999999999\n", "0\n99999999999\n5 7\n", "0\n1\n5 7\r\n"}) {
    EXPECT_EQ(Parse(text).status().code(), Code::kCorrupt) << text;
  }
}

}  // namespace
}  // namespace varve
