// SPDX-License-Identifier: Apache-2.0
// Produce (key 0), versions 3 to 13: its request decoded into views of the frame, appended partition by
// partition, and its response.
//
// Behaviour
//   - a partition's records are one record batch v2, validated whole (batch_validator.h) before the partition's
//     lock is taken
//   - nothing is appended before every partition's grant was found: a request that lacks one is punted whole
//   - internal topics are refused whatever the client calls itself
//   - transactional batches are refused: INVALID_TXN_STATE, or TRANSACTIONAL_ID_AUTHORIZATION_FAILED without a
//     transactional id
//   - acks=0 is never answered; an error there ends the connection, which is all a client can notice
//   - node_endpoints (KIP-951) is left out: endpoints belong to a listener, which the plane doesn't know
//
// Versions: 3 transactional id, record batches v2 (KIP-98) · 4 KAFKA_STORAGE_ERROR · 5 log start offset · 7
// zstd (KIP-110) · 8 record errors (KIP-467) · 9 flexible (KIP-482) · 10 current leader (KIP-951) · 11, 12
// transaction errors (KIP-890) · 13 topic ids (KIP-516)
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

/// Partitions that one Produce or Fetch may name: bounds what decoding may allocate, far above any real
/// client.
inline constexpr uint32_t kRequestPartitionsMax = 100'000;

struct ProducePartition {
  int32_t index = 0;
  Bytes records;                       // of the frame; gone once the request is parked
  PartitionImpl* partition = nullptr;  // held by its topic's entry
  PartitionAppend append;
  const char* error_message = nullptr;  // a constant
  int32_t failed_record = -1;
  int32_t leader_id = -1;  // with NOT_LEADER_OR_FOLLOWER
  int32_t leader_epoch = -1;
  AckWaiter waiter;
};

struct ProduceTopic {
  std::string_view name;  // of the frame; of `names` once the request is parked
  TopicId id{};
  uint32_t partition_first = 0;
  uint32_t partition_count = 0;
  GrantTable::Entry entry;
};

/// A Produce from its first byte to its reply; used again and again.
class ProduceRequest : public AckGroup {
 public:
  ProduceRequest();

  int16_t version = 0;
  int32_t correlation_id = 0;
  std::string_view transactional_id;
  bool has_transactional_id = false;
  int16_t acks = 0;
  int32_t timeout_ms = 0;
  std::vector<ProduceTopic> topics;
  std::vector<ProducePartition> partitions;
  Timer timer;

  void Reset();
  bool Oversized() const { return partitions.capacity() > 4096 || names_.capacity() > (1 << 16); }
  /// Makes the request independent of its frame.
  void LetGoOfFrame();

 private:
  std::string names_;
};

/// Reads a frame (behind its size field) whose version was checked. False: malformed, the connection has to
/// end.
bool ParseProduce(Bytes frame, ProduceRequest* request, size_t* trailing_bytes);

enum class ProduceOutcome : uint8_t {
  kPunt,    ///< a grant is missing; nothing was appended
  kReply,   ///< answer now
  kSilent,  ///< acks=0: no answer
  kClose,   ///< acks=0 with an error
  kPark,    ///< acks=all: finished by its partitions or its timer
};

/// Appends what the request carries. `last_try`: what has no grant gets an error instead of a punt.
ProduceOutcome ServeProduce(ProduceRequest* request, PlaneShard* shard, const struct Now& now, bool last_try);
/// Takes the waiters that are left out of their partitions, with REQUEST_TIMED_OUT. True: the caller finishes
/// the request; false: it is among the finished ones already.
bool CancelProduce(ProduceRequest* request);
/// Collects what the waiters were told into the partitions' results.
void SettleProduce(ProduceRequest* request);

/// An upper bound of the response's bytes with its size field.
size_t ProduceResponseBytesMax(const ProduceRequest& request);
/// The whole response frame.
void WriteProduceResponse(const ProduceRequest& request, WireWriter* writer);

}  // namespace varve
