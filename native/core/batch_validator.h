// SPDX-License-Identifier: Apache-2.0
// What a broker accepts as a record batch: from a client's Produce (everything is looked at, inside
// compressed batches too), and from a disk or another broker (header and CRC). Kafka's LogValidator and
// UnifiedLog.analyzeAndValidateRecords are the model; where Kafka lets pass what harms every consumer of the
// partition, strict validation does not.
//
// Sequence numbers against what the producer sent before are the log's to check, and so is the size of a
// segment. Pure functions: no clock, no files; the only memory is the caller's scratch.
#pragma once

#include <cstdint>

#include "core/bytes.h"
#include "core/compression.h"
#include "core/record_batch.h"

namespace varve {

struct ValidationOptions {
  int64_t now_ms = 0;
  int32_t max_message_bytes = 1048588;                       // max.message.bytes
  uint64_t max_decompressed_bytes = uint64_t{64} * 1048588;  // max.decompressed.batch.bytes
  int64_t timestamp_before_max_ms = INT64_MAX;               // message.timestamp.before.max.ms
  int64_t timestamp_after_max_ms = 3'600'000;                // message.timestamp.after.max.ms
  bool log_append_time = false;                              // message.timestamp.type=LogAppendTime
  bool compacted = false;                                    // cleanup.policy has compact
  bool zstd_allowed = true;                                  // Produce version >= 7
  /// strict.produce.validation; without it what Apache Kafka accepts is accepted, and nothing is
  /// decompressed.
  bool strict = true;
};

/// What a validated batch is known to be. Undefined after an error, but for `header` from kCodecUnavailable
/// and failed_record.
struct ValidatedBatch {
  BatchHeader header;
  /// Largest record timestamp, -1 when no record has one; the time of append for LogAppendTime topics.
  /// Without a look inside (inspected = false) it is what the header claims.
  int64_t max_timestamp = kNoTimestamp;
  /// Index of the first record that has it (ListOffsets -3), -1 when none has one or nobody looked.
  int32_t offset_delta_of_max_timestamp = -1;
  /// The header claims another maxTimestamp than the records have (CreateTime only). Kafka rewrites it, and
  /// so must whoever stores the batch: PatchMaxTimestamp. A lie must not get into the time index.
  bool max_timestamp_mismatch = false;
  bool has_null_key = false;
  /// The records were looked at.
  bool inspected = false;
  /// Index of the record that an error is about, -1: none (ProduceResponse's recordErrors, KIP-467).
  int32_t failed_record = -1;
};

/// Judges what a client sent as the one batch of a partition. kCodecUnavailable: all but the records is in
/// order and they are to be decoded elsewhere, then given to ValidateRecords. The scratch is trimmed on
/// return.
BatchError ValidateProduceBatch(Bytes batch, const ValidationOptions& options, DecodeScratch* scratch,
                                ValidatedBatch* out);

/// The part of ValidateProduceBatch that looks at (decompressed) records; `out->header` is set.
BatchError ValidateRecords(Bytes records, const ValidationOptions& options, ValidatedBatch* out);

/// A batch from a log or a leader: whole, sane in its header, and its CRC right. Records are not looked at.
BatchError CheckStoredBatch(Bytes batch, BatchHeader* header);

/// The uncompressed record bytes of a stored batch, for looking up a timestamp or compacting; views of
/// `batch` or of the scratch. `limit` bounds what they may decode to (a batch that
/// another broker took may lie above the ratio of DecodedBytesLimit).
BatchError DecodeRecords(Bytes batch, const BatchHeader& header, uint64_t limit, DecodeScratch* scratch,
                         Bytes* records);

/// Kafka's error code for what is wrong with a produced batch.
constexpr int16_t KafkaErrorCode(BatchError error) {
  constexpr int16_t kNone = 0, kCorruptMessage = 2, kMessageTooLarge = 10, kInvalidTimestamp = 32,
                    kUnsupportedCompressionType = 76, kInvalidRecord = 87;
  switch (error) {
    case BatchError::kOk:
      return kNone;
    case BatchError::kLengthTooSmall:
    case BatchError::kUnknownMagic:
    case BatchError::kCrcMismatch:
      return kCorruptMessage;
    case BatchError::kBatchTooLarge:
    case BatchError::kDecompressedTooLarge:
      return kMessageTooLarge;
    case BatchError::kTimestampOutOfRange:
    case BatchError::kLogAppendTimeByClient:
      return kInvalidTimestamp;
    case BatchError::kUnknownCodec:
    case BatchError::kZstdTooOldApi:
    case BatchError::kCodecUnavailable:
      return kUnsupportedCompressionType;
    case BatchError::kEmpty:
    case BatchError::kTruncatedHeader:
    case BatchError::kLengthBeyondBytes:
    case BatchError::kLegacyMagic:
    case BatchError::kTrailingBytes:
    case BatchError::kBaseOffsetNotZero:
    case BatchError::kOffsets:
    case BatchError::kRecordCountNotPositive:
    case BatchError::kRecordCountMismatch:
    case BatchError::kUndecodable:
    case BatchError::kRecordSize:
    case BatchError::kVarint:
    case BatchError::kRecordHeaders:
    case BatchError::kTooFewRecords:
    case BatchError::kBytesBehindRecords:
    case BatchError::kOffsetDelta:
    case BatchError::kControlBatch:
    case BatchError::kDeleteHorizon:
    case BatchError::kUnknownAttributes:
    case BatchError::kLinkedLz4Blocks:
    case BatchError::kNullKey:
    case BatchError::kProducerId:
    case BatchError::kProducerEpoch:
    case BatchError::kSequence:
    case BatchError::kTransactionalWithoutProducer:
      return kInvalidRecord;
  }
  return kInvalidRecord;
}

/// One line for ProduceResponse's errorMessage and for logs: what is wrong, and what to do where the sender
/// can do something.
constexpr const char* BatchErrorText(BatchError error) {
  switch (error) {
    case BatchError::kOk:
      return "";
    case BatchError::kEmpty:
      return "The partition's records are empty: send one record batch per partition.";
    case BatchError::kTruncatedHeader:
      return "The records end before a batch header does.";
    case BatchError::kLengthTooSmall:
      return "The batch length is smaller than a batch header.";
    case BatchError::kLengthBeyondBytes:
      return "The batch length runs past the records that were sent.";
    case BatchError::kLegacyMagic:
      return "Message formats 0 and 1 are not accepted: produce record batches of format 2 (Kafka 0.11 or "
             "later).";
    case BatchError::kUnknownMagic:
      return "The batch's magic byte names no known message format.";
    case BatchError::kCrcMismatch:
      return "The batch's CRC32C does not match its bytes: they were damaged on the way.";
    case BatchError::kBatchTooLarge:
      return "The batch is larger than max.message.bytes of the topic.";
    case BatchError::kTrailingBytes:
      return "More bytes follow the batch: send exactly one record batch per partition.";
    case BatchError::kBaseOffsetNotZero:
      return "The base offset of a produced batch must be 0.";
    case BatchError::kOffsets:
      return "The batch's offsets are negative, or fewer than its records.";
    case BatchError::kRecordCountNotPositive:
      return "The batch has no records.";
    case BatchError::kRecordCountMismatch:
      return "The record count is not the last offset delta + 1.";
    case BatchError::kUnknownCodec:
      return "The compression type is not one of none, gzip, snappy, lz4, zstd.";
    case BatchError::kZstdTooOldApi:
      return "Zstandard needs Produce version 7 or later.";
    case BatchError::kCodecUnavailable:
      return "The broker has no decoder for this compression type.";
    case BatchError::kUndecodable:
      return "The compressed records do not decode: damaged, truncated, or not of the compression type "
             "named.";
    case BatchError::kDecompressedTooLarge:
      return "The records decompress to more than max.decompressed.batch.bytes or 1000 times their "
             "compressed size.";
    case BatchError::kRecordSize:
      return "A record's size disagrees with its fields or with the bytes that are there.";
    case BatchError::kVarint:
      return "A record holds a variable-length number that is cut off or too long.";
    case BatchError::kRecordHeaders:
      return "A record's headers do not parse.";
    case BatchError::kTooFewRecords:
      return "The batch holds fewer records than its header says.";
    case BatchError::kBytesBehindRecords:
      return "Bytes are left behind the last record of the batch.";
    case BatchError::kOffsetDelta:
      return "A record's offset delta is not its index in the batch.";
    case BatchError::kControlBatch:
      return "Clients may not write control records.";
    case BatchError::kDeleteHorizon:
      return "Clients may not set a delete horizon.";
    case BatchError::kUnknownAttributes:
      return "The batch has attributes that format 2 does not know.";
    case BatchError::kLinkedLz4Blocks:
      return "The LZ4 frame has dependent blocks, which Java clients cannot read: compress with independent "
             "blocks.";
    case BatchError::kTimestampOutOfRange:
      return "A record's timestamp is outside what message.timestamp.before.max.ms and .after.max.ms allow.";
    case BatchError::kLogAppendTimeByClient:
      return "Clients must send create time: the LogAppendTime attribute is the broker's to set.";
    case BatchError::kNullKey:
      return "Records without a key are not accepted by a compacted topic.";
    case BatchError::kProducerId:
      return "The producer id is negative but not -1.";
    case BatchError::kProducerEpoch:
      return "The batch has a producer id but no producer epoch.";
    case BatchError::kSequence:
      return "The batch has a producer id but no sequence number.";
    case BatchError::kTransactionalWithoutProducer:
      return "A transactional batch needs a producer id.";
  }
  return "The batch is not valid.";
}

}  // namespace varve
