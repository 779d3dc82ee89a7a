// SPDX-License-Identifier: Apache-2.0
// LogDirectory: one top-level log directory: its lock, its flusher, its checkpoints, and whether it is
// online. The first sync or device failure takes it offline for good: every later append of its logs fails,
// nothing is retried (a second fsync after a failed one succeeds although data is gone), reads go on.
//
// Threading: any thread. Lock order: checkpoint_mutex_ before mutex_.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/checkpoint_file.h"
#include "core/engine_context.h"
#include "core/flusher.h"

namespace varve {

/// A log as its directory sees it.
class DirectoryMember {
 public:
  virtual ~DirectoryMember() = default;
  virtual void OnDirectoryFailed(const Status& why) = 0;
};

class LogDirectory : public std::enable_shared_from_this<LogDirectory> {
 public:
  LogDirectory(std::shared_ptr<const EngineContext> context, std::string path);

  /// Makes the directory when missing, locks it, reads checkpoints and the clean stop's mark.
  Status Open();
  /// Takes the mark away, durably: from now on a stop is unclean until WriteCleanMark.
  Status RemoveCleanMark();
  Status WriteCleanMark();
  void Unlock() { lock_.reset(); }

  const std::string& path() const { return path_; }
  bool map_appends() const { return map_appends_; }
  bool clean_start() const { return clean_start_; }
  Flusher& flusher() { return *flusher_; }

  bool online() const { return online_.load(std::memory_order_acquire); }
  /// Counts the partition directories made here; SyncNames(count) makes those up to it durable, many with one sync.
  uint64_t CountMade() { return names_made_.fetch_add(1, std::memory_order_acq_rel) + 1; }
  Status SyncNames(uint64_t made);
  std::string failure() const;
  /// Takes the directory offline; the first reason stays. Members are told on the Executor, without locks.
  void Fail(const Status& why);
  void Join(const std::weak_ptr<DirectoryMember>& member);

  // --- checkpoints ---
  /// As read by Open: -1 when there is none, or when nothing vouches for it.
  int64_t RecoveryPointOf(const TopicPartition& tp) const;
  int64_t LogStartOf(const TopicPartition& tp) const;
  /// Whether the log starts are varve's own, unchanged: what lies below them may be removed.
  bool log_starts_verified() const { return log_starts_verified_; }
  /// No varve has stored checkpoints here yet: the logs, if any, are Apache Kafka's.
  bool foreign() const { return foreign_; }
  bool VerifiesFile(const std::string& name, Bytes bytes) const;
  struct Offsets {
    TopicPartition tp;
    int64_t recovery_point;
    int64_t log_start;
  };
  /// Writes both checkpoints; `vouched` are small files (name relative to the directory, contents) that the
  /// sidecar vouches for.
  Status StoreCheckpoints(const std::vector<Offsets>& logs,
                          const std::vector<std::pair<std::string, std::string>>& vouched, bool durable);
  /// A log that could not be opened: later checkpoints say of it what the last one said.
  void KeepUnopened(const TopicPartition& tp);
  /// It was opened after all.
  void ForgetUnopened(const TopicPartition& tp);
  bool IsUnopened(const TopicPartition& tp) const;
  bool has_unopened() const;
  /// Whether the checkpoint on disk knows a partition of this name (one that was deleted, maybe).
  bool CheckpointKnows(const TopicPartition& tp) const;

 private:
  const std::shared_ptr<const EngineContext> context_;
  const std::string path_;
  bool map_appends_ = true;
  bool clean_start_ = false;
  bool foreign_ = false;
  bool log_starts_verified_ = false;
  std::unique_ptr<DirectoryLock> lock_;
  std::shared_ptr<Flusher> flusher_;

  std::atomic<bool> online_{true};
  std::atomic<uint64_t> names_made_{0};
  std::atomic<uint64_t> names_durable_{0};
  std::mutex names_mutex_;  ///< one sync of the directory at a time
  mutable std::mutex mutex_;
  std::string failure_;
  std::vector<std::weak_ptr<DirectoryMember>> members_;

  mutable std::mutex checkpoint_mutex_;
  CheckpointSet checkpoints_;
  std::map<std::string, int64_t> recovery_points_;  ///< by directory name, as on disk
  std::map<std::string, int64_t> log_starts_;
  std::vector<Offsets> unopened_;
};

}  // namespace varve
