// SPDX-License-Identifier: Apache-2.0
// Goal: news from other threads reaches the owner once and with one wake-up; nothing is lost between a Turn and a Post.
#include "plane/loop.h"

#include <gtest/gtest.h>

#include <thread>

#include "test/plane_fixtures.h"

namespace varve::test {
namespace {

TEST(Loop, WakesItsOwnerOnceBetweenTurns) {
  Bed bed;
  auto first = bed.Connect(), second = bed.Connect();
  bed.loop->Post(first);
  bed.loop->Post(second);
  bed.loop->Post(first);
  EXPECT_EQ(bed.wakes, 1);
  bed.Turn();
  bed.loop->Post(first);
  EXPECT_EQ(bed.wakes, 2);
  bed.Turn();
  EXPECT_EQ(bed.wakes, 2);
}

TEST(Loop, NamesAConnectionOnceAndOnlyWhenItHasNews) {
  Bed bed;
  bed.AddPartition(0);
  auto idle = bed.Connect(), consumer = bed.Connect(), producer = bed.Connect();
  consumer->Receive(FetchFrame({.correlation_id = 1}), bed.now);
  consumer->Receive(FetchFrame({.correlation_id = 2}), bed.now);
  bed.loop->Post(idle);
  EXPECT_TRUE(bed.Turn().empty());
  producer->Receive(ProduceFrame({}), bed.now);
  bed.loop->Post(idle);
  EXPECT_EQ(bed.Turn(), (std::vector<std::shared_ptr<Connection>>{consumer}));
  EXPECT_EQ(DrainFrames(*consumer, bed.now).size(), 2u);
  EXPECT_TRUE(bed.Turn().empty());
}

TEST(Loop, KeepsAConnectionAliveInTheMailboxUntilItIsClosed) {
  Bed bed;
  auto connection = bed.Connect();
  std::weak_ptr<Connection> weak = connection;
  bed.loop->Post(connection);
  connection = nullptr;
  ASSERT_FALSE(weak.expired());
  weak.lock()->Close();
  EXPECT_TRUE(weak.expired()) << "no Turn may come any more";
  EXPECT_TRUE(bed.Turn().empty());
  auto closed = bed.Connect();
  closed->Close();
  weak = closed;
  bed.loop->Post(closed);
  closed = nullptr;
  EXPECT_TRUE(weak.expired()) << "and nobody posts it again";
}

TEST(Loop, TellsTheEarliestDeadlineOfAllItsConnections) {
  Bed bed;
  bed.AddPartition(0);
  auto first = bed.Connect(), second = bed.Connect();
  EXPECT_EQ(bed.loop->NextDeadlineMs(), -1);
  first->Receive(FetchFrame({.max_wait_ms = 900}), bed.now);
  EXPECT_EQ(bed.loop->NextDeadlineMs(), bed.now.mono_ms + 900);
  second->Receive(FetchFrame({.max_wait_ms = 20}), bed.now);
  EXPECT_EQ(bed.loop->NextDeadlineMs(), bed.now.mono_ms + 20);
  EXPECT_EQ(bed.Pass(20), (std::vector<std::shared_ptr<Connection>>{second}));
  Drain(*second, bed.now);
  EXPECT_GT(bed.loop->NextDeadlineMs(), bed.now.mono_ms);
  EXPECT_LE(bed.loop->NextDeadlineMs(), bed.now.mono_ms + 880);
  EXPECT_EQ(bed.Pass(880), (std::vector<std::shared_ptr<Connection>>{first}));
}

TEST(Loop, LosesNoPostThatRacesWithATurn) {
  std::atomic<int> wakes{0};
  Bed bed;
  bed.AddPartition(0);
  auto other_loop = Loop::Create([&] { ++wakes; });
  auto consumer = Connection::Create(bed.plane, other_loop);
  constexpr int kRounds = 300;
  std::atomic<int> fetched{0};
  std::thread owner([&] {
    Now now = bed.now;
    std::vector<std::shared_ptr<Connection>> ready;
    for (int round = 0; round < kRounds; ++round) {
      consumer->Receive(FetchFrame({.max_wait_ms = 60'000, .parts = {{.offset = round}}}), now);
      while ((consumer->flags() & kHasOutput) == 0) {
        ready.clear();
        other_loop->Turn(now, &ready);
        std::this_thread::yield();
      }
      EXPECT_EQ(BaseOffsets(ReadFetched(DrainFrames(*consumer, now).at(0), 12).parts[0].records).at(0),
                round);
      ++fetched;
    }
    consumer->Close();
  });
  auto producer = bed.Connect();
  for (int round = 0; round < kRounds; ++round) {
    producer->Receive(ProduceFrame({}), bed.now);
    Drain(*producer, bed.now);
    while (fetched <= round) std::this_thread::yield();
  }
  owner.join();
  EXPECT_LE(wakes, kRounds);
}

}  // namespace
}  // namespace varve::test
