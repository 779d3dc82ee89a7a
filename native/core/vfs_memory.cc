// SPDX-License-Identifier: Apache-2.0
#include "core/vfs_memory.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <set>

#include "core/directory_lock.h"
#include "core/mapped_range.h"
#include "core/memory_arena.h"
#include "core/path_text.h"

namespace varve {
namespace {

class MemoryVfsImpl;

/// What all files of a Vfs share.
struct Space {
  std::shared_ptr<MemoryArena> arena = std::make_shared<MemoryArena>();
  std::atomic<uint64_t> capacity{0};
  std::atomic<uint64_t> used{0};
  std::mutex fault_mutex;
  std::shared_ptr<MemoryVfs::Fault> fault;

  Status Check(MemoryVfs::Call call, const std::string& path) {
    std::shared_ptr<MemoryVfs::Fault> now;
    {
      std::lock_guard<std::mutex> lock(fault_mutex);
      now = fault;
    }
    return now ? (*now)(call, path) : Status::Ok();
  }
  bool Charge(uint64_t bytes) {
    uint64_t before = used.load();
    do {
      uint64_t limit = capacity.load();
      if (limit != 0 && before + bytes > limit) return false;
    } while (!used.compare_exchange_weak(before, before + bytes));
    return true;
  }
};

struct Node {
  explicit Node(std::shared_ptr<Space> space, bool directory)
      : space(std::move(space)), directory(directory) {}
  ~Node() { space->used.fetch_sub(charged); }

  std::shared_ptr<Space> space;
  const bool directory;
  std::map<std::string, std::shared_ptr<Node>> entries;  // of a directory; guarded by the Vfs

  std::mutex mutex;
  uint64_t size = 0;
  uint64_t charged = 0;
  std::vector<uint8_t> heap;         // while nothing has mapped it; zeros behind its end
  std::shared_ptr<MemorySlot> slot;  // from the first mapping on

  Status Grow(uint64_t end, const std::string& path) {
    if (end > MemorySlot::kBytes) return Status(Code::kTooLarge, path + ": a file in memory ends at 4 GiB");
    if (end <= charged) return Status::Ok();
    if (!space->Charge(end - charged)) return Status::FromErrno(ENOSPC, "write " + path);
    charged = end;
    return Status::Ok();
  }
};

class MemoryMapping : public MappedRange {
 public:
  MemoryMapping(uint8_t* data, uint64_t bytes, std::shared_ptr<MemorySlot> slot)
      : MappedRange(data, bytes), slot_(std::move(slot)) {}
  Status Prefault(uint64_t position, uint64_t bytes) override { return CheckRange(position, bytes); }

 private:
  std::shared_ptr<MemorySlot> slot_;
};

class MemoryFile : public File {
 public:
  MemoryFile(std::shared_ptr<Node> node, std::string path) : node_(std::move(node)), path_(std::move(path)) {}

  Status Read(uint64_t position, MutableBytes to, uint64_t* read) override {
    VARVE_TRY(node_->space->Check(MemoryVfs::Call::kRead, path_));
    std::lock_guard<std::mutex> lock(node_->mutex);
    *read = position >= node_->size ? 0 : std::min<uint64_t>(to.size(), node_->size - position);
    if (*read == 0) return Status::Ok();
    to = to.first(*read);
    if (node_->slot) return node_->slot->Read(position, to);
    uint64_t held =
        position >= node_->heap.size() ? 0 : std::min<uint64_t>(to.size(), node_->heap.size() - position);
    if (held > 0) std::memcpy(to.data(), node_->heap.data() + position, held);
    if (held < to.size()) std::memset(to.data() + held, 0, to.size() - held);
    return Status::Ok();
  }

  Status Write(uint64_t position, Bytes from) override {
    VARVE_TRY(node_->space->Check(MemoryVfs::Call::kWrite, path_));
    if (from.empty()) return Status::Ok();
    std::lock_guard<std::mutex> lock(node_->mutex);
    uint64_t end = position + from.size();
    VARVE_TRY(node_->Grow(end, path_));
    if (node_->slot) {
      VARVE_TRY(node_->slot->Write(position, from));
    } else {
      if (node_->heap.size() < end) node_->heap.resize(end);
      std::memcpy(node_->heap.data() + position, from.data(), from.size());
    }
    node_->size = std::max(node_->size, end);
    return Status::Ok();
  }

  Status Allocate(uint64_t bytes) override {
    VARVE_TRY(node_->space->Check(MemoryVfs::Call::kAllocate, path_));
    std::lock_guard<std::mutex> lock(node_->mutex);
    VARVE_TRY(node_->Grow(bytes, path_));
    node_->size = std::max(node_->size, bytes);
    return Status::Ok();
  }

  Status Truncate(uint64_t bytes) override {
    VARVE_TRY(node_->space->Check(MemoryVfs::Call::kTruncate, path_));
    std::lock_guard<std::mutex> lock(node_->mutex);
    if (bytes > MemorySlot::kBytes)
      return Status(Code::kTooLarge, path_ + ": a file in memory ends at 4 GiB");
    if (node_->slot && bytes < node_->size) VARVE_TRY(node_->slot->Drop(bytes));
    if (bytes < node_->heap.size()) node_->heap.resize(bytes);
    if (bytes < node_->charged) {
      node_->space->used.fetch_sub(node_->charged - bytes);
      node_->charged = bytes;
    }
    node_->size = bytes;
    return Status::Ok();
  }

  Status Sync() override { return node_->space->Check(MemoryVfs::Call::kSync, path_); }
  void StartWriteback(uint64_t position, uint64_t bytes) override {}

  Result<uint64_t> Size() override {
    std::lock_guard<std::mutex> lock(node_->mutex);
    return node_->size;
  }

  Result<std::shared_ptr<Mapping>> Map(uint64_t position, uint64_t bytes, MapMode mode) override {
    VARVE_TRY(node_->space->Check(MemoryVfs::Call::kMap, path_));
    std::lock_guard<std::mutex> lock(node_->mutex);
    if (!node_->slot) {
      Result<std::shared_ptr<MemorySlot>> slot = node_->space->arena->Take();
      if (!slot.ok()) return slot.status();
      VARVE_TRY((*slot)->Write(0, node_->heap));
      node_->slot = std::move(*slot);
      node_->heap = {};
    }
    Result<uint8_t*> data = node_->slot->Map(position, bytes, mode);
    if (!data.ok()) return data.status();
    return std::shared_ptr<Mapping>(std::make_shared<MemoryMapping>(*data, bytes, node_->slot));
  }

  int Descriptor() override { return -1; }

 private:
  std::shared_ptr<Node> node_;
  std::string path_;
};

class MemoryVfsImpl : public MemoryVfs, public std::enable_shared_from_this<MemoryVfsImpl> {
 public:
  MemoryVfsImpl() : space_(std::make_shared<Space>()), root_(std::make_shared<Node>(space_, true)) {}

  Result<std::shared_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    VARVE_TRY(space_->Check(Call::kOpen, path));
    std::lock_guard<std::mutex> lock(mutex_);
    Place place = Find(path);
    if (place.parent == nullptr) return Status::FromErrno(ENOENT, "open " + path);
    if (place.node == nullptr) {
      if (mode != OpenMode::kCreate) return Status::FromErrno(ENOENT, "open " + path);
      place.node = std::make_shared<Node>(space_, false);
      place.parent->entries[place.name] = place.node;
    }
    if (place.node->directory) return Status::FromErrno(EISDIR, "open " + path);
    return std::shared_ptr<File>(std::make_shared<MemoryFile>(place.node, path));
  }

  Result<std::vector<uint8_t>> ReadFile(const std::string& path, uint64_t limit) override {
    Result<std::shared_ptr<File>> file = Open(path, OpenMode::kRead);
    if (!file.ok()) return file.status();
    Result<uint64_t> size = (*file)->Size();
    if (*size > limit)
      return Status(Code::kTooLarge, path + " is larger than " + std::to_string(limit) + " bytes");
    std::vector<uint8_t> bytes(*size);
    uint64_t read = 0;
    VARVE_TRY((*file)->Read(0, bytes, &read));
    bytes.resize(read);
    return bytes;
  }

  Status WriteFile(const std::string& path, Bytes bytes, bool durable) override {
    std::string temporary = path + ".tmp";
    Result<std::shared_ptr<File>> file = Open(temporary, OpenMode::kCreate);
    if (!file.ok()) return file.status();
    VARVE_TRY((*file)->Truncate(0));
    VARVE_TRY((*file)->Write(0, bytes));
    if (durable) VARVE_TRY((*file)->Sync());
    VARVE_TRY(Rename(temporary, path));
    return durable ? SyncDirectory(ParentPath(path)) : Status::Ok();
  }

  Status CreateDirectories(const std::string& path) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::string normal = NormalPath(path, "/");
    Node* at = root_.get();
    for (std::string_view name : PathNames(normal)) {
      std::shared_ptr<Node>& next = at->entries[std::string(name)];
      if (!next) next = std::make_shared<Node>(space_, true);
      if (!next->directory) return Status::FromErrno(ENOTDIR, "mkdir " + path);
      at = next.get();
    }
    return Status::Ok();
  }

  Result<std::vector<std::string>> List(const std::string& path) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Node> node = Find(path).node;
    if (!node || !node->directory) return Status::FromErrno(node ? ENOTDIR : ENOENT, "open " + path);
    std::vector<std::string> names;
    for (const auto& [name, entry] : node->entries) names.push_back(name);
    return names;
  }

  bool Exists(const std::string& path) override {
    std::lock_guard<std::mutex> lock(mutex_);
    return Find(path).node != nullptr;
  }

  Result<uint64_t> FileSize(const std::string& path) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Node> node = Find(path).node;
    if (!node) return Status::FromErrno(ENOENT, "stat " + path);
    std::lock_guard<std::mutex> node_lock(node->mutex);
    return node->size;
  }

  Status Remove(const std::string& path) override {
    VARVE_TRY(space_->Check(Call::kRemove, path));
    std::lock_guard<std::mutex> lock(mutex_);
    Place place = Find(path);
    if (!place.node || !place.parent) return Status::FromErrno(ENOENT, "remove " + path);
    if (!place.node->entries.empty()) return Status::FromErrno(ENOTEMPTY, "remove " + path);
    place.parent->entries.erase(place.name);
    return Status::Ok();
  }

  Status RemoveTree(const std::string& path) override {
    VARVE_TRY(space_->Check(Call::kRemove, path));
    std::lock_guard<std::mutex> lock(mutex_);
    Place place = Find(path);
    if (!place.node || !place.parent) return Status::FromErrno(ENOENT, "remove " + path);
    place.parent->entries.erase(place.name);
    return Status::Ok();
  }

  Status Rename(const std::string& from, const std::string& to) override {
    VARVE_TRY(space_->Check(Call::kRename, from));
    std::lock_guard<std::mutex> lock(mutex_);
    Place source = Find(from);
    Place target = Find(to);
    std::string what = "rename " + from + " to " + to;
    if (!source.node || !source.parent || !target.parent) return Status::FromErrno(ENOENT, what);
    if (source.node == target.node) return Status::Ok();
    if (target.node && target.node->directory != source.node->directory) {
      return Status::FromErrno(target.node->directory ? EISDIR : ENOTDIR, what);
    }
    if (target.node && !target.node->entries.empty()) return Status::FromErrno(ENOTEMPTY, what);
    source.parent->entries.erase(source.name);
    target.parent->entries[target.name] = source.node;
    return Status::Ok();
  }

  Status SyncDirectory(const std::string& path) override {
    VARVE_TRY(space_->Check(Call::kSyncDirectory, path));
    return Exists(path) ? Status::Ok() : Status::FromErrno(ENOENT, "open " + path);
  }

  Result<std::unique_ptr<DirectoryLock>> Lock(const std::string& directory) override {
    std::string normal = NormalPath(directory, "/");
    Result<std::shared_ptr<File>> file = Open(normal + "/" + kLockFileName, OpenMode::kCreate);
    if (!file.ok()) return file.status();
    std::lock_guard<std::mutex> lock(mutex_);
    if (!locked_.insert(normal).second) return LockedStatus(directory, getpid());
    return std::unique_ptr<DirectoryLock>(std::make_unique<MemoryLock>(shared_from_this(), normal));
  }

  bool TrustsMappedAppend(const std::string& directory) override { return true; }

  Result<uint64_t> FreeBytes(const std::string& directory) override {
    uint64_t capacity = space_->capacity.load();
    uint64_t used = space_->used.load();
    if (capacity == 0) return uint64_t{1} << 40;
    return capacity > used ? capacity - used : 0;
  }

  std::shared_ptr<MemoryVfs> Crash(Loss loss, uint64_t seed) override { return Clone(); }

  std::shared_ptr<MemoryVfs> Clone() override {
    auto copy = std::make_shared<MemoryVfsImpl>();
    std::lock_guard<std::mutex> lock(mutex_);
    CopyInto(*root_, *copy->root_);
    return copy;
  }

  void SetFault(Fault fault) override {
    std::lock_guard<std::mutex> lock(space_->fault_mutex);
    space_->fault = fault ? std::make_shared<Fault>(std::move(fault)) : nullptr;
  }

  void SetCapacity(uint64_t bytes) override { space_->capacity = bytes; }

  Status Corrupt(const std::string& path, uint64_t position, Bytes bytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Node> node = Find(path).node;
    if (!node) return Status::FromErrno(ENOENT, "open " + path);
    std::lock_guard<std::mutex> node_lock(node->mutex);
    if (position + bytes.size() > node->size) return Status(Code::kInvalid, path + " ends before");
    if (node->slot) return node->slot->Write(position, bytes);
    if (node->heap.size() < position + bytes.size()) node->heap.resize(position + bytes.size());
    std::memcpy(node->heap.data() + position, bytes.data(), bytes.size());
    return Status::Ok();
  }

 private:
  struct Place {
    Node* parent = nullptr;
    std::string name;
    std::shared_ptr<Node> node;
  };

  class MemoryLock : public DirectoryLock {
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

  Place Find(const std::string& path) {
    std::string normal = NormalPath(path, "/");
    Place place;
    place.node = root_;
    for (std::string_view name : PathNames(normal)) {
      if (!place.node || !place.node->directory) return {};
      place.parent = place.node.get();
      place.name = std::string(name);
      auto entry = place.parent->entries.find(place.name);
      place.node = entry == place.parent->entries.end() ? nullptr : entry->second;
    }
    return place;
  }

  static void CopyInto(const Node& from, Node& to) {
    for (const auto& [name, entry] : from.entries) {
      auto copy = std::make_shared<Node>(to.space, entry->directory);
      std::lock_guard<std::mutex> lock(entry->mutex);
      copy->size = entry->size;
      if (entry->slot) {
        copy->heap.resize(std::min(entry->size, entry->slot->TouchedEnd(0)));
        [[maybe_unused]] Status ignored = entry->slot->Read(0, copy->heap);
      } else {
        copy->heap = entry->heap;
      }
      CopyInto(*entry, *copy);
      to.entries[name] = std::move(copy);
    }
  }

  std::shared_ptr<Space> space_;
  std::mutex mutex_;
  std::shared_ptr<Node> root_;
  std::set<std::string> locked_;
};

}  // namespace

std::shared_ptr<MemoryVfs> MakeMemoryVfs(bool crash_model) { return std::make_shared<MemoryVfsImpl>(); }

}  // namespace varve
