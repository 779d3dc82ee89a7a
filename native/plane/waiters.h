// SPDX-License-Identifier: Apache-2.0
// Waiters: requests parked in partitions, as intrusive list members that live inside the requests themselves,
// so that parking and waking allocate nothing. An AckWaiter waits for the high watermark to pass an offset
// (acks=all), a FetchWaiter for bytes below it (long poll). Lists are guarded by the partition's lock
// (Log::append_mutex).
//
// Ownership: the connection that parked a request owns it. A completer touches a waiter only under the lock
// of the partition that it is linked in; the owner unlinks the rest under those locks before it uses the
// request again.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/log.h"
#include "plane/loop_impl.h"
#include "plane/partition.h"

namespace varve {

/// Doubly linked, of members with `previous`, `next` and an atomic `linked`.
template <typename T>
class WaiterList {
 public:
  bool empty() const { return first_ == nullptr; }
  T* first() const { return first_; }
  T* last() const { return last_; }

  /// Behind `after`; null: in front of all.
  void InsertAfter(T* after, T* item) {
    item->previous = after;
    item->next = after != nullptr ? after->next : first_;
    (item->previous != nullptr ? item->previous->next : first_) = item;
    (item->next != nullptr ? item->next->previous : last_) = item;
    item->linked.store(true, std::memory_order_relaxed);
  }
  /// The release lets the owner see all that the completer wrote when it finds the item unlinked without the
  /// lock.
  void Remove(T* item) {
    (item->previous != nullptr ? item->previous->next : first_) = item->next;
    (item->next != nullptr ? item->next->previous : last_) = item->previous;
    item->previous = item->next = nullptr;
    item->linked.store(false, std::memory_order_release);
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
};

/// A Produce with acks=all: finished when its last waiter is.
struct AckGroup : ParkedRequest {
  AckGroup() : ParkedRequest(Kind::kProduce) {}
  std::atomic<int32_t> pending{0};
};

struct AckWaiter {
  AckWaiter() = default;
  // Copied only while unlinked (vectors grow before anything is parked).
  AckWaiter(const AckWaiter&) {}
  AckWaiter& operator=(const AckWaiter&) { return *this; }

  AckWaiter* previous = nullptr;
  AckWaiter* next = nullptr;
  std::atomic<bool> linked{false};
  AckGroup* group = nullptr;    ///< null: a LocalAppend
  int64_t required_offset = 0;  ///< done when the high watermark is at or above
  KafkaError result = KafkaError::kNone;
};

/// An append of the broker itself that waits; deletes itself when done.
struct LocalAppend : AckWaiter {
  PartitionAppend appended;
  std::function<void(const PartitionAppend&)> done;
};

/// A parked Fetch: finished once, when enough bytes came, something went wrong, or its deadline passed.
struct FetchGroup : ParkedRequest {
  FetchGroup() : ParkedRequest(Kind::kFetch) {}
  std::atomic<int64_t> missing_bytes{0};
  /// Whoever sets it finishes the request.
  std::atomic<bool> fired{false};
};

struct FetchWaiter {
  FetchWaiter() = default;
  FetchWaiter(const FetchWaiter&) {}
  FetchWaiter& operator=(const FetchWaiter&) { return *this; }

  FetchWaiter* previous = nullptr;
  FetchWaiter* next = nullptr;
  std::atomic<bool> linked{false};
  FetchGroup* group = nullptr;
  bool read_committed = false;
  uint32_t max_bytes = 0;
  int64_t counted_bytes = 0;  ///< what of missing_bytes this partition has already given
  LogPosition start;          ///< of the fetch offset
};

/// What a completer has to do once it let go of the partition's lock: wake loops, call back, ask for a sync.
/// Declare it before the lock, so that its destructor runs after the unlock.
class Completions {
 public:
  Completions() = default;
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;
  ~Completions() { Run(); }

  void Wake(const std::shared_ptr<LoopImpl>& loop) {
    if (loop_count_ < loops_.size())
      loops_[loop_count_++] = loop;
    else
      more_loops_.push_back(loop);
  }
  void Done(std::unique_ptr<LocalAppend> append) { appends_.push_back(std::move(append)); }
  void Flush(class PartitionImpl* partition) { flush_ = partition; }
  void Run();

 private:
  std::array<std::shared_ptr<LoopImpl>, 4> loops_;
  size_t loop_count_ = 0;
  std::vector<std::shared_ptr<LoopImpl>> more_loops_;
  std::vector<std::unique_ptr<LocalAppend>> appends_;
  class PartitionImpl* flush_ = nullptr;
};

}  // namespace varve
