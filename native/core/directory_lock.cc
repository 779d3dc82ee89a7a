// SPDX-License-Identifier: Apache-2.0
#include "core/directory_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace varve {
namespace {

using FileIdentity = std::pair<dev_t, ino_t>;

/// The lock files that this process holds (or the one that it was forked from), and its pid. A lock of an
/// open file description keeps another description of the same process out too, but not on every network file
/// system: there it is the process's.
std::mutex& HeldMutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}
std::map<FileIdentity, pid_t>& Held() {
  static auto* held = new std::map<FileIdentity, pid_t>;
  return *held;
}

class PosixDirectoryLock : public DirectoryLock {
 public:
  PosixDirectoryLock(int fd, FileIdentity identity) : fd_(fd), identity_(identity) {}
  ~PosixDirectoryLock() override {
    // The pid goes before the lock does: nobody reads the name of one who has left.
    [[maybe_unused]] int ignored = ftruncate(fd_, 0);
    std::lock_guard<std::mutex> lock(HeldMutex());
    Held().erase(identity_);
    close(fd_);
  }

 private:
  int fd_;
  FileIdentity identity_;
};

struct flock WholeFile() {
  struct flock range;
  std::memset(&range, 0, sizeof range);
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  return range;
}

int64_t ReadPid(int fd) {
  char text[24] = {};
  ssize_t got = pread(fd, text, sizeof text - 1, 0);
  return got <= 0 ? 0 : std::strtoll(text, nullptr, 10);
}

/// Who has the lock: the kernel knows the pid of a process's lock (Java's), the file that of varve's. An
/// owner that has only just got the lock writes its pid a moment later.
int64_t FindOwner(int fd) {
  for (int attempt = 0; attempt < 20; attempt++) {
    struct flock range = WholeFile();
    if (fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK && range.l_pid > 0) return range.l_pid;
    int64_t pid = ReadPid(fd);
    if (pid > 0) return pid;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return 0;
}

}  // namespace

Status LockedStatus(const std::string& directory, int64_t owner) {
  std::string who = owner <= 0 ? "another process" : "process " + std::to_string(owner);
  if (owner == getpid()) who += " (this one)";
  return Status(Code::kLocked, directory + " is locked by " + who + ": stop it, or use another directory");
}

Result<std::unique_ptr<DirectoryLock>> LockDirectory(const std::string& directory) {
  std::string path = directory + "/" + kLockFileName;
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Status::FromErrno(errno, "open " + path);
  struct stat stat;
  if (fstat(fd, &stat) != 0) {
    Status failed = Status::FromErrno(errno, "fstat " + path);
    close(fd);
    return failed;
  }
  FileIdentity identity(stat.st_dev, stat.st_ino);
  {
    std::lock_guard<std::mutex> lock(HeldMutex());
    auto [holder, is_free] = Held().emplace(identity, getpid());
    if (!is_free) {
      close(fd);
      return LockedStatus(directory, holder->second);
    }
  }
  struct flock range = WholeFile();
  Status failed;
  if (fcntl(fd, F_OFD_SETLK, &range) != 0) {
    failed = errno == EAGAIN || errno == EACCES ? LockedStatus(directory, FindOwner(fd))
                                                : Status::FromErrno(errno, "lock " + path);
  } else {
    std::string pid = std::to_string(getpid()) + "\n";
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
      failed = Status::FromErrno(errno, "write " + path);
    }
  }
  if (failed.ok()) return std::unique_ptr<DirectoryLock>(std::make_unique<PosixDirectoryLock>(fd, identity));
  std::lock_guard<std::mutex> lock(HeldMutex());
  Held().erase(identity);
  close(fd);
  return failed;
}

}  // namespace varve
