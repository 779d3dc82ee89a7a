// SPDX-License-Identifier: Apache-2.0
// Seal: what varve knows of a closed segment without reading it, and how it finds a byte that changed:
// `%020d.seal`, our own sidecar beside Kafka's files, which Kafka does not look at. Written once when a
// segment closes; start-up reads seals instead of segments, and the first read of each block after opening
// verifies that block. A missing or damaged seal costs one scan, never data.
//
//   offset size field, big-endian
//        0    4 magic                 0x5653454c ("VSEL")
//        4    2 version               1
//        6    2 reserved              0
//        8    8 baseOffset            of the segment (its name)
//       16    8 nextOffset            behind the last batch; baseOffset when the segment is empty
//       24    8 sizeBytes             of the .log file
//       32    8 maxTimestamp          -1: no batch has one
//       40    8 offsetOfMaxTimestamp  last offset of the first batch with it, as in the time index; -1: none
//       48    8 recordCount
//       56    8 batchCount
//       64    4 maxLeaderEpoch        -1: none
//       68    4 indexBytes            size and CRC32C of the .index file
//       72    4 indexCrc
//       76    4 timeIndexBytes        ... of the .timeindex file
//       80    4 timeIndexCrc
//       84    4 txnIndexBytes         ... of the .txnindex file; 0 and 0 when there is none
//       88    4 txnIndexCrc
//       92    4 blockBytes            1048576
//       96    4 blockCount            sizeBytes / blockBytes, rounded up
//      100    4 x blockCount          CRC32C of each block of the .log file, the last one as far as it goes
//        .    4 crc                   CRC32C of all bytes before it
// Every version keeps magic and version in front and the CRC at the end. So damage (kCorrupt) is told from a
// newer version (kUnsupported).
#pragma once

#include <cstdint>
#include <vector>

#include "core/bytes.h"
#include "core/file_sum.h"
#include "core/record_batch.h"
#include "core/status.h"

namespace varve {

inline constexpr uint32_t kSealMagic = 0x5653454c;
inline constexpr uint16_t kSealVersion = 1;
inline constexpr uint32_t kSealHeaderBytes = 100;
inline constexpr uint32_t kSealBlockBytes = 1u << 20;

struct Seal {
  int64_t base_offset = 0;
  int64_t next_offset = 0;
  uint64_t size_bytes = 0;
  int64_t max_timestamp = kNoTimestamp;
  int64_t offset_of_max_timestamp = -1;
  uint64_t record_count = 0;
  uint64_t batch_count = 0;
  int32_t max_leader_epoch = kNoLeaderEpoch;
  FileSum index;
  FileSum time_index;
  FileSum txn_index;
  std::vector<uint32_t> block_crcs;

  bool operator==(const Seal&) const = default;

  uint32_t block_count() const { return static_cast<uint32_t>(block_crcs.size()); }
  /// Size of block `block`: kSealBlockBytes but for the last.
  uint32_t BlockBytes(uint32_t block) const;
  /// Whether `bytes` is block `block` as it was sealed; false for a block that is none, or another size.
  bool VerifyBlock(uint32_t block, Bytes bytes) const;

  std::vector<uint8_t> Encode() const;
  /// kCorrupt: damaged, or of another segment than `base_offset`: the segment counts as unsealed, scan and
  /// seal it again. kUnsupported: written by a newer varve; the text says so.
  static Result<Seal> Load(Bytes file, int64_t base_offset);
};

/// Makes a seal from the bytes of a .log file, in pieces of any size, from the front; checks on the way that
/// they are whole batches with right CRCs and rising offsets, so that damage is never sealed in. Not
/// thread-safe.
class SealBuilder {
 public:
  explicit SealBuilder(int64_t base_offset);

  /// The next piece. kCorrupt, naming the position, when it is not what a log holds; then the builder is of
  /// no more use.
  Status Add(Bytes bytes);
  /// The next batch, whose CRC and offsets the caller vouches for: `first` holds at least its header, `second` the
  /// rest. Only between batches.
  void AddBatch(const BatchHeader& header, Bytes first, Bytes second);
  uint64_t size_bytes() const { return seal_.size_bytes; }
  /// The seal; kCorrupt when the bytes ended within a batch. The sums are those of the index files as they
  /// are on disk.
  Result<Seal> Finish(const FileSum& index, const FileSum& time_index, const FileSum& txn_index);

  /// Everything before it is good; where the batch under way began.
  uint64_t valid_bytes() const { return valid_bytes_; }

 private:
  Status Fail(const char* what);
  void AddToBlocks(Bytes bytes);
  Status BeginBatch();
  Status EndBatch();
  void CountBatch(const BatchHeader& header);

  Seal seal_;
  BatchHeader header_{};
  uint64_t valid_bytes_ = 0;
  uint64_t batch_left_ = 0;  ///< bytes of the batch under way that are still to come, behind its header
  uint32_t header_filled_ = 0;
  uint32_t batch_crc_ = 0;
  uint8_t header_bytes_[kBatchHeaderBytes];
  bool failed_ = false;
};

}  // namespace varve
