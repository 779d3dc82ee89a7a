// SPDX-License-Identifier: Apache-2.0
// The text files at the top of a log directory that say one offset for each partition, in Kafka's format
// (CheckpointFile, OffsetCheckpointFile), and the sidecar that says whether they are what varve wrote.
//
// Checkpoint, text:
//   0\n                               version
//   <count>\n
//   <topic> <partition> <offset>\n    count times
//
// They carry no checksum, so a flipped digit would be believed. `varve.checksums`, our own, beside them:
//   varve-checksums 1\n
//   <crc32c, 8 hex digits> <size> <name>\n    any number, by name; twice: before and after its last writing
//   crc32c <8 hex digits>\n                   of all bytes before this line
// Every version of it ends with that line: a file whose last line fits but whose version is newer is refused
// (kUnsupported); one whose last line does not fit is damaged, and vouches for nothing. It is written before
// the files it vouches for, and names their old contents as well, so a crash between the writings leaves
// every file verified, old or new.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/file_sum.h"
#include "core/log.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

struct CheckpointEntry {
  TopicPartition topic_partition;
  int64_t offset = 0;
  bool operator==(const CheckpointEntry&) const = default;
};

/// One such file's text and back. Pure.
struct CheckpointFile {
  static std::string Encode(const std::vector<CheckpointEntry>& entries);
  /// kCorrupt: not this format. kUnsupported: another version. An empty file (Kafka makes them so) has no
  /// entries.
  static Result<std::vector<CheckpointEntry>> Parse(Bytes file);
};

inline constexpr const char* kChecksumsName = "varve.checksums";

/// The sidecar's contents. Names are paths relative to the log directory, so it can vouch for any small file
/// in it.
class Checksums {
 public:
  /// kCorrupt: damaged, vouches for nothing. kUnsupported: a newer varve's; the text says which is needed.
  static Result<Checksums> Parse(Bytes file);
  std::string Encode() const;

  /// Whether `bytes` is what was last, or next to last, written under `name`.
  bool Verify(std::string_view name, Bytes bytes) const;
  bool Knows(std::string_view name) const;
  /// From now on `bytes` is what `name` holds; what it held before stays verified until the next call.
  void Record(std::string_view name, Bytes bytes);
  void Forget(std::string_view name);

 private:
  struct Sum {
    std::string name;
    FileSum current;
    std::optional<FileSum> previous;
  };
  Sum* Find(std::string_view name);
  const Sum* Find(std::string_view name) const { return const_cast<Checksums*>(this)->Find(name); }

  std::vector<Sum> sums_;  ///< sorted by name
};

enum class CheckpointKind : uint8_t {
  kRecoveryPoint,  ///< recovery-point-offset-checkpoint: everything below is on stable storage
  kLogStart,       ///< log-start-offset-checkpoint
  kReplication,    ///< replication-offset-checkpoint: high watermarks
  kCleaner,        ///< cleaner-offset-checkpoint: compacted up to
};
inline constexpr int kCheckpointKindCount = 4;
const char* CheckpointName(CheckpointKind kind);

/// How far the contents of a checkpoint may be believed.
enum class CheckpointTrust : uint8_t {
  kVerified,    ///< exactly what varve wrote
  kUnverified,  ///< reads well, but nothing vouches for it: Kafka wrote it, or it was changed. Scan instead
                ///< of believing it.
  kMissing,     ///< no such file
  kDamaged,     ///< does not read as a checkpoint; no entries
};

struct LoadedCheckpoint {
  CheckpointTrust trust = CheckpointTrust::kMissing;
  std::vector<CheckpointEntry> entries;
  std::string problem;  ///< why not kVerified, for the log
};

/// The four checkpoints of one log directory with their sidecar. Not thread-safe: the engine's checkpoint
/// lock.
class CheckpointSet {
 public:
  CheckpointSet(Vfs* vfs, std::string directory) : vfs_(vfs), directory_(std::move(directory)) {}

  /// Reads all of them. Damage is in each file's trust, not in the Status, which fails only when the disk
  /// does or a newer varve wrote here (kUnsupported: don't touch the directory).
  Status Load();
  const LoadedCheckpoint& loaded(CheckpointKind kind) const {
    return files_[static_cast<size_t>(kind)].loaded;
  }
  /// Frees what loaded() holds.
  void DropLoaded();

  /// Verifies another small file of this directory ("meta.properties", "orders-0/leader-epoch-checkpoint").
  bool Verify(std::string_view name, Bytes bytes) const { return checksums_.Verify(name, bytes); }
  /// Vouches for another small file, from the next Store on.
  void Record(std::string_view name, Bytes bytes) { checksums_.Record(name, bytes); }
  void Forget(std::string_view name) { checksums_.Forget(name); }

  struct Update {
    CheckpointKind kind;
    const std::vector<CheckpointEntry>* entries;
  };
  /// Writes the sidecar, then each file of `updates`; files whose contents stay the same are not written.
  Status Store(const std::vector<Update>& updates, bool durable);

 private:
  /// One of the four as it is on disk.
  struct OnDisk {
    LoadedCheckpoint loaded;
    std::string text;
    bool text_is_ours = false;  ///< written by us, now or (verified) before
  };

  std::string PathOf(const char* name) const { return directory_ + '/' + name; }
  Status LoadOne(CheckpointKind kind, const std::string& unverified_because);

  Vfs* vfs_;
  std::string directory_;
  Checksums checksums_;
  std::string stored_checksums_;
  OnDisk files_[kCheckpointKindCount];
};

}  // namespace varve
