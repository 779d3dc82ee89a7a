// SPDX-License-Identifier: Apache-2.0
#include "core/seal.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "core/crc32c.h"

namespace varve {
namespace {

constexpr size_t kVersionPosition = 4;
constexpr size_t kCrcBytes = 4;
/// What every version has: magic, version, reserved, and the CRC at the end.
constexpr size_t kFileBytesMin = 8 + kCrcBytes;

Status Corrupt(const char* what) {
  return Status(Code::kCorrupt, std::string("seal: ") + what + "; scan the segment and seal it again");
}

void StoreSum(uint8_t* to, const FileSum& sum) {
  StoreU32(to, sum.size_bytes);
  StoreU32(to + 4, sum.crc);
}
FileSum LoadSum(const uint8_t* at) { return {LoadU32(at), LoadU32(at + 4)}; }

uint64_t BlocksOf(uint64_t size_bytes) { return (size_bytes + kSealBlockBytes - 1) / kSealBlockBytes; }

}  // namespace

uint32_t Seal::BlockBytes(uint32_t block) const {
  if (block >= block_count()) return 0;
  return static_cast<uint32_t>(
      std::min<uint64_t>(kSealBlockBytes, size_bytes - uint64_t{block} * kSealBlockBytes));
}

bool Seal::VerifyBlock(uint32_t block, Bytes bytes) const {
  return block < block_count() && bytes.size() == BlockBytes(block) && Crc32c(0, bytes) == block_crcs[block];
}

std::vector<uint8_t> Seal::Encode() const {
  std::vector<uint8_t> bytes(kSealHeaderBytes + block_crcs.size() * 4 + kCrcBytes);
  uint8_t* to = bytes.data();
  StoreU32(to, kSealMagic);
  StoreU16(to + kVersionPosition, kSealVersion);
  StoreU16(to + 6, 0);
  StoreI64(to + 8, base_offset);
  StoreI64(to + 16, next_offset);
  StoreU64(to + 24, size_bytes);
  StoreI64(to + 32, max_timestamp);
  StoreI64(to + 40, offset_of_max_timestamp);
  StoreU64(to + 48, record_count);
  StoreU64(to + 56, batch_count);
  StoreI32(to + 64, max_leader_epoch);
  StoreSum(to + 68, index);
  StoreSum(to + 76, time_index);
  StoreSum(to + 84, txn_index);
  StoreU32(to + 92, kSealBlockBytes);
  StoreU32(to + 96, block_count());
  for (size_t block = 0; block < block_crcs.size(); block++) {
    StoreU32(to + kSealHeaderBytes + block * 4, block_crcs[block]);
  }
  const size_t crc_position = bytes.size() - kCrcBytes;
  StoreU32(to + crc_position, Crc32c(0, {to, crc_position}));
  return bytes;
}

Result<Seal> Seal::Load(Bytes file, int64_t base_offset) {
  if (file.size() < kFileBytesMin) return Corrupt("too short");
  const uint8_t* at = file.data();
  if (LoadU32(at) != kSealMagic) return Corrupt("not a seal");
  const size_t crc_position = file.size() - kCrcBytes;
  if (LoadU32(at + crc_position) != Crc32c(0, file.first(crc_position))) return Corrupt("damaged");
  const uint16_t version = LoadU16(at + kVersionPosition);
  if (version > kSealVersion) {
    return Status(Code::kUnsupported, "seal: format version " + std::to_string(version) +
                                          ", this varve knows " + std::to_string(kSealVersion) +
                                          "; open this log directory with the newer varve that wrote it");
  }
  if (version != kSealVersion || file.size() < kSealHeaderBytes + kCrcBytes)
    return Corrupt("no version 1 seal");
  Seal seal;
  seal.base_offset = LoadI64(at + 8);
  seal.next_offset = LoadI64(at + 16);
  seal.size_bytes = LoadU64(at + 24);
  seal.max_timestamp = LoadI64(at + 32);
  seal.offset_of_max_timestamp = LoadI64(at + 40);
  seal.record_count = LoadU64(at + 48);
  seal.batch_count = LoadU64(at + 56);
  seal.max_leader_epoch = LoadI32(at + 64);
  seal.index = LoadSum(at + 68);
  seal.time_index = LoadSum(at + 76);
  seal.txn_index = LoadSum(at + 84);
  if (seal.base_offset != base_offset) return Corrupt("of another segment");
  const uint64_t blocks = LoadU32(at + 96);
  if (seal.next_offset < seal.base_offset || LoadU32(at + 92) != kSealBlockBytes ||
      seal.size_bytes > std::numeric_limits<uint32_t>::max() || blocks != BlocksOf(seal.size_bytes) ||
      file.size() != kSealHeaderBytes + blocks * 4 + kCrcBytes) {
    return Corrupt("its fields disagree");
  }
  seal.block_crcs.resize(blocks);
  for (size_t block = 0; block < blocks; block++) {
    seal.block_crcs[block] = LoadU32(at + kSealHeaderBytes + block * 4);
  }
  return seal;
}

// --- SealBuilder ---

SealBuilder::SealBuilder(int64_t base_offset) {
  seal_.base_offset = base_offset;
  seal_.next_offset = base_offset;
}

Status SealBuilder::Fail(const char* what) {
  failed_ = true;
  return Status(Code::kCorrupt, "segment " + std::to_string(seal_.base_offset) + ": at position " +
                                    std::to_string(valid_bytes_) + ' ' + what);
}

void SealBuilder::AddToBlocks(Bytes bytes) {
  while (!bytes.empty()) {
    const uint32_t filled = static_cast<uint32_t>(seal_.size_bytes % kSealBlockBytes);
    if (filled == 0) seal_.block_crcs.push_back(0);
    const size_t take = std::min<size_t>(bytes.size(), kSealBlockBytes - filled);
    seal_.block_crcs.back() = Crc32c(seal_.block_crcs.back(), bytes.first(take));
    seal_.size_bytes += take;
    bytes = bytes.subspan(take);
  }
}

Status SealBuilder::Add(Bytes bytes) {
  if (failed_) return Status(Code::kInvalid, "seal: bytes after damage");
  AddToBlocks(bytes);
  while (!bytes.empty()) {
    if (header_filled_ < kBatchHeaderBytes) {
      const size_t take = std::min<size_t>(bytes.size(), kBatchHeaderBytes - header_filled_);
      std::memcpy(header_bytes_ + header_filled_, bytes.data(), take);
      header_filled_ += static_cast<uint32_t>(take);
      bytes = bytes.subspan(take);
      if (header_filled_ < kBatchHeaderBytes) break;
      VARVE_TRY(BeginBatch());
    } else {
      const size_t take = static_cast<size_t>(std::min<uint64_t>(bytes.size(), batch_left_));
      batch_crc_ = Crc32c(batch_crc_, bytes.first(take));
      batch_left_ -= take;
      bytes = bytes.subspan(take);
    }
    if (batch_left_ == 0) VARVE_TRY(EndBatch());
  }
  return Status::Ok();
}

Status SealBuilder::BeginBatch() {
  if (ParseBatchHeader({header_bytes_, kBatchHeaderBytes}, &header_) != BatchError::kOk ||
      header_.record_count < 0 || header_.last_offset_delta < 0) {
    return Fail("is no batch header");
  }
  if (header_.base_offset < seal_.next_offset ||
      header_.base_offset - seal_.base_offset >
          std::numeric_limits<int32_t>::max() - header_.last_offset_delta) {
    return Fail("is a batch whose offsets don't belong here");
  }
  batch_left_ = header_.SizeBytes() - kBatchHeaderBytes;
  batch_crc_ = Crc32c(0, {header_bytes_ + kAttributesPosition, kBatchHeaderBytes - kAttributesPosition});
  return Status::Ok();
}

Status SealBuilder::EndBatch() {
  if (batch_crc_ != header_.crc) return Fail("is a batch with a wrong CRC");
  header_filled_ = 0;
  CountBatch(header_);
  return Status::Ok();
}

void SealBuilder::AddBatch(const BatchHeader& header, Bytes first, Bytes second) {
  AddToBlocks(first);
  AddToBlocks(second);
  CountBatch(header);
}

void SealBuilder::CountBatch(const BatchHeader& header) {
  valid_bytes_ += header.SizeBytes();
  seal_.next_offset = header.NextOffset();
  seal_.batch_count++;
  seal_.record_count += static_cast<uint64_t>(header.record_count);
  seal_.max_leader_epoch = std::max(seal_.max_leader_epoch, header.partition_leader_epoch);
  if (header.max_timestamp > seal_.max_timestamp) {
    seal_.max_timestamp = header.max_timestamp;
    seal_.offset_of_max_timestamp = header.LastOffset();
  }
}

Result<Seal> SealBuilder::Finish(const FileSum& index, const FileSum& time_index, const FileSum& txn_index) {
  if (failed_) return Status(Code::kInvalid, "seal: finished after damage");
  if (valid_bytes_ != seal_.size_bytes) return Fail("is a batch that the end of the file cuts off");
  seal_.index = index;
  seal_.time_index = time_index;
  seal_.txn_index = txn_index;
  return seal_;
}

}  // namespace varve
