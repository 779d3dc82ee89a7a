// SPDX-License-Identifier: Apache-2.0
// Record batch v2 (magic 2, KIP-98): Kafka's unit on the wire and on disk. Layout, header, records inside,
// and making one. Pure functions over bytes: whoever calls owns them. What a broker accepts from a client:
// batch_validator.h.
//
//   offset  size  field                  note
//        0     8  baseOffset             \
//        8     4  batchLength             | outside the CRC, so that a broker sets offset and epoch in place;
//       12     4  partitionLeaderEpoch    | batchLength counts the bytes behind itself (size - 12)
//       16     1  magic                   | 2
//       17     4  crc                    /  CRC32C of all that follows
//       21     2  attributes             bits 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6
//       delete horizon (KIP-534) 23     4  lastOffsetDelta        last offset - baseOffset; kept by
//       compaction 27     8  baseTimestamp          what record timestamps count from; with bit 6 the delete
//       horizon 35     8  maxTimestamp           with bit 3 the time of append, which is then every record's
//       timestamp 43     8  producerId             -1: none 51     2  producerEpoch 53     4  baseSequence
//       sequence of the first record; -1: none 57     4  recordCount 61     .  records                as one
//       compressed stream when there is a codec
//
// A record (varint: zigzag, at most 5 bytes; varlong: at most 10; size -1: null):
//   size varint | attributes int8 (0) | timestampDelta varlong | offsetDelta varint | keySize varint, key |
//   valueSize varint, value | headerCount varint | headerCount x (keySize varint, key | valueSize varint,
//   value)
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
/// Sets maxTimestamp, which the client had wrong, and redoes the CRC.
void PatchMaxTimestamp(MutableBytes batch, int64_t max_timestamp);
/// Stores the CRC of the batch as it is.
void StoreCrc(MutableBytes batch);

}  // namespace varve
