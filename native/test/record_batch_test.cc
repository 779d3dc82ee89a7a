// SPDX-License-Identifier: Apache-2.0
#include "core/record_batch.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "core/crc32c.h"
#include "test/batch_fixtures.h"

namespace varve {
namespace {

using test::AddUnsigned;
using test::AddVarint;
using test::AsBytes;
using test::Buffer;
using test::Text;
using test::Unhex;

std::string AsText(Bytes bytes) { return std::string(bytes.begin(), bytes.end()); }

/// The records that Kafka's builder was given for the fixtures.
void AppendFixtureRecords(BatchBuilder* builder) {
  int64_t t = test::kFixtureTimestamp;
  HeaderView headers[] = {{AsBytes("trace"), Text("abc")}, {AsBytes("none"), {}}, {AsBytes(""), Text("")}};
  EXPECT_TRUE(builder->Append(t, Text("key-0"), Text("the first value"), headers));
  EXPECT_TRUE(builder->Append(t + 70000, {}, Text("without a key")));
  EXPECT_TRUE(builder->Append(t - 5, Text("key-2"), {}));
  EXPECT_TRUE(builder->Append(t + 70000, Text(""), Text("")));
  for (int i = 4; i < test::kFixtureRecordCount; i++) {
    std::string key = "key-" + std::to_string(i), value;
    for (int k = 0; k < i % 4; k++) value += "partition leader epoch ";
    value += "value " + std::to_string(i);
    EXPECT_TRUE(builder->Append(t + i, Text(key), Text(value)));
  }
}

TEST(RecordBatch, ReadsTheHeaderThatKafkaWrote) {
  Buffer batch = Unhex(test::kKafkaPlainBatch);
  BatchHeader header;
  ASSERT_EQ(ParseBatchHeader(batch, &header), BatchError::kOk);
  EXPECT_EQ(header.base_offset, 0);
  EXPECT_EQ(header.SizeBytes(), batch.size());
  EXPECT_EQ(header.partition_leader_epoch, 5);
  EXPECT_EQ(header.magic, 2);
  EXPECT_EQ(header.last_offset_delta, test::kFixtureRecordCount - 1);
  EXPECT_EQ(header.LastOffset(), test::kFixtureRecordCount - 1);
  EXPECT_EQ(header.NextOffset(), test::kFixtureRecordCount);
  EXPECT_EQ(header.base_timestamp, test::kFixtureTimestamp);
  EXPECT_EQ(header.max_timestamp, test::kFixtureTimestamp + 70000);
  EXPECT_EQ(header.producer_id, 4000);
  EXPECT_EQ(header.producer_epoch, 3);
  EXPECT_EQ(header.base_sequence, 17);
  EXPECT_EQ(header.LastSequence(), 17 + test::kFixtureRecordCount - 1);
  EXPECT_EQ(header.record_count, test::kFixtureRecordCount);
  EXPECT_EQ(header.codec(), Codec::kNone);
  EXPECT_EQ(header.timestamp_type(), TimestampType::kCreateTime);
  EXPECT_TRUE(header.HasProducerId());
  EXPECT_FALSE(header.IsTransactional() || header.IsControl() || header.HasDeleteHorizon() ||
               header.IsCompressed());
  EXPECT_TRUE(VerifyCrc(batch));
}

TEST(RecordBatch, ReadsKafkasControlBatch) {
  Buffer batch = Unhex(test::kKafkaControlBatch);
  BatchHeader header;
  ASSERT_EQ(ParseBatchHeader(batch, &header), BatchError::kOk);
  EXPECT_TRUE(header.IsControl() && header.IsTransactional());
  EXPECT_EQ(header.LastSequence(), kNoSequence);
  EXPECT_TRUE(VerifyCrc(batch));
}

TEST(RecordBatch, KnowsEachCodecOfKafka) {
  const char* batches[] = {test::kKafkaPlainBatch, test::kKafkaGzipBatch, test::kKafkaSnappyBatch,
                           test::kKafkaLz4Batch, test::kKafkaZstdBatch};
  for (uint8_t id = 0; id < 5; id++) {
    BatchHeader header;
    ASSERT_EQ(ParseBatchHeader(Unhex(batches[id]), &header), BatchError::kOk);
    EXPECT_EQ(header.codec(), static_cast<Codec>(id));
    EXPECT_TRUE(header.HasKnownCodec());
  }
}

TEST(RecordBatch, NamesWhatIsNotAHeader) {
  Buffer batch = Unhex(test::kKafkaPlainBatch);
  BatchHeader header{};
  EXPECT_EQ(ParseBatchHeader({}, &header), BatchError::kEmpty);
  for (size_t size = 1; size < kBatchHeaderBytes; size++) {
    EXPECT_EQ(ParseBatchHeader(Bytes(batch).first(size), &header), BatchError::kTruncatedHeader) << size;
  }
  // The header alone is enough: an index lookup reads no more.
  EXPECT_EQ(ParseBatchHeader(Bytes(batch).first(kBatchHeaderBytes), &header), BatchError::kOk);
  auto with = [&](size_t position, Buffer bytes) {
    Buffer changed = batch;
    std::copy(bytes.begin(), bytes.end(), changed.begin() + static_cast<ptrdiff_t>(position));
    return ParseBatchHeader(changed, &header);
  };
  EXPECT_EQ(with(kMagicPosition, {0}), BatchError::kLegacyMagic);
  EXPECT_EQ(with(kMagicPosition, {1}), BatchError::kLegacyMagic);
  EXPECT_EQ(with(kMagicPosition, {3}), BatchError::kUnknownMagic);
  EXPECT_EQ(with(kMagicPosition, {0xff}), BatchError::kUnknownMagic);
  EXPECT_EQ(with(kBatchLengthPosition, {0, 0, 0, 48}), BatchError::kLengthTooSmall);
  EXPECT_EQ(with(kBatchLengthPosition, {0, 0, 0, 0}), BatchError::kLengthTooSmall);
  EXPECT_EQ(with(kBatchLengthPosition, {0xff, 0xff, 0xff, 0xff}), BatchError::kLengthTooSmall);
  EXPECT_EQ(with(kBatchLengthPosition, {0x80, 0, 0, 0}), BatchError::kLengthTooSmall);
  EXPECT_EQ(with(kBatchLengthPosition, {0x7f, 0xff, 0xff, 0xff}), BatchError::kOk);
  EXPECT_EQ(header.SizeBytes(), uint64_t{0x7fffffff} + 12);
}

TEST(RecordBatch, SequencesWrapToZeroAsKafkasDo) {
  EXPECT_EQ(IncrementSequence(0, 1), 1);
  EXPECT_EQ(IncrementSequence(INT32_MAX, 0), INT32_MAX);
  EXPECT_EQ(IncrementSequence(INT32_MAX, 1), 0);
  EXPECT_EQ(IncrementSequence(INT32_MAX - 2, 5), 2);
  EXPECT_EQ(IncrementSequence(INT32_MAX, INT32_MAX), INT32_MAX - 1);
  EXPECT_EQ(DecrementSequence(0, 1), INT32_MAX);
  EXPECT_EQ(DecrementSequence(2, 5), INT32_MAX - 2);
  EXPECT_EQ(DecrementSequence(5, 5), 0);
  BatchHeader header = test::HeaderFor(10);
  header.base_sequence = INT32_MAX - 3;
  EXPECT_EQ(header.LastSequence(), 5);
}

TEST(RecordBatch, OffsetAndEpochArePatchedOutsideTheCrc) {
  Buffer batch = Unhex(test::kKafkaPlainBatch);
  PatchBaseOffset(batch.data(), 123456789012345);
  PatchLeaderEpoch(batch.data(), 77);
  BatchHeader header;
  ASSERT_EQ(ParseBatchHeader(batch, &header), BatchError::kOk);
  EXPECT_EQ(header.base_offset, 123456789012345);
  EXPECT_EQ(header.partition_leader_epoch, 77);
  EXPECT_TRUE(VerifyCrc(batch));
}

TEST(RecordBatch, AppendTimeAndMaxTimestampArePatchedWithTheCrc) {
  Buffer batch = Unhex(test::kKafkaPlainBatch);
  PatchMaxTimestamp(batch, 99);
  BatchHeader header;
  ASSERT_EQ(ParseBatchHeader(batch, &header), BatchError::kOk);
  EXPECT_EQ(header.max_timestamp, 99);
  EXPECT_EQ(header.timestamp_type(), TimestampType::kCreateTime);
  EXPECT_TRUE(VerifyCrc(batch));
  PatchAppendTime(batch, 100);
  ASSERT_EQ(ParseBatchHeader(batch, &header), BatchError::kOk);
  EXPECT_EQ(header.max_timestamp, 100);
  EXPECT_EQ(header.timestamp_type(), TimestampType::kLogAppendTime);
  EXPECT_TRUE(VerifyCrc(batch));
}

TEST(RecordBatch, CrcFindsEveryFlippedByteThatItCovers) {
  Buffer batch = Unhex(test::kKafkaGzipBatch);
  for (size_t i = kCrcPosition; i < batch.size(); i++) {
    batch[i] ^= 0x10;
    EXPECT_FALSE(VerifyCrc(batch)) << i;
    batch[i] ^= 0x10;
  }
  EXPECT_FALSE(VerifyCrc(Bytes(batch).first(20)));
}

TEST(RecordBatch, BuildsByteForByteWhatKafkaBuilds) {
  Buffer expected = Unhex(test::kKafkaPlainBatch);
  std::vector<uint8_t> buffer;
  BatchBuilder builder(&buffer);
  builder.Begin({.partition_leader_epoch = 5, .producer_id = 4000, .producer_epoch = 3, .base_sequence = 17});
  AppendFixtureRecords(&builder);
  EXPECT_EQ(builder.record_count(), test::kFixtureRecordCount);
  EXPECT_EQ(builder.SizeBytes(), expected.size());
  MutableBytes batch = builder.Finish();
  EXPECT_EQ(Buffer(batch.begin(), batch.end()), expected);
}

TEST(RecordBatch, IteratesTheRecordsThatKafkaWrote) {
  Buffer batch = Unhex(test::kKafkaPlainBatch);
  RecordIterator records(Bytes(batch).subspan(kBatchHeaderBytes), test::kFixtureRecordCount);
  RecordView record;
  ASSERT_TRUE(records.Next(&record));
  EXPECT_EQ(record.attributes, 0);
  EXPECT_EQ(record.timestamp_delta, 0);
  EXPECT_EQ(record.offset_delta, 0);
  EXPECT_EQ(AsText(record.key.bytes()), "key-0");
  EXPECT_EQ(AsText(record.value.bytes()), "the first value");
  EXPECT_EQ(record.header_count, 3);
  HeaderIterator headers(record);
  HeaderView header;
  ASSERT_TRUE(headers.Next(&header));
  EXPECT_EQ(AsText(header.key), "trace");
  EXPECT_EQ(AsText(header.value.bytes()), "abc");
  ASSERT_TRUE(headers.Next(&header));
  EXPECT_EQ(AsText(header.key), "none");
  EXPECT_TRUE(header.value.IsNull());
  ASSERT_TRUE(headers.Next(&header));
  EXPECT_TRUE(header.key.empty());
  EXPECT_FALSE(header.value.IsNull());
  EXPECT_FALSE(headers.Next(&header));
  EXPECT_EQ(headers.error(), BatchError::kOk);
  ASSERT_TRUE(records.Next(&record));
  EXPECT_TRUE(record.key.IsNull());
  EXPECT_EQ(record.timestamp_delta, 70000);
  ASSERT_TRUE(records.Next(&record));
  EXPECT_TRUE(record.value.IsNull());
  EXPECT_EQ(record.timestamp_delta, -5);
  ASSERT_TRUE(records.Next(&record));
  EXPECT_FALSE(record.key.IsNull() || record.value.IsNull());
  EXPECT_EQ(record.key.size + record.value.size, 0);
  for (int i = 4; i < test::kFixtureRecordCount; i++) {
    ASSERT_TRUE(records.Next(&record));
    EXPECT_EQ(record.offset_delta, i);
  }
  EXPECT_FALSE(records.Next(&record));
  EXPECT_EQ(records.error(), BatchError::kOk);
}

TEST(RecordBatch, ARecordsTimestampIsItsOwnOrTheTimeOfAppend) {
  BatchHeader header = test::HeaderFor(1);
  RecordView record{};
  record.timestamp_delta = -7;
  EXPECT_EQ(TimestampOf(header, record), test::kNow - 7);
  header.attributes = kLogAppendTimeBit;
  header.max_timestamp = 5;
  EXPECT_EQ(TimestampOf(header, record), 5);
}

TEST(RecordBatch, ABuilderUsedAgainAllocatesNothing) {
  std::vector<uint8_t> buffer;
  BatchBuilder builder(&buffer);
  std::string value(1024, 'v');
  for (int round = 0; round < 3; round++) {
    const uint8_t* before = buffer.data();
    size_t capacity = buffer.capacity();
    builder.Begin({});
    for (int i = 0; i < 64; i++) ASSERT_TRUE(builder.Append(1, Text("key"), Text(value)));
    MutableBytes batch = builder.Finish();
    EXPECT_TRUE(VerifyCrc(batch));
    if (round > 0) {
      EXPECT_EQ(buffer.data(), before);
      EXPECT_EQ(buffer.capacity(), capacity);
    }
  }
}

TEST(RecordBatch, ABuilderRefusesWhatNoBatchCanHold) {
  std::vector<uint8_t> buffer;
  BatchBuilder builder(&buffer);
  builder.Begin({});
  uint8_t byte = 0;
  EXPECT_FALSE(builder.Append(0, NullableBytes(&byte, INT32_MAX), {}));
  EXPECT_FALSE(builder.Append(0, NullableBytes(&byte, -2), {}));
  EXPECT_TRUE(builder.Append(INT64_MIN, {}, {}));
  EXPECT_FALSE(builder.Append(INT64_MAX, {}, {}));
  EXPECT_EQ(builder.record_count(), 1);
}

TEST(RecordBatch, WhatWasBuiltIsReadBack) {
  std::mt19937_64 rng(7);
  std::vector<uint8_t> buffer;
  BatchBuilder builder(&buffer);
  for (int round = 0; round < 200; round++) {
    struct Made {
      int64_t timestamp;
      bool null_key, null_value;
      std::string key, value;
      std::vector<std::pair<std::string, std::string>> headers;
    };
    std::vector<Made> made;
    builder.Begin({});
    auto text = [&](size_t most) { return std::string(rng() % (most + 1), static_cast<char>(rng())); };
    int count = 1 + static_cast<int>(rng() % 40);
    for (int i = 0; i < count; i++) {
      Made m{static_cast<int64_t>(rng() >> (2 + rng() % 60)),
             rng() % 5 == 0,
             rng() % 5 == 0,
             text(200),
             text(20000),
             {}};
      for (size_t h = rng() % 4; h > 0; h--) m.headers.emplace_back(text(10), text(100));
      std::vector<HeaderView> headers;
      for (auto& [key, value] : m.headers) headers.push_back({AsBytes(key), Text(value)});
      ASSERT_TRUE(builder.Append(m.timestamp, m.null_key ? NullableBytes() : Text(m.key),
                                 m.null_value ? NullableBytes() : Text(m.value), headers));
      made.push_back(m);
    }
    MutableBytes batch = builder.Finish();
    BatchHeader header;
    ASSERT_EQ(ParseBatchHeader(batch, &header), BatchError::kOk);
    ASSERT_EQ(header.SizeBytes(), batch.size());
    RecordIterator records(Bytes(batch).subspan(kBatchHeaderBytes), header.record_count);
    RecordView record;
    for (const Made& m : made) {
      ASSERT_TRUE(records.Next(&record));
      EXPECT_EQ(header.base_timestamp + record.timestamp_delta, m.timestamp);
      EXPECT_EQ(record.key.IsNull(), m.null_key);
      EXPECT_EQ(record.value.IsNull(), m.null_value);
      EXPECT_EQ(AsText(record.key.bytes()), m.null_key ? "" : m.key);
      EXPECT_EQ(AsText(record.value.bytes()), m.null_value ? "" : m.value);
      HeaderIterator headers(record);
      HeaderView view;
      for (auto& [key, value] : m.headers) {
        ASSERT_TRUE(headers.Next(&view));
        EXPECT_EQ(AsText(view.key), key);
        EXPECT_EQ(AsText(view.value.bytes()), value);
      }
      EXPECT_FALSE(headers.Next(&view));
      EXPECT_EQ(headers.error(), BatchError::kOk);
    }
    EXPECT_FALSE(records.Next(&record));
    EXPECT_EQ(records.error(), BatchError::kOk);
  }
}

TEST(RecordBatch, VarintsTakeAllTheirValuesAndNoMoreBytesThanTheirType) {
  std::mt19937_64 rng(9);
  for (int round = 0; round < 2000; round++) {
    int64_t expected = static_cast<int64_t>(rng()) >> (rng() % 64);
    Buffer bytes;
    AddVarint(&bytes, expected);
    const uint8_t* p = bytes.data();
    const uint8_t* end = p + bytes.size();
    int64_t wide = 0;
    ASSERT_TRUE(ReadVarlong(&p, end, &wide));
    EXPECT_EQ(wide, expected);
    EXPECT_EQ(p, end);
    p = bytes.data();
    int32_t narrow = 0;
    bool fits = expected >= INT32_MIN && expected <= INT32_MAX;
    ASSERT_EQ(ReadVarint(&p, end, &narrow), fits) << expected;
    if (fits) {
      EXPECT_EQ(narrow, expected);
    }
    for (size_t size = 0; size < bytes.size(); size++) {
      p = bytes.data();
      EXPECT_FALSE(ReadVarlong(&p, p + size, &wide));
      EXPECT_EQ(p, bytes.data());
    }
  }
  int32_t narrow;
  int64_t wide;
  auto reads = [&](Buffer bytes, bool as_wide) {
    const uint8_t* p = bytes.data();
    const uint8_t* end = p + bytes.size();
    return as_wide ? ReadVarlong(&p, end, &wide) : ReadVarint(&p, end, &narrow);
  };
  EXPECT_TRUE(reads({0x80, 0x80, 0x80, 0x80, 0x00}, false));  // longer than needed, which Kafka takes too
  EXPECT_FALSE(reads({0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, false));
  EXPECT_FALSE(reads({0xff, 0xff, 0xff, 0xff, 0x1f}, false));
  EXPECT_TRUE(reads(Buffer{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, true));
  EXPECT_EQ(wide, INT64_MIN);
  EXPECT_FALSE(reads(Buffer{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, true));
  EXPECT_FALSE(reads(Buffer(11, 0x80), true));
}

TEST(RecordBatch, RecordsCutAtAnyByteAreAnErrorAndNothingElse) {
  Buffer batch = Unhex(test::kKafkaPlainBatch);
  Buffer all(batch.begin() + kBatchHeaderBytes, batch.end());
  for (size_t size = 0; size < all.size(); size++) {
    Buffer cut(all.begin(), all.begin() + static_cast<ptrdiff_t>(size));
    cut.shrink_to_fit();
    RecordIterator records(cut, test::kFixtureRecordCount);
    RecordView record;
    while (records.Next(&record)) {
    }
    EXPECT_NE(records.error(), BatchError::kOk) << size;
  }
}

TEST(RecordBatch, NamesWhatIsWrongWithARecord) {
  auto error_of = [](const test::TestRecord& made, Buffer behind = {}) {
    Buffer bytes;
    made.AddTo(&bytes);
    test::Add(&bytes, behind);
    RecordIterator records(bytes, 1);
    RecordView record;
    while (records.Next(&record)) {
    }
    return records.error();
  };
  EXPECT_EQ(error_of({}), BatchError::kOk);
  EXPECT_EQ(error_of({}, {0}), BatchError::kBytesBehindRecords);
  EXPECT_EQ(error_of({.size_error = 1}), BatchError::kRecordSize);
  EXPECT_EQ(error_of({.size_error = 1}, {0}), BatchError::kRecordSize);
  EXPECT_NE(error_of({.size_error = -1}), BatchError::kOk);
  EXPECT_EQ(error_of({.size_error = -1000}), BatchError::kRecordSize);
  EXPECT_EQ(error_of({.size_error = 1 << 28}), BatchError::kRecordSize);
  EXPECT_EQ(error_of({.offset_delta = int64_t{1} << 40}), BatchError::kVarint);
  EXPECT_EQ(error_of({.key = NullableBytes(nullptr, -2)}), BatchError::kRecordSize);
  EXPECT_EQ(error_of({.value = NullableBytes(nullptr, -2)}), BatchError::kRecordSize);
  EXPECT_EQ(error_of({.header_count = -1}), BatchError::kRecordHeaders);
  EXPECT_EQ(error_of({.header_count = 1'000'000}), BatchError::kRecordHeaders);
  EXPECT_EQ(error_of({.headers = {0, 1}}), BatchError::kRecordSize);
}

TEST(RecordBatch, HeadersMustUseUpTheirBytes) {
  auto error_of = [](int64_t count, Buffer bytes) {
    Buffer made;
    test::TestRecord{.header_count = count, .headers = bytes}.AddTo(&made);
    RecordIterator records(made, 1);
    RecordView record;
    if (!records.Next(&record)) return records.error();
    HeaderIterator headers(record);
    HeaderView header;
    while (headers.Next(&header)) {
    }
    return headers.error();
  };
  EXPECT_EQ(error_of(1, {0, 1}), BatchError::kOk);
  EXPECT_EQ(error_of(1, {2, 'k', 2, 'v'}), BatchError::kOk);
  EXPECT_EQ(error_of(1, {1, 'k', 2, 'v'}), BatchError::kRecordHeaders);  // a null key
  EXPECT_EQ(error_of(1, {2, 'k', 3, 'v'}), BatchError::kRecordHeaders);  // a value of size -2
  EXPECT_EQ(error_of(1, {2, 'k', 4, 'v'}), BatchError::kRecordHeaders);  // longer than there is
  EXPECT_EQ(error_of(1, {2, 'k', 2, 'v', 0, 1}), BatchError::kRecordHeaders);
  EXPECT_EQ(error_of(2, {2, 'k', 2, 'v'}), BatchError::kRecordHeaders);
  EXPECT_EQ(error_of(1, {0x80, 0x80}), BatchError::kRecordHeaders);
}

}  // namespace
}  // namespace varve
