// SPDX-License-Identifier: Apache-2.0
// Executor: the shared pool (order in time, life, who waits for whom) and the stepped one of the simulator.
#include "core/executor.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace varve {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

/// Waits until it was counted down, at most a while.
class Countdown {
 public:
  explicit Countdown(int count) : count_(count) {}
  void Down() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--count_ <= 0) zero_.notify_all();
  }
  bool Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    return zero_.wait_until(lock, SteadyClock::now() + std::chrono::seconds(30), [&] { return count_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable zero_;
  int count_;
};

/// This process's threads that have the pool's name.
size_t PoolThreads() {
  size_t count = 0;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::FILE* file = std::fopen((task.path() / "comm").c_str(), "r");
    if (file == nullptr) continue;
    char name[32] = {};
    if (std::fgets(name, sizeof name, file) != nullptr && std::string(name) == "varve-pool\n") count++;
    std::fclose(file);
  }
  return count;
}

/// Detached threads take a moment to go.
bool PoolThreadsGone() {
  for (int i = 0; i < 1000; i++) {
    if (PoolThreads() == 0) return true;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return false;
}

TEST(SharedThreadExecutor, RunsAllThatWasPostedFromManyThreads) {
  auto executor = SharedThreadExecutor();
  constexpr int kThreads = 4;
  constexpr int kEach = 2'000;
  Countdown done(kThreads * kEach);
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; t++) {
    posters.emplace_back([&] {
      for (int i = 0; i < kEach; i++) {
        if (i % 3 == 0) {
          executor->PostAfter(i % 7, [&] { done.Down(); });
        } else {
          executor->Post([&] { done.Down(); });
        }
      }
    });
  }
  for (std::thread& poster : posters) poster.join();
  EXPECT_TRUE(done.Wait());
}

TEST(SharedThreadExecutor, IsOnePoolOfNamedThreadsThatComeWhenNeeded) {
  ASSERT_TRUE(PoolThreadsGone());
  auto executor = SharedThreadExecutor();
  EXPECT_EQ(executor, SharedThreadExecutor());
  EXPECT_EQ(PoolThreads(), 0u) << "started before there was work";
  size_t threads_max = static_cast<size_t>(std::clamp<long>(sysconf(_SC_NPROCESSORS_ONLN), 2, 8));
  // As many works as threads, each waiting for all others: they must really run at once.
  Countdown all_there(static_cast<int>(threads_max));
  Countdown done(static_cast<int>(threads_max));
  std::atomic<int> waited{0};
  for (size_t i = 0; i < threads_max; i++) {
    executor->Post([&] {
      all_there.Down();
      if (all_there.Wait()) waited++;
      done.Down();
    });
  }
  ASSERT_TRUE(done.Wait());
  EXPECT_EQ(waited.load(), static_cast<int>(threads_max));
  EXPECT_EQ(PoolThreads(), threads_max);
  executor.reset();
  EXPECT_EQ(PoolThreads(), 0u) << "they stop with the last owner";
}

TEST(SharedThreadExecutor, LeavesSignalsToTheProgramsOwnThreads) {
  auto executor = SharedThreadExecutor();
  Countdown done(1);
  sigset_t blocked;
  sigemptyset(&blocked);
  executor->Post([&] {
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    done.Down();
  });
  ASSERT_TRUE(done.Wait());
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD})
    EXPECT_TRUE(sigismember(&blocked, signal)) << signal;
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) EXPECT_FALSE(sigismember(&blocked, fault)) << fault;
  sigset_t own;
  pthread_sigmask(SIG_BLOCK, nullptr, &own);
  EXPECT_FALSE(sigismember(&own, SIGTERM)) << "the caller's mask is as it was";
}

TEST(SharedThreadExecutor, RunsDelayedWorkInOrderAndNotBeforeItsTime) {
  auto executor = SharedThreadExecutor();
  std::mutex mutex;
  std::vector<int> order;
  std::atomic<int> early{0};
  Countdown done(4);
  auto start = SteadyClock::now();
  for (int delay_ms : {120, 40, 80, 0}) {
    executor->PostAfter(delay_ms, [&, delay_ms] {
      if (SteadyClock::now() - start < milliseconds(delay_ms)) early++;
      {
        std::lock_guard<std::mutex> lock(mutex);
        order.push_back(delay_ms);
      }
      done.Down();
    });
  }
  ASSERT_TRUE(done.Wait());
  EXPECT_EQ(early.load(), 0);
  EXPECT_EQ(order, (std::vector<int>{0, 40, 80, 120}));
}

TEST(SharedThreadExecutor, IsWokenByAnEarlierTimeThanTheOneItWaitsFor) {
  auto executor = SharedThreadExecutor();
  std::atomic<bool> far{false};
  executor->PostAfter(60'000, [&] { far = true; });
  std::this_thread::sleep_for(milliseconds(20));
  Countdown near(2);
  executor->PostAfter(10, [&] { near.Down(); });
  executor->Post([&] { near.Down(); });
  EXPECT_TRUE(near.Wait());
  EXPECT_FALSE(far.load());
  executor.reset();
  EXPECT_TRUE(far.load()) << "work is never dropped: what was to come is run when the pool ends";
}

TEST(SharedThreadExecutor, KeepsTimeWhileOneThreadIsBusy) {
  auto executor = SharedThreadExecutor();
  std::atomic<bool> release{false};
  Countdown blocked(1);
  Countdown done(1);
  executor->Post([&] {
    blocked.Down();
    while (!release) std::this_thread::sleep_for(milliseconds(1));
  });
  ASSERT_TRUE(blocked.Wait());
  executor->PostAfter(20, [&] { done.Down(); });
  EXPECT_TRUE(done.Wait()) << "another thread keeps the clock";
  release = true;
}

TEST(SharedThreadExecutor, FinishesWhatIsQueuedBeforeTheLastOwnerIsGone) {
  std::atomic<int> ran{0};
  for (int round = 0; round < 50; round++) {
    auto executor = SharedThreadExecutor();
    for (int i = 0; i < 20; i++) executor->Post([&] { ran++; });
    executor->PostAfter(3'600'000, [&] { ran++; });
    executor.reset();
    ASSERT_EQ(ran.load(), 21 * (round + 1));
  }
}

TEST(SharedThreadExecutor, MayBeLetGoByItsOwnWork) {
  for (int round = 0; round < 50; round++) {
    auto executor = SharedThreadExecutor();
    Executor* raw = executor.get();
    auto ran = std::make_shared<std::atomic<int>>(0);
    Countdown done(5);
    for (int i = 0; i < 4; i++) {
      raw->Post([&, ran] {
        (*ran)++;
        done.Down();
      });
    }
    // Moved in: this thread has no share any more, the work's end is the executor's.
    raw->Post([owner = std::move(executor), ran, &done]() mutable {
      owner.reset();
      (*ran)++;
      done.Down();
    });
    ASSERT_TRUE(done.Wait());
    ASSERT_EQ(ran->load(), 5);
  }
  EXPECT_TRUE(PoolThreadsGone());
}

TEST(SharedThreadExecutor, DestroysWorkOutsideOfItsLock) {
  auto executor = SharedThreadExecutor();
  Countdown done(1);
  // What the work holds posts again when it goes.
  struct PostsAtEnd {
    Executor* executor;
    Countdown* done;
    ~PostsAtEnd() {
      Countdown* then = done;
      executor->Post([then] { then->Down(); });
    }
  };
  executor->Post([held = std::shared_ptr<PostsAtEnd>(new PostsAtEnd{executor.get(), &done})] {});
  EXPECT_TRUE(done.Wait());
}

/// An end while threads of the pool are at work and more is queued, with static objects going under them
/// (exit) or not (quick_exit): the process ends all the same, with its own exit code.
TEST(SharedThreadExecutor, DoesNotKeepAProcessFromExiting) {
  ASSERT_TRUE(PoolThreadsGone());
  for (int round = 0; round < 10; round++) {
    pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      alarm(20);
      auto* executor = new std::shared_ptr<Executor>(SharedThreadExecutor());
      for (int i = 0; i < 200; i++) {
        (*executor)->Post([] { std::this_thread::sleep_for(milliseconds(1)); });
        (*executor)->PostAfter(i, [] { std::this_thread::sleep_for(milliseconds(1)); });
      }
      std::this_thread::sleep_for(milliseconds(round));
      if (round % 2 == 0) std::quick_exit(17);
      std::exit(17);
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 17);
  }
}

TEST(InlineExecutor, RunsNothingByItself) {
  auto executor = MakeInlineExecutor();
  bool ran = false;
  executor->Post([&] { ran = true; });
  EXPECT_FALSE(ran);
  EXPECT_TRUE(executor->Step(0));
  EXPECT_TRUE(ran);
  EXPECT_FALSE(executor->Step(0));
}

TEST(InlineExecutor, RunsWhatIsDueInOrderOfTimeThenOfPosting) {
  auto executor = MakeInlineExecutor();
  std::string order;
  executor->Step(1'000);
  executor->PostAfter(20, [&] { order += 'd'; });
  executor->PostAfter(10, [&] { order += 'b'; });
  executor->Post([&] { order += 'a'; });
  executor->PostAfter(10, [&] { order += 'c'; });
  EXPECT_TRUE(executor->Step(1'009));
  EXPECT_EQ(order, "a");
  EXPECT_FALSE(executor->Step(1'009));
  EXPECT_TRUE(executor->Step(1'010));
  EXPECT_EQ(order, "abc");
  EXPECT_TRUE(executor->Step(5'000));
  EXPECT_EQ(order, "abcd");
}

TEST(InlineExecutor, RunsWhatWorkPostsInTheSameStepAndEndsAllTheSame) {
  auto executor = MakeInlineExecutor();
  std::string order;
  executor->Post([&] {
    order += 'a';
    executor->Post([&] {
      order += 'c';
      executor->PostAfter(1, [&] { order += 'd'; });
    });
  });
  executor->Post([&] { order += 'b'; });
  EXPECT_TRUE(executor->Step(0));
  EXPECT_EQ(order, "abc");
  EXPECT_TRUE(executor->Step(1));
  EXPECT_EQ(order, "abcd");
  std::function<void()> again = [&] { executor->Post(again); };
  executor->Post(again);
  EXPECT_TRUE(executor->Step(2)) << "returns although it never ends";
}

TEST(InlineExecutor, CountsADelayFromTheStepThatPosts) {
  auto executor = MakeInlineExecutor();
  std::vector<int64_t> at;
  int64_t now = 0;
  std::function<void()> tick = [&] {
    at.push_back(now);
    executor->PostAfter(100, tick);
  };
  executor->PostAfter(100, tick);
  for (now = 0; now <= 1'000; now += 30) executor->Step(now);
  // Each at the first step behind the last one's time plus 100.
  EXPECT_EQ(at, (std::vector<int64_t>{120, 240, 360, 480, 600, 720, 840, 960}));
}

TEST(InlineExecutor, TakesWorkFromOtherThreads) {
  auto executor = MakeInlineExecutor();
  std::atomic<int> ran{0};
  std::vector<std::thread> posters;
  for (int t = 0; t < 3; t++) {
    posters.emplace_back([&] {
      for (int i = 0; i < 500; i++) executor->Post([&] { ran++; });
    });
  }
  while (ran < 1'500) executor->Step(0);
  for (std::thread& poster : posters) poster.join();
  EXPECT_EQ(ran.load(), 1'500);
}

}  // namespace
}  // namespace varve
