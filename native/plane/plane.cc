// SPDX-License-Identifier: Apache-2.0
#include "plane/plane.h"

#include <algorithm>

#include "plane/plane_impl.h"

namespace varve {

std::shared_ptr<Plane> Plane::Create(std::shared_ptr<Engine> engine, const PlaneOptions& options) {
  return std::make_shared<PlaneImpl>(std::move(engine), options);
}

PlaneShard::PlaneShard(PlaneImpl* shard_plane, std::shared_ptr<LoopImpl> shard_loop)
    : plane(shard_plane), loop(std::move(shard_loop)), grants(&plane->grants()) {}

PlaneShard::~PlaneShard() { plane->Forget(this); }

std::shared_ptr<PlaneShard> PlaneImpl::ShardFor(const std::shared_ptr<LoopImpl>& loop) {
  std::lock_guard lock(mutex_);
  std::erase_if(shards_, [](const auto& item) { return item.second.expired(); });
  std::weak_ptr<PlaneShard>& known = shards_[loop.get()];
  std::shared_ptr<PlaneShard> shard = known.lock();
  if (shard == nullptr) {
    shard = std::make_shared<PlaneShard>(this, loop);
    known = shard;
    live_shards_.push_back(shard.get());
    loop->AddSweep(shard, [raw = shard.get()] { raw->grants.Sweep(); });
  }
  return shard;
}

void PlaneImpl::Forget(PlaneShard* shard) {
  std::lock_guard lock(mutex_);
  std::erase(live_shards_, shard);
  for (int id = 0; id < ShardCounters::kCount; ++id) retired_[id] += shard->counters.Get(id);
}

PlaneCounters PlaneImpl::Counters() const {
  std::array<uint64_t, ShardCounters::kCount> sum;
  {
    std::lock_guard lock(mutex_);
    sum = retired_;
    for (const PlaneShard* shard : live_shards_)
      for (int id = 0; id < ShardCounters::kCount; ++id) sum[id] += shard->counters.Get(id);
  }
  PlaneCounters counters{};
  counters.received_bytes = sum[ShardCounters::kReceivedBytes];
  counters.sent_bytes = sum[ShardCounters::kSentBytes];
  counters.produce_requests = sum[ShardCounters::kProduceRequests];
  counters.fetch_requests = sum[ShardCounters::kFetchRequests];
  counters.punted_requests = sum[ShardCounters::kPuntedRequests];
  counters.produced_batches = sum[ShardCounters::kProducedBatches];
  counters.produced_bytes = sum[ShardCounters::kProducedBytes];
  counters.fetched_bytes = sum[ShardCounters::kFetchedBytes];
  counters.parked_fetches = sum[ShardCounters::kParkedFetches];
  counters.trailing_bytes_requests = sum[ShardCounters::kTrailingBytesRequests];
  counters.connections = sum[ShardCounters::kConnections];
  return counters;
}

void PlaneImpl::RemoveTopic(const std::string& name) {
  const GrantTable::Entry entry = grants_.RemoveTopic(name);
  if (entry == nullptr) return;
  for (const auto& partition : grants_.PartitionsOf(*entry))
    partition->FailWaiters(KafkaError::kUnknownTopicOrPartition);
  // Caches hold the entry, and with it the logs, until their loop sweeps.
  std::vector<std::shared_ptr<LoopImpl>> loops;
  {
    std::lock_guard lock(mutex_);
    for (const PlaneShard* shard : live_shards_) loops.push_back(shard->loop);
  }
  for (const auto& loop : loops) loop->RequestTurn();
}

void PlaneImpl::PublishPartition(const std::string& topic, int32_t index,
                                 std::shared_ptr<Partition> partition) {
  grants_.PublishPartition(topic, index, std::static_pointer_cast<PartitionImpl>(std::move(partition)));
}

// --- the budget
// ------------------------------------------------------------------------------------------------------

void PlaneImpl::Discharge(uint64_t bytes) {
  received_bytes_held_.fetch_sub(bytes, std::memory_order_relaxed);
  if (any_paused_.load(std::memory_order_acquire) && !OverBudget()) WakePaused();
}

bool PlaneImpl::TakePrivilege(const LoopConnection* connection) {
  const LoopConnection* nobody = nullptr;
  return privileged_.compare_exchange_strong(nobody, connection) || nobody == connection;
}

void PlaneImpl::GiveBackPrivilege(const LoopConnection* connection) {
  const LoopConnection* holder = connection;
  if (privileged_.compare_exchange_strong(holder, nullptr) && any_paused_.load(std::memory_order_acquire))
    WakePaused();
}

void PlaneImpl::AddPaused(LoopConnection* connection) {
  if (connection->waits_for_budget.exchange(true)) return;
  {
    std::lock_guard lock(paused_mutex_);
    paused_.push_back(connection->weak_from_this());
    any_paused_.store(true, std::memory_order_release);
  }
  // Room may have been made between the look at the budget and here.
  if (!OverBudget() || privileged_.load() == nullptr) WakePaused();
}

void PlaneImpl::WakePaused() {
  std::vector<std::weak_ptr<Connection>> paused;
  {
    std::lock_guard lock(paused_mutex_);
    paused.swap(paused_);
    any_paused_.store(false, std::memory_order_release);
  }
  for (const auto& weak : paused) {
    const auto connection = std::static_pointer_cast<LoopConnection>(weak.lock());
    if (connection == nullptr) continue;
    connection->waits_for_budget.store(false);
    connection->loop()->Post(connection);
  }
}

}  // namespace varve
