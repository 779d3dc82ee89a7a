// SPDX-License-Identifier: Apache-2.0
// EngineContext: what every log of an engine shares, and LogSite: where one log lives. Immutable after the
// engine opened.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "core/engine.h"
#include "core/mapped_budget.h"

namespace varve {

struct EngineContext {
  EngineOptions options;  ///< vfs and executor are set
  std::shared_ptr<MappedBudget> maps;

  Vfs& vfs() const { return *options.vfs; }
  Executor& executor() const { return *options.executor; }
};

/// Where the segments of one log are, and how they are written.
struct LogSite {
  std::shared_ptr<const EngineContext> context;
  std::string path;  ///< <directory>/<topic>-<partition>
  bool map_appends =
      true;  ///< false: log.append.io=pwrite, or a file system where mapped appends can't be trusted
  /// With map_appends: batches of at least this size are written all the same.
  uint32_t written_bytes_min = 0;
  /// Indexes that had to be rebuilt, of all segments of the log.
  mutable std::atomic<uint32_t> rebuilt_indexes{0};

  std::string PathOf(const std::string& name) const { return path + "/" + name; }
  Vfs& vfs() const { return context->vfs(); }
};

}  // namespace varve
