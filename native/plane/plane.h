// SPDX-License-Identifier: Apache-2.0
// Plane: what all connections of one broker share: the grants (which topics and partitions may be served
// natively, to whom), limits, and counters. Grants are published by TypeScript at O(change); a request whose
// grant is missing, stale or past its deadline is punted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "plane/partition.h"
#include "plane/wire.h"

namespace varve {

struct PlaneOptions {
  uint32_t request_bytes_max = 100u << 20;  // socket.request.max.bytes
  uint64_t output_bytes_max =
      8u << 20;  ///< a connection stops reading requests above this much unsent output
  uint64_t received_bytes_max =
      512u << 20;  ///< over all connections: reading stops above (queued.max.request.bytes)
  int32_t fetch_bytes_max = 55 << 20;     // fetch.max.bytes
  int64_t frame_deadline_ms = 30'000;     ///< a frame must be complete this long after its first byte
  int64_t write_deadline_ms = 60'000;     ///< output must move within this
  int32_t requests_in_flight_max = 1000;  ///< slots a connection may hold
};

/// One topic as the data plane serves it. Negative answers need no grant: they are punted and TypeScript
/// answers.
struct TopicGrant {
  std::string name;
  TopicId id{};
  bool may_write = true;
  bool may_read = true;
  bool internal = false;          ///< a client's Produce gets INVALID_TOPIC_EXCEPTION
  int64_t deadline_mono_ms = -1;  ///< lease; -1: none
};

struct PlaneCounters {
  uint64_t received_bytes, sent_bytes, produce_requests, fetch_requests, punted_requests, produced_batches,
      produced_bytes, fetched_bytes, parked_fetches, trailing_bytes_requests, connections;
};

class Plane {
 public:
  virtual ~Plane() = default;
  static std::shared_ptr<Plane> Create(std::shared_ptr<Engine> engine, const PlaneOptions& options);

  /// Adds or replaces a topic's grant; its partitions stay. In force when it returns.
  virtual void PublishTopic(const TopicGrant& grant) = 0;
  /// Waiters of its partitions get UNKNOWN_TOPIC_OR_PARTITION.
  virtual void RemoveTopic(const std::string& name) = 0;
  virtual void PublishPartition(const std::string& topic, int32_t index,
                                std::shared_ptr<Partition> partition) = 0;
  virtual PlaneCounters Counters() const = 0;
  virtual const PlaneOptions& options() const = 0;
  virtual Engine& engine() = 0;
};

}  // namespace varve
