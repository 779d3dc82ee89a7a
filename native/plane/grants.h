// SPDX-License-Identifier: Apache-2.0
// Grants: which topics and partitions the data plane may serve. One table per plane, changed at O(change)
// under a lock, and one cache per owner thread that answers without it. An entry is immutable but for its
// `stale` flag: replacing a grant marks the old entry, so a cache notices at its next look-up. Partitions sit
// in an array beside the entry that only grows.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "plane/partition_impl.h"
#include "plane/plane.h"

namespace varve {

/// Far above any real topic; bounds the array below.
inline constexpr int32_t kPartitionIndexMax = 1'000'000;

/// The partitions of a topic by index. Owned partitions live as long as the array, so readers need no
/// reference of their own.
class PartitionTable {
 public:
  explicit PartitionTable(uint32_t capacity) : slots_(capacity) {}
  PartitionImpl* Find(int32_t index) const {
    return static_cast<uint32_t>(index) < slots_.size()
               ? slots_[static_cast<uint32_t>(index)].load(std::memory_order_acquire)
               : nullptr;
  }
  uint32_t capacity() const { return static_cast<uint32_t>(slots_.size()); }

 private:
  friend class GrantTable;
  std::vector<std::atomic<PartitionImpl*>> slots_;
  std::vector<std::shared_ptr<PartitionImpl>> owned_;  // guarded by the GrantTable's lock
};

struct TopicEntry {
  TopicEntry(TopicGrant topic_grant, std::shared_ptr<PartitionTable> topic_partitions)
      : grant(std::move(topic_grant)), partitions(std::move(topic_partitions)) {}
  const TopicGrant grant;
  const std::shared_ptr<PartitionTable> partitions;
  std::atomic<bool> stale{false};

  bool Expired(int64_t mono_ms) const {
    return grant.deadline_mono_ms >= 0 && mono_ms > grant.deadline_mono_ms;
  }
};

struct TopicNameHash {
  using is_transparent = void;
  size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
};
/// Ids are made by the broker, at random; those that a client makes up are looked for and never kept.
struct TopicIdHash {
  size_t operator()(const TopicId& id) const {
    uint64_t a, b;
    std::memcpy(&a, id.data(), 8);
    std::memcpy(&b, id.data() + 8, 8);
    return (a ^ (b * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
  }
};

class GrantTable {
 public:
  using Entry = std::shared_ptr<TopicEntry>;

  void PublishTopic(const TopicGrant& grant);
  /// Returns what was taken out; null when there was none.
  Entry RemoveTopic(std::string_view name);
  /// False: no such topic, or an impossible index. A null partition takes the one there out.
  bool PublishPartition(std::string_view topic, int32_t index, std::shared_ptr<PartitionImpl> partition);
  Entry Find(std::string_view name) const;
  Entry Find(const TopicId& id) const;
  /// The partitions of an entry, for telling them that their topic is gone.
  std::vector<std::shared_ptr<PartitionImpl>> PartitionsOf(const TopicEntry& entry) const;
  /// Topics removed so far.
  uint64_t removals() const { return removals_.load(std::memory_order_acquire); }

 private:
  void Replace(const Entry& entry);

  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, Entry, TopicNameHash, std::equal_to<>> by_name_;
  std::unordered_map<TopicId, Entry, TopicIdHash> by_id_;
  std::atomic<uint64_t> removals_{0};
};

/// One owner thread's view of a GrantTable.
class GrantCache {
 public:
  explicit GrantCache(const GrantTable* table) : table_(table) {}
  /// Null when there is no grant. The pointer is good until the next call here, the entry for as long as it is held.
  const GrantTable::Entry* Find(std::string_view name);
  const GrantTable::Entry* Find(const TopicId& id);
  /// Lets go of replaced and removed entries (and so of the logs behind them), when there are removed ones.
  void Sweep();

 private:
  static constexpr size_t kEntriesMax = 1 << 16;
  const GrantTable* table_;
  uint64_t removals_swept_ = 0;
  std::unordered_map<std::string, GrantTable::Entry, TopicNameHash, std::equal_to<>> by_name_;
  std::unordered_map<TopicId, GrantTable::Entry, TopicIdHash> by_id_;
};

}  // namespace varve
