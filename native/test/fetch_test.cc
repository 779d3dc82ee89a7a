// SPDX-License-Identifier: Apache-2.0
// Goal: every version of Fetch is read as Kafka's own classes write it and answered as they read it; limits,
// errors and fields are filled as Kafka fills them; a long poll ends when it should and not before.
#include "plane/fetch.h"

#include <gtest/gtest.h>

#include "plane/partition_impl.h"
#include "test/kafka_golden_frames.h"
#include "test/plane_fixtures.h"

namespace varve::test {
namespace {

namespace golden = kafka_golden;

Buffer Written(FetchRequest& request) {
  Buffer out(FetchResponseBytesMax(request));
  WireWriter writer(out, request.version >= kFetchFlexibleVersion);
  WriteFetchResponse(request, &writer, [](LogSlice) { FAIL(); });
  EXPECT_FALSE(writer.overflowed());
  out.resize(writer.written());
  return out;
}

TEST(FetchWire, ReadsEveryVersionAsKafkaWritesIt) {
  for (int16_t version = kFetchVersionMin; version <= kFetchVersionMax; ++version) {
    const Buffer frame = Unhex(golden::kFetchRequests[version - kFetchVersionMin]);
    FetchRequest request;
    size_t trailing_bytes = 1;
    ASSERT_TRUE(ParseFetch(Bytes(frame).subspan(4), &request, &trailing_bytes)) << version;
    EXPECT_EQ(trailing_bytes, 0u);
    EXPECT_EQ(request.correlation_id, 0x01020304);
    EXPECT_EQ(request.replica_id, -1);
    EXPECT_EQ(request.max_wait_ms, 250);
    EXPECT_EQ(request.min_bytes, 1);
    EXPECT_EQ(request.max_bytes, 1'000'000);
    EXPECT_EQ(request.isolation_level, 1);
    EXPECT_EQ(request.session_epoch, -1);
    ASSERT_EQ(request.topics.size(), 1u);
    EXPECT_EQ(request.topics[0].name, version >= 13 ? "" : "t");
    EXPECT_EQ(request.topics[0].id, version >= 13 ? kTopicId : TopicId{});
    ASSERT_EQ(request.partitions.size(), 2u);
    EXPECT_EQ(request.partitions[1].index, 2);
    EXPECT_EQ(request.partitions[1].read.fetch_offset, 1);
    EXPECT_EQ(request.partitions[1].read.current_leader_epoch, version >= 9 ? 3 : -1);
    EXPECT_EQ(request.partitions[1].max_bytes, 65536);
  }
}

TEST(FetchWire, RefusesEveryTruncationOfARequest) {
  for (int16_t version = kFetchVersionMin; version <= kFetchVersionMax; ++version) {
    const Buffer frame = Unhex(golden::kFetchRequests[version - kFetchVersionMin]);
    for (size_t bytes = 12; bytes < frame.size(); ++bytes) {
      FetchRequest request;
      size_t trailing_bytes = 0;
      EXPECT_FALSE(ParseFetch(Bytes(frame).subspan(4, bytes - 4), &request, &trailing_bytes))
          << version << " " << bytes;
    }
  }
}

TEST(FetchWire, WritesErrorsAndTaggedFieldsAsKafkaReadsThem) {
  for (int16_t version = kFetchVersionMin; version <= kFetchVersionMax; ++version) {
    FetchRequest request;
    request.version = version;
    request.correlation_id = 0x01020304;
    request.isolation_level = 1;
    request.error = KafkaError::kInvalidRequest;
    request.partitions.resize(2);
    FetchPartition& behind = request.partitions[0];
    behind.index = 1;
    behind.result.high_watermark = 90;
    behind.result.last_stable_offset = 80;
    behind.result.log_start_offset = 5;
    behind.result.diverging_epoch = 2;
    behind.result.diverging_end_offset = 44;
    behind.aborted_count = 2;
    request.aborted = {{1000, 7}, {1001, 9}};
    FetchPartition& moved = request.partitions[1];
    moved.index = 2;
    moved.result.error = KafkaError::kNotLeaderOrFollower;
    moved.result.leader_id = 4;
    moved.result.leader_epoch = 9;
    FetchTopic& topic = request.topics.emplace_back();
    topic.name = "t";
    topic.id = kTopicId;
    topic.partition_count = 2;
    EXPECT_EQ(Written(request), Unhex(golden::kFetchErrorResponses[version - kFetchVersionMin])) << version;
  }
}

TEST(Fetch, AnswersEveryVersionByteForByteAsKafkaWould) {
  for (int16_t version = kFetchVersionMin; version <= kFetchVersionMax; ++version) {
    Bed bed;
    bed.AddPartition(0);
    bed.AddPartition(2);
    auto connection = bed.Connect();
    const Buffer batch = Unhex(golden::kGoldenBatch);
    connection->Receive(ProduceFrame({.parts = {{0, batch}, {2, batch}}}), bed.now);
    Drain(*connection, bed.now);
    connection->Receive(Unhex(golden::kFetchRequests[version - kFetchVersionMin]), bed.now);
    EXPECT_EQ(Drain(*connection, bed.now), Unhex(golden::kFetchResponses[version - kFetchVersionMin]))
        << version;
  }
}

// --- semantics
// -------------------------------------------------------------------------------------------------------

class FetchTest : public ::testing::Test {
 protected:
  Fetched Send(const FetchSpec& spec) {
    connection->Receive(FetchFrame(spec), bed.now);
    return Answer(spec.version);
  }
  Fetched Answer(int version = 12) {
    const auto frames = DrainFrames(*connection, bed.now);
    EXPECT_EQ(frames.size(), 1u);
    return frames.empty() ? Fetched{} : ReadFetched(frames[0], version);
  }
  bool Answered() { return (connection->flags() & kHasOutput) != 0; }
  /// Appends a batch of `bytes` value bytes; returns its size.
  size_t Append(int32_t partition = 0, size_t bytes = 100) {
    const Buffer batch = MakeBatch({.value_bytes = bytes});
    producer->Receive(ProduceFrame({.parts = {{partition, batch}}}), bed.now);
    EXPECT_EQ(ReadProduced(DrainFrames(*producer, bed.now).at(0), 9).parts[0].error, 0);
    return batch.size();
  }

  Bed bed;
  std::shared_ptr<Partition> partition = bed.AddPartition(0);
  std::shared_ptr<Partition> second = bed.AddPartition(1);
  std::shared_ptr<Connection> connection = bed.Connect();
  std::shared_ptr<Connection> producer = bed.Connect();
};

TEST_F(FetchTest, GivesWhatWasProducedFromTheBatchThatHoldsTheOffset) {
  producer->Receive(ProduceFrame({.parts = {{0, MakeBatch({.records = 4})}}}), bed.now);
  Drain(*producer, bed.now);
  Append();
  const Fetched all = Send({});
  EXPECT_EQ(all.parts[0].error, 0);
  EXPECT_EQ(all.parts[0].high_watermark, 5);
  EXPECT_EQ(all.parts[0].last_stable_offset, 5);
  EXPECT_EQ(all.parts[0].log_start_offset, 0);
  EXPECT_TRUE(all.parts[0].aborted_null);
  EXPECT_EQ(BaseOffsets(all.parts[0].records), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(BaseOffsets(Send({.parts = {{.offset = 2}}}).parts[0].records), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(BaseOffsets(Send({.parts = {{.offset = 4}}}).parts[0].records), (std::vector<int64_t>{4}));
  EXPECT_EQ(all.session_id, 0);
}

TEST_F(FetchTest, SendsAnEmptyAbortedListToReadCommittedAndNullToOthers) {
  Append();
  EXPECT_TRUE(Send({.isolation_level = 0}).parts[0].aborted_null);
  EXPECT_FALSE(Send({.isolation_level = 1}).parts[0].aborted_null);
}

TEST_F(FetchTest, RefusesOffsetsOutsideTheLogWithTheFieldsThatKafkaSends) {
  Append();
  for (const int64_t offset : {int64_t{-1}, int64_t{2}, int64_t{1} << 60, INT64_MIN}) {
    const Fetched answer = Send({.parts = {{.offset = offset}}});
    EXPECT_EQ(answer.parts[0].error, 1);
    EXPECT_EQ(answer.parts[0].high_watermark, -1);
    EXPECT_EQ(answer.parts[0].last_stable_offset, -1);
    EXPECT_EQ(answer.parts[0].log_start_offset, -1);
    EXPECT_TRUE(answer.parts[0].records.empty());
  }
}

TEST_F(FetchTest, ChecksTheLeaderEpochThatTheClientKnows) {
  Append();
  EXPECT_EQ(Send({.parts = {{.leader_epoch = 3}}}).parts[0].error, 0);
  const Fetched fenced = Send({.version = 16, .parts = {{.leader_epoch = 2}}});
  EXPECT_EQ(fenced.parts[0].error, 74);
  EXPECT_EQ(fenced.parts[0].leader_id, 1);
  EXPECT_EQ(fenced.parts[0].leader_epoch, 3);
  EXPECT_EQ(Send({.parts = {{.leader_epoch = 4}}}).parts[0].error, 75);
}

TEST_F(FetchTest, TellsAClientWhereItsLogDiverges) {
  Append();
  Append();
  partition->ApplyState(Bed::Leading(5));
  Append();
  Append();
  const Fetched beyond = Send({.parts = {{.offset = 3, .last_fetched_epoch = 3}}});
  EXPECT_EQ(beyond.parts[0].error, 0);
  EXPECT_EQ(beyond.parts[0].diverging_epoch, 3);
  EXPECT_EQ(beyond.parts[0].diverging_end_offset, 2);
  EXPECT_TRUE(beyond.parts[0].records.empty());
  const Fetched unknown_epoch = Send({.parts = {{.offset = 3, .last_fetched_epoch = 4}}});
  EXPECT_EQ(unknown_epoch.parts[0].diverging_epoch, 3);
  const Fetched agrees = Send({.parts = {{.offset = 2, .last_fetched_epoch = 3}}});
  EXPECT_EQ(agrees.parts[0].diverging_epoch, -1);
  EXPECT_EQ(BaseOffsets(agrees.parts[0].records), (std::vector<int64_t>{2, 3}));
  const Fetched before_the_log = Send({.parts = {{.offset = 1, .last_fetched_epoch = 1}}});
  EXPECT_EQ(before_the_log.parts[0].diverging_epoch, 1);
  EXPECT_EQ(before_the_log.parts[0].diverging_end_offset, 0) << "where the first epoch known begins";
  EXPECT_EQ(Send({.parts = {{.offset = 1, .last_fetched_epoch = 9}}}).parts[0].error, 1)
      << "an epoch that is to come";
}

TEST_F(FetchTest, RefusesNegativeSizesAndUnknownIsolationLevels) {
  Append();
  for (const int version : {4, 6, 7, 12, 13, 18}) {
    for (const FetchSpec& bad :
         {FetchSpec{.version = version, .max_bytes = -1}, FetchSpec{.version = version, .isolation_level = 9},
          FetchSpec{.version = version, .isolation_level = -1}}) {
      const Fetched answer = Send(bad);
      EXPECT_EQ(answer.error, version >= 7 ? 42 : 0);
      ASSERT_EQ(answer.parts.size(), version >= 13 ? 0u : 1u);
      if (version < 13) {
        EXPECT_EQ(answer.parts[0].error, 42);
      }
    }
    EXPECT_EQ(Send({.version = version, .parts = {{.max_bytes = -1}}}).parts[0].error, 42);
  }
}

TEST_F(FetchTest, DeclinesSessions) {
  Append();
  EXPECT_EQ(Send({.session_id = 0, .session_epoch = 0}).session_id, 0) << "a full fetch that asks for one";
  for (const FetchSpec& incremental :
       {FetchSpec{.session_id = 77, .session_epoch = 1}, FetchSpec{.session_id = 0, .session_epoch = 5},
        FetchSpec{.session_epoch = -2}}) {
    const Fetched answer = Send(incremental);
    EXPECT_EQ(answer.error, 70);
    EXPECT_EQ(answer.session_id, 0);
    EXPECT_TRUE(answer.parts.empty());
  }
}

TEST_F(FetchTest, RefusesReplicas) {
  Append();
  for (const int version : {4, 12, 14, 15, 18})
    EXPECT_EQ(Send({.version = version, .replica_id = 5}).parts.at(0).error, 6) << version;
}

TEST_F(FetchTest, GivesAtLeastOneBatchToTheFirstPartitionThatHasOneAndKeepsToItsLimitsBehindIt) {
  const size_t bytes = Append(0, 1000);
  Append(0, 1000);
  Append(1, 1000);
  const Fetched tight = Send({.max_bytes = 1, .parts = {{.index = 0}, {.index = 1}}});
  EXPECT_EQ(tight.parts[0].records.size(), bytes) << "the whole first batch (KIP-74)";
  EXPECT_TRUE(tight.parts[1].records.empty());
  EXPECT_EQ(tight.parts[1].high_watermark, 1);
  const Fetched second_first =
      Send({.max_bytes = 1, .parts = {{.index = 0, .offset = 2}, {.index = 1, .max_bytes = 0}}});
  EXPECT_TRUE(second_first.parts[0].records.empty());
  EXPECT_EQ(second_first.parts[1].records.size(), bytes) << "the first that is not empty";
  const Fetched limited = Send({.parts = {{.index = 0, .max_bytes = 10}, {.index = 1, .max_bytes = 10}}});
  EXPECT_EQ(limited.parts[0].records.size(), bytes);
  EXPECT_TRUE(limited.parts[1].records.empty()) << "a batch that is cut off is of no use";
  const Fetched cut = Send({.parts = {{.index = 0, .max_bytes = static_cast<int32_t>(bytes) + 50}}});
  EXPECT_EQ(cut.parts[0].records.size(), bytes + 50) << "but the last one may be, as Kafka sends it";
}

TEST_F(FetchTest, AnswersUnknownTopicsOnTheLastTryOnly) {
  Append();
  for (const int version : {12, 13}) {
    FetchSpec spec{.version = version, .topic = "nobody", .id = {9}};
    connection->Receive(FetchFrame(spec), bed.now);
    EXPECT_EQ(connection->flags(), uint32_t{kHasPunts});
    Punt punt;
    ASSERT_TRUE(connection->TakePunt(&punt));
    connection->Retry(punt.slot, bed.now);
    EXPECT_EQ(Answer(version).parts[0].error, version >= 13 ? 100 : 3);
  }
}

TEST_F(FetchTest, HidesTheStorageErrorFromClientsThatDoNotKnowIt) {
  partition->Close(KafkaError::kKafkaStorageError);
  EXPECT_EQ(Send({.version = 5}).parts[0].error, 6);
  EXPECT_EQ(Send({.version = 6}).parts[0].error, 56);
}

// --- the long poll
// ---------------------------------------------------------------------------------------------------

TEST_F(FetchTest, WaitsUntilBytesCome) {
  connection->Receive(FetchFrame({.correlation_id = 7}), bed.now);
  EXPECT_FALSE(Answered());
  EXPECT_EQ(bed.plane->Counters().parked_fetches, 1u);
  EXPECT_EQ(bed.loop->NextDeadlineMs(), bed.now.mono_ms + 500);
  EXPECT_TRUE(bed.Pass(100).empty());
  const int wakes = bed.wakes;
  Append();
  EXPECT_EQ(bed.wakes, wakes + 1);
  EXPECT_EQ(bed.Turn(), (std::vector<std::shared_ptr<Connection>>{connection}));
  const Fetched answer = Answer();
  EXPECT_EQ(answer.correlation_id, 7);
  EXPECT_EQ(BaseOffsets(answer.parts[0].records), (std::vector<int64_t>{0}));
  EXPECT_EQ(bed.plane->Counters().parked_fetches, 0u);
  EXPECT_EQ(bed.loop->NextDeadlineMs(), -1);
}

TEST_F(FetchTest, GivesUpAtItsDeadlineWithWhatThereIs) {
  Append();
  connection->Receive(FetchFrame({.min_bytes = 100'000}), bed.now);
  EXPECT_FALSE(Answered());
  bed.Pass(499);
  EXPECT_FALSE(Answered());
  EXPECT_EQ(bed.Pass(1).size(), 1u);
  EXPECT_EQ(BaseOffsets(Answer().parts[0].records), (std::vector<int64_t>{0}));
}

TEST_F(FetchTest, WaitsForMinBytesOverAllItsPartitions) {
  const size_t bytes = Append(0);
  connection->Receive(
      FetchFrame({.min_bytes = static_cast<int32_t>(4 * bytes), .parts = {{.index = 0}, {.index = 1}}}),
      bed.now);
  Append(1);
  Append(0);
  bed.Turn();
  EXPECT_FALSE(Answered());
  Append(1);
  bed.Turn();
  const Fetched answer = Answer();
  EXPECT_EQ(answer.parts[0].records.size(), 2 * bytes);
  EXPECT_EQ(answer.parts[1].records.size(), 2 * bytes);
}

TEST_F(FetchTest, CountsNoMoreThanAPartitionMayGive) {
  const size_t bytes = Append(0);
  connection->Receive(
      FetchFrame({.min_bytes = static_cast<int32_t>(2 * bytes),
                  .parts = {{.index = 0, .max_bytes = static_cast<int32_t>(bytes)}, {.index = 1}}}),
      bed.now);
  Append(0);
  Append(0);
  bed.Turn();
  EXPECT_FALSE(Answered()) << "partition 0 can give no more than one batch";
  Append(1);
  bed.Turn();
  EXPECT_TRUE(Answered());
}

TEST_F(FetchTest, AnswersAtOnceWhenNobodyWantsToWait) {
  EXPECT_TRUE(Send({.max_wait_ms = 0}).parts[0].records.empty());
  EXPECT_TRUE(Send({.max_wait_ms = -5}).parts[0].records.empty());
  EXPECT_TRUE(Send({.min_bytes = 0}).parts[0].records.empty());
  EXPECT_EQ(Send({.parts = {{.index = 0}, {.index = 1, .offset = 99}}}).parts[1].error, 1)
      << "an error is urgent";
}

TEST_F(FetchTest, EndsTheWaitWhenLeadershipMoves) {
  connection->Receive(FetchFrame({.version = 16}), bed.now);
  partition->ApplyState(Bed::Following(4, 2));
  EXPECT_EQ(bed.Turn().size(), 1u);
  const Fetched answer = Answer(16);
  EXPECT_EQ(answer.parts[0].error, 6);
  EXPECT_EQ(answer.parts[0].leader_id, 2);
  EXPECT_EQ(answer.parts[0].leader_epoch, 4);
}

TEST_F(FetchTest, EndsTheWaitWhenThePartitionOrItsTopicGoes) {
  connection->Receive(FetchFrame({}), bed.now);
  partition->Close(KafkaError::kKafkaStorageError);
  bed.Turn();
  EXPECT_EQ(Answer().parts[0].error, 56);
  connection->Receive(FetchFrame({.parts = {{.index = 1}}}), bed.now);
  bed.plane->RemoveTopic("t");
  bed.Turn();
  EXPECT_EQ(Answer().parts[0].error, 3);
  connection->Receive(FetchFrame({.parts = {{.index = 1}}}), bed.now);
  EXPECT_EQ(connection->flags(), uint32_t{kHasPunts}) << "the grant is gone";
}

TEST_F(FetchTest, WaitsForThePartitionsThatExistBesideOneThatDoesNot) {
  connection->Receive(FetchFrame({.parts = {{.index = 0}, {.index = 40}}}), bed.now);
  Punt punt;
  ASSERT_TRUE(connection->TakePunt(&punt));
  connection->Retry(punt.slot, bed.now);
  EXPECT_FALSE(Answered());
  Append();
  bed.Turn();
  const Fetched answer = Answer();
  EXPECT_EQ(answer.parts[0].error, 0);
  EXPECT_EQ(answer.parts[1].error, 3);
}

TEST_F(FetchTest, WaitsOutARequestThatNamesNothing) {
  connection->Receive(FetchFrame({.no_topics = true}), bed.now);
  EXPECT_FALSE(Answered());
  bed.Pass(500);
  EXPECT_TRUE(Answer().parts.empty());
  EXPECT_TRUE(Send({.session_id = 4, .session_epoch = -1, .no_topics = true}).parts.empty())
      << "closing a session is no wait";
}

TEST_F(FetchTest, NoticesARollWhileItWaits) {
  LogConfig config;
  config.segment_bytes = 1 << 14;
  auto small = bed.AddPartition(5, "t", kTopicId, config);
  Append(5, 14'000);
  connection->Receive(FetchFrame({.min_bytes = 100'000, .parts = {{.index = 5, .offset = 1}}}), bed.now);
  EXPECT_FALSE(Answered());
  Append(5, 14'000);
  Append(5, 14'000);
  bed.Turn();
  EXPECT_TRUE(Answered()) << "a fetch that fell behind the active segment is answered, as Kafka does";
  EXPECT_EQ(BaseOffsets(Answer().parts[0].records).at(0), 1);
}

TEST_F(FetchTest, IsWokenOncePerWaitHoweverManyPartitionsItNames) {
  FetchSpec spec;
  spec.parts.clear();
  for (int32_t i = 0; i < 1000; ++i) {
    if (i >= 2) bed.AddPartition(i);
    spec.parts.push_back({.index = i});
  }
  connection->Receive(FetchFrame(spec), bed.now);
  EXPECT_FALSE(Answered());
  for (int32_t i : {999, 0, 500}) Append(i);
  EXPECT_EQ(bed.Turn().size(), 1u);
  const Fetched answer = Answer();
  ASSERT_EQ(answer.parts.size(), 1000u);
  for (int32_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(answer.parts[static_cast<size_t>(i)].index, i);
    EXPECT_EQ(answer.parts[static_cast<size_t>(i)].records.empty(), i != 999 && i != 0 && i != 500);
  }
}

}  // namespace
}  // namespace varve::test
