// SPDX-License-Identifier: Apache-2.0
#include "core/seal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/crc32c.h"
#include "test/kafka_golden_files.h"

namespace varve {
namespace {

using kafka_golden::FromHex;

void AddBatch(std::vector<uint8_t>* log, int64_t base_offset, int32_t records, int64_t timestamp,
              int32_t epoch, size_t value_bytes) {
  std::vector<uint8_t> buffer;
  BatchBuilder builder(&buffer);
  BatchMetadata metadata;
  metadata.base_offset = base_offset;
  metadata.partition_leader_epoch = epoch;
  builder.Begin(metadata);
  const std::vector<uint8_t> value(value_bytes, static_cast<uint8_t>(base_offset * 31 + 7));
  for (int32_t i = 0; i < records; i++)
    builder.Append(timestamp + (i == 0 ? 0 : -i), {}, NullableBytes::Of(value));
  const MutableBytes batch = builder.Finish();
  log->insert(log->end(), batch.begin(), batch.end());
}

/// About 3.2 MiB: four blocks.
std::vector<uint8_t> SampleLog() {
  std::vector<uint8_t> log;
  for (int64_t i = 0; i < 33; i++)
    AddBatch(&log, 100 + i * 4, 3, 1000 + (i * 7) % 20, static_cast<int32_t>(i / 10), 33000);
  return log;
}

Result<Seal> Build(Bytes log, int64_t base_offset, size_t piece = std::numeric_limits<size_t>::max()) {
  SealBuilder builder(base_offset);
  for (size_t at = 0; at < log.size(); at += std::min(piece, log.size() - at)) {
    const Status status = builder.Add(log.subspan(at, std::min(piece, log.size() - at)));
    if (!status.ok()) return status;
  }
  return builder.Finish({24, 1}, {36, 2}, {});
}

TEST(Seal, SaysWhatTheSegmentHolds) {
  const std::vector<uint8_t> log = SampleLog();
  const Result<Seal> seal = Build(log, 100);
  ASSERT_TRUE(seal.ok()) << seal.status().message();
  EXPECT_EQ(seal->base_offset, 100);
  EXPECT_EQ(seal->next_offset, 100 + 32 * 4 + 3);
  EXPECT_EQ(seal->size_bytes, log.size());
  EXPECT_EQ(seal->batch_count, 33u);
  EXPECT_EQ(seal->record_count, 99u);
  EXPECT_EQ(seal->max_leader_epoch, 3);
  EXPECT_EQ(seal->max_timestamp, 1019);
  EXPECT_EQ(seal->offset_of_max_timestamp, 100 + 17 * 4 + 2)
      << "the first of the batches with it, by its last offset";
  EXPECT_EQ(seal->index, (FileSum{24, 1}));
  EXPECT_EQ(seal->time_index, (FileSum{36, 2}));
  EXPECT_EQ(seal->txn_index, FileSum{});
  ASSERT_EQ(seal->block_count(), 4u);
  for (uint32_t block = 0; block < 4; block++) {
    const Bytes bytes = Bytes(log).subspan(size_t{block} * kSealBlockBytes, seal->BlockBytes(block));
    EXPECT_TRUE(seal->VerifyBlock(block, bytes));
    EXPECT_FALSE(seal->VerifyBlock((block + 1) % 4, bytes));
    EXPECT_FALSE(seal->VerifyBlock(block, bytes.first(bytes.size() - 1)));
    std::vector<uint8_t> flipped(bytes.begin(), bytes.end());
    for (const size_t position : {size_t{0}, flipped.size() / 2, flipped.size() - 1}) {
      flipped[position] ^= 0x10;
      EXPECT_FALSE(seal->VerifyBlock(block, flipped));
      flipped[position] ^= 0x10;
    }
  }
  EXPECT_FALSE(seal->VerifyBlock(4, {}));
  EXPECT_EQ(seal->BlockBytes(4), 0u);
}

TEST(Seal, IsTheSameWhateverThePiecesItIsMadeFrom) {
  const std::vector<uint8_t> log = SampleLog();
  const Result<Seal> whole = Build(log, 100);
  for (const size_t piece :
       {size_t{4096}, size_t{61}, size_t{99991}, size_t{kSealBlockBytes}, size_t{kSealBlockBytes + 1}}) {
    EXPECT_EQ(*Build(log, 100, piece), *whole) << piece;
  }
  std::vector<uint8_t> small;
  AddBatch(&small, 0, 2, 5, 0, 10);
  AddBatch(&small, 2, 1, 9, 1, 10);
  EXPECT_EQ(*Build(small, 0, 1), *Build(small, 0)) << "byte by byte";
}

TEST(Seal, IsTheSameFromBatchesWhileTheyAreAppended) {
  const std::vector<uint8_t> log = SampleLog();
  SealBuilder builder(100);
  for (size_t at = 0; at < log.size();) {
    BatchHeader header;
    ASSERT_EQ(ParseBatchHeader(Bytes(log).subspan(at), &header), BatchError::kOk);
    const Bytes batch = Bytes(log).subspan(at, header.SizeBytes());
    const size_t first = at % 2 == 0 ? batch.size() : size_t{kBatchHeaderBytes};
    builder.AddBatch(header, batch.first(first), batch.subspan(first));
    at += batch.size();
    EXPECT_EQ(builder.size_bytes(), at);
    EXPECT_EQ(builder.valid_bytes(), at);
  }
  const Result<Seal> seal = builder.Finish({24, 1}, {36, 2}, {});
  ASSERT_TRUE(seal.ok()) << seal.status().message();
  EXPECT_EQ(*seal, *Build(log, 100));
}

TEST(Seal, AnEmptySegmentHasOneToo) {
  const Result<Seal> seal = Build({}, 77);
  ASSERT_TRUE(seal.ok());
  EXPECT_EQ(seal->next_offset, 77);
  EXPECT_EQ(seal->block_count(), 0u);
  EXPECT_EQ(seal->max_timestamp, -1);
  EXPECT_EQ(*Seal::Load(seal->Encode(), 77), *seal);
}

TEST(Seal, OneBlockMoreBeginsWithTheByteBehindTheLast) {
  for (const int64_t extra : {-1, 0, 1}) {
    std::vector<uint8_t> log;
    AddBatch(&log, 0, 1, 1, 0, 1000);
    const size_t overhead = log.size() - 1000;
    log.clear();
    // 61 bytes of header; the record's varints are longer for the larger value, so find the size that fits by
    // trying.
    for (size_t value = kSealBlockBytes - overhead - 16; value < kSealBlockBytes; value++) {
      log.clear();
      AddBatch(&log, 0, 1, 1, 0, value);
      if (log.size() == static_cast<size_t>(static_cast<int64_t>(kSealBlockBytes) + extra)) break;
    }
    ASSERT_EQ(log.size(), static_cast<size_t>(static_cast<int64_t>(kSealBlockBytes) + extra));
    const Result<Seal> seal = Build(log, 0);
    ASSERT_TRUE(seal.ok());
    EXPECT_EQ(seal->block_count(), extra > 0 ? 2u : 1u);
    EXPECT_EQ(*Seal::Load(seal->Encode(), 0), *seal);
    EXPECT_TRUE(seal->VerifyBlock(0, Bytes(log).first(seal->BlockBytes(0))));
  }
}

TEST(Seal, EveryFlippedBitAndEveryCutOfItIsFound) {
  const Result<Seal> seal = Build(SampleLog(), 100);
  std::vector<uint8_t> bytes = seal->Encode();
  EXPECT_EQ(bytes.size(), kSealHeaderBytes + 4 * 4 + 4);
  ASSERT_EQ(*Seal::Load(bytes, 100), *seal);
  for (size_t position = 0; position < bytes.size(); position++) {
    for (int bit = 0; bit < 8; bit++) {
      bytes[position] ^= static_cast<uint8_t>(1 << bit);
      ASSERT_EQ(Seal::Load(bytes, 100).status().code(), Code::kCorrupt) << position << ' ' << bit;
      bytes[position] ^= static_cast<uint8_t>(1 << bit);
    }
    ASSERT_EQ(Seal::Load(Bytes(bytes).first(position), 100).status().code(), Code::kCorrupt) << position;
  }
  EXPECT_EQ(Seal::Load(bytes, 101).status().code(), Code::kCorrupt) << "of another segment";
  bytes.push_back(0);
  EXPECT_EQ(Seal::Load(bytes, 100).status().code(), Code::kCorrupt);
}

void FixCrc(std::vector<uint8_t>* bytes) {
  StoreU32(&(*bytes)[bytes->size() - 4], Crc32c(0, Bytes(*bytes).first(bytes->size() - 4)));
}

TEST(Seal, ANewerVersionIsRefusedAndSaysWhatToDo) {
  std::vector<uint8_t> bytes = Build({}, 5)->Encode();
  StoreU16(&bytes[4], 2);
  bytes.insert(bytes.end() - 4, 16, 0x11);
  FixCrc(&bytes);
  const Status status = Seal::Load(bytes, 5).status();
  EXPECT_EQ(status.code(), Code::kUnsupported);
  EXPECT_NE(status.message().find("newer varve"), std::string::npos) << status.message();
}

TEST(Seal, FieldsThatDisagreeAreDamageEvenWithARightCrc) {
  const std::vector<uint8_t> good = Build(SampleLog(), 100)->Encode();
  const auto with = [&](size_t position, uint32_t value) {
    std::vector<uint8_t> bytes = good;
    StoreU32(&bytes[position], value);
    FixCrc(&bytes);
    return Seal::Load(bytes, 100).status().code();
  };
  EXPECT_EQ(with(100, 1), Code::kOk) << "the check itself lets a right one through";
  EXPECT_EQ(with(96, 5), Code::kCorrupt) << "block count";
  EXPECT_EQ(with(96, 0xffffffff), Code::kCorrupt);
  EXPECT_EQ(with(92, 4096), Code::kCorrupt) << "block size";
  EXPECT_EQ(with(92, 0), Code::kCorrupt);
  EXPECT_EQ(with(24, 1), Code::kCorrupt) << "a size above 4 GiB";
  EXPECT_EQ(with(28, 1), Code::kCorrupt) << "size";
  EXPECT_EQ(with(16, 0x80000000), Code::kCorrupt) << "next offset";
  std::vector<uint8_t> version0 = good;
  StoreU16(&version0[4], 0);
  FixCrc(&version0);
  EXPECT_EQ(Seal::Load(version0, 100).status().code(), Code::kCorrupt);
}

TEST(SealBuilder, NeverSealsDamageIn) {
  std::vector<uint8_t> log;
  for (int64_t i = 0; i < 3; i++) AddBatch(&log, i * 2, 2, 100 + i, 0, 20);
  const Result<Seal> good = Build(log, 0);
  ASSERT_TRUE(good.ok());
  for (size_t position = 0; position < log.size(); position++) {
    for (int bit = 0; bit < 8; bit++) {
      log[position] ^= static_cast<uint8_t>(1 << bit);
      const Result<Seal> seal = Build(log, 0, 50);
      // Outside the CRC lie base offset and leader epoch. An epoch goes unseen, and so does a base offset
      // that leaves a hole (compaction leaves those too): the log engine compares with what it appended.
      const size_t field = position % (log.size() / 3);
      const bool unseen =
          field < kBatchLengthPosition || (field >= kPartitionLeaderEpochPosition && field < kMagicPosition);
      if (!unseen) {
        ASSERT_EQ(seal.status().code(), Code::kCorrupt) << position;
      } else if (seal.ok()) {
        ASSERT_NE(*seal, *good) << position << ": at least its blocks differ";
      }
      log[position] ^= static_cast<uint8_t>(1 << bit);
    }
    if (position > 0 && position % (log.size() / 3) != 0) {
      ASSERT_EQ(Build(Bytes(log).first(position), 0, 50).status().code(), Code::kCorrupt)
          << "cut at " << position;
    }
  }
}

TEST(SealBuilder, SaysUpToWhereTheBytesAreGood) {
  std::vector<uint8_t> log;
  for (int64_t i = 0; i < 3; i++) AddBatch(&log, i * 2, 2, 100 + i, 0, 20);
  const size_t batch = log.size() / 3;
  log[2 * batch + 70] ^= 1;
  SealBuilder builder(0);
  const Status status = builder.Add(log);
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_NE(status.message().find("position " + std::to_string(2 * batch)), std::string::npos)
      << status.message();
  EXPECT_EQ(builder.valid_bytes(), 2 * batch);
  EXPECT_EQ(builder.Add(log).code(), Code::kInvalid);
  EXPECT_EQ(builder.Finish({}, {}, {}).status().code(), Code::kInvalid);
}

TEST(SealBuilder, OffsetsBeforeTheSegmentOrOutOfOrderAreDamage) {
  std::vector<uint8_t> log;
  AddBatch(&log, 50, 2, 1, 0, 5);
  EXPECT_EQ(Build(log, 51).status().code(), Code::kCorrupt);
  EXPECT_TRUE(Build(log, 40).ok()) << "compaction takes the first batches away";
  AddBatch(&log, 51, 1, 1, 0, 5);
  EXPECT_EQ(Build(log, 50).status().code(), Code::kCorrupt) << "overlap";
  log.clear();
  AddBatch(&log, int64_t{1} << 40, 1, 1, 0, 5);
  EXPECT_EQ(Build(log, 0).status().code(), Code::kCorrupt) << "no relative offset";
}

TEST(SealBuilder, SealsSegmentsThatKafkaWrote) {
  const Result<Seal> first = Build(FromHex(kafka_golden::kSegment0Log), 0);
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ(first->next_offset, 22);
  EXPECT_EQ(first->max_timestamp, 1700000000154);
  EXPECT_EQ(first->offset_of_max_timestamp, 21);
  const Result<Seal> second = Build(FromHex(kafka_golden::kSegment22Log), 22);
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_EQ(second->next_offset, 42);
  EXPECT_EQ(second->max_timestamp, 1795366332269) << "a marker's";
  EXPECT_EQ(second->offset_of_max_timestamp, 31);
  EXPECT_EQ(second->batch_count, 13u);
  EXPECT_EQ(second->max_leader_epoch, 0);
}

}  // namespace
}  // namespace varve
