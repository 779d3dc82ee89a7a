// SPDX-License-Identifier: Apache-2.0
// LogImpl: opening, configuration, statistics.
#include "core/log_impl.h"

#include <functional>

#include "core/log_loader.h"
#include "core/partition_metadata.h"
#include "core/segment_files.h"

namespace varve {

LogImpl::LogImpl(std::shared_ptr<const EngineContext> context, std::shared_ptr<LogDirectory> directory,
                 const TopicPartition& tp, const LogConfig& config)
    : context_(std::move(context)),
      directory_(std::move(directory)),
      tp_(tp),
      site_(std::make_shared<LogSite>()),
      config_(config),
      snapshots_(&context_->vfs(), directory_->path() + "/" + DirectoryName(tp)) {
  site_->context = context_;
  site_->path = directory_->path() + "/" + DirectoryName(tp);
  site_->map_appends = directory_->map_appends();
  site_->written_bytes_min = context_->options.append_io == AppendIo::kMmap
                                 ? static_cast<uint32_t>(kSegmentBytesMax)
                                 : context_->options.written_bytes_min;
  if (config.segment_jitter_ms > 0) {
    // Spread by name, so that the segments of one topic do not all roll at once.
    const size_t hash = std::hash<std::string>{}(site_->path);
    roll_jitter_ms_ = static_cast<int64_t>(hash % static_cast<uint64_t>(config.segment_jitter_ms));
  }
}

LogImpl::~LogImpl() = default;

Result<std::shared_ptr<LogImpl>> LogImpl::Open(std::shared_ptr<const EngineContext> context,
                                               std::shared_ptr<LogDirectory> directory,
                                               const TopicPartition& tp, const LogConfig& config,
                                               bool clean) {
  std::shared_ptr<LogImpl> log(new LogImpl(std::move(context), std::move(directory), tp, config));
  LoadRequest request;
  request.site = log->site_;
  request.config = config;
  request.clean = clean;
  request.recovery_point = log->directory_->RecoveryPointOf(tp);
  request.log_start = log->directory_->LogStartOf(tp);
  request.log_start_verified = log->directory_->log_starts_verified();
  request.foreign = log->directory_->foreign();
  request.epochs_vouched = [&log, &tp](Bytes file) {
    return log->directory_->VerifiesFile(DirectoryName(tp) + "/" + kEpochCheckpointName, file);
  };
  request.producer_id_expiration_ms = log->context_->options.producer_id_expiration_ms;
  Result<LoadedLog> loaded = LoadLog(request, &log->epochs_, &log->producers_, &log->snapshots_);
  if (!loaded.ok()) return loaded.status();
  log->claimed_recovery_point_ = request.recovery_point;
  log->Adopt(std::move(*loaded));
  log->directory_->Join(log);
  return log;
}

void LogImpl::Adopt(LoadedLog loaded) {
  loaded.segments.back()->Activate();
  SetSegments(std::move(loaded.segments));
  log_start_.store(loaded.log_start, std::memory_order_release);
  log_end_.Store(loaded.end);
  durable_end_.Store(loaded.durable);
  told_durable_ = loaded.durable.offset;
  recovered_bytes_ = loaded.recovered_bytes;
  truncated_bytes_ = loaded.truncated_bytes;
  epochs_on_disk_ = std::move(loaded.epochs_file);
  topic_id_ = std::move(loaded.topic_id);
  if (loaded.scanned || loaded.fresh) name_made_ = directory_->CountMade();
  mark_ = loaded.mark;
  if (!loaded.scanned) checkpointed_end_ = loaded.end.offset;
  // What a scan has found has no seal, or an older one: a clean stop must not vouch for that.
  appended_since_open_ = loaded.scanned;
  problem_ = std::move(loaded.problem);
  producers_.OnLogStartOffset(loaded.log_start);
  producer_count_.store(producers_.producer_count(), std::memory_order_relaxed);
  UpdateFirstUnstable();
}

LogConfig LogImpl::config() const {
  std::lock_guard<std::mutex> lock(config_mutex_);
  return config_;
}

void LogImpl::SetConfig(const LogConfig& config) {
  std::lock_guard<std::mutex> append(append_mutex_);
  {
    std::lock_guard<std::mutex> lock(config_mutex_);
    config_ = config;
  }
  active_->SetLimits(config);
}

Result<std::string> LogImpl::TopicId() const {
  std::lock_guard<std::mutex> lock(config_mutex_);
  return topic_id_;
}

Status LogImpl::SetTopicId(const std::string& topic_id) {
  const std::string text = PartitionMetadata{topic_id}.Encode();
  VARVE_TRY(site_->vfs().WriteFile(site_->PathOf(kPartitionMetadataName),
                                   {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, false));
  std::lock_guard<std::mutex> lock(config_mutex_);
  topic_id_ = topic_id;
  return Status::Ok();
}

LogStats LogImpl::Stats() const {
  LogStats stats;
  const std::shared_ptr<const SegmentList> list = segments_.Load();
  for (const std::shared_ptr<Segment>& segment : list->all()) stats.size_bytes += segment->size();
  stats.segment_count = static_cast<uint32_t>(list->size());
  stats.appended_bytes = appended_bytes_.load(std::memory_order_relaxed);
  stats.appended_batches = appended_batches_.load(std::memory_order_relaxed);
  stats.flush_count = flush_count_.load(std::memory_order_relaxed);
  stats.recovered_bytes = recovered_bytes_;
  stats.truncated_bytes = truncated_bytes_;
  stats.rebuilt_indexes = site_->rebuilt_indexes.load(std::memory_order_relaxed);
  stats.producer_count = producer_count_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace varve
