// SPDX-License-Identifier: Apache-2.0
// MappedBudget: how many segment mappings an engine keeps alive (vm.max_map_count is a limit of the whole
// process). Segments register when they map their bytes; above the limit the ones not touched since the last
// sweep let go of theirs, to map them again when next read. A mapping that a reader still holds stays until
// it lets go, whatever the limit.
//
// Threading: any thread. Lock order: the budget's lock before a segment's; so Register is called without a
// segment's lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace varve {

/// What can give a mapping back.
class MappingHolder {
 public:
  virtual ~MappingHolder() = default;
  /// True when it was touched since the last call.
  virtual bool TakeTouched() = 0;
  /// Lets go of the mapping; the next reader maps it again.
  virtual void DropMapping() = 0;
};

class MappedBudget {
 public:
  explicit MappedBudget(uint64_t maps_max) : maps_max_(maps_max) {}

  /// `holder` mapped its bytes just now.
  void Register(const std::shared_ptr<MappingHolder>& holder);

  /// Mappings alive, also those kept only by readers.
  uint64_t live() const { return live_.load(std::memory_order_relaxed); }
  uint64_t maps_max() const { return maps_max_; }

  /// Counted by whoever owns a mapping.
  void Mapped() { live_.fetch_add(1, std::memory_order_relaxed); }
  void Unmapped() { live_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  const uint64_t maps_max_;
  std::atomic<uint64_t> live_{0};
  std::mutex mutex_;
  std::vector<std::weak_ptr<MappingHolder>> holders_;  // a clock: hand_ goes round
  size_t hand_ = 0;
};

/// Half of vm.max_map_count.
uint64_t DefaultMapsMax();

}  // namespace varve
