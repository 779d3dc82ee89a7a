// SPDX-License-Identifier: Apache-2.0
// Every call to the disk fails once: the N-th call of a run, for N = 1, 2, ... until a run has no failure. Whatever fails, nothing
// crashes, no acknowledged record is lost, and the log opens again on a disk that works. Then a disk that fills up and is freed.
#include <set>

#include "engine_fixture.h"

namespace varve {
namespace {

class IoErrorTest : public EngineFixture, public LogListener {
 protected:
  void SetUp() override {
    config_.segment_bytes = 2000;
    config_.index_interval_bytes = 256;
    config_.file_delete_delay_ms = 0;
  }
  void OnDurable(const LogPosition& end) override { acknowledged_ = std::max(acknowledged_, end.offset); }
  void OnStorageFailure(const Status& why) override { ++failures_told_; }

  /// A run that meets most of what an engine does. Failures are data here.
  void Run() {
    Result<std::shared_ptr<Engine>> opened = Engine::Open(Options());
    if (!opened.ok()) return;
    std::shared_ptr<Engine> engine = *opened;
    Result<std::shared_ptr<Log>> found = engine->OpenLog({"orders", 0}, config_);
    if (!found.ok()) return;
    std::shared_ptr<Log> log = *found;
    log->SetListener(this);
    for (int i = 0; i < 30; ++i) {
      const std::vector<uint8_t> batch =
          MakeBatch(1, 100 + static_cast<size_t>(i) * 10, static_cast<uint64_t>(i));
      const int64_t end = log->log_end_offset();
      const AppendResult result = Append(*log, batch, i / 10);
      if (result.error == AppendError::kNone) {
        EXPECT_EQ(result.base_offset, end);
        appended_.push_back({end, end + 1, batch});
      } else {
        EXPECT_EQ(log->log_end_offset(), end) << "a failed append left something behind";
        ++failed_appends_;
      }
      if (i % 4 == 0) {
        log->Flush([this, end = log->log_end_offset()](Status status) {
          if (status.ok()) acknowledged_ = std::max(acknowledged_, end);
        });
      }
      Settle();
      std::vector<ModelBatch> served;
      const Status read = ReadAll(*log, log->log_start_offset(), log->log_end(), &served);
      // With a disk that fails a read may fail too; what is served is right all the same.
      for (const ModelBatch& batch_read : served) {
        for (const ModelBatch& one : appended_) {
          if (one.base_offset == batch_read.base_offset) ExpectSameBatch(one, batch_read.bytes);
        }
      }
      if (i == 12) engine->Maintain(kNow, false);
      if (i == 20) engine->Maintain(kNow + 100'000, false);
      if (i == 22) {
        std::lock_guard<std::mutex> lock(log->append_mutex());
        // A truncation that fails may have cut or not; so only what is acknowledged stays certain.
        const int64_t target = std::max(acknowledged_, log->log_end_offset() - 2);
        if (log->TruncateTo(target).ok()) {
          while (!appended_.empty() && appended_.back().next_offset > target) appended_.pop_back();
        }
      }
      if (i == 25) {
        std::lock_guard<std::mutex> lock(log->append_mutex());
        [[maybe_unused]] const Status advanced =
            log->AdvanceLogStartOffset(std::min(acknowledged_, int64_t{9}));
      }
      if (i == 26) engine->Maintain(kNow + 200'000, true);
    }
    offline_ = !engine->Directories()[0].online;
    log->RemoveListener(this);
    const Status closed = engine->Close();
    EXPECT_FALSE(offline_ && closed.ok()) << "an offline directory was stopped as if it were clean";
  }

  void CheckReopened() {
    vfs_->SetFault(nullptr);
    executor_ = MakeInlineExecutor();
    std::shared_ptr<Engine> engine = Open();
    ASSERT_NE(engine, nullptr);
    const std::shared_ptr<Log> log = engine->FindLog({"orders", 0});
    if (log == nullptr) {
      EXPECT_EQ(acknowledged_, 0);
      engine->Abandon();
      return;
    }
    EXPECT_GE(log->log_end_offset(), acknowledged_);
    std::vector<ModelBatch> served;
    const Status status = ReadAll(*log, log->log_start_offset(), log->log_end(), &served);
    EXPECT_TRUE(status.ok()) << status.message();
    for (const ModelBatch& batch : served) {
      if (batch.base_offset >= acknowledged_) break;
      for (const ModelBatch& one : appended_) {
        if (one.base_offset == batch.base_offset) ExpectSameBatch(one, batch.bytes);
      }
    }
    EXPECT_EQ(Append(*log, MakeBatch(1, 10, 1), 9).error, AppendError::kNone);
    EXPECT_TRUE(Flush(*log).ok());
    EXPECT_TRUE(engine->Close().ok());
    EXPECT_TRUE(vfs_->FilesTouchedBeyondEnd().empty()) << "on a disk that is a SIGBUS";
  }

  void FailEachCall(Code code) {
    using Call = MemoryVfs::Call;
    // What can ask a real disk for space.
    const std::set<Call> taking = {
        Call::kOpen,   Call::kWrite,         Call::kAllocate,          Call::kPrefault,
        Call::kRename, Call::kSyncDirectory, Call::kCreateDirectories, Call::kSync};
    std::set<Call> failed;
    int offline = 0;
    for (int n = 1;; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + " fails");
      vfs_ = MakeMemoryVfs(false);
      executor_ = MakeInlineExecutor();
      appended_.clear();
      acknowledged_ = 0;
      failed_appends_ = failures_told_ = 0;
      offline_ = false;
      int calls = 0;
      bool hit = false;
      Call last = Call::kOpen;
      vfs_->SetFault([&](MemoryVfs::Call call, const std::string& path) {
        if (code == Code::kNoSpace && !taking.contains(call)) return Status::Ok();
        if (++calls != n) return Status::Ok();
        hit = true;
        last = call;
        failed.insert(call);
        return Status(code, "injected into " + path, code == Code::kNoSpace ? ENOSPC : EIO);
      });
      Run();
      offline += offline_ ? 1 : 0;
      EXPECT_TRUE(!offline_ || failed_appends_ == 0 || failures_told_ > 0);
      // A full disk is no failed one; only what must not stay half done takes the log offline.
      const bool half =
          last == Call::kOpen || last == Call::kSync || last == Call::kRename || last == Call::kSyncDirectory;
      EXPECT_TRUE(code == Code::kIo || !offline_ || half);
      CheckReopened();
      if (HasFailure() || !hit) break;
    }
    EXPECT_GE(failed.size(), code == Code::kIo ? 10u : 6u) << "the run does too little";
    EXPECT_TRUE(code != Code::kIo || offline > 10);
  }

  std::vector<ModelBatch> appended_;
  int64_t acknowledged_ = 0;
  int failed_appends_ = 0;
  int failures_told_ = 0;
  bool offline_ = false;
};

TEST_F(IoErrorTest, SurvivesAnErrorOfEveryCall) { FailEachCall(Code::kIo); }

TEST_F(IoErrorTest, SurvivesAFullDiskAtEveryCall) { FailEachCall(Code::kNoSpace); }

TEST_F(IoErrorTest, NeverSyncsAgainAfterAFailedSync) {
  auto engine = Open();
  auto log = OpenLog(*engine);
  log->SetListener(this);
  ASSERT_EQ(Append(*log, MakeBatch(1, 10, 1)).error, AppendError::kNone);
  int syncs = 0;
  vfs_->SetFault([&](MemoryVfs::Call call, const std::string& path) {
    if (call != MemoryVfs::Call::kSync) return Status::Ok();
    return ++syncs == 1 ? Status(Code::kIo, "injected", EIO) : Status::Ok();
  });
  EXPECT_EQ(Flush(*log).code(), Code::kIo);
  EXPECT_EQ(failures_told_, 1);
  EXPECT_EQ(acknowledged_, 0);
  EXPECT_EQ(Append(*log, MakeBatch(1, 10, 1)).error, AppendError::kStorage);
  EXPECT_EQ(Flush(*log).code(), Code::kIo);
  EXPECT_EQ(syncs, 1);
  EXPECT_FALSE(engine->Directories()[0].online);
  // Reads go on.
  std::vector<ModelBatch> served;
  EXPECT_TRUE(ReadAll(*log, 0, log->log_end(), &served).ok());
  EXPECT_EQ(served.size(), 1u);
  log->RemoveListener(this);
  EXPECT_FALSE(engine->Close().ok());
  EXPECT_FALSE(vfs_->Exists("/data/.kafka_cleanshutdown"));
}

TEST_F(IoErrorTest, FillsTheDiskAndFreesItTwentyTimes) {
  config_.segment_bytes = 64 << 10;
  config_.retention_bytes = 0;
  auto engine = Open();
  auto log = OpenLog(*engine);
  const std::vector<uint8_t> batch = MakeBatch(4, 1000, 7);
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE(round);
    vfs_->SetCapacity(1 << 20);
    AppendResult result;
    int appended = 0;
    while ((result = Append(*log, batch)).error == AppendError::kNone) {
      Settle();
      ++appended;
      ASSERT_LT(appended, 1000);
    }
    ASSERT_EQ(result.error, AppendError::kNoSpace);
    const int64_t end = log->log_end_offset();
    ASSERT_EQ(Append(*log, batch).error, AppendError::kNoSpace);
    ASSERT_EQ(log->log_end_offset(), end);
    std::vector<ModelBatch> served;
    ASSERT_TRUE(ReadAll(*log, log->log_start_offset(), log->log_end(), &served).ok());
    ASSERT_FALSE(served.empty());
    EXPECT_TRUE(engine->Directories()[0].online);
    EXPECT_TRUE(vfs_->FilesTouchedBeyondEnd().empty());
    // Room is made: the same append goes through, and what is there can be made durable.
    vfs_->SetCapacity(2 << 20);
    ASSERT_EQ(Append(*log, batch).error, AppendError::kNone);
    ASSERT_TRUE(Flush(*log).ok());
    engine->Maintain(kNow + round * 1000, true);
    engine->Maintain(kNow + round * 1000 + 100'000, true);
    Settle();
  }
  EXPECT_TRUE(engine->Close().ok());
}

}  // namespace
}  // namespace varve
