// SPDX-License-Identifier: Apache-2.0
// MemoryVfs: files without a disk, for in-process brokers, tests and the simulator. With crash_model on it
// also keeps what a power cut would leave: a mapping or a write is the live image, Sync copies it to the
// durable image, and Crash() makes the disk that a machine would find after the cut: every 512-byte sector of
// un-synced data is the durable one, the live one or torn; names (creations, renames, removals) not made
// durable by SyncDirectory may be there or not.
#pragma once

#include "core/vfs.h"

namespace varve {

class MemoryVfs : public Vfs {
 public:
  /// What the disk does at a given call: the fault injector of tests. Return ok() to let the call go on.
  enum class Call : uint8_t {
    kOpen,
    kRead,
    kWrite,
    kAllocate,
    kTruncate,
    kSync,
    kMap,
    kRename,
    kRemove,
    kSyncDirectory,
    kPrefault,
    kSize,
    kList,
    kCreateDirectories,
  };
  /// `path` is the file's name now. Called from the thread that makes the call, without locks: it may look at
  /// this Vfs, and Crash() it.
  using Fault = std::function<Status(Call call, const std::string& path)>;

  /// How un-synced bytes come out of a power cut.
  enum class Loss : uint8_t {
    kAll,     ///< nothing un-synced survives
    kNone,    ///< everything survives (a killed process)
    kRandom,  ///< each sector by chance: durable, live, or torn within
  };

  /// The disk as found after a power cut now. This one stays as it is, so that many cuts can be made of one
  /// moment. Equal seeds make equal disks.
  ///
  /// Names: a file system may write its changes of names in order or not, so with kRandom either a front part
  /// of them is there or some of them; a rename is there as a whole or not at all. Sync of a file makes its
  /// bytes and size durable, not its name; a directory's name is its parent's. A size that survived without
  /// its bytes reads as zeros. After a Sync that failed (by a fault) the bytes that were dirty then are lost,
  /// even if a later one says ok, unless written again.
  virtual std::shared_ptr<MemoryVfs> Crash(Loss loss, uint64_t seed) = 0;
  /// A deep copy, durable as live (snapshot() of a test's broker). Stores into mappings should rest
  /// meanwhile.
  virtual std::shared_ptr<MemoryVfs> Clone() = 0;
  /// Called before each call that can fail; nullptr: no faults.
  virtual void SetFault(Fault fault) = 0;
  /// Bytes that all files together may take; more is kNoSpace. 0: no limit.
  virtual void SetCapacity(uint64_t bytes) = 0;
  /// Changes the file's bytes in place in the live and the durable image (bit rot); tests only.
  virtual Status Corrupt(const std::string& path, uint64_t position, Bytes bytes) = 0;
  /// Files with a page touched in a mapping behind the file's end: on a disk that is a SIGBUS. Tests expect
  /// none.
  virtual std::vector<std::string> FilesTouchedBeyondEnd() = 0;
};

/// With crash_model off nothing is copied on Sync, and Crash() may not be called.
std::shared_ptr<MemoryVfs> MakeMemoryVfs(bool crash_model);

}  // namespace varve
