// SPDX-License-Identifier: Apache-2.0
// Record batch v2 (magic 2, KIP-98): Kafka's unit on the wire and on disk. Layout, header, records inside,
// and making one. Pure functions over bytes: whoever calls owns them. What a broker accepts from a client:
// batch_validator.h.
//
//   offset  size  field                 note
//        0     8  baseOffset            these three lie outside the CRC: set in place by a broker
//        8     4  batchLength           bytes behind this field (the batch's size - 12)
//       12     4  partitionLeaderEpoch
//       16     1  magic                 2
//       17     4  crc                   CRC32C of all that follows
//       21     2  attributes            bits 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control,
//                                       6 delete horizon (KIP-534)
//       23     4  lastOffsetDelta       last offset - baseOffset; kept by compaction
//       27     8  baseTimestamp         what record timestamps count from; with bit 6 the delete horizon
//       35     8  maxTimestamp          with bit 3 the time of append, every record's timestamp then
//       43     8  producerId            -1: none
//       51     2  producerEpoch
//       53     4  baseSequence          sequence of the first record, -1: none
//       57     4  recordCount
//       61     .  records               one compressed stream when there is a codec
//
// A record (varint: zigzag, at most 5 bytes; varlong: at most 10; size -1: null):
//   size varint | attributes int8 | timestampDelta varlong | offsetDelta varint | keySize varint, key |
//   valueSize varint, value | headerCount varint, that many of (keySize varint, key, valueSize varint, value)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/bytes.h"

namespace varve {

inline constexpr size_t kBaseOffsetPosition = 0;
inline constexpr size_t kBatchLengthPosition = 8;
inline constexpr size_t kPartitionLeaderEpochPosition = 12;
inline constexpr size_t kMagicPosition = 16;
inline constexpr size_t kCrcPosition = 17;
inline constexpr size_t kAttributesPosition = 21;
inline constexpr size_t kLastOffsetDeltaPosition = 23;
inline constexpr size_t kBaseTimestampPosition = 27;
inline constexpr size_t kMaxTimestampPosition = 35;
inline constexpr size_t kProducerIdPosition = 43;
inline constexpr size_t kProducerEpochPosition = 51;
inline constexpr size_t kBaseSequencePosition = 53;
inline constexpr size_t kRecordCountPosition = 57;
inline constexpr size_t kBatchHeaderBytes = 61;

/// What batchLength does not count: baseOffset and itself. Enough bytes to know how long the batch is.
inline constexpr size_t kBatchPreludeBytes = 12;
inline constexpr size_t kBatchLengthMin = kBatchHeaderBytes - kBatchPreludeBytes;
static_assert(kRecordCountPosition + 4 == kBatchHeaderBytes && kBatchLengthMin == 49);

inline constexpr int8_t kMagicV2 = 2;

inline constexpr int16_t kCodecMask = 0x07;
inline constexpr int16_t kLogAppendTimeBit = 0x08;
inline constexpr int16_t kTransactionalBit = 0x10;
inline constexpr int16_t kControlBit = 0x20;
inline constexpr int16_t kDeleteHorizonBit = 0x40;
/// Attribute bits that format v2 gives a meaning.
inline constexpr int16_t kKnownAttributes =
    kCodecMask | kLogAppendTimeBit | kTransactionalBit | kControlBit | kDeleteHorizonBit;

inline constexpr int64_t kNoTimestamp = -1;
inline constexpr int64_t kNoProducerId = -1;
inline constexpr int16_t kNoProducerEpoch = -1;
inline constexpr int32_t kNoSequence = -1;
inline constexpr int32_t kNoLeaderEpoch = -1;

/// Kafka's compression ids. 5 to 7 fit the bits but mean nothing.
enum class Codec : uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };
inline constexpr uint8_t kCodecIdMax = 4;

enum class TimestampType : uint8_t { kCreateTime = 0, kLogAppendTime = 1 };

/// Why bytes are not a batch, or not one that is accepted: one value per cause. batch_validator.h maps each
/// to Kafka's error code and a text.
enum class BatchError : uint8_t {
  kOk = 0,
  kEmpty,              ///< no bytes at all
  kTruncatedHeader,    ///< fewer bytes than a batch header has
  kLengthTooSmall,     ///< batchLength below that of a header
  kLengthBeyondBytes,  ///< batchLength runs past the bytes that came
  kLegacyMagic,        ///< message formats 0 and 1
  kUnknownMagic,       ///< magic above 2 or negative
  kCrcMismatch,
  kBatchTooLarge,  ///< above max.message.bytes
  kTrailingBytes,  ///< another batch, or anything, behind the first
  kBaseOffsetNotZero,
  kOffsets,  ///< a stored batch's offsets are negative, or it has more records than offsets
  kRecordCountNotPositive,
  kRecordCountMismatch,  ///< recordCount is not lastOffsetDelta + 1
  kUnknownCodec,
  kZstdTooOldApi,         ///< zstd in a Produce below version 7 (KIP-110)
  kCodecUnavailable,      ///< zstd, and this process has no decoder for it: decide elsewhere, or refuse
  kUndecodable,           ///< not a stream of its codec, truncated, or bytes behind its end
  kDecompressedTooLarge,  ///< a bomb: above max.decompressed.batch.bytes or the ratio allowed
  kRecordSize,            ///< a record's size disagrees with its fields or with the bytes there are
  kVarint,                ///< a varint longer than its type allows, or cut off
  kRecordHeaders,         ///< header count or a header's key size impossible
  kTooFewRecords,         ///< the bytes end before recordCount
  kBytesBehindRecords,    ///< bytes left after the last record
  kOffsetDelta,           ///< a record's offsetDelta is not its index
  kControlBatch,          ///< only brokers write these
  kDeleteHorizon,         ///< only the log cleaner sets it
  kUnknownAttributes,     ///< an attribute bit without a meaning
  kLinkedLz4Blocks,       ///< LZ4 blocks that need those before them: Java's clients cannot read them
  kTimestampOutOfRange,
  kLogAppendTimeByClient,
  kNullKey,        ///< compacted topics need keys
  kProducerId,     ///< negative, but not -1
  kProducerEpoch,  ///< a producer id without an epoch
  kSequence,       ///< a producer id without a sequence
  kTransactionalWithoutProducer,
};
inline constexpr int kBatchErrorCount = static_cast<int>(BatchError::kTransactionalWithoutProducer) + 1;

/// A batch header in native byte order. Plain numbers: says nothing about their sense beyond
/// ParseBatchHeader's promises.
struct BatchHeader {
  int64_t base_offset;
  int32_t batch_length;
  int32_t partition_leader_epoch;
  int8_t magic;
  uint32_t crc;
  int16_t attributes;
  int32_t last_offset_delta;
  int64_t base_timestamp;
  int64_t max_timestamp;
  int64_t producer_id;
  int16_t producer_epoch;
  int32_t base_sequence;
  int32_t record_count;

  /// Of the whole batch; at least kBatchHeaderBytes, at most 2^31 + 11.
  uint64_t SizeBytes() const {
    return kBatchPreludeBytes + static_cast<uint64_t>(static_cast<uint32_t>(batch_length));
  }
  int64_t LastOffset() const {
    return static_cast<int64_t>(static_cast<uint64_t>(base_offset) +
                                static_cast<uint64_t>(static_cast<int64_t>(last_offset_delta)));
  }
  int64_t NextOffset() const { return static_cast<int64_t>(static_cast<uint64_t>(LastOffset()) + 1); }

  uint8_t CodecId() const { return static_cast<uint8_t>(attributes & kCodecMask); }
  bool HasKnownCodec() const { return CodecId() <= kCodecIdMax; }
  /// Meaningless unless HasKnownCodec().
  Codec codec() const { return static_cast<Codec>(CodecId()); }
  bool IsCompressed() const { return CodecId() != 0; }
  TimestampType timestamp_type() const {
    return (attributes & kLogAppendTimeBit) != 0 ? TimestampType::kLogAppendTime : TimestampType::kCreateTime;
  }
  bool IsTransactional() const { return (attributes & kTransactionalBit) != 0; }
  bool IsControl() const { return (attributes & kControlBit) != 0; }
  bool HasDeleteHorizon() const { return (attributes & kDeleteHorizonBit) != 0; }
  bool HasProducerId() const { return producer_id > kNoProducerId; }

  /// Sequence of the last record (it wraps), or -1 without sequences.
  int32_t LastSequence() const;
};

/// Sequences count 0 ... 2^31 - 1 and start again at 0. Both arguments are >= 0.
constexpr int32_t IncrementSequence(int32_t sequence, int32_t by) {
  return static_cast<int32_t>((static_cast<uint32_t>(sequence) + static_cast<uint32_t>(by)) & 0x7fffffffu);
}
constexpr int32_t DecrementSequence(int32_t sequence, int32_t by) {
  return static_cast<int32_t>((static_cast<uint32_t>(sequence) - static_cast<uint32_t>(by)) & 0x7fffffffu);
}

inline int32_t BatchHeader::LastSequence() const {
  return base_sequence < 0 ? kNoSequence : IncrementSequence(base_sequence, last_offset_delta);
}

/// Reads the header at the front of `bytes`. Ok means: 61 bytes were there, magic is 2 and batchLength covers
/// at least the header. Whether the whole batch is there is for the caller to ask: header->SizeBytes() <=
/// bytes.size(). `*header` is written only when ok. Errors: kEmpty, kTruncatedHeader, kLegacyMagic,
/// kUnknownMagic, kLengthTooSmall.
BatchError ParseBatchHeader(Bytes bytes, BatchHeader* header);

/// Whether the stored CRC is that of the batch. `batch` is one whole batch (SizeBytes() bytes); anything
/// shorter than a header is false.
bool VerifyCrc(Bytes batch);

/// In place, for a whole batch with a parsed header. The first two lie outside the CRC.
void PatchBaseOffset(uint8_t* batch, int64_t base_offset);
void PatchLeaderEpoch(uint8_t* batch, int32_t leader_epoch);
/// LogAppendTime: sets its bit and maxTimestamp, and redoes the CRC.
void PatchAppendTime(MutableBytes batch, int64_t now_ms);
/// The same for a batch whose header lies apart from the rest.
void PatchAppendTime(MutableBytes header, Bytes rest, int64_t now_ms);
/// Sets maxTimestamp, which the client had wrong, and redoes the CRC.
void PatchMaxTimestamp(MutableBytes batch, int64_t max_timestamp);
/// Stores the CRC of the batch as it is.
void StoreCrc(MutableBytes batch);

/// Bytes that may be null, which is not the same as empty: Kafka's keys and values.
struct NullableBytes {
  const uint8_t* data = nullptr;
  int32_t size = -1;  ///< -1: null

  constexpr NullableBytes() = default;
  constexpr NullableBytes(const uint8_t* bytes, int32_t count) : data(bytes), size(count) {}
  static NullableBytes Of(Bytes bytes) { return {bytes.data(), static_cast<int32_t>(bytes.size())}; }
  bool IsNull() const { return size < 0; }
  /// Empty when null.
  Bytes bytes() const { return {data, size < 0 ? 0 : static_cast<size_t>(size)}; }
};

/// A record as it lies in its batch; all views are into the batch's (decompressed) bytes.
struct RecordView {
  int8_t attributes;
  int64_t timestamp_delta;
  int32_t offset_delta;
  NullableBytes key;
  NullableBytes value;
  int32_t header_count;
  Bytes headers;  ///< what HeaderIterator reads
};

/// A record's timestamp in its batch; wraps where a hostile delta would overflow.
inline int64_t TimestampOf(const BatchHeader& header, const RecordView& record) {
  if (header.timestamp_type() == TimestampType::kLogAppendTime) return header.max_timestamp;
  return static_cast<int64_t>(static_cast<uint64_t>(header.base_timestamp) +
                              static_cast<uint64_t>(record.timestamp_delta));
}

/// Reads a varint (zigzag; at most 5 bytes) at *p and moves *p behind it; false at `end` or when it is too
/// long. Bits beyond the 32nd are refused, not dropped: readers with wider integers would see another number.
bool ReadVarint(const uint8_t** p, const uint8_t* end, int32_t* value);
/// The same for 64 bits in at most 10 bytes.
bool ReadVarlong(const uint8_t** p, const uint8_t* end, int64_t* value);

/// The records of a batch, from its uncompressed record bytes. Reads nothing outside of them, whatever they
/// hold.
class RecordIterator {
 public:
  RecordIterator(Bytes records, int32_t record_count)
      : position_(records.data()), end_(records.data() + records.size()), left_(record_count) {}

  /// The next record; false behind the last one and at the first that makes no sense: error() tells which.
  bool Next(RecordView* record);
  /// kOk as long as all was well. After the last record its bytes must be used up: else kBytesBehindRecords.
  BatchError error() const { return error_; }

 private:
  bool Fail(BatchError error) {
    error_ = error;
    left_ = 0;
    return false;
  }

  const uint8_t* position_;
  const uint8_t* end_;
  int32_t left_;
  BatchError error_ = BatchError::kOk;
};

struct HeaderView {
  Bytes key;  ///< UTF-8 by convention; never null
  NullableBytes value;
};

/// The headers of one record; they must use up their bytes.
class HeaderIterator {
 public:
  explicit HeaderIterator(const RecordView& record)
      : position_(record.headers.data()),
        end_(record.headers.data() + record.headers.size()),
        left_(record.header_count) {}
  /// As RecordIterator::Next; the error is always kRecordHeaders.
  bool Next(HeaderView* header);
  BatchError error() const { return error_; }

 private:
  const uint8_t* position_;
  const uint8_t* end_;
  int32_t left_;
  BatchError error_ = BatchError::kOk;
};

/// What a batch made here says in its header besides its records.
struct BatchMetadata {
  int64_t base_offset = 0;
  int32_t partition_leader_epoch = kNoLeaderEpoch;
  bool is_transactional = false;
  bool is_control = false;
  int64_t producer_id = kNoProducerId;
  int16_t producer_epoch = kNoProducerEpoch;
  int32_t base_sequence = kNoSequence;
};

/// Encodes records as one uncompressed batch into a buffer of the caller, which is grown as needed and never
/// shrunk: used again, it allocates nothing. Its size means nothing between Begin and Finish. Not
/// thread-safe.
class BatchBuilder {
 public:
  explicit BatchBuilder(std::vector<uint8_t>* buffer) : buffer_(buffer) {}

  /// Forgets everything appended before.
  void Begin(const BatchMetadata& metadata);
  /// Adds a record. False, and nothing is added, when the batch would pass `kBatchBytesMax`, or a size or key
  /// is negative where it may not be.
  bool Append(int64_t timestamp, NullableBytes key, NullableBytes value,
              std::span<const HeaderView> headers = {});
  int32_t record_count() const { return record_count_; }
  size_t SizeBytes() const { return size_; }
  /// Writes header and CRC; the batch, valid until the buffer is touched. At least one record must have been
  /// appended.
  MutableBytes Finish();

  static constexpr size_t kBatchBytesMax = 0x7fffffff;

 private:
  std::vector<uint8_t>* buffer_;
  BatchMetadata metadata_;
  size_t size_ = kBatchHeaderBytes;
  int32_t record_count_ = 0;
  int64_t base_timestamp_ = kNoTimestamp;
  int64_t max_timestamp_ = kNoTimestamp;
};

// --- inline: what runs once per record ---

namespace record_batch_internal {
bool ReadVarintSlow(const uint8_t** p, const uint8_t* end, int32_t* value);
bool ReadVarlongSlow(const uint8_t** p, const uint8_t* end, int64_t* value);
constexpr int32_t UnZigzag(uint32_t v) { return static_cast<int32_t>((v >> 1) ^ (0 - (v & 1))); }
constexpr int64_t UnZigzag(uint64_t v) { return static_cast<int64_t>((v >> 1) ^ (0 - (v & 1))); }
}  // namespace record_batch_internal

inline bool ReadVarint(const uint8_t** p, const uint8_t* end, int32_t* value) {
  const uint8_t* at = *p;
  if (end - at >= 2) {
    uint32_t low = at[0];
    if (low < 0x80) {
      *value = record_batch_internal::UnZigzag(low);
      *p = at + 1;
      return true;
    }
    uint32_t high = at[1];
    if (high < 0x80) {
      *value = record_batch_internal::UnZigzag((low & 0x7f) | high << 7);
      *p = at + 2;
      return true;
    }
  }
  return record_batch_internal::ReadVarintSlow(p, end, value);
}

inline bool ReadVarlong(const uint8_t** p, const uint8_t* end, int64_t* value) {
  const uint8_t* at = *p;
  if (at != end && *at < 0x80) {
    *value = record_batch_internal::UnZigzag(uint64_t{*at});
    *p = at + 1;
    return true;
  }
  return record_batch_internal::ReadVarlongSlow(p, end, value);
}

inline bool RecordIterator::Next(RecordView* record) {
  if (left_ <= 0) {
    if (error_ == BatchError::kOk && position_ != end_) error_ = BatchError::kBytesBehindRecords;
    return false;
  }
  if (position_ == end_) return Fail(BatchError::kTooFewRecords);
  const uint8_t* p = position_;
  int32_t size;
  if (!ReadVarint(&p, end_, &size)) return Fail(BatchError::kVarint);
  if (size <= 0 || size > end_ - p) return Fail(BatchError::kRecordSize);
  const uint8_t* end = p + size;
  record->attributes = static_cast<int8_t>(*p++);
  if (!ReadVarlong(&p, end, &record->timestamp_delta)) return Fail(BatchError::kVarint);
  if (!ReadVarint(&p, end, &record->offset_delta)) return Fail(BatchError::kVarint);
  int32_t key_size;
  if (!ReadVarint(&p, end, &key_size)) return Fail(BatchError::kVarint);
  if (key_size < -1 || key_size > end - p) return Fail(BatchError::kRecordSize);
  record->key = {p, key_size};
  if (key_size > 0) p += key_size;
  int32_t value_size;
  if (!ReadVarint(&p, end, &value_size)) return Fail(BatchError::kVarint);
  if (value_size < -1 || value_size > end - p) return Fail(BatchError::kRecordSize);
  record->value = {p, value_size};
  if (value_size > 0) p += value_size;
  if (!ReadVarint(&p, end, &record->header_count)) return Fail(BatchError::kVarint);
  // The smallest header is two bytes: an empty key and a null value.
  if (record->header_count < 0 || record->header_count > (end - p) / 2)
    return Fail(BatchError::kRecordHeaders);
  if (record->header_count == 0 && p != end) return Fail(BatchError::kRecordSize);
  record->headers = {p, static_cast<size_t>(end - p)};
  position_ = end;
  left_--;
  return true;
}

}  // namespace varve
