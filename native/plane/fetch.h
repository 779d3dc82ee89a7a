// SPDX-License-Identifier: Apache-2.0
// Fetch (key 1), versions 4 to 18: its request decoded into views of the frame, read partition by partition
// in request order, parked until there are enough bytes (long poll), and its response with records as slices
// of the log.
//
// Behaviour
//   - the first partition that has records gives at least one whole batch, whatever the limits (KIP-74)
//   - sessions are declined: every answer has session id 0, an incremental request gets
//     FETCH_SESSION_ID_NOT_FOUND (KIP-227)
//   - replicas are refused with NOT_LEADER_OR_FOLLOWER: they have a listener of their own, to come
//   - a partition without a grant is punted with its request; on the last try it gets an error, which ends the
//     wait only when no other partition is there to wait for
//   - a Fetch that names no partition waits, so that a client with nothing to fetch doesn't spin
//   - negative sizes and isolation levels other than 0 and 1 are INVALID_REQUEST
//   - preferred_read_replica is -1 (this leader); node_endpoints is left out, as in Produce
//
// Versions: 4 isolation level, record batches v2 · 5 log start offset · 7 sessions (KIP-227) · 9 current
// leader epoch (KIP-320) · 11 rack (KIP-392) · 12 flexible, last fetched epoch (KIP-595) · 13 topic ids
// (KIP-516) · 14 tiered storage error · 15 replica state (KIP-903) · 16 node endpoints, current leader
// (KIP-951) · 17 directory id (KIP-853) · 18 high watermark of followers (KIP-1166)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plane/grants.h"
#include "plane/timer_wheel.h"
#include "plane/waiters.h"
#include "plane/wire.h"

namespace varve {

struct PlaneShard;

struct FetchPartition {
  int32_t index = 0;
  int32_t max_bytes = 0;
  PartitionRead read;
  PartitionImpl* partition = nullptr;  // held by its topic's entry
  PartitionReadResult result;
  uint32_t aborted_first = 0;
  uint32_t aborted_count = 0;
  FetchWaiter waiter;
};

struct FetchTopic {
  std::string_view name;  // of the frame; of `names_` once the request is parked
  TopicId id{};
  uint32_t partition_first = 0;
  uint32_t partition_count = 0;
  GrantTable::Entry entry;
};

/// A Fetch from its first byte to its reply; used again and again.
class FetchRequest : public FetchGroup {
 public:
  FetchRequest();

  int16_t version = 0;
  int32_t correlation_id = 0;
  int32_t replica_id = -1;
  int32_t max_wait_ms = 0;
  int32_t min_bytes = 0;
  int32_t max_bytes = INT32_MAX;
  int8_t isolation_level = 0;
  int32_t session_id = 0;
  int32_t session_epoch = -1;
  KafkaError error = KafkaError::kNone;  // of the whole request
  std::vector<FetchTopic> topics;
  std::vector<FetchPartition> partitions;
  std::vector<AbortedTransaction> aborted;
  Timer timer;

  bool read_committed() const { return isolation_level == 1; }
  void Reset();
  bool Oversized() const { return partitions.capacity() > 4096 || names_.capacity() > (1 << 16); }
  /// Makes the request independent of its frame, and lets go of what it read.
  void LetGoOfFrame();

 private:
  std::string names_;
};

/// Reads a frame (behind its size field) whose version was checked. False: malformed, the connection has to
/// end.
bool ParseFetch(Bytes frame, FetchRequest* request, size_t* trailing_bytes);

enum class FetchOutcome : uint8_t { kPunt, kReply, kPark };

/// Reads what there is and, when that is too little, parks the request. `last_try`: what has no grant gets an
/// error.
FetchOutcome ServeFetch(FetchRequest* request, PlaneShard* shard, const struct Now& now, bool last_try);
/// Ends the wait. True: the caller goes on with ReadAgain; false: it is among the finished ones already.
bool CancelFetch(FetchRequest* request);
/// The read behind the wait: what is there is the answer.
void ReadAgain(FetchRequest* request, PlaneShard* shard);

/// An upper bound of the response's bytes without records, with its size field.
size_t FetchResponseBytesMax(const FetchRequest& request);
/// The response frame but for records: on_slice(slice) is called where a partition's belong. Returns the
/// records' bytes.
template <typename OnSlice>
uint64_t WriteFetchResponse(FetchRequest& request, WireWriter* writer, OnSlice on_slice);

// --- detail
// ----------------------------------------------------------------------------------------------------------

void WriteFetchPartitionHead(const FetchRequest& request, const FetchPartition& partition,
                             WireWriter* writer);
void WriteFetchPartitionTail(const FetchRequest& request, const FetchPartition& partition,
                             WireWriter* writer);
void WriteFetchHead(const FetchRequest& request, WireWriter* writer);

template <typename OnSlice>
uint64_t WriteFetchResponse(FetchRequest& request, WireWriter* writer, OnSlice on_slice) {
  uint8_t* frame = writer->position();
  uint64_t record_bytes = 0;
  WriteFetchHead(request, writer);
  for (const FetchTopic& topic : request.topics) {
    if (request.version >= 13)
      writer->Uuid(topic.id);
    else
      writer->String(topic.name);
    writer->ArrayCount(static_cast<int32_t>(topic.partition_count));
    for (uint32_t p = 0; p < topic.partition_count; ++p) {
      FetchPartition& partition = request.partitions[topic.partition_first + p];
      WriteFetchPartitionHead(request, partition, writer);
      if (partition.result.slice.bytes > 0) {
        record_bytes += partition.result.slice.bytes;
        on_slice(std::move(partition.result.slice));
      }
      WriteFetchPartitionTail(request, partition, writer);
    }
    writer->NoTaggedFields();
  }
  writer->NoTaggedFields();
  StoreI32(frame, static_cast<int32_t>(static_cast<uint64_t>(writer->position() - frame - 4) + record_bytes));
  return record_bytes;
}

}  // namespace varve
