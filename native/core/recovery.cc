// SPDX-License-Identifier: Apache-2.0
#include "core/recovery.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/offset_index.h"

namespace varve {
namespace {

bool AllZero(Bytes bytes) {
  if (bytes.empty()) return true;
  return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

/// The batch at the front, judged on its own: its place in the log is the caller's to check.
ScanStop JudgeBatch(Bytes bytes, bool verify_crc, BatchHeader* header) {
  switch (ParseBatchHeader(bytes, header)) {
    case BatchError::kOk:
      break;
    case BatchError::kEmpty:
    case BatchError::kTruncatedHeader:
      return ScanStop::kShortBatch;
    default:
      return ScanStop::kBadHeader;
  }
  if (!PlausibleHeader(*header)) return ScanStop::kBadHeader;
  if (header->SizeBytes() > bytes.size()) return ScanStop::kShortBatch;
  if (verify_crc && !VerifyCrc(bytes.first(header->SizeBytes()))) return ScanStop::kBadCrc;
  return ScanStop::kEnd;
}

}  // namespace

const char* ScanStopName(ScanStop stop) {
  switch (stop) {
    case ScanStop::kEnd:
      return "end";
    case ScanStop::kZeroFill:
      return "zero fill";
    case ScanStop::kShortBatch:
      return "unfinished batch";
    case ScanStop::kBadHeader:
      return "impossible batch header";
    case ScanStop::kBadCrc:
      return "CRC mismatch";
    case ScanStop::kOffsetGap:
      return "base offset does not continue the log";
  }
  return "unknown";
}

bool PlausibleHeader(const BatchHeader& header) {
  return header.base_offset >= 0 && header.last_offset_delta >= 0 &&
         header.base_offset <= std::numeric_limits<int64_t>::max() - kRelativeOffsetMax - 1 &&
         header.record_count >= 0 && (header.attributes & ~kKnownAttributes) == 0 && header.HasKnownCodec() &&
         header.partition_leader_epoch >= -1;
}

bool FindValidBatch(Bytes bytes, int64_t expected_offset) {
  uint64_t crc_budget = 4 * static_cast<uint64_t>(bytes.size());
  for (size_t at = 0; at + kBatchHeaderBytes <= bytes.size(); ++at) {
    const void* magic =
        std::memchr(bytes.data() + at + kMagicPosition, kMagicV2, bytes.size() - at - kBatchHeaderBytes + 1);
    if (magic == nullptr) return false;
    at = static_cast<size_t>(static_cast<const uint8_t*>(magic) - bytes.data()) - kMagicPosition;
    const Bytes rest = bytes.subspan(at);
    BatchHeader header;
    if (ParseBatchHeader(rest, &header) != BatchError::kOk || !PlausibleHeader(header)) continue;
    if (header.base_offset < expected_offset || header.base_offset - expected_offset > kRelativeOffsetMax)
      continue;
    if (header.SizeBytes() > rest.size()) continue;
    if (header.SizeBytes() > crc_budget) return false;
    crc_budget -= header.SizeBytes();
    if (VerifyCrc(rest.first(header.SizeBytes()))) return true;
  }
  return false;
}

ScanResult ScanBatches(Bytes bytes, const ScanOptions& options, const ScanVisitor& visit) {
  ScanResult result;
  result.next_offset = options.expected_offset;
  while (result.valid_bytes < bytes.size()) {
    const Bytes rest = bytes.subspan(result.valid_bytes);
    BatchHeader header;
    ScanStop stop = JudgeBatch(rest, options.verify_crc, &header);
    if (stop == ScanStop::kEnd) {
      bool continues = header.base_offset == result.next_offset;
      if (header.base_offset > result.next_offset) {
        BatchHeader next;
        continues = JudgeBatch(rest.subspan(header.SizeBytes()), options.verify_crc, &next) == ScanStop::kEnd
                        ? next.base_offset >= header.NextOffset()
                        : options.gaps_allowed;
      }
      if (!continues || header.LastOffset() - options.segment_base_offset > kRelativeOffsetMax) {
        stop = ScanStop::kOffsetGap;
      }
    }
    if (stop != ScanStop::kEnd) {
      if (AllZero(rest)) {
        result.stop = ScanStop::kZeroFill;
        result.verdict = ScanVerdict::kTruncateTail;
        return result;
      }
      result.stop = stop;
      result.verdict = FindValidBatch(rest.subspan(1), result.next_offset) ? ScanVerdict::kMidCorruption
                                                                           : ScanVerdict::kTruncateTail;
      return result;
    }
    const Bytes batch = rest.first(header.SizeBytes());
    if (visit) visit(header, result.valid_bytes, batch);
    result.valid_bytes += batch.size();
    result.next_offset = header.NextOffset();
    ++result.batch_count;
  }
  return result;
}

}  // namespace varve
