// SPDX-License-Identifier: Apache-2.0
// EpochCache: at which offset each leader epoch of a partition began (KIP-101, KIP-279, KIP-320); Kafka's
// LeaderEpochFileCache and the file it is kept in, `leader-epoch-checkpoint`. Answers OffsetsForLeaderEpoch
// and decides where a follower cuts its log. Does not write by itself: a method that changes it says so, and
// its owner calls Store.
//
// File, text:
//   0\n                       version
//   <count>\n
//   <epoch> <startOffset>\n   count times; both rising
// It carries no checksum: it can be rebuilt from the batch headers, and `varve.checksums` may vouch for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/log.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

inline constexpr const char* kEpochCheckpointName = "leader-epoch-checkpoint";

struct EpochEntry {
  int32_t epoch = 0;
  int64_t start_offset = 0;
  bool operator==(const EpochEntry&) const = default;
};

/// Threading: any thread; one small lock inside, never held while calling out. Changes come under the append
/// lock.
class EpochCache {
 public:
  /// "Epoch `epoch` began at `start_offset`." Entries with the same or a later epoch, or a start at or behind
  /// `start_offset`, give way. True when something changed; nothing does while `epoch` is the latest and did
  /// not begin earlier. Both are >= 0.
  bool Assign(int32_t epoch, int64_t start_offset);

  /// Latest epoch, -1: none. Without a lock: asked on every append.
  int32_t LatestEpoch() const { return latest_epoch_.load(std::memory_order_acquire); }
  std::optional<EpochEntry> Latest() const;
  std::optional<EpochEntry> Earliest() const;
  /// The epoch before `epoch`, -1: none.
  int32_t PreviousEpoch(int32_t epoch) const;

  /// Where `epoch` ended: for the latest the log end; for one between known ones the largest known epoch <=
  /// it, with the start of the next; below all known ones itself, with the start of the first; above all, or
  /// -1: {-1, -1}.
  EpochEndOffset EndOffsetFor(int32_t epoch, int64_t log_end_offset) const;
  /// Epoch of the record at `offset`, -1: before the first known one.
  int32_t EpochForOffset(int64_t offset) const;

  /// Drops epochs that began at or behind `end_offset`. True when something changed.
  bool TruncateFromEnd(int64_t end_offset);
  /// Drops epochs wholly below `start_offset`; the one that holds it then begins there. True when something
  /// changed.
  bool TruncateFromStart(int64_t start_offset);
  bool Clear();

  std::vector<EpochEntry> Entries() const;
  /// Replaces all; they must rise in both fields.
  void Reset(std::vector<EpochEntry> entries);

  // --- the file ---
  /// Of the epochs that began before `below`.
  std::string Encode(int64_t below = INT64_MAX) const;
  /// kCorrupt: not this format, or entries that don't rise: rebuild from batch headers. An empty file has no
  /// entries.
  static Result<std::vector<EpochEntry>> Parse(Bytes file);
  /// Replaces the cache by what the file at `path` says. kNotFound: no file, the cache is left empty.
  Status Load(Vfs& vfs, const std::string& path);
  Status Store(Vfs& vfs, const std::string& path, bool durable) const;

 private:
  void PublishLatest();

  mutable std::mutex mutex_;
  std::vector<EpochEntry> entries_;
  std::atomic<int32_t> latest_epoch_{-1};
};

}  // namespace varve
