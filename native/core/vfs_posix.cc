// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "core/directory_lock.h"
#include "core/mapped_range.h"
#include "core/path_text.h"
#include "core/vfs.h"

namespace varve {
namespace {

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

class PosixMapping : public MappedRange {
 public:
  PosixMapping(uint8_t* data, uint64_t bytes) : MappedRange(data, bytes) {}
  Status Prefault(uint64_t position, uint64_t bytes) override {
    VARVE_TRY(CheckRange(position, bytes));
    uint64_t from = position / PageBytes() * PageBytes();
    constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, Linux 5.14
    if (madvise(data_ + from, RoundUp(position + bytes - from, PageBytes()), kPopulateWrite) == 0)
      return Status::Ok();
    if (errno == EINVAL || errno == EAGAIN) return Status::Ok();
    if (errno == EFAULT) return Status(Code::kNoSpace, "no space for mapped pages", errno);
    return Status::FromErrno(errno, "prefault");
  }
};

class PosixFile : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { close(fd_); }

  Status Read(uint64_t position, MutableBytes to, uint64_t* read) override {
    return ReadAll(fd_, position, to, read, path_);
  }
  Status Write(uint64_t position, Bytes from) override { return WriteAll(fd_, position, from, path_); }
  Status Allocate(uint64_t bytes) override {
    struct stat stat;
    if (fstat(fd_, &stat) != 0) return Status::FromErrno(errno, "fstat " + path_);
    while (fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0) {
      int failed = errno;
      if (failed == EINTR) continue;
      if (failed == EOPNOTSUPP) return Status(Code::kUnsupported, "fallocate " + path_, failed);
      [[maybe_unused]] int ignored = ftruncate(fd_, stat.st_size);
      return Status::FromErrno(failed, "fallocate " + path_);
    }
    return Status::Ok();
  }
  Status Truncate(uint64_t bytes) override {
    if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return Status::FromErrno(errno, "truncate " + path_);
    return Status::Ok();
  }
  Status Sync() override {
    if (fdatasync(fd_) != 0) return Status::FromErrno(errno, "fdatasync " + path_);
    return Status::Ok();
  }
  void StartWriteback(uint64_t position, uint64_t bytes) override {
    sync_file_range(fd_, static_cast<off_t>(position), static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE);
  }
  Result<uint64_t> Size() override {
    struct stat stat;
    if (fstat(fd_, &stat) != 0) return Status::FromErrno(errno, "fstat " + path_);
    return static_cast<uint64_t>(stat.st_size);
  }
  Result<std::shared_ptr<Mapping>> Map(uint64_t position, uint64_t bytes, MapMode mode) override {
    Result<uint8_t*> data = MapRange(fd_, position, bytes, mode, path_);
    if (!data.ok()) return data.status();
    return std::shared_ptr<Mapping>(std::make_shared<PosixMapping>(*data, bytes));
  }
  int Descriptor() override { return fd_; }

 private:
  int fd_;
  std::string path_;
};

class PosixVfs : public Vfs {
 public:
  Result<std::shared_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    int flags =
        O_CLOEXEC | (mode == OpenMode::kRead ? O_RDONLY : O_RDWR) | (mode == OpenMode::kCreate ? O_CREAT : 0);
    int fd = open(path.c_str(), flags, 0644);
    if (fd < 0) return Status::FromErrno(errno, "open " + path);
    return std::shared_ptr<File>(std::make_shared<PosixFile>(fd, path));
  }

  Result<std::vector<uint8_t>> ReadFile(const std::string& path, uint64_t limit) override {
    Result<std::shared_ptr<File>> file = Open(path, OpenMode::kRead);
    if (!file.ok()) return file.status();
    Result<uint64_t> size = (*file)->Size();
    if (!size.ok()) return size.status();
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
    {
      Result<std::shared_ptr<File>> file = Open(temporary, OpenMode::kCreate);
      if (!file.ok()) return file.status();
      VARVE_TRY((*file)->Truncate(0));
      VARVE_TRY((*file)->Write(0, bytes));
      if (durable) VARVE_TRY((*file)->Sync());
    }
    VARVE_TRY(Rename(temporary, path));
    return durable ? SyncDirectory(ParentPath(path)) : Status::Ok();
  }

  Status CreateDirectories(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    return error ? Status::FromErrno(error.value(), "mkdir " + path) : Status::Ok();
  }

  Result<std::vector<std::string>> List(const std::string& path) override {
    DIR* directory = opendir(path.c_str());
    if (directory == nullptr) return Status::FromErrno(errno, "open " + path);
    std::vector<std::string> names;
    while (dirent* entry = readdir(directory)) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(std::move(name));
    }
    closedir(directory);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override { return access(path.c_str(), F_OK) == 0; }

  Result<uint64_t> FileSize(const std::string& path) override {
    struct stat stat;
    if (::stat(path.c_str(), &stat) != 0) return Status::FromErrno(errno, "stat " + path);
    return static_cast<uint64_t>(stat.st_size);
  }

  Status Remove(const std::string& path) override {
    return std::remove(path.c_str()) == 0 ? Status::Ok() : Status::FromErrno(errno, "remove " + path);
  }

  Status RemoveTree(const std::string& path) override {
    if (!Exists(path)) return Status::FromErrno(ENOENT, "remove " + path);
    std::error_code error;
    std::filesystem::remove_all(path, error);
    return error ? Status::FromErrno(error.value(), "remove " + path) : Status::Ok();
  }

  Status Rename(const std::string& from, const std::string& to) override {
    return std::rename(from.c_str(), to.c_str()) == 0
               ? Status::Ok()
               : Status::FromErrno(errno, "rename " + from + " to " + to);
  }

  Status SyncDirectory(const std::string& path) override {
    int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return Status::FromErrno(errno, "open " + path);
    Status status;
    if (fsync(fd) != 0) status = Status::FromErrno(errno, "fsync " + path);
    close(fd);
    return status;
  }

  Result<std::unique_ptr<DirectoryLock>> Lock(const std::string& directory) override {
    return LockDirectory(directory);
  }

  bool TrustsMappedAppend(const std::string& directory) override {
    struct statfs system;
    if (statfs(directory.c_str(), &system) != 0) return false;
    switch (static_cast<uint32_t>(system.f_type)) {
      case 0xEF53u:      // ext2, ext3, ext4
      case 0x58465342u:  // xfs
      case 0x01021994u:  // tmpfs
      case 0xF2F52010u:  // f2fs
        return true;
      default:
        return false;
    }
  }

  Result<uint64_t> FreeBytes(const std::string& directory) override {
    struct statvfs system;
    if (statvfs(directory.c_str(), &system) != 0) return Status::FromErrno(errno, "statvfs " + directory);
    return static_cast<uint64_t>(system.f_bavail) * system.f_frsize;
  }
};

}  // namespace

std::shared_ptr<Vfs> MakePosixVfs(uint64_t descriptors_max) { return std::make_shared<PosixVfs>(); }

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
