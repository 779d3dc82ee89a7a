// SPDX-License-Identifier: Apache-2.0
#include "core/flusher.h"

#include <algorithm>

namespace varve {

Flusher::Flusher(std::shared_ptr<Executor> executor, int64_t max_delay_ms)
    : executor_(std::move(executor)), max_delay_ms_(max_delay_ms) {}

void Flusher::Request(const std::shared_ptr<FlushTarget>& target) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!stopped_) EnqueueLocked(target);
}

void Flusher::EnqueueLocked(const std::shared_ptr<FlushTarget>& target) {
  if (target->running_) {
    target->again_ = true;
    return;
  }
  if (target->queued_) return;
  target->queued_ = true;
  queue_.push_back(target);
  PostHelperLocked();
}

void Flusher::PostHelperLocked() {
  if (helpers_ >= kParallelMax || queue_.size() <= static_cast<size_t>(helpers_ - running_)) return;
  ++helpers_;
  // Weak: work that an executor never gets to must not keep the flusher.
  executor_->Post([weak = weak_from_this()] {
    if (const std::shared_ptr<Flusher> self = weak.lock()) self->RunSome();
  });
}

void Flusher::RunSome() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (int turn = 0; turn < kTurnSyncsMax && !stopped_ && !queue_.empty(); ++turn) {
    const std::shared_ptr<FlushTarget> target = std::move(queue_.front());
    queue_.pop_front();
    target->queued_ = false;
    target->running_ = true;
    ++running_;
    lock.unlock();
    target->SyncNow();
    lock.lock();
    --running_;
    target->running_ = false;
    if (target->again_) {
      target->again_ = false;
      if (!stopped_) {
        target->queued_ = true;
        queue_.push_back(target);
      }
    }
  }
  --helpers_;
  if (!stopped_ && !queue_.empty()) PostHelperLocked();
  if (running_ == 0) idle_.notify_all();
}

void Flusher::RequestLater(const std::shared_ptr<FlushTarget>& target) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (stopped_ || target->queued_ || target->later_) return;
  target->later_ = true;
  coming_.push_back(target);
  ArmTimerLocked();
}

void Flusher::ArmTimerLocked() {
  if (timer_armed_) return;
  timer_armed_ = true;
  executor_->PostAfter(std::max<int64_t>(max_delay_ms_ / 2, 1), [weak = weak_from_this()] {
    if (const std::shared_ptr<Flusher> self = weak.lock()) self->Tick();
  });
}

void Flusher::Tick() {
  std::lock_guard<std::mutex> lock(mutex_);
  timer_armed_ = false;
  if (stopped_) return;
  for (const std::weak_ptr<FlushTarget>& weak : due_) {
    const std::shared_ptr<FlushTarget> target = weak.lock();
    if (!target) continue;
    target->later_ = false;
    EnqueueLocked(target);
  }
  due_ = std::move(coming_);
  coming_.clear();
  if (!due_.empty()) ArmTimerLocked();
}

void Flusher::Stop() {
  std::unique_lock<std::mutex> lock(mutex_);
  stopped_ = true;
  queue_.clear();
  idle_.wait(lock, [this] { return running_ == 0; });
}

}  // namespace varve
