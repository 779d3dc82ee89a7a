// SPDX-License-Identifier: Apache-2.0
// TxnIndex: the aborted transactions whose abort marker lies in one segment; Kafka's TransactionIndex and its
// file format (`%020d.txnindex`). A read_committed Fetch collects from it what overlaps its range. The file
// is made with its first entry: a segment without aborted transactions has none. Does not find transactions:
// ProducerState does.
//
//   entry, 34 bytes, big-endian:
//   offset size field
//        0    2 version          0
//        2    8 producerId
//       10    8 firstOffset      of the transaction in this partition
//       18    8 lastOffset       of the abort marker; strictly rising
//       26    8 lastStableOffset when the marker was written: first offset of the oldest other open
//                                transaction, or lastOffset + 1
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/bytes.h"
#include "core/log.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

inline constexpr uint32_t kTxnIndexEntryBytes = 34;

struct AbortedTxn {
  int64_t producer_id = -1;
  int64_t first_offset = 0;
  int64_t last_offset = 0;
  int64_t last_stable_offset = 0;
  bool operator==(const AbortedTxn&) const = default;
};

/// Threading: Append and TruncateTo are the owner's (the append lock); the rest any thread's. One small lock
/// inside, held while entries are searched or added, never while a file is written.
class TxnIndex {
 public:
  explicit TxnIndex(int64_t base_offset) : base_offset_(base_offset) {}

  /// kCorrupt when an entry is cut, of another version, or out of order, or its offsets make no sense:
  /// rebuild it by scanning this segment (and those before it, for where its transactions began).
  static Result<std::unique_ptr<TxnIndex>> Load(Bytes file, int64_t base_offset);

  int64_t base_offset() const { return base_offset_; }
  uint32_t entry_count() const;
  uint64_t size_bytes() const { return uint64_t{entry_count()} * kTxnIndexEntryBytes; }
  std::vector<AbortedTxn> Entries() const;

  /// Adds an entry in heap and writes it to `file` (page cache, no sync). kInvalid, with nothing changed,
  /// when it does not lie behind the last one. When writing fails it is kept in heap all the same: readers of
  /// this process see it.
  Status Append(const AbortedTxn& txn, File& file);
  /// The same without a file, for rebuilding: Encode() is written as a whole afterwards.
  Status Append(const AbortedTxn& txn);

  /// Adds those that overlap [from, up_to) to `out`, by rising marker offset. True when no later segment can
  /// add any for this range; false: go on in the next one.
  bool CollectAborted(int64_t from, int64_t up_to, std::vector<AbortedTransaction>* out) const;

  /// Drops the entries whose marker lies at or behind `offset`, in heap, and in `file` unless it is null.
  Status TruncateTo(int64_t offset, File* file);

  std::vector<uint8_t> Encode() const;

 private:
  const int64_t base_offset_;
  mutable std::mutex mutex_;
  std::vector<AbortedTxn> entries_;  ///< by rising last_offset
};

}  // namespace varve
