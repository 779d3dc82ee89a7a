// SPDX-License-Identifier: Apache-2.0
// Goal: what is acknowledged is as safe as acks asked for, waiters end exactly once and with the right code, the high watermark that
// is shown never goes back, whatever the disk, the control plane and other threads do meanwhile.
#include "plane/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "test/plane_fixtures.h"

namespace varve::test {
namespace {

class CommitTest : public ::testing::Test {
 protected:
  void Send(const ProduceSpec& spec) { producer->Receive(ProduceFrame(spec), bed.now); }
  std::vector<Produced> Answers(int version = 9) {
    std::vector<Produced> answers;
    for (const Buffer& frame : DrainFrames(*producer, bed.now))
      answers.push_back(ReadProduced(frame, version));
    return answers;
  }
  bool Answered() { return (producer->flags() & kHasOutput) != 0; }

  Bed bed{FlushMode::kCommit};
  std::shared_ptr<Partition> partition = bed.AddPartition(0);
  std::shared_ptr<Connection> producer = bed.Connect();
  std::shared_ptr<Connection> consumer = bed.Connect();
};

TEST_F(CommitTest, AcknowledgesAcksAllOnlyWhenTheBatchIsDurable) {
  Send({.acks = -1});
  EXPECT_FALSE(Answered());
  EXPECT_EQ(partition->Info().log_end_offset, 1);
  EXPECT_EQ(partition->Info().high_watermark, 0);
  EXPECT_EQ(bed.Step().size(), 1u);
  EXPECT_EQ(partition->log().durable_end().offset, 1);
  EXPECT_EQ(partition->Info().high_watermark, 1);
  const auto answers = Answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].parts[0].error, 0);
  EXPECT_EQ(answers[0].parts[0].base_offset, 0);
}

TEST_F(CommitTest, AcknowledgesAcksOneAtOnceAndShowsItsRecordsWhenTheyAreDurable) {
  Send({.acks = 1});
  EXPECT_EQ(Answers().at(0).parts[0].error, 0);
  EXPECT_EQ(partition->Info().high_watermark, 0);
  consumer->Receive(FetchFrame({}), bed.now);
  EXPECT_EQ(consumer->flags(), 0u) << "not shown yet; and that somebody waits for it asks for a sync";
  EXPECT_EQ(bed.Step().size(), 1u);
  EXPECT_EQ(ReadFetched(DrainFrames(*consumer, bed.now).at(0), 12).parts[0].records.empty(), false);
}

TEST_F(CommitTest, SharesOneSyncBetweenAllThatWait) {
  const uint64_t before = partition->log().Stats().flush_count;
  for (int32_t i = 0; i < 20; ++i) Send({.correlation_id = i, .acks = -1});
  bed.Step();
  const auto answers = Answers();
  ASSERT_EQ(answers.size(), 20u);
  for (int32_t i = 0; i < 20; ++i) EXPECT_EQ(answers[static_cast<size_t>(i)].parts[0].base_offset, i);
  EXPECT_LE(partition->log().Stats().flush_count - before, 2u);
}

TEST_F(CommitTest, TimesOutAWaiterAndForgetsIt) {
  Send({.acks = -1, .timeout_ms = 100});
  bed.Pass(99);
  EXPECT_FALSE(Answered());
  EXPECT_EQ(bed.Pass(1).size(), 1u);
  const auto answers = Answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].parts[0].error, 7);
  EXPECT_EQ(answers[0].parts[0].base_offset, 0) << "it was appended, and stays";
  bed.Step();
  EXPECT_FALSE(Answered()) << "one answer only";
  EXPECT_EQ(partition->Info().high_watermark, 1);
}

TEST_F(CommitTest, TimesOutOnlyThePartitionsThatAreLate) {
  PartitionState stuck = Bed::Leading(3);
  stuck.isr = {1, 2};
  auto late = bed.AddPartition(1);
  late->ApplyState(stuck);
  Send({.acks = -1, .timeout_ms = 100, .parts = {{0, MakeBatch()}, {1, MakeBatch()}}});
  bed.Step();
  EXPECT_FALSE(Answered());
  bed.Pass(100);
  const auto answers = Answers();
  EXPECT_EQ(answers.at(0).parts[0].error, 0);
  EXPECT_EQ(answers.at(0).parts[1].error, 7);
}

TEST_F(CommitTest, AnswersATimeoutOfNothingInTheNextTurn) {
  Send({.acks = -1, .timeout_ms = 0});
  bed.Turn();
  EXPECT_EQ(Answers().at(0).parts[0].error, 7);
  Send({.acks = -1, .timeout_ms = -30});
  bed.Turn();
  EXPECT_EQ(Answers().at(0).parts[0].error, 7);
}

TEST_F(CommitTest, EndsWaitersOfAnOlderEpochWhenLeadershipMoves) {
  Send({.version = 10, .acks = -1});
  partition->ApplyState(Bed::Following(4, 2));
  EXPECT_EQ(bed.Turn().size(), 1u);
  const auto answers = Answers(10);
  EXPECT_EQ(answers.at(0).parts[0].error, 6);
  EXPECT_EQ(answers.at(0).parts[0].leader_id, 2);
  EXPECT_EQ(answers.at(0).parts[0].leader_epoch, 4);
  Send({.acks = 1});
  EXPECT_EQ(Answers().at(0).parts[0].error, 6);
}

TEST_F(CommitTest, KeepsWaitersWhenOnlyTheIsrChanges) {
  PartitionState state = Bed::Leading(3);
  state.isr = {1, 2};
  partition->ApplyState(state);
  Send({.acks = -1});
  bed.Step();
  EXPECT_FALSE(Answered()) << "replica 2 has not got it";
  EXPECT_EQ(partition->Info().high_watermark, 0);
  partition->ApplyState(Bed::Leading(3));
  bed.Turn();
  EXPECT_EQ(Answers().at(0).parts[0].error, 0) << "replica 2 was expelled";
  EXPECT_EQ(partition->Info().high_watermark, 1);
}

TEST_F(CommitTest, SaysSoWhenTheIsrShrankBelowItsMinimumMeanwhile) {
  PartitionState state = Bed::Leading(3);
  state.isr = {1, 2};
  state.min_insync_replicas = 2;
  partition->ApplyState(state);
  Send({.acks = -1});
  bed.Step();
  state.isr = {1};
  partition->ApplyState(state);
  bed.Turn();
  EXPECT_EQ(Answers().at(0).parts[0].error, 20);
}

TEST_F(CommitTest, IgnoresAStateOfAnOlderEpoch) {
  partition->ApplyState(Bed::Following(5, 2));
  partition->ApplyState(Bed::Leading(4));
  EXPECT_FALSE(partition->Info().is_leader);
  EXPECT_EQ(partition->Info().leader_epoch, 5);
}

TEST_F(CommitTest, NeverShowsALowerHighWatermark) {
  std::mt19937_64 random(3);
  int64_t shown = 0;
  int32_t epoch = 3;
  for (int step = 0; step < 500; ++step) {
    switch (random() % 4) {
      case 0:
        Send({.acks = static_cast<int16_t>(random() % 2 ? 1 : -1)});
        break;
      case 1:
        bed.Step();
        break;
      case 2: {
        epoch += static_cast<int32_t>(random() % 2);
        PartitionState state = random() % 3 == 0 ? Bed::Following(epoch, 2) : Bed::Leading(epoch);
        if (random() % 3 == 0) state.isr = {1, 2};
        partition->ApplyState(state);
        break;
      }
      default:
        bed.Pass(50);
        Drain(*producer, bed.now);
    }
    const PartitionInfo info = partition->Info();
    ASSERT_GE(info.high_watermark, shown);
    ASSERT_LE(info.high_watermark, partition->log().durable_end().offset);
    ASSERT_LE(info.last_stable_offset, info.high_watermark);
    shown = info.high_watermark;
  }
}

TEST_F(CommitTest, WaitsForADuplicateAsForItsOriginal) {
  const Buffer batch = MakeBatch({.producer_id = 4, .sequence = 0});
  Send({.correlation_id = 1, .acks = -1, .parts = {{0, batch}}});
  Send({.correlation_id = 2, .acks = -1, .parts = {{0, MakeBatch({.producer_id = 4, .sequence = 1})}}});
  Send({.correlation_id = 3, .acks = -1, .parts = {{0, batch}}});
  EXPECT_FALSE(Answered());
  bed.Step();
  const auto answers = Answers();
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[2].parts[0].error, 0);
  EXPECT_EQ(answers[2].parts[0].base_offset, 0);
  Send({.acks = -1, .parts = {{0, batch}}});
  EXPECT_EQ(Answers().at(0).parts[0].base_offset, 0) << "durable already: answered at once";
}

// --- the disk --------------------------------------------------------------------------------------------------------

TEST_F(CommitTest, EndsWithAStorageErrorWhenTheSyncFailsAndNeverTriesAgain) {
  Send({.acks = -1});
  bed.Step();
  Answers();
  bed.vfs->SetFault([](MemoryVfs::Call call, const std::string&) {
    return call == MemoryVfs::Call::kSync ? Status(Code::kIo, "the disk is gone") : Status();
  });
  Send({.correlation_id = 1, .acks = -1});
  Send({.correlation_id = 2, .acks = -1});
  consumer->Receive(FetchFrame({.parts = {{.offset = 1}}}), bed.now);
  bed.Step();
  const auto answers = Answers();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].parts[0].error, 56);
  EXPECT_EQ(answers[1].parts[0].error, 56);
  EXPECT_EQ(ReadFetched(DrainFrames(*consumer, bed.now).at(0), 12).parts[0].error, 56);
  bed.vfs->SetFault(nullptr);
  Send({.acks = -1});
  EXPECT_EQ(Answers().at(0).parts[0].error, 56) << "a failed sync is final";
  EXPECT_EQ(partition->Info().high_watermark, 1);
}

TEST_F(CommitTest, GoesOnReadingOnAFullDiskAndWritesAgainWhenThereIsRoom) {
  Send({.acks = -1});
  bed.Step();
  EXPECT_EQ(Answers().at(0).parts[0].error, 0);
  bed.vfs->SetCapacity(1);
  const ProduceSpec large{.acks = -1, .parts = {{0, MakeBatch({.value_bytes = 1'000'000})}}};
  Send(large);
  EXPECT_EQ(Answers().at(0).parts[0].error, 56);
  consumer->Receive(FetchFrame({}), bed.now);
  EXPECT_EQ(BaseOffsets(ReadFetched(DrainFrames(*consumer, bed.now).at(0), 12).parts[0].records),
            (std::vector<int64_t>{0}));
  bed.vfs->SetCapacity(0);
  Send(large);
  bed.Step();
  const auto answers = Answers();
  EXPECT_EQ(answers.at(0).parts[0].error, 0);
  EXPECT_EQ(answers.at(0).parts[0].base_offset, 1);
}

// --- the broker's own appends ----------------------------------------------------------------------------------------

TEST_F(CommitTest, CallsALocalAppendersBackOnceWhenItIsAsSafeAsAsked) {
  std::vector<PartitionAppend> results;
  const auto done = [&](const PartitionAppend& result) { results.push_back(result); };
  partition->AppendLocal(MakeBatch(), 0, kNow, done);
  partition->AppendLocal(MakeBatch(), 1, kNow, done);
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[1].base_offset, 1);
  partition->AppendLocal(MakeBatch({.records = 2}), -1, kNow, done);
  EXPECT_EQ(results.size(), 2u);
  bed.Step();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[2].error, KafkaError::kNone);
  EXPECT_EQ(results[2].base_offset, 2);
  EXPECT_EQ(results[2].last_offset, 3);
  partition->AppendLocal(MakeBatch(), -1, kNow, done);
  partition->ApplyState(Bed::Following(4, 2));
  ASSERT_EQ(results.size(), 4u);
  EXPECT_EQ(results[3].error, KafkaError::kNotLeaderOrFollower);
  partition->AppendLocal(MakeBatch(), -1, kNow, done);
  ASSERT_EQ(results.size(), 5u);
  EXPECT_EQ(results[4].error, KafkaError::kNotLeaderOrFollower);
  bed.Step();
  EXPECT_EQ(results.size(), 5u);
}

TEST_F(CommitTest, CallsBackWithoutItsLock) {
  int called = 0;
  partition->AppendLocal(MakeBatch(), -1, kNow, [&](const PartitionAppend&) {
    // What a coordinator does: the next append from within the callback of the last.
    partition->AppendLocal(MakeBatch(), 1, kNow, [&](const PartitionAppend& next) {
      EXPECT_EQ(next.base_offset, 1);
      ++called;
    });
    ++called;
  });
  bed.Step();
  EXPECT_EQ(called, 2);
}

TEST_F(CommitTest, EndsEverythingWhenItIsClosed) {
  PartitionAppend local;
  Send({.acks = -1});
  consumer->Receive(FetchFrame({}), bed.now);
  partition->AppendLocal(MakeBatch(), -1, kNow, [&](const PartitionAppend& result) { local = result; });
  partition->Close(KafkaError::kNotLeaderOrFollower);
  partition->Close(KafkaError::kNotLeaderOrFollower);
  bed.Turn();
  EXPECT_EQ(local.error, KafkaError::kNotLeaderOrFollower);
  EXPECT_EQ(Answers().at(0).parts[0].error, 6);
  EXPECT_EQ(ReadFetched(DrainFrames(*consumer, bed.now).at(0), 12).parts[0].error, 6);
  partition->ApplyState(Bed::Leading(9));
  Send({.acks = 1});
  EXPECT_EQ(Answers().at(0).parts[0].error, 6) << "closed for good";
}

TEST_F(CommitTest, MayGoWhileItsLogIsStillBeingSynced) {
  Send({.acks = 1});
  consumer->Receive(FetchFrame({}), bed.now);
  std::weak_ptr<Partition> weak = partition;
  producer->Close();
  consumer->Close();
  bed.plane->RemoveTopic("t");
  bed.Turn();
  partition = nullptr;
  EXPECT_TRUE(weak.expired());
  bed.Step();
}

TEST_F(CommitTest, CallsALocalAppenderBackWhenItsTopicOrItsPartitionGoes) {
  std::vector<KafkaError> errors;
  const auto done = [&](const PartitionAppend& result) { errors.push_back(result.error); };
  partition->AppendLocal(MakeBatch(), -1, kNow, done);
  bed.plane->RemoveTopic("t");
  EXPECT_EQ(errors, std::vector<KafkaError>{KafkaError::kUnknownTopicOrPartition});
  bed.Turn();
  partition->AppendLocal(MakeBatch(), -1, kNow, done);
  partition = nullptr;
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[1], KafkaError::kNotLeaderOrFollower);
}

TEST_F(CommitTest, FindsTheLargestTimestampOnlyBelowWhatIsShown) {
  Send({.acks = 1});
  const auto found = [&] { return partition->log().OffsetOfMaxTimestamp(partition->Info().high_watermark); };
  EXPECT_EQ(found()->offset, -1) << "not durable yet";
  Send({.acks = -1});
  bed.Step();
  EXPECT_EQ(found()->offset, 0);
}

TEST_F(CommitTest, LeavesItsLogToThePartitionThatCameAfterIt) {
  auto log = *bed.engine->OpenLog({"u", 0}, {});
  auto before = Partition::Create(log, FlushMode::kCommit);
  before->Close(KafkaError::kNotLeaderOrFollower);
  auto after = Partition::Create(log, FlushMode::kCommit);
  after->ApplyState(Bed::Leading(3));
  before = nullptr;
  after->AppendLocal(MakeBatch(), 1, kNow, [](const PartitionAppend&) {});
  log->Flush({});
  bed.Step();
  EXPECT_EQ(after->Info().high_watermark, 1);
}

TEST(OsMode, AcknowledgesAndShowsAtOnceWithoutASync) {
  Bed bed(FlushMode::kOs);
  auto partition = bed.AddPartition(0);
  auto producer = bed.Connect();
  producer->Receive(ProduceFrame({.acks = -1}), bed.now);
  EXPECT_EQ(ReadProduced(DrainFrames(*producer, bed.now).at(0), 9).parts[0].error, 0);
  EXPECT_EQ(partition->Info().high_watermark, 1);
  EXPECT_EQ(partition->log().Stats().flush_count, 0u);
}

TEST(OsMode, ShowsAReaderOfCommittedDataOnlyWhatIsDecided) {
  Bed bed(FlushMode::kOs);
  auto partition = bed.AddPartition(0);
  auto consumer = bed.Connect();
  PartitionAppend appended;
  const auto append = [&](const Buffer& batch) {
    partition->AppendLocal(batch, 1, kNow, [&](const PartitionAppend& result) { appended = result; });
    EXPECT_EQ(appended.error, KafkaError::kNone);
  };
  const auto marker = [](int64_t producer_id, bool commit) {
    BatchHeader header = HeaderFor(1);
    header.attributes = kTransactionalBit | kControlBit;
    header.producer_id = producer_id;
    header.producer_epoch = 0;
    const Buffer key = {0, 0, 0, static_cast<uint8_t>(commit ? 1 : 0)};
    const Buffer value = {0, 0, 0, 0, 0, 0};
    Buffer body;
    TestRecord record;
    record.key = NullableBytes::Of(key);
    record.value = NullableBytes::Of(value);
    record.AddTo(&body);
    return BatchOf(header, body);
  };
  append(MakeBatch());
  append(MakeBatch({.producer_id = 7, .transactional = true}));
  append(MakeBatch());
  EXPECT_EQ(partition->Info().last_stable_offset, 1);
  consumer->Receive(FetchFrame({.max_wait_ms = 0, .isolation_level = 0}), bed.now);
  EXPECT_EQ(BaseOffsets(ReadFetched(DrainFrames(*consumer, bed.now).at(0), 12).parts[0].records).size(), 3u);
  consumer->Receive(FetchFrame({.isolation_level = 1}), bed.now);
  FetchedPart part = ReadFetched(DrainFrames(*consumer, bed.now).at(0), 12).parts[0];
  EXPECT_EQ(BaseOffsets(part.records), (std::vector<int64_t>{0}));
  EXPECT_EQ(part.high_watermark, 3);
  EXPECT_EQ(part.last_stable_offset, 1);

  consumer->Receive(FetchFrame({.isolation_level = 1, .parts = {{.offset = 1}}}), bed.now);
  append(MakeBatch());
  bed.Turn();
  EXPECT_EQ(consumer->flags(), 0u) << "the open transaction hides what follows";
  append(marker(7, false));
  EXPECT_EQ(bed.Turn().size(), 1u);
  part = ReadFetched(DrainFrames(*consumer, bed.now).at(0), 12).parts[0];
  EXPECT_EQ(BaseOffsets(part.records), (std::vector<int64_t>{1, 2, 3, 4}));
  ASSERT_EQ(part.aborted.size(), 1u);
  EXPECT_EQ(part.aborted[0].producer_id, 7);
  EXPECT_EQ(part.aborted[0].first_offset, 1);

  // A transaction that begins behind the records that are sent is none of the client's business yet.
  append(MakeBatch({.producer_id = 8, .transactional = true}));
  append(marker(8, false));
  consumer->Receive(FetchFrame({.isolation_level = 1, .parts = {{.offset = 2, .max_bytes = 1}}}), bed.now);
  part = ReadFetched(DrainFrames(*consumer, bed.now).at(0), 12).parts[0];
  EXPECT_EQ(BaseOffsets(part.records), (std::vector<int64_t>{2}));
  EXPECT_EQ(part.aborted.size(), 1u);
}

// --- threads ---------------------------------------------------------------------------------------------------------

/// What a reactor will be: a thread with a Loop that pumps its connections.
class Reactor {
 public:
  explicit Reactor(std::shared_ptr<Plane> plane) : plane_(std::move(plane)) {
    loop_ = Loop::Create([this] {
      std::lock_guard lock(mutex_);
      woken_ = true;
      wake_.notify_one();
    });
  }
  static Now Time() {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now().time_since_epoch());
    return {.mono_ms = ms.count(), .wall_ms = kNow};
  }
  /// Until `go_on` says no: turns, and calls it for every connection that has news.
  template <typename GoOn>
  void Run(GoOn go_on) {
    std::vector<std::shared_ptr<Connection>> ready;
    for (;;) {
      ready.clear();
      loop_->Turn(Time(), &ready);
      if (!go_on(ready)) return;
      const int64_t deadline = loop_->NextDeadlineMs();
      std::unique_lock lock(mutex_);
      const int64_t wait_ms = deadline < 0 ? 50 : std::clamp<int64_t>(deadline - Time().mono_ms, 0, 50);
      wake_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] { return woken_; });
      woken_ = false;
    }
  }
  std::shared_ptr<Connection> Connect() { return Connection::Create(plane_, loop_); }

 private:
  std::shared_ptr<Plane> plane_;
  std::shared_ptr<Loop> loop_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
};

class ThreadsTest : public ::testing::TestWithParam<FlushMode> {};

TEST_P(ThreadsTest, ProducersConsumersAndControlOnSeveralLoopsAgree) {
  constexpr int kReactors = 3, kBatches = 150, kPartitions = 2;
  EngineOptions engine_options;
  engine_options.directories = {"/data"};
  engine_options.vfs = MakeMemoryVfs(false);
  engine_options.flush_mode = GetParam();
  auto engine = *Engine::Open(engine_options);
  auto plane = Plane::Create(engine, {});
  TopicGrant grant;
  grant.name = "t";
  grant.id = kTopicId;
  plane->PublishTopic(grant);
  std::vector<std::shared_ptr<Partition>> partitions;
  for (int32_t i = 0; i < kPartitions; ++i) {
    partitions.push_back(Partition::Create(*engine->OpenLog({"t", i}, {}), GetParam()));
    partitions.back()->ApplyState(Bed::Leading(1));
    plane->PublishPartition("t", i, partitions.back());
  }
  std::atomic<int> producing{kReactors};
  std::atomic<int64_t> acked{0}, refused{0};

  const auto reactor_main = [&](int number) {
    Reactor reactor(plane);
    auto producer = reactor.Connect();
    auto consumer = reactor.Connect();
    int sent = 0, answered = 0;
    std::vector<int64_t> next(kPartitions, 0);
    bool fetching = false, told = false;
    reactor.Run([&](const std::vector<std::shared_ptr<Connection>>&) {
      const Now now = Reactor::Time();
      while (sent < kBatches && sent - answered < 5) {
        ProduceSpec spec{.correlation_id = sent,
                         .acks = static_cast<int16_t>(sent % 3 == 0 ? 1 : -1),
                         .timeout_ms = 30'000};
        spec.parts.clear();
        for (int32_t p = 0; p < kPartitions; ++p) spec.parts.push_back({p, MakeBatch({.value_bytes = 200})});
        producer->Receive(ProduceFrame(spec), now);
        ++sent;
      }
      for (const Buffer& frame : DrainFrames(*producer, now)) {
        const Produced answer = ReadProduced(frame, 9);
        EXPECT_EQ(answer.correlation_id, answered++);
        for (const ProducedPart& part : answer.parts) {
          EXPECT_TRUE(part.error == 0 || part.error == 6) << part.error;
          (part.error == 0 ? acked : refused).fetch_add(1);
        }
      }
      if (answered == kBatches && !told) {
        told = true;
        producing.fetch_sub(1);
      }
      for (const Buffer& frame : DrainFrames(*consumer, now)) {
        fetching = false;
        for (const FetchedPart& part : ReadFetched(frame, 12).parts) {
          for (const int64_t base : BaseOffsets(part.records))
            EXPECT_EQ(base, next[static_cast<size_t>(part.index)]++) << number;
        }
      }
      if (!fetching) {
        FetchSpec spec{.max_wait_ms = 20, .max_bytes = 5000};
        spec.parts.clear();
        bool behind = producing > 0;
        for (int32_t p = 0; p < kPartitions; ++p) {
          behind |= next[static_cast<size_t>(p)] < partitions[static_cast<size_t>(p)]->Info().high_watermark;
          spec.parts.push_back({.index = p, .offset = next[static_cast<size_t>(p)]});
        }
        if (!behind && answered == kBatches) return false;
        consumer->Receive(FetchFrame(spec), now);
        fetching = true;
      }
      return true;
    });
    // One leaves with requests parked.
    consumer->Receive(FetchFrame({.parts = {{.offset = next[0]}}}), Reactor::Time());
    consumer->Close();
    producer->Close();
  };

  std::vector<std::thread> threads;
  for (int i = 0; i < kReactors; ++i) threads.emplace_back(reactor_main, i);
  // The control plane meanwhile: new epochs, new configs, grants republished, the broker's own appends.
  int32_t epoch = 1;
  std::atomic<int> local_done{0};
  int local_sent = 0;
  while (producing > 0) {
    for (auto& partition : partitions) {
      partition->ApplyState(Bed::Leading(++epoch));
      partition->SetConfig({}, {});
    }
    plane->PublishTopic(grant);
    partitions[0]->AppendLocal(MakeBatch(), -1, kNow, [&](const PartitionAppend&) { ++local_done; });
    ++local_sent;
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 2000 && local_done < local_sent; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(local_done, local_sent);
  EXPECT_EQ(acked + refused, int64_t{kReactors} * kBatches * kPartitions);
  EXPECT_GT(acked, 0);
  EXPECT_EQ(plane->Counters().connections, 0u);
  EXPECT_EQ(plane->Counters().parked_fetches, 0u);
  for (auto& partition : partitions) partition->Close(KafkaError::kNotLeaderOrFollower);
  EXPECT_TRUE(engine->Close().ok());
}

INSTANTIATE_TEST_SUITE_P(FlushModes, ThreadsTest, ::testing::Values(FlushMode::kCommit, FlushMode::kOs),
                         [](const auto& info) { return info.param == FlushMode::kCommit ? "commit" : "os"; });

}  // namespace
}  // namespace varve::test
