// SPDX-License-Identifier: Apache-2.0
#include "core/batch_validator.h"

#include "core/crc32c.h"

namespace varve {

namespace {

/// The header's part: what needs no look at records.
BatchError CheckHeader(const BatchHeader& header, const ValidationOptions& options) {
  if (header.base_offset != 0) return BatchError::kBaseOffsetNotZero;
  if (header.record_count <= 0) return BatchError::kRecordCountNotPositive;
  if (header.last_offset_delta != header.record_count - 1) return BatchError::kRecordCountMismatch;
  // The log takes no unknown bits either: recovery tells batches from garbage by them.
  if ((header.attributes & ~kKnownAttributes) != 0) return BatchError::kUnknownAttributes;
  if (!header.HasKnownCodec()) return BatchError::kUnknownCodec;
  if (header.codec() == Codec::kZstd && !options.zstd_allowed) return BatchError::kZstdTooOldApi;
  if (header.IsControl()) return BatchError::kControlBatch;
  if (header.HasProducerId() && header.base_sequence < 0) return BatchError::kSequence;
  // Kafka refuses the bit where it is going to set it itself, and lets it pass where it changes every
  // record's timestamp.
  bool log_append_time = header.timestamp_type() == TimestampType::kLogAppendTime;
  if (log_append_time && (options.strict || options.log_append_time))
    return BatchError::kLogAppendTimeByClient;
  if (!options.strict) return BatchError::kOk;
  if (header.HasDeleteHorizon()) return BatchError::kDeleteHorizon;
  if (header.producer_id < kNoProducerId) return BatchError::kProducerId;
  if (header.HasProducerId() && header.producer_epoch < 0) return BatchError::kProducerEpoch;
  if (header.IsTransactional() && !header.HasProducerId()) return BatchError::kTransactionalWithoutProducer;
  return BatchError::kOk;
}

/// Create times that a topic takes: Kafka's LogValidator.recordHasInvalidTimestamp as two bounds.
struct TimestampRange {
  int64_t first = INT64_MIN;
  int64_t last = INT64_MAX;

  explicit TimestampRange(const ValidationOptions& options) {
    if (__builtin_sub_overflow(options.now_ms, options.timestamp_before_max_ms, &first)) first = INT64_MIN;
    if (__builtin_add_overflow(options.now_ms, options.timestamp_after_max_ms, &last)) last = INT64_MAX;
  }
  bool Allows(int64_t timestamp) const {
    return (timestamp >= first && timestamp <= last) || timestamp == kNoTimestamp;
  }
};

BatchError FromDecode(DecodeError error) {
  switch (error) {
    case DecodeError::kOk:
      return BatchError::kOk;
    case DecodeError::kInvalid:
      return BatchError::kUndecodable;
    case DecodeError::kTooLarge:
      return BatchError::kDecompressedTooLarge;
    case DecodeError::kUnavailable:
      return BatchError::kCodecUnavailable;
  }
  return BatchError::kUndecodable;
}

/// Not strict and compressed: the header has to be believed, as far as it may be.
BatchError TrustHeader(const ValidationOptions& options, ValidatedBatch* out) {
  if (!options.log_append_time && !TimestampRange(options).Allows(out->header.max_timestamp)) {
    return BatchError::kTimestampOutOfRange;
  }
  out->max_timestamp = options.log_append_time ? options.now_ms : out->header.max_timestamp;
  return BatchError::kOk;
}

bool HeadersParse(const RecordView& record) {
  HeaderIterator headers(record);
  HeaderView header;
  while (headers.Next(&header)) {
  }
  return headers.error() == BatchError::kOk;
}

}  // namespace

BatchError ValidateRecords(Bytes records, const ValidationOptions& options, ValidatedBatch* out) {
  const BatchHeader& header = out->header;
  const TimestampRange range(options);
  // Only without strict: every record has the header's timestamp then.
  const bool fixed_timestamp = header.timestamp_type() == TimestampType::kLogAppendTime;
  RecordIterator iterator(records, header.record_count);
  RecordView record;
  int64_t max_timestamp = kNoTimestamp;
  int32_t max_index = -1;
  bool has_null_key = false;
  int32_t index = 0;
  auto fail = [&](BatchError error) {
    if (index < header.record_count) out->failed_record = index;
    return error;
  };
  for (; iterator.Next(&record); index++) {
    if (options.strict && record.offset_delta != index) return fail(BatchError::kOffsetDelta);
    if (record.header_count != 0 && !HeadersParse(record)) return fail(BatchError::kRecordHeaders);
    has_null_key |= record.key.IsNull();
    if (options.compacted && has_null_key) return fail(BatchError::kNullKey);
    if (options.log_append_time) continue;
    int64_t timestamp;
    if (__builtin_add_overflow(header.base_timestamp, record.timestamp_delta, &timestamp)) {
      return fail(BatchError::kTimestampOutOfRange);
    }
    if (fixed_timestamp) timestamp = header.max_timestamp;
    if (!range.Allows(timestamp)) return fail(BatchError::kTimestampOutOfRange);
    if (timestamp > max_timestamp) {
      max_timestamp = timestamp;
      max_index = index;
    }
  }
  if (iterator.error() != BatchError::kOk) return fail(iterator.error());
  out->max_timestamp = options.log_append_time ? options.now_ms : max_timestamp;
  out->offset_delta_of_max_timestamp = options.log_append_time ? 0 : max_index;
  out->max_timestamp_mismatch = !options.log_append_time && max_timestamp != header.max_timestamp;
  out->has_null_key = has_null_key;
  out->inspected = true;
  return BatchError::kOk;
}

BatchError ValidateProduceBatch(Bytes batch, const ValidationOptions& options, DecodeScratch* scratch,
                                ValidatedBatch* out) {
  *out = ValidatedBatch{};
  BatchHeader& header = out->header;
  BatchError error = ParseBatchHeader(batch, &header);
  if (error != BatchError::kOk) return error;
  if (header.SizeBytes() > batch.size()) return BatchError::kLengthBeyondBytes;
  if (header.SizeBytes() < batch.size()) return BatchError::kTrailingBytes;
  if (header.SizeBytes() > static_cast<uint64_t>(options.max_message_bytes))
    return BatchError::kBatchTooLarge;
  if (!VerifyCrc(batch)) return BatchError::kCrcMismatch;
  error = CheckHeader(header, options);
  // It stands for a timestamp of every record; Kafka names them.
  if (error == BatchError::kLogAppendTimeByClient) out->failed_record = 0;
  if (error != BatchError::kOk) return error;
  const Bytes payload = batch.subspan(kBatchHeaderBytes);
  Bytes records = payload;
  if (!header.IsCompressed()) return ValidateRecords(records, options, out);
  if (!options.strict) return TrustHeader(options, out);
  uint64_t limit = DecodedBytesLimit(records.size(), options.max_decompressed_bytes);
  error = DecodeRecords(batch, header, limit, scratch, &records);
  // Readable here, and by librdkafka; but neither by Apache Kafka nor by Java's clients.
  if (error == BatchError::kOk && header.codec() == Codec::kLz4 && Lz4BlocksAreLinked(payload))
    error = BatchError::kLinkedLz4Blocks;
  if (error == BatchError::kOk) error = ValidateRecords(records, options, out);
  scratch->Trim();
  return error;
}

BatchError CheckStoredBatch(Bytes batch, BatchHeader* header) {
  BatchError error = ParseBatchHeader(batch, header);
  if (error != BatchError::kOk) return error;
  if (header->SizeBytes() > batch.size()) return BatchError::kLengthBeyondBytes;
  // Compaction leaves fewer records than offsets, down to none.
  bool offsets_fit = header->base_offset >= 0 && header->last_offset_delta >= 0 &&
                     header->base_offset < INT64_MAX - header->last_offset_delta &&
                     header->record_count >= 0 && header->record_count - 1 <= header->last_offset_delta;
  if (!offsets_fit) return BatchError::kOffsets;
  if (!VerifyCrc(batch.first(header->SizeBytes()))) return BatchError::kCrcMismatch;
  return BatchError::kOk;
}

BatchError DecodeRecords(Bytes batch, const BatchHeader& header, uint64_t limit, DecodeScratch* scratch,
                         Bytes* records) {
  if (!header.HasKnownCodec()) return BatchError::kUnknownCodec;
  Bytes stored = batch.first(header.SizeBytes()).subspan(kBatchHeaderBytes);
  if (header.codec() == Codec::kNone) {
    *records = stored;
    return BatchError::kOk;
  }
  return FromDecode(Decompress(header.codec(), stored, limit, scratch, records));
}

}  // namespace varve
