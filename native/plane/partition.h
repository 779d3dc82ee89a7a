// SPDX-License-Identifier: Apache-2.0
// Partition: the one owner of a replica's state (role, leader epoch, ISR, follower positions, high watermark,
// LSO, waiters) over its Log. TypeScript decides and calls ApplyState; the plane moves bytes and advances the
// high watermark. The partition's lock is the log's append_mutex(). A single broker is an ISR of one: the
// same code.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/batch_validator.h"
#include "core/engine.h"
#include "core/log.h"
#include "plane/kafka_error.h"

namespace varve {

/// What the control plane decided about this replica.
struct PartitionState {
  bool is_leader = false;
  int32_t leader_id = -1;
  int32_t leader_epoch = -1;
  int32_t local_id = -1;
  std::vector<int32_t> isr;
  int32_t min_insync_replicas = 1;
};

/// The topic configs that Produce and Fetch obey (the log's own are in LogConfig).
struct PartitionConfig {
  int32_t max_message_bytes = 1048588;                             // max.message.bytes
  int64_t timestamp_before_max_ms = INT64_MAX;                     // message.timestamp.before.max.ms
  int64_t timestamp_after_max_ms = 3'600'000;                      // message.timestamp.after.max.ms
  bool strict_validation = true;                                   // strict.produce.validation
  uint64_t max_decompressed_batch_bytes = uint64_t{64} * 1048588;  // max.decompressed.batch.bytes
};

struct PartitionInfo {
  int32_t leader_epoch;
  int64_t log_start_offset;
  int64_t log_end_offset;
  int64_t high_watermark;
  int64_t last_stable_offset;
  bool is_leader;
};

struct PartitionAppend {
  KafkaError error = KafkaError::kNone;
  int64_t base_offset = -1;
  int64_t last_offset = -1;
  int64_t log_append_time_ms = -1;
  int64_t log_start_offset = -1;
};

class Partition {
 public:
  virtual ~Partition() = default;

  static std::shared_ptr<Partition> Create(std::shared_ptr<Log> log, FlushMode flush_mode);

  virtual const TopicPartition& topic_partition() const = 0;
  virtual Log& log() = 0;
  virtual PartitionInfo Info() const = 0;

  /// Completes every waiter of an older epoch with NOT_LEADER_OR_FOLLOWER first; when it returns the data
  /// plane obeys the new state.
  virtual void ApplyState(const PartitionState& state) = 0;
  virtual void SetConfig(const PartitionConfig& config, const LogConfig& log_config) = 0;

  /// The broker's own append (coordinators, in-process). acks as in Produce; `done` is called exactly once:
  /// before this returns for acks 0 and 1 and for errors, else on the thread that advanced the high
  /// watermark.
  virtual void AppendLocal(Bytes batches, int16_t acks, int64_t wall_ms,
                           std::function<void(const PartitionAppend&)> done) = 0;

  /// Ends the partition (topic deleted, broker stopping): waiters get `error`; later requests too.
  virtual void Close(KafkaError error) = 0;
};

}  // namespace varve
