// SPDX-License-Identifier: Apache-2.0
#include "core/partition_metadata.h"

#include <cstddef>
#include <cstdint>

#include "core/text_scan.h"

namespace varve {
namespace {

constexpr std::string_view kVersionKey = "version: ";
constexpr std::string_view kTopicIdKey = "topic_id: ";
constexpr size_t kIdCharacters = 22;

/// 0 to 63; -1 for a character that is not base64url.
int Base64Value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '-') return 62;
  if (c == '_') return 63;
  return -1;
}

Status Corrupt(const char* what) {
  return Status(Code::kCorrupt, std::string("partition.metadata: ") + what);
}

}  // namespace

bool IsTopicId(std::string_view text) {
  if (text.size() != kIdCharacters) return false;
  int any = 0;
  for (const char c : text) {
    const int value = Base64Value(c);
    if (value < 0) return false;
    any |= value;
  }
  // 22 characters are 132 bits, 4 more than an id has.
  return any != 0 && (Base64Value(text.back()) & 15) == 0;
}

std::string PartitionMetadata::Encode() const {
  return std::string(kVersionKey) + "0\n" + std::string(kTopicIdKey) + topic_id;
}

Result<PartitionMetadata> PartitionMetadata::Parse(Bytes file) {
  LineScanner lines(AsText(file));
  std::string_view line;
  int32_t version = 0;
  if (!lines.Next(&line) || !line.starts_with(kVersionKey) ||
      !ParseNumber(line.substr(kVersionKey.size()), &version) || version < 0) {
    return Corrupt("no version in its first line");
  }
  if (!lines.Next(&line) || !line.starts_with(kTopicIdKey) || !IsTopicId(line.substr(kTopicIdKey.size()))) {
    return Corrupt("no topic id in its second line");
  }
  return PartitionMetadata{std::string(line.substr(kTopicIdKey.size()))};
}

}  // namespace varve
