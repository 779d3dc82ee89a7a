// SPDX-License-Identifier: Apache-2.0
#include "core/checkpoint_file.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/crc32c.h"
#include "core/text_scan.h"
#include "core/vfs_memory.h"
#include "test/kafka_golden_files.h"

namespace varve {
namespace {

using Entries = std::vector<CheckpointEntry>;

Result<Entries> Parse(std::string_view text) { return CheckpointFile::Parse(AsBytes(text)); }

Entries Sample(int64_t plus = 0) {
  return {{{"orders", 0}, 100 + plus}, {{"orders", 1}, 0}, {{"a.b_c-D9", 12}, int64_t{1} << 50}};
}

std::string Read(const std::shared_ptr<MemoryVfs>& vfs, const std::string& path) {
  return std::string(AsText(*vfs->ReadFile(path, 1 << 24)));
}

// --- one file ---

TEST(CheckpointFile, IsWrittenAndReadInKafkasFormat) {
  EXPECT_EQ(CheckpointFile::Encode({}), "0\n0\n");
  EXPECT_EQ(CheckpointFile::Encode(Sample()),
            "0\n3\norders 0 100\norders 1 0\na.b_c-D9 12 1125899906842624\n");
  EXPECT_EQ(*Parse(CheckpointFile::Encode(Sample())), Sample());
  EXPECT_EQ(*Parse(""), Entries{}) << "Kafka makes them empty";
}

TEST(CheckpointFile, ReadsWhatKafkaWroteAndWritesTheSameBytes) {
  const Result<Entries> entries = Parse(kafka_golden::kReplicationCheckpoint);
  ASSERT_TRUE(entries.ok());
  EXPECT_EQ(entries->size(), 51u);
  int64_t golden = -1;
  for (const CheckpointEntry& entry : *entries) {
    if (entry.topic_partition == TopicPartition{"golden", 0}) golden = entry.offset;
  }
  EXPECT_EQ(golden, 42);
  EXPECT_EQ(CheckpointFile::Encode(*entries), kafka_golden::kReplicationCheckpoint);
}

TEST(CheckpointFile, RefusesFilesThatAreNotOfTheFormat) {
  for (const char* text :
       {"0", "0\n", "x\n0\n", "0\n1\n", "0\n0\nt 0 0\n", "0\n2\nt 0 0\n", "0\n1\nt 0\n", "0\n1\nt 0 0 0\n",
        "0\n1\nt -1 0\n", "0\n1\nt 0 -5\n", "0\n1\n 0 0\n", "0\n1\nt/x 0 0\n", "0\n1\n.. 0 0\n",
        "0\n1\nt 0 0\n\n", "0\n1\nt  0 0\n", "0\n1\nt 99999999999 0\n", "0\n1\nt 0 99999999999999999999\n",
        "0\n18446744073709551615\nt 0 0\n", "-1\n0\n"}) {
    EXPECT_EQ(Parse(text).status().code(), Code::kCorrupt) << text;
  }
  EXPECT_EQ(Parse("1\n0\n").status().code(), Code::kUnsupported);
}

TEST(CheckpointFile, TenThousandPartitionsReadBackAsTheyWereWritten) {
  Entries entries;
  for (int32_t i = 0; i < 10000; i++) {
    entries.push_back({{"topic-with-a-name-" + std::to_string(i / 10), i % 10}, 123456789 + i});
  }
  EXPECT_EQ(*Parse(CheckpointFile::Encode(entries)), entries);
}

// --- the sidecar's contents ---

TEST(Checksums, VouchesForTheLastTwoContentsOfAName) {
  Checksums checksums;
  EXPECT_FALSE(checksums.Verify("a", AsBytes("one")));
  checksums.Record("a", AsBytes("one"));
  EXPECT_TRUE(checksums.Verify("a", AsBytes("one")));
  EXPECT_FALSE(checksums.Verify("b", AsBytes("one")));
  checksums.Record("a", AsBytes("two"));
  EXPECT_TRUE(checksums.Verify("a", AsBytes("one")));
  EXPECT_TRUE(checksums.Verify("a", AsBytes("two")));
  checksums.Record("a", AsBytes("two"));
  EXPECT_TRUE(checksums.Verify("a", AsBytes("one"))) << "the same again is no new writing";
  checksums.Record("a", AsBytes("three"));
  EXPECT_FALSE(checksums.Verify("a", AsBytes("one")));
  EXPECT_TRUE(checksums.Knows("a"));
  checksums.Forget("a");
  EXPECT_FALSE(checksums.Knows("a"));
}

Checksums SampleChecksums() {
  Checksums checksums;
  checksums.Record("recovery-point-offset-checkpoint", AsBytes("old"));
  checksums.Record("recovery-point-offset-checkpoint", AsBytes("new"));
  checksums.Record("meta.properties", AsBytes("x"));
  checksums.Record("orders-0/leader-epoch-checkpoint", AsBytes(""));
  return checksums;
}

TEST(Checksums, SurvivesItsFile) {
  const std::string text = SampleChecksums().Encode();
  const Result<Checksums> parsed = Checksums::Parse(AsBytes(text));
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(parsed->Encode(), text);
  EXPECT_TRUE(parsed->Verify("recovery-point-offset-checkpoint", AsBytes("old")));
  EXPECT_TRUE(parsed->Verify("recovery-point-offset-checkpoint", AsBytes("new")));
  EXPECT_TRUE(parsed->Verify("orders-0/leader-epoch-checkpoint", {}));
  EXPECT_FALSE(parsed->Verify("meta.properties", AsBytes("y")));
}

TEST(Checksums, EveryFlippedBitAndEveryCutIsFound) {
  std::string text = SampleChecksums().Encode();
  for (size_t position = 0; position < text.size(); position++) {
    for (int bit = 0; bit < 8; bit++) {
      text[position] = static_cast<char>(text[position] ^ (1 << bit));
      ASSERT_EQ(Checksums::Parse(AsBytes(text)).status().code(), Code::kCorrupt) << position << ' ' << bit;
      text[position] = static_cast<char>(text[position] ^ (1 << bit));
    }
    ASSERT_EQ(Checksums::Parse(AsBytes(std::string_view(text).substr(0, position))).status().code(),
              Code::kCorrupt);
  }
}

std::string WithOwnSum(const std::string& body) {
  char last[32];
  std::snprintf(last, sizeof last, "crc32c %08x\n", Crc32c(0, AsBytes(body)));
  return body + last;
}

TEST(Checksums, ANewerVersionIsRefusedAndSaysWhatToDo) {
  const Status status =
      Checksums::Parse(AsBytes(WithOwnSum("varve-checksums 2\nwhatever it holds\n"))).status();
  EXPECT_EQ(status.code(), Code::kUnsupported);
  EXPECT_NE(status.message().find("version 2"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("newer varve"), std::string::npos) << status.message();
}

TEST(Checksums, RefusesLinesThatMakeNoSense) {
  EXPECT_TRUE(Checksums::Parse(AsBytes(WithOwnSum("varve-checksums 1\n"))).ok());
  for (const char* body :
       {"", "varve-checksums 0\n", "varve-checksums x\n", "checksums 1\n", "varve-checksums 1\n00000000 5\n",
        "varve-checksums 1\n0000000 5 a\n", "varve-checksums 1\n00000000 5 \n",
        "varve-checksums 1\n00000000 -5 a\n", "varve-checksums 1\n00000000 5 b\n00000000 5 a\n"}) {
    EXPECT_EQ(Checksums::Parse(AsBytes(WithOwnSum(body))).status().code(), Code::kCorrupt) << body;
  }
}

// --- a log directory's checkpoints ---

class CheckpointSetTest : public ::testing::Test {
 protected:
  CheckpointSetTest() {
    EXPECT_TRUE(vfs->CreateDirectories("/d").ok());
    EXPECT_TRUE(vfs->SyncDirectory("/").ok());
  }

  Status StoreAll(CheckpointSet* set, const Entries& recovery, const Entries& log_start) {
    return set->Store({{CheckpointKind::kRecoveryPoint, &recovery}, {CheckpointKind::kLogStart, &log_start}},
                      true);
  }
  CheckpointTrust TrustAfterLoad(const std::shared_ptr<MemoryVfs>& disk, CheckpointKind kind,
                                 const Entries* want = nullptr) {
    CheckpointSet set(disk.get(), "/d");
    EXPECT_TRUE(set.Load().ok());
    if (want != nullptr) {
      EXPECT_EQ(set.loaded(kind).entries, *want);
    }
    EXPECT_EQ(set.loaded(kind).problem.empty(), set.loaded(kind).trust == CheckpointTrust::kVerified ||
                                                    set.loaded(kind).trust == CheckpointTrust::kMissing);
    return set.loaded(kind).trust;
  }

  std::shared_ptr<MemoryVfs> vfs = MakeMemoryVfs(true);
};

TEST_F(CheckpointSetTest, AnEmptyDirectoryHasNone) {
  CheckpointSet set(vfs.get(), "/d");
  ASSERT_TRUE(set.Load().ok());
  for (int kind = 0; kind < kCheckpointKindCount; kind++) {
    EXPECT_EQ(set.loaded(static_cast<CheckpointKind>(kind)).trust, CheckpointTrust::kMissing);
  }
}

TEST_F(CheckpointSetTest, WhatVarveWroteIsVerified) {
  CheckpointSet set(vfs.get(), "/d");
  ASSERT_TRUE(set.Load().ok());
  const Entries recovery = Sample(), log_start = Sample(1);
  ASSERT_TRUE(StoreAll(&set, recovery, log_start).ok());
  EXPECT_EQ(Read(vfs, "/d/recovery-point-offset-checkpoint"), CheckpointFile::Encode(recovery));
  EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint, &recovery), CheckpointTrust::kVerified);
  EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kLogStart, &log_start), CheckpointTrust::kVerified);
  EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kCleaner), CheckpointTrust::kMissing);
}

TEST_F(CheckpointSetTest, WhatKafkaWroteIsReadButNotVerifiedUntilVarveWritesIt) {
  const std::string kafkas = CheckpointFile::Encode(Sample());
  ASSERT_TRUE(vfs->WriteFile("/d/recovery-point-offset-checkpoint", AsBytes(kafkas), true).ok());
  const Entries want = Sample();
  EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint, &want), CheckpointTrust::kUnverified);
  CheckpointSet set(vfs.get(), "/d");
  ASSERT_TRUE(set.Load().ok());
  ASSERT_TRUE(StoreAll(&set, want, want).ok());
  EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint, &want), CheckpointTrust::kVerified);
}

TEST_F(CheckpointSetTest, AnyFlippedByteOfAnyFileIsFound) {
  CheckpointSet set(vfs.get(), "/d");
  ASSERT_TRUE(StoreAll(&set, Sample(), Sample(1)).ok());
  const std::string text = Read(vfs, "/d/recovery-point-offset-checkpoint");
  for (size_t position = 0; position < text.size(); position++) {
    for (int bit = 0; bit < 8; bit++) {
      const std::vector<uint8_t> flipped = {static_cast<uint8_t>(text[position] ^ (1 << bit))};
      ASSERT_TRUE(vfs->Corrupt("/d/recovery-point-offset-checkpoint", position, flipped).ok());
      const CheckpointTrust trust = TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint);
      EXPECT_TRUE(trust == CheckpointTrust::kUnverified || trust == CheckpointTrust::kDamaged) << position;
      EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kLogStart), CheckpointTrust::kVerified);
    }
    ASSERT_TRUE(vfs->Corrupt("/d/recovery-point-offset-checkpoint", position,
                             AsBytes(std::string_view(text).substr(position, 1)))
                    .ok());
  }
  const std::string sidecar = Read(vfs, "/d/varve.checksums");
  for (size_t position = 0; position < sidecar.size(); position++) {
    const std::vector<uint8_t> flipped = {static_cast<uint8_t>(sidecar[position] ^ 4)};
    ASSERT_TRUE(vfs->Corrupt("/d/varve.checksums", position, flipped).ok());
    EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint), CheckpointTrust::kUnverified) << position;
    ASSERT_TRUE(
        vfs->Corrupt("/d/varve.checksums", position, AsBytes(std::string_view(sidecar).substr(position, 1)))
            .ok());
  }
  EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint), CheckpointTrust::kVerified);
}

TEST_F(CheckpointSetTest, APowerCutBetweenAnyTwoWritingsLeavesOldOrNewAndVerified) {
  CheckpointSet set(vfs.get(), "/d");
  ASSERT_TRUE(StoreAll(&set, Sample(), Sample(1)).ok());
  std::vector<std::shared_ptr<MemoryVfs>> cuts;
  vfs->SetFault([&](MemoryVfs::Call, const std::string&) {
    cuts.push_back(vfs->Crash(MemoryVfs::Loss::kRandom, cuts.size()));
    return Status::Ok();
  });
  for (int64_t round = 2; round < 30; round += 2)
    ASSERT_TRUE(StoreAll(&set, Sample(round), Sample(round + 1)).ok());
  vfs->SetFault(nullptr);
  ASSERT_GT(cuts.size(), 100u);
  for (const auto& cut : cuts) {
    ASSERT_EQ(TrustAfterLoad(cut, CheckpointKind::kRecoveryPoint), CheckpointTrust::kVerified);
    ASSERT_EQ(TrustAfterLoad(cut, CheckpointKind::kLogStart), CheckpointTrust::kVerified);
  }
}

TEST_F(CheckpointSetTest, AWritingThatFailedDoesNotCostTheFileItsTrust) {
  CheckpointSet set(vfs.get(), "/d");
  const Entries first = Sample();
  ASSERT_TRUE(StoreAll(&set, first, first).ok());
  for (int64_t round = 1; round < 4; round++) {
    vfs->SetFault([](MemoryVfs::Call call, const std::string& path) {
      const bool checkpoint = path.find("checkpoint") != std::string::npos;
      return checkpoint && call != MemoryVfs::Call::kRead && call != MemoryVfs::Call::kRemove
                 ? Status(Code::kNoSpace, "full")
                 : Status::Ok();
    });
    EXPECT_EQ(StoreAll(&set, Sample(round), first).code(), Code::kNoSpace);
    vfs->SetFault(nullptr);
    EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint, &first), CheckpointTrust::kVerified)
        << round;
  }
  const Entries last = Sample(9);
  ASSERT_TRUE(StoreAll(&set, last, last).ok());
  EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint, &last), CheckpointTrust::kVerified);
}

TEST_F(CheckpointSetTest, ContentsThatNothingVouchedForAreNotVouchedForByReplacingThem) {
  ASSERT_TRUE(vfs->WriteFile("/d/recovery-point-offset-checkpoint",
                             AsBytes(CheckpointFile::Encode(Sample(500))), true)
                  .ok());
  CheckpointSet set(vfs.get(), "/d");
  ASSERT_TRUE(set.Load().ok());
  vfs->SetFault([](MemoryVfs::Call call, const std::string& path) {
    const bool checkpoint = path.find("recovery-point") != std::string::npos;
    return checkpoint && call != MemoryVfs::Call::kRead ? Status(Code::kNoSpace, "full") : Status::Ok();
  });
  EXPECT_EQ(StoreAll(&set, Sample(), Sample()).code(), Code::kNoSpace);
  vfs->SetFault(nullptr);
  EXPECT_EQ(TrustAfterLoad(vfs, CheckpointKind::kRecoveryPoint), CheckpointTrust::kUnverified);
}

TEST_F(CheckpointSetTest, WritesNothingWhenNothingChanged) {
  CheckpointSet set(vfs.get(), "/d");
  ASSERT_TRUE(StoreAll(&set, Sample(), Sample()).ok());
  int writes = 0;
  vfs->SetFault([&](MemoryVfs::Call call, const std::string&) {
    if (call == MemoryVfs::Call::kWrite || call == MemoryVfs::Call::kRename) writes++;
    return Status::Ok();
  });
  ASSERT_TRUE(StoreAll(&set, Sample(), Sample()).ok());
  EXPECT_EQ(writes, 0);
  CheckpointSet reopened(vfs.get(), "/d");
  ASSERT_TRUE(reopened.Load().ok());
  ASSERT_TRUE(StoreAll(&reopened, Sample(), Sample()).ok());
  EXPECT_EQ(writes, 0) << "nor after a restart";
  vfs->SetFault(nullptr);
}

TEST_F(CheckpointSetTest, ANewerSidecarKeepsVarveOutOfTheDirectory) {
  ASSERT_TRUE(vfs->WriteFile("/d/varve.checksums", AsBytes(WithOwnSum("varve-checksums 7\n")), true).ok());
  CheckpointSet set(vfs.get(), "/d");
  EXPECT_EQ(set.Load().code(), Code::kUnsupported);
}

TEST_F(CheckpointSetTest, VouchesForOtherSmallFilesToo) {
  CheckpointSet set(vfs.get(), "/d");
  set.Record("orders-0/leader-epoch-checkpoint", AsBytes("0\n0\n"));
  ASSERT_TRUE(StoreAll(&set, Sample(), Sample()).ok());
  CheckpointSet reopened(vfs.get(), "/d");
  ASSERT_TRUE(reopened.Load().ok());
  EXPECT_TRUE(reopened.Verify("orders-0/leader-epoch-checkpoint", AsBytes("0\n0\n")));
  EXPECT_FALSE(reopened.Verify("orders-0/leader-epoch-checkpoint", AsBytes("0\n1\n")));
  EXPECT_FALSE(reopened.Verify("orders-1/leader-epoch-checkpoint", AsBytes("0\n0\n")));
  reopened.Forget("orders-0/leader-epoch-checkpoint");
  EXPECT_FALSE(reopened.Verify("orders-0/leader-epoch-checkpoint", AsBytes("0\n0\n")));
}

TEST_F(CheckpointSetTest, ADiskThatFailsIsNotTakenForDamage) {
  CheckpointSet set(vfs.get(), "/d");
  ASSERT_TRUE(StoreAll(&set, Sample(), Sample()).ok());
  vfs->SetFault([](MemoryVfs::Call call, const std::string&) {
    return call == MemoryVfs::Call::kRead ? Status(Code::kIo, "bad sector") : Status::Ok();
  });
  EXPECT_EQ(CheckpointSet(vfs.get(), "/d").Load().code(), Code::kIo);
  vfs->SetFault(nullptr);
}

}  // namespace
}  // namespace varve
