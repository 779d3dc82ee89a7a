// SPDX-License-Identifier: Apache-2.0
// A workload on one log over a MemoryVfs with its crash model, cut off by a power failure before every single call to the Vfs, in
// several ways each. After each cut the log is opened on the disk that the cut left and must hold: everything that was
// acknowledged as durable, as a prefix of what was appended, with right CRCs, the epochs, sequence numbers and
// transactions that this prefix makes, and go on from there. Some of these openings are cut off in the same way.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine_fixture.h"

namespace varve {

class CrashHarness : public LogListener {
 public:
  struct Plan {
    uint64_t seed = 1;
    int steps = 40;
    AppendIo io = AppendIo::kMmap;
    FlushMode flush_mode = FlushMode::kCommit;
    bool truncations = true;
    /// Cuts with random loss at each call, besides those that lose all and nothing that was not synced.
    int random_cuts = 1;
    /// At every n-th random cut the recovery is cut off before every call of its own.
    int nested_every = 60;
  };

  explicit CrashHarness(const Plan& plan) : plan_(plan), random_(plan.seed) {}

  /// What was violated, one line each; empty: nothing.
  const std::vector<std::string>& violations() const { return violations_; }
  int cuts() const { return cuts_; }
  /// Of them, those within a recovery.
  int nested_cuts() const { return nested_cuts_; }
  /// Disks found with acknowledged records, aborted transactions and duplicates that were recognised.
  int found_acknowledged() const { return found_acknowledged_; }
  int found_aborted() const { return found_aborted_; }
  int found_duplicates() const { return found_duplicates_; }

  void Run() {
    vfs_ = MakeMemoryVfs(true);
    executor_ = MakeInlineExecutor();
    config_.segment_bytes = 2500;
    config_.index_interval_bytes = 256;
    config_.file_delete_delay_ms = 10;
    config_.retention_bytes = 9000;
    vfs_->SetFault([this](MemoryVfs::Call, const std::string&) {
      if (!checking_) CutNow();
      return Status::Ok();
    });
    engine_ = Open();
    log_ = engine_ ? Take() : nullptr;
    for (step_ = 0; step_ < plan_.steps && log_ && violations_.size() < 10; ++step_) {
      Step();
      CutNow();
      for (const std::string& path : vfs_->FilesTouchedBeyondEnd())
        Violation(path + " touched behind its end");
    }
    vfs_->SetFault(nullptr);
    if (log_) log_->RemoveListener(this);
    if (engine_) engine_->Abandon();
  }

  void OnDurable(const LogPosition& end) override { Acknowledge(end.offset); }
  void OnStorageFailure(const Status& why) override { Violation("storage failure: " + why.message()); }

 private:
  static constexpr int64_t kNow = 1'700'000'000'000;
  static constexpr int64_t kTransactional = 100;  ///< producer ids from here on
  enum class Marker { kNone, kCommit, kAbort };
  struct Batch : ModelBatch {
    int32_t epoch = 0;
    int64_t producer_id = kNoProducerId;
    int32_t base_sequence = kNoSequence;
    int32_t records = 0;
    Marker marker = Marker::kNone;
    bool transactional() const { return producer_id >= kTransactional; }
  };
  using History = std::vector<Batch>;
  enum class Fate { kVisible, kAborted, kOpen };

  /// What the first batches of a history make of its producers, told as plainly as can be.
  struct Producers {
    std::map<int64_t, const Batch*> last;  ///< newest data batch
    std::map<int64_t, int64_t> open;       ///< first offset of an open transaction
    std::vector<Fate> fates;

    Producers(const History& history, size_t count) : fates(count, Fate::kVisible) {
      std::map<int64_t, std::vector<size_t>> undecided;
      for (size_t i = 0; i < count; ++i) {
        const Batch& batch = history[i];
        if (batch.producer_id < 0) continue;
        if (batch.marker != Marker::kNone) {
          for (const size_t at : undecided[batch.producer_id])
            fates[at] = batch.marker == Marker::kCommit ? Fate::kVisible : Fate::kAborted;
          undecided[batch.producer_id].clear();
          open.erase(batch.producer_id);
          continue;
        }
        last[batch.producer_id] = &batch;
        if (!batch.transactional()) continue;
        fates[i] = Fate::kOpen;
        undecided[batch.producer_id].push_back(i);
        open.try_emplace(batch.producer_id, batch.base_offset);
      }
    }
    int32_t NextSequence(int64_t producer_id) const {
      const auto at = last.find(producer_id);
      return at == last.end() ? 0 : at->second->base_sequence + at->second->records;
    }
  };

  /// What the workload did, for whoever has to find out.
  void Did(const std::string& what) { steps_ += " " + what; }
  void Violation(const std::string& what) {
    violations_.push_back("seed " + std::to_string(plan_.seed) + " step " + std::to_string(step_) + " cut " +
                          std::to_string(cuts_) + ": " + what + where_ +
                          (violations_.empty() ? " after" + steps_ : ""));
  }
  void Must(const Status& status) {
    if (!status.ok()) Violation(status.message());
  }
  void Settle() {
    while (executor_->Step(now_ms_)) {
    }
  }
  int64_t Dice(int64_t bound) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound)); }

  // --- the workload ---

  std::shared_ptr<Engine> Open() {
    Result<std::shared_ptr<Engine>> engine = Engine::Open(OptionsFor(vfs_, executor_));
    if (engine.ok()) return *engine;
    Violation("cannot open: " + engine.status().message());
    return nullptr;
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
  std::shared_ptr<Log> Take() {
    Result<std::shared_ptr<Log>> log = engine_->OpenLog({"orders", 0}, config_);
    if (!log.ok()) {
      Violation("cannot open the log: " + log.status().message());
      return nullptr;
    }
    (*log)->SetListener(this);
    if ((*log)->log_end_offset() != End()) {
      Violation("opened after a kill or a stop with end " + std::to_string((*log)->log_end_offset()) +
                ", not " + std::to_string(End()));
    }
    ++epoch_;
    start_ = (*log)->log_start_offset();
    return *log;
  }
  int64_t End() const { return history_.empty() ? 0 : history_.back().next_offset; }
  void Acknowledge(int64_t end) { acknowledged_ = std::max(acknowledged_, end); }

  void Step() {
    const int64_t dice = Dice(100);
    if (dice < 56) {
      AppendOne();
    } else if (dice < 67) {
      Did("flush");
      log_->Flush([this, end = log_->log_end_offset()](Status status) {
        if (status.ok()) Acknowledge(end);
      });
      Settle();
    } else if (dice < 74) {
      Did("settle");
      Settle();
    } else if (dice < 78) {
      Did("roll");
      std::lock_guard<std::mutex> lock(log_->append_mutex());
      Must(log_->Roll(kNow));
    } else if (dice < 84) {
      Did(dice < 81 ? "retain" : "checkpoint");
      engine_->Maintain(now_ms_ += 100'000, dice < 81);
    } else if (dice < 90) {
      if (plan_.truncations) Truncate();
    } else if (dice < 93) {
      // Only what is durable may go: as with a high watermark.
      const int64_t start = acknowledged_ - Dice(2);
      Did("start=" + std::to_string(start));
      std::lock_guard<std::mutex> lock(log_->append_mutex());
      if (start > log_->log_start_offset()) Must(log_->AdvanceLogStartOffset(start));
    } else if (dice < 94) {
      if (plan_.truncations) DeleteAndMakeAgain();
    } else {
      log_->RemoveListener(this);
      Did(dice < 97 ? "stop" : "kill");
      if (dice < 97) {
        Must(engine_->Close());
        Acknowledge(End());
      } else {
        engine_->Abandon();
      }
      start_ = log_->log_start_offset();
      start_max_ = std::max(start_max_, start_);
      log_.reset();
      engine_ = Open();
      log_ = engine_ ? Take() : nullptr;
    }
  }

  static std::vector<uint8_t> Encode(const Batch& batch, size_t value_bytes, uint64_t seed) {
    BatchMetadata metadata;
    metadata.producer_id = batch.producer_id;
    if (batch.producer_id >= 0) metadata.producer_epoch = 0;
    metadata.base_sequence = batch.base_sequence;
    metadata.is_transactional = batch.transactional();
    if (batch.marker == Marker::kNone) return MakeBatch(batch.records, value_bytes, seed, 1000, metadata);
    metadata.is_control = true;
    const std::vector<uint8_t> key{0, 0, 0, batch.marker == Marker::kCommit ? uint8_t{1} : uint8_t{0}};
    const std::vector<uint8_t> value{0, 0, 0, 0, 0, 3};
    std::vector<uint8_t> buffer;
    BatchBuilder builder(&buffer);
    builder.Begin(metadata);
    builder.Append(1000, NullableBytes::Of(key), NullableBytes::Of(value));
    const MutableBytes bytes = builder.Finish();
    return {bytes.begin(), bytes.end()};
  }

  void AppendOne() {
    const Producers producers(history_, history_.size());
    Batch batch;
    const int64_t dice = Dice(10);
    if (dice < 4) batch.producer_id = 1 + Dice(3);
    if (dice >= 7) batch.producer_id = kTransactional + Dice(2);
    // A producer of whom nothing is left may be forgotten or not.
    const auto last = producers.last.find(batch.producer_id);
    if (last != producers.last.end() && last->second->base_offset < start_max_)
      batch.producer_id = kNoProducerId;
    if (producers.open.contains(batch.producer_id) && Dice(3) == 0)
      batch.marker = Dice(3) == 0 ? Marker::kCommit : Marker::kAbort;
    const bool control = batch.marker != Marker::kNone;
    batch.records = control ? 1 : 1 + static_cast<int>(Dice(3));
    if (batch.producer_id >= 0 && !control) batch.base_sequence = producers.NextSequence(batch.producer_id);
    batch.epoch = epoch_;
    batch.base_offset = End();
    batch.next_offset = End() + batch.records;
    batch.bytes = Encode(batch, static_cast<size_t>(Dice(600)), random_());
    // Known to the model before the call: a cut in the middle of it may leave the batch or not.
    history_.push_back(batch);
    Did("append:" + std::to_string(batch.base_offset) + "-" + std::to_string(batch.next_offset - 1) + "/" +
        std::to_string(batch.producer_id) + "/" + std::to_string(batch.base_sequence) +
        (batch.marker == Marker::kNone    ? ""
         : batch.marker == Marker::kAbort ? "/abort"
                                          : "/commit"));
    std::lock_guard<std::mutex> lock(log_->append_mutex());
    const AppendResult result =
        log_->Append(batch.bytes, control ? AppendOrigin::kCoordinator : AppendOrigin::kClient, epoch_, kNow);
    if (result.error != AppendError::kNone || result.duplicate || result.base_offset != batch.base_offset)
      Violation("append failed with " + std::to_string(static_cast<int>(result.error)));
  }

  void Truncate() {
    const int64_t start = log_->log_start_offset();
    const int64_t offset = std::max(start, End() - Dice(12));
    if (offset >= End()) return;
    // From here on the cut-off bytes may be there or not, whatever they were acknowledged as.
    Did("truncate=" + std::to_string(offset));
    older_.push_back(history_);
    while (!history_.empty() && history_.back().next_offset > offset) history_.pop_back();
    acknowledged_ = std::min(acknowledged_, End());
    {
      std::lock_guard<std::mutex> lock(log_->append_mutex());
      Must(log_->TruncateTo(offset));
    }
    if (log_->log_end_offset() != End())
      Violation("truncation ended at " + std::to_string(log_->log_end_offset()));
    ++epoch_;
  }

  void DeleteAndMakeAgain() {
    Did("delete");
    log_->RemoveListener(this);
    older_.push_back(std::move(history_));
    history_.clear();
    acknowledged_ = start_ = start_max_ = 0;
    log_.reset();
    Must(engine_->DeleteLog({"orders", 0}));
    older_.clear();
    log_ = Take();
  }

  // --- the cuts ---

  void CutNow() {
    checking_ = true;
    for (int way = 0; way < 2 + plan_.random_cuts; ++way) {
      const MemoryVfs::Loss loss = way == 0   ? MemoryVfs::Loss::kAll
                                   : way == 1 ? MemoryVfs::Loss::kNone
                                              : MemoryVfs::Loss::kRandom;
      where_ = " (way " + std::to_string(way) + ")";
      const uint64_t seed = plan_.seed * 1'000'003 + static_cast<uint64_t>(cuts_);
      if (way >= 2 && ++random_cuts_ % plan_.nested_every == 0) CutRecovery(vfs_->Crash(loss, seed));
      Check(vfs_->Crash(loss, seed));
      where_.clear();
    }
    checking_ = false;
  }

  /// The power goes again while the log recovers, becomes durable and is stopped.
  void CutRecovery(const std::shared_ptr<MemoryVfs>& disk) {
    where_ += " and in its recovery";
    int calls = 0;
    disk->SetFault([&](MemoryVfs::Call, const std::string&) {
      const auto loss = ++calls % 2 == 0 ? MemoryVfs::Loss::kAll : MemoryVfs::Loss::kRandom;
      const std::shared_ptr<MemoryVfs> again = disk->Crash(loss, plan_.seed + static_cast<uint64_t>(calls));
      ++nested_cuts_;
      Check(again);
      return Status::Ok();
    });
    const std::shared_ptr<InlineExecutor> executor = MakeInlineExecutor();
    Result<std::shared_ptr<Engine>> engine = Engine::Open(OptionsFor(disk, executor));
    if (engine.ok()) {
      while (executor->Step(0)) {
      }
      Must((*engine)->Close());
    } else {
      Violation("does not open after a cut: " + engine.status().message());
    }
    disk->SetFault(nullptr);
  }

  void Check(const std::shared_ptr<MemoryVfs>& disk) {
    ++cuts_;
    Result<std::shared_ptr<Engine>> engine = Engine::Open(OptionsFor(disk, MakeInlineExecutor()));
    if (!engine.ok()) return Violation("does not open after a cut: " + engine.status().message());
    if (const std::shared_ptr<Log> log = (*engine)->FindLog({"orders", 0})) {
      CheckLog(*log);
    } else {
      if (acknowledged_ > 0)
        Violation("the log is gone although " + std::to_string(acknowledged_) + " was durable");
      for (const std::string& problem : (*engine)->problems()) Violation("problem: " + problem);
    }
    (*engine)->Abandon();
    for (const std::string& path : disk->FilesTouchedBeyondEnd()) Violation(path + " touched behind its end");
  }

  void CheckLog(Log& log) {
    const int64_t start = log.log_start_offset();
    const int64_t end = log.log_end_offset();
    if (end < acknowledged_) {
      Violation("ends at " + std::to_string(end) + " although " + std::to_string(acknowledged_) +
                " was durable");
    }
    if (acknowledged_ > start) ++found_acknowledged_;
    std::vector<ModelBatch> found;
    const Status status = ReadAll(log, start, log.log_end(), &found);
    if (!status.ok()) Violation("cannot be read: " + status.message());
    // A prefix of what the log is, or of what it was before a truncation that the cut undid.
    const History* fits = IsPrefix(history_, found, start) ? &history_ : nullptr;
    for (const History& older : older_) {
      if (fits == nullptr && IsPrefix(older, found, start)) fits = &older;
    }
    const std::string range = "[" + std::to_string(start) + ", " + std::to_string(end) + ")";
    if (fits == nullptr) return Violation("holds what was never its prefix, " + range);
    if (!found.empty() && found.back().next_offset != end)
      return Violation("has nothing at its end, " + range);
    // Where nothing was durable, the names of the first segments may be lost and those of later ones not.
    const int64_t known_start = log_ ? log_->log_start_offset() : start_;
    start_max_ = std::max(start_max_, known_start);
    if (start > known_start && acknowledged_ > known_start)
      Violation("begins at " + std::to_string(start) + " and not at " + std::to_string(known_start));
    size_t first = 0;
    while (first < fits->size() && (*fits)[first].next_offset <= start) ++first;
    CheckEpochs(log, found, *fits, first);
    const Producers producers(*fits, first + found.size());
    CheckTransactions(log, *fits, first, producers);
    CheckSequences(log, producers);
  }

  /// Whether `found` is `history` from `start` on, cut at a batch; and the acknowledged part is the present history's.
  bool IsPrefix(const History& history, const std::vector<ModelBatch>& found, int64_t start) const {
    size_t at = 0;
    while (at < history.size() && history[at].next_offset <= start) ++at;
    if (found.size() > history.size() - at) return false;
    for (size_t i = 0; i < found.size(); ++i) {
      if (!Same(history[at + i], found[i])) return false;
      if (found[i].next_offset <= acknowledged_ &&
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

  /// Epochs lie outside the CRC, so a tear may change one that was not durable; the cache must be what the batches say.
  void CheckEpochs(Log& log, const std::vector<ModelBatch>& found, const History& history, size_t first) {
    std::map<int32_t, int64_t> ends;
    int32_t latest = -1;
    for (size_t i = 0; i < found.size(); ++i) {
      const int32_t epoch = LoadI32(found[i].bytes.data() + kPartitionLeaderEpochPosition);
      if (epoch != history[first + i].epoch) {
        if (found[i].next_offset <= acknowledged_)
          Violation("the epoch at " + std::to_string(found[i].base_offset) + " is " + std::to_string(epoch));
        return;
      }
      if (latest >= 0) ends[latest] = epoch == latest ? found[i].next_offset : found[i].base_offset;
      latest = epoch;
      ends[latest] = found[i].next_offset;
    }
    for (const auto& [epoch, end] : ends) {
      const EpochEndOffset is = log.EndOffsetForEpoch(epoch);
      if (is.leader_epoch != epoch || is.end_offset != end) {
        Violation("epoch " + std::to_string(epoch) + " ends at " + std::to_string(is.end_offset) +
                  " of epoch " + std::to_string(is.leader_epoch) + ", not " + std::to_string(end));
      }
    }
  }

  /// Reads as a consumer with isolation.level=read_committed does, and must see what was committed.
  void CheckTransactions(Log& log, const History& history, size_t first, const Producers& producers) {
    const int64_t start = log.log_start_offset();
    const int64_t known_from = std::max(start, start_max_);
    const int64_t end = log.log_end_offset();
    {
      std::lock_guard<std::mutex> lock(log.append_mutex());
      log.SetHighWatermark(end);
    }
    const int64_t unstable = log.first_unstable_offset();
    int64_t expected = -1;
    bool known = true;
    for (const auto& [producer_id, first_offset] : producers.open) {
      // What lies below the log start may be known still, or not.
      known = known && first_offset >= known_from;
      if (expected < 0 || first_offset < expected) expected = first_offset;
    }
    if (known && unstable != expected) {
      Violation("the first unstable offset is " + std::to_string(unstable) + ", not " +
                std::to_string(expected));
    }
    const int64_t stable = unstable < 0 ? end : unstable;
    std::vector<AbortedTransaction> aborted;
    Must(log.CollectAborted(start, stable, &aborted));
    std::sort(aborted.begin(), aborted.end(),
              [](const auto& a, const auto& b) { return a.first_offset < b.first_offset; });
    if (!aborted.empty()) ++found_aborted_;
    size_t next = 0;
    std::set<int64_t> aborting;
    for (size_t i = first; i < producers.fates.size(); ++i) {
      const Batch& batch = history[i];
      if (batch.base_offset >= stable) break;
      while (next < aborted.size() && aborted[next].first_offset < batch.next_offset)
        aborting.insert(aborted[next++].producer_id);
      if (!batch.transactional()) continue;
      if (batch.marker != Marker::kNone) {
        if (batch.marker == Marker::kAbort) aborting.erase(batch.producer_id);
        continue;
      }
      const Fate seen = aborting.contains(batch.producer_id) ? Fate::kAborted : Fate::kVisible;
      if (batch.base_offset >= known_from && seen != producers.fates[i]) {
        Violation("the transaction at " + std::to_string(batch.base_offset) + " is read as " +
                  (seen == Fate::kAborted ? "aborted" : "committed"));
      }
    }
  }

  /// What is sent again is known, what leaves something out is refused, what continues is appended at the end.
  void CheckSequences(Log& log, const Producers& producers) {
    std::lock_guard<std::mutex> lock(log.append_mutex());
    for (const auto& [producer_id, last] : producers.last) {
      if (last->base_offset < std::max(log.log_start_offset(), start_max_)) continue;
      const std::string who = "producer " + std::to_string(producer_id) + ": ";
      AppendResult result = log.Append(last->bytes, AppendOrigin::kClient, epoch_ + 1, kNow);
      if (!result.duplicate || result.base_offset != last->base_offset) {
        Violation(who + "a batch sent again is not known: " + std::to_string(static_cast<int>(result.error)));
      } else {
        ++found_duplicates_;
      }
      result = AppendNext(log, producer_id, producers.NextSequence(producer_id) + 2);
      if (result.error != AppendError::kOutOfOrderSequence) Violation(who + "a gap is taken");
      const int64_t end = log.log_end_offset();
      result = AppendNext(log, producer_id, producers.NextSequence(producer_id));
      if (result.error != AppendError::kNone || result.duplicate || result.base_offset != end)
        Violation(who + "does not go on: " + std::to_string(static_cast<int>(result.error)));
    }
    // One whose batches were all lost is not known either.
    for (const int64_t producer_id :
         {int64_t{1}, int64_t{2}, int64_t{3}, kTransactional, kTransactional + 1}) {
      if (producers.last.contains(producer_id)) continue;
      if (AppendNext(log, producer_id, 1000).error != AppendError::kNone)
        Violation("producer " + std::to_string(producer_id) + " is known though it has no batch");
    }
    const int64_t end = log.log_end_offset();
    if (AppendNext(log, kNoProducerId, kNoSequence).base_offset != end)
      Violation("does not go on at its end");
  }
  AppendResult AppendNext(Log& log, int64_t producer_id, int32_t sequence) {
    Batch batch;
    batch.producer_id = producer_id;
    batch.base_sequence = sequence;
    batch.records = 1;
    return log.Append(Encode(batch, 10, 5), AppendOrigin::kClient, epoch_ + 1, kNow);
  }

  const Plan plan_;
  std::mt19937_64 random_;
  std::shared_ptr<MemoryVfs> vfs_;
  std::shared_ptr<InlineExecutor> executor_;
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Log> log_;
  LogConfig config_;
  int64_t now_ms_ = 1000;
  int32_t epoch_ = 0;

  History history_;
  std::vector<History> older_;
  int64_t acknowledged_ = 0;
  int64_t start_ = 0;  ///< of the log while there is no log_
  int64_t start_max_ =
      0;  ///< the highest it ever was: a cut may bring back what lies below, but not what was known of it

  bool checking_ = false;
  std::string where_;
  std::string steps_;
  int step_ = 0;
  int cuts_ = 0;
  int random_cuts_ = 0;
  int nested_cuts_ = 0;
  int found_acknowledged_ = 0;
  int found_aborted_ = 0;
  int found_duplicates_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace varve
