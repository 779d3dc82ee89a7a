// SPDX-License-Identifier: Apache-2.0
// What a broker accepts: one row per kind of bad batch, inside every codec where it lies inside.
#include "core/batch_validator.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "test/batch_fixtures.h"

namespace varve {
namespace {

using test::BatchOf;
using test::Buffer;
using test::HeaderFor;
using test::kNow;
using test::TestRecord;
using test::Text;
using test::Unhex;

constexpr Codec kCodecs[] = {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd};

std::string NameOf(Codec codec) {
  const char* names[] = {"none", "gzip", "snappy", "lz4", "zstd"};
  return names[static_cast<int>(codec)];
}

/// What a look inside a batch of this codec ends in here, where it should end in `error`.
BatchError Inside(Codec codec, BatchError error) {
  return codec == Codec::kZstd && !ZstdAvailable() ? BatchError::kCodecUnavailable : error;
}

ValidationOptions Options() {
  ValidationOptions options;
  options.now_ms = kNow;
  return options;
}

BatchError Validate(const Buffer& batch, const ValidationOptions& options = Options(),
                    ValidatedBatch* out = nullptr) {
  static DecodeScratch scratch;
  ValidatedBatch ignored;
  std::unique_ptr<uint8_t[]> exact(new uint8_t[batch.size()]);
  std::copy(batch.begin(), batch.end(), exact.get());
  return ValidateProduceBatch(Bytes(exact.get(), batch.size()), options, &scratch,
                              out != nullptr ? out : &ignored);
}

Buffer RecordBytes(const std::vector<TestRecord>& records) {
  Buffer bytes;
  for (const TestRecord& record : records) record.AddTo(&bytes);
  return bytes;
}

Buffer BatchWith(const std::vector<TestRecord>& records, Codec codec = Codec::kNone) {
  return BatchOf(HeaderFor(static_cast<int32_t>(records.size()), codec),
                 test::Stored(codec, RecordBytes(records)));
}

/// A good batch of one record whose header was changed.
Buffer Changed(const std::function<void(BatchHeader*)>& change) {
  BatchHeader header = HeaderFor(1);
  change(&header);
  return BatchOf(header, RecordBytes({{}}));
}

int16_t CodeOf(const Buffer& batch, const ValidationOptions& options = Options()) {
  return KafkaErrorCode(Validate(batch, options));
}

TEST(BatchValidator, AcceptsWhatKafkaWroteInEveryCodec) {
  const char* batches[] = {test::kKafkaPlainBatch, test::kKafkaGzipBatch, test::kKafkaSnappyBatch,
                           test::kKafkaLz4Batch, test::kKafkaZstdBatch};
  for (Codec codec : kCodecs) {
    ValidatedBatch out;
    BatchError expected = Inside(codec, BatchError::kOk);
    ASSERT_EQ(Validate(Unhex(batches[static_cast<int>(codec)]), Options(), &out), expected) << NameOf(codec);
    EXPECT_EQ(out.header.record_count, test::kFixtureRecordCount);
    EXPECT_EQ(out.header.producer_id, 4000);
    if (expected != BatchError::kOk) continue;
    EXPECT_TRUE(out.inspected);
    EXPECT_EQ(out.max_timestamp, test::kFixtureTimestamp + 70000);
    EXPECT_EQ(out.offset_delta_of_max_timestamp, 1);  // the first of two
    EXPECT_FALSE(out.max_timestamp_mismatch);
    EXPECT_TRUE(out.has_null_key);
    EXPECT_EQ(out.failed_record, -1);
  }
}

TEST(BatchValidator, AcceptsEveryCodecsStoredForm) {
  for (Codec codec : kCodecs) {
    EXPECT_EQ(Validate(BatchWith({{}, {.offset_delta = 1}}, codec)), Inside(codec, BatchError::kOk))
        << NameOf(codec);
  }
}

// --- rows of the bad-input table, by number ---

TEST(BatchValidator, Row19ACrcThatIsWrong) {
  Buffer batch = BatchWith({{}});
  batch[kBatchHeaderBytes + 3] ^= 1;
  EXPECT_EQ(Validate(batch), BatchError::kCrcMismatch);
  EXPECT_EQ(CodeOf(batch), 2);
}

TEST(BatchValidator, Row20OtherMessageFormats) {
  for (auto [magic, code] : {std::pair{0, 87}, {1, 87}, {9, 2}, {3, 2}, {-1, 2}}) {
    EXPECT_EQ(
        CodeOf(Changed([magic = magic](BatchHeader* header) { header->magic = static_cast<int8_t>(magic); })),
        code)
        << magic;
  }
}

TEST(BatchValidator, Row21LengthsThatAreWrong) {
  Buffer batch = BatchWith({{}});
  auto with_length = [&](int32_t length) {
    Buffer changed = batch;
    StoreI32(&changed[kBatchLengthPosition], length);
    return changed;
  };
  EXPECT_EQ(CodeOf(with_length(48)), 2);
  EXPECT_EQ(CodeOf(with_length(0)), 2);
  EXPECT_EQ(CodeOf(with_length(-1)), 2);
  EXPECT_EQ(CodeOf(with_length(INT32_MIN)), 2);
  EXPECT_EQ(CodeOf(with_length(static_cast<int32_t>(batch.size()) - 12 + 1)), 87);
  EXPECT_EQ(CodeOf(with_length(INT32_MAX)), 87);
  EXPECT_EQ(CodeOf({1, 2, 3}), 87);
  EXPECT_EQ(CodeOf({}), 87);
  for (size_t size = 0; size < batch.size(); size++) {
    EXPECT_EQ(CodeOf(Buffer(batch.begin(), batch.begin() + static_cast<ptrdiff_t>(size))), 87) << size;
  }
}

TEST(BatchValidator, Row22CompressionThatIsNotThere) {
  for (int16_t id = 5; id <= 7; id++) {
    EXPECT_EQ(CodeOf(Changed([id](BatchHeader* header) { header->attributes = id; })), 76);
  }
  ValidationOptions options = Options();
  options.zstd_allowed = false;
  EXPECT_EQ(Validate(BatchWith({{}}, Codec::kZstd), options), BatchError::kZstdTooOldApi);
  EXPECT_EQ(CodeOf(BatchWith({{}}, Codec::kZstd), options), 76);
  EXPECT_EQ(CodeOf(BatchWith({{}}, Codec::kLz4), options), 0);
}

TEST(BatchValidator, Row23PayloadsThatDoNotDecode) {
  for (Codec codec : kCodecs) {
    if (codec == Codec::kNone) continue;
    BatchHeader header = HeaderFor(1, codec);
    Buffer stream = test::Stored(codec, RecordBytes({{}}));
    Buffer longer = stream;
    longer.push_back(0);
    Buffer shorter(stream.begin(), stream.end() - 1);
    for (const Buffer& body : {Buffer{}, Buffer{1, 2, 3, 4, 5, 6, 7, 8}, longer, shorter}) {
      EXPECT_EQ(Validate(BatchOf(header, body)), Inside(codec, BatchError::kUndecodable)) << NameOf(codec);
    }
  }
  EXPECT_EQ(KafkaErrorCode(BatchError::kUndecodable), 87);
}

TEST(BatchValidator, Row24Bombs) {
  std::string huge(size_t{64} << 20, 'x');
  Buffer records = RecordBytes({{.value = Text(huge)}});
  Buffer bomb = BatchOf(HeaderFor(1, Codec::kGzip), test::Gzip(records));
  ASSERT_LT(bomb.size(), 100'000u);
  EXPECT_EQ(Validate(bomb), BatchError::kDecompressedTooLarge);  // by its ratio
  EXPECT_EQ(CodeOf(bomb), 10);
  // What a log already holds is bounded by the reader's limit alone.
  DecodeScratch scratch;
  BatchHeader stored;
  Bytes found;
  ASSERT_EQ(CheckStoredBatch(bomb, &stored), BatchError::kOk);
  EXPECT_EQ(DecodeRecords(bomb, stored, records.size(), &scratch, &found), BatchError::kOk);
  EXPECT_EQ(found.size(), records.size());
  ValidationOptions options = Options();
  options.max_decompressed_bytes = 1 << 20;
  std::string large(size_t{2} << 20, 'x');
  for (Codec codec : kCodecs) {
    if (codec == Codec::kNone) continue;
    options.max_message_bytes = 10 << 20;
    EXPECT_EQ(Validate(BatchWith({{.value = Text(large)}}, codec), options),
              Inside(codec, BatchError::kDecompressedTooLarge))
        << NameOf(codec);
  }
}

TEST(BatchValidator, Rows25To28ARecordThatIsWrongInAnyCodec) {
  struct Row {
    const char* name;
    std::vector<TestRecord> records;
    BatchError error;
    int32_t failed;
    Buffer behind = {};
    int32_t count_error = 0;
  };
  const Row rows[] = {
      {"a size beyond the batch",
       {{}, {.offset_delta = 1, .size_error = 1 << 28}},
       BatchError::kRecordSize,
       1},
      {"a negative size", {{.size_error = -1000}}, BatchError::kRecordSize, 0},
      {"a size of 0", {{.size_error = -12}}, BatchError::kRecordSize, 0},
      {"a size of one more", {{.size_error = 1}}, BatchError::kRecordSize, 0},
      {"a key of size -2", {{.key = NullableBytes(nullptr, -2)}}, BatchError::kRecordSize, 0},
      {"a value of size -2", {{.value = NullableBytes(nullptr, -2)}}, BatchError::kRecordSize, 0},
      {"a header count of -1", {{.header_count = -1}}, BatchError::kRecordHeaders, 0},
      {"a million headers", {{.header_count = 1'000'000}}, BatchError::kRecordHeaders, 0},
      {"a header without a key",
       {{.header_count = 1, .headers = {1, 'k', 2, 'v'}}},
       BatchError::kRecordHeaders,
       0},
      {"a header cut off", {{.header_count = 1, .headers = {2, 'k', 4, 'v'}}}, BatchError::kRecordHeaders, 0},
      {"bytes behind the headers", {{.headers = {1, 2}}}, BatchError::kRecordSize, 0},
      {"an offset delta that skips", {{}, {.offset_delta = 2}}, BatchError::kOffsetDelta, 1},
      {"an offset delta that repeats", {{}, {.offset_delta = 0}}, BatchError::kOffsetDelta, 1},
      {"a first offset delta of 1", {{.offset_delta = 1}}, BatchError::kOffsetDelta, 0},
      {"a byte behind the records", {{}}, BatchError::kBytesBehindRecords, -1, {0}},
      {"one record too many", {{}, {.offset_delta = 1}}, BatchError::kBytesBehindRecords, -1, {}, -1},
      {"one record too few", {{}, {.offset_delta = 1}}, BatchError::kTooFewRecords, 2, {}, 1},
      {"2^31 - 1 records promised", {{}}, BatchError::kTooFewRecords, 1, {}, INT32_MAX - 1},
  };
  for (const Row& row : rows) {
    for (Codec codec : kCodecs) {
      BatchHeader header = HeaderFor(static_cast<int32_t>(row.records.size()) + row.count_error, codec);
      Buffer bytes = RecordBytes(row.records);
      test::Add(&bytes, row.behind);
      ValidatedBatch out;
      BatchError error = Validate(BatchOf(header, test::Stored(codec, bytes)), Options(), &out);
      EXPECT_EQ(error, Inside(codec, row.error)) << row.name << ", " << NameOf(codec);
      if (error == row.error) {
        EXPECT_EQ(out.failed_record, row.failed) << row.name;
      }
    }
    EXPECT_EQ(KafkaErrorCode(row.error), 87) << row.name;
  }
}

TEST(BatchValidator, Row25AGzipRecordThatDeclares256MiB) {
  Buffer record;
  test::AddVarint(&record, 256 << 20);
  test::Add(&record, Buffer{0, 0, 0, 1, 1, 0});
  EXPECT_EQ(CodeOf(BatchOf(HeaderFor(1, Codec::kGzip), test::Gzip(record))), 87);
}

TEST(BatchValidator, Row28HeadersThatContradictThemselves) {
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->record_count = 0; })), 87);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->record_count = -1; })), 87);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->record_count = 2; })), 87);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->last_offset_delta = 1; })), 87);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->last_offset_delta = -1; })), 87);
  EXPECT_EQ(Validate(Changed([](BatchHeader* header) {
              header->record_count = INT32_MIN;
              header->last_offset_delta = INT32_MAX;
            })),
            BatchError::kRecordCountNotPositive);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->base_offset = 1; })), 87);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->base_offset = -1; })), 87);
  Buffer two = BatchWith({{}});
  test::Add(&two, BatchWith({{}}));
  EXPECT_EQ(Validate(two), BatchError::kTrailingBytes);
  EXPECT_EQ(CodeOf(two), 87);
  EXPECT_EQ(Validate(Changed([](BatchHeader* header) { header->attributes = kControlBit; })),
            BatchError::kControlBatch);
  EXPECT_EQ(CodeOf(Unhex(test::kKafkaControlBatch)), 87);
}

TEST(BatchValidator, Row29ABatchAboveMaxMessageBytes) {
  Buffer batch = BatchWith({{}});
  ValidationOptions options = Options();
  options.max_message_bytes = static_cast<int32_t>(batch.size());
  EXPECT_EQ(CodeOf(batch, options), 0);
  options.max_message_bytes--;
  EXPECT_EQ(Validate(batch, options), BatchError::kBatchTooLarge);
  EXPECT_EQ(CodeOf(batch, options), 10);
}

TEST(BatchValidator, Row30TimestampsOutsideTheRange) {
  ValidationOptions options = Options();
  options.timestamp_before_max_ms = 1000;
  options.timestamp_after_max_ms = 2000;
  for (Codec codec : kCodecs) {
    auto code_at = [&](int64_t delta) {
      BatchHeader header = HeaderFor(1, codec);
      return CodeOf(BatchOf(header, test::Stored(codec, RecordBytes({{.timestamp_delta = delta}}))), options);
    };
    if (Inside(codec, BatchError::kOk) != BatchError::kOk) continue;
    EXPECT_EQ(code_at(2000), 0) << NameOf(codec);
    EXPECT_EQ(code_at(2001), 32) << NameOf(codec);
    EXPECT_EQ(code_at(-1000), 0) << NameOf(codec);
    EXPECT_EQ(code_at(-1001), 32) << NameOf(codec);
    EXPECT_EQ(code_at(INT64_MAX), 32) << NameOf(codec);
    EXPECT_EQ(code_at(INT64_MAX - kNow), 32) << NameOf(codec);
    EXPECT_EQ(code_at(-1 - kNow), 0) << NameOf(codec);  // a timestamp of -1: none
  }
}

TEST(BatchValidator, Row30LogAppendTimeTopicsDoNotCare) {
  ValidationOptions options = Options();
  options.log_append_time = true;
  ValidatedBatch out;
  EXPECT_EQ(Validate(BatchWith({{.timestamp_delta = INT64_MAX}, {.timestamp_delta = -5, .offset_delta = 1}}),
                     options, &out),
            BatchError::kOk);
  EXPECT_EQ(out.max_timestamp, kNow);
  EXPECT_EQ(out.offset_delta_of_max_timestamp, 0);
  EXPECT_FALSE(out.max_timestamp_mismatch);
}

TEST(BatchValidator, Row31TheLogAppendTimeBitIsTheBrokers) {
  Buffer batch = Changed([](BatchHeader* header) { header->attributes = kLogAppendTimeBit; });
  ValidationOptions options = Options();
  EXPECT_EQ(CodeOf(batch, options), 32);
  options.log_append_time = true;
  EXPECT_EQ(CodeOf(batch, options), 32);
  options.strict = false;
  EXPECT_EQ(CodeOf(batch, options), 32);
  options.log_append_time = false;
  EXPECT_EQ(CodeOf(batch, options), 0);  // as Kafka does
}

TEST(BatchValidator, AttributesWithoutAMeaning) {
  for (int bit = 7; bit < 16; bit++) {
    const Buffer batch =
        Changed([bit](BatchHeader* header) { header->attributes = static_cast<int16_t>(1 << bit); });
    ValidationOptions options = Options();
    EXPECT_EQ(Validate(batch, options), BatchError::kUnknownAttributes) << bit;
    options.strict = false;  // the log would refuse it as corrupt, which clients try again for ever
    EXPECT_EQ(CodeOf(batch, options), 87) << bit;
  }
}

TEST(BatchValidator, LinkedLz4BlocksAreForNoJavaClient) {
  const Buffer records = RecordBytes({{}, {.offset_delta = 1}});
  Buffer blocks;
  test::AddLe(&blocks, records.size() | 0x80000000u, 4);
  test::Add(&blocks, records);
  const BatchHeader header = HeaderFor(2, Codec::kLz4);
  EXPECT_EQ(Validate(BatchOf(header, test::Lz4Frame(blocks, 0x60))), BatchError::kOk);
  const Buffer linked = BatchOf(header, test::Lz4Frame(blocks, 0x40));
  EXPECT_EQ(Validate(linked), BatchError::kLinkedLz4Blocks);
  EXPECT_EQ(CodeOf(linked), 87);
  ValidationOptions options = Options();
  options.strict = false;
  EXPECT_EQ(CodeOf(linked, options), 0);  // not looked into
}

TEST(BatchValidator, Row32ACompactedTopicNeedsKeys) {
  ValidationOptions options = Options();
  options.compacted = true;
  for (Codec codec : kCodecs) {
    Buffer batch = BatchWith({{}, {.offset_delta = 1, .key = {}}}, codec);
    ValidatedBatch out;
    BatchError error = Validate(batch, options, &out);
    EXPECT_EQ(error, Inside(codec, BatchError::kNullKey)) << NameOf(codec);
    if (error == BatchError::kNullKey) {
      EXPECT_EQ(out.failed_record, 1);
    }
    EXPECT_EQ(Validate(batch), Inside(codec, BatchError::kOk));
  }
  EXPECT_EQ(KafkaErrorCode(BatchError::kNullKey), 87);
  EXPECT_EQ(CodeOf(BatchWith({{.key = Text("")}}), options), 0);  // empty is a key
}

TEST(BatchValidator, Rows35And36ProducerFields) {
  auto producer = [](int64_t id, int16_t epoch, int32_t sequence, int16_t attributes = 0) {
    return Changed([=](BatchHeader* header) {
      header->producer_id = id;
      header->producer_epoch = epoch;
      header->base_sequence = sequence;
      header->attributes = attributes;
    });
  };
  EXPECT_EQ(CodeOf(producer(7, 0, 0)), 0);
  EXPECT_EQ(CodeOf(producer(7, 0, 0, kTransactionalBit)), 0);
  EXPECT_EQ(Validate(producer(7, 0, -1)), BatchError::kSequence);
  EXPECT_EQ(CodeOf(producer(7, 0, -1)), 87);
  EXPECT_EQ(Validate(producer(7, -1, 0)), BatchError::kProducerEpoch);
  EXPECT_EQ(Validate(producer(-2, -1, -1)), BatchError::kProducerId);
  EXPECT_EQ(Validate(producer(-1, -1, -1, kTransactionalBit)), BatchError::kTransactionalWithoutProducer);
  EXPECT_EQ(CodeOf(producer(-1, -1, -1, kTransactionalBit)), 87);
  EXPECT_EQ(CodeOf(producer(-1, 0, 0)), 0);  // what kafkajs sends without idempotence
}

TEST(BatchValidator, ADeleteHorizonIsTheCleaners) {
  Buffer batch = Changed([](BatchHeader* header) { header->attributes = kDeleteHorizonBit; });
  EXPECT_EQ(Validate(batch), BatchError::kDeleteHorizon);
  EXPECT_EQ(CodeOf(batch), 87);
}

// --- what is found out ---

TEST(BatchValidator, AMaxTimestampThatLiesIsFoundAndCanBePutRight) {
  for (int64_t claimed : {kNow + 5, int64_t{0}, kNoTimestamp, INT64_MAX}) {
    BatchHeader header = HeaderFor(2);
    header.max_timestamp = claimed;
    Buffer batch =
        BatchOf(header, RecordBytes({{.timestamp_delta = 1}, {.timestamp_delta = 3, .offset_delta = 1}}));
    ValidatedBatch out;
    ASSERT_EQ(Validate(batch, Options(), &out), BatchError::kOk);
    EXPECT_TRUE(out.max_timestamp_mismatch);
    EXPECT_EQ(out.max_timestamp, kNow + 3);
    EXPECT_EQ(out.offset_delta_of_max_timestamp, 1);
    PatchMaxTimestamp(batch, out.max_timestamp);
    ASSERT_EQ(Validate(batch, Options(), &out), BatchError::kOk);
    EXPECT_FALSE(out.max_timestamp_mismatch);
  }
}

TEST(BatchValidator, RecordsWithoutTimestampsHaveNoMaximum) {
  BatchHeader header = HeaderFor(1);
  header.base_timestamp = header.max_timestamp = kNoTimestamp;
  ValidatedBatch out;
  ASSERT_EQ(Validate(BatchOf(header, RecordBytes({{}})), Options(), &out), BatchError::kOk);
  EXPECT_EQ(out.max_timestamp, kNoTimestamp);
  EXPECT_EQ(out.offset_delta_of_max_timestamp, -1);
  EXPECT_FALSE(out.max_timestamp_mismatch);
}

TEST(BatchValidator, RecordsDecodedElsewhereAreValidatedTheSameWay) {
  Buffer records = RecordBytes({{}, {.offset_delta = 1, .key = {}}});
  ValidatedBatch out;
  out.header = HeaderFor(2, Codec::kZstd);
  EXPECT_EQ(ValidateRecords(records, Options(), &out), BatchError::kOk);
  EXPECT_TRUE(out.inspected && out.has_null_key);
  records.pop_back();
  EXPECT_EQ(ValidateRecords(records, Options(), &out), BatchError::kRecordSize);
  EXPECT_EQ(out.failed_record, 1);
}

// --- without strict validation ---

TEST(BatchValidator, NotStrictMeansWhatKafkaAccepts) {
  ValidationOptions options = Options();
  options.strict = false;
  EXPECT_EQ(CodeOf(BatchWith({{}, {.offset_delta = 5}}), options), 0);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->attributes = kTransactionalBit; }), options), 0);
  EXPECT_EQ(CodeOf(BatchOf(HeaderFor(1, Codec::kGzip), test::Gzip(Buffer{1, 2, 3})), options), 0);
  // and these it does not accept either
  EXPECT_EQ(CodeOf(BatchWith({{.size_error = 1}}), options), 87);
  EXPECT_EQ(CodeOf(BatchWith({{.header_count = -1}}), options), 87);
  EXPECT_EQ(CodeOf(BatchWith({{.timestamp_delta = 3'600'001}}), options), 32);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->record_count = 2; }), options), 87);
  EXPECT_EQ(CodeOf(Changed([](BatchHeader* header) { header->attributes = 6; }), options), 76);
}

TEST(BatchValidator, NotStrictBelievesACompressedHeaderWithinTheRange) {
  ValidationOptions options = Options();
  options.strict = false;
  BatchHeader header = HeaderFor(1, Codec::kSnappy);
  header.max_timestamp = kNow + 7;
  ValidatedBatch out;
  EXPECT_EQ(Validate(BatchOf(header, Buffer{1, 2, 3}), options, &out), BatchError::kOk);
  EXPECT_FALSE(out.inspected);
  EXPECT_EQ(out.max_timestamp, kNow + 7);
  header.max_timestamp = INT64_MAX;
  EXPECT_EQ(CodeOf(BatchOf(header, Buffer{1, 2, 3}), options), 32);
}

// --- stored batches ---

TEST(BatchValidator, AStoredBatchIsCheckedByHeaderAndCrc) {
  Buffer batch = Unhex(test::kKafkaControlBatch);
  PatchBaseOffset(batch.data(), 1'000'000);
  BatchHeader header;
  EXPECT_EQ(CheckStoredBatch(batch, &header), BatchError::kOk);
  EXPECT_EQ(header.base_offset, 1'000'000);
  Buffer behind = batch;
  behind.resize(behind.size() + 100);  // what follows in the log does not matter
  EXPECT_EQ(CheckStoredBatch(behind, &header), BatchError::kOk);
  for (size_t size = 0; size < batch.size(); size++) {
    EXPECT_NE(CheckStoredBatch(Bytes(batch).first(size), &header), BatchError::kOk) << size;
  }
  for (size_t i = kMagicPosition; i < batch.size(); i++) {
    Buffer damaged = batch;
    damaged[i] ^= 1;
    EXPECT_NE(CheckStoredBatch(damaged, &header), BatchError::kOk) << i;
  }
  EXPECT_EQ(CheckStoredBatch(Buffer(4096), &header), BatchError::kLegacyMagic);  // preallocated space
}

TEST(BatchValidator, AStoredBatchHasOffsetsThatArePossible) {
  auto check = [](int64_t base_offset, int32_t last_offset_delta, int32_t count) {
    BatchHeader header = HeaderFor(1);
    header.base_offset = base_offset;
    header.last_offset_delta = last_offset_delta;
    header.record_count = count;
    BatchHeader parsed;
    return CheckStoredBatch(BatchOf(header, RecordBytes({{}})), &parsed);
  };
  EXPECT_EQ(check(0, 0, 1), BatchError::kOk);
  EXPECT_EQ(check(5, 9, 1), BatchError::kOk);  // compacted
  EXPECT_EQ(check(5, 9, 0), BatchError::kOk);  // compacted to nothing
  EXPECT_EQ(check(5, 9, 11), BatchError::kOffsets);
  EXPECT_EQ(check(-1, 0, 1), BatchError::kOffsets);
  EXPECT_EQ(check(0, -1, 0), BatchError::kOffsets);
  EXPECT_EQ(check(0, 0, -1), BatchError::kOffsets);
  EXPECT_EQ(check(INT64_MAX, 0, 1), BatchError::kOffsets);
  EXPECT_EQ(check(INT64_MAX - 1, 0, 1), BatchError::kOk);
}

TEST(BatchValidator, RecordsOfAStoredBatchAreThereInAnyCodec) {
  const char* batches[] = {test::kKafkaPlainBatch, test::kKafkaGzipBatch, test::kKafkaSnappyBatch,
                           test::kKafkaLz4Batch, test::kKafkaZstdBatch};
  Buffer expected = Unhex(test::kKafkaPlainBatch);
  expected.erase(expected.begin(), expected.begin() + kBatchHeaderBytes);
  DecodeScratch scratch;
  for (Codec codec : kCodecs) {
    Buffer batch = Unhex(batches[static_cast<int>(codec)]);
    BatchHeader header;
    ASSERT_EQ(CheckStoredBatch(batch, &header), BatchError::kOk);
    Buffer with_more = batch;
    with_more.resize(with_more.size() + 10);
    Bytes records;
    BatchError error = DecodeRecords(with_more, header, 1 << 20, &scratch, &records);
    ASSERT_EQ(error, Inside(codec, BatchError::kOk));
    if (error == BatchError::kOk) {
      EXPECT_EQ(Buffer(records.begin(), records.end()), expected) << NameOf(codec);
    }
  }
}

TEST(BatchValidator, EveryErrorHasACodeOfKafkasAndATextOfItsOwn) {
  std::set<std::string> texts;
  const std::set<int16_t> codes{2, 10, 32, 76, 87};
  for (int i = 1; i < kBatchErrorCount; i++) {
    BatchError error = static_cast<BatchError>(i);
    EXPECT_TRUE(codes.contains(KafkaErrorCode(error))) << i;
    std::string text = BatchErrorText(error);
    EXPECT_GT(text.size(), 20u) << i;
    EXPECT_EQ(text.find('\n'), std::string::npos) << i;
    EXPECT_TRUE(texts.insert(text).second) << text;
  }
  EXPECT_EQ(KafkaErrorCode(BatchError::kOk), 0);
}

TEST(BatchValidator, NoFlippedByteInABatchMakesItMisbehave) {
  const char* batches[] = {test::kKafkaPlainBatch, test::kKafkaGzipBatch, test::kKafkaSnappyBatch,
                           test::kKafkaLz4Batch, test::kKafkaZstdBatch};
  for (const char* hex : batches) {
    Buffer batch = Unhex(hex);
    for (size_t i = kAttributesPosition; i < batch.size(); i++) {
      for (uint8_t flip : {0x01, 0x08, 0x80, 0xff}) {
        Buffer damaged = batch;
        damaged[i] ^= flip;
        StoreCrc(damaged);  // so that the inside is reached
        ValidatedBatch out;
        if (Validate(damaged, Options(), &out) != BatchError::kOk) continue;
        EXPECT_EQ(out.header.record_count, test::kFixtureRecordCount);
      }
    }
  }
}

}  // namespace
}  // namespace varve
