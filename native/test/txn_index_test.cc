// SPDX-License-Identifier: Apache-2.0
#include "core/txn_index.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/vfs_memory.h"
#include "test/kafka_golden_files.h"

namespace varve {
namespace {

using kafka_golden::FromHex;

constexpr uint64_t kLimit = 1u << 20;

std::vector<int64_t> FirstOffsets(const TxnIndex& index, int64_t from, int64_t up_to,
                                  bool* complete = nullptr) {
  std::vector<AbortedTransaction> found;
  const bool done = index.CollectAborted(from, up_to, &found);
  if (complete != nullptr) *complete = done;
  std::vector<int64_t> offsets;
  for (const AbortedTransaction& txn : found) offsets.push_back(txn.first_offset);
  return offsets;
}

TEST(TxnIndex, CollectsTheTransactionsThatOverlapARange) {
  TxnIndex index(0);
  ASSERT_TRUE(index.Append(AbortedTxn{1, 10, 20, 5}).ok());
  ASSERT_TRUE(index.Append(AbortedTxn{2, 5, 30, 31}).ok());
  ASSERT_TRUE(index.Append(AbortedTxn{3, 40, 50, 51}).ok());
  using Offsets = std::vector<int64_t>;
  EXPECT_EQ(FirstOffsets(index, 0, 100), (Offsets{10, 5, 40}));
  EXPECT_EQ(FirstOffsets(index, 0, 5), (Offsets{}));
  EXPECT_EQ(FirstOffsets(index, 0, 6), (Offsets{5}));
  EXPECT_EQ(FirstOffsets(index, 20, 21), (Offsets{10, 5}));
  EXPECT_EQ(FirstOffsets(index, 21, 22), (Offsets{5}));
  EXPECT_EQ(FirstOffsets(index, 31, 40), (Offsets{}));
  EXPECT_EQ(FirstOffsets(index, 31, 41), (Offsets{40}));
  EXPECT_EQ(FirstOffsets(index, 51, 1000), (Offsets{}));
}

TEST(TxnIndex, SaysWhenNoLaterSegmentCanAddAnything) {
  TxnIndex index(0);
  ASSERT_TRUE(index.Append(AbortedTxn{1, 10, 20, 5}).ok());
  ASSERT_TRUE(index.Append(AbortedTxn{2, 5, 30, 31}).ok());
  bool complete = false;
  FirstOffsets(index, 0, 5, &complete);
  EXPECT_TRUE(complete) << "everything below 5 was decided when the first marker was written";
  FirstOffsets(index, 0, 31, &complete);
  EXPECT_TRUE(complete);
  FirstOffsets(index, 0, 32, &complete);
  EXPECT_FALSE(complete);
  FirstOffsets(TxnIndex(0), 0, 1, &complete);
  EXPECT_FALSE(complete);
}

TEST(TxnIndex, AppendsToItsFileAndTruncatesIt) {
  auto vfs = MakeMemoryVfs(false);
  auto file = *vfs->Open("/0.txnindex", OpenMode::kCreate);
  TxnIndex index(0);
  for (int64_t i = 1; i <= 9; i++)
    ASSERT_TRUE(index.Append(AbortedTxn{i, i * 10 - 5, i * 10, i * 10 + 1}, *file).ok());
  EXPECT_EQ(*vfs->ReadFile("/0.txnindex", kLimit), index.Encode());
  EXPECT_EQ(index.Append(AbortedTxn{7, 1, 90, 91}, *file).code(), Code::kInvalid);
  EXPECT_EQ(vfs->ReadFile("/0.txnindex", kLimit)->size(), 9u * 34);
  ASSERT_TRUE(index.TruncateTo(50, file.get()).ok());
  EXPECT_EQ(index.entry_count(), 4u) << "the marker at 50 goes";
  EXPECT_EQ(*vfs->ReadFile("/0.txnindex", kLimit), index.Encode());
  ASSERT_TRUE(index.Append(AbortedTxn{7, 48, 55, 56}, *file).ok());
  auto loaded = TxnIndex::Load(*vfs->ReadFile("/0.txnindex", kLimit), 0);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ((*loaded)->Entries(), index.Entries());
}

TEST(TxnIndex, AnEntryThatCouldNotBeWrittenIsStillSeen) {
  auto vfs = MakeMemoryVfs(false);
  auto file = *vfs->Open("/0.txnindex", OpenMode::kCreate);
  vfs->SetFault([](MemoryVfs::Call call, const std::string&) {
    return call == MemoryVfs::Call::kWrite ? Status(Code::kNoSpace, "full") : Status::Ok();
  });
  TxnIndex index(0);
  EXPECT_EQ(index.Append(AbortedTxn{1, 1, 2, 3}, *file).code(), Code::kNoSpace);
  EXPECT_EQ(FirstOffsets(index, 0, 10), std::vector<int64_t>{1});
}

TEST(TxnIndex, LoadRefusesWhatCanNotBeAnIndex) {
  const std::vector<uint8_t> good = FromHex(kafka_golden::kSegment22TxnIndex);
  for (size_t size = 0; size <= good.size(); size++) {
    EXPECT_EQ(TxnIndex::Load(Bytes(good).first(size), 22).ok(), size % 34 == 0) << size;
  }
  EXPECT_EQ(TxnIndex::Load(good, 23).status().code(), Code::kCorrupt) << "a marker before the segment";
  const auto with = [&](size_t position, std::vector<uint8_t> bytes) {
    std::vector<uint8_t> file = good;
    std::copy(bytes.begin(), bytes.end(), file.begin() + static_cast<ptrdiff_t>(position));
    return TxnIndex::Load(file, 22).status().code();
  };
  EXPECT_EQ(with(1, {1}), Code::kCorrupt) << "version 1";
  EXPECT_EQ(with(2, {0x80}), Code::kCorrupt) << "a negative producer id";
  EXPECT_EQ(with(10, {0x80}), Code::kCorrupt) << "a negative first offset";
  EXPECT_EQ(with(17, {22}), Code::kCorrupt) << "it begins at its marker";
  EXPECT_EQ(with(34 + 25, {22}), Code::kCorrupt) << "the marker in front again";
  EXPECT_EQ(with(33, {24}), Code::kCorrupt) << "a last stable offset behind the marker";
}

TEST(TxnIndex, LoadsWhatKafkaWroteAndWritesTheSameBytes) {
  const std::vector<uint8_t> file = FromHex(kafka_golden::kSegment22TxnIndex);
  auto index = TxnIndex::Load(file, 22);
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)->Entries(),
            (std::vector<AbortedTxn>{{1, 18, 22, 20}, {1, 23, 24, 20}, {2, 28, 31, 32}}));
  EXPECT_EQ((*index)->Encode(), file);
}

}  // namespace
}  // namespace varve
