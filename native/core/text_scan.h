// SPDX-License-Identifier: Apache-2.0
// Reading Kafka's small text files: lines, fields and whole numbers, without copies.
#pragma once

#include <charconv>
#include <cstddef>
#include <string_view>
#include <system_error>

#include "core/bytes.h"

namespace varve {

inline std::string_view AsText(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// Lines ended by \n; the last one may lack it.
class LineScanner {
 public:
  explicit LineScanner(std::string_view text) : left_(text) {}

  bool Next(std::string_view* line) {
    if (left_.empty()) return false;
    const size_t end = left_.find('\n');
    *line = left_.substr(0, end);
    left_.remove_prefix(end == std::string_view::npos ? left_.size() : end + 1);
    return true;
  }
  std::string_view left() const { return left_; }

 private:
  std::string_view left_;
};

/// Takes what is before the first `separator` off `*text`, and the separator; false without one.
inline bool TakeField(std::string_view* text, char separator, std::string_view* field) {
  const size_t end = text->find(separator);
  if (end == std::string_view::npos) return false;
  *field = text->substr(0, end);
  text->remove_prefix(end + 1);
  return true;
}

/// All of `text` as a number; nothing around it, no sign but a minus.
template <typename Number>
bool ParseNumber(std::string_view text, Number* number, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number, base);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace varve
