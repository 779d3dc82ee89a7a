// SPDX-License-Identifier: Apache-2.0
// Segment: one `%020d.log` file of a partition with its indexes and its seal. Owns the file, its mapping,
// what is known of the file's bytes, and the appending of batches to it while it is the active (last) one.
// Does not know the log around it: offsets to assign, producers, epochs and what is durable are the Log's.
//
// Life: New (no file yet) or Found (a file that was there) -> active: Prepare, Put, Commit -> closed: Finish
// (trim, persist indexes, sync), then WriteSeal -> Delete (renamed, then removed) or retired by truncation.
//
// A segment is one generation of its bytes: truncation replaces the Segment object, so that readers that hold
// the old one's SegmentBytes keep exactly what they saw.
//
// Threading: the appending part is called under the log's append lock by one thread; the reading part by any
// thread. Lock order: load_mutex_ before mutex_; neither is held while calling the MappedBudget.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/engine_context.h"
#include "core/log.h"
#include "core/offset_index.h"
#include "core/prefaulter.h"
#include "core/seal.h"
#include "core/segment_files.h"
#include "core/time_index.h"
#include "core/txn_index.h"
#include "core/verifier.h"

namespace varve {

/// Positions are 32 bits, and Kafka's are signed.
inline constexpr uint64_t kSegmentBytesMax = 0x7fffffff;

/// What readers pin: a file and the mapping of its bytes.
class MappedSegment final : public SegmentBytes {
 public:
  MappedSegment(uint64_t id, int64_t base_offset, std::string path, std::shared_ptr<File> file,
                std::shared_ptr<Mapping> mapping, std::shared_ptr<const EngineContext> context);
  ~MappedSegment() override;
  const uint8_t* data() const override { return mapping_->data(); }
  uint64_t mapped_bytes() const override { return mapping_->size(); }
  File& file() const override { return *file_; }
  Mapping& mapping() const { return *mapping_; }
  const std::shared_ptr<Mapping>& shared_mapping() const { return mapping_; }

 private:
  std::shared_ptr<File> file_;
  std::shared_ptr<Mapping> mapping_;
  std::string path_;
  std::shared_ptr<const EngineContext> context_;
};

/// Makes the file at `path` end at `size`. In place when nothing in this process maps it; else the bytes that
/// stay move to a new, synced file of that name, because whoever reads the old one, even for an engine closed
/// since, must not find it shorter or changed. `durable`: the cut is on stable storage on return. It must be,
/// unless only zeros were cut: else a power cut could bring back old batches behind new ones, and where sizes
/// and offsets happen to fit they would pass for the log's.
Status CutFile(Vfs& vfs, const std::string& path, uint64_t size, bool durable);

/// A batch found in a segment.
struct BatchPlace {
  uint32_t position = 0;
  BatchHeader header{};
};

/// What a batch adds to the sparse indexes and the largest timestamp: the same for an append as for a
/// rebuild. Kafka: LogSegment.append.
struct IndexFeed {
  OffsetIndex* offsets;
  TimeIndex* times;
  uint32_t interval_bytes;
  uint32_t bytes_since_entry = 0;
  int64_t max_timestamp = kNoTimestamp;
  int64_t offset_of_max = -1;

  void Add(const BatchHeader& header, uint32_t position);
  /// The next batch gets an entry: it stays reachable whatever is found wrong with those before it.
  void EntryDue() { bytes_since_entry = interval_bytes + 1; }
};

class Segment final : public MappingHolder, public std::enable_shared_from_this<Segment> {
 public:
  struct Timestamps {
    int64_t max_timestamp = kNoTimestamp;
    int64_t offset_of_max = -1;  ///< last offset of the first batch with it
  };

  /// An empty one; its file is made when something is appended (or by CreateFile).
  static std::shared_ptr<Segment> New(std::shared_ptr<const LogSite> site, int64_t base_offset,
                                      const LogConfig& config, int64_t now_ms);
  /// One whose file has `size` valid bytes (what lies behind them was never served, and is cut when appended
  /// to). Bytes from `trusted_from` on were scanned. `next_offset`: behind its last batch, as far as known
  /// (for a closed segment the base of the next one will do).
  static std::shared_ptr<Segment> Found(std::shared_ptr<const LogSite> site, int64_t base_offset,
                                        uint32_t size, int64_t next_offset, uint32_t trusted_from,
                                        const LogConfig& config);
  ~Segment() override;

  int64_t base_offset() const { return base_offset_; }
  /// Bytes that readers may see.
  uint32_t size() const { return size_.load(std::memory_order_acquire); }
  uint64_t id() const { return id_; }
  std::string PathOf(std::string_view suffix) const;
  const LogSite& site() const { return *site_; }

  // --- reading; any thread ---
  /// The bytes, mapped when they are not. The mapping may go beyond them: only [0, size()) is anybody's to
  /// read.
  Result<std::shared_ptr<const MappedSegment>> Map();
  /// The first batch with last offset >= `offset` that begins before `limit`; kNotFound when there is none.
  /// All bytes it looked at are verified, those of the batch itself only as far as its header.
  Status Locate(const MappedSegment& bytes, int64_t offset, uint32_t limit, BatchPlace* place);
  /// The batch that begins at `position` (a boundary), its header verified. kNotFound at `limit`.
  Status BatchAt(const MappedSegment& bytes, uint32_t position, uint32_t limit, BatchHeader* header);
  /// An offset of the batch that the index knows at or before `position`; the base offset without such an entry.
  Result<int64_t> OffsetBefore(uint32_t position);
  /// The last batch boundary at or below `end`, starting from the boundary `position`, and the offset behind
  /// it.
  Status LastBoundary(const MappedSegment& bytes, uint32_t position, uint32_t end, uint32_t* boundary,
                      int64_t* next_offset);
  /// Whether bytes [from, to) may be served; `from` is a boundary.
  Status Verify(const MappedSegment& bytes, uint32_t from, uint32_t to);
  /// The first batch with maxTimestamp >= `timestamp` below `limit`; kNotFound when there is none.
  Status LocateTimestamp(const MappedSegment& bytes, int64_t timestamp, uint32_t limit, BatchPlace* place);
  Result<Timestamps> LargestTimestamp();
  /// Raises `*largest` to what the batches in [from, end) have; both are boundaries.
  Status WalkTimestamps(const MappedSegment& bytes, uint32_t from, uint32_t end, Timestamps* largest);
  Status CollectAborted(int64_t from, int64_t up_to, std::vector<AbortedTransaction>* out, bool* complete);
  /// maxTimestamp of the first batch, -1 when empty: what roll by time counts from.
  int64_t FirstBatchTimestamp();

  bool TakeTouched() override { return touched_.exchange(false, std::memory_order_relaxed); }
  void DropMapping() override;
  /// Lets go of all descriptors and mappings that are not pinned, for good: the log is closed, and who still has it can do
  /// nothing with it. Not with an append under way.
  void Release();

  // --- appending; the append lock ---
  /// This is the log's last segment, the one to append to. Before anybody reads it.
  void Activate();
  /// Makes room for `bytes` more: file, mapping, allocated space. Afterwards Put does not lack space, where the file
  /// system keeps what fallocate promises.
  Status Prepare(uint32_t bytes);
  /// Copies a batch to `position` (>= size) with base offset and epoch set; `append_time_ms` >= 0:
  /// LogAppendTime. Not visible to anybody before Commit. `*header` is the stored batch's.
  Status Put(uint32_t position, Bytes batch, int64_t base_offset, int32_t leader_epoch,
             int64_t append_time_ms, BatchHeader* header);
  /// The batch at `position` becomes part of the segment: indexes, timestamps.
  void Commit(const BatchHeader& header, uint32_t position);
  /// Readers see [0, size) from now on.
  void Publish(uint32_t size, int64_t now_ms);
  Status AddAborted(const AbortedTxn& txn);
  bool is_active() const { return active_.load(std::memory_order_acquire); }
  /// Bytes the file may take; a batch beyond them needs another segment.
  uint32_t capacity() const { return capacity_; }
  void SetLimits(const LogConfig& config);
  /// Since it was made; of one that was found, since it was first appended to or asked this.
  int64_t AgeMs(int64_t now_ms) {
    if (created_ms_ == 0) created_ms_ = now_ms;
    return now_ms - created_ms_;
  }
  bool IndexFull();
  int64_t next_offset() const { return next_offset_.load(std::memory_order_acquire); }

  // --- files; the append lock or the log's background work ---
  bool has_file() const { return has_file_.load(std::memory_order_acquire); }
  Status CreateFile();
  /// fdatasync of the .log file, and of the transaction index where that gained or lost something; fine without them.
  Status Sync();
  /// The file's directory entry is on stable storage (kept here so that it is synced once).
  std::atomic<bool> name_durable{false};

  /// Ends appending: no helper, mapping and file cut to the size, the last time index entry, indexes
  /// persisted. Syncs nothing.
  Status Finish();
  /// Writes what the indexes have gained (checkpoints).
  Status PersistIndexes();
  /// Writes the seal over the bytes as they are; they must be synced.
  Status WriteSeal();
  /// Finish has run and the seal is still to be written.
  bool seal_due() const { return seal_due_.load(std::memory_order_acquire); }
  bool sealed() const { return sealed_.load(std::memory_order_acquire); }
  /// Removes the seal (truncation); `*existed` tells whether its removal has to be made durable.
  Status RemoveSeal(bool* existed);
  /// Reads the seal when there is one. kNotFound: none; kCorrupt: one that does not fit.
  Status LoadSeal();
  const std::optional<Seal>& seal() const { return seal_; }

  /// For recovery: indexes as rebuilt by a scan replace whatever the files hold.
  void AdoptIndexes(std::shared_ptr<OffsetIndex> offsets, std::shared_ptr<TimeIndex> times,
                    std::shared_ptr<TxnIndex> aborted, const Timestamps& timestamps);
  /// The same without the transaction index, which stays what its file says until ReplaceAborted.
  void AdoptScanned(std::shared_ptr<OffsetIndex> offsets, std::shared_ptr<TimeIndex> times,
                    const Timestamps& timestamps);
  /// The transaction index as found again from the batches, in heap and as the file.
  Status ReplaceAborted(std::shared_ptr<TxnIndex> aborted);
  bool HasAbortedFile() const { return site_->vfs().Exists(PathOf(kTxnIndexSuffix)); }
  /// Drops aborted transactions whose marker lies at or behind `offset`.
  Status TruncateAborted(int64_t offset);
  void SetNextOffset(int64_t offset) { next_offset_.store(offset, std::memory_order_release); }
  /// Loads the index files of the active segment (clean start), or rebuilds them from the log.
  Status LoadIndexes();

  /// The next generation of this segment: its first `size` bytes, the last batch of which ends before
  /// `next_offset`. This object maps nothing any more; who holds its bytes keeps them as they were.
  /// Fails with nothing changed for lack of space; after another failure the new generation is right for this process, but
  /// what the disk holds is not known: `*status` says so.
  Result<std::shared_ptr<Segment>> Truncate(uint32_t size, int64_t next_offset, const LogConfig& config,
                                            Status* status);

  /// The files of its names are about to be another segment's: what is mapped stays, nothing more is.
  void Retire();
  Result<std::vector<AbortedTxn>> AbortedTxns();
  /// Renames all files to `.deleted`; readers keep what they hold.
  Status MarkDeleted();
  /// Removes the renamed files.
  void RemoveDeleted();

 private:
  Segment(std::shared_ptr<const LogSite> site, int64_t base_offset, uint32_t size, int64_t next_offset,
          uint32_t trusted_from, const LogConfig& config);

  struct View {
    std::shared_ptr<OffsetIndex> offsets;
    std::shared_ptr<TimeIndex> times;
    std::shared_ptr<TxnIndex> aborted;
  };

  Status OpenFileLocked();
  Status MapLocked();
  Bytes Published(const MappedSegment& bytes) const { return {bytes.data(), size()}; }
  Status Damaged(uint64_t position, const char* what) const;
  Result<std::shared_ptr<OffsetIndex>> Offsets();
  Result<std::shared_ptr<TimeIndex>> Times();
  Result<std::shared_ptr<TxnIndex>> Aborted();
  Status EnsureSealLooked();
  Status WalkTo(const MappedSegment& bytes, uint32_t from, int64_t offset, uint32_t limit, BatchPlace* place);
  Status RebuildIndexes(const MappedSegment& bytes);
  bool HintHolds(const MappedSegment& bytes, const OffsetPosition& hint, uint32_t limit);
  FileSum SumOf(std::string_view suffix) const;
  Status RefeedTimestamps();
  Status PrepareFeed();
  Status Write(uint32_t position, Bytes batch, int64_t base_offset, int32_t leader_epoch,
               int64_t append_time_ms, BatchHeader* header);
  void FeedSeal(uint32_t position, const BatchHeader& header, Bytes first, Bytes second);
  Result<std::shared_ptr<File>> OpenAborted();
  Status SyncAborted();
  Status Persist(const View& view);

  const std::shared_ptr<const LogSite> site_;
  const int64_t base_offset_;
  const uint64_t id_;
  std::atomic<uint32_t> size_;
  std::atomic<int64_t> next_offset_;
  std::atomic<bool> has_file_;
  std::atomic<bool> touched_{true};
  std::atomic<bool> sealed_{false};
  std::atomic<bool> seal_due_{false};
  std::atomic<bool> aborted_unsynced_{false};  ///< the transaction index was written to since its last sync
  std::atomic<bool> active_{false};  ///< being appended to: mapped writable and over the whole capacity

  SegmentVerifier verifier_;

  std::mutex load_mutex_;     ///< serialises loading of seal and indexes from disk
  std::mutex persist_mutex_;  ///< serialises writing of the index files
  std::atomic<bool> seal_looked_{false};
  std::optional<Seal> seal_;

  mutable std::mutex mutex_;  ///< guards the pointers below, never held over disk work but mapping
  std::shared_ptr<File> file_;
  std::shared_ptr<const MappedSegment> mapped_;
  std::shared_ptr<AppendSpace> space_;
  View view_;
  bool retired_ = false;  ///< replaced by its next generation, or released

  // The appender's own.
  uint32_t capacity_;
  uint32_t segment_bytes_;
  uint32_t index_bytes_max_;
  IndexFeed feed_;  ///< while active, into the indexes of view_; else into none that may be used
  /// What Prepare found; held until Publish, so that an eviction in between takes nothing away.
  std::shared_ptr<const MappedSegment> appending_;
  std::shared_ptr<AppendSpace> appending_space_;
  bool stored_by_mapping_ = false;  ///< the last Put
  /// Sees every batch of a segment that this process wrote from its beginning, while the bytes are in the CPU's
  /// cache; sealing one without it reads the whole file again.
  std::unique_ptr<SealBuilder> seal_builder_;
  std::shared_ptr<File> txn_file_;  ///< mutex_
  bool txn_file_made_ = false;      ///< mutex_: its name is not durable yet
  int64_t created_ms_ = 0;
  int64_t first_batch_timestamp_ = kNoTimestamp;

  mutable std::mutex timestamps_mutex_;
  std::optional<Timestamps> timestamps_;

  std::atomic<uint32_t> index_interval_bytes_{0};

  /// The disk had no room for an entry of the transaction index, or for its file; Persist brings it up to the heap's.
  std::atomic<bool> aborted_unwritten_{false};

  /// A reader found a wrong entry in the index of the active segment; the next Prepare rebuilds it.
  std::atomic<bool> rebuild_wanted_{false};
};

}  // namespace varve
