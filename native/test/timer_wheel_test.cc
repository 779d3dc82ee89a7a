// SPDX-License-Identifier: Apache-2.0
// Goal: every timer fires once, never before its deadline, and no later than the first Advance at or behind
// it; against a model that keeps all deadlines in a sorted multimap.
#include "plane/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "plane/loop.h"

namespace varve {
namespace {

struct Probe {
  Probe() : timer([](void* self, const Now& now) { static_cast<Probe*>(self)->Fired(now); }, this) {}
  void Fired(const Now& now) {
    ++fired;
    fired_at_ms = now.mono_ms;
    if (on_fire) on_fire();
  }
  Timer timer;
  int fired = 0;
  int64_t fired_at_ms = -1;
  std::function<void()> on_fire;
};

TEST(TimerWheel, FiresAtTheDeadlineAndNotBefore) {
  for (const int64_t delay :
       {int64_t{0}, int64_t{1}, int64_t{255}, int64_t{256}, int64_t{257}, int64_t{65'535}, int64_t{65'536},
        int64_t{16'777'215}, int64_t{16'777'216}, int64_t{100'000'000}}) {
    for (const int64_t start :
         {int64_t{100'000'000'000}, int64_t{200'000'000'255}, int64_t{300'000'065'535}}) {
      TimerWheel fresh;
      fresh.Advance({start, 0});
      Probe probe;
      fresh.Arm(&probe.timer, start + delay);
      EXPECT_GE(fresh.NextDeadlineMs(), start + std::min(delay, int64_t{16'777'215}));
      EXPECT_LE(fresh.NextDeadlineMs(), start + delay);
      if (delay > 0) fresh.Advance({start + delay - 1, 0});
      EXPECT_EQ(probe.fired, 0) << delay;
      fresh.Advance({start + delay, 0});
      EXPECT_EQ(probe.fired, 1) << delay;
      EXPECT_FALSE(probe.timer.armed());
      EXPECT_EQ(fresh.NextDeadlineMs(), -1);
    }
  }
}

TEST(TimerWheel, FiresADeadlineThatIsAlreadyPastInTheNextAdvance) {
  TimerWheel wheel;
  wheel.Advance({1000, 0});
  Probe probe;
  wheel.Arm(&probe.timer, 5);
  wheel.Advance({1000, 0});
  EXPECT_EQ(probe.fired, 1);
}

TEST(TimerWheel, LetsACallbackArmAndCancelAnyTimer) {
  TimerWheel wheel;
  wheel.Advance({100, 0});
  Probe again, victim, late;
  again.on_fire = [&] {
    wheel.Arm(&again.timer, 100);  // past: not in this Advance, or it would never end
    victim.timer.Cancel();
    wheel.Arm(&late.timer, 140);
  };
  wheel.Arm(&again.timer, 120);
  wheel.Arm(&victim.timer, 120);
  wheel.Advance({120, 0});
  EXPECT_EQ(again.fired, 1);
  EXPECT_EQ(victim.fired, 0);
  wheel.Advance({130, 0});
  EXPECT_EQ(again.fired, 12) << "once for every millisecond that passed, and once for the first";
  again.timer.Cancel();
  wheel.Advance({1'000'000, 0});
  EXPECT_EQ(late.fired, 1);
  EXPECT_EQ(wheel.count(), 0u);
}

TEST(TimerWheel, ForgetsTimersThatAreDestroyed) {
  TimerWheel wheel;
  {
    Probe probe;
    wheel.Arm(&probe.timer, 10);
    EXPECT_EQ(wheel.count(), 1u);
  }
  EXPECT_EQ(wheel.count(), 0u);
  EXPECT_EQ(wheel.NextDeadlineMs(), -1);
  wheel.Advance({100, 0});
}

TEST(TimerWheel, AgreesWithASortedModelOverRandomRuns) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    TimerWheel wheel;
    int64_t now_ms = static_cast<int64_t>(random() % 1'000'000'000'000);
    wheel.Advance({now_ms, 0});
    std::vector<std::unique_ptr<Probe>> probes;
    for (int i = 0; i < 64; ++i) probes.push_back(std::make_unique<Probe>());
    std::vector<int64_t> deadlines(probes.size(), -1);
    for (int step = 0; step < 2000; ++step) {
      const size_t i = random() % probes.size();
      switch (random() % 4) {
        case 0:
          probes[i]->timer.Cancel();
          deadlines[i] = -1;
          break;
        case 1: {
          deadlines[i] = now_ms + static_cast<int64_t>(random() % (uint64_t{1} << (random() % 27)));
          wheel.Arm(&probes[i]->timer, deadlines[i]);
          break;
        }
        default: {
          const int64_t next_ms = wheel.NextDeadlineMs();
          int64_t earliest_ms = -1;
          for (const int64_t deadline : deadlines)
            if (deadline >= 0 && (earliest_ms < 0 || deadline < earliest_ms)) earliest_ms = deadline;
          ASSERT_EQ(next_ms >= 0, earliest_ms >= 0);
          ASSERT_LE(next_ms, earliest_ms);
          now_ms += static_cast<int64_t>(random() % (uint64_t{1} << (random() % 25)));
          std::vector<int> fired_before;
          for (const auto& probe : probes) fired_before.push_back(probe->fired);
          wheel.Advance({now_ms, 0});
          for (size_t p = 0; p < probes.size(); ++p) {
            const bool due = deadlines[p] >= 0 && deadlines[p] <= now_ms;
            ASSERT_EQ(probes[p]->fired - fired_before[p], due ? 1 : 0) << "seed " << seed << " step " << step;
            if (due) deadlines[p] = -1;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace varve
