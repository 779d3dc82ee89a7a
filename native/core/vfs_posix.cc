// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>

#include "core/descriptor_cache.h"
#include "core/directory_lock.h"
#include "core/mapped_range.h"
#include "core/open_paths.h"
#include "core/path_text.h"
#include "core/vfs.h"

namespace varve {
namespace {

constexpr int kMadvisePopulateWrite = 23;  // MADV_POPULATE_WRITE, Linux 5.14

Status WriteAll(int fd, uint64_t position, Bytes from, const std::string& path) {
  size_t done = 0;
  while (done < from.size()) {
    ssize_t wrote = pwrite(fd, from.data() + done, from.size() - done, static_cast<off_t>(position + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return Status::FromErrno(errno, "write " + path);
    done += static_cast<size_t>(wrote);
  }
  return Status::Ok();
}

Status WriteBoth(int fd, uint64_t position, Bytes first, Bytes second, const std::string& path) {
  const iovec parts[] = {{const_cast<uint8_t*>(first.data()), first.size()},
                         {const_cast<uint8_t*>(second.data()), second.size()}};
  ssize_t wrote;
  do {
    wrote = pwritev(fd, parts, 2, static_cast<off_t>(position));
  } while (wrote < 0 && errno == EINTR);
  if (wrote < 0) return Status::FromErrno(errno, "write " + path);
  const auto done = static_cast<size_t>(wrote);
  if (done == first.size() + second.size()) return Status::Ok();
  if (done < first.size()) VARVE_TRY(WriteAll(fd, position + done, first.subspan(done), path));
  const size_t of_second = done > first.size() ? done - first.size() : 0;
  return WriteAll(fd, position + first.size() + of_second, second.subspan(of_second), path);
}

Status ReadAll(int fd, uint64_t position, MutableBytes to, uint64_t* read, const std::string& path) {
  size_t done = 0;
  while (done < to.size()) {
    ssize_t got = pread(fd, to.data() + done, to.size() - done, static_cast<off_t>(position + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::FromErrno(errno, "read " + path);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  *read = done;
  return Status::Ok();
}

/// From the beginning; fewer bytes than `to` has are all that a file has.
Status ReadOnce(int fd, MutableBytes to, uint64_t* read, const std::string& path) {
  ssize_t got;
  do {
    got = pread(fd, to.data(), to.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return Status::FromErrno(errno, "read " + path);
  *read = static_cast<uint64_t>(got);
  return Status::Ok();
}

/// Interrupted is not failed: nothing was lost yet. Any other failure is final.
int DataSync(int fd) {
  int result;
  do {
    result = fdatasync(fd);
  } while (result != 0 && errno == EINTR);
  return result;
}

class PosixMapping : public MappedRange {
 public:
  PosixMapping(uint8_t* data, uint64_t bytes, uint64_t touched, std::weak_ptr<CachedDescriptor> written)
      : MappedRange(data, bytes, touched), written_(std::move(written)) {}
  ~PosixMapping() override {
    // Stores since the last sync were not seen by anybody. While the mapping lived, it kept the inode.
    if (std::shared_ptr<CachedDescriptor> file = written_.lock()) file->MarkDirty();
  }

  Status Prefault(uint64_t position, uint64_t bytes) override {
    VARVE_TRY(CheckRange(position, bytes));
    uint64_t from = position / PageBytes() * PageBytes();
    uint64_t length = RoundUp(position + bytes, PageBytes()) - from;
    NoteTouched(position + bytes);
    if (length == 0 || madvise(data_ + from, length, kMadvisePopulateWrite) == 0) return Status::Ok();
    int failed = errno;
    // An older kernel, or one short of something for the moment: the stores will fault the pages in.
    if (failed == EINVAL || failed == EAGAIN) return Status::Ok();
    std::string what = "populate mapped pages";
    if (failed == EFAULT)
      return Status(Code::kNoSpace, what + ": no space left for them (or beyond the end)", failed);
    if (failed == ENOMEM) return Status(Code::kNoSpace, what + ": out of memory", failed);
    return Status::FromErrno(failed, what);
  }

 private:
  std::weak_ptr<CachedDescriptor> written_;  // of a shared mapping
};

class PosixFile : public File {
 public:
  explicit PosixFile(std::shared_ptr<CachedDescriptor> descriptor) : descriptor_(std::move(descriptor)) {}

  Status Read(uint64_t position, MutableBytes to, uint64_t* read) override {
    CachedDescriptor::Using use(*descriptor_);
    VARVE_TRY(use.status());
    return ReadAll(use.fd(), position, to, read, descriptor_->opened_as());
  }

  Status Write(uint64_t position, Bytes from) override {
    CachedDescriptor::Using use(*descriptor_);
    VARVE_TRY(use.status());
    descriptor_->MarkDirty();
    return WriteAll(use.fd(), position, from, descriptor_->opened_as());
  }

  Status WriteTwo(uint64_t position, Bytes first, Bytes second) override {
    CachedDescriptor::Using use(*descriptor_);
    VARVE_TRY(use.status());
    descriptor_->MarkDirty();
    return WriteBoth(use.fd(), position, first, second, descriptor_->opened_as());
  }

  Status Allocate(uint64_t bytes) override {
    CachedDescriptor::Using use(*descriptor_);
    VARVE_TRY(use.status());
    struct stat before;
    if (fstat(use.fd(), &before) != 0) return Failed(errno, "fstat");
    if (bytes == 0) return Status::Ok();
    descriptor_->MarkDirty();
    while (fallocate(use.fd(), 0, 0, static_cast<off_t>(bytes)) != 0) {
      int failed = errno;
      if (failed == EINTR) continue;
      if (failed == EOPNOTSUPP || failed == ENOSYS) {
        return Status(Code::kUnsupported,
                      "fallocate " + descriptor_->path() + ": this file system reserves no space", failed);
      }
      // ext4 grows the file piece by piece, and keeps blocks behind its end: back to what it was.
      while (ftruncate(use.fd(), before.st_size) != 0) {
        if (errno != EINTR) return Failed(errno, "truncate after a failed fallocate");
      }
      return Failed(failed, "fallocate");
    }
    return Status::Ok();
  }

  Status Truncate(uint64_t bytes) override {
    CachedDescriptor::Using use(*descriptor_);
    VARVE_TRY(use.status());
    descriptor_->MarkDirty();
    while (ftruncate(use.fd(), static_cast<off_t>(bytes)) != 0) {
      if (errno != EINTR) return Failed(errno, "truncate");
    }
    return Status::Ok();
  }

  Status Sync() override {
    {
      std::lock_guard<std::mutex> lock(sync_mutex_);
      VARVE_TRY(sync_failure_);
    }
    CachedDescriptor::Using use(*descriptor_);
    VARVE_TRY(use.status());
    descriptor_->MarkClean();
    if (DataSync(use.fd()) == 0) return Status::Ok();
    Status failed = Failed(errno, "fdatasync");
    std::lock_guard<std::mutex> lock(sync_mutex_);
    // The kernel may drop the pages that it could not write and then call them clean: its next answer would
    // be a lie.
    if (sync_failure_.ok()) sync_failure_ = failed;
    return failed;
  }

  void StartWriteback(uint64_t position, uint64_t bytes) override {
    CachedDescriptor::Using use(*descriptor_);
    if (!use.status().ok()) return;
    sync_file_range(use.fd(), static_cast<off_t>(position), static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE);
  }

  Result<uint64_t> Size() override {
    CachedDescriptor::Using use(*descriptor_);
    if (!use.status().ok()) return use.status();
    struct stat stat;
    if (fstat(use.fd(), &stat) != 0) return Failed(errno, "fstat");
    return static_cast<uint64_t>(stat.st_size);
  }

  Result<std::shared_ptr<Mapping>> Map(uint64_t position, uint64_t bytes, MapMode mode) override {
    CachedDescriptor::Using use(*descriptor_);
    if (!use.status().ok()) return use.status();
    struct stat stat;
    if (fstat(use.fd(), &stat) != 0) return Failed(errno, "fstat");
    Result<uint8_t*> data = MapRange(use.fd(), position, bytes, mode, descriptor_->opened_as());
    if (!data.ok()) return data.status();
    auto end = static_cast<uint64_t>(stat.st_size);
    uint64_t touched = end > position ? end - position : 0;
    std::weak_ptr<CachedDescriptor> written;
    if (mode == MapMode::kShared) written = descriptor_;
    return std::shared_ptr<Mapping>(
        std::make_shared<PosixMapping>(*data, bytes, touched, std::move(written)));
  }

  int Descriptor() override { return descriptor_->Pin(/*under_change=*/false).ok() ? descriptor_->fd() : -1; }
  void ReleaseDescriptor() override { descriptor_->Unpin(); }

 private:
  Status Failed(int failed, const char* what) {
    return Status::FromErrno(failed, std::string(what) + " " + descriptor_->path());
  }

  std::shared_ptr<CachedDescriptor> descriptor_;
  std::mutex sync_mutex_;
  Status sync_failure_;
};

class PosixVfs : public Vfs {
 public:
  explicit PosixVfs(uint64_t descriptors_max) : cache_(std::make_shared<DescriptorCache>(descriptors_max)) {
    // Kept, because the embedding program may change its directory.
    std::error_code error;
    working_directory_ = std::filesystem::current_path(error).string();
  }

  Result<std::shared_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    Result<std::shared_ptr<CachedDescriptor>> descriptor = CachedDescriptor::Open(cache_, Normal(path), mode);
    if (!descriptor.ok()) return descriptor.status();
    return std::shared_ptr<File>(std::make_shared<PosixFile>(std::move(*descriptor)));
  }

  Result<std::vector<uint8_t>> ReadFile(const std::string& path, uint64_t limit) override {
    std::string normal = Normal(path);
    Result<Descriptor> fd = OpenOnce(normal, O_RDONLY);
    if (!fd.ok()) return fd.status();
    // Most of them are small, and a start reads tens of thousands: one call instead of two.
    uint8_t small[512];
    uint64_t small_bytes = 0;
    VARVE_TRY(ReadOnce(fd->get(), small, &small_bytes, path));
    if (small_bytes < sizeof small && small_bytes <= limit)
      return std::vector<uint8_t>(small, small + small_bytes);
    struct stat stat;
    if (fstat(fd->get(), &stat) != 0) return Status::FromErrno(errno, "fstat " + path);
    if (S_ISDIR(stat.st_mode)) return Status::FromErrno(EISDIR, "read " + path);
    if (static_cast<uint64_t>(stat.st_size) > limit) {
      return Status(Code::kTooLarge, path + " has " + std::to_string(stat.st_size) +
                                         " bytes, more than the " + std::to_string(limit) +
                                         " that it may have");
    }
    std::vector<uint8_t> bytes(static_cast<size_t>(stat.st_size));
    uint64_t read = 0;
    VARVE_TRY(ReadAll(fd->get(), 0, bytes, &read, path));
    bytes.resize(read);
    return bytes;
  }

  Status WriteFile(const std::string& path, Bytes bytes, bool durable) override {
    std::string normal = Normal(path);
    std::string temporary = normal + ".tmp";
    // Two writers of one path take turns.
    OpenPaths::Change change = cache_->paths().BeginChange({normal, temporary});
    Status status = WriteWhole(temporary, bytes, durable);
    if (status.ok()) status = RenameUnder(temporary, normal);
    if (!status.ok()) {
      unlink(temporary.c_str());
      return status;
    }
    return durable ? SyncDirectory(ParentPath(normal)) : Status::Ok();
  }

  Status CreateDirectories(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(Normal(path), error);
    return error ? Status::FromErrno(error.value(), "mkdir " + path) : Status::Ok();
  }

  Result<std::vector<std::string>> List(const std::string& path) override {
    Result<Descriptor> fd = OpenOnce(Normal(path), O_RDONLY | O_DIRECTORY);
    if (!fd.ok()) return fd.status();
    DIR* directory = fdopendir(fd->get());
    if (directory == nullptr) return Status::FromErrno(errno, "open " + path);
    fd->release();
    std::vector<std::string> names;
    errno = 0;
    while (dirent* entry = readdir(directory)) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(std::move(name));
      errno = 0;
    }
    int failed = errno;
    closedir(directory);
    if (failed != 0) return Status::FromErrno(failed, "list " + path);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override {
    struct stat stat;
    return ::stat(Normal(path).c_str(), &stat) == 0;
  }

  Result<uint64_t> FileSize(const std::string& path) override {
    struct stat stat;
    if (::stat(Normal(path).c_str(), &stat) != 0) return Status::FromErrno(errno, "stat " + path);
    return static_cast<uint64_t>(stat.st_size);
  }

  Status Remove(const std::string& path) override {
    std::string normal = Normal(path);
    OpenPaths::Change change = cache_->paths().BeginChange({normal});
    NamelessFiles files(cache_->paths().FilesWithin(normal));
    VARVE_TRY(files.status());
    if (std::remove(normal.c_str()) != 0) return Status::FromErrno(errno, "remove " + path);
    files.NamesAreGone();
    return Status::Ok();
  }

  Status RemoveTree(const std::string& path) override {
    std::string normal = Normal(path);
    OpenPaths::Change change = cache_->paths().BeginChange({normal});
    struct stat stat;
    if (lstat(normal.c_str(), &stat) != 0) return Status::FromErrno(errno, "remove " + path);
    NamelessFiles files(cache_->paths().FilesWithin(normal));
    VARVE_TRY(files.status());
    // From here on any of the names may be gone, whether this succeeds or not.
    files.NamesAreGone();
    std::error_code error;
    std::filesystem::remove_all(normal, error);
    return error ? Status::FromErrno(error.value(), "remove " + path) : Status::Ok();
  }

  Status Rename(const std::string& from, const std::string& to) override {
    std::string normal_from = Normal(from);
    std::string normal_to = Normal(to);
    OpenPaths::Change change = cache_->paths().BeginChange({normal_from, normal_to});
    return RenameUnder(normal_from, normal_to);
  }

  Status SyncDirectory(const std::string& path) override {
    Result<Descriptor> fd = OpenOnce(Normal(path), O_RDONLY | O_DIRECTORY);
    if (!fd.ok()) return fd.status();
    int result;
    do {
      result = fsync(fd->get());
    } while (result != 0 && errno == EINTR);
    return result == 0 ? Status::Ok() : Status::FromErrno(errno, "fsync " + path);
  }

  Result<std::unique_ptr<DirectoryLock>> Lock(const std::string& directory) override {
    return LockDirectory(Normal(directory));
  }

  bool TrustsMappedAppend(const std::string& directory) override {
    struct statfs system;
    if (statfs(Normal(directory).c_str(), &system) != 0) return false;
    switch (static_cast<uint32_t>(system.f_type)) {
      case 0xEF53u:      // ext2, ext3, ext4
      case 0x58465342u:  // xfs
      case 0x01021994u:  // tmpfs
      case 0xF2F52010u:  // f2fs
        return true;
      case 0x794C7630u:  // overlayfs: as good as the file system below, which it does not name
        // btrfs is the one below that reserves space and may need more for a store; it alone counts no
        // inodes.
        return system.f_files != 0 && ReservesSpace(directory);
      default:
        return false;
    }
  }

  Result<uint64_t> FreeBytes(const std::string& directory) override {
    struct statvfs system;
    if (statvfs(Normal(directory).c_str(), &system) != 0)
      return Status::FromErrno(errno, "statvfs " + directory);
    return static_cast<uint64_t>(system.f_bavail) * system.f_frsize;
  }

 private:
  /// A descriptor outside of the cache, for one call.
  class Descriptor {
   public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
    Descriptor& operator=(Descriptor&&) = delete;
    ~Descriptor() {
      if (fd_ >= 0) close(fd_);
    }
    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }

   private:
    int fd_;
  };

  /// Open files whose names are about to go: their descriptors are kept. Undone unless NamesAreGone().
  class NamelessFiles {
   public:
    explicit NamelessFiles(std::vector<std::shared_ptr<CachedDescriptor>> files) : files_(std::move(files)) {
      for (const std::shared_ptr<CachedDescriptor>& file : files_) {
        bool first = false;
        Status held = file->Hold(&first);
        if (first) held_.push_back(file.get());
        // kIo: its name went behind our back, there is nothing to keep.
        if (!held.ok() && held.code() != Code::kIo) status_ = held;
      }
    }
    ~NamelessFiles() {
      for (CachedDescriptor* file : held_) file->Release();
    }
    NamelessFiles(const NamelessFiles&) = delete;
    NamelessFiles& operator=(const NamelessFiles&) = delete;
    const Status& status() const { return status_; }
    void NamesAreGone() {
      for (const std::shared_ptr<CachedDescriptor>& file : files_) file->Forget();
      held_.clear();
    }

   private:
    std::vector<std::shared_ptr<CachedDescriptor>> files_;
    std::vector<CachedDescriptor*> held_;
    Status status_;
  };

  std::string Normal(const std::string& path) const { return NormalPath(path, working_directory_); }

  Result<Descriptor> OpenOnce(const std::string& path, int flags) {
    Result<int> fd =
        cache_->OpenWith("open " + path, [&] { return open(path.c_str(), flags | O_CLOEXEC, 0644); });
    if (!fd.ok()) return fd.status();
    return Descriptor(*fd);
  }

  Status WriteWhole(const std::string& path, Bytes bytes, bool durable) {
    Result<Descriptor> fd = OpenOnce(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (!fd.ok()) return fd.status();
    VARVE_TRY(WriteAll(fd->get(), 0, bytes, path));
    if (durable && DataSync(fd->get()) != 0) return Status::FromErrno(errno, "fdatasync " + path);
    return Status::Ok();
  }

  /// A Change of both is held.
  Status RenameUnder(const std::string& from, const std::string& to) {
    if (from == to) return RenameOnDisk(from, to);
    NamelessFiles replaced(cache_->paths().FilesWithin(to));
    VARVE_TRY(replaced.status());
    VARVE_TRY(RenameOnDisk(from, to));
    replaced.NamesAreGone();
    cache_->paths().Moved(from, to);
    return Status::Ok();
  }

  static Status RenameOnDisk(const std::string& from, const std::string& to) {
    if (std::rename(from.c_str(), to.c_str()) == 0) return Status::Ok();
    return Status::FromErrno(errno, "rename " + from + " to " + to);
  }

  bool ReservesSpace(const std::string& directory) {
    std::string path = Normal(directory) + "/.varve-probe";
    Result<Descriptor> fd = OpenOnce(path, O_RDWR | O_CREAT | O_TRUNC);
    if (!fd.ok()) return false;
    unlink(path.c_str());
    constexpr off_t kProbeBytes = 1 << 20;
    struct stat stat;
    return fallocate(fd->get(), 0, 0, kProbeBytes) == 0 && fstat(fd->get(), &stat) == 0 &&
           stat.st_blocks * 512 >= kProbeBytes;
  }

  std::shared_ptr<DescriptorCache> cache_;
  std::string working_directory_;
};

uint64_t DefaultDescriptorsMax() {
  struct rlimit limit;
  constexpr uint64_t kUnlimited = 1u << 20;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnlimited;
  return std::max<uint64_t>(limit.rlim_cur / 4 * 3, 16);
}

}  // namespace

std::shared_ptr<Vfs> MakePosixVfs(uint64_t descriptors_max) {
  return std::make_shared<PosixVfs>(descriptors_max == 0 ? DefaultDescriptorsMax() : descriptors_max);
}

DescriptorLimit RaiseNofileLimit() {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  if (limit.rlim_cur < limit.rlim_max) {
    struct rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return {limit.rlim_cur, limit.rlim_max};
}

}  // namespace varve
