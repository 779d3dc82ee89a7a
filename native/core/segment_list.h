// SPDX-License-Identifier: Apache-2.0
// SegmentList: a partition's segments in order, as an immutable snapshot. The log replaces the whole list
// when it rolls, deletes, truncates or compacts; readers go on with the one they took. Never empty: the last
// one is the active segment.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "core/segment.h"

namespace varve {

class SegmentList {
 public:
  explicit SegmentList(std::vector<std::shared_ptr<Segment>> segments) : segments_(std::move(segments)) {}

  const std::vector<std::shared_ptr<Segment>>& all() const { return segments_; }
  size_t size() const { return segments_.size(); }
  const std::shared_ptr<Segment>& operator[](size_t index) const { return segments_[index]; }
  const std::shared_ptr<Segment>& first() const { return segments_.front(); }
  const std::shared_ptr<Segment>& active() const { return segments_.back(); }

  /// Index of the segment that would hold `offset`: the last one with a base offset <= it; the first when
  /// there is none.
  size_t Floor(int64_t offset) const {
    const auto after =
        std::upper_bound(segments_.begin(), segments_.end(), offset,
                         [](int64_t at, const auto& segment) { return at < segment->base_offset(); });
    return after == segments_.begin() ? 0 : static_cast<size_t>(after - segments_.begin()) - 1;
  }

 private:
  std::vector<std::shared_ptr<Segment>> segments_;
};

/// The current list; a lock as short as copying a pointer.
class PublishedSegments {
 public:
  std::shared_ptr<const SegmentList> Load() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return list_;
  }
  void Store(std::vector<std::shared_ptr<Segment>> segments) {
    auto list = std::make_shared<const SegmentList>(std::move(segments));
    std::lock_guard<std::mutex> lock(mutex_);
    list_.swap(list);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const SegmentList> list_;
};

}  // namespace varve
