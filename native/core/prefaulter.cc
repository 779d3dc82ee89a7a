// SPDX-License-Identifier: Apache-2.0
#include "core/prefaulter.h"

#include <algorithm>

namespace varve {
namespace {

/// The rate of a log is looked at once per so many bytes.
constexpr uint64_t kStrideBytes = 256u << 10;

}  // namespace

AppendSpace::AppendSpace(std::shared_ptr<File> file, std::shared_ptr<Mapping> mapping, uint64_t allocated,
                         uint64_t capacity)
    : capacity_(capacity), file_(std::move(file)), mapping_(std::move(mapping)), allocated_(allocated) {}

Status AppendSpace::Reserve(uint64_t end) {
  if (end <= allocated()) return Status::Ok();
  std::lock_guard<std::mutex> lock(mutex_);
  if (end <= allocated()) return Status::Ok();
  return AllocateLocked(end);
}

Status AppendSpace::AllocateLocked(uint64_t end) {
  const uint64_t allocated = this->allocated();
  uint64_t target = std::min(std::max(end, allocated + step_), std::max(capacity_, end));
  Status status = file_->Allocate(target);
  if (!status.ok() && status.code() == Code::kNoSpace && target > end) {
    // The last bytes of a disk are still good for the batch at hand.
    target = end;
    status = file_->Allocate(target);
  }
  if (!status.ok()) return status;
  step_ = std::min(step_ * 2, kStepBytesMax);
  allocated_.store(target, std::memory_order_release);
  return Status::Ok();
}

uint64_t AppendSpace::WindowFor(uint64_t end, int64_t now_ms) {
  if (end < stride_end_ + kStrideBytes) return window_;
  const int64_t elapsed_ms = std::max<int64_t>(now_ms - stride_ms_, 0);
  const uint64_t grown = end - stride_end_;
  const bool first = stride_ms_ == 0;
  stride_end_ = end;
  stride_ms_ = now_ms;
  // Room for about 50 ms at the rate of the last stride.
  const uint64_t per_50_ms = grown * 50 / static_cast<uint64_t>(std::max<int64_t>(elapsed_ms, 1));
  window_ = first || per_50_ms < kStrideBytes / 4
                ? 0
                : std::clamp<uint64_t>(per_50_ms, kStrideBytes, kWindowBytesMax);
  return window_;
}

void AppendSpace::Advance(uint64_t end, int64_t now_ms, Executor& executor) {
  const uint64_t window = WindowFor(end, now_ms);
  if (window == 0) return;
  const uint64_t ready = std::max(prefaulted_.load(std::memory_order_relaxed), end);
  if (ready - end > window / 2 || ready >= capacity_) return;
  wanted_.store(std::min(end + window, capacity_), std::memory_order_relaxed);
  if (helper_posted_.exchange(true, std::memory_order_acq_rel)) return;
  // Where the helper starts; what lies before is being written by the appender itself.
  if (prefaulted_.load(std::memory_order_relaxed) < end) prefaulted_.store(end, std::memory_order_relaxed);
  // Weak: what waits for its turn must not keep a mapping that everybody else let go of.
  executor.Post([weak = weak_from_this()] {
    if (const std::shared_ptr<AppendSpace> self = weak.lock()) self->RunAhead();
  });
}

void AppendSpace::RunAhead() {
  for (;;) {
    std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t from = prefaulted_.load(std::memory_order_relaxed);
    const uint64_t wanted = wanted_.load(std::memory_order_relaxed);
    bool go_on = !closed_ && from < wanted;
    if (go_on && wanted > allocated()) go_on = AllocateLocked(wanted).ok();
    if (go_on && mapping_ != nullptr) {
      const uint64_t bytes = std::min(kPieceBytes, wanted - from);
      go_on = mapping_->Prefault(from, bytes).ok();
      prefaulted_.store(from + bytes, std::memory_order_relaxed);
    } else if (go_on) {
      prefaulted_.store(wanted, std::memory_order_relaxed);
    }
    if (!go_on) {
      // A failure is found again, and told, by the appender when it needs the space itself.
      helper_posted_.store(false, std::memory_order_release);
      return;
    }
  }
}

void AppendSpace::Close() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
}

void AppendSpace::Discard() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  file_.reset();
  mapping_.reset();
}

}  // namespace varve
