// SPDX-License-Identifier: Apache-2.0
// TaskGate: lets an owner end its background work: work that is posted but has not begun does nothing after
// Shut(), and Shut() waits for what is running. (What an InlineExecutor has queued never runs by itself, so
// waiting for queued work could be for ever.)
#pragma once

#include <condition_variable>
#include <mutex>

namespace varve {

class TaskGate {
 public:
  /// False after Shut(): do nothing.
  bool Enter() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (shut_) return false;
    ++running_;
    return true;
  }
  void Leave() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--running_ == 0) idle_.notify_all();
  }
  /// Not from within the gate.
  void Shut() {
    std::unique_lock<std::mutex> lock(mutex_);
    shut_ = true;
    idle_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable idle_;
  int running_ = 0;
  bool shut_ = false;
};

/// One entry into a gate, left at the end of the block.
class GateEntry {
 public:
  explicit GateEntry(TaskGate& gate) : gate_(gate), entered_(gate.Enter()) {}
  ~GateEntry() {
    if (entered_) gate_.Leave();
  }
  GateEntry(const GateEntry&) = delete;
  GateEntry& operator=(const GateEntry&) = delete;
  explicit operator bool() const { return entered_; }

 private:
  TaskGate& gate_;
  const bool entered_;
};

}  // namespace varve
