// SPDX-License-Identifier: Apache-2.0
// Goal: every version of Produce is read as Kafka's own classes write it and answered as they read it; what a
// Produce may not carry is refused with the code that Kafka gives or a stricter one, and costs nothing but its
// partition's entry.
#include "plane/produce.h"

#include <gtest/gtest.h>

#include "test/kafka_golden_frames.h"
#include "test/plane_fixtures.h"

namespace varve::test {
namespace {

namespace golden = kafka_golden;

Buffer GoldenBatch() { return Unhex(golden::kGoldenBatch); }

Buffer Written(const ProduceRequest& request) {
  Buffer out(ProduceResponseBytesMax(request));
  WireWriter writer(out, request.version >= kProduceFlexibleVersion);
  WriteProduceResponse(request, &writer);
  EXPECT_FALSE(writer.overflowed());
  out.resize(writer.written());
  return out;
}

TEST(ProduceWire, ReadsEveryVersionAsKafkaWritesIt) {
  for (int16_t version = kProduceVersionMin; version <= kProduceVersionMax; ++version) {
    const Buffer frame = Unhex(golden::kProduceRequests[version - kProduceVersionMin]);
    ProduceRequest request;
    size_t trailing_bytes = 1;
    ASSERT_TRUE(ParseProduce(Bytes(frame).subspan(4), &request, &trailing_bytes)) << version;
    EXPECT_EQ(trailing_bytes, 0u);
    EXPECT_EQ(request.version, version);
    EXPECT_EQ(request.correlation_id, 0x01020304);
    EXPECT_FALSE(request.has_transactional_id);
    EXPECT_EQ(request.acks, 1);
    EXPECT_EQ(request.timeout_ms, 1500);
    ASSERT_EQ(request.topics.size(), 1u);
    EXPECT_EQ(request.topics[0].name, version >= 13 ? "" : "t");
    EXPECT_EQ(request.topics[0].id, version >= 13 ? kTopicId : TopicId{});
    ASSERT_EQ(request.partitions.size(), 2u);
    EXPECT_EQ(request.partitions[1].index, 2);
    EXPECT_EQ(Buffer(request.partitions[1].records.begin(), request.partitions[1].records.end()),
              GoldenBatch());
  }
}

TEST(ProduceWire, RefusesEveryTruncationOfARequest) {
  for (int16_t version = kProduceVersionMin; version <= kProduceVersionMax; ++version) {
    const Buffer frame = Unhex(golden::kProduceRequests[version - kProduceVersionMin]);
    for (size_t bytes = 12; bytes < frame.size(); ++bytes) {
      ProduceRequest request;
      size_t trailing_bytes = 0;
      EXPECT_FALSE(ParseProduce(Bytes(frame).subspan(4, bytes - 4), &request, &trailing_bytes))
          << version << " " << bytes;
    }
  }
}

TEST(ProduceWire, WritesErrorsAsKafkaReadsThem) {
  for (int16_t version = kProduceVersionMin; version <= kProduceVersionMax; ++version) {
    ProduceRequest request;
    request.version = version;
    request.correlation_id = 0x01020304;
    request.partitions.resize(2);
    ProducePartition& invalid = request.partitions[0];
    invalid.index = 7;
    invalid.append.error = KafkaError::kInvalidRecord;
    invalid.append.log_start_offset = 11;
    invalid.error_message = "bad";
    invalid.failed_record = 3;
    ProducePartition& moved = request.partitions[1];
    moved.index = 8;
    moved.append.error = KafkaError::kNotLeaderOrFollower;
    moved.leader_id = 4;
    moved.leader_epoch = 9;
    ProduceTopic& topic = request.topics.emplace_back();
    topic.name = "t";
    topic.id = kTopicId;
    topic.partition_count = 2;
    EXPECT_EQ(Written(request), Unhex(golden::kProduceErrorResponses[version - kProduceVersionMin]))
        << version;
  }
}

TEST(Produce, AnswersEveryVersionByteForByteAsKafkaWould) {
  for (int16_t version = kProduceVersionMin; version <= kProduceVersionMax; ++version) {
    Bed bed;
    bed.AddPartition(0);
    bed.AddPartition(2);
    auto connection = bed.Connect();
    connection->Receive(Unhex(golden::kProduceRequests[version - kProduceVersionMin]), bed.now);
    EXPECT_EQ(connection->flags(), uint32_t{kHasOutput}) << version;
    EXPECT_EQ(Drain(*connection, bed.now), Unhex(golden::kProduceResponses[version - kProduceVersionMin]))
        << version;
  }
}

// --- semantics
// -------------------------------------------------------------------------------------------------------

class ProduceTest : public ::testing::Test {
 protected:
  Produced Send(const ProduceSpec& spec) {
    connection->Receive(ProduceFrame(spec), bed.now);
    const auto frames = DrainFrames(*connection, bed.now);
    EXPECT_EQ(frames.size(), 1u);
    return frames.empty() ? Produced{} : ReadProduced(frames[0], spec.version);
  }
  int16_t ErrorOf(Buffer records, int version = 9) {
    ProduceSpec spec;
    spec.version = version;
    spec.parts = {{0, std::move(records)}};
    const Produced answer = Send(spec);
    return answer.parts.size() == 1 ? answer.parts[0].error : int16_t{-99};
  }

  Bed bed;
  std::shared_ptr<Partition> partition = bed.AddPartition(0);
  std::shared_ptr<Connection> connection = bed.Connect();
};

TEST_F(ProduceTest, AssignsOffsetsInOrderAndPatchesTheLeaderEpoch) {
  EXPECT_EQ(Send({.parts = {{0, MakeBatch({.records = 3})}}}).parts[0].base_offset, 0);
  EXPECT_EQ(Send({.parts = {{0, MakeBatch({.records = 2})}}}).parts[0].base_offset, 3);
  EXPECT_EQ(partition->Info().log_end_offset, 5);
  EXPECT_EQ(partition->Info().high_watermark, 5);
  LogSlice slice;
  ASSERT_TRUE(partition->log().Read(3, partition->log().log_end(), {}, &slice).ok());
  EXPECT_EQ(LoadI64(slice.data()), 3);
  EXPECT_EQ(LoadI32(slice.data() + kPartitionLeaderEpochPosition), 3);
}

TEST_F(ProduceTest, RefusesAcksOtherThanZeroOneAndAll) {
  for (const int16_t acks : {int16_t{-2}, int16_t{2}, int16_t{32767}}) {
    const Produced answer = Send({.acks = acks});
    EXPECT_EQ(answer.parts[0].error, 21);
    EXPECT_EQ(answer.parts[0].base_offset, -1);
  }
  EXPECT_EQ(partition->Info().log_end_offset, 0);
}

TEST_F(ProduceTest, AnswersNothingToAcksZeroAndClosesOnItsErrors) {
  connection->Receive(ProduceFrame({.acks = 0}), bed.now);
  EXPECT_EQ(connection->flags(), 0u);
  EXPECT_EQ(partition->Info().log_end_offset, 1);
  EXPECT_EQ(Send({.correlation_id = 9}).correlation_id, 9) << "the silent slot holds nothing up";
  connection->Receive(ProduceFrame({.acks = 0, .parts = {{0, Buffer{1, 2, 3}}}}), bed.now);
  EXPECT_EQ(connection->flags(), uint32_t{kMustClose});
  EXPECT_NE(connection->close_reason(), "");
}

TEST_F(ProduceTest, NamesTheRightErrorForEachKindOfBadBatch) {
  const Buffer good = MakeBatch({.records = 2});
  const auto changed = [&](size_t at, uint8_t to, bool fix_crc) {
    Buffer batch = good;
    batch[at] = to;
    if (fix_crc) StoreCrc(batch);
    return batch;
  };
  EXPECT_EQ(ErrorOf(changed(good.size() - 3, 'x', false)), 2) << "CRC (row 19)";
  EXPECT_EQ(ErrorOf(changed(kMagicPosition, 1, false)), 87) << "magic 1 (row 20)";
  EXPECT_EQ(ErrorOf(changed(kMagicPosition, 9, false)), 2) << "magic 9 (row 20)";
  EXPECT_EQ(ErrorOf({}), 87) << "empty (row 21)";
  EXPECT_EQ(ErrorOf({1, 2, 3}), 87) << "junk (row 21)";
  EXPECT_EQ(ErrorOf(changed(kBatchLengthPosition, 0x7f, false)), 87) << "length beyond (row 21)";
  EXPECT_EQ(ErrorOf(changed(kAttributesPosition + 1, 5, true)), 76) << "codec 5 (row 22)";
  EXPECT_EQ(ErrorOf(changed(kAttributesPosition + 1, 1, true)), 87) << "not gzip (row 23)";
  EXPECT_EQ(ErrorOf(changed(kBaseOffsetPosition + 7, 1, false)), 87) << "base offset (row 28)";
  EXPECT_EQ(ErrorOf(changed(kRecordCountPosition + 3, 3, true)), 87) << "count (row 28)";
  EXPECT_EQ(ErrorOf(changed(kAttributesPosition + 1, 0x20, true)), 87) << "control (row 28)";
  EXPECT_EQ(ErrorOf(changed(kAttributesPosition + 1, 0x08, true)), 32) << "LogAppendTime (row 31)";
  EXPECT_EQ(ErrorOf(changed(kAttributesPosition + 1, 0x10, true)), 53)
      << "transactional without an id (rows 36, 37)";
  EXPECT_EQ(ErrorOf(MakeBatch({.value_bytes = 1048588})), 10) << "too large (row 29)";
  EXPECT_EQ(ErrorOf(MakeBatch({.timestamp = kNow + 3'700'000})), 32) << "timestamp (row 30)";
  Buffer two = good;
  Add(&two, good);
  EXPECT_EQ(ErrorOf(two), 87) << "two batches (row 28)";
  EXPECT_EQ(partition->Info().log_end_offset, 0);
  EXPECT_EQ(ErrorOf(good), 0) << "and the connection still serves";
}

TEST_F(ProduceTest, TakesANullRecordsFieldForAnEmptyOne) {
  FrameWriter w(true);
  w.Header(0, 9, 5)
      .NullStr()
      .I16(1)
      .I32(100)
      .Count(1)
      .Str("t")
      .Count(1)
      .I32(0)
      .NullRecords()
      .Tags()
      .Tags()
      .Tags();
  connection->Receive(w.Frame(), bed.now);
  EXPECT_EQ(ReadProduced(DrainFrames(*connection, bed.now).at(0), 9).parts[0].error, 87);
}

TEST_F(ProduceTest, NamesTheRecordThatIsWrongFromVersionEightOn) {
  BatchHeader header = HeaderFor(2);
  Buffer body;
  TestRecord first, second;
  second.offset_delta = 1;
  second.timestamp_delta = 4'000'000;
  first.AddTo(&body);
  second.AddTo(&body);
  header.max_timestamp = kNow + 4'000'000;
  for (const int version : {7, 8, 9, 13}) {
    const Produced answer = Send({.version = version, .parts = {{0, BatchOf(header, body)}}});
    EXPECT_EQ(answer.parts[0].error, 32);
    EXPECT_EQ(answer.parts[0].failed_records,
              version >= 8 ? std::vector<int32_t>{1} : std::vector<int32_t>{});
    EXPECT_EQ(answer.parts[0].message.empty(), version < 8);
  }
}

TEST_F(ProduceTest, RefusesZstdBelowVersionSeven) {
  Buffer body;
  TestRecord{}.AddTo(&body);
  const Buffer batch = BatchOf(HeaderFor(1, Codec::kZstd), StoredZstd(body));
  EXPECT_EQ(ErrorOf(batch, 6), 76);
}

TEST_F(ProduceTest, RefusesTransactionalBatches) {
  const Buffer batch = MakeBatch({.producer_id = 7, .transactional = true});
  EXPECT_EQ(Send({.parts = {{0, batch}}}).parts[0].error, 53);
  EXPECT_EQ(Send({.transactional_id = "tx", .parts = {{0, batch}}}).parts[0].error, 48);
  EXPECT_EQ(Send({.transactional_id = "tx"}).parts[0].error, 0) << "a plain batch of a transactional client";
}

TEST_F(ProduceTest, CostsABadBatchOnlyItsPartition) {
  bed.AddPartition(1);
  const Produced answer = Send({.parts = {{0, Buffer{1, 2, 3}}, {1, MakeBatch()}}});
  ASSERT_EQ(answer.parts.size(), 2u);
  EXPECT_EQ(answer.parts[0].error, 87);
  EXPECT_EQ(answer.parts[1].error, 0);
}

TEST_F(ProduceTest, RefusesInternalTopicsWhateverTheClientIsCalled) {
  TopicGrant grant;
  grant.name = "t";
  grant.id = kTopicId;
  grant.internal = true;
  bed.plane->PublishTopic(grant);
  FrameWriter w(true);
  w.I16(0).I16(9).I32(1).I16(14).Raw(AsBytes("__admin_client")).Tags();
  w.NullStr().I16(1).I32(100).Count(1).Str("t").Count(1).I32(0).Records(MakeBatch()).Tags().Tags().Tags();
  connection->Receive(w.Frame(), bed.now);
  EXPECT_EQ(ReadProduced(DrainFrames(*connection, bed.now).at(0), 9).parts[0].error, 17);
  EXPECT_EQ(partition->Info().log_end_offset, 0);
}

TEST_F(ProduceTest, ChecksSequencesAndAnswersADuplicateWithItsFirstOffset) {
  const auto batch = [](int32_t sequence, int16_t epoch = 0) {
    return MakeBatch({.records = 2, .producer_id = 5, .producer_epoch = epoch, .sequence = sequence});
  };
  EXPECT_EQ(Send({.parts = {{0, batch(0)}}}).parts[0].base_offset, 0);
  EXPECT_EQ(Send({.parts = {{0, batch(2)}}}).parts[0].base_offset, 2);
  const Produced duplicate = Send({.parts = {{0, batch(0)}}});
  EXPECT_EQ(duplicate.parts[0].error, 0);
  EXPECT_EQ(duplicate.parts[0].base_offset, 0);
  EXPECT_EQ(Send({.parts = {{0, batch(8)}}}).parts[0].error, 45) << "gap";
  EXPECT_EQ(Send({.parts = {{0, batch(4, 1)}}}).parts[0].error, 45) << "new epoch not from 0";
  EXPECT_EQ(Send({.parts = {{0, batch(0, 1)}}}).parts[0].base_offset, 4);
  EXPECT_EQ(Send({.parts = {{0, batch(4, 0)}}}).parts[0].error, 47) << "old epoch";
  EXPECT_EQ(partition->Info().log_end_offset, 6);
}

TEST_F(ProduceTest, TellsWhoLeadsWhenItDoesNot) {
  partition->ApplyState(Bed::Following(4, 8));
  for (const int version : {9, 10, 13}) {
    const Produced answer = Send({.version = version});
    EXPECT_EQ(answer.parts[0].error, 6);
    EXPECT_EQ(answer.parts[0].leader_id, version >= 10 ? 8 : -1);
    EXPECT_EQ(answer.parts[0].leader_epoch, version >= 10 ? 4 : -1);
  }
}

TEST_F(ProduceTest, NeedsTheIsrForAcksAllOnly) {
  PartitionState state = Bed::Leading(3);
  state.min_insync_replicas = 2;
  partition->ApplyState(state);
  EXPECT_EQ(Send({.acks = -1}).parts[0].error, 19);
  EXPECT_EQ(Send({.acks = 1}).parts[0].error, 0);
  EXPECT_EQ(partition->Info().log_end_offset, 1);
}

TEST_F(ProduceTest, StampsTheTimeOfAppendWhereTheTopicAsksForIt) {
  LogConfig config;
  config.log_append_time = true;
  partition->SetConfig({}, config);
  const Produced answer = Send({.parts = {{0, MakeBatch({.timestamp = 5})}}});
  EXPECT_EQ(answer.parts[0].error, 0);
  EXPECT_EQ(answer.parts[0].append_time_ms, kNow);
}

TEST_F(ProduceTest, StoresTheMaxTimestampThatTheRecordsHave) {
  Buffer body;
  TestRecord record;
  record.timestamp_delta = 10;
  record.AddTo(&body);
  BatchHeader header = HeaderFor(1);
  header.max_timestamp = kNow + 3'000'000;
  EXPECT_EQ(ErrorOf(BatchOf(header, body)), 0);
  LogSlice slice;
  ASSERT_TRUE(partition->log().Read(0, partition->log().log_end(), {}, &slice).ok());
  EXPECT_EQ(LoadI64(slice.data() + kMaxTimestampPosition), kNow + 10);
  EXPECT_TRUE(VerifyCrc({slice.data(), slice.bytes}));
}

TEST_F(ProduceTest, AcceptsTrailingBytesAndCountsThem) {
  Buffer frame = ProduceFrame({});
  frame.insert(frame.end(), {1, 2, 3});
  StoreU32(frame.data(), static_cast<uint32_t>(frame.size() - 4));
  connection->Receive(frame, bed.now);
  EXPECT_EQ(ReadProduced(DrainFrames(*connection, bed.now).at(0), 9).parts[0].error, 0);
  EXPECT_EQ(bed.plane->Counters().trailing_bytes_requests, 1u);
}

}  // namespace
}  // namespace varve::test
