// SPDX-License-Identifier: Apache-2.0
#include "core/segment_files.h"

#include <charconv>
#include <cinttypes>
#include <cstdio>

namespace varve {
namespace {

constexpr size_t kOffsetDigits = 20;
constexpr size_t kTopicNameMax = 249;
constexpr size_t kFileNameMax = 255;

template <typename T>
std::optional<T> ParseDigits(std::string_view text) {
  T value = 0;
  if (text.empty() || text.front() == '-') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string OffsetFileName(int64_t offset, std::string_view suffix) {
  char digits[32];
  const int size = std::snprintf(digits, sizeof digits, "%020" PRId64, offset);
  std::string name(digits, static_cast<size_t>(size));
  name.append(suffix);
  return name;
}

std::optional<int64_t> ParseOffsetFileName(std::string_view name, std::string_view suffix) {
  if (name.size() != kOffsetDigits + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  return ParseDigits<int64_t>(name.substr(0, kOffsetDigits));
}

std::string DirectoryName(const TopicPartition& tp) { return tp.topic + "-" + std::to_string(tp.partition); }

std::optional<TopicPartition> ParseDirectoryName(std::string_view name) {
  const size_t dash = name.rfind('-');
  if (dash == std::string_view::npos || !ValidTopicName(name.substr(0, dash))) return std::nullopt;
  const std::string_view digits = name.substr(dash + 1);
  const std::optional<int32_t> partition = ParseDigits<int32_t>(digits);
  if (!partition || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
  return TopicPartition{std::string(name.substr(0, dash)), *partition};
}

std::string DeletedDirectoryName(const TopicPartition& tp, uint64_t unique) {
  char hex[40];
  std::snprintf(hex, sizeof hex, ".%032" PRIx64, unique);
  std::string suffix = "-" + std::to_string(tp.partition) + hex;
  suffix.append(kDeletedDirectorySuffix);
  return tp.topic.substr(0, kFileNameMax - suffix.size()) + suffix;
}

bool ValidTopicName(std::string_view topic) {
  if (topic.empty() || topic.size() > kTopicNameMax || topic == "." || topic == "..") return false;
  for (const char c : topic) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         c == '.' || c == '_' || c == '-';
    if (!allowed) return false;
  }
  return true;
}

}  // namespace varve
