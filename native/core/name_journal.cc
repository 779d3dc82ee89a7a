// SPDX-License-Identifier: Apache-2.0
#include "core/name_journal.h"

#include <unordered_set>
#include <utility>

namespace varve {
namespace {

void MakeDurable(const NameChange& change) {
  change.Apply([](MemoryInode* directory) -> MemoryInode::Entries& { return directory->durable_entries; });
}

}  // namespace

void NameChange::Apply(const EntriesOf& entries_of) const {
  if (from.directory) {
    MemoryInode::Entries& entries = entries_of(from.directory.get());
    auto at = entries.find(from.name);
    if (at != entries.end() && at->second == inode) entries.erase(at);
  }
  if (to.directory) entries_of(to.directory.get())[to.name] = inode;
}

void NameJournal::Add(NameChange change) {
  changes_.push_back(std::move(change));
  if (changes_.size() <= kChangesMax) return;
  auto half = changes_.begin() + static_cast<ptrdiff_t>(kChangesMax / 2);
  for (auto at = changes_.begin(); at != half; ++at) MakeDurable(*at);
  changes_.erase(changes_.begin(), half);
}

void NameJournal::Sync(MemoryInode* directory) {
  std::unordered_set<const MemoryInode*> directories = {directory};
  std::vector<bool> now(changes_.size());
  for (size_t i = changes_.size(); i-- > 0;) {
    const MemoryInode* from = changes_[i].from.directory.get();
    const MemoryInode* to = changes_[i].to.directory.get();
    now[i] = directories.contains(from) || directories.contains(to);
    if (!now[i]) continue;
    if (from != nullptr) directories.insert(from);
    if (to != nullptr) directories.insert(to);
  }
  std::vector<NameChange> left;
  for (size_t i = 0; i < changes_.size(); i++) {
    if (now[i]) {
      MakeDurable(changes_[i]);
    } else {
      left.push_back(std::move(changes_[i]));
    }
  }
  changes_ = std::move(left);
}

std::vector<const NameChange*> NameJournal::DrawSurvivors(LossRandom& random) const {
  std::vector<const NameChange*> survivors;
  if (changes_.empty()) return survivors;
  if (random.OneIn(2)) {
    uint64_t count = random.Below(changes_.size() + 1);
    for (uint64_t i = 0; i < count; i++) survivors.push_back(&changes_[i]);
    return survivors;
  }
  std::unordered_set<const MemoryInode*> lost;
  for (const NameChange& change : changes_) {
    if (lost.contains(change.inode.get()) || random.OneIn(2)) {
      lost.insert(change.inode.get());
    } else {
      survivors.push_back(&change);
    }
  }
  return survivors;
}

}  // namespace varve
