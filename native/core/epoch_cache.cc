// SPDX-License-Identifier: Apache-2.0
#include "core/epoch_cache.h"

#include <algorithm>
#include <cassert>

#include "core/text_scan.h"

namespace varve {
namespace {

/// A file of a million epochs; more means that it is not one.
constexpr uint64_t kFileBytesMax = uint64_t{32} << 20;

Status Corrupt(const char* what) {
  return Status(Code::kCorrupt,
                std::string("leader-epoch-checkpoint: ") + what + "; rebuild it from the log");
}

bool EpochLess(const EpochEntry& entry, int32_t epoch) { return entry.epoch < epoch; }

}  // namespace

void EpochCache::PublishLatest() {
  latest_epoch_.store(entries_.empty() ? -1 : entries_.back().epoch, std::memory_order_release);
}

bool EpochCache::Assign(int32_t epoch, int64_t start_offset) {
  assert(epoch >= 0 && start_offset >= 0);
  std::lock_guard<std::mutex> lock(mutex_);
  if (!entries_.empty() && entries_.back().epoch == epoch && entries_.back().start_offset <= start_offset) {
    return false;
  }
  while (!entries_.empty() &&
         (entries_.back().epoch >= epoch || entries_.back().start_offset >= start_offset)) {
    entries_.pop_back();
  }
  entries_.push_back({epoch, start_offset});
  PublishLatest();
  return true;
}

std::optional<EpochEntry> EpochCache::Latest() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return entries_.empty() ? std::nullopt : std::optional(entries_.back());
}

std::optional<EpochEntry> EpochCache::Earliest() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return entries_.empty() ? std::nullopt : std::optional(entries_.front());
}

int32_t EpochCache::PreviousEpoch(int32_t epoch) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), epoch, EpochLess);
  return at == entries_.begin() ? -1 : (at - 1)->epoch;
}

EpochEndOffset EpochCache::EndOffsetFor(int32_t epoch, int64_t log_end_offset) const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (epoch < 0 || entries_.empty()) return {-1, -1};
  // The latest epoch is the one still written to: a consumer that checks its position learns the log end
  // (KIP-320).
  if (epoch == entries_.back().epoch) return {epoch, log_end_offset};
  const auto higher = std::upper_bound(entries_.begin(), entries_.end(), epoch,
                                       [](int32_t e, const EpochEntry& entry) { return e < entry.epoch; });
  if (higher == entries_.end()) return {-1, -1};
  // Its records are gone: the follower goes on from where the log begins now.
  if (higher == entries_.begin()) return {epoch, higher->start_offset};
  return {(higher - 1)->epoch, higher->start_offset};
}

int32_t EpochCache::EpochForOffset(int64_t offset) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto above =
      std::upper_bound(entries_.begin(), entries_.end(), offset,
                       [](int64_t o, const EpochEntry& entry) { return o < entry.start_offset; });
  return above == entries_.begin() ? -1 : (above - 1)->epoch;
}

bool EpochCache::TruncateFromEnd(int64_t end_offset) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (end_offset < 0 || entries_.empty() || entries_.back().start_offset < end_offset) return false;
  while (!entries_.empty() && entries_.back().start_offset >= end_offset) entries_.pop_back();
  PublishLatest();
  return true;
}

bool EpochCache::TruncateFromStart(int64_t start_offset) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto above =
      std::upper_bound(entries_.begin(), entries_.end(), start_offset,
                       [](int64_t o, const EpochEntry& entry) { return o < entry.start_offset; });
  if (above == entries_.begin()) return false;
  const auto first = above - 1;
  if (first == entries_.begin() && first->start_offset == start_offset) return false;
  first->start_offset = start_offset;
  entries_.erase(entries_.begin(), first);
  return true;
}

bool EpochCache::Clear() {
  std::lock_guard<std::mutex> lock(mutex_);
  const bool changed = !entries_.empty();
  entries_.clear();
  PublishLatest();
  return changed;
}

std::vector<EpochEntry> EpochCache::Entries() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return entries_;
}

void EpochCache::Reset(std::vector<EpochEntry> entries) {
  std::lock_guard<std::mutex> lock(mutex_);
  entries_ = std::move(entries);
  PublishLatest();
}

std::string EpochCache::Encode(int64_t below) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto end =
      std::lower_bound(entries_.begin(), entries_.end(), below,
                       [](const EpochEntry& entry, int64_t offset) { return entry.start_offset < offset; });
  std::string text = "0\n" + std::to_string(end - entries_.begin()) + '\n';
  for (auto entry = entries_.begin(); entry != end; ++entry) {
    text += std::to_string(entry->epoch) + ' ' + std::to_string(entry->start_offset) + '\n';
  }
  return text;
}

Result<std::vector<EpochEntry>> EpochCache::Parse(Bytes file) {
  std::vector<EpochEntry> entries;
  LineScanner lines(AsText(file));
  std::string_view line;
  if (!lines.Next(&line)) return entries;
  if (line != "0") return Corrupt("unknown version");
  uint64_t count = 0;
  if (!lines.Next(&line) || !ParseNumber(line, &count)) return Corrupt("no count");
  while (lines.Next(&line)) {
    EpochEntry entry;
    std::string_view epoch;
    if (!TakeField(&line, ' ', &epoch) || !ParseNumber(epoch, &entry.epoch) ||
        !ParseNumber(line, &entry.start_offset) || entry.epoch < 0 || entry.start_offset < 0) {
      return Corrupt("a line that is not 'epoch startOffset'");
    }
    if (!entries.empty() &&
        (entry.epoch <= entries.back().epoch || entry.start_offset <= entries.back().start_offset)) {
      return Corrupt("epochs that don't rise");
    }
    entries.push_back(entry);
  }
  if (entries.size() != count) return Corrupt("another number of lines than it says");
  return entries;
}

Status EpochCache::Load(Vfs& vfs, const std::string& path) {
  Reset({});
  const Result<std::vector<uint8_t>> file = vfs.ReadFile(path, kFileBytesMax);
  if (!file.ok()) {
    if (file.status().code() == Code::kTooLarge) return Corrupt("far too large");
    return file.status();
  }
  Result<std::vector<EpochEntry>> entries = Parse(*file);
  if (!entries.ok()) return entries.status();
  Reset(std::move(*entries));
  return Status::Ok();
}

Status EpochCache::Store(Vfs& vfs, const std::string& path, bool durable) const {
  return vfs.WriteFile(path, AsBytes(Encode()), durable);
}

}  // namespace varve
