// SPDX-License-Identifier: Apache-2.0
#include "plane/fetch.h"

#include <algorithm>

#include "plane/plane_impl.h"
#include "plane/produce.h"

namespace varve {
namespace {

/// Keeps a response's size field far from its sign, whatever fetch.max.bytes says.
constexpr int32_t kResponseBytesMax = 1 << 30;

}  // namespace

FetchRequest::FetchRequest()
    : timer(
          [](void* owner, const Now& now) {
            auto* request = static_cast<FetchRequest*>(owner);
            request->connection->OnDeadline(request, now);
          },
          this) {}

void FetchRequest::Reset() {
  timer.Cancel();
  topics.clear();
  partitions.clear();
  aborted.clear();
  names_.clear();
  replica_id = -1;
  session_id = 0;
  session_epoch = -1;
  error = KafkaError::kNone;
}

void FetchRequest::LetGoOfFrame() {
  size_t bytes = 0;
  for (const FetchTopic& topic : topics) bytes += topic.name.size();
  names_.reserve(bytes);
  for (FetchTopic& topic : topics) {
    const size_t at = names_.size();
    names_.append(topic.name);
    topic.name = std::string_view(names_).substr(at);
  }
  for (FetchPartition& partition : partitions) partition.result.slice = LogSlice{};
}

// --- request
// ---------------------------------------------------------------------------------------------------------

namespace {

void ParsePartition(WireReader& reader, int16_t version, FetchPartition* partition) {
  partition->index = reader.Int32();
  if (version >= 9) partition->read.current_leader_epoch = reader.Int32();
  partition->read.fetch_offset = reader.Int64();
  if (version >= 12) partition->read.last_fetched_epoch = reader.Int32();
  if (version >= 5) reader.Int64();  // a follower's log start offset
  partition->max_bytes = reader.Int32();
  reader.SkipTaggedFields();
}

bool ParseTopics(WireReader& reader, FetchRequest* request) {
  const int16_t version = request->version;
  const bool by_id = version >= 13;
  const uint32_t partition_bytes_min = 4 + (version >= 9 ? 4 : 0) + 8 + (version >= 12 ? 4 : 0) +
                                       (version >= 5 ? 8 : 0) + 4 + (reader.flexible() ? 1 : 0);
  const uint32_t topic_bytes_min = reader.flexible() ? (by_id ? 16 : 1) + 1 + 1 : 2 + 4;
  const uint32_t topic_count = reader.ArrayCount(topic_bytes_min);
  for (uint32_t t = 0; t < topic_count && reader.ok(); ++t) {
    FetchTopic& topic = request->topics.emplace_back();
    if (by_id)
      topic.id = reader.Uuid();
    else
      topic.name = reader.String();
    topic.partition_first = static_cast<uint32_t>(request->partitions.size());
    topic.partition_count = reader.ArrayCount(partition_bytes_min);
    if (request->partitions.size() + topic.partition_count > kRequestPartitionsMax ||
        request->topics.size() > kRequestPartitionsMax)
      return false;
    for (uint32_t p = 0; p < topic.partition_count && reader.ok(); ++p)
      ParsePartition(reader, version, &request->partitions.emplace_back());
    reader.SkipTaggedFields();
  }
  return reader.ok();
}

void SkipForgottenTopics(WireReader& reader, int16_t version) {
  const bool by_id = version >= 13;
  const uint32_t count = reader.ArrayCount(reader.flexible() ? (by_id ? 16 : 1) + 1 + 1 : 2 + 4);
  for (uint32_t t = 0; t < count && reader.ok(); ++t) {
    if (by_id)
      reader.Uuid();
    else
      reader.String();
    const uint32_t partitions = reader.ArrayCount(4);
    for (uint32_t p = 0; p < partitions; ++p) reader.Int32();
    reader.SkipTaggedFields();
  }
}

}  // namespace

bool ParseFetch(Bytes frame, FetchRequest* request, size_t* trailing_bytes) {
  request->version = LoadI16(frame.data() + 2);
  const int16_t version = request->version;
  WireReader reader(frame, version >= kFetchFlexibleVersion);
  RequestHeader header;
  ReadRequestHeader(reader, &header);
  request->correlation_id = header.correlation_id;
  if (version < 15) request->replica_id = reader.Int32();
  request->max_wait_ms = reader.Int32();
  request->min_bytes = reader.Int32();
  request->max_bytes = reader.Int32();
  request->isolation_level = reader.Int8();
  if (version >= 7) {
    request->session_id = reader.Int32();
    request->session_epoch = reader.Int32();
  }
  if (!ParseTopics(reader, request)) return false;
  if (version >= 7) SkipForgottenTopics(reader, version);
  if (version >= 11) reader.String();  // rack
  reader.TaggedFields([&](uint32_t tag, WireReader& field) {
    if (tag != 1 || version < 15) return;
    request->replica_id = field.Int32();
    field.Int64();
    field.SkipTaggedFields();
  });
  *trailing_bytes = reader.remaining();
  return reader.ok();
}

// --- serving
// ---------------------------------------------------------------------------------------------------------

namespace {

void FailAll(FetchRequest* request, KafkaError error) {
  for (FetchPartition& partition : request->partitions) partition.result.error = error;
}

/// True when the request as a whole is refused; its answer is filled in.
bool Refused(FetchRequest* request) {
  if (request->session_epoch > 0 || request->session_epoch < -1) {
    request->error = KafkaError::kFetchSessionIdNotFound;
    request->topics.clear();
    request->partitions.clear();
    return true;
  }
  if (request->max_bytes < 0 || request->isolation_level < 0 || request->isolation_level > 1) {
    request->error = KafkaError::kInvalidRequest;
    FailAll(request, KafkaError::kInvalidRequest);
    // As Kafka does: from version 13 on a refused request names no partitions.
    if (request->version >= 13) {
      request->topics.clear();
      request->partitions.clear();
    }
    return true;
  }
  if (request->replica_id >= 0) {
    FailAll(request, KafkaError::kNotLeaderOrFollower);
    return true;
  }
  return false;
}

/// Finds each partition; false when one has no grant and the request may still be punted.
bool Resolve(FetchRequest* request, PlaneShard* shard, int64_t mono_ms, bool last_try) {
  const bool by_id = request->version >= 13;
  for (FetchTopic& topic : request->topics) {
    const GrantTable::Entry* entry = by_id ? shard->grants.Find(topic.id) : shard->grants.Find(topic.name);
    const bool granted = entry != nullptr && (*entry)->grant.may_read && !(*entry)->Expired(mono_ms);
    if (granted) topic.entry = *entry;
    for (uint32_t p = 0; p < topic.partition_count; ++p) {
      FetchPartition& partition = request->partitions[topic.partition_first + p];
      partition.partition = granted ? topic.entry->partitions->Find(partition.index) : nullptr;
      if (partition.partition != nullptr) continue;
      if (!last_try) return false;
      partition.result.error =
          by_id && !granted ? KafkaError::kUnknownTopicId : KafkaError::kUnknownTopicOrPartition;
    }
  }
  return true;
}

/// Behind the last whole batch of a slice.
int64_t EndOffset(const LogSlice& slice, int64_t fetch_offset) {
  int64_t end = fetch_offset;
  const uint8_t* data = slice.data();
  for (uint64_t at = 0; at + kBatchHeaderBytes <= slice.bytes;) {
    const uint64_t bytes = kBatchPreludeBytes + uint64_t{LoadU32(data + at + kBatchLengthPosition)};
    if (at + bytes > slice.bytes) break;
    end = LoadI64(data + at + kBaseOffsetPosition) + LoadI32(data + at + kLastOffsetDeltaPosition) + 1;
    at += bytes;
  }
  return end;
}

/// The aborted transactions that a read_committed consumer needs to know for the records it gets.
void CollectAborted(FetchRequest* request, FetchPartition* partition) {
  partition->aborted_first = static_cast<uint32_t>(request->aborted.size());
  partition->aborted_count = 0;
  if (!request->read_committed() || partition->result.slice.bytes == 0) return;
  Log& log = partition->partition->log();
  const int64_t from = partition->read.fetch_offset;
  if (!log.CollectAborted(from, partition->result.last_stable_offset, &request->aborted).ok()) {
    request->aborted.resize(partition->aborted_first);
    partition->result = PartitionReadResult{};
    partition->result.error = KafkaError::kKafkaStorageError;
    return;
  }
  if (request->aborted.size() > partition->aborted_first) {
    const int64_t end = EndOffset(partition->result.slice, from);
    const auto first = request->aborted.begin() + partition->aborted_first;
    request->aborted.erase(std::remove_if(first, request->aborted.end(),
                                          [&](const auto& txn) { return txn.first_offset >= end; }),
                           request->aborted.end());
  }
  partition->aborted_count = static_cast<uint32_t>(request->aborted.size()) - partition->aborted_first;
}

int32_t BytesLimit(const FetchRequest& request, PlaneShard* shard) {
  return std::max(0,
                  std::min({request.max_bytes, shard->plane->options().fetch_bytes_max, kResponseBytesMax}));
}

struct ReadTotals {
  int64_t bytes = 0;
  bool urgent = false;    // an error, or a divergence: the client has to know now
  uint32_t readable = 0;  // partitions that can be waited for
};

ReadTotals ReadAll(FetchRequest* request, PlaneShard* shard) {
  ReadTotals totals;
  auto left = static_cast<uint32_t>(BytesLimit(*request, shard));
  bool at_least_one_batch = true;
  request->aborted.clear();
  for (FetchPartition& partition : request->partitions) {
    if (partition.partition == nullptr) continue;
    partition.result = PartitionReadResult{};
    if (partition.max_bytes < 0) {
      partition.result.error = KafkaError::kInvalidRequest;
      totals.urgent = true;
      continue;
    }
    partition.read.max_bytes = std::min(left, static_cast<uint32_t>(partition.max_bytes));
    partition.read.at_least_one_batch = at_least_one_batch;
    partition.read.read_committed = request->read_committed();
    partition.partition->Read(partition.read, &partition.result);
    if (partition.result.error == KafkaError::kNone) CollectAborted(request, &partition);
    const uint32_t bytes = partition.result.slice.bytes;
    if (bytes > 0) at_least_one_batch = false;
    left -= std::min(left, bytes);
    totals.bytes += bytes;
    totals.urgent |= partition.result.error != KafkaError::kNone || partition.result.diverging_epoch >= 0;
    ++totals.readable;
  }
  return totals;
}

/// Parks every partition. False: one can't be waited for, or the bytes are there by now; nothing is parked
/// any more.
bool Park(FetchRequest* request, int64_t bytes_wanted) {
  request->missing_bytes.store(bytes_wanted, std::memory_order_relaxed);
  request->fired.store(false, std::memory_order_relaxed);
  bool parked = true;
  for (FetchPartition& partition : request->partitions) {
    if (partition.partition == nullptr) continue;
    partition.waiter.group = request;
    partition.waiter.max_bytes = static_cast<uint32_t>(partition.max_bytes);
    partition.waiter.read_committed = request->read_committed();
    parked = partition.partition->ParkFetch(partition.read, partition.result.slice, &partition.waiter);
    if (!parked) break;
  }
  // A partition that fired in the meantime has posted the request: then it is parked, however briefly.
  if (parked && request->missing_bytes.load(std::memory_order_acquire) > 0) return true;
  if (request->fired.exchange(true, std::memory_order_acq_rel)) return true;
  for (FetchPartition& partition : request->partitions)
    if (partition.partition != nullptr) partition.partition->CancelFetch(&partition.waiter);
  return false;
}

}  // namespace

FetchOutcome ServeFetch(FetchRequest* request, PlaneShard* shard, const Now& now, bool last_try) {
  if (Refused(request)) return FetchOutcome::kReply;
  if (!Resolve(request, shard, now.mono_ms, last_try)) return FetchOutcome::kPunt;
  const ReadTotals totals = ReadAll(request, shard);
  const bool nothing_to_wait_for =
      totals.readable == 0 && (!request->partitions.empty() || request->session_id != 0);
  const int64_t bytes_wanted = std::min(request->min_bytes, BytesLimit(*request, shard));
  if (request->max_wait_ms <= 0 || totals.urgent || nothing_to_wait_for || totals.bytes >= bytes_wanted)
    return FetchOutcome::kReply;
  if (Park(request, bytes_wanted)) return FetchOutcome::kPark;
  ReadAll(request, shard);
  return FetchOutcome::kReply;
}

bool CancelFetch(FetchRequest* request) {
  const bool mine = !request->fired.exchange(true, std::memory_order_acq_rel);
  for (FetchPartition& partition : request->partitions)
    if (partition.partition != nullptr) partition.partition->CancelFetch(&partition.waiter);
  return mine;
}

void ReadAgain(FetchRequest* request, PlaneShard* shard) {
  for (FetchTopic& topic : request->topics) {
    if (topic.entry == nullptr || !topic.entry->stale.load(std::memory_order_acquire)) continue;
    // The topic may be gone since. A lease that ran out while the request waited doesn't matter: leadership
    // is checked again.
    const bool by_id = request->version >= 13;
    const GrantTable::Entry* entry = by_id ? shard->grants.Find(topic.id) : shard->grants.Find(topic.name);
    GrantTable::Entry found = entry != nullptr && (*entry)->grant.may_read ? *entry : nullptr;
    for (uint32_t p = 0; p < topic.partition_count; ++p) {
      FetchPartition& partition = request->partitions[topic.partition_first + p];
      if (partition.partition == nullptr) continue;
      partition.partition = found != nullptr ? found->partitions->Find(partition.index) : nullptr;
      if (partition.partition != nullptr) continue;
      partition.result = PartitionReadResult{};
      partition.result.error = by_id ? KafkaError::kUnknownTopicId : KafkaError::kUnknownTopicOrPartition;
    }
    if (found != nullptr) topic.entry = std::move(found);
  }
  ReadAll(request, shard);
}

// --- response
// --------------------------------------------------------------------------------------------------------

size_t FetchResponseBytesMax(const FetchRequest& request) {
  constexpr size_t kFrame = 4 + 4 + 1 + 4 + 2 + 4 + 5 + 1;
  constexpr size_t kTopic = 16 + 5 + 5 + 1;
  constexpr size_t kPartition = 4 + 2 + 8 + 8 + 8 + 5 + 4 + 5 + 1 + (1 + 1 + 13) + (1 + 1 + 9);
  constexpr size_t kAborted = 8 + 8 + 1;
  size_t bytes = kFrame + request.partitions.size() * kPartition + request.aborted.size() * kAborted;
  for (const FetchTopic& topic : request.topics) bytes += kTopic + topic.name.size();
  return bytes;
}

void WriteFetchHead(const FetchRequest& request, WireWriter* writer) {
  writer->Int32(0);  // the frame's size, known at the end
  writer->Int32(request.correlation_id);
  writer->NoTaggedFields();
  writer->Int32(0);  // throttle_time_ms
  if (request.version >= 7) {
    writer->Int16(static_cast<int16_t>(request.error));
    writer->Int32(0);  // session_id
  }
  writer->ArrayCount(static_cast<int32_t>(request.topics.size()));
}

void WriteFetchPartitionHead(const FetchRequest& request, const FetchPartition& partition,
                             WireWriter* writer) {
  const PartitionReadResult& result = partition.result;
  KafkaError error = result.error;
  // Clients of these versions don't know the code; this one makes them look for the leader again, as Kafka
  // does.
  if (error == KafkaError::kKafkaStorageError && request.version <= 5)
    error = KafkaError::kNotLeaderOrFollower;
  writer->Int32(partition.index);
  writer->Int16(static_cast<int16_t>(error));
  writer->Int64(result.high_watermark);
  writer->Int64(result.last_stable_offset);
  if (request.version >= 5) writer->Int64(result.log_start_offset);
  const bool committed = request.read_committed() && error == KafkaError::kNone;
  writer->ArrayCount(committed ? static_cast<int32_t>(partition.aborted_count) : -1);
  for (uint32_t i = 0; committed && i < partition.aborted_count; ++i) {
    const AbortedTransaction& aborted = request.aborted[partition.aborted_first + i];
    writer->Int64(aborted.producer_id);
    writer->Int64(aborted.first_offset);
    writer->NoTaggedFields();
  }
  if (request.version >= 11) writer->Int32(-1);  // preferred_read_replica
  writer->RecordsBytes(static_cast<int32_t>(result.slice.bytes));
}

void WriteFetchPartitionTail(const FetchRequest& request, const FetchPartition& partition,
                             WireWriter* writer) {
  if (request.version < kFetchFlexibleVersion) return;
  const PartitionReadResult& result = partition.result;
  const bool diverging = result.diverging_epoch >= 0;
  const bool tell_leader = request.version >= 16 && result.leader_epoch >= 0;
  writer->UnsignedVarint((diverging ? 1 : 0) + (tell_leader ? 1 : 0));
  if (diverging) {
    writer->UnsignedVarint(0);  // tag: diverging_epoch
    writer->UnsignedVarint(4 + 8 + 1);
    writer->Int32(result.diverging_epoch);
    writer->Int64(result.diverging_end_offset);
    writer->NoTaggedFields();
  }
  if (tell_leader) {
    writer->UnsignedVarint(1);  // tag: current_leader
    writer->UnsignedVarint(4 + 4 + 1);
    writer->Int32(result.leader_id);
    writer->Int32(result.leader_epoch);
    writer->NoTaggedFields();
  }
}

}  // namespace varve
