// SPDX-License-Identifier: Apache-2.0
// NameJournal: the crash model's account of names: creations, renames and removals that no SyncDirectory has made
// durable yet, in the order in which they happened, and which of them a power cut leaves. Knows nothing of bytes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/file_image.h"
#include "core/memory_inode.h"

namespace varve {

/// One change of names. A new name has only `to`, a removal only `from`, a rename both.
struct NameChange {
  struct Place {
    std::shared_ptr<MemoryInode> directory;
    std::string name;
  };
  /// The entries of a directory that a change is to be applied to.
  using EntriesOf = std::function<MemoryInode::Entries&(MemoryInode* directory)>;

  std::shared_ptr<MemoryInode> inode;
  Place from;
  Place to;

  void Apply(const EntriesOf& entries_of) const;
};

/// Guarded by the Vfs.
class NameJournal {
 public:
  void Add(NameChange change);
  /// Makes the changes in `directory` durable, with those that came before them in directories that they share.
  void Sync(MemoryInode* directory);
  /// What a power cut leaves: the first of the changes up to some moment (a journaling file system), or any of
  /// them, though never a later one of a file without its earlier ones. In order.
  std::vector<const NameChange*> DrawSurvivors(LossRandom& random) const;

 private:
  /// A disk writes names back by itself after a while; a test that never syncs a directory must not grow for ever.
  static constexpr size_t kChangesMax = 10'000;

  std::vector<NameChange> changes_;
};

}  // namespace varve
