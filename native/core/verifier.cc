// SPDX-License-Identifier: Apache-2.0
#include "core/verifier.h"

#include <algorithm>

#include "core/record_batch.h"
#include "core/recovery.h"

namespace varve {

SegmentVerifier::SegmentVerifier(std::string name, int64_t base_offset, uint32_t trusted_from)
    : name_(std::move(name)),
      base_offset_(base_offset),
      trusted_from_(trusted_from),
      all_trusted_(trusted_from == 0) {}

void SegmentVerifier::SetSeal(const Seal& seal) {
  std::lock_guard<std::mutex> lock(mutex_);
  seal_ = seal;
  sealed_bytes_ = static_cast<uint32_t>(std::min<uint64_t>(seal.size_bytes, trusted_from_));
  const uint32_t words = (seal.block_count() + 63) / 64;
  verified_blocks_ = std::make_unique<std::atomic<uint64_t>[]>(words);
}

void SegmentVerifier::TrustAll() { all_trusted_.store(true, std::memory_order_release); }

Status SegmentVerifier::Corrupt(uint64_t position, const std::string& what) const {
  return Status(Code::kCorrupt,
                name_ + " at position " + std::to_string(position) + ": " + what +
                    "; these bytes are not what was written and will not be served: restore the "
                    "file from a replica or a backup, or delete records up to the next segment");
}

bool SegmentVerifier::BlockVerified(uint32_t block) const {
  return (verified_blocks_[block / 64].load(std::memory_order_acquire) >> (block % 64) & 1) != 0;
}

Status SegmentVerifier::Check(Bytes bytes, uint32_t from, uint32_t to, int64_t next_offset) {
  to = std::min<uint32_t>({to, trusted_from_, static_cast<uint32_t>(bytes.size())});
  if (from >= to) return Status::Ok();
  if (from < sealed_bytes_) VARVE_TRY(CheckBlocks(bytes, from, std::min(to, sealed_bytes_)));
  if (to <= sealed_bytes_) return Status::Ok();
  return CheckBatches(bytes, std::max(from, sealed_bytes_), to, next_offset);
}

Status SegmentVerifier::CheckBlocks(Bytes bytes, uint32_t from, uint32_t to) {
  for (uint32_t block = from / kSealBlockBytes; block <= (to - 1) / kSealBlockBytes; ++block) {
    if (BlockVerified(block)) continue;
    std::lock_guard<std::mutex> lock(mutex_);
    if (BlockVerified(block)) continue;
    const uint64_t begin = uint64_t{block} * kSealBlockBytes;
    const uint64_t size = seal_->BlockBytes(block);
    if (begin + size > bytes.size()) return Corrupt(bytes.size(), "shorter than its seal says");
    if (!seal_->VerifyBlock(block, bytes.subspan(begin, size)))
      return Corrupt(begin, "block differs from its seal");
    verified_blocks_[block / 64].fetch_or(uint64_t{1} << (block % 64), std::memory_order_release);
    if (++verified_block_count_ == seal_->block_count() && sealed_bytes_ == trusted_from_) TrustAll();
  }
  return Status::Ok();
}

Status SegmentVerifier::CheckBatches(Bytes bytes, uint32_t from, uint32_t to, int64_t next_offset) {
  std::lock_guard<std::mutex> lock(mutex_);
  uint32_t position = from;
  while (position < to) {
    // The verified range that holds this position, or the batch that begins here.
    auto after = std::upper_bound(ranges_.begin(), ranges_.end(), position,
                                  [](uint32_t at, const Range& range) { return at < range.from; });
    const Range* before = after == ranges_.begin() ? nullptr : &*(after - 1);
    if (before != nullptr && position < before->to) {
      position = before->to;
      continue;
    }
    const Bytes rest = bytes.subspan(position);
    BatchHeader header;
    if (ParseBatchHeader(rest, &header) != BatchError::kOk || !PlausibleHeader(header)) {
      return Corrupt(position, "no batch header");
    }
    if (header.SizeBytes() > rest.size())
      return Corrupt(position, "the batch runs past the end of the segment");
    if (!VerifyCrc(rest.first(header.SizeBytes()))) return Corrupt(position, "batch CRC mismatch");
    // Base offsets lie outside the CRC. Compaction leaves holes, so they need not follow each other; but one that was
    // changed overlaps the batch before or behind it, or ends beyond the segment.
    const bool joins = before != nullptr && before->to == position;
    const uint32_t end = position + static_cast<uint32_t>(header.SizeBytes());
    BatchHeader next;
    const bool has_next =
        end < bytes.size() && ParseBatchHeader(bytes.subspan(end), &next) == BatchError::kOk;
    if (header.base_offset < (joins ? before->next_offset : base_offset_) ||
        header.NextOffset() > (has_next ? next.base_offset : next_offset)) {
      return Corrupt(position, "the base offset does not continue the segment");
    }
    AddRange({position, end, header.NextOffset()});
    position = end;
  }
  return Status::Ok();
}

void SegmentVerifier::AddRange(const Range& range) {
  if (ranges_.size() >= kRangesMax) ranges_.clear();
  auto at = std::upper_bound(ranges_.begin(), ranges_.end(), range.from,
                             [](uint32_t from, const Range& other) { return from < other.from; });
  if (at != ranges_.begin() && (at - 1)->to == range.from) {
    --at;
    at->to = range.to;
    at->next_offset = range.next_offset;
  } else {
    at = ranges_.insert(at, range);
  }
  const auto next = at + 1;
  if (next != ranges_.end() && next->from == at->to) {
    at->to = next->to;
    at->next_offset = next->next_offset;
    ranges_.erase(next);
  }
  if (ranges_.size() == 1 && ranges_.front().from <= sealed_bytes_ && ranges_.front().to >= trusted_from_) {
    // Sealed blocks keep their own marks; only a segment without a seal is done here.
    if (sealed_bytes_ == 0) TrustAll();
  }
}

}  // namespace varve
