// SPDX-License-Identifier: Apache-2.0
#include "core/time_index.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <vector>

#include "core/vfs_memory.h"
#include "test/kafka_golden_files.h"

namespace varve {
namespace {

using kafka_golden::FromHex;

constexpr uint32_t kRoom = 10u << 20;

std::vector<uint8_t> Entries(std::initializer_list<std::pair<int64_t, uint32_t>> entries) {
  std::vector<uint8_t> bytes;
  for (const auto& [timestamp, offset] : entries) {
    bytes.resize(bytes.size() + 12);
    StoreI64(&bytes[bytes.size() - 12], timestamp);
    StoreU32(&bytes[bytes.size() - 4], offset);
  }
  return bytes;
}

Code LoadCode(Bytes file, const IndexBounds& bounds = {}) {
  return TimeIndex::Load(file, bounds).status().code();
}

TEST(TimeIndex, AnEmptyIndexAnswersWithNoTimestampAndTheBaseOffset) {
  const TimeIndex index(100, kRoom);
  EXPECT_EQ(index.Lookup(std::numeric_limits<int64_t>::max()), (TimeIndexEntry{-1, 100}));
  EXPECT_EQ(index.Last(), (TimeIndexEntry{-1, 100}));
}

TEST(TimeIndex, LookupsAgreeWithAnOrderedMapWhateverTheOrder) {
  std::mt19937_64 rng(4);
  for (const int count : {1, 31, 32, 33, 511, 512, 513, 8000}) {
    TimeIndex index(1000, kRoom);
    std::map<int64_t, int64_t> model;
    int64_t timestamp = 1'700'000'000'000;
    int64_t offset = 1000;
    for (int i = 0; i < count; i++) {
      timestamp += 1 + static_cast<int64_t>(rng() % 100);
      offset += static_cast<int64_t>(rng() % 20);
      ASSERT_TRUE(index.MaybeAppend(timestamp, offset));
      model[timestamp] = offset;
    }
    for (int i = 0; i < 5000; i++) {
      const int64_t target =
          1'700'000'000'000 - 5 +
          static_cast<int64_t>(rng() % static_cast<uint64_t>(timestamp - 1'700'000'000'000 + 50));
      auto at = model.upper_bound(target);
      const TimeIndexEntry want = at == model.begin()
                                      ? TimeIndexEntry{-1, 1000}
                                      : TimeIndexEntry{std::prev(at)->first, std::prev(at)->second};
      ASSERT_EQ(index.Lookup(target), want) << target;
    }
    EXPECT_EQ(index.Last(), (TimeIndexEntry{timestamp, offset}));
  }
}

TEST(TimeIndex, TakesOnlyRisingTimestampsAtOffsetsThatDoNotFall) {
  TimeIndex index(10, kRoom);
  EXPECT_FALSE(index.MaybeAppend(-1, 12)) << "no timestamp";
  EXPECT_TRUE(index.MaybeAppend(100, 12));
  EXPECT_FALSE(index.MaybeAppend(100, 12)) << "the same again, as when an unchanged segment closes";
  EXPECT_FALSE(index.MaybeAppend(100, 15));
  EXPECT_FALSE(index.MaybeAppend(99, 15));
  EXPECT_FALSE(index.MaybeAppend(101, 11));
  EXPECT_FALSE(index.MaybeAppend(101, 10 + kRelativeOffsetMax + 1));
  EXPECT_TRUE(index.MaybeAppend(101, 12));
  EXPECT_EQ(index.entry_count(), 2u);
}

TEST(TimeIndex, TheLastSlotIsForTheEntryThatClosesTheSegment) {
  TimeIndex index(0, 3 * kTimeIndexEntryBytes);
  EXPECT_TRUE(index.MaybeAppend(1, 1));
  EXPECT_FALSE(index.IsFull());
  EXPECT_TRUE(index.MaybeAppend(2, 2));
  EXPECT_TRUE(index.IsFull());
  EXPECT_FALSE(index.MaybeAppend(3, 3));
  EXPECT_TRUE(index.MaybeAppend(3, 3, true));
  EXPECT_FALSE(index.MaybeAppend(4, 4, true));
  EXPECT_EQ(index.Last(), (TimeIndexEntry{3, 3}));
}

TEST(TimeIndex, TruncationDropsTheEntriesAtAndBehindAnOffset) {
  for (const auto& [offset, left] : std::vector<std::pair<int64_t, uint32_t>>{
           {0, 0}, {10, 0}, {11, 1}, {20, 1}, {21, 2}, {30, 2}, {31, 3}, {99, 3}}) {
    TimeIndex index(0, kRoom);
    for (const int64_t o : {10, 20, 30}) ASSERT_TRUE(index.MaybeAppend(o * 7, o));
    index.TruncateTo(offset);
    EXPECT_EQ(index.entry_count(), left) << offset;
    EXPECT_EQ(index.Last().timestamp, left == 0 ? -1 : static_cast<int64_t>(left) * 70);
  }
}

TEST(TimeIndex, PersistAndLoadKeepWhatTheIndexSays) {
  auto vfs = MakeMemoryVfs(false);
  auto file = *vfs->Open("/0.timeindex", OpenMode::kCreate);
  std::mt19937_64 rng(5);
  TimeIndex index(1, kRoom);
  int64_t timestamp = 0;
  int64_t offset = 1;
  for (int round = 0; round < 40; round++) {
    for (uint64_t i = rng() % 1500; i > 0; i--) ASSERT_TRUE(index.MaybeAppend(timestamp += 3, offset += 2));
    if (rng() % 4 == 0) {
      index.TruncateTo(1 + static_cast<int64_t>(rng() % static_cast<uint64_t>(offset)));
      timestamp = std::max<int64_t>(index.Last().timestamp, 0);
      offset = index.Last().offset;
    }
    ASSERT_TRUE(index.Persist(*file).ok());
    const std::vector<uint8_t> bytes = *vfs->ReadFile("/0.timeindex", kRoom);
    ASSERT_EQ(bytes, index.Encode());
    auto loaded = TimeIndex::Load(bytes, {.base_offset = 1, .next_offset = offset + 1});
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    ASSERT_EQ((*loaded)->Encode(), bytes);
    ASSERT_EQ((*loaded)->Last(), index.Last());
  }
}

TEST(TimeIndex, LoadRefusesWhatCanNotBeAnIndex) {
  const IndexBounds bounds{.base_offset = 10, .next_offset = 31};
  const std::vector<uint8_t> good = Entries({{100, 4}, {101, 4}, {200, 20}});
  for (size_t size = 0; size <= good.size(); size++) {
    EXPECT_EQ(LoadCode(Bytes(good).first(size), bounds), size % 12 == 0 ? Code::kOk : Code::kCorrupt) << size;
  }
  EXPECT_EQ(LoadCode(Entries({{200, 4}, {100, 5}}), bounds), Code::kCorrupt);
  EXPECT_EQ(LoadCode(Entries({{100, 4}, {100, 5}}), bounds), Code::kCorrupt);
  EXPECT_EQ(LoadCode(Entries({{100, 5}, {200, 4}}), bounds), Code::kCorrupt);
  EXPECT_EQ(LoadCode(Entries({{-1, 5}}), bounds), Code::kCorrupt);
  EXPECT_EQ(LoadCode(Entries({{100, 21}}), bounds), Code::kCorrupt);
  EXPECT_EQ(LoadCode(Entries({{100, 0xffffffff}}), bounds), Code::kCorrupt);
  EXPECT_EQ(LoadCode(Entries({{100, 1}, {0, 0}, {200, 2}}), bounds), Code::kCorrupt);
}

TEST(TimeIndex, SpaceNeverWrittenIsCutOffButARecordOf1970IsNot) {
  auto index = TimeIndex::Load(Entries({{100, 4}, {0, 0}, {0, 0}}), {});
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->entry_count(), 1u);
  index = TimeIndex::Load(Entries({{0, 0}, {5, 3}}), {});
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->Lookup(4), (TimeIndexEntry{0, 0}));
  index = TimeIndex::Load(Entries({{0, 0}}), {});
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->Last(), (TimeIndexEntry{0, 0}));
  index = TimeIndex::Load(std::vector<uint8_t>(1200), {});
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->entry_count(), 0u);
}

TEST(TimeIndex, LoadsWhatKafkaWroteAndWritesTheSameBytes) {
  const std::vector<uint8_t> closed = FromHex(kafka_golden::kSegment0TimeIndex);
  auto index = TimeIndex::Load(closed, {.base_offset = 0, .next_offset = 22});
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->entry_count(), 4u);
  EXPECT_EQ((*index)->Last(), (TimeIndexEntry{1700000000154, 21}));
  EXPECT_EQ((*index)->Lookup(1700000000104), (TimeIndexEntry{1700000000063, 8}));
  EXPECT_EQ((*index)->Encode(), closed);

  std::vector<uint8_t> live = FromHex(kafka_golden::kSegment22TimeIndexLive);
  live.resize(kafka_golden::kSegment22TimeIndexLiveBytes);
  index = TimeIndex::Load(live, {.base_offset = 22, .next_offset = 42});
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->Encode(), FromHex(kafka_golden::kSegment22TimeIndex));
}

}  // namespace
}  // namespace varve
