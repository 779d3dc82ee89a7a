// SPDX-License-Identifier: Apache-2.0
#include "core/engine.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "core/engine_context.h"
#include "core/log_directory.h"
#include "core/log_impl.h"
#include "core/partition_metadata.h"
#include "core/segment_files.h"

namespace varve {
namespace {

/// Runs work(0) ... work(count - 1) on the Executor's threads and this one. This one does all that the others
/// don't get to, so it also works where nobody else runs (InlineExecutor).
class ParallelRun {
 public:
  static void Over(Executor& executor, size_t count, std::function<void(size_t)> work) {
    const auto run = std::make_shared<ParallelRun>(count, std::move(work));
    const size_t helpers = std::min<size_t>(kHelpers, count / kCountPerHelper);
    for (size_t i = 0; i < helpers; ++i) executor.Post([run] { run->Help(); });
    run->Help();
    std::unique_lock<std::mutex> lock(run->mutex_);
    run->finished_.wait(lock, [&run] { return run->done_ == run->count_; });
  }

  ParallelRun(size_t count, std::function<void(size_t)> work) : count_(count), work_(std::move(work)) {}

 private:
  static constexpr size_t kHelpers = 8;
  static constexpr size_t kCountPerHelper = 16;

  void Help() {
    for (size_t index; (index = next_.fetch_add(1)) < count_;) {
      work_(index);
      std::lock_guard<std::mutex> lock(mutex_);
      if (++done_ == count_) finished_.notify_all();
    }
  }

  const size_t count_;
  const std::function<void(size_t)> work_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable finished_;
  size_t done_ = 0;
};

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(std::shared_ptr<EngineContext> context) : context_(std::move(context)) {}
  ~EngineImpl() override { Abandon(); }

  Status OpenDirectories();

  std::shared_ptr<Log> FindLog(const TopicPartition& tp) override;
  Result<std::shared_ptr<Log>> OpenLog(const TopicPartition& tp, const LogConfig& config) override;
  Status DeleteLog(const TopicPartition& tp) override;
  std::vector<std::shared_ptr<Log>> Logs() override;
  std::vector<DirectoryInfo> Directories() override;
  const std::vector<std::string>& problems() const override { return problems_; }
  Result<std::string> ReadTopicId(const TopicPartition& tp) override;
  Status WriteTopicId(const TopicPartition& tp, const std::string& topic_id) override;
  void Maintain(int64_t now_ms, bool do_retention) override;
  Status Close() override;
  void Abandon() override;
  Vfs& vfs() override { return context_->vfs(); }
  Executor& executor() override { return context_->executor(); }
  const EngineOptions& options() const override { return context_->options; }

 private:
  struct Home {
    std::shared_ptr<LogDirectory> directory;
    std::atomic<uint64_t> recovered_bytes{0};
    size_t log_count = 0;  ///< mutex_
  };
  struct Found {
    TopicPartition tp;
    Home* home;
  };
  /// A directory tree that goes when its delay is over.
  struct DoomedTree {
    std::string path;
    int64_t delay_ms;
    int64_t due_ms = -1;  ///< -1: not seen by Maintain yet
  };

  Status FindInDirectory(Home& home, std::vector<Found>* found);
  /// What a killed process left in the page cache becomes durable now, so that it can be told so.
  void FlushFound(LogImpl& log);
  std::vector<std::shared_ptr<LogImpl>> LogsLocked() const;
  std::shared_ptr<LogImpl> Find(const TopicPartition& tp);
  Status StoreCheckpoints(LogDirectory& directory, const std::vector<std::shared_ptr<LogImpl>>& logs,
                          bool durable);
  Status Closed() const { return Status(Code::kClosed, "the engine is closed"); }

  const std::shared_ptr<EngineContext> context_;
  std::vector<std::unique_ptr<Home>> homes_;
  std::vector<std::string> problems_;

  std::mutex maintain_mutex_;    ///< before checkpoint_mutex_
  std::mutex checkpoint_mutex_;  ///< before a log's locks
  int64_t next_checkpoint_ms_ = -1;

  std::mutex mutex_;  ///< guards what follows; never held while a log works
  std::map<std::string, std::shared_ptr<LogImpl>> logs_;  ///< by directory name
  std::map<std::string, int> opening_;                    ///< names that are being opened or taken away
  std::condition_variable opened_;
  std::vector<DoomedTree> doomed_;
  uint64_t unique_ = 0;
  bool closed_ = false;
};

// --- opening ---

Status EngineImpl::OpenDirectories() {
  std::vector<Found> found;
  for (const std::string& path : context_->options.directories) {
    auto home = std::make_unique<Home>();
    home->directory = std::make_shared<LogDirectory>(context_, path);
    VARVE_TRY(home->directory->Open());
    homes_.push_back(std::move(home));
    VARVE_TRY(FindInDirectory(*homes_.back(), &found));
  }
  std::vector<std::shared_ptr<LogImpl>> logs(found.size());
  std::vector<std::string> problems(found.size());
  ParallelRun::Over(context_->executor(), found.size(), [&](size_t index) {
    Home& home = *found[index].home;
    Result<std::shared_ptr<LogImpl>> log = LogImpl::Open(
        context_, home.directory, found[index].tp, context_->options.defaults, home.directory->clean_start());
    if (!log.ok()) {
      home.directory->KeepUnopened(found[index].tp);
      problems[index] =
          home.directory->path() + "/" + DirectoryName(found[index].tp) + ": " + log.status().message();
      return;
    }
    problems[index] = (*log)->problem();
    home.recovered_bytes.fetch_add((*log)->Stats().recovered_bytes, std::memory_order_relaxed);
    logs[index] = std::move(*log);
  });
  for (std::string& problem : problems) {
    if (!problem.empty()) problems_.push_back(std::move(problem));
  }
  for (size_t index = 0; index < logs.size(); ++index) {
    if (!logs[index]) continue;
    const auto [at, inserted] = logs_.emplace(DirectoryName(found[index].tp), logs[index]);
    if (!inserted) {
      problems_.push_back(logs[index]->path() +
                          ": the same partition is in another log directory too; not served");
      found[index].home->directory->KeepUnopened(found[index].tp);
      logs[index]->Abandon();
      continue;
    }
    ++found[index].home->log_count;
    FlushFound(*logs[index]);
  }
  // A directory that is new, or was Kafka's, is varve's own from the first checkpoint on; it claims no more than is synced.
  std::vector<std::shared_ptr<LogImpl>> opened;
  for (const auto& [name, log] : logs_) opened.push_back(log);
  for (const std::unique_ptr<Home>& home : homes_) {
    if (!home->directory->foreign()) continue;
    for (const std::shared_ptr<LogImpl>& log : opened) {
      if (&log->directory() == home->directory.get()) log->SyncNow();
    }
    VARVE_TRY(StoreCheckpoints(*home->directory, opened, true));
  }
  // From here on the directories are in use: without this, a crash would look like a clean stop.
  for (const std::unique_ptr<Home>& home : homes_) VARVE_TRY(home->directory->RemoveCleanMark());
  return Status::Ok();
}

void EngineImpl::FlushFound(LogImpl& log) {
  if (log.durable_end().offset < log.log_end_offset() && context_->options.flush_mode == FlushMode::kCommit) {
    log.Flush({});
  }
}

Status EngineImpl::FindInDirectory(Home& home, std::vector<Found>* found) {
  Result<std::vector<std::string>> names = vfs().List(home.directory->path());
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (name.ends_with(kDeletedDirectorySuffix)) {
      VARVE_TRY(vfs().RemoveTree(home.directory->path() + "/" + name));
      continue;
    }
    if (const std::optional<TopicPartition> tp = ParseDirectoryName(name)) found->push_back({*tp, &home});
  }
  return Status::Ok();
}

// --- logs ---

std::shared_ptr<LogImpl> EngineImpl::Find(const TopicPartition& tp) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto at = logs_.find(DirectoryName(tp));
  return at == logs_.end() ? nullptr : at->second;
}

std::shared_ptr<Log> EngineImpl::FindLog(const TopicPartition& tp) { return Find(tp); }

Result<std::shared_ptr<Log>> EngineImpl::OpenLog(const TopicPartition& tp, const LogConfig& config) {
  if (!ValidTopicName(tp.topic) || tp.partition < 0) {
    return Status(Code::kInvalid,
                  "\"" + tp.topic + "\" partition " + std::to_string(tp.partition) +
                      ": a topic name has 1 to 249 characters of [a-zA-Z0-9._-] and is not . or ..");
  }
  const std::string name = DirectoryName(tp);
  Home* home = nullptr;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    opened_.wait(lock, [&] { return closed_ || !opening_.contains(name); });
    if (closed_) return Closed();
    if (const auto at = logs_.find(name); at != logs_.end()) return std::shared_ptr<Log>(at->second);
    for (const std::unique_ptr<Home>& candidate : homes_) {
      if (!candidate->directory->online()) continue;
      // Where its records are, should it be one that could not be opened before.
      const bool has_it = candidate->directory->IsUnopened(tp);
      if (home == nullptr || has_it || candidate->log_count < home->log_count) home = candidate.get();
      if (has_it) break;
    }
    if (home == nullptr)
      return Status(Code::kIo, "no log directory is online: " + homes_.front()->directory->failure());
    ++home->log_count;
    opening_.emplace(name, 1);
  }
  Status status = vfs().CreateDirectories(home->directory->path() + "/" + name);
  // A deleted partition of that name must not lend its recovery point to the new one.
  if (status.ok() && home->directory->CheckpointKnows(tp)) {
    std::vector<std::shared_ptr<LogImpl>> logs;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      logs = LogsLocked();
    }
    status = StoreCheckpoints(*home->directory, logs, true);
  }
  // A new one has no files; one that has them could not be opened when the engine was.
  Result<std::shared_ptr<LogImpl>> log =
      status.ok() ? LogImpl::Open(context_, home->directory, tp, config, home->directory->clean_start())
                  : Result<std::shared_ptr<LogImpl>>(status);
  if (log.ok()) home->directory->ForgetUnopened(tp);
  std::lock_guard<std::mutex> lock(mutex_);
  opening_.erase(name);
  opened_.notify_all();
  if (!log.ok()) {
    --home->log_count;
    return log.status();
  }
  if (closed_) {
    (*log)->Abandon();
    return Closed();
  }
  logs_.emplace(name, *log);
  FlushFound(**log);
  return std::shared_ptr<Log>(*log);
}

Status EngineImpl::DeleteLog(const TopicPartition& tp) {
  const std::string name = DirectoryName(tp);
  std::shared_ptr<LogImpl> log;
  std::string to;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    opened_.wait(lock, [&] { return closed_ || !opening_.contains(name); });
    if (closed_) return Closed();
    const auto at = logs_.find(name);
    if (at == logs_.end()) return Status(Code::kNotFound, "no log " + name);
    log = at->second;
    logs_.erase(at);
    opening_.emplace(name, 1);
    do {
      to = log->directory().path() + "/" + DeletedDirectoryName(tp, ++unique_);
    } while (vfs().Exists(to));
    for (const std::unique_ptr<Home>& home : homes_) {
      if (home->directory.get() == &log->directory()) --home->log_count;
    }
  }
  const int64_t delay_ms = log->config().file_delete_delay_ms;
  const Status status = log->MoveAway(to);
  std::lock_guard<std::mutex> lock(mutex_);
  opening_.erase(name);
  opened_.notify_all();
  if (status.ok()) doomed_.push_back({to, delay_ms});
  return status;
}

std::vector<std::shared_ptr<LogImpl>> EngineImpl::LogsLocked() const {
  std::vector<std::shared_ptr<LogImpl>> logs;
  logs.reserve(logs_.size());
  for (const auto& [name, log] : logs_) logs.push_back(log);
  return logs;
}

std::vector<std::shared_ptr<Log>> EngineImpl::Logs() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::shared_ptr<Log>> logs;
  logs.reserve(logs_.size());
  for (const auto& [name, log] : logs_) logs.push_back(log);
  return logs;
}

std::vector<DirectoryInfo> EngineImpl::Directories() {
  std::vector<DirectoryInfo> infos;
  for (const std::unique_ptr<Home>& home : homes_) {
    const LogDirectory& directory = *home->directory;
    infos.push_back({directory.path(), directory.online(), directory.failure(), directory.clean_start(),
                     home->recovered_bytes.load(std::memory_order_relaxed)});
  }
  return infos;
}

// --- topic ids ---

Result<std::string> EngineImpl::ReadTopicId(const TopicPartition& tp) {
  const std::shared_ptr<LogImpl> log = Find(tp);
  if (!log) return Status(Code::kNotFound, "no log " + DirectoryName(tp));
  return log->TopicId();
}

Status EngineImpl::WriteTopicId(const TopicPartition& tp, const std::string& topic_id) {
  const std::shared_ptr<LogImpl> log = Find(tp);
  if (!log) return Status(Code::kNotFound, "no log " + DirectoryName(tp));
  if (!IsTopicId(topic_id)) return Status(Code::kInvalid, "\"" + topic_id + "\" is not a topic id");
  return log->SetTopicId(topic_id);
}

// --- background ---

Status EngineImpl::StoreCheckpoints(LogDirectory& directory,
                                    const std::vector<std::shared_ptr<LogImpl>>& logs, bool durable) {
  // One at a time: an older recovery point written over a newer one would undo what a truncation mark is for.
  std::lock_guard<std::mutex> storing(checkpoint_mutex_);
  std::vector<LogDirectory::Offsets> offsets;
  std::vector<std::pair<std::string, std::string>> vouched;
  for (const std::shared_ptr<LogImpl>& log : logs) {
    if (&log->directory() != &directory) continue;
    int64_t recovery_point = 0;
    VARVE_TRY(log->PrepareCheckpoint(&recovery_point));
    offsets.push_back({log->topic_partition(), recovery_point, log->log_start_offset()});
    vouched.push_back(log->VouchedEpochs());
  }
  VARVE_TRY(directory.StoreCheckpoints(offsets, vouched, durable));
  size_t at = 0;
  for (const std::shared_ptr<LogImpl>& log : logs) {
    if (&log->directory() == &directory && durable)
      VARVE_TRY(log->AfterCheckpoint(offsets[at++].recovery_point));
  }
  return Status::Ok();
}

void EngineImpl::Maintain(int64_t now_ms, bool do_retention) {
  std::lock_guard<std::mutex> maintaining(maintain_mutex_);
  std::vector<std::shared_ptr<LogImpl>> logs;
  std::vector<std::string> gone;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return;
    logs = LogsLocked();
    std::erase_if(doomed_, [&](DoomedTree& tree) {
      if (tree.due_ms < 0) tree.due_ms = now_ms + tree.delay_ms;
      if (tree.due_ms > now_ms) return false;
      gone.push_back(tree.path);
      return true;
    });
  }
  // What can't be removed now is removed by the next start.
  for (const std::string& path : gone) [[maybe_unused]] const Status ignored = vfs().RemoveTree(path);
  std::vector<const LogDirectory*> moved;
  for (const std::shared_ptr<LogImpl>& log : logs) {
    if (log->Maintain(now_ms, do_retention)) moved.push_back(&log->directory());
  }
  if (next_checkpoint_ms_ < 0) next_checkpoint_ms_ = now_ms + context_->options.checkpoint_interval_ms;
  const bool due = now_ms >= next_checkpoint_ms_;
  if (due) next_checkpoint_ms_ = now_ms + context_->options.checkpoint_interval_ms;
  if (due && context_->options.flush_mode == FlushMode::kOs) {
    // So that the next checkpoint, and with it the scan after a crash, moves on.
    for (const std::shared_ptr<LogImpl>& log : logs) {
      if (log->durable_end().offset < log->log_end_offset()) log->Flush({});
    }
  }
  for (const std::unique_ptr<Home>& home : homes_) {
    LogDirectory& directory = *home->directory;
    if (!due && std::find(moved.begin(), moved.end(), &directory) == moved.end()) continue;
    if (!directory.online()) continue;
    const Status status = StoreCheckpoints(directory, logs, true);
    if (status.code() == Code::kIo) directory.Fail(status);
  }
  for (const std::shared_ptr<LogImpl>& log : logs) log->DeleteDoomed(now_ms);
}

// --- stopping ---

Status EngineImpl::Close() {
  std::lock_guard<std::mutex> maintaining(maintain_mutex_);
  std::vector<std::shared_ptr<LogImpl>> logs;
  std::vector<DoomedTree> doomed;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    if (closed_) return Status::Ok();
    closed_ = true;
    opened_.notify_all();
    opened_.wait(lock, [this] { return opening_.empty(); });
    logs = LogsLocked();
    doomed.swap(doomed_);
  }
  std::vector<Status> statuses(logs.size());
  ParallelRun::Over(context_->executor(), logs.size(),
                    [&](size_t index) { statuses[index] = logs[index]->CloseCleanly(); });
  Status first;
  for (const std::unique_ptr<Home>& home : homes_) {
    LogDirectory& directory = *home->directory;
    directory.flusher().Stop();
    Status status;
    for (size_t index = 0; index < logs.size(); ++index) {
      if (&logs[index]->directory() == &directory && !statuses[index].ok()) status = statuses[index];
    }
    if (status.ok()) status = StoreCheckpoints(directory, logs, true);
    // What was not opened was not looked at either: the next start has to.
    if (status.ok() && !directory.has_unopened()) status = directory.WriteCleanMark();
    if (!status.ok() && first.ok()) first = status;
    directory.Unlock();
  }
  for (const DoomedTree& tree : doomed) [[maybe_unused]] const Status ignored = vfs().RemoveTree(tree.path);
  std::lock_guard<std::mutex> lock(mutex_);
  logs_.clear();
  return first;
}

void EngineImpl::Abandon() {
  std::lock_guard<std::mutex> maintaining(maintain_mutex_);
  std::vector<std::shared_ptr<LogImpl>> logs;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    if (closed_) return;
    closed_ = true;
    opened_.notify_all();
    opened_.wait(lock, [this] { return opening_.empty(); });
    logs = LogsLocked();
    logs_.clear();
  }
  for (const std::shared_ptr<LogImpl>& log : logs) log->Abandon();
  for (const std::unique_ptr<Home>& home : homes_) {
    home->directory->flusher().Stop();
    home->directory->Unlock();
  }
}

}  // namespace

Result<std::shared_ptr<Engine>> Engine::Open(const EngineOptions& options) {
  if (options.directories.empty())
    return Status(Code::kInvalid, "an engine needs at least one log directory");
  auto context = std::make_shared<EngineContext>();
  context->options = options;
  if (!context->options.vfs) context->options.vfs = MakePosixVfs();
  if (!context->options.executor) context->options.executor = SharedThreadExecutor();
  context->maps = std::make_shared<MappedBudget>(options.maps_max != 0 ? options.maps_max : DefaultMapsMax());
  auto engine = std::make_shared<EngineImpl>(std::move(context));
  const Status status = engine->OpenDirectories();
  if (!status.ok()) return status;
  return std::shared_ptr<Engine>(std::move(engine));
}

}  // namespace varve
