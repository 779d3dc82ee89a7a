// SPDX-License-Identifier: Apache-2.0
// What fuzz targets read their input with: numbers and bytes, one after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/bytes.h"

namespace varve::fuzz {

/// Takes values from the front of the input; zeros when it is used up.
class Input {
 public:
  explicit Input(Bytes bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  uint64_t Number(int bytes) {
    uint64_t v = 0;
    for (; bytes > 0; --bytes) {
      v = v << 8 | (rest_.empty() ? 0 : rest_.front());
      if (!rest_.empty()) rest_ = rest_.subspan(1);
    }
    return v;
  }
  uint8_t Byte() { return static_cast<uint8_t>(Number(1)); }
  /// Mostly small, sometimes anything.
  int64_t Odd() {
    switch (Byte() % 4) {
      case 0:
        return static_cast<int64_t>(Number(8));
      case 1:
        return -static_cast<int64_t>(Byte() % 4);
      default:
        return Byte();
    }
  }
  Bytes Take(size_t bytes) {
    const Bytes taken = rest_.first(std::min(bytes, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

 private:
  Bytes rest_;
};

}  // namespace varve::fuzz
