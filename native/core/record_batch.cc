// SPDX-License-Identifier: Apache-2.0
#include "core/record_batch.h"

#include "core/crc32c.h"

namespace varve {

BatchError ParseBatchHeader(Bytes bytes, BatchHeader* header) {
  if (bytes.empty()) return BatchError::kEmpty;
  if (bytes.size() <= kMagicPosition) return BatchError::kTruncatedHeader;
  const uint8_t* p = bytes.data();
  // Magic before length: batches of the older formats are shorter, and are to be named as what they are.
  int8_t magic = static_cast<int8_t>(p[kMagicPosition]);
  if (magic == 0 || magic == 1) return BatchError::kLegacyMagic;
  if (magic != kMagicV2) return BatchError::kUnknownMagic;
  int32_t batch_length = LoadI32(p + kBatchLengthPosition);
  if (batch_length < static_cast<int32_t>(kBatchLengthMin)) return BatchError::kLengthTooSmall;
  if (bytes.size() < kBatchHeaderBytes) return BatchError::kTruncatedHeader;
  header->base_offset = LoadI64(p + kBaseOffsetPosition);
  header->batch_length = batch_length;
  header->partition_leader_epoch = LoadI32(p + kPartitionLeaderEpochPosition);
  header->magic = magic;
  header->crc = LoadU32(p + kCrcPosition);
  header->attributes = LoadI16(p + kAttributesPosition);
  header->last_offset_delta = LoadI32(p + kLastOffsetDeltaPosition);
  header->base_timestamp = LoadI64(p + kBaseTimestampPosition);
  header->max_timestamp = LoadI64(p + kMaxTimestampPosition);
  header->producer_id = LoadI64(p + kProducerIdPosition);
  header->producer_epoch = LoadI16(p + kProducerEpochPosition);
  header->base_sequence = LoadI32(p + kBaseSequencePosition);
  header->record_count = LoadI32(p + kRecordCountPosition);
  return BatchError::kOk;
}

bool VerifyCrc(Bytes batch) {
  return batch.size() >= kBatchHeaderBytes &&
         LoadU32(batch.data() + kCrcPosition) == Crc32c(0, batch.subspan(kAttributesPosition));
}

void PatchBaseOffset(uint8_t* batch, int64_t base_offset) {
  StoreI64(batch + kBaseOffsetPosition, base_offset);
}

void PatchLeaderEpoch(uint8_t* batch, int32_t leader_epoch) {
  StoreI32(batch + kPartitionLeaderEpochPosition, leader_epoch);
}

void PatchAppendTime(MutableBytes batch, int64_t now_ms) {
  uint8_t* attributes = batch.data() + kAttributesPosition;
  StoreI16(attributes, static_cast<int16_t>(LoadI16(attributes) | kLogAppendTimeBit));
  PatchMaxTimestamp(batch, now_ms);
}

void PatchMaxTimestamp(MutableBytes batch, int64_t max_timestamp) {
  StoreI64(batch.data() + kMaxTimestampPosition, max_timestamp);
  StoreCrc(batch);
}

void StoreCrc(MutableBytes batch) {
  StoreU32(batch.data() + kCrcPosition, Crc32c(0, Bytes(batch).subspan(kAttributesPosition)));
}

}  // namespace varve
