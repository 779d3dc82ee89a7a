// SPDX-License-Identifier: Apache-2.0
// The lock of a log directory on disk: a lock on the file `.lock` in it, the one that Apache Kafka takes
// (LogManager), so that a broker of either kind keeps the other out. Owns nothing but that file's descriptor.
#pragma once

#include <memory>
#include <string>

#include "core/status.h"
#include "core/vfs.h"

namespace varve {

inline constexpr char kLockFileName[] = ".lock";

Result<std::unique_ptr<DirectoryLock>> LockDirectory(const std::string& directory);

/// What kLocked says; `owner` is a pid, 0 when it is not known.
Status LockedStatus(const std::string& directory, int64_t owner);

}  // namespace varve
