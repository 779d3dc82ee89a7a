// SPDX-License-Identifier: Apache-2.0
// ProducerState: what one partition knows of each idempotent or transactional producer: the last five
// batches, epoch, coordinator epoch and open transaction. Decides whether a batch may be appended (Kafka's
// ProducerAppendInfo) and which transactions are open, or closed above the high watermark (Kafka's
// ProducerStateManager). ProducerSnapshots owns the files it is saved in. Neither knows of records in a
// segment, nor whether the transaction of a batch was verified with its coordinator (plane/partition does).
//
// File `%020d.snapshot`, named by the end offset it is the state at; Kafka's format version 1, big-endian:
//   offset size field
//        0    2 version              1
//        2    4 crc                  CRC32C of all that follows
//        6    4 count
//   then count x 46 bytes:
//        0    8 producerId
//        8    2 producerEpoch
//       10    4 lastSequence         of the last batch; -1: none
//       14    8 lastOffset           of the last batch; -1: there is none
//       22    4 offsetDelta          last - first offset of the last batch
//       26    8 timestamp            of the last batch or marker
//       34    4 coordinatorEpoch     -1: no marker yet
//       38    8 currentTxnFirstOffset  -1: no open transaction
// Of the five batches only the last one is saved. Kafka then refuses an older duplicate as out of order; here Recall() brings
// them back from the batches below the snapshot, when a producer needs them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/log.h"
#include "core/record_batch.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

inline constexpr int kProducerBatchesRetained = 5;
inline constexpr uint32_t kProducerSnapshotHeaderBytes = 10;
inline constexpr uint32_t kProducerSnapshotEntryBytes = 46;

/// One appended batch of a producer (Kafka's BatchMetadata).
struct ProducerBatch {
  int32_t last_sequence = kNoSequence;
  int32_t offset_delta = 0;
  int64_t last_offset = -1;
  int64_t timestamp = kNoTimestamp;

  int32_t FirstSequence() const { return DecrementSequence(last_sequence, offset_delta); }
  int64_t FirstOffset() const { return last_offset - offset_delta; }
  bool operator==(const ProducerBatch&) const = default;
};

/// Kafka's ProducerStateEntry.
struct ProducerEntry {
  int64_t producer_id = kNoProducerId;
  int64_t current_txn_first_offset = -1;
  int64_t last_timestamp = kNoTimestamp;
  int32_t coordinator_epoch = -1;
  int16_t producer_epoch = kNoProducerEpoch;
  uint8_t batch_count = 0;
  uint8_t batch_next = 0;  ///< slot of `batches` that the next batch takes
  std::array<ProducerBatch, kProducerBatchesRetained> batches;

  bool InTransaction() const { return current_txn_first_offset >= 0; }
  /// `index` 0: the newest; below batch_count.
  const ProducerBatch& BatchFromNewest(int index) const {
    return batches[static_cast<size_t>(batch_next + 2 * kProducerBatchesRetained - 1 - index) %
                   kProducerBatchesRetained];
  }
  int32_t LastSequence() const { return batch_count == 0 ? kNoSequence : BatchFromNewest(0).last_sequence; }
  int64_t LastDataOffset() const { return batch_count == 0 ? -1 : BatchFromNewest(0).last_offset; }
};

/// The one record of a control batch that ends a transaction (KIP-98).
struct EndTransactionMarker {
  bool commit = false;  ///< else abort
  int32_t coordinator_epoch = -1;
  int64_t timestamp = kNoTimestamp;
};

/// Reads the marker out of a whole control batch. Empty: the batch has no record (cleaned away by
/// compaction), or another type of control record (KRaft's), or is malformed; it then ends no transaction.
std::optional<EndTransactionMarker> ParseEndTransactionMarker(Bytes batch);

/// A transaction that a marker ended. With `aborted`, `AbortedTxn{producer_id, first_offset, last_offset,
/// last_stable_offset}` goes into the transaction index of the segment that holds the marker.
struct CompletedTxn {
  int64_t producer_id = kNoProducerId;
  int64_t first_offset = 0;
  int64_t last_offset = 0;  ///< the marker's
  int64_t last_stable_offset =
      0;  ///< the first offset of the oldest other open transaction, or last_offset + 1
  bool aborted = false;
};

/// The answer to "may this batch be appended?", and the key to Update it when it was.
struct ProducerCheck {
  AppendError error = AppendError::kNone;
  /// Already appended: answer with these; do not append.
  bool duplicate = false;
  int64_t base_offset = -1;
  int64_t last_offset = -1;
  int64_t timestamp = kNoTimestamp;  ///< of the original batch (its LogAppendTime when the topic has that)
  /// Where the producer was found, for Update; npos: unknown so far. Good until the next expiry, load or
  /// Clear.
  static constexpr uint32_t npos = ~uint32_t{0};
  uint32_t slot = npos;
};

/// Not thread-safe: everything under the partition's append lock. Allocates nothing for a producer it knows.
class ProducerState {
 public:
  ProducerState();
  ~ProducerState();
  ProducerState(const ProducerState&) = delete;
  ProducerState& operator=(const ProducerState&) = delete;

  // --- appending ---
  /// For a batch with a producer id (header.HasProducerId()). `marker` is that of a control batch (null:
  /// none, or a data batch). By origin: kClient: duplicates, epoch, sequence, transaction. kCoordinator:
  /// epoch and transaction; a marker's epochs. kReplica: nothing, the leader has checked.
  ///   - epoch below the known one: kInvalidProducerEpoch
  ///   - a new epoch not starting with sequence 0, or a gap: kOutOfOrderSequence (2^31-1 is followed by 0)
  ///   - a producer without an entry may start with any sequence
  ///   - a duplicate older than the five remembered: kOutOfOrderSequence too; Kafka has not answered
  ///     DUPLICATE_SEQUENCE_NUMBER since it remembers five
  ///   - exactly one of the five remembered: duplicate
  ///   - not transactional within the producer's open transaction: kInvalidTxnState
  ///   - a marker of an older coordinator epoch: kCoordinatorFenced
  /// `transaction_version` 2: a marker's epoch must be above the known one (KIP-890), unless it repeats one
  /// that ended the transaction.
  ProducerCheck CheckAppend(const BatchHeader& header, AppendOrigin origin,
                            const EndTransactionMarker* marker = nullptr,
                            int16_t transaction_version = 0) const;

  /// Records a batch that was appended at `base_offset`; `check` is what CheckAppend said of it just now.
  /// `header` as it is in the log (with LogAppendTime: its maxTimestamp). A marker that ends a transaction
  /// gives it to `*completed` and true. Moves map_end_offset() behind the batch.
  bool Update(const ProducerCheck& check, const BatchHeader& header, int64_t base_offset,
              const EndTransactionMarker* marker = nullptr, CompletedTxn* completed = nullptr);
  /// The same for a batch read from the log (recovery): no check, no error; batches without a producer id
  /// only move map_end_offset().
  bool Replay(const BatchHeader& header, const EndTransactionMarker* marker, CompletedTxn* completed);

  /// Offset of the snapshot that this was loaded from, while batches below it may be missing; else -1.
  int64_t snapshot_offset() const { return snapshot_offset_; }
  /// Fills up the batches of each producer with those that `older`, replayed from what lies below
  /// snapshot_offset(), has of the same epoch. Once is enough: snapshot_offset() is -1 then.
  void Recall(const ProducerState& older);

  // --- transactions ---
  /// First offset of the oldest transaction that is open, or was ended by a marker at or above the high
  /// watermark; -1: none.
  int64_t FirstUnstableOffset() const;
  /// First offset of the oldest open transaction; -1: none.
  int64_t FirstUndecidedOffset() const;
  /// Transactions ended below `high_watermark` are stable now. Cheap when there are none.
  void OnHighWatermark(int64_t high_watermark);
  /// The log start moved: what ended below it is stable, and the state is at least that of
  /// `log_start_offset`.
  void OnLogStartOffset(int64_t log_start_offset);
  bool HasOpenTransaction(int64_t producer_id, int16_t producer_epoch) const;
  /// Timestamp of the last batch of the oldest open transaction; -1: none. What late-transaction metrics look
  /// at.
  int64_t OldestTransactionTimestamp() const;

  // --- the map ---
  const ProducerEntry* Find(int64_t producer_id) const;
  /// In no order; good until the next change.
  std::span<const ProducerEntry> entries() const { return entries_; }
  uint32_t producer_count() const { return static_cast<uint32_t>(entries_.size()); }
  bool IsEmpty() const { return entries_.empty() && unreplicated_.empty(); }
  /// Everything below this offset is in the state; a snapshot bears this offset in its name.
  int64_t map_end_offset() const { return map_end_offset_; }
  void SetMapEndOffset(int64_t offset) { map_end_offset_ = offset; }
  /// Forgets producers without an open transaction whose last batch is `expiration_ms` old; how many.
  uint32_t RemoveExpired(int64_t now_ms, int64_t expiration_ms);
  /// Forgets everything and stands at `offset`.
  void Clear(int64_t offset);

  // --- snapshots ---
  std::vector<uint8_t> EncodeSnapshot() const;
  /// Replaces everything by what `snapshot` says (open transactions included), standing at `offset`;
  /// producers expired at `now_ms` are left out. kCorrupt leaves the state cleared: try an older one, or scan
  /// from the log start.
  Status LoadSnapshot(Bytes snapshot, int64_t offset, int64_t now_ms, int64_t expiration_ms);

 private:
  struct OpenTxn {
    int64_t first_offset;
    int64_t producer_id;
    int64_t last_offset;  ///< of the marker; -1 while open
  };

  uint32_t FindSlot(int64_t producer_id) const;
  uint32_t Insert(int64_t producer_id);
  bool EndTransaction(ProducerEntry* entry, const EndTransactionMarker& marker, int64_t last_offset,
                      CompletedTxn* completed);
  void Rehash(size_t buckets);
  size_t Bucket(int64_t producer_id) const;
  int64_t LastStableOffset(int64_t producer_id, int64_t last_offset) const;

  std::vector<ProducerEntry> entries_;
  /// Open addressing, linear probing, at most half full: slot in entries_ + 1, 0: free. A power of two.
  std::vector<uint32_t> buckets_;
  uint64_t hash_key_;  ///< of this process: producer ids come from clients, who could choose colliding ones
  /// Sorted by first_offset.
  std::vector<OpenTxn> ongoing_;
  std::vector<OpenTxn> unreplicated_;
  int64_t map_end_offset_ = 0;
  int64_t snapshot_offset_ = -1;
};

/// The snapshot files of one log directory entry (`<topic>-<partition>/`). Knows them by name; reads one only
/// to load it. Not thread-safe: its owner's lock.
class ProducerSnapshots {
 public:
  ProducerSnapshots(Vfs* vfs, std::string directory) : vfs_(vfs), directory_(std::move(directory)) {}

  /// Takes those among `names` (the names in the directory, as Vfs::List gives them).
  void Scan(const std::vector<std::string>& names);
  /// Rising.
  const std::vector<int64_t>& offsets() const { return offsets_; }
  bool Has(int64_t offset) const;
  int64_t LatestOffset() const { return offsets_.empty() ? -1 : offsets_.back(); }
  std::string PathOf(int64_t offset) const;

  /// Writes `snapshot` (ProducerState::EncodeSnapshot) for `offset` as a unit. Nothing to do when there is
  /// one already.
  Status Write(int64_t offset, Bytes snapshot, bool durable);

  /// ProducerStateManager.truncateAndReload: drops snapshots outside (log_start_offset, log_end_offset] and,
  /// unless `state` already stands at `log_end_offset`, loads the newest valid one that remains into it;
  /// damaged ones are deleted on the way. Without any the state is empty and stands at `log_start_offset`.
  /// The caller then replays [state.map_end_offset(), log_end_offset).
  Status TruncateAndReload(ProducerState* state, int64_t log_start_offset, int64_t log_end_offset,
                           int64_t now_ms, int64_t expiration_ms);

  /// Deletes those below `offset`.
  Status DeleteBefore(int64_t offset);
  Status Delete(int64_t offset);
  Status DeleteAll();
  /// Deletes those that belong to no segment, but for the newest of all when it lies above every base offset
  /// (a clean stop's). `base_offsets` rising.
  Status RemoveStray(std::span<const int64_t> base_offsets);

 private:
  template <typename Which>
  Status DeleteIf(Which which);

  Vfs* vfs_;
  std::string directory_;
  std::vector<int64_t> offsets_;
};

}  // namespace varve
