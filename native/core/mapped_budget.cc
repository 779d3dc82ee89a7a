// SPDX-License-Identifier: Apache-2.0
#include "core/mapped_budget.h"

#include <cstdio>

namespace varve {

void MappedBudget::Register(const std::shared_ptr<MappingHolder>& holder) {
  std::lock_guard<std::mutex> lock(mutex_);
  holders_.push_back(holder);
  // Two rounds: the first takes the touched marks away, so the second finds a victim unless readers hold
  // everything.
  size_t steps = 2 * holders_.size();
  while (live() > maps_max_ && steps-- > 0 && !holders_.empty()) {
    if (hand_ >= holders_.size()) hand_ = 0;
    const std::shared_ptr<MappingHolder> candidate = holders_[hand_].lock();
    if (candidate == holder || (candidate && candidate->TakeTouched())) {
      ++hand_;
      continue;
    }
    if (candidate) candidate->DropMapping();
    holders_[hand_] = holders_.back();
    holders_.pop_back();
  }
  // Segments that went away leave their place; without a sweep above it is taken back here, a few at a time.
  for (int i = 0; i < 2 && !holders_.empty(); ++i) {
    if (hand_ >= holders_.size()) hand_ = 0;
    if (holders_[hand_].expired()) {
      holders_[hand_] = holders_.back();
      holders_.pop_back();
    } else {
      ++hand_;
    }
  }
}

uint64_t DefaultMapsMax() {
  constexpr uint64_t kKernelDefault = 65530;
  uint64_t limit = kKernelDefault;
  if (FILE* file = std::fopen("/proc/sys/vm/max_map_count", "re")) {
    unsigned long long read = 0;  // NOLINT: fscanf's type
    if (std::fscanf(file, "%llu", &read) == 1 && read > 0) limit = read;
    std::fclose(file);
  }
  return limit / 2;
}

}  // namespace varve
