// SPDX-License-Identifier: Apache-2.0
#include "core/offset_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "core/record_batch.h"
#include "core/vfs_memory.h"
#include "test/kafka_golden_files.h"

namespace varve {
namespace {

using kafka_golden::FromHex;

constexpr uint32_t kRoom = 10u << 20;

std::vector<uint8_t> Entry(uint32_t relative_offset, uint32_t position) {
  std::vector<uint8_t> bytes(8);
  StoreU32(bytes.data(), relative_offset);
  StoreU32(bytes.data() + 4, position);
  return bytes;
}

std::vector<uint8_t> Entries(std::initializer_list<std::pair<uint32_t, uint32_t>> entries) {
  std::vector<uint8_t> bytes;
  for (const auto& [offset, position] : entries) {
    const std::vector<uint8_t> entry = Entry(offset, position);
    bytes.insert(bytes.end(), entry.begin(), entry.end());
  }
  return bytes;
}

Code LoadCode(Bytes file, const IndexBounds& bounds = {}) {
  return OffsetIndex::Load(file, bounds).status().code();
}

std::shared_ptr<File> NewFile(const std::shared_ptr<MemoryVfs>& vfs) {
  return *vfs->Open("/0.index", OpenMode::kCreate);
}

std::vector<uint8_t> Contents(const std::shared_ptr<MemoryVfs>& vfs) {
  return *vfs->ReadFile("/0.index", kRoom);
}

TEST(OffsetIndex, AnEmptyIndexSendsEveryLookupToTheFrontOfTheSegment) {
  const OffsetIndex index(100, kRoom);
  for (const int64_t target :
       {int64_t{0}, int64_t{99}, int64_t{100}, int64_t{5000}, std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(index.Lookup(target), (OffsetPosition{100, 0}));
  }
  EXPECT_EQ(index.LookupPosition(4096), (OffsetPosition{100, 0}));
  EXPECT_EQ(index.Last(), (OffsetPosition{100, 0}));
}

TEST(OffsetIndex, LookupsAgreeWithAnOrderedMapAtEveryOffsetWhateverTheOrder) {
  std::mt19937_64 rng(1);
  for (const int64_t base : {int64_t{0}, int64_t{1} << 40}) {
    for (const int count : {1, 31, 32, 33, 1023, 1024, 1025, 20000}) {
      OffsetIndex index(base, kRoom);
      std::map<int64_t, uint32_t> model;
      int64_t offset = base;
      uint32_t position = 0;
      for (int i = 0; i < count; i++) {
        offset += 1 + static_cast<int64_t>(rng() % 50);
        position += 61 + static_cast<uint32_t>(rng() % 9000);
        ASSERT_TRUE(index.Append(offset, position));
        model[offset] = position;
      }
      for (int i = 0; i < 4000; i++) {
        const int64_t target =
            base - 2 + static_cast<int64_t>(rng() % static_cast<uint64_t>(offset - base + 60));
        auto at = model.upper_bound(target);
        const OffsetPosition want = at == model.begin()
                                        ? OffsetPosition{base, 0}
                                        : OffsetPosition{std::prev(at)->first, std::prev(at)->second};
        ASSERT_EQ(index.Lookup(target), want) << target;
        // The offset an entry is for, and the one before it, are where searches go wrong.
        ASSERT_EQ(index.Lookup(want.offset).offset, want.offset);
        ASSERT_LE(index.LookupPosition(want.position + 7).position, want.position + 7);
      }
      EXPECT_EQ(index.Lookup(std::numeric_limits<int64_t>::max()).offset, offset);
      EXPECT_EQ(index.Last(), (OffsetPosition{offset, position}));
      EXPECT_EQ(index.LookupPosition(std::numeric_limits<uint32_t>::max()), index.Last());
    }
  }
}

TEST(OffsetIndex, LookupByPositionAgreesWithAnOrderedMap) {
  std::mt19937_64 rng(2);
  OffsetIndex index(7, kRoom);
  std::map<uint32_t, int64_t> model;
  uint32_t position = 0;
  for (int i = 0; i < 3000; i++) {
    position += 1 + static_cast<uint32_t>(rng() % 100);
    ASSERT_TRUE(index.Append(8 + i, position));
    model[position] = 8 + i;
  }
  for (uint32_t target = 0; target < position + 3; target++) {
    auto at = model.upper_bound(target);
    const OffsetPosition want = at == model.begin()
                                    ? OffsetPosition{7, 0}
                                    : OffsetPosition{std::prev(at)->second, std::prev(at)->first};
    ASSERT_EQ(index.LookupPosition(target), want) << target;
  }
}

TEST(OffsetIndex, TakesNoEntryThatDoesNotRiseOrDoesNotFit) {
  OffsetIndex index(1000, 4 * kOffsetIndexEntryBytes + 7);
  EXPECT_FALSE(index.Append(1005, 0)) << "the first batch of a segment has no entry";
  EXPECT_TRUE(index.Append(1005, 61));
  EXPECT_FALSE(index.Append(1005, 200));
  EXPECT_FALSE(index.Append(1004, 200));
  EXPECT_FALSE(index.Append(1006, 61));
  EXPECT_FALSE(index.Append(999, 200));
  EXPECT_FALSE(index.Append(1000 + kRelativeOffsetMax + 1, 200));
  EXPECT_FALSE(index.CanAppendOffset(1000 + kRelativeOffsetMax + 1));
  EXPECT_FALSE(index.CanAppendOffset(999));
  EXPECT_TRUE(index.CanAppendOffset(1000 + kRelativeOffsetMax));
  EXPECT_EQ(index.entry_count(), 1u);
  EXPECT_TRUE(index.Append(1006, 200));
  EXPECT_TRUE(index.Append(1007, 300));
  EXPECT_FALSE(index.IsFull());
  EXPECT_TRUE(index.Append(1000 + kRelativeOffsetMax, std::numeric_limits<uint32_t>::max()));
  EXPECT_TRUE(index.IsFull());
  EXPECT_EQ(index.Last(), (OffsetPosition{1000 + kRelativeOffsetMax, std::numeric_limits<uint32_t>::max()}));
  EXPECT_FALSE(index.Append(1000 + kRelativeOffsetMax, 1)) << "full";
}

TEST(OffsetIndex, TruncationKeepsWhatLiesBelowTheOffset) {
  // Kafka's three cases: nothing at or below, an exact entry, between entries.
  for (const auto& [offset, left] : std::vector<std::pair<int64_t, uint32_t>>{
           {0, 0}, {9, 0}, {10, 0}, {11, 1}, {20, 1}, {29, 2}, {30, 2}, {31, 3}, {1000, 3}}) {
    OffsetIndex index(0, kRoom);
    for (const int64_t o : {10, 20, 30}) ASSERT_TRUE(index.Append(o, static_cast<uint32_t>(o * 100)));
    index.TruncateTo(offset);
    EXPECT_EQ(index.entry_count(), left) << offset;
    EXPECT_LT(index.Lookup(5000).offset, std::max<int64_t>(offset, 1)) << offset;
    EXPECT_TRUE(index.Append(40, 9000)) << "appending goes on behind it";
    EXPECT_EQ(index.Lookup(5000), (OffsetPosition{40, 9000}));
  }
}

TEST(OffsetIndex, PersistWritesWhatIsNewAndCutsWhatIsStale) {
  auto vfs = MakeMemoryVfs(false);
  auto file = NewFile(vfs);
  // What an earlier life of the segment left behind.
  ASSERT_TRUE(file->Write(0, std::vector<uint8_t>(4096, 0xaa)).ok());
  OffsetIndex index(50, kRoom);
  ASSERT_TRUE(index.Persist(*file).ok());
  EXPECT_EQ(Contents(vfs).size(), 0u);
  std::mt19937_64 rng(3);
  int64_t offset = 50;
  uint32_t position = 0;
  for (int round = 0; round < 60; round++) {
    for (uint64_t i = rng() % 3000; i > 0; i--) ASSERT_TRUE(index.Append(++offset, position += 61));
    if (rng() % 4 == 0 && index.entry_count() > 0) {
      index.TruncateTo(50 + static_cast<int64_t>(rng() % static_cast<uint64_t>(offset - 49)));
      offset = index.Last().offset;
      position = index.Last().position;
    }
    if (rng() % 3 != 0) continue;
    ASSERT_TRUE(index.Persist(*file).ok());
    ASSERT_EQ(Contents(vfs), index.Encode());
    ASSERT_EQ(Contents(vfs).size(), index.size_bytes());
  }
}

TEST(OffsetIndex, PersistWritesOnlyTheNewEntriesOnceTheFileIsKnown) {
  auto vfs = MakeMemoryVfs(false);
  auto file = NewFile(vfs);
  OffsetIndex index(0, kRoom);
  ASSERT_TRUE(index.Append(1, 100));
  ASSERT_TRUE(index.Persist(*file).ok());
  // An entry already written is not written again: a byte changed behind its back stays changed.
  ASSERT_TRUE(vfs->Corrupt("/0.index", 7, std::vector<uint8_t>{0x55}).ok());
  ASSERT_TRUE(index.Append(2, 200));
  ASSERT_TRUE(index.Persist(*file).ok());
  EXPECT_EQ(Contents(vfs), Entries({{1, 0x55}, {2, 200}}));
}

TEST(OffsetIndex, AFailedPersistIsMadeUpForByTheNext) {
  auto vfs = MakeMemoryVfs(false);
  auto file = NewFile(vfs);
  OffsetIndex index(0, kRoom);
  for (uint32_t i = 1; i <= 3000; i++) ASSERT_TRUE(index.Append(i, i * 100));
  int calls = 0;
  vfs->SetFault([&](MemoryVfs::Call call, const std::string&) {
    return call == MemoryVfs::Call::kWrite && ++calls == 2 ? Status(Code::kNoSpace, "full") : Status::Ok();
  });
  EXPECT_EQ(index.Persist(*file).code(), Code::kNoSpace);
  vfs->SetFault(nullptr);
  ASSERT_TRUE(index.Persist(*file).ok());
  EXPECT_EQ(Contents(vfs), index.Encode());
}

TEST(OffsetIndex, ALoadedIndexAnswersAsTheOneThatWasWrittenAndGrowsOn) {
  auto vfs = MakeMemoryVfs(false);
  auto file = NewFile(vfs);
  OffsetIndex written(500, kRoom);
  for (uint32_t i = 1; i <= 5000; i++) ASSERT_TRUE(written.Append(500 + i * 3, i * 100));
  ASSERT_TRUE(written.Persist(*file).ok());
  auto loaded =
      OffsetIndex::Load(Contents(vfs), {.base_offset = 500, .next_offset = 15501, .log_bytes = 500001});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  for (int64_t target = 490; target < 15600; target++)
    ASSERT_EQ((*loaded)->Lookup(target), written.Lookup(target));
  for (uint32_t i = 5001; i <= 9000; i++) {
    ASSERT_TRUE(written.Append(500 + i * 3, i * 100));
    ASSERT_TRUE((*loaded)->Append(500 + i * 3, i * 100));
  }
  ASSERT_TRUE((*loaded)->Persist(*file).ok());
  EXPECT_EQ(Contents(vfs), written.Encode());
}

TEST(OffsetIndex, LoadRefusesWhatCanNotBeAnIndex) {
  const std::vector<uint8_t> good = Entries({{4, 300}, {9, 700}, {15, 1100}});
  const IndexBounds bounds{.base_offset = 10, .next_offset = 26, .log_bytes = 1101};
  ASSERT_EQ(LoadCode(good, bounds), Code::kOk);
  for (size_t size = 0; size <= good.size(); size++) {
    EXPECT_EQ(LoadCode(Bytes(good).first(size), bounds), size % 8 == 0 ? Code::kOk : Code::kCorrupt) << size;
  }
  EXPECT_EQ(LoadCode(Entries({{9, 300}, {4, 700}}), bounds), Code::kCorrupt) << "offsets fall";
  EXPECT_EQ(LoadCode(Entries({{4, 300}, {4, 700}}), bounds), Code::kCorrupt) << "an offset twice";
  EXPECT_EQ(LoadCode(Entries({{4, 700}, {9, 300}}), bounds), Code::kCorrupt) << "positions fall";
  EXPECT_EQ(LoadCode(Entries({{4, 0}, {9, 300}}), bounds), Code::kCorrupt) << "an entry for the first batch";
  EXPECT_EQ(LoadCode(Entries({{0, 0}, {9, 300}}), bounds), Code::kCorrupt)
      << "space never written, then an entry";
  EXPECT_EQ(LoadCode(Entries({{0x80000000, 300}}), bounds), Code::kCorrupt) << "a negative offset";
  EXPECT_EQ(LoadCode(Entries({{16, 1100}}), bounds), Code::kCorrupt) << "behind the segment's end";
  EXPECT_EQ(LoadCode(Entries({{15, 1101}}), bounds), Code::kCorrupt) << "behind the end of the log";
}

TEST(OffsetIndex, LoadsWhatKafkaWroteAndWritesTheSameBytes) {
  const std::vector<uint8_t> closed = FromHex(kafka_golden::kSegment0Index);
  auto index = OffsetIndex::Load(closed, {.base_offset = 0, .next_offset = 22, .log_bytes = 1742});
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->entry_count(), 3u);
  EXPECT_EQ((*index)->Lookup(7), (OffsetPosition{0, 0}));
  EXPECT_EQ((*index)->Lookup(8), (OffsetPosition{8, 464}));
  EXPECT_EQ((*index)->Lookup(18), (OffsetPosition{14, 928}));
  EXPECT_EQ((*index)->Lookup(21), (OffsetPosition{19, 1392}));
  EXPECT_EQ((*index)->Encode(), closed);

  // The active segment's file while Kafka ran, or after it was killed: zeros up to segment.index.bytes.
  std::vector<uint8_t> live = FromHex(kafka_golden::kSegment22IndexLive);
  live.resize(kafka_golden::kSegment22IndexLiveBytes);
  index = OffsetIndex::Load(live, {.base_offset = 22, .next_offset = 42, .log_bytes = 1733});
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->Encode(), FromHex(kafka_golden::kSegment22Index));
  auto vfs = MakeMemoryVfs(false);
  auto file = NewFile(vfs);
  ASSERT_TRUE(file->Write(0, live).ok());
  ASSERT_TRUE((*index)->Append(50, 1733));
  ASSERT_TRUE((*index)->Persist(*file).ok());
  EXPECT_EQ(Contents(vfs), (*index)->Encode()) << "the zeros are gone";
}

TEST(OffsetIndex, ReadersBesideAWriterSeeOnlyEntriesThatWereThere) {
  OffsetIndex index(0, kRoom);
  std::atomic<bool> done{false};
  std::atomic<int64_t> appended{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; r++) {
    readers.emplace_back([&, r] {
      std::mt19937_64 rng(static_cast<uint64_t>(r));
      while (!done.load()) {
        const int64_t floor = appended.load();
        const int64_t target = static_cast<int64_t>(rng() % 20000);
        const OffsetPosition found = index.Lookup(target);
        // Entry k is {2k, 100k}.
        ASSERT_EQ(found.position, static_cast<uint32_t>(found.offset / 2 * 100));
        ASSERT_LE(found.offset, target);
        // `appended` is 0 again before the first truncation.
        if (target <= floor && appended.load() > 0) {
          ASSERT_GE(found.offset, target - 1);
        }
      }
    });
  }
  for (int64_t k = 1; k <= 10000; k++) {
    ASSERT_TRUE(index.Append(2 * k, static_cast<uint32_t>(100 * k)));
    appended.store(2 * k);
  }
  appended.store(0);
  for (int round = 0; round < 2000; round++) {
    index.TruncateTo(2 * (5000 + round % 100));
    for (int64_t k = 5000 + round % 100; k < 5150; k++) index.Append(2 * k, static_cast<uint32_t>(100 * k));
  }
  done.store(true);
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace varve
