// SPDX-License-Identifier: Apache-2.0
// Goal: a connection is a pure function of its bytes: however they are cut, replies are the same and in
// request order; what is not Kafka's protocol ends it without a reply; nothing that a peer does makes it keep
// more than it was sent or paid for.
#include "plane/connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <new>
#include <random>

#include "plane/plane_impl.h"
#include "test/plane_fixtures.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes != 0 ? bytes : 1)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace varve::test {
namespace {

uint64_t HeldBytes(Bed& bed) { return static_cast<PlaneImpl&>(*bed.plane).received_bytes_held(); }

/// A reply that TypeScript could give: correlation id and some bytes.
Buffer ReplyTo(const Punt& punt, size_t bytes = 10) {
  FrameWriter w;
  w.I32(LoadI32(&punt.frame[4]));
  for (size_t i = 0; i < bytes; ++i) w.I8(static_cast<int>(i));
  return w.Frame();
}

// --- what is not Kafka's protocol
// ------------------------------------------------------------------------------------

struct BadInput {
  const char* name;
  Buffer bytes;
};

Buffer Sized(int32_t size, const Buffer& body = {}) {
  Buffer out;
  AddBe32(&out, static_cast<uint32_t>(size));
  Add(&out, body);
  return out;
}
Buffer WholeFrame(const Buffer& body) { return Sized(static_cast<int32_t>(body.size()), body); }

std::vector<BadInput> BadInputs() {
  std::vector<BadInput> bad = {
      {"row 1: negative size", Sized(-1)},
      {"row 1: smallest size", Sized(INT32_MIN)},
      {"row 1: size 0", Sized(0)},
      {"row 1: size above socket.request.max.bytes", Sized((100 << 20) + 1)},
      {"row 1: largest size", Sized(INT32_MAX)},
      {"row 2: HTTP", Buffer{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P'}},
      {"row 2: TLS", Buffer{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc}},
      {"row 3: negative api key", OtherFrame(-1, 0, 1)},
      {"row 3: dead api key", OtherFrame(4, 0, 1)},
      {"row 3: unknown api key", OtherFrame(95, 0, 1)},
      {"row 3: largest api key", OtherFrame(32767, 0, 1)},
      {"row 4: Produce 2", OtherFrame(0, 2, 1)},
      {"row 4: Produce 14", OtherFrame(0, 14, 1)},
      {"row 4: Produce -1", OtherFrame(0, -1, 1)},
      {"row 4: Fetch 3", OtherFrame(1, 3, 1)},
      {"row 4: Fetch 19", OtherFrame(1, 19, 1)},
      {"row 6: no room for a header", WholeFrame({0, 0, 0, 9, 0, 0, 0})},
      {"row 6: Produce without a body", OtherFrame(0, 9, 1)},
      {"row 6: Fetch without a body", OtherFrame(1, 12, 1)},
      {"row 6: client id longer than the rest", WholeFrame({0, 0, 0, 8, 0, 0, 0, 1, 0x7f, 0xff, 'x'})},
      {"row 7: client id of length -5",
       WholeFrame({0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})},
  };
  const auto produce = [&](int version, auto write) {
    FrameWriter w(version >= 9);
    w.Header(0, version, 1);
    write(w);
    return w.Frame();
  };
  bad.push_back({"row 6: topic longer than the rest", produce(8, [](FrameWriter& w) {
                   w.NullStr().I16(1).I32(0).I32(1).I16(500).Raw(AsBytes("topic"));
                 })});
  bad.push_back({"row 6: records longer than the rest", produce(8, [](FrameWriter& w) {
                   w.NullStr().I16(1).I32(0).I32(1).Str("t").I32(1).I32(0).I32(1 << 30);
                 })});
  bad.push_back({"row 7: null topic", produce(9, [](FrameWriter& w) {
                   w.NullStr().I16(1).I32(0).Count(1).NullStr().Count(0).Tags().Tags();
                 })});
  bad.push_back(
      {"row 7: null topics", produce(9, [](FrameWriter& w) { w.NullStr().I16(1).I32(0).Var(0).Tags(); })});
  bad.push_back(
      {"row 8: 2^31-1 topics", produce(8, [](FrameWriter& w) { w.NullStr().I16(1).I32(0).I32(INT32_MAX); })});
  bad.push_back({"row 8: 2^32-2 topics",
                 produce(9, [](FrameWriter& w) { w.NullStr().I16(1).I32(0).Var(UINT32_MAX); })});
  bad.push_back({"row 9: -2 topics", produce(8, [](FrameWriter& w) { w.NullStr().I16(1).I32(0).I32(-2); })});
  bad.push_back({"row 10: 2^32-1 tagged fields",
                 produce(9, [](FrameWriter& w) { w.NullStr().I16(1).I32(0).Count(0).Var(UINT32_MAX); })});
  Buffer many = {0, 0, 0, 9, 0, 0, 0, 1, 0, 0};
  AddUnsigned(&many, 10'000);
  many.resize(many.size() + 20'000);
  bad.push_back({"row 11: 10,000 tagged fields in the header", WholeFrame(many)});
  bad.push_back(
      {"row 11: a tag twice", WholeFrame({0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0})});
  bad.push_back({"row 12: a varint of six bytes",
                 WholeFrame({0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0, 0, 0})});
  Buffer partitions;
  {
    FrameWriter w(false);
    w.Header(1, 4, 1).I32(-1).I32(0).I32(0).I32(0).I8(0).I32(1).Str("t").I32(200'000);
    Buffer frame = w.Frame();
    frame.resize(frame.size() + 200'000 * 16);
    StoreU32(frame.data(), static_cast<uint32_t>(frame.size() - 4));
    partitions = std::move(frame);
  }
  bad.push_back({"more partitions than any client has", partitions});
  return bad;
}

TEST(ConnectionInput, EndsWithoutAReplyWhenTheBytesAreNotKafkas) {
  Bed bed;
  bed.AddPartition(0);
  for (const BadInput& bad : BadInputs()) {
    auto connection = bed.Connect();
    connection->Receive(bad.bytes, bed.now);
    EXPECT_EQ(connection->flags(), uint32_t{kMustClose}) << bad.name;
    EXPECT_NE(connection->close_reason(), "") << bad.name;
    EXPECT_TRUE(Drain(*connection, bed.now).empty()) << bad.name;
    // Byte by byte it is the same, and never later than with the last byte.
    auto slow = bed.Connect();
    for (const uint8_t& byte : bad.bytes) slow->Receive({&byte, 1}, bed.now);
    EXPECT_EQ(slow->flags(), uint32_t{kMustClose}) << bad.name;
    connection->Close();
    slow->Close();
  }
  EXPECT_EQ(HeldBytes(bed), 0u);
  auto after = bed.Connect();
  after->Receive(ProduceFrame({}), bed.now);
  EXPECT_EQ(ReadProduced(DrainFrames(*after, bed.now).at(0), 9).parts[0].error, 0)
      << "the broker still serves";
}

TEST(ConnectionInput, SendsWhatWasAnsweredBeforeTheBadFrame) {
  Bed bed;
  bed.AddPartition(0);
  auto connection = bed.Connect();
  Buffer bytes = ProduceFrame({.correlation_id = 5});
  Add(&bytes, Sized(-7));
  Add(&bytes, ProduceFrame({.correlation_id = 6}));
  connection->Receive(bytes, bed.now);
  EXPECT_EQ(connection->flags(), uint32_t{kMustClose | kHasOutput});
  const auto frames = DrainFrames(*connection, bed.now);
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(CorrelationId(frames[0]), 5);
  connection->Receive(ProduceFrame({}), bed.now);
  EXPECT_EQ(connection->flags(), uint32_t{kMustClose}) << "nothing is served any more";
}

TEST(ConnectionInput, ChargesForBytesThatCameAndNotForThoseThatWereAnnounced) {
  Bed bed;
  auto connection = bed.Connect();
  const Buffer start = Sized(100 << 20, Buffer(3));
  const uint64_t before = allocations;
  connection->Receive(start, bed.now);
  EXPECT_EQ(HeldBytes(bed), 7u);
  EXPECT_LE(allocations - before, 4u);
  const Buffer more(1000);
  for (int i = 0; i < 100; ++i) connection->Receive(more, bed.now);
  EXPECT_EQ(HeldBytes(bed), 100'007u);
  connection->Close();
  EXPECT_EQ(HeldBytes(bed), 0u);
}

TEST(ConnectionInput, PuntsEveryOtherLivingKeyInAnyVersionWhole) {
  Bed bed;
  auto connection = bed.Connect();
  for (const auto& [key, version] :
       {std::pair{18, 0}, std::pair{18, 99}, std::pair{3, 12}, std::pair{94, 0}, std::pair{8, -3}}) {
    const Buffer frame = OtherFrame(key, version, 77);
    connection->Receive(frame, bed.now);
    EXPECT_EQ(connection->flags(), uint32_t{kHasPunts});
    Punt punt;
    ASSERT_TRUE(connection->TakePunt(&punt));
    EXPECT_EQ(punt.frame, Buffer(frame.begin() + 4, frame.end()));
    EXPECT_FALSE(connection->TakePunt(&punt));
    EXPECT_EQ(HeldBytes(bed), punt.frame.size()) << "until it is answered";
    connection->Answer(punt.slot, ReplyTo(punt), bed.now);
    EXPECT_EQ(Drain(*connection, bed.now), ReplyTo(punt));
    EXPECT_EQ(HeldBytes(bed), 0u);
  }
  EXPECT_EQ(bed.plane->Counters().punted_requests, 5u);
}

// --- cuts
// ------------------------------------------------------------------------------------------------------------

/// A session that has a bit of everything; punts are answered at once.
Buffer Session() {
  Buffer bytes;
  Add(&bytes, OtherFrame(18, 3, 1));
  Add(&bytes, ProduceFrame({.version = 3, .correlation_id = 2}));
  Add(&bytes,
      ProduceFrame(
          {.version = 13, .correlation_id = 3, .parts = {{0, MakeBatch({.records = 3})}, {1, MakeBatch()}}}));
  Add(&bytes, ProduceFrame({.correlation_id = 4, .acks = 0}));
  Add(&bytes, FetchFrame({.version = 4, .correlation_id = 5}));
  Add(&bytes, OtherFrame(3, 9, 6));
  Add(&bytes, ProduceFrame({.correlation_id = 7,
                            .acks = -1,
                            .parts = {{0, Buffer{1}}, {1, MakeBatch({.value_bytes = 300})}}}));
  Add(&bytes,
      FetchFrame(
          {.version = 18, .correlation_id = 8, .isolation_level = 1, .parts = {{.index = 0}, {.index = 1}}}));
  Add(&bytes, ProduceFrame({.correlation_id = 9, .topic = "nobody"}));
  Add(&bytes, FetchFrame({.correlation_id = 10, .max_wait_ms = 0, .parts = {{.index = 1, .offset = 2}}}));
  return bytes;
}

class Played {
 public:
  Played() {
    bed.AddPartition(0);
    bed.AddPartition(1);
    connection = bed.Connect();
  }
  void Receive(Bytes bytes) {
    connection->Receive(bytes, bed.now);
    Punt punt;
    while (connection->TakePunt(&punt)) {
      const int16_t key = LoadI16(punt.frame.data());
      key > 1 ? connection->Answer(punt.slot, ReplyTo(punt), bed.now) : connection->Retry(punt.slot, bed.now);
    }
    Add(&output, Drain(*connection, bed.now));
  }
  Bed bed;
  std::shared_ptr<Connection> connection;
  Buffer output;
};

TEST(ConnectionInput, GivesTheSameOutputHoweverTheBytesAreCut) {
  const Buffer session = Session();
  Played whole;
  whole.Receive(session);
  std::vector<int32_t> ids;
  for (const Buffer& frame : Frames(whole.output)) ids.push_back(CorrelationId(frame));
  ASSERT_EQ(ids, (std::vector<int32_t>{1, 2, 3, 5, 6, 7, 8, 9, 10}));
  for (size_t cut = 1; cut < session.size(); ++cut) {
    Played parts;
    parts.Receive(Bytes(session).first(cut));
    parts.Receive(Bytes(session).subspan(cut));
    ASSERT_EQ(parts.output, whole.output) << "cut at " << cut;
    ASSERT_EQ(HeldBytes(parts.bed), 0u);
  }
  Played bytewise;
  for (const uint8_t& byte : session) bytewise.Receive({&byte, 1});
  EXPECT_EQ(bytewise.output, whole.output);
  std::mt19937_64 random(7);
  for (int round = 0; round < 50; ++round) {
    Played parts;
    for (size_t at = 0; at < session.size();) {
      const size_t bytes = std::min<size_t>(1 + random() % 200, session.size() - at);
      parts.Receive(Bytes(session).subspan(at, bytes));
      at += bytes;
    }
    ASSERT_EQ(parts.output, whole.output);
  }
}

// --- order
// -----------------------------------------------------------------------------------------------------------

TEST(ConnectionOrder, RepliesInRequestOrderWhateverOrderAnswersComeIn) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    std::mt19937_64 random(seed);
    Bed bed(FlushMode::kCommit);
    bed.AddPartition(0);
    auto connection = bed.Connect();
    std::vector<Punt> waiting;
    std::vector<int32_t> expected, seen;
    int32_t next_id = 1;
    const auto collect = [&] {
      for (const Buffer& frame : DrainFrames(*connection, bed.now)) seen.push_back(CorrelationId(frame));
    };
    for (int step = 0; step < 300; ++step) {
      switch (random() % 9) {
        case 0:
          connection->Receive(OtherFrame(3, 9, next_id), bed.now);
          expected.push_back(next_id++);
          break;
        case 1:
          connection->Receive(
              ProduceFrame({.correlation_id = next_id, .acks = static_cast<int16_t>(random() % 2 ? 1 : -1)}),
              bed.now);
          expected.push_back(next_id++);
          break;
        case 2:
          connection->Receive(ProduceFrame({.correlation_id = next_id++, .acks = 0}), bed.now);
          break;
        case 3:
          connection->Receive(FetchFrame({.correlation_id = next_id, .min_bytes = 1 << 20}), bed.now);
          expected.push_back(next_id++);
          break;
        case 4:
          connection->Receive(ProduceFrame({.correlation_id = next_id, .topic = "nobody"}), bed.now);
          expected.push_back(next_id++);
          break;
        case 5: {
          Punt punt;
          while (connection->TakePunt(&punt)) waiting.push_back(punt);
          break;
        }
        case 6: {
          if (waiting.empty()) break;
          std::swap(waiting[random() % waiting.size()], waiting.back());
          const Punt punt = std::move(waiting.back());
          waiting.pop_back();
          if (LoadI16(punt.frame.data()) == 0)
            connection->Retry(punt.slot, bed.now);
          else
            connection->Answer(punt.slot, ReplyTo(punt, random() % 50), bed.now);
          connection->Answer(punt.slot, ReplyTo(punt), bed.now);  // a second answer changes nothing
          break;
        }
        case 7:
          bed.Step();
          break;
        default:
          bed.Pass(static_cast<int64_t>(random() % 300));
          collect();
      }
    }
    for (int round = 0; round < 1000 && seen.size() < expected.size(); ++round) {
      Punt punt;
      while (connection->TakePunt(&punt)) connection->Answer(punt.slot, ReplyTo(punt), bed.now);
      for (const Punt& late : std::exchange(waiting, {}))
        connection->Answer(late.slot, ReplyTo(late), bed.now);
      bed.Step();
      bed.Pass(500);
      collect();
    }
    ASSERT_EQ(seen, expected) << "seed " << seed;
    ASSERT_EQ(HeldBytes(bed), 0u);
  }
}

TEST(ConnectionOrder, AppendsInRequestOrderWhenProducesArePunted) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    std::mt19937_64 random(seed);
    Bed bed;
    auto partition = bed.AddPartition(0);
    TopicGrant grant;
    grant.name = "t";
    grant.id = kTopicId;
    auto connection = bed.Connect();
    std::deque<Punt> punts;
    int32_t sent = 0, answered = 0;
    bool granted = true;
    // An idempotent producer with five requests in flight: the log refuses any other order
    // (OUT_OF_ORDER_SEQUENCE_NUMBER).
    for (int step = 0; answered < 200; ++step) {
      ASSERT_LT(step, 20'000);
      if (sent < 200 && sent - answered < 5 && random() % 2 == 0) {
        ProduceSpec spec{.correlation_id = sent};
        spec.parts = {{0, MakeBatch({.producer_id = 9, .sequence = sent})}};
        connection->Receive(ProduceFrame(spec), bed.now);
        ++sent;
      }
      if (random() % 4 == 0) {
        granted = !granted;
        if (granted) {
          bed.plane->PublishTopic(grant);
          bed.plane->PublishPartition("t", 0, partition);
        } else {
          grant.deadline_mono_ms = 0;
          bed.plane->PublishTopic(grant);  // a lease that is over
          grant.deadline_mono_ms = -1;
        }
      }
      Punt punt;
      while (connection->TakePunt(&punt)) punts.push_back(std::move(punt));
      ASSERT_LE(punts.size(), 1u) << "a Produce behind a punted one waits";
      if (granted && !punts.empty() && random() % 3 == 0) {
        connection->Retry(punts.front().slot, bed.now);
        punts.pop_front();
      }
      for (const Buffer& frame : DrainFrames(*connection, bed.now)) {
        const Produced answer = ReadProduced(frame, 9);
        ASSERT_EQ(answer.correlation_id, answered);
        ASSERT_EQ(answer.parts[0].error, 0) << "seed " << seed << " request " << answered;
        ASSERT_EQ(answer.parts[0].base_offset, answered);
        ++answered;
      }
    }
  }
}

TEST(ConnectionOrder, AnswersFiftyPipelinedRequestsInOrder) {
  Bed bed;
  bed.AddPartition(0);
  auto connection = bed.Connect();
  Buffer bytes;
  for (int32_t i = 0; i < 50; ++i)
    Add(&bytes, i % 2 == 0 ? ProduceFrame({.correlation_id = i})
                           : FetchFrame({.correlation_id = i, .max_wait_ms = 0}));
  connection->Receive(bytes, bed.now);
  const auto frames = DrainFrames(*connection, bed.now);
  ASSERT_EQ(frames.size(), 50u);
  for (int32_t i = 0; i < 50; ++i) EXPECT_EQ(CorrelationId(frames[static_cast<size_t>(i)]), i);
}

TEST(ConnectionInput, TakesAFrameOfExactlyTheLargestSizeAndNoLarger) {
  PlaneOptions options;
  const Buffer frame = ProduceFrame({.parts = {{0, MakeBatch({.value_bytes = 50'000})}}});
  for (const int spare : {0, -1}) {
    options.request_bytes_max = static_cast<uint32_t>(frame.size() - 4) + static_cast<uint32_t>(spare);
    Bed bed(FlushMode::kOs, options);
    bed.AddPartition(0);
    auto connection = bed.Connect();
    connection->Receive(frame, bed.now);
    EXPECT_EQ(connection->flags(), static_cast<uint32_t>(spare == 0 ? kHasOutput : kMustClose));
  }
}

TEST(ConnectionOrder, KeepsProducesBehindAPuntedOneAndServesThemWhenItIsAnswered) {
  Bed bed;
  auto partition = bed.AddPartition(0);
  auto connection = bed.Connect();
  connection->Receive(ProduceFrame({.correlation_id = 1, .topic = "nobody"}), bed.now);
  connection->Receive(ProduceFrame({.correlation_id = 2}), bed.now);
  EXPECT_EQ(partition->Info().log_end_offset, 0);
  EXPECT_EQ(connection->flags(), uint32_t{kHasPunts | kPauseReading});
  connection->Receive(ProduceFrame({.correlation_id = 3}), bed.now);
  Punt punt;
  ASSERT_TRUE(connection->TakePunt(&punt));
  connection->Answer(punt.slot, ReplyTo(punt), bed.now);
  EXPECT_EQ(connection->flags(), uint32_t{kHasOutput});
  EXPECT_EQ(partition->Info().log_end_offset, 2);
  const auto frames = DrainFrames(*connection, bed.now);
  ASSERT_EQ(frames.size(), 3u);
  for (int32_t i = 0; i < 3; ++i) EXPECT_EQ(CorrelationId(frames[static_cast<size_t>(i)]), i + 1);
  EXPECT_EQ(HeldBytes(bed), 0u);
}

TEST(ConnectionOrder, ServesAProduceWhoseTopicWasMadeWhileItWasPunted) {
  Bed bed;
  auto connection = bed.Connect();
  connection->Receive(ProduceFrame({.version = 13}), bed.now);
  Punt punt;
  ASSERT_TRUE(connection->TakePunt(&punt));
  bed.AddPartition(0);
  connection->Retry(punt.slot, bed.now);
  EXPECT_EQ(ReadProduced(DrainFrames(*connection, bed.now).at(0), 13).parts[0].error, 0);
}

TEST(ConnectionOrder, AnswersAProduceThatStillHasNoGrantOnRetry) {
  Bed bed;
  bed.AddPartition(0);
  auto connection = bed.Connect();
  for (const ProduceSpec& spec :
       {ProduceSpec{.topic = "nobody"}, ProduceSpec{.version = 13, .id = {9}},
        ProduceSpec{.parts = {{7, MakeBatch()}}}, ProduceSpec{.version = 13, .parts = {{7, MakeBatch()}}}}) {
    connection->Receive(ProduceFrame(spec), bed.now);
    Punt punt;
    ASSERT_TRUE(connection->TakePunt(&punt));
    connection->Retry(punt.slot, bed.now);
    const Produced answer = ReadProduced(DrainFrames(*connection, bed.now).at(0), spec.version);
    EXPECT_EQ(answer.parts[0].error, spec.version == 13 && spec.id != kTopicId ? 100 : 3);
  }
}

TEST(ConnectionOrder, PuntsARequestWholeWhenOnePartitionLacksItsGrant) {
  Bed bed;
  auto partition = bed.AddPartition(0);
  auto connection = bed.Connect();
  connection->Receive(ProduceFrame({.parts = {{0, MakeBatch()}, {1, MakeBatch()}}}), bed.now);
  EXPECT_EQ(connection->flags(), uint32_t{kHasPunts});
  EXPECT_EQ(partition->Info().log_end_offset, 0) << "nothing was appended";
}

TEST(ConnectionOrder, AnswersNothingForASilentPunt) {
  Bed bed;
  auto connection = bed.Connect();
  connection->Receive(ProduceFrame({.acks = 0, .topic = "nobody"}), bed.now);
  connection->Receive(OtherFrame(3, 9, 8), bed.now);
  Punt silent, other;
  ASSERT_TRUE(connection->TakePunt(&silent));
  ASSERT_TRUE(connection->TakePunt(&other));
  connection->Answer(other.slot, ReplyTo(other), bed.now);
  EXPECT_EQ(connection->flags(), 0u) << "held back by the slot before";
  connection->AnswerNothing(silent.slot, bed.now);
  EXPECT_EQ(Drain(*connection, bed.now), ReplyTo(other));
}

TEST(ConnectionGrants, ObeysGrantsFromTheMomentTheyArePublished) {
  Bed bed;
  auto partition = bed.AddPartition(0);
  auto connection = bed.Connect();
  const auto served = [&](const Buffer& frame) {
    connection->Receive(frame, bed.now);
    Punt punt;
    const bool punted = connection->TakePunt(&punt);
    if (punted) connection->Answer(punt.slot, ReplyTo(punt), bed.now);
    Drain(*connection, bed.now);
    return !punted;
  };
  TopicGrant grant;
  grant.name = "t";
  grant.id = kTopicId;
  EXPECT_TRUE(served(ProduceFrame({})));
  EXPECT_TRUE(served(ProduceFrame({.version = 13})));
  grant.may_write = false;
  bed.plane->PublishTopic(grant);
  EXPECT_FALSE(served(ProduceFrame({})));
  EXPECT_FALSE(served(ProduceFrame({.version = 13})));
  EXPECT_TRUE(served(FetchFrame({})));
  grant.may_write = true;
  grant.may_read = false;
  bed.plane->PublishTopic(grant);
  EXPECT_TRUE(served(ProduceFrame({})));
  EXPECT_FALSE(served(FetchFrame({})));
  grant.may_read = true;
  grant.deadline_mono_ms = bed.now.mono_ms + 10;
  bed.plane->PublishTopic(grant);
  EXPECT_TRUE(served(ProduceFrame({})));
  bed.now.mono_ms += 11;
  EXPECT_FALSE(served(ProduceFrame({}))) << "the lease is over";
  EXPECT_FALSE(served(FetchFrame({})));
  grant.deadline_mono_ms = -1;
  grant.id = {9, 9};
  bed.plane->PublishTopic(grant);
  EXPECT_TRUE(served(ProduceFrame({.version = 13, .id = {9, 9}})));
  EXPECT_FALSE(served(ProduceFrame({.version = 13}))) << "the old id is nobody's";
  bed.plane->RemoveTopic("t");
  EXPECT_FALSE(served(ProduceFrame({})));
  EXPECT_FALSE(served(ProduceFrame({.version = 13, .id = {9, 9}})));
}

TEST(ConnectionGrants, ServesThePartitionThatWasPublishedLast) {
  Bed bed;
  auto first = bed.AddPartition(0);
  auto connection = bed.Connect();
  connection->Receive(ProduceFrame({}), bed.now);
  for (const int32_t index : {1, 2, 9, 300}) bed.AddPartition(index);
  connection->Receive(ProduceFrame({.parts = {{300, MakeBatch()}, {9, MakeBatch()}}}), bed.now);
  EXPECT_EQ(DrainFrames(*connection, bed.now).size(), 2u);
  auto other_log = bed.engine->OpenLog({"other", 0}, {});
  ASSERT_TRUE(other_log.ok());
  auto second = Partition::Create(*other_log, FlushMode::kOs);
  second->ApplyState(Bed::Leading(1));
  bed.plane->PublishPartition("t", 0, second);
  connection->Receive(ProduceFrame({}), bed.now);
  EXPECT_EQ(first->Info().log_end_offset, 1);
  EXPECT_EQ(second->Info().log_end_offset, 1);
  bed.plane->PublishPartition("t", 0, nullptr);
  bed.plane->PublishPartition("nobody", 0, second);
  bed.plane->PublishPartition("t", -1, second);
  connection->Receive(ProduceFrame({}), bed.now);
  EXPECT_NE(connection->flags() & kHasPunts, 0u);
}

TEST(ConnectionGrants, LetsGoOfARemovedTopicsLogInTheNextTurn) {
  Bed bed;
  std::weak_ptr<Partition> partition = bed.AddPartition(0);
  auto connection = bed.Connect();
  connection->Receive(ProduceFrame({}), bed.now);
  connection->Receive(FetchFrame({.version = 13}), bed.now);
  Drain(*connection, bed.now);
  EXPECT_FALSE(partition.expired());
  const int wakes = bed.wakes;
  bed.plane->RemoveTopic("t");
  EXPECT_GT(bed.wakes, wakes);
  bed.Turn();
  EXPECT_TRUE(partition.expired());
}

// --- limits
// ----------------------------------------------------------------------------------------------------------

TEST(ConnectionLimits, StopsServingWhileTooManySlotsAreOpenAndGoesOnWhenTheyAreAnswered) {
  PlaneOptions options;
  options.requests_in_flight_max = 3;
  Bed bed(FlushMode::kOs, options);
  auto connection = bed.Connect();
  Buffer bytes;
  for (int32_t i = 1; i <= 7; ++i) Add(&bytes, OtherFrame(3, 9, i));
  connection->Receive(bytes, bed.now);
  std::vector<int32_t> seen;
  for (int round = 0; round < 7; ++round) {
    EXPECT_EQ((connection->flags() & kPauseReading) != 0, round < 4) << round;
    Punt punt;
    ASSERT_TRUE(connection->TakePunt(&punt));
    connection->Answer(punt.slot, ReplyTo(punt), bed.now);
    for (const Buffer& frame : DrainFrames(*connection, bed.now)) seen.push_back(CorrelationId(frame));
  }
  EXPECT_EQ(seen, (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(HeldBytes(bed), 0u);
}

TEST(ConnectionLimits, StopsServingWhileItsRequestsWaitInTooManyPartitions) {
  Bed bed(FlushMode::kCommit);
  bed.AddPartition(0);
  auto connection = bed.Connect();
  const auto send = [&](const Buffer& frame) {
    connection->Receive(frame, bed.now);
    return (connection->flags() & kPauseReading) == 0;
  };
  // One partition named often takes as much as many.
  FetchSpec fetch;
  fetch.parts.resize(60'000);
  EXPECT_TRUE(send(FetchFrame(fetch)));
  EXPECT_TRUE(send(ProduceFrame({.acks = -1, .parts = std::vector<ProducePart>(40'000, {0, MakeBatch()})})));
  const uint64_t parked = bed.plane->Counters().parked_fetches;
  EXPECT_FALSE(send(FetchFrame({.correlation_id = 2})));
  EXPECT_EQ(bed.plane->Counters().parked_fetches, parked);
  bed.Step();
  EXPECT_EQ(DrainFrames(*connection, bed.now).size(), 3u);
  EXPECT_EQ(connection->flags(), 0u);
  // A connection that goes takes along what it had parked.
  EXPECT_TRUE(send(FetchFrame(fetch)));
  connection->Close();
  bed.Turn();
}

TEST(ConnectionLimits, StopsServingWhileTheOutputIsNotReadAndClosesWhenItNeverIs) {
  PlaneOptions options;
  options.output_bytes_max = 10'000;
  Bed bed(FlushMode::kOs, options);
  bed.AddPartition(0);
  auto connection = bed.Connect();
  connection->Receive(ProduceFrame({.parts = {{0, MakeBatch({.value_bytes = 9000})}}}), bed.now);
  Drain(*connection, bed.now);
  Buffer bytes;
  for (int32_t i = 1; i <= 6; ++i) Add(&bytes, FetchFrame({.correlation_id = i}));
  connection->Receive(bytes, bed.now);
  EXPECT_EQ(connection->flags(), uint32_t{kHasOutput | kPauseReading});
  std::array<OutputPiece, 64> pieces;
  size_t pending = 0;
  for (size_t i = 0, n = connection->PeekOutput(pieces); i < n; ++i) pending += pieces[i].bytes;
  EXPECT_LT(pending, 20'000u) << "the limit, and the response that crossed it";
  // It moves a little, so the deadline starts anew; then no more.
  bed.Pass(59'000);
  connection->ConsumeOutput(10, bed.now);
  bed.Pass(59'000);
  EXPECT_EQ(connection->flags() & kMustClose, 0u);
  EXPECT_EQ(bed.Pass(1'000).size(), 1u);
  EXPECT_NE(connection->flags() & kMustClose, 0u);
}

TEST(ConnectionLimits, GoesOnServingAsOutputIsConsumed) {
  PlaneOptions options;
  options.output_bytes_max = 10'000;
  Bed bed(FlushMode::kOs, options);
  bed.AddPartition(0);
  auto connection = bed.Connect();
  connection->Receive(ProduceFrame({.parts = {{0, MakeBatch({.value_bytes = 9000})}}}), bed.now);
  Drain(*connection, bed.now);
  Buffer bytes;
  for (int32_t i = 1; i <= 6; ++i) Add(&bytes, FetchFrame({.correlation_id = i}));
  connection->Receive(bytes, bed.now);
  const auto frames = DrainFrames(*connection, bed.now);
  ASSERT_EQ(frames.size(), 6u);
  for (int32_t i = 0; i < 6; ++i) EXPECT_EQ(CorrelationId(frames[static_cast<size_t>(i)]), i + 1);
  EXPECT_EQ(connection->flags(), 0u);
}

TEST(ConnectionLimits, ClosesAConnectionWhoseFrameIsNotCompleteInTime) {
  Bed bed;
  bed.AddPartition(0);
  auto connection = bed.Connect();
  const Buffer frame = ProduceFrame({});
  connection->Receive(Bytes(frame).first(3), bed.now);
  EXPECT_EQ(bed.loop->NextDeadlineMs(), bed.now.mono_ms + 30'000);
  for (int i = 0; i < 29; ++i) {
    EXPECT_TRUE(bed.Pass(1000).empty());
    connection->Receive(Bytes(frame).subspan(3 + static_cast<size_t>(i), 1), bed.now);
  }
  EXPECT_EQ(bed.Pass(1000).size(), 1u) << "counted from the first byte";
  EXPECT_EQ(connection->flags(), uint32_t{kMustClose});

  auto steady = bed.Connect();
  for (int i = 0; i < 10; ++i) {
    steady->Receive(Bytes(frame).first(50), bed.now);
    bed.Pass(20'000);
    steady->Receive(Bytes(frame).subspan(50), bed.now);
    EXPECT_EQ(Frames(Drain(*steady, bed.now)).size(), 1u) << "each frame has its own deadline";
  }
}

TEST(ConnectionLimits, PausesReadingAboveTheBudgetButLetsOneFrameComeThrough) {
  PlaneOptions options;
  options.received_bytes_max = 10'000;
  Bed bed(FlushMode::kOs, options);
  bed.AddPartition(0);
  auto first = bed.Connect(), second = bed.Connect(), third = bed.Connect();
  const Buffer frame = ProduceFrame({.parts = {{0, MakeBatch({.value_bytes = 8000})}}});
  first->Receive(Bytes(frame).first(6000), bed.now);
  EXPECT_EQ(first->flags(), 0u);
  second->Receive(Bytes(frame).first(6000), bed.now);
  EXPECT_EQ(second->flags(), 0u) << "above, but somebody has to get through";
  third->Receive(Bytes(frame).first(6000), bed.now);
  EXPECT_EQ(third->flags(), uint32_t{kPauseReading});
  first->Receive(Bytes(frame).subspan(6000, 10), bed.now);
  EXPECT_EQ(first->flags(), uint32_t{kPauseReading});
  EXPECT_EQ(bed.Pass(29'000).size(), 0u);
  second->Receive(Bytes(frame).subspan(6000), bed.now);
  EXPECT_EQ(Frames(Drain(*second, bed.now)).size(), 1u);
  // 12,010 bytes are still held: now another one may.
  EXPECT_EQ(bed.Pass(29'000).size(), 1u) << "and no frame deadline ran while reading was paused";
  auto& lucky = first->flags() == 0 ? first : third;
  auto& other = first->flags() == 0 ? third : first;
  const size_t had = lucky == first ? 6010 : 6000;
  EXPECT_EQ(other->flags(), uint32_t{kPauseReading});
  lucky->Receive(Bytes(frame).subspan(had), bed.now);
  EXPECT_EQ(Frames(Drain(*lucky, bed.now)).size(), 1u);
  EXPECT_EQ(bed.Turn().size(), 1u);
  EXPECT_EQ(other->flags(), 0u);
  other->Close();
  EXPECT_EQ(HeldBytes(bed), 0u);
}

TEST(ConnectionLimits, ForgetsParkedRequestsWhenItCloses) {
  for (const FlushMode mode : {FlushMode::kCommit, FlushMode::kOs}) {
    Bed bed(mode);
    auto partition = bed.AddPartition(0);
    auto connection = bed.Connect();
    std::weak_ptr<Connection> weak = connection;
    connection->Receive(FetchFrame({}), bed.now);
    connection->Receive(ProduceFrame({.acks = -1}), bed.now);
    connection->Receive(FetchFrame({.parts = {{.offset = 1}}}), bed.now);
    connection->Receive(OtherFrame(3, 9, 1), bed.now);
    connection->Receive(Bytes(ProduceFrame({})).first(20), bed.now);
    connection->Close();
    EXPECT_EQ(connection->flags(), 0u);
    connection->Close();
    std::array<OutputPiece, 4> pieces;
    EXPECT_EQ(connection->PeekOutput(pieces), 0u);
    connection->Receive(ProduceFrame({}), bed.now);
    connection->Answer(3, OtherFrame(3, 9, 1), bed.now);
    EXPECT_EQ(HeldBytes(bed), 0u);
    connection = nullptr;
    auto other = bed.Connect();
    other->Receive(ProduceFrame({.acks = -1}), bed.now);
    bed.Step();
    bed.Pass(100'000);
    EXPECT_TRUE(weak.expired());
    EXPECT_EQ(bed.plane->Counters().parked_fetches, 0u);
    EXPECT_EQ(bed.plane->Counters().connections, 1u);
  }
}

TEST(ConnectionLimits, AllocatesNothingInSteadyState) {
  Bed bed;
  bed.AddPartition(0);
  auto producer = bed.Connect(), consumer = bed.Connect();
  const Buffer produce = ProduceFrame({.parts = {{0, MakeBatch({.value_bytes = 65'000})}}});
  int64_t offset = 0;
  std::array<OutputPiece, 8> pieces;
  std::vector<std::shared_ptr<Connection>> ready;
  ready.reserve(8);
  const auto send_all = [&](Connection& connection) {
    size_t total = 0;
    while (const size_t count = connection.PeekOutput(pieces)) {
      size_t bytes = 0;
      for (size_t i = 0; i < count; ++i) {
        bytes += pieces[i].bytes;
        pieces[i].segment = nullptr;
      }
      connection.ConsumeOutput(bytes, bed.now);
      total += bytes;
    }
    return total;
  };
  uint64_t counted = 0;
  int quiet_rounds = 0;
  for (int round = 0; round < 60; ++round) {
    const Buffer fetch = FetchFrame({.parts = {{.offset = offset}}});
    const Buffer fetch_by_id = FetchFrame({.version = 17, .max_wait_ms = 0, .parts = {{.offset = offset}}});
    const uint64_t before = allocations;
    consumer->Receive(fetch, bed.now);
    // Whole, and in pieces.
    if (round % 2 == 0) {
      producer->Receive(produce, bed.now);
    } else {
      for (size_t at = 0; at < produce.size(); at += 16'384)
        producer->Receive(Bytes(produce).subspan(at, std::min<size_t>(16'384, produce.size() - at)), bed.now);
    }
    ready.clear();
    bed.loop->Turn(bed.now, &ready);
    ASSERT_GT(send_all(*producer), 0u);
    ASSERT_GT(send_all(*consumer), 65'000u);
    consumer->Receive(fetch_by_id, bed.now);
    ASSERT_GT(send_all(*consumer), 65'000u);
    ready.clear();
    // The log itself may grow now and then (its file doubles); most rounds it does not.
    if (round >= 20) counted = std::max(counted, std::min<uint64_t>(allocations - before, 1'000));
    if (round >= 20 && allocations - before == 0) ++quiet_rounds;
    ++offset;
    bed.now.mono_ms += 1;
  }
  EXPECT_GE(quiet_rounds, 35) << "most in one round: " << counted;
}

}  // namespace
}  // namespace varve::test
