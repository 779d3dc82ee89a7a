// SPDX-License-Identifier: Apache-2.0
// OpenPaths: under which path each open file of a PosixVfs can be found again, and the order between opening
// a path and changing names. A rename or removal excludes opens below the names that it touches, nothing
// else, for as long as it takes; so a path read here is a path that can be opened. Knows nothing of
// descriptors.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace varve {

class CachedDescriptor;

/// Threading: any thread. No system call is made with its mutex held. Order of locks: an Opening or a Change,
/// then a CachedDescriptor's mutex, then the DescriptorCache's; the mutex in here is innermost.
class OpenPaths {
  struct Named;
  using Names = std::multimap<std::string, Named>;

 public:
  /// A file's place in here; empty when it has no name any more (or none yet).
  class Entry {
    friend class OpenPaths;
    bool named_ = false;
    Names::iterator at_;
  };

  /// Held while a path is opened. Movable so that it can be returned; ends with its scope.
  class Opening {
   public:
    Opening(Opening&& other) noexcept : paths_(other.paths_), path_(std::move(other.path_)) {
      other.paths_ = nullptr;
    }
    Opening(const Opening&) = delete;
    Opening& operator=(const Opening&) = delete;
    ~Opening();
    /// Empty: the entry has no name.
    const std::string& path() const { return path_; }

   private:
    friend class OpenPaths;
    Opening(OpenPaths* paths, std::string path) : paths_(paths), path_(std::move(path)) {}
    OpenPaths* paths_;
    std::string path_;
  };

  /// Held while names change at or below its `tops`.
  class Change {
   public:
    Change(Change&& other) noexcept : paths_(other.paths_), tops_(std::move(other.tops_)) {
      other.paths_ = nullptr;
    }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change();

   private:
    friend class OpenPaths;
    Change(OpenPaths* paths, std::vector<std::string> tops) : paths_(paths), tops_(std::move(tops)) {}
    OpenPaths* paths_;
    std::vector<std::string> tops_;
  };

  Opening BeginOpen(std::string path);
  /// The same for a file known here, at the path that it has when its turn comes.
  Opening BeginReopen(const Entry& entry);
  Change BeginChange(std::vector<std::string> tops);

  /// Enters a file. The Opening of `path` (or a Change above it) is held.
  void Add(Entry& entry, std::string path, std::weak_ptr<CachedDescriptor> file);
  void Remove(Entry& entry);
  /// The entry's path now, empty when it has none; for messages, and under a Change.
  std::string PathOf(const Entry& entry) const;

  /// The files at and below `top`. A Change of it is held.
  std::vector<std::shared_ptr<CachedDescriptor>> FilesWithin(const std::string& top) const;
  /// What was at and below `from` is now at and below `to`. A Change of both is held.
  void Moved(const std::string& from, const std::string& to);

 private:
  struct Named {
    Entry* entry;
    std::weak_ptr<CachedDescriptor> file;
  };

  bool IsChanging(const std::string& path) const;
  bool IsOpeningWithin(const std::string& top) const;

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  Names names_;
  std::multimap<std::string, int> opening_;
  std::vector<std::string> changing_;
};

}  // namespace varve
