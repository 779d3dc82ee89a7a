// SPDX-License-Identifier: Apache-2.0
#include "core/record_batch.h"

#include <algorithm>
#include <bit>
#include <cstring>

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

void PatchAppendTime(MutableBytes batch, int64_t now_ms) { PatchAppendTime(batch, {}, now_ms); }

void PatchAppendTime(MutableBytes header, Bytes rest, int64_t now_ms) {
  uint8_t* attributes = header.data() + kAttributesPosition;
  StoreI16(attributes, static_cast<int16_t>(LoadI16(attributes) | kLogAppendTimeBit));
  StoreI64(header.data() + kMaxTimestampPosition, now_ms);
  StoreU32(header.data() + kCrcPosition, Crc32c(Crc32c(0, Bytes(header).subspan(kAttributesPosition)), rest));
}

void PatchMaxTimestamp(MutableBytes batch, int64_t max_timestamp) {
  StoreI64(batch.data() + kMaxTimestampPosition, max_timestamp);
  StoreCrc(batch);
}

void StoreCrc(MutableBytes batch) {
  StoreU32(batch.data() + kCrcPosition, Crc32c(0, Bytes(batch).subspan(kAttributesPosition)));
}

namespace record_batch_internal {

bool ReadVarintSlow(const uint8_t** p, const uint8_t* end, int32_t* value) {
  uint32_t v = 0;
  const uint8_t* at = *p;
  for (int shift = 0; shift < 35; shift += 7) {
    if (at == end) return false;
    uint32_t byte = *at++;
    if (shift == 28 && byte > 0x0f) return false;
    v |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = UnZigzag(v);
      *p = at;
      return true;
    }
  }
  return false;
}

bool ReadVarlongSlow(const uint8_t** p, const uint8_t* end, int64_t* value) {
  uint64_t v = 0;
  const uint8_t* at = *p;
  for (int shift = 0; shift < 70; shift += 7) {
    if (at == end) return false;
    uint64_t byte = *at++;
    if (shift == 63 && byte > 0x01) return false;
    v |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = UnZigzag(v);
      *p = at;
      return true;
    }
  }
  return false;
}

}  // namespace record_batch_internal

bool HeaderIterator::Next(HeaderView* header) {
  auto fail = [this] {
    error_ = BatchError::kRecordHeaders;
    left_ = 0;
    return false;
  };
  if (left_ <= 0) return position_ == end_ || error_ != BatchError::kOk ? false : fail();
  const uint8_t* p = position_;
  int32_t key_size;
  if (!ReadVarint(&p, end_, &key_size) || key_size < 0 || key_size > end_ - p) return fail();
  header->key = {p, static_cast<size_t>(key_size)};
  p += key_size;
  int32_t value_size;
  if (!ReadVarint(&p, end_, &value_size) || value_size < -1 || value_size > end_ - p) return fail();
  header->value = {p, value_size};
  if (value_size > 0) p += value_size;
  position_ = p;
  left_--;
  return true;
}

namespace {

constexpr uint64_t Zigzag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}
/// Of the zigzag of a number; varint and varlong write the same bytes for what fits both.
constexpr size_t VarintBytes(int64_t v) {
  return (static_cast<size_t>(std::bit_width(Zigzag(v) | 1)) + 6) / 7;
}

uint8_t* WriteVarint(uint8_t* to, int64_t value) {
  uint64_t v = Zigzag(value);
  for (; v >= 0x80; v >>= 7) *to++ = static_cast<uint8_t>(v | 0x80);
  *to++ = static_cast<uint8_t>(v);
  return to;
}

size_t FieldBytes(NullableBytes field) { return VarintBytes(field.size) + field.bytes().size(); }

uint8_t* WriteField(uint8_t* to, NullableBytes field) {
  to = WriteVarint(to, field.IsNull() ? -1 : field.size);
  if (field.size <= 0) return to;
  std::memcpy(to, field.data, static_cast<size_t>(field.size));
  return to + field.size;
}

}  // namespace

void BatchBuilder::Begin(const BatchMetadata& metadata) {
  metadata_ = metadata;
  size_ = kBatchHeaderBytes;
  record_count_ = 0;
  base_timestamp_ = kNoTimestamp;
  max_timestamp_ = kNoTimestamp;
}

bool BatchBuilder::Append(int64_t timestamp, NullableBytes key, NullableBytes value,
                          std::span<const HeaderView> headers) {
  if (record_count_ == 0) base_timestamp_ = timestamp;
  int64_t timestamp_delta;
  if (key.size < -1 || value.size < -1 ||
      __builtin_sub_overflow(timestamp, base_timestamp_, &timestamp_delta)) {
    return false;
  }
  size_t body = 1 + VarintBytes(timestamp_delta) + VarintBytes(record_count_) + FieldBytes(key) +
                FieldBytes(value) + VarintBytes(static_cast<int64_t>(headers.size()));
  for (const HeaderView& header : headers) {
    if (header.value.size < -1 || header.key.size() > kBatchBytesMax) return false;
    body +=
        VarintBytes(static_cast<int64_t>(header.key.size())) + header.key.size() + FieldBytes(header.value);
  }
  size_t total = size_ + VarintBytes(static_cast<int64_t>(body)) + body;
  if (total > kBatchBytesMax) return false;
  if (total > buffer_->size()) buffer_->resize(std::max(total, buffer_->size() + buffer_->size() / 2));
  uint8_t* to = buffer_->data() + size_;
  to = WriteVarint(to, static_cast<int64_t>(body));
  *to++ = 0;
  to = WriteVarint(to, timestamp_delta);
  to = WriteVarint(to, record_count_);
  to = WriteField(to, key);
  to = WriteField(to, value);
  to = WriteVarint(to, static_cast<int64_t>(headers.size()));
  for (const HeaderView& header : headers) {
    to = WriteField(to, NullableBytes::Of(header.key));
    to = WriteField(to, header.value);
  }
  size_ = total;
  record_count_++;
  max_timestamp_ = std::max(max_timestamp_, timestamp);
  return true;
}

MutableBytes BatchBuilder::Finish() {
  uint8_t* p = buffer_->data();
  int16_t attributes = static_cast<int16_t>((metadata_.is_transactional ? kTransactionalBit : 0) |
                                            (metadata_.is_control ? kControlBit : 0));
  StoreI64(p + kBaseOffsetPosition, metadata_.base_offset);
  StoreI32(p + kBatchLengthPosition, static_cast<int32_t>(size_ - kBatchPreludeBytes));
  StoreI32(p + kPartitionLeaderEpochPosition, metadata_.partition_leader_epoch);
  p[kMagicPosition] = static_cast<uint8_t>(kMagicV2);
  StoreI16(p + kAttributesPosition, attributes);
  StoreI32(p + kLastOffsetDeltaPosition, record_count_ - 1);
  StoreI64(p + kBaseTimestampPosition, base_timestamp_);
  StoreI64(p + kMaxTimestampPosition, max_timestamp_);
  StoreI64(p + kProducerIdPosition, metadata_.producer_id);
  StoreI16(p + kProducerEpochPosition, metadata_.producer_epoch);
  StoreI32(p + kBaseSequencePosition, metadata_.base_sequence);
  StoreI32(p + kRecordCountPosition, record_count_);
  MutableBytes batch(p, size_);
  StoreCrc(batch);
  return batch;
}

}  // namespace varve
