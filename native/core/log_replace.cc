// SPDX-License-Identifier: Apache-2.0
// LogImpl: compaction's seam. What takes the place of closed segments is written and synced as `.cleaned`, named `.swap` (from then on
// the next open completes what a crash cuts off), then takes its name; Apache Kafka's counterpart: LocalLog.replaceSegments. Does not
// decide what to keep. Names change in steps with a sync of the directory between any two that must not come out of a crash in
// another order: the old files are gone for good before the new one has its name.
#include <algorithm>

#include "core/log_impl.h"
#include "core/recovery.h"
#include "core/segment_files.h"

namespace varve {

struct LogImpl::Replacement {
  int64_t base_offset;
  int64_t end_offset;
  Bytes batches;
  std::vector<std::shared_ptr<Segment>> old;
  std::shared_ptr<TxnIndex> aborted;

  std::string LogName(std::string_view suffix) const {
    return OffsetFileName(base_offset, kLogSuffix) + std::string(suffix);
  }
  std::string AbortedName(std::string_view suffix) const {
    return OffsetFileName(base_offset, kTxnIndexSuffix) + std::string(suffix);
  }
};

Status LogImpl::ReplaceSegments(int64_t first_base_offset, int64_t end_offset, Bytes batches) {
  const GateEntry entry(gate_);
  if (!entry || closed()) return Status(Code::kClosed, path() + " is closed");
  if (!directory_->online()) return Status(Code::kIo, directory_->failure());
  const std::lock_guard<std::mutex> replacing(replace_mutex_);
  const LogConfig config = this->config();
  Replacement replacement{first_base_offset, end_offset, batches, {}, nullptr};
  for (const std::shared_ptr<Segment>& segment : segments_.Load()->all()) {
    if (segment->base_offset() >= first_base_offset && segment->base_offset() < end_offset)
      replacement.old.push_back(segment);
  }
  VARVE_TRY(CheckReplaced(*segments_.Load(), replacement));

  auto offsets = std::make_shared<OffsetIndex>(first_base_offset, config.segment_index_bytes);
  auto times = std::make_shared<TimeIndex>(first_base_offset, config.segment_index_bytes);
  IndexFeed feed{offsets.get(), times.get(), config.index_interval_bytes};
  int64_t continued = first_base_offset;
  bool holes = false;
  ScanOptions options;
  options.expected_offset = options.segment_base_offset = first_base_offset;
  options.gaps_allowed = true;
  const ScanResult scan =
      ScanBatches(batches, options, [&](const BatchHeader& header, uint64_t position, Bytes) {
        feed.Add(header, static_cast<uint32_t>(position));
        holes |= header.base_offset != continued;
        continued = header.NextOffset();
      });
  holes |= continued != end_offset;
  if (batches.size() > kSegmentBytesMax || scan.valid_bytes != batches.size() || continued > end_offset ||
      (holes && !config.cleanup_compact)) {
    return Status(Code::kInvalid, "what is to replace segments of " + path() + " is not whole batches from " +
                                      std::to_string(first_base_offset) + " to " +
                                      std::to_string(end_offset));
  }

  // Damage is not compacted away: it stays where a reader is told of it.
  replacement.aborted = std::make_shared<TxnIndex>(first_base_offset);
  for (const std::shared_ptr<Segment>& segment : replacement.old) {
    Result<std::vector<AbortedTxn>> aborted = segment->AbortedTxns();
    if (!aborted.ok()) return aborted.status();
    for (const AbortedTxn& txn : *aborted) VARVE_TRY(replacement.aborted->Append(txn));
    if (segment->size() == 0) continue;
    Result<std::shared_ptr<const MappedSegment>> bytes = segment->Map();
    if (!bytes.ok()) return bytes.status();
    VARVE_TRY(segment->Verify(**bytes, 0, segment->size()));
  }
  VARVE_TRY(Checked(WriteCleaned(replacement)));

  {
    const std::lock_guard<std::mutex> appending(append_mutex_);
    const std::lock_guard<std::mutex> files(files_mutex_);
    if (closed()) return Status(Code::kClosed, path() + " is closed");
    const std::shared_ptr<const SegmentList> list = segments_.Load();
    VARVE_TRY(CheckReplaced(*list, replacement));
    if (high_watermark_ >= 0 && end_offset > high_watermark_) {
      return Status(Code::kInvalid, path() + " is to be replaced above its high watermark");
    }
    const Status swapped = SwapFiles(replacement);
    // Half done, names on the disk and the list here do not agree: the next open puts that right.
    if (!swapped.ok()) return Offline(swapped);
    const std::shared_ptr<Segment> segment = Segment::Found(
        site_, first_base_offset, static_cast<uint32_t>(batches.size()), end_offset, 0, config_);
    segment->AdoptIndexes(std::move(offsets), std::move(times), replacement.aborted,
                          {feed.max_timestamp, feed.offset_of_max});
    // Its indexes to their files; a seal is due then.
    const Status finished = segment->Finish();
    std::vector<std::shared_ptr<Segment>> segments;
    for (const std::shared_ptr<Segment>& kept : list->all()) {
      if (kept == replacement.old.front()) segments.push_back(segment);
      if (kept->base_offset() < first_base_offset || kept->base_offset() >= end_offset)
        segments.push_back(kept);
    }
    SetSegments(std::move(segments));
    // Indexes that found no space are rebuilt when they are asked for.
    if (finished.code() == Code::kIo) return Checked(finished);
  }
  PostSeal();
  return Status::Ok();
}

/// The old segments are those of the list, side by side, closed, sealed and synced, with one behind them.
Status LogImpl::CheckReplaced(const SegmentList& list, const Replacement& replacement) const {
  const Status refused(Code::kInvalid, "the segments of " + path() + " from " +
                                           std::to_string(replacement.base_offset) + " to " +
                                           std::to_string(replacement.end_offset) + " can't be replaced now");
  const std::vector<std::shared_ptr<Segment>>& old = replacement.old;
  if (old.empty() || old.front()->base_offset() != replacement.base_offset) return refused;
  const size_t first = list.Floor(replacement.base_offset);
  if (first + old.size() >= list.size() || list[first + old.size()]->base_offset() != replacement.end_offset)
    return refused;
  if (durable_end_.Load().segment_base_offset < replacement.end_offset) return refused;
  for (size_t i = 0; i < old.size(); ++i) {
    if (list[first + i] != old[i] || old[i]->is_active() || old[i]->seal_due()) return refused;
  }
  return Status::Ok();
}

Status LogImpl::WriteCleaned(const Replacement& replacement) {
  Vfs& vfs = site_->vfs();
  // What a failed call left. At open it would speak against a swap.
  Result<std::vector<std::string>> names = vfs.List(path());
  if (!names.ok()) return names.status();
  bool stale = false;
  for (const std::string& name : *names) {
    if (!name.ends_with(kCleanedSuffix)) continue;
    VARVE_TRY(vfs.Remove(site_->PathOf(name)));
    stale = true;
  }
  if (stale) VARVE_TRY(vfs.SyncDirectory(path()));
  const auto write = [&](const std::string& name, Bytes bytes) {
    Result<std::shared_ptr<File>> file = vfs.Open(site_->PathOf(name), OpenMode::kCreate);
    if (!file.ok()) return file.status();
    Status status = bytes.empty() ? Status::Ok() : (*file)->Write(0, bytes);
    if (status.ok()) status = (*file)->Sync();
    if (!status.ok()) [[maybe_unused]]
      const Status removed = vfs.Remove(site_->PathOf(name));
    return status;
  };
  if (replacement.aborted->entry_count() > 0) {
    VARVE_TRY(write(replacement.AbortedName(kCleanedSuffix), replacement.aborted->Encode()));
  }
  return write(replacement.LogName(kCleanedSuffix), replacement.batches);
}

Status LogImpl::SwapFiles(const Replacement& replacement) {
  Vfs& vfs = site_->vfs();
  const auto rename = [&](const std::string& from, const std::string& to) {
    VARVE_TRY(vfs.Rename(site_->PathOf(from), site_->PathOf(to)));
    return vfs.SyncDirectory(path());
  };
  const bool aborted = replacement.aborted->entry_count() > 0;
  if (aborted)
    VARVE_TRY(rename(replacement.AbortedName(kCleanedSuffix), replacement.AbortedName(kSwapSuffix)));
  VARVE_TRY(rename(replacement.LogName(kCleanedSuffix), replacement.LogName(kSwapSuffix)));
  for (const std::shared_ptr<Segment>& segment : replacement.old) {
    segment->Retire();
    VARVE_TRY(segment->MarkDeleted());
    doomed_.push_back({segment, 0});
  }
  VARVE_TRY(vfs.SyncDirectory(path()));
  if (aborted) VARVE_TRY(rename(replacement.AbortedName(kSwapSuffix), replacement.AbortedName("")));
  return rename(replacement.LogName(kSwapSuffix), replacement.LogName(""));
}

}  // namespace varve
