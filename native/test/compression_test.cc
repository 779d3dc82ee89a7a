// SPDX-License-Identifier: Apache-2.0
#include "core/compression.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <string>

#include "test/batch_fixtures.h"

namespace varve {
namespace {

using test::AddLe;
using test::AddUnsigned;
using test::AsBytes;
using test::Buffer;
using test::Unhex;

constexpr uint64_t kPlenty = 64 << 20;

struct Decoded {
  DecodeError error;
  Buffer bytes;
};

/// Decodes from an allocation of exactly the input's size, so that a read past it is seen by the sanitizer.
Decoded Decode(Codec codec, const Buffer& in, uint64_t limit = kPlenty, DecodeScratch* scratch = nullptr) {
  DecodeScratch own;
  std::unique_ptr<uint8_t[]> exact(new uint8_t[in.size()]);
  std::copy(in.begin(), in.end(), exact.get());
  Bytes out;
  DecodeError error =
      Decompress(codec, Bytes(exact.get(), in.size()), limit, scratch != nullptr ? scratch : &own, &out);
  return {error, error == DecodeError::kOk ? Buffer(out.begin(), out.end()) : Buffer()};
}

Buffer BodyOf(const char* batch) {
  Buffer bytes = Unhex(batch);
  return Buffer(bytes.begin() + kBatchHeaderBytes, bytes.end());
}

/// Kafka's five fixtures hold the same records.
Buffer FixtureRecords() { return BodyOf(test::kKafkaPlainBatch); }

struct Fixture {
  Codec codec;
  const char* name;
  Buffer stream;
  Buffer content;
};

std::vector<Fixture> Fixtures() {
  Buffer records = FixtureRecords();
  std::vector<Fixture> all = {
      {Codec::kGzip, "gzip by Kafka", BodyOf(test::kKafkaGzipBatch), records},
      {Codec::kSnappy, "xerial snappy by Kafka", BodyOf(test::kKafkaSnappyBatch), records},
      {Codec::kLz4, "lz4 by Kafka", BodyOf(test::kKafkaLz4Batch), records},
      {Codec::kLz4, "linked lz4 blocks", Unhex(test::kLz4LinkedFrame), test::FramedText()},
      {Codec::kLz4, "lz4 with every sum", Unhex(test::kLz4CheckedFrame), test::FramedText()},
      {Codec::kSnappy, "raw snappy", test::StoredSnappy(records), records},
      {Codec::kLz4, "stored lz4", test::StoredLz4(records), records},
  };
  if (ZstdAvailable()) {
    all.push_back({Codec::kZstd, "zstd by Kafka", BodyOf(test::kKafkaZstdBatch), records});
    all.push_back({Codec::kZstd, "stored zstd", test::StoredZstd(records), records});
  }
  return all;
}

TEST(Compression, DecodesWhatOthersEncoded) {
  for (const Fixture& fixture : Fixtures()) {
    Decoded decoded = Decode(fixture.codec, fixture.stream);
    EXPECT_EQ(decoded.error, DecodeError::kOk) << fixture.name;
    EXPECT_EQ(decoded.bytes, fixture.content) << fixture.name;
  }
}

TEST(Compression, NoneIsTheInputItself) {
  DecodeScratch scratch;
  Buffer in{1, 2, 3};
  Bytes out;
  EXPECT_EQ(Decompress(Codec::kNone, in, 3, &scratch, &out), DecodeError::kOk);
  EXPECT_EQ(out.data(), in.data());
  EXPECT_EQ(Decompress(Codec::kNone, in, 2, &scratch, &out), DecodeError::kTooLarge);
}

TEST(Compression, AStreamCutAnywhereOrContinuedIsInvalid) {
  for (const Fixture& fixture : Fixtures()) {
    for (size_t size = 0; size < fixture.stream.size(); size++) {
      Buffer cut(fixture.stream.begin(), fixture.stream.begin() + static_cast<ptrdiff_t>(size));
      Decoded decoded = Decode(fixture.codec, cut);
      // Xerial's framing has no end: cut between blocks it is a shorter stream, which the record count then
      // finds.
      bool xerial_border = fixture.codec == Codec::kSnappy && cut.size() == 16;
      if (!xerial_border) {
        EXPECT_EQ(decoded.error, DecodeError::kInvalid) << fixture.name << " " << size;
      }
    }
    Buffer longer = fixture.stream;
    longer.push_back(0);
    EXPECT_EQ(Decode(fixture.codec, longer).error, DecodeError::kInvalid) << fixture.name;
  }
}

TEST(Compression, NoFlippedByteMakesADecoderMisbehave) {
  DecodeScratch scratch;
  for (const Fixture& fixture : Fixtures()) {
    bool summed = fixture.codec == Codec::kGzip || std::string(fixture.name) == "lz4 with every sum";
    for (size_t i = 0; i < fixture.stream.size(); i++) {
      for (uint8_t flip : {0x01, 0x10, 0x80, 0xff}) {
        Buffer damaged = fixture.stream;
        damaged[i] ^= flip;
        Decoded decoded = Decode(fixture.codec, damaged, kPlenty, &scratch);
        if (decoded.error != DecodeError::kOk) continue;
        if (summed) {  // gzip's header has bytes that mean nothing
          EXPECT_EQ(decoded.bytes, fixture.content) << fixture.name << " " << i;
        }
      }
    }
  }
}

TEST(Compression, TheLimitIsExact) {
  for (const Fixture& fixture : Fixtures()) {
    EXPECT_EQ(Decode(fixture.codec, fixture.stream, fixture.content.size()).error, DecodeError::kOk)
        << fixture.name;
    EXPECT_EQ(Decode(fixture.codec, fixture.stream, fixture.content.size() - 1).error, DecodeError::kTooLarge)
        << fixture.name;
    EXPECT_EQ(Decode(fixture.codec, fixture.stream, 0).error, DecodeError::kTooLarge) << fixture.name;
  }
}

TEST(Compression, TheRatioCountsOnlyAbove64KiB) {
  EXPECT_EQ(DecodedBytesLimit(1, kPlenty), 64u * 1024);
  EXPECT_EQ(DecodedBytesLimit(1000, kPlenty), 1'000'000u);
  EXPECT_EQ(DecodedBytesLimit(1'000'000, kPlenty), kPlenty);
  EXPECT_EQ(DecodedBytesLimit(1, 10), 10u);
}

/// Streams that decode to 64 MiB or claim to.
std::vector<Fixture> Bombs() {
  std::vector<Fixture> all;
  all.push_back({Codec::kGzip, "gzip of zeros", test::Gzip(Buffer(64 << 20)), {}});
  Buffer block{0x1f, 'x', 1, 0};  // a literal, then a match of it that goes on and on
  block.insert(block.end(), 260'000, 255);
  block.insert(block.end(), {0, 0x10, 'x'});
  Buffer blocks;
  AddLe(&blocks, block.size(), 4);
  test::Add(&blocks, block);
  Buffer frame = test::Lz4Frame(blocks);
  frame[5] = 0x70;  // blocks of 4 MiB, nearly all of which this one claims 66 MB for
  frame[6] = static_cast<uint8_t>(XxHash32(Bytes(frame).subspan(4, 2), 0) >> 8);
  all.push_back({Codec::kLz4, "one lz4 block", frame, {}});
  Buffer small;
  for (int i = 0; i < 1100; i++) {  // 64 KiB each
    AddLe(&small, 4 + 256 + 3, 4);
    test::Add(&small, Buffer{0x1f, 'x', 1, 0});
    small.insert(small.end(), 256, 255);
    test::Add(&small, Buffer{0, 0x10, 'x'});
  }
  all.push_back({Codec::kLz4, "many lz4 blocks", test::Lz4Frame(small), {}});
  Buffer copies;
  AddUnsigned(&copies, 64 << 20);
  copies.insert(copies.end(), {0, 'x'});
  for (int i = 0; i < (1 << 20); i++) copies.insert(copies.end(), {63 << 2 | 2, 1, 0});
  all.push_back({Codec::kSnappy, "snappy copies", copies, {}});
  if (ZstdAvailable()) {
    Buffer zstd = test::ZstdFrameHeader();
    Buffer byte{'x'};
    for (int i = 0; i < 512; i++) test::AddZstdBlock(&zstd, i == 511, 1, 128 * 1024, byte);
    all.push_back({Codec::kZstd, "zstd runs", zstd, {}});
  }
  return all;
}

TEST(Compression, ABombStopsAtItsLimitAndTakesMemoryByIt) {
  constexpr uint64_t kLimit = 1 << 20;
  for (const Fixture& bomb : Bombs()) {
    DecodeScratch scratch;
    EXPECT_EQ(Decode(bomb.codec, bomb.stream, kLimit, &scratch).error, DecodeError::kTooLarge) << bomb.name;
    EXPECT_LE(scratch.capacity(), 2 * kLimit) << bomb.name;
  }
}

TEST(Compression, ADeclaredSizeAllocatesNothing) {
  constexpr size_t kSmall = 512 * 1024;
  DecodeScratch scratch;
  Buffer snappy;
  AddUnsigned(&snappy, 0xffffffff);
  snappy.insert(snappy.end(), {0, 'x'});
  EXPECT_EQ(Decode(Codec::kSnappy, snappy, uint64_t{8} << 30, &scratch).error, DecodeError::kInvalid);
  EXPECT_LE(scratch.capacity(), kSmall);

  Buffer lz4{0x04, 0x22, 0x4d, 0x18, 0x68, 0x70};  // content size 2^62, blocks of 4 MiB
  AddLe(&lz4, uint64_t{1} << 62, 8);
  lz4.push_back(static_cast<uint8_t>(XxHash32(Bytes(lz4).subspan(4), 0) >> 8));
  AddLe(&lz4, 2, 4);
  lz4.insert(lz4.end(), {0x10, 'x'});
  AddLe(&lz4, 0, 4);
  EXPECT_EQ(Decode(Codec::kLz4, lz4, uint64_t{8} << 30, &scratch).error, DecodeError::kInvalid);
  EXPECT_LE(scratch.capacity(), kSmall);

  if (ZstdAvailable()) {
    Buffer zstd{0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0xf8};  // content size in 8 bytes, a window of terabytes
    AddLe(&zstd, uint64_t{1} << 50, 8);
    test::AddZstdBlock(&zstd, true, 0, 1, Buffer{'x'});
    EXPECT_NE(Decode(Codec::kZstd, zstd, kPlenty, &scratch).error, DecodeError::kOk);
  }
}

TEST(Compression, AScratchIsUsedAgainAndTrimmedWhenLarge) {
  DecodeScratch scratch;
  Buffer first = test::StoredLz4(Buffer(100'000));
  ASSERT_EQ(Decode(Codec::kLz4, first, kPlenty, &scratch).error, DecodeError::kOk);
  const uint8_t* data = scratch.data();
  for (const Fixture& fixture : Fixtures()) {
    ASSERT_EQ(Decode(fixture.codec, fixture.stream, kPlenty, &scratch).error, DecodeError::kOk);
    scratch.Trim();
    EXPECT_EQ(scratch.data(), data) << fixture.name;
  }
  ASSERT_EQ(Decode(Codec::kGzip, test::Gzip(Buffer(8 << 20)), kPlenty, &scratch).error, DecodeError::kOk);
  EXPECT_GE(scratch.capacity(), size_t{8} << 20);
  scratch.Trim();
  EXPECT_EQ(scratch.capacity(), 0u);
  ASSERT_EQ(Decode(Codec::kLz4, first, kPlenty, &scratch).error, DecodeError::kOk);
}

TEST(Compression, AScratchSurvivesStreamsThatFailed) {
  DecodeScratch scratch;
  for (int round = 0; round < 3; round++) {
    for (const Fixture& fixture : Fixtures()) {
      Buffer cut(fixture.stream.begin(), fixture.stream.end() - 3);
      EXPECT_NE(Decode(fixture.codec, cut, kPlenty, &scratch).error, DecodeError::kOk);
      Decoded decoded = Decode(fixture.codec, fixture.stream, kPlenty, &scratch);
      EXPECT_EQ(decoded.error, DecodeError::kOk) << fixture.name;
      EXPECT_EQ(decoded.bytes, fixture.content) << fixture.name;
    }
  }
}

// --- gzip ---

TEST(Compression, GzipMayHaveSeveralMembers) {
  Buffer records = FixtureRecords();
  Buffer two = test::Gzip(records);
  test::Add(&two, test::Gzip(records, 0));
  Buffer expected = records;
  test::Add(&expected, records);
  Decoded decoded = Decode(Codec::kGzip, two);
  EXPECT_EQ(decoded.error, DecodeError::kOk);
  EXPECT_EQ(decoded.bytes, expected);
  EXPECT_EQ(Decode(Codec::kGzip, two, expected.size()).error, DecodeError::kOk);
  EXPECT_EQ(Decode(Codec::kGzip, two, expected.size() - 1).error, DecodeError::kTooLarge);
}

TEST(Compression, GzipGrowsWithWhatComesOut) {
  for (size_t size : {0, 1, 65536, 262144, 262145, 1 << 20, 5'000'001}) {
    Decoded decoded = Decode(Codec::kGzip, test::Gzip(Buffer(size, 'g')));
    EXPECT_EQ(decoded.error, DecodeError::kOk) << size;
    EXPECT_EQ(decoded.bytes, Buffer(size, 'g')) << size;
  }
}

// --- lz4 ---

Buffer Lz4Block(const Buffer& block, uint8_t flags = 0x60) {
  Buffer blocks;
  AddLe(&blocks, block.size(), 4);
  test::Add(&blocks, block);
  return test::Lz4Frame(blocks, flags);
}

TEST(Compression, Lz4RefusesWhatKafkaHasNoUseFor) {
  Buffer good = test::StoredLz4(FixtureRecords());
  auto with_flags = [&](uint8_t flags, uint8_t block = 0x40) {
    Buffer frame = good;
    frame[4] = flags;
    frame[5] = block;
    frame[6] = static_cast<uint8_t>(XxHash32(Bytes(frame).subspan(4, 2), 0) >> 8);
    return Decode(Codec::kLz4, frame).error;
  };
  EXPECT_EQ(with_flags(0x60), DecodeError::kOk);
  EXPECT_EQ(with_flags(0x40), DecodeError::kOk);             // linked
  EXPECT_EQ(with_flags(0x60, 0x70), DecodeError::kOk);       // 4 MiB blocks
  EXPECT_EQ(with_flags(0x61), DecodeError::kInvalid);        // a dictionary
  EXPECT_EQ(with_flags(0x62), DecodeError::kInvalid);        // reserved
  EXPECT_EQ(with_flags(0x20), DecodeError::kInvalid);        // version 0
  EXPECT_EQ(with_flags(0xa0), DecodeError::kInvalid);        // version 2
  EXPECT_EQ(with_flags(0x60, 0x30), DecodeError::kInvalid);  // a block size that is not defined
  EXPECT_EQ(with_flags(0x60, 0xc0), DecodeError::kInvalid);  // reserved
  EXPECT_EQ(with_flags(0x60, 0x41), DecodeError::kInvalid);  // reserved
  Buffer wrong_sum = good;
  wrong_sum[6] ^= 1;
  EXPECT_EQ(Decode(Codec::kLz4, wrong_sum).error, DecodeError::kInvalid);
  Buffer skippable{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'};
  test::Add(&skippable, good);
  EXPECT_EQ(Decode(Codec::kLz4, skippable).error, DecodeError::kInvalid);
  EXPECT_EQ(Decode(Codec::kLz4, {0x02, 0x21, 0x4c, 0x18, 2, 0, 0, 0, 0x10, 'x'}).error,
            DecodeError::kInvalid);
  Buffer twice = good;
  test::Add(&twice, good);
  EXPECT_EQ(Decode(Codec::kLz4, twice).error, DecodeError::kInvalid);
}

TEST(Compression, Lz4BlocksAreCheckedAtEveryStep) {
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0x10, 'x'})).bytes, Buffer{'x'});
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0x10, 'x', 1, 0, 0x10, 'y'})).bytes,
            (Buffer{'x', 'x', 'x', 'x', 'x', 'y'}));
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0x10, 'x', 0, 0, 0x10, 'y'})).error,
            DecodeError::kInvalid);  // offset 0
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0x10, 'x', 2, 0, 0x10, 'y'})).error,
            DecodeError::kInvalid);  // before the start
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0x10, 'x', 1, 0})).error,
            DecodeError::kInvalid);  // ends in a match
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0x10, 'x', 1})).error, DecodeError::kInvalid);
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0x20, 'x'})).error, DecodeError::kInvalid);  // too few literals
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0xf0, 255, 255})).error, DecodeError::kInvalid);  // endless length
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block({0x1f, 'x', 1, 0, 255})).error, DecodeError::kInvalid);
  Buffer long_block(70000);  // more than the 64 KiB that the frame declares, though within the limit
  EXPECT_EQ(Decode(Codec::kLz4, Lz4Block(long_block)).error, DecodeError::kInvalid);
  Buffer stored;
  AddLe(&stored, 65537 | 0x80000000u, 4);
  stored.resize(4 + 65537);
  EXPECT_EQ(Decode(Codec::kLz4, test::Lz4Frame(stored)).error, DecodeError::kInvalid);
}

TEST(Compression, Lz4MatchesReachIntoOlderBlocksOnlyWhenLinked) {
  Buffer blocks;
  for (const Buffer& block : {Buffer{0x10, 'x'}, Buffer{0x10, 'y', 2, 0, 0x10, 'z'}}) {
    AddLe(&blocks, block.size(), 4);
    test::Add(&blocks, block);
  }
  Decoded linked = Decode(Codec::kLz4, test::Lz4Frame(blocks, 0x40));
  EXPECT_EQ(linked.bytes, (Buffer{'x', 'y', 'x', 'y', 'x', 'y', 'z'}));
  EXPECT_EQ(Decode(Codec::kLz4, test::Lz4Frame(blocks, 0x60)).error, DecodeError::kInvalid);
}

void AddLz4Length(Buffer* to, size_t beyond) {
  for (; beyond >= 255; beyond -= 255) to->push_back(255);
  to->push_back(static_cast<uint8_t>(beyond));
}

/// What a decoder has to do, a byte at a time.
void NaiveCopy(Buffer* out, size_t offset, size_t size) {
  for (size_t i = 0; i < size; i++) out->push_back((*out)[out->size() - offset]);
}

TEST(Compression, Lz4DecodesAnySequenceLikeANaiveDecoder) {
  std::mt19937_64 rng(11);
  DecodeScratch scratch;
  for (int round = 0; round < 1500; round++) {
    bool linked = rng() % 2 == 0;
    Buffer blocks, expected;
    for (size_t left = 1 + rng() % 3; left > 0; left--) {
      size_t start = expected.size();
      size_t history = linked ? 0 : start;
      Buffer block;
      for (size_t sequences = rng() % 40;; sequences--) {
        bool last = sequences == 0;
        size_t literals = rng() % 4 == 0 ? rng() % 600 : rng() % 20;
        if (expected.size() + literals == history) literals = 1;
        size_t most = std::min<size_t>(expected.size() + literals - history, 65535);
        size_t offset = rng() % 3 == 0 ? 1 + rng() % most : 1 + rng() % std::min<size_t>(most, 20);
        size_t match = 4 + (rng() % 4 == 0 ? rng() % 700 : rng() % 20);
        block.push_back(static_cast<uint8_t>(std::min<size_t>(literals, 15) << 4 |
                                             (last ? 0 : std::min<size_t>(match - 4, 15))));
        if (literals >= 15) AddLz4Length(&block, literals - 15);
        for (size_t i = 0; i < literals; i++) {
          block.push_back(static_cast<uint8_t>(rng()));
          expected.push_back(block.back());
        }
        if (last) break;
        AddLe(&block, offset, 2);
        if (match >= 19) AddLz4Length(&block, match - 19);
        NaiveCopy(&expected, offset, match);
      }
      ASSERT_LE(expected.size() - start, 65536u);
      AddLe(&blocks, block.size(), 4);
      test::Add(&blocks, block);
    }
    Buffer frame = test::Lz4Frame(blocks, linked ? 0x40 : 0x60);
    Decoded decoded = Decode(Codec::kLz4, frame, expected.size(), &scratch);
    ASSERT_EQ(decoded.error, DecodeError::kOk) << round;
    ASSERT_EQ(decoded.bytes, expected) << round;
  }
}

// --- snappy ---

TEST(Compression, SnappyIsCheckedAtEveryStep) {
  auto raw = [](uint64_t size, Buffer elements) {
    Buffer stream;
    AddUnsigned(&stream, size);
    test::Add(&stream, elements);
    return Decode(Codec::kSnappy, stream);
  };
  EXPECT_EQ(raw(1, {0, 'x'}).bytes, Buffer{'x'});
  EXPECT_EQ(raw(0, {}).error, DecodeError::kOk);
  EXPECT_EQ(raw(5, {0, 'x', 1, 1}).bytes, Buffer(5, 'x'));
  EXPECT_EQ(raw(6, {0, 'x', 1, 1}).error, DecodeError::kInvalid);             // less than declared
  EXPECT_EQ(raw(4, {0, 'x', 1, 1}).error, DecodeError::kInvalid);             // more than declared
  EXPECT_EQ(raw(5, {0, 'x', 1, 0}).error, DecodeError::kInvalid);             // offset 0
  EXPECT_EQ(raw(5, {0, 'x', 1, 2}).error, DecodeError::kInvalid);             // before the start
  EXPECT_EQ(raw(5, {1, 1}).error, DecodeError::kInvalid);                     // a copy of nothing
  EXPECT_EQ(raw(5, {0, 'x', 3 << 2 | 3, 1, 0, 0, 0}).bytes, Buffer(5, 'x'));  // a 32-bit offset
  EXPECT_EQ(raw(5, {0, 'x', 3 << 2 | 3, 1, 0, 0, 1}).error, DecodeError::kInvalid);
  EXPECT_EQ(raw(5, {0, 'x', 3 << 2 | 3, 1, 0, 0}).error, DecodeError::kInvalid);
  EXPECT_EQ(raw(3, {60 << 2, 2, 'x', 'y', 'z'}).bytes, (Buffer{'x', 'y', 'z'}));  // a length of its own byte
  EXPECT_EQ(raw(3, {63 << 2, 2, 0, 0, 0, 'x', 'y', 'z'}).bytes, (Buffer{'x', 'y', 'z'}));
  EXPECT_EQ(raw(3, {63 << 2, 0xff, 0xff, 0xff, 0xff, 'x', 'y', 'z'}).error, DecodeError::kInvalid);
  EXPECT_EQ(raw(3, {62 << 2, 2, 0}).error, DecodeError::kInvalid);
  EXPECT_EQ(Decode(Codec::kSnappy, {0x80, 0x80, 0x80, 0x80, 0x80, 0x00}).error, DecodeError::kInvalid);
  EXPECT_EQ(Decode(Codec::kSnappy, {}).error, DecodeError::kInvalid);
}

TEST(Compression, SnappyTakesXerialBlocksAndJoinedStreams) {
  Buffer records = FixtureRecords();
  Bytes first = Bytes(records).first(100), second = Bytes(records).subspan(100);
  Buffer stream = test::XerialHeader();
  test::AddXerialBlock(&stream, test::StoredSnappy(first));
  Buffer joined = stream;
  test::AddXerialBlock(&stream, test::StoredSnappy(second));
  test::Add(&joined, test::StoredXerial(second));
  EXPECT_EQ(Decode(Codec::kSnappy, stream).bytes, records);
  EXPECT_EQ(Decode(Codec::kSnappy, joined).bytes, records);
  Buffer old_version = stream;
  old_version[15] = 0;
  EXPECT_EQ(Decode(Codec::kSnappy, old_version).error, DecodeError::kInvalid);
  Buffer huge = test::XerialHeader();
  test::Add(&huge, Buffer{0x7f, 0xff, 0xff, 0xff, 1, 0, 'x'});
  EXPECT_EQ(Decode(Codec::kSnappy, huge).error, DecodeError::kInvalid);
  // A copy must not reach into the block before.
  Buffer reaching = test::XerialHeader();
  test::AddXerialBlock(&reaching, Buffer{4, 3 << 2, 'a', 'b', 'c', 'd'});
  test::AddXerialBlock(&reaching, Buffer{5, 0, 'x', 1, 2});
  EXPECT_EQ(Decode(Codec::kSnappy, reaching).error, DecodeError::kInvalid);
}

TEST(Compression, SnappyDecodesAnyElementsLikeANaiveDecoder) {
  std::mt19937_64 rng(12);
  DecodeScratch scratch;
  for (int round = 0; round < 1500; round++) {
    Buffer elements, expected;
    for (size_t left = 1 + rng() % 60; left > 0; left--) {
      size_t kind = expected.empty() ? 0 : rng() % 4;
      size_t offset = 0, size = 0;
      if (kind != 0) {
        size_t most = expected.size();
        offset = rng() % 3 == 0 ? 1 + rng() % most : 1 + rng() % std::min<size_t>(most, 20);
      }
      if (kind == 1 && offset > 2047) kind = 2;
      if (kind == 2 && offset > 65535) kind = 3;
      switch (kind) {
        case 0: {
          size = 1 + (rng() % 4 == 0 ? rng() % 1000 : rng() % 40);
          size_t extra = size > 256 ? 2 : size > 60 ? 1 : 0;
          if (rng() % 8 == 0) extra = std::max<size_t>(extra, 1 + rng() % 4);
          elements.push_back(static_cast<uint8_t>(extra == 0 ? (size - 1) << 2 : (59 + extra) << 2));
          AddLe(&elements, size - 1, static_cast<int>(extra));
          for (size_t i = 0; i < size; i++) {
            elements.push_back(static_cast<uint8_t>(rng()));
            expected.push_back(elements.back());
          }
          break;
        }
        case 1:
          size = 4 + rng() % 8;
          elements.push_back(static_cast<uint8_t>(offset >> 8 << 5 | (size - 4) << 2 | 1));
          AddLe(&elements, offset & 0xff, 1);
          break;
        default:
          size = 1 + rng() % 64;
          elements.push_back(static_cast<uint8_t>((size - 1) << 2 | kind));
          AddLe(&elements, offset, kind == 2 ? 2 : 4);
      }
      if (kind != 0) NaiveCopy(&expected, offset, size);
    }
    Buffer stream;
    AddUnsigned(&stream, expected.size());
    test::Add(&stream, elements);
    Decoded decoded = Decode(Codec::kSnappy, stream, expected.size(), &scratch);
    ASSERT_EQ(decoded.error, DecodeError::kOk) << round;
    ASSERT_EQ(decoded.bytes, expected) << round;
  }
}

// --- zstd ---

TEST(Compression, ZstdTakesSeveralFramesButNoOtherFormats) {
  Buffer stream = BodyOf(test::kKafkaZstdBatch);
  if (!ZstdAvailable()) {
    EXPECT_EQ(Decode(Codec::kZstd, stream).error, DecodeError::kUnavailable);
    return;
  }
  Buffer records = FixtureRecords();
  Buffer twice = stream;
  test::Add(&twice, test::StoredZstd(records));
  Buffer expected = records;
  test::Add(&expected, records);
  EXPECT_EQ(Decode(Codec::kZstd, twice).bytes, expected);
  EXPECT_EQ(Decode(Codec::kZstd, twice, expected.size() - 1).error, DecodeError::kTooLarge);
  Buffer skippable{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'};
  Buffer behind = stream;
  test::Add(&behind, skippable);
  EXPECT_EQ(Decode(Codec::kZstd, behind).error, DecodeError::kInvalid);
  test::Add(&skippable, stream);
  EXPECT_EQ(Decode(Codec::kZstd, skippable).error, DecodeError::kInvalid);
  Buffer version_07 = stream;
  version_07[0] = 0x27;
  EXPECT_EQ(Decode(Codec::kZstd, version_07).error, DecodeError::kInvalid);
  EXPECT_EQ(Decode(Codec::kZstd, {}).error, DecodeError::kInvalid);
}

TEST(Compression, ZstdGrowsWithWhatComesOut) {
  DecodeError expected = ZstdAvailable() ? DecodeError::kOk : DecodeError::kUnavailable;
  for (size_t size : {1, 65536, 262144, 262145, 1 << 20, 5'000'001}) {
    Buffer content(size, 'z');
    Decoded decoded = Decode(Codec::kZstd, test::StoredZstd(content));
    EXPECT_EQ(decoded.error, expected) << size;
    EXPECT_EQ(decoded.bytes, ZstdAvailable() ? content : Buffer()) << size;
  }
}

}  // namespace
}  // namespace varve
