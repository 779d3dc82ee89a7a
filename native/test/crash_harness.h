// SPDX-License-Identifier: Apache-2.0
// A workload on one log over a MemoryVfs with its crash model, cut off by a power failure before every single call to the Vfs, in
// several ways each. After each cut the log is opened on the disk that the cut left and must hold: everything that was
// acknowledged as durable, as a prefix of what was appended, with right CRCs, and go on from there.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine_fixture.h"

namespace varve {

class CrashHarness : public LogListener {
 public:
  struct Plan {
    uint64_t seed = 1;
    int steps = 120;
    AppendIo io = AppendIo::kMmap;
    FlushMode flush_mode = FlushMode::kCommit;
    bool truncations = true;
    /// Cut before every n-th call.
    int every = 1;
  };

  explicit CrashHarness(const Plan& plan) : plan_(plan), random_(plan.seed) {}

  /// What was violated, one line each; empty: nothing.
  const std::vector<std::string>& violations() const { return violations_; }
  int cuts() const { return cuts_; }

  void Run() {
    vfs_ = MakeMemoryVfs(true);
    executor_ = MakeInlineExecutor();
    config_.segment_bytes = 3000;
    config_.index_interval_bytes = 256;
    config_.file_delete_delay_ms = 10;
    vfs_->SetFault([this](MemoryVfs::Call, const std::string&) {
      if (!checking_ && ++calls_ % plan_.every == 0) CutNow();
      return Status::Ok();
    });
    std::shared_ptr<Engine> engine = Open();
    std::shared_ptr<Log> log = Take(*engine);
    for (int step = 0; step < plan_.steps && violations_.size() < 10; ++step) {
      step_ = step;
      const uint64_t dice = random_() % 100;
      if (dice < 50) {
        AppendOne(*log);
      } else if (dice < 65) {
        log->Flush([this, end = log->log_end_offset()](Status status) {
          if (status.ok()) Acknowledge(end);
        });
        Settle();
      } else if (dice < 75) {
        Settle();
      } else if (dice < 80) {
        std::lock_guard<std::mutex> lock(log->append_mutex());
        Must(log->Roll(kNow));
      } else if (dice < 86) {
        engine->Maintain(now_ms_ += 100'000, dice < 83);
      } else if (dice < 91 && plan_.truncations) {
        Truncate(*log);
      } else if (dice < 94) {
        std::lock_guard<std::mutex> lock(log->append_mutex());
        // Only what is durable may go: as with a high watermark.
        if (acknowledged_ > log->log_start_offset()) Must(log->AdvanceLogStartOffset(acknowledged_));
      } else {
        log->SetListener(nullptr);
        if (dice < 97) {
          Must(engine->Close());
          Acknowledge(End());
        } else {
          engine->Abandon();
        }
        engine = Open();
        log = Take(*engine);
      }
      CutNow();
    }
    log->SetListener(nullptr);
    engine->Abandon();
    vfs_->SetFault(nullptr);
  }

  void OnDurable(const LogPosition& end) override { Acknowledge(end.offset); }
  void OnStorageFailure(const Status& why) override { Violation("storage failure: " + why.message()); }

 private:
  static constexpr int64_t kNow = 1'700'000'000'000;
  using History = std::vector<ModelBatch>;

  void Violation(const std::string& what) {
    violations_.push_back("seed " + std::to_string(plan_.seed) + " step " + std::to_string(step_) + " call " +
                          std::to_string(calls_) + ": " + what);
  }
  void Must(const Status& status) {
    if (!status.ok()) Violation(status.message());
  }
  void Settle() {
    while (executor_->Step(now_ms_)) {
    }
  }
  std::shared_ptr<Engine> Open() {
    EngineOptions options = OptionsFor(vfs_, executor_);
    Result<std::shared_ptr<Engine>> engine = Engine::Open(options);
    if (!engine.ok()) Violation("cannot open: " + engine.status().message());
    return *engine;
  }
  EngineOptions OptionsFor(std::shared_ptr<Vfs> vfs, std::shared_ptr<Executor> executor) {
    EngineOptions options;
    options.directories = {"/data"};
    options.vfs = std::move(vfs);
    options.executor = std::move(executor);
    options.append_io = plan_.io;
    options.flush_mode = plan_.flush_mode;
    options.defaults = config_;
    return options;
  }
  std::shared_ptr<Log> Take(Engine& engine) {
    Result<std::shared_ptr<Log>> log = engine.OpenLog({"orders", 0}, config_);
    if (!log.ok()) Violation("cannot open the log: " + log.status().message());
    (*log)->SetListener(this);
    if ((*log)->log_end_offset() != End()) {
      Violation("opened after a kill or a stop with end " + std::to_string((*log)->log_end_offset()) +
                ", not " + std::to_string(End()));
    }
    ++epoch_;
    return *log;
  }
  int64_t End() const { return history_.empty() ? 0 : history_.back().next_offset; }
  void Acknowledge(int64_t end) { acknowledged_ = std::max(acknowledged_, end); }

  void AppendOne(Log& log) {
    const int records = 1 + static_cast<int>(random_() % 3);
    const std::vector<uint8_t> batch = MakeBatch(records, random_() % 600, random_(), 1000);
    std::vector<uint8_t> before = batch;
    // Known to the model before the call: a cut in the middle of it may leave the batch or not.
    const int64_t end = End();
    history_.push_back({end, end + records, batch});
    std::lock_guard<std::mutex> lock(log.append_mutex());
    const AppendResult result = log.Append(batch, AppendOrigin::kClient, epoch_, kNow);
    if (result.error != AppendError::kNone || result.base_offset != end) Violation("append failed");
  }

  void Truncate(Log& log) {
    const int64_t start = log.log_start_offset();
    const int64_t offset = std::max(start, End() - static_cast<int64_t>(random_() % 12));
    if (offset >= End()) return;
    // From here on the cut-off bytes may be there or not, whatever they were acknowledged as.
    older_.push_back(history_);
    while (!history_.empty() && history_.back().next_offset > offset) history_.pop_back();
    acknowledged_ = std::min(acknowledged_, End());
    {
      std::lock_guard<std::mutex> lock(log.append_mutex());
      Must(log.TruncateTo(offset));
    }
    if (log.log_end_offset() != End())
      Violation("truncation ended at " + std::to_string(log.log_end_offset()));
    ++epoch_;
  }

  void CutNow() {
    checking_ = true;
    for (int way = 0; way < 4; ++way) {
      const MemoryVfs::Loss loss = way == 0   ? MemoryVfs::Loss::kAll
                                   : way == 1 ? MemoryVfs::Loss::kNone
                                              : MemoryVfs::Loss::kRandom;
      Check(vfs_->Crash(loss, plan_.seed * 1'000'003 + static_cast<uint64_t>(cuts_)), way);
      ++cuts_;
    }
    checking_ = false;
  }

  void Check(const std::shared_ptr<MemoryVfs>& disk, int way) {
    const std::string cut = " (way " + std::to_string(way) + ")";
    Result<std::shared_ptr<Engine>> engine = Engine::Open(OptionsFor(disk, MakeInlineExecutor()));
    if (!engine.ok()) return Violation("does not open after a cut: " + engine.status().message() + cut);
    const std::shared_ptr<Log> log = (*engine)->FindLog({"orders", 0});
    if (!log) {
      if (acknowledged_ > 0)
        Violation("the log is gone although " + std::to_string(acknowledged_) + " was durable" + cut);
      for (const std::string& problem : (*engine)->problems()) Violation("problem: " + problem + cut);
      (*engine)->Abandon();
      return;
    }
    const int64_t end = log->log_end_offset();
    const int64_t start = log->log_start_offset();
    if (end < acknowledged_) {
      Violation("ends at " + std::to_string(end) + " although " + std::to_string(acknowledged_) +
                " was durable" + cut);
    }
    std::vector<ModelBatch> found;
    const Status status = ReadAll(*log, start, log->log_end(), &found);
    if (!status.ok()) Violation("cannot be read: " + status.message() + cut);
    // A prefix of what the log is, or of what it was before a truncation that the cut undid.
    bool fits = IsPrefix(history_, found, start, acknowledged_);
    for (const History& older : older_) fits = fits || IsPrefix(older, found, start, acknowledged_);
    if (!fits)
      Violation("holds what was never its prefix, [" + std::to_string(start) + ", " + std::to_string(end) +
                ")" + cut);
    const std::vector<uint8_t> batch = MakeBatch(1, 10, 5);
    {
      std::lock_guard<std::mutex> lock(log->append_mutex());
      const AppendResult result = log->Append(batch, AppendOrigin::kClient, epoch_ + 1, kNow);
      if (result.base_offset != end) Violation("does not go on at its end" + cut);
    }
    (*engine)->Abandon();
  }

  /// Whether `found` is `history` from `start` on, cut at a batch; and the acknowledged part is the present history's.
  bool IsPrefix(const History& history, const std::vector<ModelBatch>& found, int64_t start,
                int64_t acknowledged) const {
    size_t at = 0;
    while (at < history.size() && history[at].next_offset <= start) ++at;
    if (found.size() > history.size() - at) return false;
    for (size_t i = 0; i < found.size(); ++i) {
      if (!Same(history[at + i], found[i])) return false;
      if (found[i].next_offset <= acknowledged &&
          (at + i >= history_.size() || !Same(history_[at + i], found[i]))) {
        return false;
      }
    }
    return true;
  }
  static bool Same(const ModelBatch& model, const ModelBatch& found) {
    return model.base_offset == found.base_offset && model.bytes.size() == found.bytes.size() &&
           std::memcmp(model.bytes.data() + kMagicPosition, found.bytes.data() + kMagicPosition,
                       found.bytes.size() - kMagicPosition) == 0;
  }

  const Plan plan_;
  std::mt19937_64 random_;
  std::shared_ptr<MemoryVfs> vfs_;
  std::shared_ptr<InlineExecutor> executor_;
  LogConfig config_;
  int64_t now_ms_ = 1000;
  int32_t epoch_ = 0;

  History history_;
  std::vector<History> older_;
  int64_t acknowledged_ = 0;

  bool checking_ = false;
  int step_ = 0;
  int calls_ = 0;
  int cuts_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace varve
