// SPDX-License-Identifier: Apache-2.0
// Engine: the log directories of one process: their locks, checkpoints, open logs, background work (flush, seal, prefault,
// delayed deletion) and the budget of mappings. Many engines may live in one process; they share the Executor's threads.
// Does not own time: Maintain(now_ms) does what is due (retention, roll by time, checkpoints, producer expiry).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/executor.h"
#include "core/log.h"

namespace varve {

enum class AppendIo : uint8_t { kAuto, kMmap, kPwrite };  // log.append.io
enum class FlushMode : uint8_t { kCommit, kOs };          // flush.mode

struct EngineOptions {
  std::vector<std::string> directories;
  std::shared_ptr<Vfs> vfs;            ///< null: the process's PosixVfs
  std::shared_ptr<Executor> executor;  ///< null: SharedThreadExecutor()
  AppendIo append_io = AppendIo::kAuto;
  /// kAuto: batches of at least this size go by pwrite, others through the mapping; both reach the same page cache. A
  /// store into a mapping costs a fault that zeroes a page about to be overwritten, and one more, with an interrupt of
  /// the other cores, after each sync; a call costs as much as that does for about 8 KiB.
  uint32_t written_bytes_min = 8u << 10;
  /// kCommit: appended data is synced as soon as the disk allows (group commit). kOs: only by Flush, roll and checkpoint, as Kafka does.
  FlushMode flush_mode = FlushMode::kCommit;
  int64_t flush_max_delay_ms = 1000;             // flush.max.delay.ms: data that nobody waits for is synced within it (kCommit)
  int64_t checkpoint_interval_ms = 60'000;       // log.flush.offset.checkpoint.interval.ms
  int64_t producer_id_expiration_ms = 86'400'000;  // producer.id.expiration.ms
  uint64_t maps_max = 0;                         ///< live mappings; 0: half of vm.max_map_count
  LogConfig defaults;
};

struct DirectoryInfo {
  std::string path;
  bool online = true;
  std::string failure;       ///< why it is offline
  bool clean_start = false;  ///< the last owner stopped cleanly
  uint64_t recovered_bytes = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  /// Locks the directories (made when missing), reads checkpoints and opens every `<topic>-<partition>` found in them.
  /// A log that can't be opened takes only itself offline and is named in `problems`. kLocked names the owner's pid.
  static Result<std::shared_ptr<Engine>> Open(const EngineOptions& options);

  /// The open log, or null.
  virtual std::shared_ptr<Log> FindLog(const TopicPartition& tp) = 0;
  /// The log, made when missing, in the directory with the fewest logs. Nothing is allocated before its first append.
  /// kInvalid for a name that Kafka would not allow ([a-zA-Z0-9._-]{1,249}, not "." or "..").
  virtual Result<std::shared_ptr<Log>> OpenLog(const TopicPartition& tp, const LogConfig& config) = 0;
  /// Takes the log away at once; its files are renamed to `.delete` and removed after file.delete.delay.ms. Readers keep what they hold.
  virtual Status DeleteLog(const TopicPartition& tp) = 0;
  virtual std::vector<std::shared_ptr<Log>> Logs() = 0;
  virtual std::vector<DirectoryInfo> Directories() = 0;
  /// What was wrong when opening: "path: why".
  virtual const std::vector<std::string>& problems() const = 0;

  /// Reads and writes partition.metadata (topic id as Kafka's 22-character base64url); empty when there is none.
  virtual Result<std::string> ReadTopicId(const TopicPartition& tp) = 0;
  virtual Status WriteTopicId(const TopicPartition& tp, const std::string& topic_id) = 0;

  /// What is due at `now_ms`: retention, roll by time, checkpoints, producer expiry, delayed deletion. Bounded work; cheap
  /// when nothing is due. `do_retention`: apply log.retention.* now.
  virtual void Maintain(int64_t now_ms, bool do_retention) = 0;
  /// Syncs, seals, trims, checkpoints and marks a clean stop; then every method fails with kClosed. Idempotent.
  virtual Status Close() = 0;
  /// Lets go without any of that, as a killed process would (tests, and a failed start).
  virtual void Abandon() = 0;

  virtual Vfs& vfs() = 0;
  virtual Executor& executor() = 0;
  virtual const EngineOptions& options() const = 0;
};

}  // namespace varve
