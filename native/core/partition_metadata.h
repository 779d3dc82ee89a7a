// SPDX-License-Identifier: Apache-2.0
// PartitionMetadata: `partition.metadata` in a partition's directory: which topic id its bytes belong to
// (KIP-516), so that those of a deleted topic are never taken for those of a new one with the same name.
// Kafka's PartitionMetadataFile. Pure text.
//
//   version: 0\n
//   topic_id: <22 characters of base64url, no padding>      without a line end
#pragma once

#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/status.h"

namespace varve {

inline constexpr const char* kPartitionMetadataName = "partition.metadata";

struct PartitionMetadata {
  /// As Kafka prints it (Uuid.toString).
  std::string topic_id;

  std::string Encode() const;
  /// kCorrupt: not this format, or an id that is none (also the zero id). Lines behind the second are
  /// skipped, as Kafka does.
  static Result<PartitionMetadata> Parse(Bytes file);
};

/// 22 characters of base64url that spell exactly 16 bytes, not all zero.
bool IsTopicId(std::string_view text);

}  // namespace varve
