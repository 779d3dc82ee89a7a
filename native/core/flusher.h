// SPDX-License-Identifier: Apache-2.0
// Flusher: group commit for the logs of one directory. A log that has something to make durable is queued
// once; helpers on the Executor take one log at a time and sync it, a few logs in parallel, each a few times in a row. What is appended
// while a sync is under way waits for the next one: that is the group. Owns no log and no file; a target's
// SyncNow does the work.
//
// Two urgencies: Request (somebody waits: a Flush, an acks=all append) starts as soon as a helper is free;
// RequestLater (nobody waits) within `max_delay_ms`.
//
// Threading: any thread. Stop() waits for syncs under way.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "core/executor.h"

namespace varve {

class FlushTarget {
 public:
  virtual ~FlushTarget() = default;
  /// Makes durable what was appended before the call, and tells whom it may concern. Never two at a time for
  /// one target.
  virtual void SyncNow() = 0;

 private:
  friend class Flusher;
  // Guarded by the flusher's lock.
  bool queued_ = false;
  bool running_ = false;
  bool again_ = false;
  bool later_ = false;
};

class Flusher : public std::enable_shared_from_this<Flusher> {
 public:
  Flusher(std::shared_ptr<Executor> executor, int64_t max_delay_ms);

  void Request(const std::shared_ptr<FlushTarget>& target);
  void RequestLater(const std::shared_ptr<FlushTarget>& target);
  /// Nothing is started any more; waits for what is running. Idempotent.
  void Stop();

 private:
  static constexpr int kParallelMax = 4;
  /// A busy log's next sync costs no hand-over to another thread; after a few, other work of the executor (prefault, seals)
  /// gets its turn.
  static constexpr int kTurnSyncsMax = 4;

  void EnqueueLocked(const std::shared_ptr<FlushTarget>& target);
  void PostHelperLocked();
  void ArmTimerLocked();
  void RunSome();
  void Tick();

  const std::shared_ptr<Executor> executor_;
  const int64_t max_delay_ms_;

  std::mutex mutex_;
  std::condition_variable idle_;
  std::deque<std::shared_ptr<FlushTarget>> queue_;
  int helpers_ = 0;  ///< posted or running
  int running_ = 0;
  bool stopped_ = false;
  // Unhurried targets: a tick, twice per delay, queues those that had come before the tick before it.
  std::vector<std::weak_ptr<FlushTarget>> coming_;
  std::vector<std::weak_ptr<FlushTarget>> due_;
  bool timer_armed_ = false;
};

}  // namespace varve
