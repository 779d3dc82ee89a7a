// SPDX-License-Identifier: Apache-2.0
#include "core/executor.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace varve {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Work = std::function<void()>;

constexpr int64_t kDelayMsMax = int64_t{1000} * 60 * 60 * 24 * 365;

/// The queue and the threads that serve it. Each thread holds a reference, so that the pool outlives its
/// handle when that is let go by work on one of these threads.
///
/// Idle threads wait on `work_`, except one, the timekeeper, that waits on `clock_` for the next delayed
/// work: an earlier one wakes it alone. A thread that leaves to run work hands the clock to an idle one; when
/// none is idle, whoever is done first looks.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  explicit Pool(size_t threads_max) : threads_max_(threads_max) {}

  void Post(Work work) {
    std::unique_lock<std::mutex> lock(mutex_);
    ready_.push_back(std::move(work));
    WakeOne();
  }

  void PostAfter(int64_t delay_ms, Work work) {
    if (delay_ms <= 0) return Post(std::move(work));
    auto due = SteadyClock::now() + std::chrono::milliseconds(std::min(delay_ms, kDelayMsMax));
    std::unique_lock<std::mutex> lock(mutex_);
    auto at = delayed_.emplace(due, std::move(work));
    if (at == delayed_.begin()) WakeTimekeeper();
  }

  /// Runs what is queued (delayed work at once) and ends the threads. Waits for them, unless this is one of
  /// them.
  void Stop() {
    std::vector<pthread_t> threads;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      stopping_ = true;
      threads.swap(threads_);
      work_.notify_all();
      clock_.notify_all();
    }
    bool own = std::any_of(threads.begin(), threads.end(),
                           [](pthread_t thread) { return pthread_equal(thread, pthread_self()) != 0; });
    for (pthread_t thread : threads) {
      if (own) {
        pthread_detach(thread);
      } else {
        pthread_join(thread, nullptr);
      }
    }
  }

 private:
  void WakeOne() {
    if (idle_ > 0) {
      work_.notify_one();
    } else if (timekeeper_) {
      clock_.notify_one();
    } else {
      StartThread();
    }
  }

  void WakeTimekeeper() {
    if (timekeeper_) {
      clock_.notify_one();
    } else if (idle_ > 0) {
      work_.notify_one();
    } else {
      StartThread();
    }
  }

  void StartThread() {
    if (stopping_ || threads_.size() >= threads_max_) return;
    // The embedding program's signals are its own threads' matter; faults stay deliverable.
    sigset_t blocked;
    sigset_t before;
    sigfillset(&blocked);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF}) sigdelset(&blocked, fault);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    auto* self = new std::shared_ptr<Pool>(shared_from_this());
    pthread_t thread;
    int failed = pthread_create(&thread, nullptr, &Pool::Main, self);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (failed == 0) {
      threads_.push_back(thread);
      return;
    }
    delete self;
    if (!threads_.empty()) return;
    std::fprintf(stderr,
                 "varve: no thread can be started (error %d): raise the limit of processes (ulimit -u)\n",
                 failed);
    std::abort();
  }

  static void* Main(void* argument) {
    auto* holder = static_cast<std::shared_ptr<Pool>*>(argument);
    std::shared_ptr<Pool> pool = std::move(*holder);
    delete holder;
    pthread_setname_np(pthread_self(), "varve-pool");
    pool->Serve();
    return nullptr;
  }

  void Serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      CollectDue();
      if (!ready_.empty()) {
        Work work = std::move(ready_.front());
        ready_.pop_front();
        if (!ready_.empty()) {
          WakeOne();
        } else if (!delayed_.empty() && !timekeeper_) {
          WakeTimekeeper();
        }
        lock.unlock();
        work();
        work = nullptr;
        lock.lock();
      } else if (stopping_) {
        return;
      } else if (!delayed_.empty() && !timekeeper_) {
        timekeeper_ = true;
        // A copy: another thread may take that work while this one looks at the time.
        SteadyClock::time_point due = delayed_.begin()->first;
        clock_.wait_until(lock, due);
        timekeeper_ = false;
      } else {
        idle_++;
        work_.wait(lock);
        idle_--;
      }
    }
  }

  void CollectDue() {
    if (delayed_.empty()) return;
    auto end = stopping_ ? delayed_.end() : delayed_.upper_bound(SteadyClock::now());
    for (auto at = delayed_.begin(); at != end; ++at) ready_.push_back(std::move(at->second));
    delayed_.erase(delayed_.begin(), end);
  }

  const size_t threads_max_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable clock_;
  std::deque<Work> ready_;
  std::multimap<SteadyClock::time_point, Work> delayed_;  // equal times keep the order of posting
  std::vector<pthread_t> threads_;
  size_t idle_ = 0;
  bool timekeeper_ = false;
  bool stopping_ = false;
};

class ThreadExecutor : public Executor {
 public:
  explicit ThreadExecutor(size_t threads_max) : pool_(std::make_shared<Pool>(threads_max)) {}
  ~ThreadExecutor() override { pool_->Stop(); }
  void Post(Work work) override { pool_->Post(std::move(work)); }
  void PostAfter(int64_t delay_ms, Work work) override { pool_->PostAfter(delay_ms, std::move(work)); }

 private:
  std::shared_ptr<Pool> pool_;
};

/// One queue in order of (due, posting). Work that is posted while a Step runs belongs to this Step, up to a
/// bound: work that posts itself again for ever must not hold the simulator's clock.
class StepExecutor : public InlineExecutor {
 public:
  void Post(Work work) override { PostAfter(0, std::move(work)); }

  void PostAfter(int64_t delay_ms, Work work) override {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.emplace(now_ms_ + std::clamp<int64_t>(delay_ms, 0, kDelayMsMax), std::move(work));
  }

  bool Step(int64_t now_ms) override {
    int run = 0;
    while (run < kRunsMax) {
      Work work;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        now_ms_ = std::max(now_ms_, now_ms);
        auto first = queue_.begin();
        if (first == queue_.end() || first->first > now_ms_) break;
        work = std::move(first->second);
        queue_.erase(first);
      }
      work();
      run++;
    }
    return run > 0;
  }

 private:
  static constexpr int kRunsMax = 100'000;
  std::mutex mutex_;
  std::multimap<int64_t, Work> queue_;
  int64_t now_ms_ = 0;
};

}  // namespace

std::shared_ptr<Executor> SharedThreadExecutor() {
  // Never destroyed: work may still run while a process's static objects go.
  static auto* mutex = new std::mutex;
  static auto* shared = new std::weak_ptr<Executor>;
  std::lock_guard<std::mutex> lock(*mutex);
  std::shared_ptr<Executor> executor = shared->lock();
  if (!executor) {
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    executor = std::make_shared<ThreadExecutor>(static_cast<size_t>(std::clamp<int64_t>(cores, 2, 8)));
    *shared = executor;
  }
  return executor;
}

std::shared_ptr<InlineExecutor> MakeInlineExecutor() { return std::make_shared<StepExecutor>(); }

}  // namespace varve
