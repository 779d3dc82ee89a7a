// SPDX-License-Identifier: Apache-2.0
// Names of a partition's files and directories, Kafka's (LogFileUtils, UnifiedLog) and our sidecar's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/log.h"

namespace varve {

inline constexpr std::string_view kLogSuffix = ".log";
inline constexpr std::string_view kIndexSuffix = ".index";
inline constexpr std::string_view kTimeIndexSuffix = ".timeindex";
inline constexpr std::string_view kTxnIndexSuffix = ".txnindex";
inline constexpr std::string_view kSnapshotSuffix = ".snapshot";
inline constexpr std::string_view kSealSuffix = ".seal";
/// What compaction writes; meaningless until renamed to kSwapSuffix.
inline constexpr std::string_view kCleanedSuffix = ".cleaned";
/// Complete and synced; at open it replaces the segments of its range.
inline constexpr std::string_view kSwapSuffix = ".swap";
/// Waiting for its removal.
inline constexpr std::string_view kDeletedSuffix = ".deleted";
inline constexpr std::string_view kDeletedDirectorySuffix = "-delete";

/// "%020d" + suffix.
std::string OffsetFileName(int64_t offset, std::string_view suffix);

/// The offset of "<20 digits><suffix>"; nothing for any other name.
std::optional<int64_t> ParseOffsetFileName(std::string_view name, std::string_view suffix);

/// "<topic>-<partition>".
std::string DirectoryName(const TopicPartition& tp);
/// The partition of a directory's name; nothing for names that are none, and for those waiting for removal.
std::optional<TopicPartition> ParseDirectoryName(std::string_view name);
/// "<topic>-<partition>.<32 hex digits>-delete", the topic cut so that it fits a file name.
std::string DeletedDirectoryName(const TopicPartition& tp, uint64_t unique);

/// [a-zA-Z0-9._-]{1,249}, not "." or "..": what Kafka allows, and so what can be a directory.
bool ValidTopicName(std::string_view topic);

}  // namespace varve
