// SPDX-License-Identifier: Apache-2.0
// MemoryVfs: what its crash model may and may not leave of a disk, faults, capacity, and what mappings cost.
// What it shares with a disk is in vfs_test.
#include "core/vfs_memory.h"

#include <dirent.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace varve {
namespace {

using Call = MemoryVfs::Call;
using Loss = MemoryVfs::Loss;

std::vector<uint8_t> Text(const std::string& text) { return {text.begin(), text.end()}; }
std::string AsText(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// A disk whose directory /logs is durable.
std::shared_ptr<MemoryVfs> MakeDisk() {
  auto vfs = MakeMemoryVfs(true);
  EXPECT_TRUE(vfs->CreateDirectories("/logs").ok());
  EXPECT_TRUE(vfs->SyncDirectory("/").ok());
  return vfs;
}

std::shared_ptr<File> MustOpen(Vfs& vfs, const std::string& path) {
  Result<std::shared_ptr<File>> file = vfs.Open(path, OpenMode::kCreate);
  EXPECT_TRUE(file.ok()) << file.status().message();
  return file.ok() ? *file : nullptr;
}

Status WriteAt(File& file, uint64_t position, const std::string& text) {
  return file.Write(position, Text(text));
}

/// The file's bytes, or "(none)".
std::string Contents(Vfs& vfs, const std::string& path) {
  Result<std::vector<uint8_t>> bytes = vfs.ReadFile(path, uint64_t{1} << 30);
  return bytes.ok() ? AsText(*bytes) : "(none)";
}

// --- bytes after a power cut
// -----------------------------------------------------------------------------------------

/// What the test itself believes of one file: an independent account of the rules.
struct Believed {
  std::string durable;
  std::string live;
  size_t smallest = 0;

  void Write(size_t position, const std::string& text) {
    if (live.size() < position + text.size()) live.resize(position + text.size(), '\0');
    live.replace(position, text.size(), text);
  }
  void Resize(size_t size) {
    live.resize(size, '\0');
    smallest = std::min(smallest, size);
  }
  void Sync() {
    durable = live;
    smallest = live.size();
  }
  static char At(const std::string& image, size_t at) { return at < image.size() ? image[at] : '\0'; }

  /// Empty when `found` is a possible rest of the file; else what is wrong with it.
  std::string Objection(const std::string& found) const {
    size_t low = std::min({durable.size(), live.size(), smallest});
    size_t high = std::max(durable.size(), live.size());
    if (found.size() < low || found.size() > high) return "size " + std::to_string(found.size());
    for (size_t at = 0; at < found.size(); at += 512) {
      size_t end = std::min(at + 512, found.size());
      if (!IsPossible(found, at, end)) return "sector at " + std::to_string(at);
    }
    return "";
  }

  /// Up to some byte one image, behind it the other; and zeros from where space was given back to the disk
  /// and taken again.
  bool IsPossible(const std::string& found, size_t at, size_t end) const {
    size_t zeros_from = std::clamp(smallest, at, end);
    for (size_t i = zeros_from; i < end; i++) {
      if (found[i] != '\0') zeros_from = end;
    }
    auto torn = [&](const std::string& front, const std::string& back, size_t last) {
      size_t front_end = at;
      while (front_end < last && found[front_end] == At(front, front_end)) front_end++;
      size_t back_start = last;
      while (back_start > at && found[back_start - 1] == At(back, back_start - 1)) back_start--;
      return front_end >= back_start;
    };
    for (size_t last : {end, zeros_from}) {
      if (torn(live, durable, last) || torn(durable, live, last)) return true;
    }
    return false;
  }
};

#ifdef __SANITIZE_THREAD__
constexpr bool kSlow = true;  // where every load of a test costs fifty
#else
constexpr bool kSlow = false;
#endif

TEST(PowerCut, LeavesWhatWasSyncedAndInventsNothing) {
  std::map<std::string, int> seen;
  for (uint64_t seed = 1; seed <= (kSlow ? 10 : 60); seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    auto vfs = MakeDisk();
    auto file = MustOpen(*vfs, "/logs/a");
    ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
    std::shared_ptr<Mapping> mapping;
    Believed believed;
    for (int step = 0; step < 40; step++) {
      size_t position = random() % 6000;
      std::string text(1 + random() % 2500, static_cast<char>('a' + random() % 26));
      switch (random() % 8) {
        case 0:
        case 1:
          ASSERT_TRUE(WriteAt(*file, position, text).ok());
          believed.Write(position, text);
          break;
        case 2:
        case 3:
          if (seed % 3 == 0) break;  // a file that is never mapped is kept in another way
          if (!mapping) mapping = *file->Map(0, 1 << 20, MapMode::kShared);
          if (believed.live.size() < 10'000) {
            ASSERT_TRUE(file->Allocate(10'000).ok());
            believed.Write(believed.live.size(), std::string(10'000 - believed.live.size(), '\0'));
          }
          std::memcpy(mapping->data() + position, text.data(), text.size());
          believed.Write(position, text);
          break;
        case 4:
          ASSERT_TRUE(file->Truncate(position).ok());
          believed.Resize(position);
          break;
        case 5:
          ASSERT_TRUE(file->Allocate(position + 1).ok());
          if (believed.live.size() < position + 1) believed.live.resize(position + 1, '\0');
          break;
        default:
          ASSERT_TRUE(file->Sync().ok());
          believed.Sync();
          break;
      }
      ASSERT_EQ(Contents(*vfs, "/logs/a"), believed.live);
      ASSERT_EQ(Contents(*vfs->Crash(Loss::kAll, 0), "/logs/a"), believed.durable);
      ASSERT_EQ(Contents(*vfs->Crash(Loss::kNone, 0), "/logs/a"), believed.live);
      for (uint64_t cut = 0; cut < 4; cut++) {
        auto found = vfs->Crash(Loss::kRandom, random());
        std::string bytes = Contents(*found, "/logs/a");
        ASSERT_EQ(believed.Objection(bytes), "");
        seen[bytes == believed.live ? (bytes == believed.durable ? "clean" : "live")
                                    : (bytes == believed.durable ? "durable" : "mixed")]++;
        // What was found once is what is on the disk now.
        ASSERT_EQ(Contents(*found->Crash(Loss::kAll, 0), "/logs/a"), bytes);
      }
    }
  }
  for (const char* outcome : {"live", "durable", "mixed"}) EXPECT_GT(seen[outcome], 100) << outcome;
}

TEST(PowerCut, TearsWithinASectorAndZerosWhatHasASizeOnly) {
  auto vfs = MakeDisk();
  auto file = MustOpen(*vfs, "/logs/a");
  ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
  ASSERT_TRUE(WriteAt(*file, 0, std::string(512, 'd')).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(WriteAt(*file, 0, std::string(2048, 'l')).ok());
  int torn = 0;
  int zeros = 0;
  int between = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    std::string found = Contents(*vfs->Crash(Loss::kRandom, seed), "/logs/a");
    std::string first = found.substr(0, 512);
    if (first.find('d') != std::string::npos && first.find('l') != std::string::npos) torn++;
    if (found.size() == 2048 && found[2047] == '\0') zeros++;
    if (found.size() > 512 && found.size() < 2048) between++;
  }
  EXPECT_GT(torn, 5);
  EXPECT_GT(zeros, 20);
  EXPECT_GT(between, 20);
}

TEST(PowerCut, MayFindZerosWhereAFileWasCutAndWrittenAgain) {
  auto vfs = MakeDisk();
  auto file = MustOpen(*vfs, "/logs/a");
  ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
  ASSERT_TRUE(WriteAt(*file, 0, std::string(4096, 'o')).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Truncate(100).ok());
  ASSERT_TRUE(WriteAt(*file, 100, std::string(3996, 'n')).ok());
  std::map<char, int> last;
  for (uint64_t seed = 0; seed < 400; seed++) {
    std::string found = Contents(*vfs->Crash(Loss::kRandom, seed), "/logs/a");
    ASSERT_EQ(found.substr(0, 100), std::string(100, 'o')) << "was never given back";
    if (found.size() == 4096) last[found[4095]]++;
  }
  EXPECT_GT(last['o'], 20);
  EXPECT_GT(last['n'], 20);
  EXPECT_GT(last['\0'], 5);
}

/// Everything on a disk as one text.
std::string Dump(Vfs& vfs, const std::string& at) {
  std::string out;
  Result<std::vector<std::string>> names = vfs.List(at);
  for (const std::string& name : *names) {
    std::string path = (at == "/" ? "" : at) + "/" + name;
    out += path + "\n";
    out += vfs.List(path).ok() ? Dump(vfs, path) : Contents(vfs, path) + "\n";
  }
  return out;
}

TEST(PowerCut, IsTheSameForTheSameSeed) {
  auto vfs = MakeDisk();
  for (int i = 0; i < 5; i++) {
    auto file = MustOpen(*vfs, "/logs/" + std::to_string(i));
    ASSERT_TRUE(WriteAt(*file, 0, std::string(5000, 'x')).ok());
  }
  ASSERT_TRUE(vfs->CreateDirectories("/logs/t-0").ok());
  std::set<std::string> different;
  for (uint64_t seed = 0; seed < 50; seed++) {
    std::string once = Dump(*vfs->Crash(Loss::kRandom, seed), "/");
    ASSERT_EQ(once, Dump(*vfs->Crash(Loss::kRandom, seed), "/"));
    different.insert(once);
  }
  EXPECT_GT(different.size(), 25u);
}

TEST(PowerCut, LeavesTheDiskThatItWasTakenOfAsItIs) {
  auto vfs = MakeDisk();
  auto file = MustOpen(*vfs, "/logs/a");
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  std::string before = Dump(*vfs, "/");
  auto found = vfs->Crash(Loss::kNone, 1);
  ASSERT_TRUE(WriteAt(*MustOpen(*found, "/logs/a"), 0, "xyz").ok());
  ASSERT_TRUE(found->RemoveTree("/logs").ok());
  EXPECT_EQ(Dump(*vfs, "/"), before);
  ASSERT_TRUE(WriteAt(*file, 3, "def").ok());
  EXPECT_EQ(Contents(*vfs, "/logs/a"), "abcdef");
}

TEST(PowerCut, ReleasesLocks) {
  auto vfs = MakeDisk();
  auto lock = vfs->Lock("/logs");
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(vfs->Crash(Loss::kNone, 0)->Lock("/logs").ok());
  EXPECT_TRUE(vfs->Clone()->Lock("/logs").ok());
  EXPECT_EQ(vfs->Lock("/logs").status().code(), Code::kLocked);
}

// --- names after a power cut
// -----------------------------------------------------------------------------------------

/// How often each outcome was found over many cuts of the present moment.
std::map<std::string, int> Outcomes(MemoryVfs& vfs, const std::function<std::string(Vfs&)>& look) {
  std::map<std::string, int> outcomes;
  for (uint64_t seed = 0; seed < 200; seed++) outcomes[look(*vfs.Crash(Loss::kRandom, seed))]++;
  return outcomes;
}

TEST(PowerCut, MayTakeANameThatItsDirectoryWasNotSyncedFor) {
  auto vfs = MakeDisk();
  auto file = MustOpen(*vfs, "/logs/a");
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  ASSERT_TRUE(file->Sync().ok());
  auto look = [](Vfs& found) { return Contents(found, "/logs/a"); };
  auto outcomes = Outcomes(*vfs, look);
  EXPECT_GT(outcomes["abc"], 20);
  EXPECT_GT(outcomes["(none)"], 20);
  EXPECT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(look(*vfs->Crash(Loss::kAll, 0)), "(none)");
  ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
  EXPECT_EQ(Outcomes(*vfs, look), (std::map<std::string, int>{{"abc", 200}}));
  EXPECT_EQ(look(*vfs->Crash(Loss::kAll, 0)), "abc");
  ASSERT_TRUE(vfs->Remove("/logs/a").ok());
  outcomes = Outcomes(*vfs, look);
  EXPECT_GT(outcomes["abc"], 20) << "a removal may be undone, and the bytes are still there";
  EXPECT_GT(outcomes["(none)"], 20);
  ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
  EXPECT_EQ(Outcomes(*vfs, look), (std::map<std::string, int>{{"(none)", 200}}));
}

TEST(PowerCut, TakesADirectoryWithoutANameWithAllInIt) {
  auto vfs = MakeMemoryVfs(true);
  ASSERT_TRUE(vfs->CreateDirectories("/logs/t-0").ok());
  auto file = MustOpen(*vfs, "/logs/t-0/a");
  ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(vfs->SyncDirectory("/logs/t-0").ok());
  ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
  EXPECT_FALSE(vfs->Crash(Loss::kAll, 0)->Exists("/logs")) << "/logs is a name in /";
  ASSERT_TRUE(vfs->SyncDirectory("/").ok());
  EXPECT_EQ(Contents(*vfs->Crash(Loss::kAll, 0), "/logs/t-0/a"), "abc");
}

TEST(PowerCut, FindsARenameDoneOrNotDone) {
  auto vfs = MakeDisk();
  ASSERT_TRUE(vfs->CreateDirectories("/logs/t-0").ok());
  ASSERT_TRUE(vfs->WriteFile("/logs/t-0/a", Text("abc"), true).ok());
  ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
  ASSERT_TRUE(vfs->Rename("/logs/t-0", "/logs/t-0.u-delete").ok());
  auto outcomes = Outcomes(*vfs, [](Vfs& found) {
    return Contents(found, "/logs/t-0/a") + " " + Contents(found, "/logs/t-0.u-delete/a");
  });
  EXPECT_GT(outcomes["abc (none)"], 20);
  EXPECT_GT(outcomes["(none) abc"], 20);
  EXPECT_EQ(outcomes.size(), 2u) << "never both, never none";
}

TEST(PowerCut, SyncsBothDirectoriesOfARename) {
  for (const char* synced : {"/logs/d1", "/logs/d2"}) {
    auto vfs = MakeDisk();
    ASSERT_TRUE(vfs->CreateDirectories("/logs/d1").ok());
    ASSERT_TRUE(vfs->CreateDirectories("/logs/d2").ok());
    ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
    auto file = MustOpen(*vfs, "/logs/d1/a");
    ASSERT_TRUE(WriteAt(*file, 0, "abc").ok());
    ASSERT_TRUE(file->Sync().ok());
    ASSERT_TRUE(vfs->Rename("/logs/d1/a", "/logs/d2/a").ok());
    ASSERT_TRUE(vfs->SyncDirectory(synced).ok());
    auto found = vfs->Crash(Loss::kAll, 0);
    EXPECT_EQ(Contents(*found, "/logs/d1/a"), "(none)");
    EXPECT_EQ(Contents(*found, "/logs/d2/a"), "abc");
  }
}

TEST(PowerCut, FindsAFileThatWasRewrittenOldOrNew) {
  auto vfs = MakeDisk();
  std::string old_text(3000, 'o');
  std::string new_text(4000, 'n');
  ASSERT_TRUE(vfs->WriteFile("/logs/checkpoint", Text(old_text), true).ok());
  // Cut before each call that the rewriting is made of, then behind it.
  std::map<std::string, int> outcomes;
  auto cut = [&] {
    for (uint64_t seed = 0; seed < 50; seed++) {
      std::string found = Contents(*vfs->Crash(Loss::kRandom, seed), "/logs/checkpoint");
      outcomes[found == old_text ? "old" : found == new_text ? "new" : "other"]++;
    }
  };
  int calls = 0;
  vfs->SetFault([&](Call, const std::string&) {
    calls++;
    cut();
    return Status::Ok();
  });
  ASSERT_TRUE(vfs->WriteFile("/logs/checkpoint", Text(new_text), true).ok());
  vfs->SetFault(nullptr);
  EXPECT_GE(calls, 5);
  EXPECT_GT(outcomes["old"], 50);
  EXPECT_GT(outcomes["new"], 10);
  EXPECT_EQ(outcomes["other"], 0);
  outcomes.clear();
  cut();
  EXPECT_EQ(outcomes["new"], 50) << "it was durable";
}

TEST(PowerCut, MayTearAFileThatWasRewrittenWithoutSync) {
  auto vfs = MakeDisk();
  ASSERT_TRUE(vfs->WriteFile("/logs/checkpoint", Text("old"), true).ok());
  ASSERT_TRUE(vfs->WriteFile("/logs/checkpoint", Text("new"), false).ok());
  auto outcomes = Outcomes(*vfs, [](Vfs& found) { return Contents(found, "/logs/checkpoint"); });
  EXPECT_GT(outcomes["old"], 20);
  EXPECT_GT(outcomes["new"], 5);
  EXPECT_GT(outcomes[""], 5) << "a name without bytes";
  EXPECT_EQ(outcomes["(none)"], 0);
}

TEST(PowerCut, NeverLeavesAFileUnderTwoNames) {
  for (uint64_t seed = 0; seed < 300; seed++) {
    std::mt19937_64 random(seed);
    auto vfs = MakeDisk();
    std::vector<std::string> directories = {"/logs", "/logs/d1", "/logs/d2"};
    ASSERT_TRUE(vfs->CreateDirectories("/logs/d1").ok());
    ASSERT_TRUE(vfs->CreateDirectories("/logs/d2").ok());
    int made = 0;
    for (int step = 0; step < 30; step++) {
      auto name = [&] { return directories[random() % 3] + "/f" + std::to_string(random() % 4); };
      std::string path = name();
      switch (random() % 5) {
        case 0:
          if (!vfs->Exists(path)) {
            auto file = MustOpen(*vfs, path);
            ASSERT_TRUE(WriteAt(*file, 0, "file " + std::to_string(made++)).ok());
            ASSERT_TRUE(file->Sync().ok());
          }
          break;
        case 1:
        case 2:
          (void)vfs->Rename(path, name()).ok();
          break;
        case 3:
          (void)vfs->Remove(path).ok();
          break;
        default:
          if (random() % 3 == 0) {
            ASSERT_TRUE(vfs->SyncDirectory(directories[random() % 3]).ok());
          }
      }
    }
    for (uint64_t cut = 0; cut < 10; cut++) {
      auto found = vfs->Crash(Loss::kRandom, cut);
      std::set<std::string> contents;
      for (const std::string& directory : directories) {
        for (int i = 0; i < 4; i++) {
          std::string bytes = Contents(*found, directory + "/f" + std::to_string(i));
          if (bytes == "(none)") continue;
          EXPECT_TRUE(contents.insert(bytes).second) << bytes << " twice, seed " << seed;
        }
      }
    }
  }
}

TEST(PowerCut, KeepsNoMoreUnsyncedNamesThanADiskWould) {
  auto vfs = MakeDisk();
  for (int i = 0; i < 6'000; i++) {
    ASSERT_TRUE(vfs->WriteFile("/logs/checkpoint", Text(std::to_string(i)), false).ok());
  }
  auto outcomes = Outcomes(*vfs, [](Vfs& found) { return Contents(found, "/logs/checkpoint"); });
  EXPECT_EQ(outcomes["(none)"], 0) << "the first ones were written back long ago";
}

/// Writers that sync one file before they write another, while another thread cuts the power: a disk with the
/// later and without the earlier was never there.
TEST(PowerCut, HappensBetweenCalls) {
  auto vfs = MakeDisk();
  auto first = MustOpen(*vfs, "/logs/first");
  auto second = MustOpen(*vfs, "/logs/second");
  ASSERT_TRUE(WriteAt(*first, 0, "00000000").ok());
  ASSERT_TRUE(WriteAt(*second, 0, "00000000").ok());
  ASSERT_TRUE(first->Sync().ok());
  ASSERT_TRUE(second->Sync().ok());
  ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
  auto mapping = *first->Map(0, 4096, MapMode::kShared);
  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0};
  std::thread writer([&] {
    for (int i = 1; !stop; i++) {
      rounds = i;
      std::string number = std::to_string(10'000'000 + i);
      std::memcpy(mapping->data(), number.data(), number.size());
      ASSERT_TRUE(first->Sync().ok());
      ASSERT_TRUE(WriteAt(*second, 0, number).ok());
      ASSERT_TRUE(second->Sync().ok());
    }
  });
  while (rounds < 3'000) {
    auto found = vfs->Crash(Loss::kAll, 0);
    EXPECT_GE(Contents(*found, "/logs/first"), Contents(*found, "/logs/second"));
    if (HasFailure()) break;
  }
  stop = true;
  writer.join();
}

// --- faults
// ----------------------------------------------------------------------------------------------------------

TEST(SyncFailure, LosesWhatWasDirtyEvenWhenALaterSyncSucceeds) {
  for (bool mapped : {false, true}) {
    auto vfs = MakeDisk();
    auto file = MustOpen(*vfs, "/logs/a");
    ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
    std::shared_ptr<Mapping> mapping;
    if (mapped) mapping = *file->Map(0, 65'536, MapMode::kShared);
    ASSERT_TRUE(WriteAt(*file, 0, std::string(8192, 'a')).ok());
    ASSERT_TRUE(file->Sync().ok());
    ASSERT_TRUE(WriteAt(*file, 8192, std::string(8192, 'b')).ok());
    vfs->SetFault([](Call call, const std::string& path) {
      bool is_it = call == Call::kSync && path == "/logs/a";
      return is_it ? Status(Code::kIo, "the disk has a bad day") : Status::Ok();
    });
    EXPECT_EQ(file->Sync().code(), Code::kIo);
    vfs->SetFault(nullptr);
    EXPECT_EQ(Contents(*vfs, "/logs/a").substr(8192), std::string(8192, 'b')) << "memory still has it";
    ASSERT_TRUE(WriteAt(*file, 16'384, std::string(4096, 'c')).ok());
    ASSERT_TRUE(file->Sync().ok()) << "the lie";
    std::string expected = std::string(8192, 'a') + std::string(8192, '\0') + std::string(4096, 'c');
    EXPECT_EQ(Contents(*vfs->Crash(Loss::kAll, 0), "/logs/a"), expected);
    ASSERT_TRUE(file->Sync().ok());
    EXPECT_EQ(Contents(*vfs->Crash(Loss::kAll, 0), "/logs/a"), expected) << "however often";
    ASSERT_TRUE(WriteAt(*file, 8192, std::string(4096, 'B')).ok());
    ASSERT_TRUE(file->Sync().ok());
    expected.replace(8192, 4096, std::string(4096, 'B'));
    EXPECT_EQ(Contents(*vfs->Crash(Loss::kAll, 0), "/logs/a"), expected) << "written again is written";
  }
}

TEST(Faults, AreAskedBeforeEachCallUnderTheFilesNameOfThatMoment) {
  auto vfs = MakeDisk();
  std::vector<std::pair<Call, std::string>> calls;
  ASSERT_TRUE(vfs->CreateDirectories("/logs/t-0").ok());
  vfs->SetFault([&](Call call, const std::string& path) {
    calls.emplace_back(call, path);
    return Status::Ok();
  });
  auto file = MustOpen(*vfs, "/logs/t-0//a");
  ASSERT_TRUE(file->Allocate(4096).ok());
  auto mapping = *file->Map(0, 4096, MapMode::kShared);
  ASSERT_TRUE(vfs->Rename("/logs/t-0", "/logs/t-1").ok());
  ASSERT_TRUE(mapping->Prefault(0, 4096).ok());
  ASSERT_TRUE(file->Truncate(10).ok());
  ASSERT_TRUE(WriteAt(*file, 0, "x").ok());
  EXPECT_EQ(calls, (std::vector<std::pair<Call, std::string>>{{Call::kOpen, "/logs/t-0/a"},
                                                              {Call::kAllocate, "/logs/t-0/a"},
                                                              {Call::kMap, "/logs/t-0/a"},
                                                              {Call::kRename, "/logs/t-0"},
                                                              {Call::kPrefault, "/logs/t-1/a"},
                                                              {Call::kTruncate, "/logs/t-1/a"},
                                                              {Call::kWrite, "/logs/t-1/a"}}));
}

TEST(Faults, AreReportedAndChangeNothing) {
  auto vfs = MakeDisk();
  auto everything = [&]() -> std::vector<Status> {
    std::vector<Status> said;
    auto file = vfs->Open("/logs/a", OpenMode::kCreate);
    said.push_back(file.status());
    if (file.ok()) {
      said.push_back(WriteAt(**file, 0, "abc"));
      said.push_back((*file)->Allocate(4096));
      auto mapping = (*file)->Map(0, 4096, MapMode::kShared);
      said.push_back(mapping.status());
      if (mapping.ok()) said.push_back((*mapping)->Prefault(0, 4096));
      said.push_back((*file)->Sync());
      said.push_back((*file)->Truncate(2));
      std::vector<uint8_t> buffer(3);
      uint64_t read = 0;
      said.push_back((*file)->Read(0, buffer, &read));
      said.push_back((*file)->Size().status());
    }
    said.push_back(vfs->WriteFile("/logs/w", Text("w"), true));
    said.push_back(vfs->CreateDirectories("/logs/d"));
    said.push_back(vfs->List("/logs").status());
    said.push_back(vfs->FileSize("/logs").status());
    said.push_back(vfs->Rename("/logs/w", "/logs/v"));
    said.push_back(vfs->Remove("/logs/v"));
    said.push_back(vfs->RemoveTree("/logs/d"));
    said.push_back(vfs->SyncDirectory("/logs"));
    return said;
  };
  // The N-th call fails, for N = 1, 2, ... until a run has no failure.
  int runs = 0;
  for (int fail_at = 1;; fail_at++) {
    vfs = MakeDisk();
    int calls = 0;
    vfs->SetFault([&](Call, const std::string& path) {
      return ++calls == fail_at ? Status(Code::kIo, "fault at " + path) : Status::Ok();
    });
    std::vector<Status> said = everything();
    vfs->SetFault(nullptr);
    int failures = 0;
    for (const Status& status : said) {
      if (status.code() == Code::kIo) failures++;
    }
    if (calls < fail_at) {
      EXPECT_EQ(failures, 0);
      break;
    }
    runs++;
    EXPECT_EQ(failures, 1) << "fault at call " << fail_at;
    EXPECT_FALSE(vfs->Exists("/logs/w.tmp"));
  }
  EXPECT_GT(runs, 18);
}

// --- capacity
// --------------------------------------------------------------------------------------------------------

TEST(Capacity, IsAnErrorWhereADiskWouldHaveOne) {
  auto vfs = MakeDisk();
  vfs->SetCapacity(100'000);
  auto file = MustOpen(*vfs, "/logs/a");
  ASSERT_TRUE(file->Allocate(60'000).ok());
  EXPECT_EQ(*vfs->FreeBytes("/logs"), 40'000u);
  EXPECT_EQ(file->Allocate(200'000).code(), Code::kNoSpace);
  EXPECT_EQ(*file->Size(), 60'000u);
  auto other = MustOpen(*vfs, "/logs/b");
  EXPECT_EQ(WriteAt(*other, 0, std::string(50'000, 'x')).code(), Code::kNoSpace);
  EXPECT_EQ(*other->Size(), 0u);
  EXPECT_EQ(vfs->WriteFile("/logs/c", Text(std::string(50'000, 'x')), false).code(), Code::kNoSpace);
  // A hole has no space until it is written: the store that would be a SIGBUS is told of before.
  ASSERT_TRUE(other->Truncate(80'000).ok());
  auto mapping = *other->Map(0, 81'920, MapMode::kShared);
  EXPECT_EQ(mapping->Prefault(0, 80'000).code(), Code::kNoSpace);
  EXPECT_TRUE(mapping->Prefault(0, 40'000).ok());
  EXPECT_EQ(*vfs->FreeBytes("/logs"), 0u);
  ASSERT_TRUE(file->Truncate(10'000).ok());
  EXPECT_EQ(*vfs->FreeBytes("/logs"), 50'000u);
  EXPECT_TRUE(mapping->Prefault(40'000, 40'000).ok());
}

TEST(Capacity, IsFreeAgainWhenTheLastHolderOfARemovedFileLetsGo) {
  auto vfs = MakeDisk();
  vfs->SetCapacity(100'000);
  auto file = MustOpen(*vfs, "/logs/a");
  ASSERT_TRUE(file->Allocate(60'000).ok());
  auto mapping = *file->Map(0, 4096, MapMode::kReadOnly);
  ASSERT_TRUE(vfs->Remove("/logs/a").ok());
  EXPECT_EQ(*vfs->FreeBytes("/logs"), 40'000u);
  file.reset();
  EXPECT_EQ(*vfs->FreeBytes("/logs"), 40'000u);
  mapping.reset();
  EXPECT_EQ(*vfs->FreeBytes("/logs"), 100'000u);
  ASSERT_TRUE(vfs->WriteFile("/logs/b", Text(std::string(30'000, 'x')), true).ok());
  ASSERT_TRUE(vfs->WriteFile("/logs/b", Text(std::string(20'000, 'x')), true).ok());
  EXPECT_EQ(*vfs->FreeBytes("/logs"), 80'000u) << "what was replaced is free";
  auto found = vfs->Crash(Loss::kNone, 0);
  EXPECT_EQ(*found->FreeBytes("/logs"), 80'000u) << "the same disk after the cut";
}

// --- the rest
// --------------------------------------------------------------------------------------------------------

TEST(MemoryVfsTest, ClonesDeeply) {
  for (bool crash_model : {false, true}) {
    auto vfs = MakeMemoryVfs(crash_model);
    ASSERT_TRUE(vfs->CreateDirectories("/logs/t-0").ok());
    auto file = MustOpen(*vfs, "/logs/t-0/a");
    ASSERT_TRUE(file->Allocate(65'536).ok());
    auto mapping = *file->Map(0, 65'536, MapMode::kShared);
    std::memcpy(mapping->data() + 10'000, "abc", 3);
    auto clone = vfs->Clone();
    std::memcpy(mapping->data() + 10'000, "xyz", 3);
    EXPECT_EQ(Contents(*clone, "/logs/t-0/a"), std::string(10'000, '\0') + "abc" + std::string(55'533, '\0'));
    if (!crash_model) continue;
    EXPECT_EQ(Contents(*clone->Crash(Loss::kAll, 0), "/logs/t-0/a").substr(10'000, 3), "abc");
  }
}

TEST(MemoryVfsTest, RotsBytesEverywhereAtOnce) {
  auto vfs = MakeDisk();
  auto file = MustOpen(*vfs, "/logs/a");
  ASSERT_TRUE(vfs->SyncDirectory("/logs").ok());
  ASSERT_TRUE(WriteAt(*file, 0, "abcdef").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(vfs->Corrupt("/logs/a", 1, Text("X")).ok());
  auto mapping = *file->Map(0, 4096, MapMode::kReadOnly);
  ASSERT_TRUE(vfs->Corrupt("/logs/a", 2, Text("Y")).ok());
  EXPECT_EQ(AsText({mapping->data(), 6}), "aXYdef");
  EXPECT_EQ(Contents(*vfs, "/logs/a"), "aXYdef");
  EXPECT_EQ(Contents(*vfs->Crash(Loss::kAll, 0), "/logs/a"), "aXYdef");
  EXPECT_FALSE(vfs->Corrupt("/logs/a", 6, Text("Z")).ok());
  EXPECT_EQ(vfs->Corrupt("/logs/b", 0, Text("Z")).code(), Code::kNotFound);
}

TEST(MemoryVfsTest, TellsOfPagesTouchedBehindTheEnd) {
  auto vfs = MakeMemoryVfs(false);
  ASSERT_TRUE(vfs->CreateDirectories("/logs").ok());
  auto good = MustOpen(*vfs, "/logs/good");
  auto bad = MustOpen(*vfs, "/logs/bad");
  ASSERT_TRUE(good->Allocate(65'536).ok());
  ASSERT_TRUE(bad->Allocate(65'536).ok());
  auto good_mapping = *good->Map(0, 1 << 20, MapMode::kShared);
  auto bad_mapping = *bad->Map(0, 1 << 20, MapMode::kShared);
  good_mapping->data()[65'535] = 1;
  ASSERT_TRUE(good->Truncate(5'000).ok());
  good_mapping->data()[8'191] = 1;
  EXPECT_EQ(vfs->FilesTouchedBeyondEnd(), std::vector<std::string>{});
  bad_mapping->data()[65'536] = 1;
  EXPECT_EQ(vfs->FilesTouchedBeyondEnd(), std::vector<std::string>{"/logs/bad"});
  EXPECT_EQ(bad_mapping->Prefault(0, 65'537).code(), Code::kNoSpace);
}

size_t DescriptorCount() {
  size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) count++;
  closedir(directory);
  return count;
}

TEST(MemoryVfsTest, MapsTenThousandFilesOnOneDescriptor) {
  constexpr size_t kFiles = kSlow ? 500 : 10'000;
  size_t before = DescriptorCount();
  auto vfs = MakeMemoryVfs(false);
  ASSERT_TRUE(vfs->CreateDirectories("/logs").ok());
  std::vector<std::shared_ptr<File>> files;
  std::vector<std::shared_ptr<Mapping>> mappings;
  for (size_t i = 0; i < kFiles; i++) {
    files.push_back(MustOpen(*vfs, "/logs/" + std::to_string(i)));
    ASSERT_TRUE(files.back()->Allocate(65'536).ok());
    auto mapping = files.back()->Map(0, uint64_t{16} << 20, MapMode::kShared);
    ASSERT_TRUE(mapping.ok()) << mapping.status().message();
    mappings.push_back(*mapping);
    std::memcpy(mappings.back()->data(), &i, sizeof i);
  }
  EXPECT_LE(DescriptorCount(), before + 1);
  for (size_t i = 0; i < kFiles; i++) ASSERT_EQ(std::memcmp(mappings[i]->data(), &i, sizeof i), 0);
}

TEST(MemoryVfsTest, GivesPagesOfRemovedFilesToOthersEmpty) {
  auto vfs = MakeMemoryVfs(false);
  ASSERT_TRUE(vfs->CreateDirectories("/logs").ok());
  for (int round = 0; round < 5; round++) {
    auto file = MustOpen(*vfs, "/logs/a");
    ASSERT_TRUE(file->Allocate(65'536).ok());
    auto mapping = *file->Map(0, 65'536, MapMode::kShared);
    for (int i = 0; i < 65'536; i++) ASSERT_EQ(mapping->data()[i], 0);
    std::memset(mapping->data(), 'x', 65'536);
    ASSERT_TRUE(vfs->Remove("/logs/a").ok());
  }
}

TEST(MemoryVfsTest, HoldsSparseAndLargeFiles) {
  auto vfs = MakeDisk();
  auto file = MustOpen(*vfs, "/logs/a");
  ASSERT_TRUE(WriteAt(*file, uint64_t{3} << 30, "far").ok());
  EXPECT_EQ(*file->Size(), (uint64_t{3} << 30) + 3);
  std::vector<uint8_t> buffer(10);
  uint64_t read = 0;
  ASSERT_TRUE(file->Read((uint64_t{3} << 30) - 2, buffer, &read).ok());
  EXPECT_EQ(read, 5u);
  EXPECT_EQ(AsText({buffer.data(), 5}), std::string("\0\0far", 5));
  EXPECT_FALSE(WriteAt(*file, uint64_t{4} << 30, "x").ok());
  EXPECT_FALSE(file->Truncate(uint64_t{5} << 30).ok());
  EXPECT_FALSE(file->Map(uint64_t{4} << 30, 4096, MapMode::kShared).ok());
}

TEST(MemoryVfsTest, IsSafeFromManyThreads) {
  auto vfs = MakeDisk();
  std::atomic<bool> stop{false};
  std::atomic<int> faults{0};
  vfs->SetFault([&](Call, const std::string&) {
    faults++;
    return Status::Ok();
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++) {
    threads.emplace_back([&, t] {
      std::string mine = "/logs/t-" + std::to_string(t);
      for (int i = 0; !stop; i++) {
        ASSERT_TRUE(vfs->CreateDirectories(mine).ok());
        auto file = MustOpen(*vfs, mine + "/a");
        ASSERT_TRUE(WriteAt(*file, 0, std::string(3000, 'x')).ok());
        auto mapping = *file->Map(0, 8192, MapMode::kPrivate);
        ASSERT_EQ(mapping->data()[2999], 'x');
        ASSERT_TRUE(file->Sync().ok());
        ASSERT_TRUE(
            vfs->WriteFile("/logs/shared", Text(std::string(100, static_cast<char>('a' + t))), i % 2 == 0)
                .ok());
        ASSERT_TRUE(vfs->Rename(mine, mine + ".u-delete").ok());
        ASSERT_TRUE(vfs->RemoveTree(mine + ".u-delete").ok());
        ASSERT_EQ(mapping->data()[0], 'x');
      }
    });
  }
  for (uint64_t i = 0; i < 100; i++) {
    auto found = vfs->Crash(Loss::kRandom, i);
    std::string shared = Contents(*vfs, "/logs/shared");
    if (shared == "(none)") continue;
    ASSERT_EQ(shared, std::string(100, shared[0]));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(faults.load(), 10);
}

TEST(MemoryVfsDeathTest, HasNoCrashWithoutTheModel) {
  EXPECT_DEATH(MakeMemoryVfs(false)->Crash(Loss::kAll, 0), "MakeMemoryVfs\\(true\\)");
}

}  // namespace
}  // namespace varve
