// SPDX-License-Identifier: Apache-2.0
// Vfs: what both implementations promise (each test runs on a disk and in memory, and a random walk compares
// the two), then what only a disk can show: descriptors, locks between processes, a full file system.
#include "core/vfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/vfs_memory.h"

namespace varve {
namespace {

std::vector<uint8_t> Text(const std::string& text) { return {text.begin(), text.end()}; }
std::string AsText(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// A directory under the system's temporary one, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/varve-vfs-test-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TemporaryDirectory() { EXPECT_TRUE(MakePosixVfs()->RemoveTree(path_).ok()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::shared_ptr<File> MustOpen(Vfs& vfs, const std::string& path, OpenMode mode = OpenMode::kCreate) {
  Result<std::shared_ptr<File>> file = vfs.Open(path, mode);
  EXPECT_TRUE(file.ok()) << file.status().message();
  return file.ok() ? *file : nullptr;
}

std::string ReadAt(File& file, uint64_t position, size_t bytes) {
  std::vector<uint8_t> buffer(bytes);
  uint64_t read = 0;
  Status status = file.Read(position, buffer, &read);
  EXPECT_TRUE(status.ok()) << status.message();
  buffer.resize(read);
  return AsText(buffer);
}

Status WriteAt(File& file, uint64_t position, const std::string& text) {
  return file.Write(position, Text(text));
}

/// Where one of the two kinds keeps its files.
struct Storage {
  std::unique_ptr<TemporaryDirectory> temporary;
  std::shared_ptr<Vfs> vfs;
  std::string top;
};

Storage OnDisk() {
  Storage storage;
  storage.temporary = std::make_unique<TemporaryDirectory>();
  storage.vfs = MakePosixVfs();
  storage.top = storage.temporary->path();
  return storage;
}

Storage InMemory(bool crash_model) {
  Storage storage;
  storage.vfs = MakeMemoryVfs(crash_model);
  storage.top = "/logs";
  EXPECT_TRUE(storage.vfs->CreateDirectories(storage.top).ok());
  return storage;
}

struct Kind {
  const char* name;
  std::function<Storage()> make;
};

class VfsTest : public testing::TestWithParam<Kind> {
 protected:
  VfsTest() : storage_(GetParam().make()), vfs_(*storage_.vfs), top_(storage_.top) {}
  std::string Path(const std::string& name) const { return top_ + "/" + name; }

  Storage storage_;
  Vfs& vfs_;
  std::string top_;
};

INSTANTIATE_TEST_SUITE_P(, VfsTest,
                         testing::Values(Kind{"Disk", OnDisk}, Kind{"Memory", [] { return InMemory(false); }},
                                         Kind{"MemoryWithCrashModel", [] { return InMemory(true); }}),
                         [](const auto& info) { return info.param.name; });

TEST_P(VfsTest, ReadsBackWhatWasWrittenAndStopsAtTheEnd) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, "hello").ok());
  ASSERT_TRUE(WriteAt(*file, 5, " world").ok());
  EXPECT_EQ(ReadAt(*file, 0, 100), "hello world");
  EXPECT_EQ(ReadAt(*file, 6, 3), "wor");
  EXPECT_EQ(ReadAt(*file, 11, 10), "");
  EXPECT_EQ(ReadAt(*file, 1000, 10), "");
  EXPECT_EQ(*file->Size(), 11u);
  EXPECT_EQ(*vfs_.FileSize(Path("a")), 11u);
}

TEST_P(VfsTest, FillsAGapBehindTheEndWithZeros) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 3, "x").ok());
  EXPECT_EQ(ReadAt(*file, 0, 10), std::string("\0\0\0x", 4));
}

TEST_P(VfsTest, OpensAsAsked) {
  EXPECT_EQ(vfs_.Open(Path("a"), OpenMode::kRead).status().code(), Code::kNotFound);
  EXPECT_EQ(vfs_.Open(Path("a"), OpenMode::kWrite).status().code(), Code::kNotFound);
  EXPECT_EQ(vfs_.Open(Path("none/a"), OpenMode::kCreate).status().code(), Code::kNotFound);
  ASSERT_TRUE(WriteAt(*MustOpen(vfs_, Path("a")), 0, "abc").ok());
  EXPECT_EQ(ReadAt(*MustOpen(vfs_, Path("a"), OpenMode::kCreate), 0, 9), "abc")
      << "kCreate must not empty a file";
  auto reader = MustOpen(vfs_, Path("a"), OpenMode::kRead);
  EXPECT_EQ(ReadAt(*reader, 0, 9), "abc");
  EXPECT_FALSE(WriteAt(*reader, 0, "x").ok());
  EXPECT_FALSE(reader->Truncate(0).ok());
  EXPECT_FALSE(reader->Allocate(10).ok());
  EXPECT_FALSE(reader->Map(0, 3, MapMode::kShared).ok());
  EXPECT_TRUE(reader->Map(0, 3, MapMode::kPrivate).ok());
  EXPECT_FALSE(vfs_.Open(top_, OpenMode::kRead).ok()) << "a directory is no file";
}

TEST_P(VfsTest, AllocatesSpaceWithoutTouchingWhatIsThere) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  ASSERT_TRUE(file->Allocate(100'000).ok());
  EXPECT_EQ(*file->Size(), 100'000u);
  EXPECT_EQ(ReadAt(*file, 0, 5), std::string("abc\0\0", 5));
  ASSERT_TRUE(file->Allocate(10).ok());
  EXPECT_EQ(*file->Size(), 100'000u) << "allocating never shrinks";
}

TEST_P(VfsTest, TruncatesAndGrowsWithZeros) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, std::string(10'000, 'x')).ok());
  ASSERT_TRUE(file->Truncate(5'000).ok());
  ASSERT_TRUE(file->Truncate(9'000).ok());
  EXPECT_EQ(ReadAt(*file, 0, 20'000), std::string(5'000, 'x') + std::string(4'000, '\0'));
}

TEST_P(VfsTest, SharedMappingsAndCallsSeeTheSameBytes) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  ASSERT_TRUE(file->Allocate(8192).ok());
  auto shared = *file->Map(0, 8192, MapMode::kShared);
  auto readonly = *file->Map(4096, 4096, MapMode::kReadOnly);
  EXPECT_EQ(AsText({shared->data(), 3}), "abc");
  shared->data()[4096] = 'z';
  EXPECT_EQ(readonly->data()[0], 'z');
  EXPECT_EQ(ReadAt(*file, 4096, 1), "z");
  ASSERT_TRUE(WriteAt(*file, 4097, "y").ok());
  EXPECT_EQ(readonly->data()[1], 'y');
  EXPECT_TRUE(shared->Prefault(0, 8192).ok());
  EXPECT_TRUE(shared->Resident(0, 8192));
  EXPECT_FALSE(shared->Prefault(4096, 8192).ok()) << "not within the mapping";
}

TEST_P(VfsTest, PrivateMappingsKeepTheirStoresToThemselves) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, std::string(8192, 'a')).ok());
  auto shared = *file->Map(0, 8192, MapMode::kShared);
  auto window = *file->Map(0, 8192, MapMode::kPrivate);
  shared->data()[1] = 'b';
  EXPECT_EQ(window->data()[1], 'b') << "a page that was not written follows the file";
  window->data()[0] = 'x';
  EXPECT_EQ(shared->data()[0], 'a');
  EXPECT_EQ(ReadAt(*file, 0, 2), "ab");
}

TEST_P(VfsTest, MapsMoreThanTheFileHoldsAndCutsIt) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(file->Allocate(65'536).ok());
  auto mapping = *file->Map(0, uint64_t{1} << 30, MapMode::kShared);
  EXPECT_EQ(mapping->size(), uint64_t{1} << 30);
  mapping->data()[65'535] = 1;
  ASSERT_TRUE(file->Allocate(131'072).ok());
  mapping->data()[131'071] = 2;
  EXPECT_EQ(ReadAt(*file, 131'071, 1), "\2");
  mapping->Cut(5'000);
  EXPECT_EQ(mapping->size(), 8'192u) << "to the end of the page";
  ASSERT_TRUE(file->Truncate(5'000).ok());
  mapping->data()[4'999] = 3;
  EXPECT_EQ(ReadAt(*file, 4'990, 100), std::string("\0\0\0\0\0\0\0\0\0\3", 10));
  mapping->Cut(100'000);
  EXPECT_EQ(mapping->size(), 8'192u) << "never grows";
  mapping->Cut(0);
  EXPECT_EQ(mapping->size(), 0u);
}

TEST_P(VfsTest, RefusesAMappingThatIsNoneOrStartsWithinAPage) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(file->Allocate(65'536).ok());
  EXPECT_EQ(file->Map(0, 0, MapMode::kShared).status().code(), Code::kInvalid);
  EXPECT_EQ(file->Map(100, 100, MapMode::kShared).status().code(), Code::kInvalid);
}

TEST_P(VfsTest, MappingsAndFilesOutliveTheirName) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  auto mapping = *file->Map(0, 4096, MapMode::kShared);
  ASSERT_TRUE(vfs_.Remove(Path("a")).ok());
  EXPECT_FALSE(vfs_.Exists(Path("a")));
  EXPECT_EQ(AsText({mapping->data(), 3}), "abc");
  mapping->data()[0] = 'x';
  EXPECT_EQ(ReadAt(*file, 0, 9), "xbc");
  auto later = *file->Map(0, 4096, MapMode::kPrivate);
  file.reset();
  EXPECT_EQ(later->data()[0], 'x');
  EXPECT_EQ(AsText({mapping->data(), 3}), "xbc");
  auto next = MustOpen(vfs_, Path("a"));
  EXPECT_EQ(*next->Size(), 0u);
  ASSERT_TRUE(WriteAt(*next, 0, "new").ok());
  EXPECT_EQ(AsText({mapping->data(), 3}), "xbc") << "another file's bytes";
}

TEST_P(VfsTest, KeepsBytesOverTheFirstMapping) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  auto other = MustOpen(vfs_, Path("a"));
  auto mapping = *file->Map(0, 4096, MapMode::kShared);
  EXPECT_EQ(ReadAt(*other, 0, 9), "abc");
  mapping.reset();
  ASSERT_TRUE(WriteAt(*other, 3, "d").ok());
  EXPECT_EQ(AsText({(*file->Map(0, 4096, MapMode::kReadOnly))->data(), 4}), "abcd");
}

TEST_P(VfsTest, WritesBytesThatLieInTwoPlaces) {
  Result<std::shared_ptr<File>> file = vfs_.Open(Path("two"), OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->WriteTwo(3, Text("head"), Text(std::string(100'000, 'b'))).ok());
  ASSERT_TRUE((*file)->WriteTwo(1, Text("ab"), {}).ok());
  ASSERT_TRUE((*file)->WriteTwo(0, {}, Text("_")).ok());
  EXPECT_EQ(AsText(*vfs_.ReadFile(Path("two"), 1 << 20)), "_abhead" + std::string(100'000, 'b'));
}

TEST_P(VfsTest, WritesAFileAsAUnit) {
  for (bool durable : {false, true}) {
    ASSERT_TRUE(vfs_.WriteFile(Path("checkpoint"), Text("one"), durable).ok());
    ASSERT_TRUE(vfs_.WriteFile(Path("checkpoint"), Text("2"), durable).ok());
    EXPECT_EQ(AsText(*vfs_.ReadFile(Path("checkpoint"), 100)), "2");
    EXPECT_EQ(*vfs_.List(top_), std::vector<std::string>{"checkpoint"}) << "no temporary file is left";
  }
  ASSERT_TRUE(vfs_.WriteFile(Path("checkpoint"), {}, true).ok());
  EXPECT_EQ(AsText(*vfs_.ReadFile(Path("checkpoint"), 100)), "");
  EXPECT_FALSE(vfs_.WriteFile(Path("none/checkpoint"), Text("x"), true).ok());
}

TEST_P(VfsTest, ReadersOfAFileThatIsRewrittenSeeOneOrTheOtherWhole) {
  std::atomic<bool> stop{false};
  ASSERT_TRUE(vfs_.WriteFile(Path("c"), Text(std::string(1000, 'a')), false).ok());
  std::vector<std::thread> writers;
  for (int w = 0; w < 2; w++) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 200; i++) {
        std::string text(static_cast<size_t>(1000 + i), static_cast<char>('a' + (i + w) % 26));
        EXPECT_TRUE(vfs_.WriteFile(Path("c"), Text(text), false).ok());
      }
    });
  }
  std::thread reader([&] {
    while (!stop) {
      Result<std::vector<uint8_t>> bytes = vfs_.ReadFile(Path("c"), 10'000);
      ASSERT_TRUE(bytes.ok()) << bytes.status().message();
      std::string text = AsText(*bytes);
      ASSERT_GE(text.size(), 1000u);
      ASSERT_EQ(text, std::string(text.size(), text[0]));
    }
  });
  for (std::thread& writer : writers) writer.join();
  stop = true;
  reader.join();
}

TEST_P(VfsTest, ReadsAWholeFileWithinALimit) {
  ASSERT_TRUE(vfs_.WriteFile(Path("a"), Text("12345"), false).ok());
  EXPECT_EQ(AsText(*vfs_.ReadFile(Path("a"), 5)), "12345");
  EXPECT_EQ(vfs_.ReadFile(Path("a"), 4).status().code(), Code::kTooLarge);
  EXPECT_EQ(vfs_.ReadFile(Path("b"), 4).status().code(), Code::kNotFound);
}

TEST_P(VfsTest, ListsNamesInOrder) {
  ASSERT_TRUE(vfs_.CreateDirectories(Path("d/e/f")).ok());
  ASSERT_TRUE(vfs_.CreateDirectories(Path("d/e/f")).ok());
  ASSERT_TRUE(vfs_.WriteFile(Path("d/z"), Text("1"), false).ok());
  ASSERT_TRUE(vfs_.WriteFile(Path("d/b"), Text("1"), false).ok());
  EXPECT_EQ(*vfs_.List(Path("d")), (std::vector<std::string>{"b", "e", "z"}));
  EXPECT_EQ(*vfs_.List(Path("d/e/f")), std::vector<std::string>{});
  EXPECT_EQ(vfs_.List(Path("none")).status().code(), Code::kNotFound);
  EXPECT_FALSE(vfs_.List(Path("d/z")).ok());
  EXPECT_FALSE(vfs_.CreateDirectories(Path("d/z/x")).ok()) << "z is a file";
  EXPECT_TRUE(vfs_.Exists(Path("d/e")));
  EXPECT_TRUE(vfs_.Exists(Path("d//e/./f/")));
  EXPECT_FALSE(vfs_.Exists(Path("d/e/g")));
}

TEST_P(VfsTest, RemovesFilesAndEmptyDirectoriesOnly) {
  ASSERT_TRUE(vfs_.CreateDirectories(Path("d")).ok());
  ASSERT_TRUE(vfs_.WriteFile(Path("d/a"), Text("1"), false).ok());
  EXPECT_FALSE(vfs_.Remove(Path("d")).ok());
  ASSERT_TRUE(vfs_.Remove(Path("d/a")).ok());
  EXPECT_EQ(vfs_.Remove(Path("d/a")).code(), Code::kNotFound);
  ASSERT_TRUE(vfs_.Remove(Path("d")).ok());
  EXPECT_FALSE(vfs_.Exists(Path("d")));
}

TEST_P(VfsTest, RemovesATreeWhileItsFilesAreHeld) {
  ASSERT_TRUE(vfs_.CreateDirectories(Path("t-0/sub")).ok());
  auto file = MustOpen(vfs_, Path("t-0/sub/a"));
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  ASSERT_TRUE(vfs_.RemoveTree(Path("t-0")).ok());
  EXPECT_FALSE(vfs_.Exists(Path("t-0")));
  EXPECT_EQ(ReadAt(*file, 0, 9), "abc");
  ASSERT_TRUE(WriteAt(*file, 3, "d").ok());
  EXPECT_EQ(ReadAt(*file, 0, 9), "abcd");
  EXPECT_EQ(vfs_.RemoveTree(Path("t-0")).code(), Code::kNotFound);
}

TEST_P(VfsTest, RenamesOverAFileThatIsStillHeld) {
  auto old_file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*old_file, 0, "old").ok());
  auto new_file = MustOpen(vfs_, Path("b"));
  ASSERT_TRUE(WriteAt(*new_file, 0, "new").ok());
  ASSERT_TRUE(vfs_.Rename(Path("b"), Path("a")).ok());
  EXPECT_EQ(ReadAt(*old_file, 0, 9), "old");
  EXPECT_EQ(ReadAt(*new_file, 0, 9), "new");
  EXPECT_EQ(AsText(*vfs_.ReadFile(Path("a"), 9)), "new");
  EXPECT_FALSE(vfs_.Exists(Path("b")));
  EXPECT_EQ(vfs_.Rename(Path("b"), Path("c")).code(), Code::kNotFound);
  EXPECT_EQ(vfs_.Rename(Path("a"), Path("none/c")).code(), Code::kNotFound);
}

TEST_P(VfsTest, RenamesADirectoryUnderOpenFiles) {
  ASSERT_TRUE(vfs_.CreateDirectories(Path("t-0")).ok());
  auto file = MustOpen(vfs_, Path("t-0/00000000000000000000.log"));
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  ASSERT_TRUE(vfs_.Rename(Path("t-0"), Path("t-0.u-delete")).ok());
  ASSERT_TRUE(WriteAt(*file, 3, "d").ok());
  EXPECT_EQ(AsText(*vfs_.ReadFile(Path("t-0.u-delete/00000000000000000000.log"), 9)), "abcd");
  ASSERT_TRUE(vfs_.CreateDirectories(Path("t-0")).ok());
  EXPECT_FALSE(vfs_.Rename(Path("t-0"), Path("t-0.u-delete")).ok())
      << "not over a directory that holds something";
  EXPECT_FALSE(vfs_.Rename(Path("t-0"), Path("t-0/below")).ok());
  EXPECT_TRUE(vfs_.Rename(Path("t-0.u-delete"), Path("t-0")).ok()) << "over an empty one";
  EXPECT_EQ(ReadAt(*file, 0, 9), "abcd");
}

TEST_P(VfsTest, SyncsFilesAndDirectories) {
  auto file = MustOpen(vfs_, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  file->StartWriteback(0, 3);
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_TRUE(vfs_.SyncDirectory(top_).ok());
  EXPECT_EQ(vfs_.SyncDirectory(Path("none")).code(), Code::kNotFound);
  EXPECT_FALSE(vfs_.SyncDirectory(Path("a")).ok());
  EXPECT_GT(*vfs_.FreeBytes(top_), 0u);
}

TEST_P(VfsTest, LocksADirectoryOnce) {
  auto lock = vfs_.Lock(top_);
  ASSERT_TRUE(lock.ok()) << lock.status().message();
  auto second = vfs_.Lock(top_ + "/");
  EXPECT_EQ(second.status().code(), Code::kLocked);
  EXPECT_NE(second.status().message().find(std::to_string(getpid())), std::string::npos)
      << second.status().message();
  lock = Status(Code::kClosed, "");
  EXPECT_TRUE(vfs_.Lock(top_).ok());
  EXPECT_TRUE(vfs_.Exists(Path(".lock")));
  EXPECT_EQ(vfs_.Lock(Path("none")).status().code(), Code::kNotFound);
}

/// The same random calls on a disk and in memory must say and leave the same.
TEST(VfsModel, MemoryBehavesLikeADisk) {
  for (uint64_t seed = 1; seed <= 30; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Storage storages[2] = {OnDisk(), InMemory(seed % 2 == 0)};
    std::vector<std::string> paths;
    for (const char* name : {"a", "b", "d1", "d2", "d1/a", "d1/b", "d2/a", "d1/d3", "d1/d3/a"})
      paths.push_back(name);
    struct Held {
      std::shared_ptr<File> files[2];
      std::shared_ptr<Mapping> maps[2];
    };
    std::vector<Held> held;
    auto pick = [&](size_t n) { return static_cast<size_t>(random() % n); };
    for (int step = 0; step < 150; step++) {
      size_t operation = pick(14);
      std::string path = paths[pick(paths.size())];
      std::string other = paths[pick(paths.size())];
      uint64_t position = pick(3) == 0 ? random() % 20'000 : random() % 100;
      std::string text(1 + pick(3000), static_cast<char>('a' + pick(26)));
      size_t index = held.empty() ? 0 : pick(held.size());
      Held opened;
      std::string said[2];
      for (int i = 0; i < 2; i++) {
        Vfs& vfs = *storages[i].vfs;
        std::string full = storages[i].top + "/" + path;
        File* file = held.empty() ? nullptr : held[index].files[i].get();
        Status status;
        switch (operation) {
          case 0: {
            auto result = vfs.Open(full, step % 5 != 0 ? OpenMode::kCreate : OpenMode::kRead);
            if (result.ok()) opened.files[i] = *result;
            status = result.status();
            break;
          }
          case 1:
            status = vfs.CreateDirectories(full);
            break;
          case 2:
            status = vfs.Remove(full);
            break;
          case 3:
            status = vfs.RemoveTree(full);
            break;
          case 4:
            status = vfs.Rename(full, storages[i].top + "/" + other);
            break;
          case 5:
            status = vfs.WriteFile(full, Text(text), false);
            break;
          case 6:
          case 7:
            if (file != nullptr) status = file->Write(position, Text(text));
            break;
          case 8:
            if (file != nullptr) status = file->Allocate(position + 1);
            break;
          case 9:
            // A mapping must not be read behind the end.
            if (file != nullptr && !held[index].maps[i]) status = file->Truncate(position);
            break;
          case 10:
            if (file != nullptr && *file->Size() > 0 && !held[index].maps[i]) {
              auto mapped = file->Map(0, *file->Size(), MapMode::kShared);
              if (mapped.ok()) held[index].maps[i] = *mapped;
              status = mapped.status();
            }
            break;
          case 11:
            if (file != nullptr && held[index].maps[i]) {
              Mapping& map = *held[index].maps[i];
              map.data()[position % map.size()] = 'M';
            }
            break;
          case 12:
            if (file != nullptr) said[i] = AsText(Bytes(Text(ReadAt(*file, position, 5000))));
            break;
          default:
            status = file != nullptr ? file->Sync() : vfs.SyncDirectory(full);
            break;
        }
        said[i] += std::string(CodeName(status.code()));
      }
      ASSERT_EQ(said[0], said[1]) << "step " << step << " operation " << operation << " " << path << " "
                                  << other;
      if (opened.files[0] && held.size() < 6) {
        // Several files of one inode would need one map of truncation; one each is enough.
        for (Held& one : held) {
          if (one.maps[0]) one.maps[0] = one.maps[1] = nullptr;
        }
        held.push_back(opened);
      }
      if (operation == 13 && held.size() > 3) held.erase(held.begin() + static_cast<ptrdiff_t>(index));
      if (operation == 9) {
        for (Held& one : held) one.maps[0] = one.maps[1] = nullptr;
      }
    }
    std::function<std::string(int, const std::string&)> dump = [&](int i, const std::string& at) {
      std::string out;
      Result<std::vector<std::string>> names = storages[i].vfs->List(storages[i].top + at);
      for (const std::string& name : *names) {
        std::string path = at + "/" + name;
        Result<std::vector<uint8_t>> bytes = storages[i].vfs->ReadFile(storages[i].top + path, 1 << 20);
        std::string hash = bytes.ok() ? std::to_string(std::hash<std::string>()(AsText(*bytes))) : "";
        out += path +
               (bytes.ok() ? " " + std::to_string(bytes->size()) + " " + hash + "\n" : "\n" + dump(i, path));
      }
      return out;
    };
    ASSERT_EQ(dump(0, ""), dump(1, ""));
  }
}

// --- descriptors
// -----------------------------------------------------------------------------------------------------

/// How many of this process's descriptors are of files below `top`.
size_t DescriptorsWithin(const std::string& top) {
  size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (dirent* entry = readdir(directory)) {
    char target[4096];
    ssize_t length = readlink((std::string("/proc/self/fd/") + entry->d_name).c_str(), target, sizeof target);
    if (length > 0 && std::string_view(target, static_cast<size_t>(length)).starts_with(top)) count++;
  }
  closedir(directory);
  return count;
}

class DescriptorTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return temporary_.path() + "/" + name; }
  size_t Open() const { return DescriptorsWithin(temporary_.path()); }
  TemporaryDirectory temporary_;
};

TEST_F(DescriptorTest, ServesMoreFilesThanItHasDescriptors) {
  auto vfs = MakePosixVfs(8);
  std::vector<std::shared_ptr<File>> files;
  for (int i = 0; i < 100; i++) {
    files.push_back(MustOpen(*vfs, Path("f" + std::to_string(i))));
    ASSERT_TRUE(WriteAt(*files.back(), 0, "file " + std::to_string(i)).ok());
    ASSERT_LE(Open(), 8u);
  }
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 100; i++) ASSERT_EQ(ReadAt(*files[i], 0, 99), "file " + std::to_string(i));
  }
  EXPECT_LE(Open(), 8u);
  files.clear();
  EXPECT_EQ(Open(), 0u);
}

TEST_F(DescriptorTest, KeepsFilesThatAreUsedOverThoseThatAreNot) {
  auto vfs = MakePosixVfs(8);
  auto hot = MustOpen(*vfs, Path("hot"));
  ASSERT_TRUE(WriteAt(*hot, 0, "hot").ok());
  ASSERT_TRUE(hot->Sync().ok());
  std::vector<std::shared_ptr<File>> files;
  for (int i = 0; i < 50; i++) {
    files.push_back(MustOpen(*vfs, Path("f" + std::to_string(i))));
    ASSERT_EQ(DescriptorsWithin(Path("hot")), 1u) << i;
    ASSERT_EQ(ReadAt(*hot, 0, 9), "hot");
  }
}

TEST_F(DescriptorTest, GivesUpCleanFilesBeforeDirtyOnes) {
  auto vfs = MakePosixVfs(8);
  std::vector<std::shared_ptr<File>> dirty;
  for (int i = 0; i < 4; i++) {
    dirty.push_back(MustOpen(*vfs, Path("dirty" + std::to_string(i))));
    ASSERT_TRUE(WriteAt(*dirty.back(), 0, "x").ok());
  }
  std::vector<std::shared_ptr<File>> files;
  for (int i = 0; i < 50; i++) files.push_back(MustOpen(*vfs, Path("f" + std::to_string(i))));
  EXPECT_EQ(DescriptorsWithin(Path("dirty")), 4u);
  for (auto& file : dirty) ASSERT_TRUE(file->Sync().ok());
  for (auto& file : files) ASSERT_EQ(ReadAt(*file, 0, 1), "");
  EXPECT_EQ(DescriptorsWithin(Path("dirty")), 0u);
}

TEST_F(DescriptorTest, FindsFilesAgainAfterTheirDirectoryWasRenamed) {
  auto vfs = MakePosixVfs(2);
  ASSERT_TRUE(vfs->CreateDirectories(Path("t-0")).ok());
  ASSERT_TRUE(vfs->CreateDirectories(Path("t-00")).ok());
  std::vector<std::shared_ptr<File>> files;
  for (int i = 0; i < 10; i++) {
    files.push_back(MustOpen(*vfs, Path((i % 2 == 0 ? "t-0/f" : "t-00/f") + std::to_string(i))));
    ASSERT_TRUE(WriteAt(*files.back(), 0, std::to_string(i)).ok());
  }
  ASSERT_TRUE(vfs->Rename(Path("t-0"), Path("t-0.u-delete")).ok());
  ASSERT_TRUE(vfs->Rename(Path("t-0.u-delete/f2"), Path("t-0.u-delete/f2.deleted")).ok());
  ASSERT_TRUE(vfs->CreateDirectories(Path("t-0")).ok());
  ASSERT_TRUE(WriteAt(*MustOpen(*vfs, Path("t-0/f0")), 0, "other").ok());
  for (int i = 0; i < 10; i++) ASSERT_EQ(ReadAt(*files[i], 0, 9), std::to_string(i));
  ASSERT_TRUE(vfs->RemoveTree(Path("t-0.u-delete")).ok());
  for (int i = 0; i < 10; i++) ASSERT_EQ(ReadAt(*files[i], 0, 9), std::to_string(i));
  EXPECT_EQ(DescriptorsWithin(Path("t-0.u-delete")), 5u) << "all that is left of them";
  ASSERT_TRUE(vfs->Remove(Path("t-00/f1")).ok());
  EXPECT_EQ(ReadAt(*files[1], 0, 9), "1");
  ASSERT_TRUE(vfs->WriteFile(Path("t-00/f3"), Text("replaced"), false).ok());
  EXPECT_EQ(ReadAt(*files[3], 0, 9), "3");
  files.clear();
  EXPECT_EQ(Open(), 0u);
}

TEST_F(DescriptorTest, UnmapsAllOfARangeWhosePagesEndWithinOne) {
  auto vfs = MakePosixVfs();
  const auto mapped = [&] {
    std::ifstream maps("/proc/self/maps");
    int count = 0;
    for (std::string line; std::getline(maps, line);) count += line.ends_with(Path("a")) ? 1 : 0;
    return count;
  };
  for (const uint64_t touched : {1u, 4096u, 100'001u, 20'000'001u}) {
    for (const bool cut : {false, true}) {
      auto file = MustOpen(*vfs, Path("a"));
      ASSERT_TRUE(file->Allocate(touched).ok());
      Result<std::shared_ptr<Mapping>> mapping = file->Map(0, uint64_t{1} << 30, MapMode::kShared);
      ASSERT_TRUE(mapping.ok());
      ASSERT_TRUE((*mapping)->Prefault(0, touched).ok());
      EXPECT_EQ(mapped(), 1);
      if (cut) (*mapping)->Cut(5000);
      *mapping = nullptr;
      EXPECT_EQ(mapped(), 0) << touched;
    }
  }
}

TEST_F(DescriptorTest, FailsWhenAFileWasReplacedBehindItsBack) {
  auto vfs = MakePosixVfs(1);
  auto file = MustOpen(*vfs, Path("a"));
  auto gone = MustOpen(*vfs, Path("b"));
  auto other = MustOpen(*vfs, Path("c"));
  ASSERT_EQ(rename(Path("a").c_str(), Path("a.old").c_str()), 0);
  ASSERT_EQ(close(open(Path("a").c_str(), O_CREAT | O_RDWR, 0644)), 0);
  ASSERT_EQ(unlink(Path("b").c_str()), 0);
  EXPECT_EQ(WriteAt(*file, 0, "x").code(), Code::kIo) << "never into another file";
  EXPECT_EQ(gone->Size().status().code(), Code::kIo);
  EXPECT_EQ(gone->Descriptor(), -1);
  EXPECT_EQ(gone->Map(0, 1, MapMode::kShared).status().code(), Code::kIo);
  EXPECT_TRUE(vfs->RemoveTree(Path("a")).ok()) << "lost files are no obstacle";
}

TEST_F(DescriptorTest, KeepsADescriptorThatIsLentOut) {
  auto vfs = MakePosixVfs(2);
  auto file = MustOpen(*vfs, Path("a"));
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  ASSERT_TRUE(file->Sync().ok());
  {
    PinnedDescriptor pinned(*file);
    ASSERT_GE(pinned.get(), 0);
    std::vector<std::shared_ptr<File>> files;
    for (int i = 0; i < 20; i++) files.push_back(MustOpen(*vfs, Path("f" + std::to_string(i))));
    char bytes[3];
    EXPECT_EQ(pread(pinned.get(), bytes, 3, 0), 3);
    EXPECT_EQ(std::string(bytes, 3), "abc");
    EXPECT_EQ(DescriptorsWithin(Path("a")), 1u);
  }
  auto another = MustOpen(*vfs, Path("g"));
  auto third = MustOpen(*vfs, Path("h"));
  auto fourth = MustOpen(*vfs, Path("i"));
  EXPECT_EQ(DescriptorsWithin(Path("a")), 0u);
}

TEST_F(DescriptorTest, MakesRoomWhenTheProcessHasNoDescriptorLeft) {
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  auto vfs = MakePosixVfs(1000);
  std::vector<std::shared_ptr<File>> files;
  for (int i = 0; i < 30; i++) files.push_back(MustOpen(*vfs, Path("f" + std::to_string(i))));
  int highest = dup(0);
  ASSERT_GE(highest, 0);
  close(highest);
  struct rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(highest);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  auto more = vfs->Open(Path("one-more"), OpenMode::kCreate);
  auto listed = vfs->List(temporary_.path());
  auto written = vfs->WriteFile(Path("w"), Text("x"), true);
  auto none = MakePosixVfs(1000);
  std::vector<int> taken;
  for (int fd = dup(0); fd >= 0; fd = dup(0)) taken.push_back(fd);
  Status shortage = none->Open(Path("f0"), OpenMode::kRead).status();
  for (int fd : taken) close(fd);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(more.ok()) << more.status().message();
  EXPECT_TRUE(listed.ok()) << listed.status().message();
  EXPECT_TRUE(written.ok()) << written.message();
  EXPECT_EQ(shortage.code(), Code::kNoSpace) << "not a failed disk";
  EXPECT_NE(shortage.message().find("ulimit -n"), std::string::npos);
  for (int i = 0; i < 30; i++) EXPECT_EQ(*files[i]->Size(), 0u);
}

/// Readers, writers, renames of directories and files, and removals, all at once on 100 files with 8
/// descriptors: each file's bytes are its own at any time.
TEST_F(DescriptorTest, KeepsFilesApartWhileNamesChangeUnderThem) {
  auto vfs = MakePosixVfs(8);
  constexpr int kDirectories = 5;
  constexpr int kFiles = 100;
  for (int d = 0; d < kDirectories; d++)
    ASSERT_TRUE(vfs->CreateDirectories(Path("t-" + std::to_string(d))).ok());
  std::vector<std::shared_ptr<File>> files;
  for (int i = 0; i < kFiles; i++) {
    std::string name = "t-" + std::to_string(i % kDirectories) + "/f" + std::to_string(i);
    files.push_back(MustOpen(*vfs, Path(name)));
    ASSERT_TRUE(WriteAt(*files.back(), 0, std::string(64, static_cast<char>(i))).ok());
  }
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      while (!stop) {
        size_t i = random() % kFiles;
        std::string mine(64, static_cast<char>(i));
        if (random() % 4 == 0) {
          ASSERT_TRUE(WriteAt(*files[i], 64 * (random() % 8), mine).ok());
        } else if (random() % 16 == 0) {
          ASSERT_TRUE(files[i]->Sync().ok());
        } else {
          std::vector<uint8_t> buffer(64);
          uint64_t read = 0;
          Status status = files[i]->Read(0, buffer, &read);
          ASSERT_TRUE(status.ok()) << status.message();
          ASSERT_EQ(AsText(buffer), mine);
          reads++;
        }
      }
    });
  }
  threads.emplace_back([&] {
    for (int round = 0; !stop; round++) {
      std::string name = "t-" + std::to_string(round % kDirectories);
      ASSERT_TRUE(vfs->Rename(Path(name), Path(name + ".u-delete")).ok());
      ASSERT_TRUE(vfs->Rename(Path(name + ".u-delete"), Path(name)).ok());
    }
  });
  threads.emplace_back([&] {
    // Takes files' names away one by one; their handles go on.
    for (int i = 0; i < 20 && !stop; i++) {
      std::string name = "t-" + std::to_string(i % kDirectories);
      std::string file = "/f" + std::to_string(i);
      for (bool done = false; !done && !stop;) {
        Status status =
            i % 2 == 0 ? vfs->Remove(Path(name + file)) : vfs->Rename(Path("t-4/f99"), Path(name + file));
        if (i % 2 == 1 && status.ok()) {
          ASSERT_TRUE(vfs->WriteFile(Path("t-4/f99"), Text("refill"), false).ok() || true);
        }
        done = status.ok() || i % 2 == 1;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(reads.load(), 100);
  // Four users, one writer of whole files, and 20 names that went; the rest is within the limit.
  EXPECT_LE(Open(), 8u + 5u + 21u);
  files.clear();
  EXPECT_EQ(Open(), 0u);
}

TEST(NofileLimit, IsRaisedToTheHardOne) {
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  struct rlimit lower = before;
  lower.rlim_cur = std::min<rlim_t>(before.rlim_max, 256);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  DescriptorLimit limit = RaiseNofileLimit();
  EXPECT_EQ(limit.soft, before.rlim_max);
  EXPECT_EQ(limit.hard, before.rlim_max);
  struct rlimit now;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &now), 0);
  EXPECT_EQ(now.rlim_cur, before.rlim_max);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

// --- locks
// -----------------------------------------------------------------------------------------------------------

/// Runs `body` in a child process; what it returns is its exit code.
class Child {
 public:
  explicit Child(const std::function<int()>& body) : pid_(fork()) {
    if (pid_ == 0) _exit(body());
  }
  pid_t pid() const { return pid_; }
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_;
};

TEST(DirectoryLockTest, NamesTheProcessThatHasIt) {
  TemporaryDirectory temporary;
  int ready[2];
  int finish[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(finish), 0);
  Child owner([&] {
    close(finish[1]);
    auto lock = MakePosixVfs()->Lock(temporary.path());
    char byte = lock.ok() ? 1 : 0;
    if (write(ready[1], &byte, 1) != 1) return 2;
    return read(finish[0], &byte, 1) == 0 ? 0 : 3;  // until the parent closes, or kills
  });
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 1);
  auto vfs = MakePosixVfs();
  Status locked = vfs->Lock(temporary.path()).status();
  EXPECT_EQ(locked.code(), Code::kLocked);
  EXPECT_NE(locked.message().find("process " + std::to_string(owner.pid())), std::string::npos)
      << locked.message();
  kill(owner.pid(), SIGKILL);
  EXPECT_EQ(owner.Wait(), -SIGKILL);
  EXPECT_EQ(AsText(*vfs->ReadFile(temporary.path() + "/.lock", 99)), std::to_string(owner.pid()) + "\n");
  auto lock = vfs->Lock(temporary.path());
  EXPECT_TRUE(lock.ok()) << "the pid of one who died is no obstacle: " << lock.status().message();
  EXPECT_EQ(AsText(*vfs->ReadFile(temporary.path() + "/.lock", 99)), std::to_string(getpid()) + "\n");
  Child refused(
      [&] { return MakePosixVfs()->Lock(temporary.path()).status().code() == Code::kLocked ? 0 : 1; });
  EXPECT_EQ(refused.Wait(), 0);
  for (int fd : {ready[0], ready[1], finish[0], finish[1]}) close(fd);
}

TEST(DirectoryLockTest, KeepsOutAndIsKeptOutByApacheKafka) {
  TemporaryDirectory temporary;
  std::string path = temporary.path() + "/.lock";
  int ready[2];
  int finish[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(finish), 0);
  // java.nio's FileChannel.lock() is a record lock of the process.
  auto lock_as_java = [&] {
    int fd = open(path.c_str(), O_RDWR | O_CREAT, 0644);
    struct flock range = {};
    range.l_type = F_WRLCK;
    return fcntl(fd, F_SETLK, &range) == 0;
  };
  Child kafka([&] {
    close(finish[1]);
    char byte = lock_as_java() ? 1 : 0;
    if (write(ready[1], &byte, 1) != 1) return 2;
    return read(finish[0], &byte, 1) == 0 ? 0 : 3;
  });
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 1);
  auto vfs = MakePosixVfs();
  Status locked = vfs->Lock(temporary.path()).status();
  EXPECT_EQ(locked.code(), Code::kLocked);
  EXPECT_NE(locked.message().find(std::to_string(kafka.pid())), std::string::npos) << locked.message();
  close(finish[1]);
  EXPECT_EQ(kafka.Wait(), 0);
  auto lock = vfs->Lock(temporary.path());
  EXPECT_TRUE(lock.ok()) << lock.status().message();
  Child late([&] { return lock_as_java() ? 1 : 0; });
  EXPECT_EQ(late.Wait(), 0);
  for (int fd : {ready[0], ready[1], finish[0]}) close(fd);
}

// --- a full disk
// -----------------------------------------------------------------------------------------------------

/// A small file system of its own, where this process may mount one.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(const std::string& kind) : path_(temporary_.path() + "/mount") {
    EXPECT_TRUE(MakePosixVfs()->CreateDirectories(path_).ok());
    if (kind == "tmpfs") {
      mounted_ = mount("varve-test", path_.c_str(), "tmpfs", 0, "size=8m") == 0;
    } else {
      int fd = open(image().c_str(), O_CREAT | O_RDWR, 0644);
      if (fd < 0 || ftruncate(fd, 16 << 20) != 0) std::abort();
      close(fd);
      mounted_ = Run("mkfs.ext4 -q -F " + image()) && MountImage();
    }
  }
  ~SmallFileSystem() {
    if (!mounted_) return;
    EXPECT_EQ(umount(path_.c_str()), 0) << "still in use";
  }
  bool mounted() const { return mounted_; }
  const std::string& path() const { return path_; }

  /// As if the machine had lost power: what is not on the disk by now never gets there.
  void CutPower() {
    constexpr unsigned long kShutdown = 0x8004587d;  // EXT4_IOC_SHUTDOWN
    uint32_t without_flushing_the_journal = 2;
    int fd = open(path_.c_str(), O_RDONLY | O_DIRECTORY);
    ASSERT_EQ(ioctl(fd, kShutdown, &without_flushing_the_journal), 0);
    close(fd);
    ASSERT_EQ(umount(path_.c_str()), 0);
    mounted_ = MountImage();
    ASSERT_TRUE(mounted_);
  }

 private:
  static bool Run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
  }
  bool MountImage() { return Run("mount -o loop " + image() + " " + path_); }
  std::string image() const { return temporary_.path() + "/image"; }

  TemporaryDirectory temporary_;
  std::string path_;
  bool mounted_ = false;
};

/// What the crash model of memory says survives, on a real file system.
TEST(PowerCutOnExt4, LeavesWhatWasSynced) {
  SmallFileSystem small("ext4");
  if (!small.mounted()) {
    std::printf(
        "not mounted (needs root, mkfs.ext4 and a loop device): only the memory part of this is tested\n");
    return;
  }
  auto vfs = MakePosixVfs();
  std::string top = small.path();
  for (int round = 0; round < 5; round++) {
    std::string number = std::to_string(round);
    std::string directory = top + "/t-" + number;
    ASSERT_TRUE(vfs->CreateDirectories(directory).ok());
    ASSERT_TRUE(vfs->SyncDirectory(top).ok());
    {
      auto file = MustOpen(*vfs, directory + "/log");
      ASSERT_TRUE(file->Allocate(65'536).ok());
      auto mapping = *file->Map(0, 1 << 20, MapMode::kShared);
      ASSERT_TRUE(mapping->Prefault(0, 65'536).ok());
      std::memcpy(mapping->data() + 10'000, "stored", 6);
      ASSERT_TRUE(WriteAt(*file, 20'000, "written").ok());
      ASSERT_TRUE(file->Sync().ok());
      ASSERT_TRUE(vfs->SyncDirectory(directory).ok());
      std::memcpy(mapping->data() + 30'000, "not synced", 10);
    }
    ASSERT_TRUE(vfs->WriteFile(top + "/checkpoint", Text("round " + number), true).ok());
    ASSERT_TRUE(vfs->WriteFile(top + "/checkpoint", Text("next"), false).ok());
    small.CutPower();
    auto file = MustOpen(*vfs, directory + "/log", OpenMode::kRead);
    ASSERT_TRUE(file);
    EXPECT_EQ(ReadAt(*file, 10'000, 6), "stored");
    EXPECT_EQ(ReadAt(*file, 20'000, 7), "written");
    EXPECT_EQ(*file->Size(), 65'536u);
    EXPECT_NE(ReadAt(*file, 30'000, 10), "not synced") << "was the power cut at all?";
    EXPECT_EQ(AsText(*vfs->ReadFile(top + "/checkpoint", 99)), "round " + number);
  }
}

void FillsUpAndGoesOn(Vfs& vfs, const std::string& top) {
  auto file = MustOpen(vfs, top + "/log");
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  ASSERT_TRUE(file->Allocate(65'536).ok());
  auto mapping = *file->Map(0, uint64_t{1} << 30, MapMode::kShared);
  for (int round = 0; round < 5; round++) {
    uint64_t before = *vfs.FreeBytes(top);
    Status full = file->Allocate(uint64_t{64} << 20);
    ASSERT_EQ(full.code(), Code::kNoSpace) << full.message();
    ASSERT_EQ(*file->Size(), 65'536u) << "the size is as it was";
    ASSERT_NEAR(static_cast<double>(*vfs.FreeBytes(top)), static_cast<double>(before), 256 << 10)
        << "and what was reserved is given back";
    ASSERT_TRUE(mapping->Prefault(0, 65'536).ok());
    mapping->data()[65'535] = static_cast<uint8_t>(round);
    ASSERT_TRUE(file->Sync().ok());

    auto filler = MustOpen(vfs, top + "/filler");
    Status status;
    uint64_t filled = 0;
    std::string block(65'536, 'x');
    while (status.ok() && filled < (uint64_t{64} << 20)) {
      status = WriteAt(*filler, filled, block);
      if (status.ok()) filled += block.size();
    }
    ASSERT_EQ(status.code(), Code::kNoSpace) << status.message();
    EXPECT_EQ(ReadAt(*file, 0, 3), "abc");
    EXPECT_EQ(vfs.WriteFile(top + "/checkpoint", Text(block), false).code(), Code::kNoSpace);
    EXPECT_FALSE(vfs.Exists(top + "/checkpoint"));
    EXPECT_FALSE(vfs.Exists(top + "/checkpoint.tmp"));
    mapping->data()[0] = 'a';
    ASSERT_TRUE(file->Sync().ok()) << "what was allocated can be written";
    filler.reset();
    ASSERT_TRUE(vfs.Remove(top + "/filler").ok());
    ASSERT_TRUE(file->Allocate(65'536 * 2).ok()) << "room again";
    ASSERT_TRUE(file->Truncate(65'536).ok());
  }
}

TEST(FullDisk, IsAnErrorOnTmpfs) {
  SmallFileSystem small("tmpfs");
  if (!small.mounted()) {
    std::printf("not mounted (needs root): only the memory part runs\n");
  } else {
    auto vfs = MakePosixVfs();
    FillsUpAndGoesOn(*vfs, small.path());
    EXPECT_TRUE(vfs->TrustsMappedAppend(small.path()));
    // A hole in a sparse file has no space: told before the store that would be a SIGBUS.
    auto filler = MustOpen(*vfs, small.path() + "/filler");
    ASSERT_TRUE(filler->Allocate(*vfs->FreeBytes(small.path()) - 4096).ok());
    auto sparse = MustOpen(*vfs, small.path() + "/sparse");
    ASSERT_TRUE(sparse->Truncate(1 << 20).ok());
    auto mapping = *sparse->Map(0, 1 << 20, MapMode::kShared);
    EXPECT_EQ(mapping->Prefault(0, 1 << 20).code(), Code::kNoSpace);
  }
  auto memory = MakeMemoryVfs(false);
  ASSERT_TRUE(memory->CreateDirectories("/logs").ok());
  memory->SetCapacity(8 << 20);
  FillsUpAndGoesOn(*memory, "/logs");
}

TEST(FullDisk, IsAnErrorOnExt4) {
  SmallFileSystem small("ext4");
  if (!small.mounted()) {
    std::printf("not mounted (needs root, mkfs.ext4 and a loop device): nothing of ext4 was tried\n");
  } else {
    auto vfs = MakePosixVfs();
    FillsUpAndGoesOn(*vfs, small.path());
    EXPECT_TRUE(vfs->TrustsMappedAppend(small.path()));
  }
  auto memory = MakeMemoryVfs(true);
  ASSERT_TRUE(memory->CreateDirectories("/logs").ok());
  memory->SetCapacity(8 << 20);
  FillsUpAndGoesOn(*memory, "/logs");
}

TEST(TrustsMappedAppend, OverlaysThatReserveSpaceBelow) {
  SmallFileSystem small("ext4");
  std::string top = small.path();
  auto vfs = MakePosixVfs();
  for (const char* name : {"/lower", "/upper", "/work", "/merged"})
    ASSERT_TRUE(vfs->CreateDirectories(top + name).ok());
  std::string options = "lowerdir=" + top + "/lower,upperdir=" + top + "/upper,workdir=" + top + "/work";
  std::string merged = top + "/merged";
  if (!small.mounted() || mount("varve-test", merged.c_str(), "overlay", 0, options.c_str()) != 0) {
    std::printf("not mounted (needs root and overlayfs): nothing of overlays was tried\n");
    return;
  }
  bool trusted = vfs->TrustsMappedAppend(merged);
  Result<std::vector<std::string>> left = vfs->List(merged);
  ASSERT_EQ(umount(merged.c_str()), 0);
  EXPECT_TRUE(trusted);
  EXPECT_EQ(*left, std::vector<std::string>{}) << "the probe is gone";
}

TEST(TrustsMappedAppend, OnlyWhereSpaceIsKnownToBeReserved) {
  auto vfs = MakePosixVfs();
  EXPECT_FALSE(vfs->TrustsMappedAppend("/proc"));
  EXPECT_FALSE(vfs->TrustsMappedAppend("/nowhere/at/all"));
  EXPECT_TRUE(MakeMemoryVfs(false)->TrustsMappedAppend("/logs"));
}

}  // namespace
}  // namespace varve
