// SPDX-License-Identifier: Apache-2.0
#include "plane/grants.h"

#include <bit>
#include <mutex>

namespace varve {

void GrantTable::Replace(const Entry& entry) {
  Entry& by_name = by_name_[entry->grant.name];
  if (by_name != nullptr) {
    by_name->stale.store(true, std::memory_order_release);
    if (by_name->grant.id != entry->grant.id) by_id_.erase(by_name->grant.id);
  }
  by_name = entry;
  if (entry->grant.id != TopicId{}) by_id_[entry->grant.id] = entry;
}

void GrantTable::PublishTopic(const TopicGrant& grant) {
  std::unique_lock lock(mutex_);
  const auto found = by_name_.find(grant.name);
  const auto partitions =
      found != by_name_.end() ? found->second->partitions : std::make_shared<PartitionTable>(1);
  Replace(std::make_shared<TopicEntry>(grant, partitions));
}

GrantTable::Entry GrantTable::RemoveTopic(std::string_view name) {
  std::unique_lock lock(mutex_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  Entry entry = found->second;
  by_name_.erase(found);
  by_id_.erase(entry->grant.id);
  entry->stale.store(true, std::memory_order_release);
  removals_.fetch_add(1, std::memory_order_release);
  return entry;
}

bool GrantTable::PublishPartition(std::string_view topic, int32_t index,
                                  std::shared_ptr<PartitionImpl> partition) {
  if (index < 0 || index > kPartitionIndexMax) return false;
  std::unique_lock lock(mutex_);
  const auto found = by_name_.find(topic);
  if (found == by_name_.end()) return false;
  Entry entry = found->second;
  const auto slot = static_cast<uint32_t>(index);
  if (slot >= entry->partitions->capacity()) {
    auto larger = std::make_shared<PartitionTable>(std::bit_ceil(slot + 1));
    for (uint32_t i = 0; i < entry->partitions->capacity(); ++i)
      larger->slots_[i].store(entry->partitions->slots_[i].load(std::memory_order_relaxed),
                              std::memory_order_relaxed);
    larger->owned_ = entry->partitions->owned_;
    entry = std::make_shared<TopicEntry>(entry->grant, std::move(larger));
    Replace(entry);
  }
  PartitionTable& table = *entry->partitions;
  if (table.slots_[slot].load(std::memory_order_relaxed) == partition.get()) return true;
  PartitionImpl* published = partition.get();
  if (partition != nullptr) table.owned_.push_back(std::move(partition));
  table.slots_[slot].store(published, std::memory_order_release);
  return true;
}

GrantTable::Entry GrantTable::Find(std::string_view name) const {
  std::shared_lock lock(mutex_);
  const auto found = by_name_.find(name);
  return found != by_name_.end() ? found->second : nullptr;
}

GrantTable::Entry GrantTable::Find(const TopicId& id) const {
  std::shared_lock lock(mutex_);
  const auto found = by_id_.find(id);
  return found != by_id_.end() ? found->second : nullptr;
}

std::vector<std::shared_ptr<PartitionImpl>> GrantTable::PartitionsOf(const TopicEntry& entry) const {
  std::shared_lock lock(mutex_);
  return entry.partitions->owned_;
}

namespace {

template <typename Map, typename Key, typename OwnKey>
const GrantTable::Entry* FindIn(Map& cache, const GrantTable& table, const Key& key, size_t entries_max) {
  const auto found = cache.find(key);
  if (found != cache.end()) {
    if (!found->second->stale.load(std::memory_order_acquire)) return &found->second;
    cache.erase(found);
  }
  GrantTable::Entry entry = table.Find(key);
  if (entry == nullptr) return nullptr;
  if (cache.size() >= entries_max) cache.clear();
  return &cache.emplace(OwnKey(key), std::move(entry)).first->second;
}

}  // namespace

const GrantTable::Entry* GrantCache::Find(std::string_view name) {
  return FindIn<decltype(by_name_), std::string_view, std::string>(by_name_, *table_, name, kEntriesMax);
}

const GrantTable::Entry* GrantCache::Find(const TopicId& id) {
  return FindIn<decltype(by_id_), TopicId, TopicId>(by_id_, *table_, id, kEntriesMax);
}

void GrantCache::Sweep() {
  const uint64_t removals = table_->removals();
  if (removals == removals_swept_) return;
  removals_swept_ = removals;
  const auto is_stale = [](const auto& item) { return item.second->stale.load(std::memory_order_acquire); };
  std::erase_if(by_name_, is_stale);
  std::erase_if(by_id_, is_stale);
}

}  // namespace varve
