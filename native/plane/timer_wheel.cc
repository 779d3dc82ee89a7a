// SPDX-License-Identifier: Apache-2.0
#include "plane/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "plane/loop.h"

namespace varve {

void Timer::Cancel() {
  if (wheel_ != nullptr) wheel_->Remove(this);
}

TimerWheel::~TimerWheel() {
  for (Bucket& bucket : buckets_)
    while (bucket.first != nullptr) Remove(bucket.first);
}

void TimerWheel::Append(uint32_t index, Timer* timer, int64_t due_ms) {
  Bucket& bucket = buckets_[index];
  timer->bucket_ = static_cast<uint16_t>(index);
  timer->previous_ = bucket.last;
  timer->next_ = nullptr;
  (bucket.last != nullptr ? bucket.last->next_ : bucket.first) = timer;
  bucket.last = timer;
  bucket.earliest_ms = timer->previous_ == nullptr ? due_ms : std::min(bucket.earliest_ms, due_ms);
  if (index < kFiring) used_[index / 64] |= uint64_t{1} << (index % 64);
}

void TimerWheel::Insert(Timer* timer) {
  constexpr int64_t kFarthest = (int64_t{1} << (kLevels * kBucketBits)) - 1;
  // A deadline beyond the wheel waits in its last bucket and is dealt again from there.
  const int64_t delay = std::clamp<int64_t>(timer->deadline_ms_ - current_ms_, 0, kFarthest);
  const int64_t due_ms = current_ms_ + delay;
  uint32_t level = 0;
  while (delay >> (kBucketBits * (level + 1)) != 0) ++level;
  const auto slot = static_cast<uint32_t>(due_ms >> (kBucketBits * level)) & (kBuckets - 1);
  Append(level * kBuckets + slot, timer, std::min(due_ms, timer->deadline_ms_));
}

void TimerWheel::Remove(Timer* timer) {
  Bucket& bucket = buckets_[timer->bucket_];
  (timer->previous_ != nullptr ? timer->previous_->next_ : bucket.first) = timer->next_;
  (timer->next_ != nullptr ? timer->next_->previous_ : bucket.last) = timer->previous_;
  if (bucket.first == nullptr && timer->bucket_ < kFiring)
    used_[timer->bucket_ / 64] &= ~(uint64_t{1} << (timer->bucket_ % 64));
  timer->wheel_ = nullptr;
  --count_;
}

void TimerWheel::Arm(Timer* timer, int64_t deadline_ms) {
  timer->Cancel();
  timer->deadline_ms_ = deadline_ms;
  timer->wheel_ = this;
  ++count_;
  Insert(timer);
}

int32_t TimerWheel::NextUsed(uint32_t level, uint32_t from) const {
  const uint64_t* words = &used_[level * kBuckets / 64];
  constexpr uint32_t kWords = kBuckets / 64;
  for (uint32_t i = 0; i <= kWords; ++i) {
    const uint32_t word = (from / 64 + i) % kWords;
    uint64_t bits = words[word];
    if (i == 0) bits &= ~uint64_t{0} << (from % 64);
    if (i == kWords) bits &= (uint64_t{1} << (from % 64)) - 1;
    if (bits != 0) {
      const uint32_t found = word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
      return static_cast<int32_t>((found - from) & (kBuckets - 1));
    }
  }
  return -1;
}

int32_t TimerWheel::NextTurn(uint32_t level) const {
  const auto here = static_cast<uint32_t>(current_ms_ >> (kBucketBits * level)) & (kBuckets - 1);
  // Past the start of its turn a bucket of a higher level holds what belongs to the next round only.
  const bool turn_passed = (current_ms_ & ((int64_t{1} << (kBucketBits * level)) - 1)) != 0;
  const int32_t distance = NextUsed(level, (here + (turn_passed ? 1 : 0)) & (kBuckets - 1));
  return distance < 0 ? -1 : distance + (turn_passed ? 1 : 0);
}

void TimerWheel::Cascade(uint32_t level) {
  const auto slot = static_cast<uint32_t>(current_ms_ >> (kBucketBits * level)) & (kBuckets - 1);
  const uint32_t index = level * kBuckets + slot;
  Bucket& bucket = buckets_[index];
  Timer* timer = bucket.first;
  bucket.first = bucket.last = nullptr;
  used_[index / 64] &= ~(uint64_t{1} << (index % 64));
  while (timer != nullptr) {
    Timer* next = timer->next_;
    Insert(timer);
    timer = next;
  }
}

void TimerWheel::Fire(uint32_t index, const Now& now) {
  // Callbacks may arm and cancel any timer, so the due ones are first moved to a list of their own.
  Bucket& due = buckets_[index];
  for (Timer* timer = due.first; timer != nullptr;) {
    Timer* next = timer->next_;
    Append(kFiring, timer, timer->deadline_ms_);
    timer = next;
  }
  due.first = due.last = nullptr;
  used_[index / 64] &= ~(uint64_t{1} << (index % 64));
  while (Timer* timer = buckets_[kFiring].first) {
    Remove(timer);
    timer->callback_(timer->owner_, now);
  }
}

void TimerWheel::Advance(const Now& now) {
  while (current_ms_ <= now.mono_ms) {
    int64_t event_ms = INT64_MAX;
    for (uint32_t level = 0; level < kLevels; ++level) {
      const int32_t distance = NextTurn(level);
      if (distance < 0) continue;
      const uint32_t shift = kBucketBits * level;
      event_ms = std::min(event_ms, ((current_ms_ >> shift) + distance) << shift);
    }
    if (event_ms > now.mono_ms) {
      current_ms_ = now.mono_ms;
      return;
    }
    current_ms_ = event_ms;
    for (uint32_t level = kLevels - 1; level > 0; --level)
      if ((current_ms_ & ((int64_t{1} << (kBucketBits * level)) - 1)) == 0) Cascade(level);
    // What a callback arms for a time that is past belongs to the next tick, or to the next Advance.
    if (event_ms < now.mono_ms) ++current_ms_;
    Fire(static_cast<uint32_t>(event_ms) & (kBuckets - 1), now);
    if (event_ms == now.mono_ms) return;
  }
}

int64_t TimerWheel::NextDeadlineMs() const {
  if (count_ == 0) return -1;
  int64_t earliest_ms = INT64_MAX;
  for (uint32_t level = 0; level < kLevels; ++level) {
    const int32_t distance = NextTurn(level);
    if (distance < 0) continue;
    const auto here = static_cast<uint32_t>(current_ms_ >> (kBucketBits * level));
    const uint32_t slot = (here + static_cast<uint32_t>(distance)) & (kBuckets - 1);
    earliest_ms = std::min(earliest_ms, buckets_[level * kBuckets + slot].earliest_ms);
  }
  return earliest_ms;
}

}  // namespace varve
