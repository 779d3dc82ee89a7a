// SPDX-License-Identifier: Apache-2.0
// PlaneImpl: what all connections of a broker share, and PlaneShard: the part of it that one Loop has for
// itself, so that serving a request takes no lock but its partition's: grant cache, counters, buffers,
// requests to be used again.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "plane/buffers.h"
#include "plane/fetch.h"
#include "plane/grants.h"
#include "plane/loop_impl.h"
#include "plane/plane.h"
#include "plane/produce.h"

namespace varve {

/// Counted by one owner thread, read by any.
class ShardCounters {
 public:
  enum Id : uint8_t {
    kReceivedBytes,
    kSentBytes,
    kProduceRequests,
    kFetchRequests,
    kPuntedRequests,
    kProducedBatches,
    kProducedBytes,
    kFetchedBytes,
    kParkedFetches,
    kTrailingBytesRequests,
    kConnections,
    kCount,
  };
  /// No read-modify-write: there is one writer.
  void Add(Id id, uint64_t n) {
    values_[id].store(values_[id].load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Subtract(Id id, uint64_t n) { Add(id, uint64_t{0} - n); }
  uint64_t Get(int id) const { return values_[id].load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kCount> values_{};
};

class PlaneImpl;

/// What one loop has of one plane. Owner thread, except for the counters.
struct PlaneShard {
  PlaneShard(PlaneImpl* plane, std::shared_ptr<LoopImpl> loop);
  ~PlaneShard();
  PlaneShard(const PlaneShard&) = delete;
  PlaneShard& operator=(const PlaneShard&) = delete;

  PlaneImpl* const plane;
  const std::shared_ptr<LoopImpl> loop;
  GrantCache grants;
  ShardCounters counters;
  ChunkPool chunks;
  FrameBufferPool frame_buffers;
  ObjectPool<ProduceRequest> produce_requests;
  ObjectPool<FetchRequest> fetch_requests;
};

class PlaneImpl final : public Plane {
 public:
  PlaneImpl(std::shared_ptr<Engine> engine, const PlaneOptions& options)
      : options_(options), engine_(std::move(engine)) {}

  void PublishTopic(const TopicGrant& grant) override { grants_.PublishTopic(grant); }
  void RemoveTopic(const std::string& name) override;
  void PublishPartition(const std::string& topic, int32_t index,
                        std::shared_ptr<Partition> partition) override;
  PlaneCounters Counters() const override;
  const PlaneOptions& options() const override { return options_; }
  Engine& engine() override { return *engine_; }

  const GrantTable& grants() const { return grants_; }
  std::shared_ptr<PlaneShard> ShardFor(const std::shared_ptr<LoopImpl>& loop);
  void Forget(PlaneShard* shard);

  // The budget of received bytes that are kept (partial frames, frames that wait for TypeScript).
  void Charge(uint64_t bytes) { received_bytes_held_.fetch_add(bytes, std::memory_order_relaxed); }
  void Discharge(uint64_t bytes);
  bool OverBudget() const {
    return received_bytes_held_.load(std::memory_order_relaxed) > options_.received_bytes_max;
  }
  /// One connection may go on reading above the budget, so that its frame gets whole and is served: without
  /// it, partial frames that together fill the budget would wait for one another until their deadlines.
  bool TakePrivilege(const LoopConnection* connection);
  void GiveBackPrivilege(const LoopConnection* connection);
  /// Posts the connection when there is a point in asking again.
  void AddPaused(LoopConnection* connection);
  uint64_t received_bytes_held() const { return received_bytes_held_.load(std::memory_order_relaxed); }

 private:
  void WakePaused();

  const PlaneOptions options_;
  const std::shared_ptr<Engine> engine_;
  GrantTable grants_;

  mutable std::mutex mutex_;
  std::unordered_map<LoopImpl*, std::weak_ptr<PlaneShard>> shards_;  // guarded by mutex_
  std::vector<PlaneShard*> live_shards_;                             // guarded by mutex_
  std::array<uint64_t, ShardCounters::kCount>
      retired_{};  // guarded by mutex_: counters of shards that are gone

  std::atomic<uint64_t> received_bytes_held_{0};
  std::atomic<const LoopConnection*> privileged_{nullptr};
  std::atomic<bool> any_paused_{false};
  std::mutex paused_mutex_;
  std::vector<std::weak_ptr<Connection>> paused_;  // guarded by paused_mutex_
};

}  // namespace varve
