// SPDX-License-Identifier: Apache-2.0
// AppendSpace: the room ahead of the append point of one active segment's file: allocated in growing steps,
// and, while the log is busy, allocated and faulted in ahead by a helper on the Executor, so that the
// appending thread neither faults nor waits for the file system. Does not know what is written there.
//
// Steps: nothing before the first append, then 64 KiB, doubling up to 16 MiB at a time, never beyond the
// capacity. A log that is idle or slow gets no prefault window: ten thousand of them must not dirty pages
// that nobody writes.
//
// Threading: Reserve and Advance are the appender's (under the append lock). The helper runs on the Executor;
// the one lock here keeps the two from changing the file's size at the same time. Close() ends the helper and
// is safe against one under way.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "core/executor.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

class AppendSpace : public std::enable_shared_from_this<AppendSpace> {
 public:
  static constexpr uint64_t kFirstStepBytes = 64u << 10;
  static constexpr uint64_t kStepBytesMax = 16u << 20;
  static constexpr uint64_t kWindowBytesMax = 4u << 20;

  /// `allocated`: the file's size now. `mapping` null: nothing to fault in.
  AppendSpace(std::shared_ptr<File> file, std::shared_ptr<Mapping> mapping, uint64_t allocated,
              uint64_t capacity);

  /// Makes [0, end) of the file real. The helper has mostly done it already: then this is one load.
  Status Reserve(uint64_t end);

  /// The append point is at `end` now; posts the helper when the log is busy and the window runs low.
  void Advance(uint64_t end, int64_t now_ms, Executor& executor);

  /// No more helper work; waits for a piece under way. The space stays as it is.
  void Close();
  /// Close, and lets go of the file and its mapping, whoever still holds this. Not with an append under way.
  void Discard();

  uint64_t allocated() const { return allocated_.load(std::memory_order_acquire); }

 private:
  /// Of one Prefault call: how long Close and Reserve may have to wait.
  static constexpr uint64_t kPieceBytes = 512u << 10;

  Status AllocateLocked(uint64_t end);
  uint64_t WindowFor(uint64_t end, int64_t now_ms);
  void RunAhead();

  const uint64_t capacity_;

  std::mutex mutex_;  ///< guards the file's size and what follows
  std::shared_ptr<File> file_;
  std::shared_ptr<Mapping> mapping_;
  uint64_t step_ = kFirstStepBytes;
  bool closed_ = false;
  std::atomic<uint64_t> allocated_;

  std::atomic<uint64_t> wanted_{0};  ///< the helper works up to here
  std::atomic<uint64_t> prefaulted_{0};
  std::atomic<bool> helper_posted_{false};

  // The appender's own: how fast the log grows.
  uint64_t stride_end_ = 0;
  int64_t stride_ms_ = 0;
  uint64_t window_ = 0;
};

}  // namespace varve
