// SPDX-License-Identifier: Apache-2.0
// LogLoader: what a partition's directory says when it is opened. After a clean stop: names, the last
// segment's seal, the epochs and one producer snapshot, nothing scanned. After anything else: the bytes
// behind what is known to be durable are scanned, the first bad batch and all behind it are cut, and indexes,
// epochs and producers are rebuilt for them.
//
// Known to be durable, and so never cut: everything up to the end of the newest segment with a valid seal,
// and everything below a verified recovery point. Damage in there is found when it is read (SegmentVerifier)
// and is kCorrupt, never an end of log. Apache Kafka's counterpart: LogLoader.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/engine_context.h"
#include "core/epoch_cache.h"
#include "core/producer_state.h"
#include "core/segment_list.h"
#include "core/truncation_mark.h"

namespace varve {

struct LoadRequest {
  std::shared_ptr<const LogSite> site;
  LogConfig config;
  /// The directory's last owner stopped cleanly.
  bool clean = false;
  /// From a verified checkpoint: below it all is on stable storage; -1: unknown.
  int64_t recovery_point = -1;
  /// From the checkpoint, -1: none.
  int64_t log_start = -1;
  bool log_start_verified = false;
  /// No varve wrote here before. Kafka's compaction leaves holes between batches and at the end of segments, and nothing but
  /// the batches tells where.
  bool foreign = false;
  /// Whether something vouches for the bytes of the leader epoch checkpoint.
  std::function<bool(Bytes)> epochs_vouched;
  int64_t producer_id_expiration_ms = 0;
};

struct LoadedLog {
  std::vector<std::shared_ptr<Segment>> segments;  ///< never empty
  int64_t log_start = 0;
  LogPosition end;
  /// Below it everything is on stable storage.
  LogPosition durable;
  /// Something was found by scanning, or removed. Else the last segment is as its seal, or a clean stop, left it.
  bool scanned = false;
  bool fresh = false;  ///< without any segment file
  uint64_t recovered_bytes = 0;
  uint64_t truncated_bytes = 0;
  std::string epochs_file;                      ///< the leader epoch checkpoint as it lies there
  Result<std::string> topic_id{std::string()};  ///< of partition.metadata, empty: none
  std::optional<TruncationMark> mark;
  std::string problem;
};

/// Fills `epochs`, `producers` and `snapshots` on the way.
Result<LoadedLog> LoadLog(const LoadRequest& request, EpochCache* epochs, ProducerState* producers,
                          ProducerSnapshots* snapshots);

/// Replays [producers->map_end_offset(), end_offset) from batch headers. `on_aborted` gets each aborted
/// transaction and the segment that holds its marker.
Status ReplayProducers(const std::vector<std::shared_ptr<Segment>>& segments, int64_t end_offset,
                       ProducerState* producers,
                       const std::function<void(Segment& segment, const AbortedTxn& txn)>& on_aborted);

/// Finds the aborted transactions of one segment again, from the producer snapshot at its base, or else from
/// the log start, and replaces its transaction index.
Status RebuildAborted(const std::vector<std::shared_ptr<Segment>>& segments, Segment& segment,
                      int64_t log_start, int64_t end_offset, ProducerSnapshots* snapshots);

}  // namespace varve
