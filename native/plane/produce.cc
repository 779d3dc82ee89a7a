// SPDX-License-Identifier: Apache-2.0
#include "plane/produce.h"

#include <cstring>

#include "core/batch_validator.h"
#include "plane/plane_impl.h"

namespace varve {

ProduceRequest::ProduceRequest()
    : timer(
          [](void* owner, const Now& now) {
            auto* request = static_cast<ProduceRequest*>(owner);
            request->connection->OnDeadline(request, now);
          },
          this) {}

void ProduceRequest::Reset() {
  timer.Cancel();
  topics.clear();
  partitions.clear();
  names_.clear();
  transactional_id = {};
  has_transactional_id = false;
}

void ProduceRequest::LetGoOfFrame() {
  size_t bytes = 0;
  for (const ProduceTopic& topic : topics) bytes += topic.name.size();
  names_.reserve(bytes);
  for (ProduceTopic& topic : topics) {
    const size_t at = names_.size();
    names_.append(topic.name);
    topic.name = std::string_view(names_).substr(at);
  }
  for (ProducePartition& partition : partitions) partition.records = {};
  transactional_id = {};
}

// --- request
// ---------------------------------------------------------------------------------------------------------

bool ParseProduce(Bytes frame, ProduceRequest* request, size_t* trailing_bytes) {
  request->version = LoadI16(frame.data() + 2);
  const bool by_id = request->version >= 13;
  WireReader reader(frame, request->version >= kProduceFlexibleVersion);
  RequestHeader header;
  ReadRequestHeader(reader, &header);
  request->correlation_id = header.correlation_id;
  bool is_null = false;
  request->transactional_id = reader.NullableString(&is_null);
  request->has_transactional_id = !is_null;
  request->acks = reader.Int16();
  request->timeout_ms = reader.Int32();

  const bool flexible = reader.flexible();
  const uint32_t partition_bytes_min = flexible ? 4 + 1 + 1 : 4 + 4;
  const uint32_t topic_bytes_min = flexible ? (by_id ? 16 : 1) + 1 + 1 : 2 + 4;
  const uint32_t topic_count = reader.ArrayCount(topic_bytes_min);
  for (uint32_t t = 0; t < topic_count && reader.ok(); ++t) {
    ProduceTopic& topic = request->topics.emplace_back();
    if (by_id)
      topic.id = reader.Uuid();
    else
      topic.name = reader.String();
    topic.partition_first = static_cast<uint32_t>(request->partitions.size());
    topic.partition_count = reader.ArrayCount(partition_bytes_min);
    if (request->partitions.size() + topic.partition_count > kRequestPartitionsMax ||
        request->topics.size() > kRequestPartitionsMax)
      return false;
    for (uint32_t p = 0; p < topic.partition_count && reader.ok(); ++p) {
      ProducePartition& partition = request->partitions.emplace_back();
      partition.index = reader.Int32();
      partition.records = reader.NullableBytes(&is_null);
      reader.SkipTaggedFields();
    }
    reader.SkipTaggedFields();
  }
  reader.SkipTaggedFields();
  *trailing_bytes = reader.remaining();
  return reader.ok();
}

// --- serving
// ---------------------------------------------------------------------------------------------------------

namespace {

void FailAll(ProduceRequest* request, KafkaError error) {
  for (ProducePartition& partition : request->partitions) partition.append.error = error;
}

bool CarriesTransaction(const ProducePartition& partition) {
  const Bytes records = partition.records;
  return records.size() >= kBatchHeaderBytes && static_cast<int8_t>(records[kMagicPosition]) == kMagicV2 &&
         (LoadI16(records.data() + kAttributesPosition) & kTransactionalBit) != 0;
}

/// Finds each partition; false when one has no grant and the request may still be punted.
bool Resolve(ProduceRequest* request, PlaneShard* shard, const Now& now, bool last_try) {
  const bool by_id = request->version >= 13;
  for (ProduceTopic& topic : request->topics) {
    const GrantTable::Entry* entry = by_id ? shard->grants.Find(topic.id) : shard->grants.Find(topic.name);
    const bool granted = entry != nullptr && (*entry)->grant.may_write && !(*entry)->Expired(now.mono_ms);
    if (granted) topic.entry = *entry;
    for (uint32_t p = 0; p < topic.partition_count; ++p) {
      ProducePartition& partition = request->partitions[topic.partition_first + p];
      partition.partition = granted ? topic.entry->partitions->Find(partition.index) : nullptr;
      if (partition.partition != nullptr) continue;
      if (!last_try) return false;
      partition.append.error =
          by_id && !granted ? KafkaError::kUnknownTopicId : KafkaError::kUnknownTopicOrPartition;
    }
  }
  return true;
}

/// Validates and appends one partition's batch. True when it was parked.
bool AppendOne(ProduceRequest* request, ProducePartition* partition, PlaneShard* shard, const Now& now) {
  ValidatedBatch validated{};
  const ValidationOptions options = partition->partition->Validation(now.wall_ms, request->version >= 7);
  const BatchError invalid =
      ValidateProduceBatch(partition->records, options, &shard->loop->scratch(), &validated);
  if (invalid != BatchError::kOk) {
    partition->append.error = static_cast<KafkaError>(KafkaErrorCode(invalid));
    partition->append.log_start_offset = partition->partition->log().log_start_offset();
    partition->error_message = BatchErrorText(invalid);
    partition->failed_record = validated.failed_record;
    return false;
  }
  if (validated.header.IsTransactional()) {
    partition->append.error = KafkaError::kInvalidTxnState;
    partition->error_message = "The partition was not added to the transaction: transactions are not served.";
    return false;
  }
  Bytes batch = partition->records;
  if (validated.max_timestamp_mismatch) {
    std::vector<uint8_t>& patched = shard->loop->patch_buffer();
    patched.assign(batch.begin(), batch.end());
    PatchMaxTimestamp(patched, validated.max_timestamp);
    batch = patched;
  }
  partition->waiter.group = request;
  const bool parked =
      partition->partition->Append(batch, request->acks, now.wall_ms, &partition->waiter, &partition->append);
  if (partition->append.error == KafkaError::kNone) {
    shard->counters.Add(ShardCounters::kProducedBatches, 1);
    shard->counters.Add(ShardCounters::kProducedBytes, batch.size());
  }
  return parked;
}

void NoteLeader(ProducePartition* partition) {
  if (partition->append.error != KafkaError::kNotLeaderOrFollower || partition->partition == nullptr) return;
  partition->leader_id = partition->partition->leader_id();
  partition->leader_epoch = partition->partition->leader_epoch();
}

bool AnyError(const ProduceRequest& request) {
  for (const ProducePartition& partition : request.partitions)
    if (partition.append.error != KafkaError::kNone) return true;
  return false;
}

}  // namespace

ProduceOutcome ServeProduce(ProduceRequest* request, PlaneShard* shard, const Now& now, bool last_try) {
  const ProduceOutcome answered = request->acks == 0 ? ProduceOutcome::kSilent : ProduceOutcome::kReply;
  if (request->acks < -1 || request->acks > 1) {
    FailAll(request, KafkaError::kInvalidRequiredAcks);
    return ProduceOutcome::kReply;
  }
  if (!Resolve(request, shard, now, last_try)) return ProduceOutcome::kPunt;
  if (!request->has_transactional_id) {
    for (const ProducePartition& partition : request->partitions) {
      if (!CarriesTransaction(partition)) continue;
      FailAll(request, KafkaError::kTransactionalIdAuthorizationFailed);
      return request->acks == 0 ? ProduceOutcome::kClose : ProduceOutcome::kReply;
    }
  }

  // Counts as one waiter until all are appended, so that early completions don't finish the request.
  request->pending.store(1, std::memory_order_relaxed);
  bool parked = false;
  for (ProduceTopic& topic : request->topics) {
    for (uint32_t p = 0; p < topic.partition_count; ++p) {
      ProducePartition& partition = request->partitions[topic.partition_first + p];
      if (partition.append.error != KafkaError::kNone) continue;
      if (topic.entry->grant.internal)
        partition.append.error = KafkaError::kInvalidTopicException;
      else if (AppendOne(request, &partition, shard, now))
        parked = true;
      NoteLeader(&partition);
    }
  }
  if (parked && request->pending.fetch_sub(1, std::memory_order_acq_rel) > 1) return ProduceOutcome::kPark;
  if (parked) SettleProduce(request);
  if (request->acks == 0 && AnyError(*request)) return ProduceOutcome::kClose;
  return answered;
}

bool CancelProduce(ProduceRequest* request) {
  int32_t cancelled = 0;
  for (ProducePartition& partition : request->partitions) {
    AckWaiter& waiter = partition.waiter;
    if (!waiter.linked.load(std::memory_order_acquire) || !partition.partition->CancelAck(&waiter)) continue;
    waiter.result = KafkaError::kRequestTimedOut;
    ++cancelled;
  }
  // Every other waiter was completed before its lock was let go: whoever came last among all finishes.
  return cancelled > 0 && request->pending.fetch_sub(cancelled, std::memory_order_acq_rel) == cancelled;
}

void SettleProduce(ProduceRequest* request) {
  for (ProducePartition& partition : request->partitions) {
    AckWaiter& waiter = partition.waiter;
    // A completer that made the request finished may still be about to unlink its waiter.
    if (waiter.linked.load(std::memory_order_acquire)) partition.partition->CancelAck(&waiter);
    if (waiter.result == KafkaError::kNone) continue;
    partition.append.error = waiter.result;
    NoteLeader(&partition);
  }
}

// --- response
// --------------------------------------------------------------------------------------------------------

size_t ProduceResponseBytesMax(const ProduceRequest& request) {
  constexpr size_t kFrame = 4 + 4 + 1 + 5 + 4 + 1;
  constexpr size_t kTopic = 16 + 5 + 5 + 1;
  constexpr size_t kPartition = 4 + 2 + 8 + 8 + 8 + (5 + 4 + 5 + 1) + 5 + (1 + 1 + 1 + 4 + 4 + 1);
  size_t bytes = kFrame + request.partitions.size() * kPartition;
  for (const ProduceTopic& topic : request.topics) bytes += kTopic + topic.name.size();
  for (const ProducePartition& partition : request.partitions)
    if (partition.error_message != nullptr) bytes += 2 * std::strlen(partition.error_message);
  return bytes;
}

namespace {

void WriteMessage(const char* message, WireWriter* writer) {
  if (message != nullptr)
    writer->String(message);
  else
    writer->NullString();
}

void WritePartition(const ProducePartition& partition, int16_t version, WireWriter* writer) {
  const PartitionAppend& append = partition.append;
  writer->Int32(partition.index);
  writer->Int16(static_cast<int16_t>(append.error));
  writer->Int64(append.base_offset);
  writer->Int64(append.log_append_time_ms);
  if (version >= 5) writer->Int64(append.log_start_offset);
  if (version >= 8) {
    writer->ArrayCount(partition.failed_record >= 0 ? 1 : 0);
    if (partition.failed_record >= 0) {
      writer->Int32(partition.failed_record);
      WriteMessage(partition.error_message, writer);
      writer->NoTaggedFields();
    }
    WriteMessage(partition.error_message, writer);
  }
  if (version >= 10 && partition.leader_epoch >= 0) {
    writer->UnsignedVarint(1);
    writer->UnsignedVarint(0);          // tag: current_leader
    writer->UnsignedVarint(4 + 4 + 1);  // its bytes
    writer->Int32(partition.leader_id);
    writer->Int32(partition.leader_epoch);
  }
  writer->NoTaggedFields();
}

}  // namespace

void WriteProduceResponse(const ProduceRequest& request, WireWriter* writer) {
  uint8_t* frame = writer->position();
  writer->Int32(0);
  writer->Int32(request.correlation_id);
  writer->NoTaggedFields();
  writer->ArrayCount(static_cast<int32_t>(request.topics.size()));
  for (const ProduceTopic& topic : request.topics) {
    if (request.version >= 13)
      writer->Uuid(topic.id);
    else
      writer->String(topic.name);
    writer->ArrayCount(static_cast<int32_t>(topic.partition_count));
    for (uint32_t p = 0; p < topic.partition_count; ++p)
      WritePartition(request.partitions[topic.partition_first + p], request.version, writer);
    writer->NoTaggedFields();
  }
  writer->Int32(0);  // throttle_time_ms
  writer->NoTaggedFields();
  StoreI32(frame, static_cast<int32_t>(writer->position() - frame - 4));
}

}  // namespace varve
