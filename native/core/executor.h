// SPDX-License-Identifier: Apache-2.0
// Executor: where helper work (flush, prefault, sealing, codec, cold reads) runs: on threads of one pool shared by the whole
// process, or inline, step by step, under a simulator. Work is never dropped: Stop() of an owner waits for its own.
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

/// The process-wide pool: `threads` of them are started when first used and stop when the last owner lets go.
std::shared_ptr<Executor> SharedThreadExecutor();

/// Runs nothing by itself: Step() runs what is due at `now_ms`, in order of posting; true when something ran.
class InlineExecutor : public Executor {
 public:
  virtual bool Step(int64_t now_ms) = 0;
};
std::shared_ptr<InlineExecutor> MakeInlineExecutor();

}  // namespace varve
