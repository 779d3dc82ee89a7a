// SPDX-License-Identifier: Apache-2.0
// TimerWheel: every deadline of one Loop. Hierarchical (three levels of 256 buckets: 1 ms, 256 ms, 65.5 s),
// so adding and cancelling are O(1) and allocate nothing: a Timer is a part of what waits. Owner thread only;
// time comes from outside.
#pragma once

#include <array>
#include <cstdint>

namespace varve {

struct Now;
class TimerWheel;

/// One deadline. Cancelled by its destructor; may be armed again from its own callback.
class Timer {
 public:
  using Callback = void (*)(void* owner, const Now& now);

  Timer(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Cancel(); }

  bool armed() const { return wheel_ != nullptr; }
  int64_t deadline_ms() const { return deadline_ms_; }
  void Cancel();

 private:
  friend class TimerWheel;
  const Callback callback_;
  void* const owner_;
  TimerWheel* wheel_ = nullptr;
  Timer* previous_ = nullptr;
  Timer* next_ = nullptr;
  int64_t deadline_ms_ = 0;
  uint16_t bucket_ = 0;
};

class TimerWheel {
 public:
  TimerWheel() = default;
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  ~TimerWheel();

  /// Arms `timer` (again) for `deadline_ms`; one that is past fires in the next Advance.
  void Arm(Timer* timer, int64_t deadline_ms);
  /// Fires what is due at `now`, earliest first. Time never goes back.
  void Advance(const Now& now);
  /// The earliest deadline, -1 when there is none. After cancellations, and for deadlines hours away, it may
  /// be earlier than any that is there, never later.
  int64_t NextDeadlineMs() const;
  uint32_t count() const { return count_; }

 private:
  friend class Timer;
  static constexpr uint32_t kLevels = 3;
  static constexpr uint32_t kBucketBits = 8;
  static constexpr uint32_t kBuckets = 1u << kBucketBits;

  struct Bucket {
    Timer* first = nullptr;
    Timer* last = nullptr;
    int64_t earliest_ms = 0;
  };

  void Insert(Timer* timer);
  void Remove(Timer* timer);
  void Append(uint32_t bucket, Timer* timer, int64_t due_ms);
  /// Deals a bucket of a higher level out to the levels below: its turn has come.
  void Cascade(uint32_t level);
  void Fire(uint32_t index, const Now& now);
  /// Distance from bucket `from` to the next used one of a level, going round; -1 when the level is empty.
  int32_t NextUsed(uint32_t level, uint32_t from) const;
  /// Distance in buckets of a level to the one whose turn comes next, -1 when the level is empty.
  int32_t NextTurn(uint32_t level) const;

  static constexpr uint32_t kFiring = kLevels * kBuckets;  // index of the list that Fire() works on
  std::array<Bucket, kLevels * kBuckets + 1> buckets_{};
  std::array<uint64_t, kLevels * kBuckets / 64> used_{};
  int64_t current_ms_ = 0;  // every tick before it is done
  uint32_t count_ = 0;
};

}  // namespace varve
