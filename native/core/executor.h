// SPDX-License-Identifier: Apache-2.0
// Executor: where helper work (flush, prefault, sealing, codec, cold reads) runs: on threads of one pool
// shared by the whole process, or inline, step by step, under a simulator. Work is never dropped: Stop() of
// an owner waits for its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace varve {

class Executor {
 public:
  virtual ~Executor() = default;
  /// Runs `work` soon, on another thread (pool) or at the next Step() (inline). From any thread.
  virtual void Post(std::function<void()> work) = 0;
  /// Runs `work` not before `delay_ms` from now.
  virtual void PostAfter(int64_t delay_ms, std::function<void()> work) = 0;
};

/// The process-wide pool: as many threads as cores (2 to 8), each started when there is work for it, all
/// stopped when the last owner lets go: then what is queued is run first, delayed work at once. Letting go
/// waits for that, except on a thread of the pool itself, where it returns at once.
std::shared_ptr<Executor> SharedThreadExecutor();

/// Runs nothing by itself: Step() runs what is due at `now_ms`, in order of posting; true when something ran.
/// What work posts while a Step runs belongs to it when due, so one Step leaves nothing due behind (up to
/// 100,000 works). Delays count from the last Step's time. Work left when it goes is dropped: the machine it
/// stood for is gone.
class InlineExecutor : public Executor {
 public:
  virtual bool Step(int64_t now_ms) = 0;
};
std::shared_ptr<InlineExecutor> MakeInlineExecutor();

}  // namespace varve
