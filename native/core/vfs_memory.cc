// SPDX-License-Identifier: Apache-2.0
#include "core/vfs_memory.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

#include "core/directory_lock.h"
#include "core/mapped_range.h"
#include "core/memory_inode.h"
#include "core/name_journal.h"
#include "core/path_text.h"

namespace varve {
namespace {

using Inode = std::shared_ptr<MemoryInode>;

/// An inode in use by a handle or a mapping.
class InodeUser {
 public:
  explicit InodeUser(Inode inode) : inode_(std::move(inode)) { inode_->AddUser(); }
  ~InodeUser() { inode_->DropUser(); }
  InodeUser(const InodeUser&) = delete;
  InodeUser& operator=(const InodeUser&) = delete;
  MemoryInode& operator*() const { return *inode_; }
  MemoryInode* operator->() const { return inode_.get(); }
  const Inode& get() const { return inode_; }

 private:
  Inode inode_;
};

using Call = MemoryVfs::Call;

class MemoryVfsImpl : public MemoryVfs, public std::enable_shared_from_this<MemoryVfsImpl> {
 public:
  explicit MemoryVfsImpl(bool crash_model)
      : crash_model_(crash_model), space_(std::make_shared<MemorySpace>()), root_(NewInode(true)) {
    root_->path = "/";
  }

  Result<std::shared_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Result<std::vector<uint8_t>> ReadFile(const std::string& path, uint64_t limit) override;
  Status WriteFile(const std::string& path, Bytes bytes, bool durable) override;
  Status CreateDirectories(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  bool Exists(const std::string& path) override;
  Result<uint64_t> FileSize(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status RemoveTree(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status SyncDirectory(const std::string& path) override;
  Result<std::unique_ptr<DirectoryLock>> Lock(const std::string& directory) override;
  bool TrustsMappedAppend(const std::string& directory) override { return true; }
  Result<uint64_t> FreeBytes(const std::string& directory) override;

  std::shared_ptr<MemoryVfs> Crash(Loss loss, uint64_t seed) override;
  std::shared_ptr<MemoryVfs> Clone() override { return Copy(Loss::kNone, 0); }
  void SetFault(Fault fault) override;
  void SetCapacity(uint64_t bytes) override { space_->SetCapacity(bytes); }
  Status Corrupt(const std::string& path, uint64_t position, Bytes bytes) override;
  std::vector<std::string> FilesTouchedBeyondEnd() override;

  /// Asks the fault injector.
  Status Check(Call call, const std::string& path);
  Status Check(Call call, const MemoryInode& inode);
  /// Held by every call that changes something. A power cut happens between calls: what one of them wrote,
  /// and another synced after it, is not to be found without the first.
  std::shared_lock<std::shared_mutex> Enter() { return std::shared_lock<std::shared_mutex>(cut_mutex_); }

 private:
  /// What a path leads to. No directory: its parent does not exist (or it is the root). No inode: there is no
  /// such name.
  struct Place {
    Inode directory;
    std::string name;
    Inode inode;
    int error = ENOENT;  // why there is no directory, as the system would say
  };
  struct CopyRun {
    Loss loss;
    LossRandom random;
    FileImage scratch;
  };
  class MemoryLock;
  class Turn;

  Inode NewInode(bool is_directory) const {
    return std::make_shared<MemoryInode>(space_, is_directory, crash_model_);
  }
  Place Find(const std::string& path) const;
  void Link(const Place& place, const Inode& inode);
  void Unlink(const Place& place);
  void UnlinkTree(const Place& place);
  void Note(NameChange change) {
    if (crash_model_) journal_.Add(std::move(change));
  }
  static void SetPath(MemoryInode& inode, const std::string& path);
  std::shared_ptr<MemoryVfsImpl> Copy(Loss loss, uint64_t seed);
  template <typename EntriesOf>
  static void CopyTree(const MemoryInode& from, MemoryInode& to, MemoryVfsImpl& target, CopyRun& run,
                       EntriesOf& entries_of);
  template <typename Visit>
  static void VisitFiles(const MemoryInode& directory, Visit visit);

  const bool crash_model_;
  const std::shared_ptr<MemorySpace> space_;

  std::shared_mutex cut_mutex_;  // before mutex_, before an inode's
  std::mutex mutex_;             // names
  const Inode root_;
  NameJournal journal_;
  std::set<std::string> locked_;

  std::mutex turn_mutex_;
  std::condition_variable turn_ended_;
  std::set<std::string> turns_;

  std::atomic<bool> has_fault_{false};
  std::mutex fault_mutex_;
  std::shared_ptr<Fault> fault_;
};

class MemoryMapping : public MappedRange {
 public:
  MemoryMapping(uint8_t* data, uint64_t bytes, uint64_t touched, std::shared_ptr<MemoryVfsImpl> vfs,
                Inode inode, std::shared_ptr<MemorySlot> slot)
      : MappedRange(data, bytes, touched),
        vfs_(std::move(vfs)),
        inode_(std::move(inode)),
        slot_(std::move(slot)) {}

  Status Prefault(uint64_t position, uint64_t bytes) override {
    VARVE_TRY(vfs_->Check(Call::kPrefault, *inode_));
    VARVE_TRY(CheckRange(position, bytes));
    NoteTouched(position + bytes);
    auto entered = vfs_->Enter();
    return inode_->Populate(position, bytes);
  }

 private:
  std::shared_ptr<MemoryVfsImpl> vfs_;
  InodeUser inode_;
  std::shared_ptr<MemorySlot> slot_;
};

class MemoryFile : public File {
 public:
  MemoryFile(std::shared_ptr<MemoryVfsImpl> vfs, Inode inode, bool writable)
      : vfs_(std::move(vfs)), inode_(std::move(inode)), writable_(writable) {}

  Status Read(uint64_t position, MutableBytes to, uint64_t* read) override {
    VARVE_TRY(vfs_->Check(Call::kRead, *inode_));
    Status status;
    *read = inode_->Read(position, to, &status);
    return status;
  }
  Status Write(uint64_t position, Bytes from) override {
    return Change(Call::kWrite, [&] { return inode_->Write(position, from); });
  }
  Status Allocate(uint64_t bytes) override {
    return Change(Call::kAllocate, [&] { return inode_->Allocate(bytes); });
  }
  Status Truncate(uint64_t bytes) override {
    return Change(Call::kTruncate, [&] { return inode_->Truncate(bytes); });
  }

  Status Sync() override {
    Status fault = vfs_->Check(Call::kSync, *inode_);
    auto entered = vfs_->Enter();
    if (fault.ok()) return inode_->Sync();
    VARVE_TRY(inode_->LoseDirtyPages());
    return fault;
  }

  void StartWriteback(uint64_t position, uint64_t bytes) override {}

  Result<uint64_t> Size() override {
    Status fault = vfs_->Check(Call::kSize, *inode_);
    if (!fault.ok()) return fault;
    return inode_->Size();
  }

  Result<std::shared_ptr<Mapping>> Map(uint64_t position, uint64_t bytes, MapMode mode) override {
    Status fault = vfs_->Check(Call::kMap, *inode_);
    if (!fault.ok()) return fault;
    if (mode == MapMode::kShared && !writable_)
      return Status::FromErrno(EACCES, "map a file opened for reading");
    auto entered = vfs_->Enter();
    std::shared_ptr<MemorySlot> slot;
    Result<uint8_t*> data = inode_->Map(position, bytes, mode, &slot);
    if (!data.ok()) return data.status();
    uint64_t end = inode_->Size();
    uint64_t touched = end > position ? end - position : 0;
    return std::shared_ptr<Mapping>(
        std::make_shared<MemoryMapping>(*data, bytes, touched, vfs_, inode_.get(), std::move(slot)));
  }

  int Descriptor() override { return -1; }

 private:
  template <typename Work>
  Status Change(Call call, Work work) {
    VARVE_TRY(vfs_->Check(call, *inode_));
    if (!writable_) return Status::FromErrno(EBADF, "change a file opened for reading");
    auto entered = vfs_->Enter();
    return work();
  }

  std::shared_ptr<MemoryVfsImpl> vfs_;
  InodeUser inode_;
  bool writable_;
};

class MemoryVfsImpl::MemoryLock : public DirectoryLock {
 public:
  MemoryLock(std::shared_ptr<MemoryVfsImpl> vfs, std::string directory)
      : vfs_(std::move(vfs)), directory_(std::move(directory)) {}
  ~MemoryLock() override {
    std::lock_guard<std::mutex> lock(vfs_->mutex_);
    vfs_->locked_.erase(directory_);
  }

 private:
  std::shared_ptr<MemoryVfsImpl> vfs_;
  std::string directory_;
};

/// One at a time writes a whole file under a name.
class MemoryVfsImpl::Turn {
 public:
  Turn(MemoryVfsImpl& vfs, std::string path) : vfs_(vfs), path_(std::move(path)) {
    std::unique_lock<std::mutex> lock(vfs_.turn_mutex_);
    vfs_.turn_ended_.wait(lock, [&] { return vfs_.turns_.insert(path_).second; });
  }
  ~Turn() {
    std::lock_guard<std::mutex> lock(vfs_.turn_mutex_);
    vfs_.turns_.erase(path_);
    vfs_.turn_ended_.notify_all();
  }

 private:
  MemoryVfsImpl& vfs_;
  std::string path_;
};

Result<std::shared_ptr<File>> MemoryVfsImpl::Open(const std::string& path, OpenMode mode) {
  Status fault = Check(Call::kOpen, path);
  if (!fault.ok()) return fault;
  auto entered = Enter();
  std::lock_guard<std::mutex> lock(mutex_);
  Place place = Find(path);
  if (!place.inode) {
    if (!place.directory || mode != OpenMode::kCreate) return Status::FromErrno(place.error, "open " + path);
    place.inode = NewInode(false);
    Link(place, place.inode);
  }
  if (place.inode->is_directory()) return Status::FromErrno(EISDIR, "open " + path);
  return std::shared_ptr<File>(
      std::make_shared<MemoryFile>(shared_from_this(), place.inode, mode != OpenMode::kRead));
}

Result<std::vector<uint8_t>> MemoryVfsImpl::ReadFile(const std::string& path, uint64_t limit) {
  Result<std::shared_ptr<File>> file = Open(path, OpenMode::kRead);
  if (!file.ok()) return file.status();
  Result<uint64_t> size = (*file)->Size();
  if (!size.ok()) return size.status();
  if (*size > limit) {
    return Status(Code::kTooLarge, path + " has " + std::to_string(*size) + " bytes, more than the " +
                                       std::to_string(limit) + " that it may have");
  }
  std::vector<uint8_t> bytes(*size);
  uint64_t read = 0;
  VARVE_TRY((*file)->Read(0, bytes, &read));
  bytes.resize(read);
  return bytes;
}

Status MemoryVfsImpl::WriteFile(const std::string& path, Bytes bytes, bool durable) {
  std::string temporary = NormalPath(path, "/") + ".tmp";
  Turn turn(*this, temporary);
  auto write = [&]() -> Status {
    Result<std::shared_ptr<File>> file = Open(temporary, OpenMode::kCreate);
    if (!file.ok()) return file.status();
    VARVE_TRY((*file)->Truncate(0));
    VARVE_TRY((*file)->Write(0, bytes));
    if (durable) VARVE_TRY((*file)->Sync());
    return Rename(temporary, path);
  };
  Status status = write();
  if (!status.ok()) {
    auto entered = Enter();
    std::lock_guard<std::mutex> lock(mutex_);
    Place place = Find(temporary);
    if (place.inode && !place.inode->is_directory()) Unlink(place);
    return status;
  }
  return durable ? SyncDirectory(ParentPath(NormalPath(path, "/"))) : Status::Ok();
}

Status MemoryVfsImpl::CreateDirectories(const std::string& path) {
  VARVE_TRY(Check(Call::kCreateDirectories, path));
  auto entered = Enter();
  std::lock_guard<std::mutex> lock(mutex_);
  Inode at = root_;
  for (std::string_view name : PathNames(path)) {
    auto entry = at->entries.find(name);
    Inode next = entry == at->entries.end() ? nullptr : entry->second;
    if (!next) {
      next = NewInode(true);
      Link({at, std::string(name), nullptr}, next);
    }
    if (!next->is_directory()) return Status::FromErrno(ENOTDIR, "mkdir " + path);
    at = std::move(next);
  }
  return Status::Ok();
}

Result<std::vector<std::string>> MemoryVfsImpl::List(const std::string& path) {
  Status fault = Check(Call::kList, path);
  if (!fault.ok()) return fault;
  std::lock_guard<std::mutex> lock(mutex_);
  Place place = Find(path);
  if (!place.inode) return Status::FromErrno(place.error, "open " + path);
  if (!place.inode->is_directory()) return Status::FromErrno(ENOTDIR, "open " + path);
  std::vector<std::string> names;
  names.reserve(place.inode->entries.size());
  for (const auto& [name, entry] : place.inode->entries) names.push_back(name);
  return names;
}

bool MemoryVfsImpl::Exists(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  return Find(path).inode != nullptr;
}

Result<uint64_t> MemoryVfsImpl::FileSize(const std::string& path) {
  Status fault = Check(Call::kSize, path);
  if (!fault.ok()) return fault;
  std::lock_guard<std::mutex> lock(mutex_);
  Place place = Find(path);
  if (!place.inode) return Status::FromErrno(place.error, "stat " + path);
  return place.inode->Size();
}

Status MemoryVfsImpl::Remove(const std::string& path) {
  VARVE_TRY(Check(Call::kRemove, path));
  auto entered = Enter();
  std::lock_guard<std::mutex> lock(mutex_);
  Place place = Find(path);
  if (!place.inode) return Status::FromErrno(place.error, "remove " + path);
  if (!place.directory) return Status::FromErrno(EBUSY, "remove " + path);
  if (!place.inode->entries.empty()) return Status::FromErrno(ENOTEMPTY, "remove " + path);
  Unlink(place);
  return Status::Ok();
}

Status MemoryVfsImpl::RemoveTree(const std::string& path) {
  VARVE_TRY(Check(Call::kRemove, path));
  auto entered = Enter();
  std::lock_guard<std::mutex> lock(mutex_);
  Place place = Find(path);
  if (!place.inode) return Status::FromErrno(place.error, "remove " + path);
  if (!place.directory) return Status::FromErrno(EBUSY, "remove " + path);
  UnlinkTree(place);
  return Status::Ok();
}

Status MemoryVfsImpl::Rename(const std::string& from, const std::string& to) {
  VARVE_TRY(Check(Call::kRename, from));
  auto entered = Enter();
  std::lock_guard<std::mutex> lock(mutex_);
  Place source = Find(from);
  Place target = Find(to);
  std::string what = "rename " + from + " to " + to;
  for (const Place* place : {&source, &target}) {
    if (!place->directory) return Status::FromErrno(place->inode == root_ ? EBUSY : place->error, what);
  }
  if (!source.inode) return Status::FromErrno(ENOENT, what);
  if (source.inode == target.inode) return Status::Ok();
  if (IsWithin(target.directory->path, source.inode->path)) return Status::FromErrno(EINVAL, what);
  if (target.inode) {
    if (target.inode->is_directory() != source.inode->is_directory()) {
      return Status::FromErrno(target.inode->is_directory() ? EISDIR : ENOTDIR, what);
    }
    if (!target.inode->entries.empty()) return Status::FromErrno(ENOTEMPTY, what);
  }
  if (target.inode) target.inode->DropUser();
  source.directory->entries.erase(source.name);
  target.directory->entries[target.name] = source.inode;
  SetPath(*source.inode, NormalPath(target.directory->path + "/" + target.name, "/"));
  Note({source.inode, {source.directory, source.name}, {target.directory, target.name}});
  return Status::Ok();
}

Status MemoryVfsImpl::SyncDirectory(const std::string& path) {
  VARVE_TRY(Check(Call::kSyncDirectory, path));
  auto entered = Enter();
  std::lock_guard<std::mutex> lock(mutex_);
  Place place = Find(path);
  if (!place.inode) return Status::FromErrno(place.error, "open " + path);
  if (!place.inode->is_directory()) return Status::FromErrno(ENOTDIR, "open " + path);
  if (crash_model_) journal_.Sync(place.inode.get());
  return Status::Ok();
}

Result<std::unique_ptr<DirectoryLock>> MemoryVfsImpl::Lock(const std::string& directory) {
  std::string normal = NormalPath(directory, "/");
  Result<std::shared_ptr<File>> file = Open(normal + "/" + kLockFileName, OpenMode::kCreate);
  if (!file.ok()) return file.status();
  std::lock_guard<std::mutex> lock(mutex_);
  if (!locked_.insert(normal).second) return LockedStatus(directory, getpid());
  return std::unique_ptr<DirectoryLock>(std::make_unique<MemoryLock>(shared_from_this(), normal));
}

Result<uint64_t> MemoryVfsImpl::FreeBytes(const std::string& directory) {
  constexpr uint64_t kPlenty = uint64_t{1} << 40;
  uint64_t capacity = space_->capacity();
  uint64_t used = space_->used();
  if (capacity == 0) return kPlenty;
  return capacity > used ? capacity - used : 0;
}

std::shared_ptr<MemoryVfs> MemoryVfsImpl::Crash(Loss loss, uint64_t seed) {
  if (!crash_model_) {
    std::fprintf(stderr,
                 "varve: Crash() of a MemoryVfs without its crash model: make it with MakeMemoryVfs(true)\n");
    std::abort();
  }
  return Copy(loss, seed);
}

void MemoryVfsImpl::SetFault(Fault fault) {
  std::lock_guard<std::mutex> lock(fault_mutex_);
  has_fault_.store(fault != nullptr);
  fault_ = fault ? std::make_shared<Fault>(std::move(fault)) : nullptr;
}

Status MemoryVfsImpl::Corrupt(const std::string& path, uint64_t position, Bytes bytes) {
  auto entered = Enter();
  std::lock_guard<std::mutex> lock(mutex_);
  Place place = Find(path);
  if (!place.inode) return Status::FromErrno(place.error, "open " + path);
  return place.inode->Corrupt(position, bytes);
}

std::vector<std::string> MemoryVfsImpl::FilesTouchedBeyondEnd() {
  std::vector<std::string> paths;
  std::lock_guard<std::mutex> lock(mutex_);
  VisitFiles(*root_, [&](MemoryInode& file) {
    if (file.IsTouchedBeyondEnd()) paths.push_back(file.path);
  });
  return paths;
}

Status MemoryVfsImpl::Check(Call call, const std::string& path) {
  if (!has_fault_.load()) return Status::Ok();
  std::shared_ptr<Fault> fault;
  {
    std::lock_guard<std::mutex> lock(fault_mutex_);
    fault = fault_;
  }
  return fault ? (*fault)(call, NormalPath(path, "/")) : Status::Ok();
}

Status MemoryVfsImpl::Check(Call call, const MemoryInode& inode) {
  if (!has_fault_.load()) return Status::Ok();
  std::string path;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    path = inode.path;
  }
  return Check(call, path);
}

MemoryVfsImpl::Place MemoryVfsImpl::Find(const std::string& path) const {
  Place place;
  place.inode = root_;
  for (std::string_view name : PathNames(path)) {
    if (!place.inode || !place.inode->is_directory()) {
      Place nowhere;
      nowhere.error = place.inode ? ENOTDIR : ENOENT;
      return nowhere;
    }
    place.directory = std::move(place.inode);
    place.name = std::string(name);
    auto entry = place.directory->entries.find(name);
    place.inode = entry == place.directory->entries.end() ? nullptr : entry->second;
  }
  return place;
}

void MemoryVfsImpl::Link(const Place& place, const Inode& inode) {
  inode->AddUser();
  place.directory->entries[place.name] = inode;
  SetPath(*inode, NormalPath(place.directory->path + "/" + place.name, "/"));
  Note({inode, {}, {place.directory, place.name}});
}

void MemoryVfsImpl::Unlink(const Place& place) {
  place.directory->entries.erase(place.name);
  place.inode->DropUser();
  Note({place.inode, {place.directory, place.name}, {}});
}

void MemoryVfsImpl::UnlinkTree(const Place& place) {
  while (!place.inode->entries.empty()) {
    auto first = place.inode->entries.begin();
    UnlinkTree({place.inode, first->first, first->second});
  }
  Unlink(place);
}

void MemoryVfsImpl::SetPath(MemoryInode& inode, const std::string& path) {
  inode.path = path;
  for (const auto& [name, entry] : inode.entries) SetPath(*entry, path + "/" + name);
}

std::shared_ptr<MemoryVfsImpl> MemoryVfsImpl::Copy(Loss loss, uint64_t seed) {
  auto copy = std::make_shared<MemoryVfsImpl>(crash_model_);
  copy->space_->SetCapacity(space_->capacity());
  std::unique_lock<std::shared_mutex> cut(cut_mutex_);
  std::lock_guard<std::mutex> lock(mutex_);
  CopyRun run{loss, LossRandom(seed), {}};
  if (loss == Loss::kNone) {
    auto live = [](const MemoryInode& directory) -> const MemoryInode::Entries& { return directory.entries; };
    CopyTree(*root_, *copy->root_, *copy, run, live);
    return copy;
  }
  // The durable names, and on top of them those changes that got out.
  std::unordered_map<const MemoryInode*, MemoryInode::Entries> changed;
  if (loss == Loss::kRandom) {
    auto changing = [&](MemoryInode* directory) -> MemoryInode::Entries& {
      return changed.try_emplace(directory, directory->durable_entries).first->second;
    };
    for (const NameChange* change : journal_.DrawSurvivors(run.random)) change->Apply(changing);
  }
  auto found = [&](const MemoryInode& directory) -> const MemoryInode::Entries& {
    auto at = changed.find(&directory);
    return at == changed.end() ? directory.durable_entries : at->second;
  };
  CopyTree(*root_, *copy->root_, *copy, run, found);
  return copy;
}

template <typename EntriesOf>
void MemoryVfsImpl::CopyTree(const MemoryInode& from, MemoryInode& to, MemoryVfsImpl& target, CopyRun& run,
                             EntriesOf& entries_of) {
  for (const auto& [name, entry] : entries_of(from)) {
    Inode made = target.NewInode(entry->is_directory());
    made->path = NormalPath(to.path + "/" + name, "/");
    if (entry->is_directory()) {
      CopyTree(*entry, *made, target, run, entries_of);
    } else {
      Result<FileImage> image = entry->AfterCrash(run.loss, run.random, &run.scratch);
      if (!image.ok()) {
        std::fprintf(stderr, "varve: copy of %s: %s\n", made->path.c_str(), image.status().message().c_str());
        std::abort();
      }
      made->Restore(std::move(*image), *entry);
    }
    made->AddUser();
    to.entries.emplace(name, std::move(made));
  }
  if (target.crash_model_) to.durable_entries = to.entries;
}

template <typename Visit>
void MemoryVfsImpl::VisitFiles(const MemoryInode& directory, Visit visit) {
  for (const auto& [name, entry] : directory.entries) {
    if (entry->is_directory()) {
      VisitFiles(*entry, visit);
    } else {
      visit(*entry);
    }
  }
}

}  // namespace

std::shared_ptr<MemoryVfs> MakeMemoryVfs(bool crash_model) {
  return std::make_shared<MemoryVfsImpl>(crash_model);
}

}  // namespace varve
