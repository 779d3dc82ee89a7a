// SPDX-License-Identifier: Apache-2.0
// PublishedPosition: a LogPosition that one thread sets and any thread reads without a lock (a sequence lock:
// readers retry while a store is under way). Setting it is a release, reading it an acquire: bytes stored
// before are visible.
#pragma once

#include <atomic>

#include "core/log.h"

namespace varve {

class PublishedPosition {
 public:
  /// One writer at a time.
  void Store(const LogPosition& to) {
    const uint32_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    // Release stores keep the odd sequence in front of them for whoever reads one of the new values.
    offset_.store(to.offset, std::memory_order_release);
    segment_base_offset_.store(to.segment_base_offset, std::memory_order_release);
    position_.store(to.position, std::memory_order_release);
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  LogPosition Load() const {
    for (;;) {
      const uint32_t before = sequence_.load(std::memory_order_acquire);
      LogPosition value;
      value.offset = offset_.load(std::memory_order_acquire);
      value.segment_base_offset = segment_base_offset_.load(std::memory_order_acquire);
      value.position = position_.load(std::memory_order_acquire);
      if ((before & 1) == 0 && sequence_.load(std::memory_order_relaxed) == before) return value;
    }
  }

  int64_t offset() const { return offset_.load(std::memory_order_acquire); }

 private:
  std::atomic<uint32_t> sequence_{0};
  std::atomic<int64_t> offset_{0};
  std::atomic<int64_t> segment_base_offset_{0};
  std::atomic<uint32_t> position_{0};
};

}  // namespace varve
