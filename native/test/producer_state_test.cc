// SPDX-License-Identifier: Apache-2.0
#include "core/producer_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "core/crc32c.h"
#include "core/offset_index.h"
#include "core/time_index.h"
#include "core/txn_index.h"
#include "core/vfs_memory.h"
#include "test/kafka_golden_files.h"

namespace varve {
namespace {

using kafka_golden::FromHex;

constexpr int32_t kMaxSequence = std::numeric_limits<int32_t>::max();
constexpr int64_t kForever = int64_t{1} << 60;

struct BatchSpec {
  int64_t pid = 1;
  int16_t epoch = 0;
  int32_t sequence = 0;
  int32_t count = 1;
  bool transactional = false;
  bool control = false;
  int64_t timestamp = 1000;
};

BatchHeader Header(const BatchSpec& spec) {
  BatchHeader header{};
  header.magic = kMagicV2;
  header.batch_length = 100;
  header.attributes =
      static_cast<int16_t>((spec.transactional ? kTransactionalBit : 0) | (spec.control ? kControlBit : 0));
  header.last_offset_delta = spec.count - 1;
  header.record_count = spec.count;
  header.base_timestamp = spec.timestamp;
  header.max_timestamp = spec.timestamp;
  header.producer_id = spec.pid;
  header.producer_epoch = spec.epoch;
  header.base_sequence = spec.control ? kNoSequence : spec.sequence;
  return header;
}

/// A log of one partition, as far as producer state sees it.
class Partition {
 public:
  ProducerCheck Check(const BatchSpec& spec, AppendOrigin origin = AppendOrigin::kClient) {
    return state.CheckAppend(Header(spec), origin);
  }
  /// Appends when allowed; the error otherwise.
  AppendError Append(const BatchSpec& spec, AppendOrigin origin = AppendOrigin::kClient) {
    const BatchHeader header = Header(spec);
    const ProducerCheck check = state.CheckAppend(header, origin);
    if (check.error != AppendError::kNone || check.duplicate) return check.error;
    state.Update(check, header, end);
    end += spec.count;
    return AppendError::kNone;
  }
  AppendError Mark(int64_t pid, int16_t epoch, bool commit, int32_t coordinator_epoch = 0,
                   int16_t transaction_version = 0, CompletedTxn* completed = nullptr,
                   AppendOrigin origin = AppendOrigin::kCoordinator) {
    const BatchHeader header = Header({.pid = pid, .epoch = epoch, .transactional = true, .control = true});
    const EndTransactionMarker marker{commit, coordinator_epoch, 2000};
    const ProducerCheck check = state.CheckAppend(header, origin, &marker, transaction_version);
    if (check.error != AppendError::kNone) return check.error;
    CompletedTxn ignored;
    completed_any = state.Update(check, header, end, &marker, completed == nullptr ? &ignored : completed);
    end++;
    return AppendError::kNone;
  }

  ProducerState state;
  int64_t end = 0;
  bool completed_any = false;
};

// --- sequences and epochs ---

TEST(ProducerState, AnUnknownProducerMayStartWithAnySequence) {
  Partition log;
  EXPECT_EQ(log.Append({.pid = 1, .epoch = 3, .sequence = 77, .count = 5}), AppendError::kNone);
  EXPECT_EQ(log.Append({.pid = 1, .epoch = 3, .sequence = 82}), AppendError::kNone);
  EXPECT_EQ(log.state.Find(1)->producer_epoch, 3);
  EXPECT_EQ(log.state.Find(1)->LastSequence(), 82);
  EXPECT_EQ(log.state.Find(2), nullptr);
}

TEST(ProducerState, AGapOrAStepBackIsOutOfOrder) {
  Partition log;
  ASSERT_EQ(log.Append({.sequence = 0, .count = 10}), AppendError::kNone);
  EXPECT_EQ(log.Append({.sequence = 11}), AppendError::kOutOfOrderSequence);
  EXPECT_EQ(log.Append({.sequence = 9}), AppendError::kOutOfOrderSequence)
      << "overlaps, but is not the same batch";
  EXPECT_EQ(log.Append({.sequence = 0, .count = 11}), AppendError::kOutOfOrderSequence)
      << "longer than the original";
  EXPECT_EQ(log.Append({.sequence = 10}), AppendError::kNone);
  EXPECT_EQ(log.end, 11);
}

TEST(ProducerState, SequencesWrapBehindTheLargestInt32) {
  Partition log;
  ASSERT_EQ(log.Append({.sequence = kMaxSequence - 1, .count = 2}), AppendError::kNone);
  EXPECT_EQ(log.Append({.sequence = 1}), AppendError::kOutOfOrderSequence);
  EXPECT_EQ(log.Append({.sequence = 0, .count = 3}), AppendError::kNone);
  EXPECT_EQ(log.Append({.sequence = 3}), AppendError::kNone);
  EXPECT_TRUE(log.Check({.sequence = kMaxSequence - 1, .count = 2}).duplicate);
}

TEST(ProducerState, ABatchMayCarryTheWrapInside) {
  Partition log;
  ASSERT_EQ(log.Append({.sequence = kMaxSequence - 4, .count = 10}), AppendError::kNone);
  EXPECT_EQ(log.state.Find(1)->LastSequence(), 4);
  EXPECT_TRUE(log.Check({.sequence = kMaxSequence - 4, .count = 10}).duplicate);
  EXPECT_EQ(log.Append({.sequence = 5}), AppendError::kNone);
}

TEST(ProducerState, ANewEpochStartsAtZeroAndAnOldOneIsFenced) {
  Partition log;
  ASSERT_EQ(log.Append({.epoch = 4, .sequence = 0, .count = 3}), AppendError::kNone);
  EXPECT_EQ(log.Append({.epoch = 5, .sequence = 3}), AppendError::kOutOfOrderSequence);
  EXPECT_EQ(log.Append({.epoch = 5, .sequence = 0}), AppendError::kNone);
  EXPECT_EQ(log.Append({.epoch = 4, .sequence = 3}), AppendError::kInvalidProducerEpoch);
  EXPECT_EQ(log.Append({.epoch = 4, .sequence = 0, .count = 3}), AppendError::kInvalidProducerEpoch)
      << "the duplicate of a fenced epoch is not answered as one";
  EXPECT_EQ(log.Append({.epoch = 5, .sequence = 1}), AppendError::kNone);
}

TEST(ProducerState, TheLastFiveBatchesAreRememberedAndOlderDuplicatesAreOutOfOrder) {
  Partition log;
  for (int32_t i = 0; i < 8; i++)
    ASSERT_EQ(log.Append({.sequence = i * 10, .count = 10, .timestamp = 1000 + i}), AppendError::kNone);
  for (int32_t i = 0; i < 8; i++) {
    const ProducerCheck check = log.Check({.sequence = i * 10, .count = 10});
    if (i < 3) {
      EXPECT_FALSE(check.duplicate) << i;
      EXPECT_EQ(check.error, AppendError::kOutOfOrderSequence) << i;
    } else {
      EXPECT_TRUE(check.duplicate) << i;
      EXPECT_EQ(check.error, AppendError::kNone) << i;
      EXPECT_EQ(check.base_offset, i * 10) << i;
      EXPECT_EQ(check.last_offset, i * 10 + 9) << i;
      EXPECT_EQ(check.timestamp, 1000 + i) << i;
    }
  }
}

TEST(ProducerState, OnlyClientsAreCheckedForSequencesAndReplicasForNothing) {
  Partition log;
  ASSERT_EQ(log.Append({.epoch = 2, .sequence = 0}), AppendError::kNone);
  EXPECT_EQ(log.Append({.epoch = 2, .sequence = kNoSequence}, AppendOrigin::kCoordinator), AppendError::kNone)
      << "offset commits of a transaction have no sequence";
  EXPECT_EQ(log.Append({.epoch = 1, .sequence = kNoSequence}, AppendOrigin::kCoordinator),
            AppendError::kInvalidProducerEpoch);
  EXPECT_EQ(log.Append({.epoch = 1, .sequence = 50}, AppendOrigin::kReplica), AppendError::kNone);
  EXPECT_EQ(log.state.Find(1)->producer_epoch, 1) << "the log says so";
  EXPECT_FALSE(log.Check({.epoch = 1, .sequence = 50}, AppendOrigin::kReplica).duplicate);
}

TEST(ProducerState, AfterAMarkerTheSameEpochGoesOnAndABumpedOneStartsAtZero) {
  Partition log;
  ASSERT_EQ(log.Append({.sequence = 0, .count = 2, .transactional = true}), AppendError::kNone);
  ASSERT_EQ(log.Mark(1, 0, true), AppendError::kNone);
  EXPECT_EQ(log.Append({.sequence = 2, .transactional = true}), AppendError::kNone);
  ASSERT_EQ(log.Mark(1, 1, true, 0, 2), AppendError::kNone) << "KIP-890: the marker bumps the epoch";
  EXPECT_EQ(log.Append({.epoch = 0, .sequence = 3, .transactional = true}),
            AppendError::kInvalidProducerEpoch);
  EXPECT_EQ(log.Append({.epoch = 1, .sequence = 3, .transactional = true}), AppendError::kOutOfOrderSequence);
  EXPECT_EQ(log.Append({.epoch = 1, .sequence = 0, .transactional = true}), AppendError::kNone);
}

TEST(ProducerState, AgreesWithASlowModelOverRandomAppends) {
  struct Model {
    int16_t epoch = -1;
    std::deque<std::pair<int32_t, int32_t>> batches;  // first, last sequence
  };
  std::mt19937_64 rng(6);
  Partition log;
  std::map<int64_t, Model> models;
  std::map<std::pair<int64_t, int32_t>, int64_t> offsets;
  int accepted = 0, duplicates = 0, refused = 0;
  for (int step = 0; step < 60000; step++) {
    BatchSpec spec;
    spec.pid = static_cast<int64_t>(rng() % 200);
    Model& model = models[spec.pid];
    const int32_t last = model.batches.empty() ? -1 : model.batches.back().second;
    spec.count = 1 + static_cast<int32_t>(rng() % 4);
    spec.epoch = static_cast<int16_t>(
        std::max(0, model.epoch + static_cast<int>(rng() % 20 == 0) - static_cast<int>(rng() % 30 == 0)));
    const uint64_t kind = rng() % 10;
    if (kind < 6) {
      spec.sequence = spec.epoch == model.epoch ? IncrementSequence(std::max(last, 0), last < 0 ? 0 : 1) : 0;
    } else if (kind < 9 && !model.batches.empty()) {
      const auto& batch = model.batches[rng() % model.batches.size()];
      spec.sequence = batch.first;
      spec.count = batch.second - batch.first + 1;
    } else {
      spec.sequence = static_cast<int32_t>(rng() % 50);
    }
    const int32_t last_sequence = spec.sequence + spec.count - 1;
    AppendError want = AppendError::kNone;
    bool want_duplicate = false;
    if (model.epoch >= 0) {
      const auto known =
          std::find(model.batches.begin(), model.batches.end(), std::pair(spec.sequence, last_sequence));
      if (spec.epoch == model.epoch && known != model.batches.end()) {
        want_duplicate = true;
      } else if (spec.epoch < model.epoch) {
        want = AppendError::kInvalidProducerEpoch;
      } else if (spec.epoch > model.epoch ? spec.sequence != 0 : spec.sequence != last + 1) {
        want = AppendError::kOutOfOrderSequence;
      }
    }
    const ProducerCheck check = log.Check(spec);
    ASSERT_EQ(check.error, want) << step;
    ASSERT_EQ(check.duplicate, want_duplicate) << step;
    if (want_duplicate) {
      duplicates++;
      ASSERT_EQ(check.base_offset, (offsets[{spec.pid, spec.sequence}])) << step;
    } else if (want == AppendError::kNone) {
      accepted++;
      offsets[{spec.pid, spec.sequence}] = log.end;
      log.Append(spec);
      if (model.epoch != spec.epoch) model.batches.clear();
      model.epoch = spec.epoch;
      model.batches.emplace_back(spec.sequence, last_sequence);
      if (model.batches.size() > 5) model.batches.pop_front();
    } else {
      refused++;
    }
  }
  EXPECT_GT(accepted, 10000);
  EXPECT_GT(duplicates, 5000);
  EXPECT_GT(refused, 2000);
  EXPECT_EQ(log.state.map_end_offset(), log.end);
}

// --- transactions ---

TEST(ProducerState, APlainBatchWithinATransactionIsRefused) {
  Partition log;
  ASSERT_EQ(log.Append({.sequence = 0, .transactional = true}), AppendError::kNone);
  EXPECT_EQ(log.Append({.sequence = 1}), AppendError::kInvalidTxnState);
  EXPECT_EQ(log.Append({.sequence = 1, .transactional = true}), AppendError::kNone);
  ASSERT_EQ(log.Mark(1, 0, true), AppendError::kNone);
  EXPECT_EQ(log.Append({.sequence = 2}), AppendError::kNone);
}

TEST(ProducerState, ATransactionIsUnstableUntilItsMarkerIsBelowTheHighWatermark) {
  Partition log;
  log.Append({.pid = 9, .sequence = 0, .count = 10});
  EXPECT_EQ(log.state.FirstUnstableOffset(), -1);
  log.Append({.pid = 1, .sequence = 0, .count = 5, .transactional = true});  // 10..14
  log.Append({.pid = 2, .sequence = 0, .count = 5, .transactional = true});  // 15..19
  EXPECT_EQ(log.state.FirstUnstableOffset(), 10);
  EXPECT_EQ(log.state.FirstUndecidedOffset(), 10);
  EXPECT_TRUE(log.state.HasOpenTransaction(1, 0));
  EXPECT_FALSE(log.state.HasOpenTransaction(1, 1));
  EXPECT_FALSE(log.state.HasOpenTransaction(9, 0));
  CompletedTxn txn;
  ASSERT_EQ(log.Mark(1, 0, false, 0, 0, &txn), AppendError::kNone);  // 20
  ASSERT_TRUE(log.completed_any);
  EXPECT_TRUE(txn.aborted);
  EXPECT_EQ(txn.producer_id, 1);
  EXPECT_EQ(txn.first_offset, 10);
  EXPECT_EQ(txn.last_offset, 20);
  EXPECT_EQ(txn.last_stable_offset, 15) << "producer 2 is still open";
  EXPECT_EQ(log.state.FirstUndecidedOffset(), 15);
  EXPECT_EQ(log.state.FirstUnstableOffset(), 10) << "decided, but not replicated";
  log.state.OnHighWatermark(20);
  EXPECT_EQ(log.state.FirstUnstableOffset(), 10) << "the marker itself is at 20";
  log.state.OnHighWatermark(21);
  EXPECT_EQ(log.state.FirstUnstableOffset(), 15);
  ASSERT_EQ(log.Mark(2, 0, true, 0, 0, &txn), AppendError::kNone);  // 21
  EXPECT_FALSE(txn.aborted);
  EXPECT_EQ(txn.last_stable_offset, 22);
  log.state.OnHighWatermark(22);
  EXPECT_EQ(log.state.FirstUnstableOffset(), -1);
  EXPECT_FALSE(log.state.IsEmpty());
}

TEST(ProducerState, AMarkerWithoutATransactionCompletesNothing) {
  Partition log;
  ASSERT_EQ(log.Mark(5, 3, false), AppendError::kNone);
  EXPECT_FALSE(log.completed_any);
  EXPECT_EQ(log.state.FirstUnstableOffset(), -1);
  EXPECT_EQ(log.state.Find(5)->producer_epoch, 3);
  EXPECT_EQ(log.state.Find(5)->batch_count, 0);
  EXPECT_EQ(log.Append({.pid = 5, .epoch = 3, .sequence = 1}), AppendError::kOutOfOrderSequence)
      << "with an epoch known but no batch only sequence 0 follows";
  EXPECT_EQ(log.Append({.pid = 5, .epoch = 3, .sequence = 0}), AppendError::kNone);
}

TEST(ProducerState, MarkersOfOldEpochsAndOldCoordinatorsAreRefused) {
  Partition log;
  ASSERT_EQ(log.Append({.epoch = 4, .sequence = 0, .transactional = true}), AppendError::kNone);
  EXPECT_EQ(log.Mark(1, 3, true), AppendError::kInvalidProducerEpoch);
  ASSERT_EQ(log.Mark(1, 4, true, 7), AppendError::kNone);
  EXPECT_EQ(log.Mark(1, 4, true, 6), AppendError::kCoordinatorFenced);
  EXPECT_EQ(log.Mark(1, 4, true, 7), AppendError::kNone);
  EXPECT_EQ(log.Mark(1, 3, true, 6, 0, nullptr, AppendOrigin::kReplica), AppendError::kNone)
      << "the leader has checked";
}

TEST(ProducerState, ATransactionVersion2MarkerIsAboveTheEpochOrARepetition) {
  Partition log;
  ASSERT_EQ(log.Append({.epoch = 4, .sequence = 0, .transactional = true}), AppendError::kNone);
  EXPECT_EQ(log.Mark(1, 4, true, 0, 2), AppendError::kInvalidProducerEpoch)
      << "of the transaction before this one";
  ASSERT_EQ(log.Mark(1, 5, true, 0, 2), AppendError::kNone);
  EXPECT_EQ(log.Mark(1, 5, true, 0, 2), AppendError::kNone)
      << "written again by a coordinator that lost our answer";
  EXPECT_FALSE(log.completed_any);
  ASSERT_EQ(log.Append({.epoch = 5, .sequence = 0, .transactional = true}), AppendError::kNone);
  EXPECT_EQ(log.Mark(1, 5, true, 0, 2), AppendError::kInvalidProducerEpoch)
      << "it would end the next transaction";
}

TEST(ProducerState, UnstableOffsetsAgreeWithASlowModel) {
  struct Txn {
    int64_t first;
    int64_t marker;
  };
  std::mt19937_64 rng(7);
  Partition log;
  std::map<int64_t, std::pair<int64_t, int32_t>> open;  // pid: first offset, next sequence
  std::vector<Txn> done;
  int64_t high_watermark = 0;
  for (int step = 0; step < 20000; step++) {
    const int64_t pid = static_cast<int64_t>(rng() % 40);
    const auto at = open.find(pid);
    if (rng() % 3 != 0 || at == open.end()) {
      const ProducerEntry* entry = log.state.Find(pid);
      const int32_t sequence = entry == nullptr ? 0 : entry->LastSequence() + 1;
      const int64_t offset = log.end;
      ASSERT_EQ(log.Append({.pid = pid,
                            .sequence = sequence,
                            .count = 1 + static_cast<int32_t>(rng() % 3),
                            .transactional = true}),
                AppendError::kNone);
      if (at == open.end()) open[pid] = {offset, 0};
    } else {
      const int64_t first = at->second.first;
      int64_t lso = log.end + 1;
      for (const auto& [other, txn] : open) {
        if (other != pid) lso = std::min(lso, txn.first);
      }
      CompletedTxn completed;
      const bool commit = rng() % 2 == 0;
      const int64_t marker = log.end;
      ASSERT_EQ(log.Mark(pid, 0, commit, 0, 0, &completed), AppendError::kNone);
      ASSERT_EQ(completed.first_offset, first);
      ASSERT_EQ(completed.last_stable_offset, lso);
      ASSERT_EQ(completed.aborted, !commit);
      done.push_back({first, marker});
      open.erase(at);
    }
    if (rng() % 5 == 0) {
      high_watermark += static_cast<int64_t>(rng() % static_cast<uint64_t>(log.end - high_watermark + 1));
      log.state.OnHighWatermark(high_watermark);
      std::erase_if(done, [&](const Txn& txn) { return txn.marker < high_watermark; });
    }
    int64_t want = -1;
    for (const auto& [other, txn] : open) want = want < 0 ? txn.first : std::min(want, txn.first);
    ASSERT_EQ(log.state.FirstUndecidedOffset(), want);
    for (const Txn& txn : done) want = want < 0 ? txn.first : std::min(want, txn.first);
    ASSERT_EQ(log.state.FirstUnstableOffset(), want) << step;
  }
}

TEST(ProducerState, TheOldestTransactionHasTheTimestampOfItsLastBatch) {
  Partition log;
  EXPECT_EQ(log.state.OldestTransactionTimestamp(), -1);
  log.Append({.pid = 1, .sequence = 0, .transactional = true, .timestamp = 500});
  log.Append({.pid = 2, .sequence = 0, .transactional = true, .timestamp = 600});
  log.Append({.pid = 1, .sequence = 1, .transactional = true, .timestamp = 700});
  EXPECT_EQ(log.state.OldestTransactionTimestamp(), 700);
}

// --- markers ---

std::vector<uint8_t> MarkerBatch(Bytes key, Bytes value) {
  std::vector<uint8_t> buffer;
  BatchBuilder builder(&buffer);
  BatchMetadata metadata;
  metadata.is_transactional = true;
  metadata.is_control = true;
  metadata.producer_id = 1;
  metadata.producer_epoch = 0;
  builder.Begin(metadata);
  builder.Append(1234, NullableBytes::Of(key), NullableBytes::Of(value));
  const MutableBytes batch = builder.Finish();
  return {batch.begin(), batch.end()};
}

TEST(ProducerState, ReadsMarkersAndNothingElseAsMarkers) {
  const std::vector<uint8_t> value = {0, 0, 0, 0, 0, 42};
  auto marker = ParseEndTransactionMarker(MarkerBatch(std::vector<uint8_t>{0, 0, 0, 1}, value));
  ASSERT_TRUE(marker.has_value());
  EXPECT_TRUE(marker->commit);
  EXPECT_EQ(marker->coordinator_epoch, 42);
  EXPECT_EQ(marker->timestamp, 1234);
  marker = ParseEndTransactionMarker(MarkerBatch(std::vector<uint8_t>{0, 0, 0, 0}, value));
  ASSERT_TRUE(marker.has_value());
  EXPECT_FALSE(marker->commit);
  const std::vector<uint8_t> newer = {0, 1, 0, 0, 0, 42, 9, 9};
  EXPECT_TRUE(ParseEndTransactionMarker(MarkerBatch(std::vector<uint8_t>{0, 1, 0, 1, 7}, newer)).has_value());
  EXPECT_FALSE(ParseEndTransactionMarker(MarkerBatch(std::vector<uint8_t>{0, 0, 0, 2}, value)).has_value())
      << "LeaderChange";
  EXPECT_FALSE(ParseEndTransactionMarker(MarkerBatch(std::vector<uint8_t>{0, 0, 0}, value)).has_value());
  EXPECT_FALSE(ParseEndTransactionMarker(MarkerBatch(std::vector<uint8_t>{0, 0, 0, 1}, Bytes(value).first(5)))
                   .has_value());
  EXPECT_FALSE(ParseEndTransactionMarker({}).has_value());
  const std::vector<uint8_t> batch = MarkerBatch(std::vector<uint8_t>{0, 0, 0, 1}, value);
  for (size_t size = 0; size < batch.size(); size++) {
    EXPECT_FALSE(ParseEndTransactionMarker(Bytes(batch).first(size)).has_value()) << size;
  }
  std::vector<uint8_t> data = batch;
  data[kAttributesPosition + 1] &= static_cast<uint8_t>(~kControlBit);
  EXPECT_FALSE(ParseEndTransactionMarker(data).has_value()) << "a data batch";
}

TEST(ProducerState, AControlBatchEmptiedByCompactionChangesNothing) {
  Partition log;
  log.Append({.sequence = 0, .transactional = true});
  const BatchHeader header = Header({.transactional = true, .control = true});
  EXPECT_FALSE(log.state.Update(log.state.CheckAppend(header, AppendOrigin::kReplica), header, 1));
  EXPECT_TRUE(log.state.HasOpenTransaction(1, 0));
  EXPECT_EQ(log.state.map_end_offset(), 2);
}

// --- expiry and the map ---

TEST(ProducerState, ProducersWithoutAnOpenTransactionExpire) {
  Partition log;
  for (int64_t pid = 0; pid < 1000; pid++) {
    log.Append({.pid = pid, .sequence = 0, .transactional = pid % 10 == 0, .timestamp = 1000 + pid});
  }
  EXPECT_EQ(log.state.RemoveExpired(1099, 100), 0u);
  EXPECT_EQ(log.state.RemoveExpired(1100, 100), 0u) << "producer 0 has a transaction open";
  EXPECT_EQ(log.state.RemoveExpired(1101, 100), 1u);
  EXPECT_EQ(log.state.Find(1), nullptr);
  EXPECT_EQ(log.state.RemoveExpired(1600, 100), 449u);
  for (int64_t pid = 0; pid < 1000; pid++) {
    EXPECT_EQ(log.state.Find(pid) != nullptr, pid > 500 || pid % 10 == 0) << pid;
  }
  EXPECT_EQ(log.Append({.pid = 7, .sequence = 55}), AppendError::kNone) << "forgotten: may start anywhere";
  EXPECT_EQ(log.Append({.pid = 990, .sequence = 5, .transactional = true}), AppendError::kOutOfOrderSequence);
  EXPECT_EQ(log.state.producer_count(), 551u);
  EXPECT_GT(log.state.RemoveExpired(kForever, 0), 0u);
  EXPECT_EQ(log.state.producer_count(), 100u);
}

TEST(ProducerState, ATableOfManyProducersFindsEachOfThem) {
  Partition log;
  std::mt19937_64 rng(8);
  std::vector<int64_t> pids;
  for (int i = 0; i < 20000; i++) {
    // Blocks of ids as brokers hand them out, and ids that agree in their low bits.
    pids.push_back(i % 2 == 0 ? i : static_cast<int64_t>(rng() >> 1) & ~int64_t{0xffffff});
  }
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  for (const int64_t pid : pids) ASSERT_EQ(log.Append({.pid = pid, .sequence = 3}), AppendError::kNone);
  for (const int64_t pid : pids) ASSERT_EQ(log.state.Find(pid)->producer_id, pid);
  EXPECT_EQ(log.state.producer_count(), pids.size());
}

TEST(ProducerState, BatchesWithoutAProducerOnlyMoveTheEnd) {
  ProducerState state;
  BatchHeader header = Header({.pid = kNoProducerId, .epoch = -1, .sequence = -1, .count = 7});
  header.base_offset = 50;
  CompletedTxn completed;
  EXPECT_FALSE(state.Replay(header, nullptr, &completed));
  EXPECT_EQ(state.map_end_offset(), 57);
  EXPECT_TRUE(state.IsEmpty());
}

// --- snapshots ---

TEST(ProducerState, ASnapshotKeepsTheLastBatchAndTheTransactionOfEachProducer) {
  Partition log;
  for (int32_t i = 0; i < 7; i++)
    log.Append({.pid = 1, .epoch = 2, .sequence = i * 2, .count = 2, .timestamp = 100 + i});
  log.Append({.pid = 2, .sequence = 5, .count = 3, .transactional = true, .timestamp = 300});
  log.Mark(3, 9, true, 12);
  const std::vector<uint8_t> bytes = log.state.EncodeSnapshot();
  ProducerState loaded;
  ASSERT_TRUE(loaded.LoadSnapshot(bytes, log.end, 400, kForever).ok());
  EXPECT_EQ(loaded.map_end_offset(), log.end);
  EXPECT_EQ(loaded.producer_count(), 3u);
  EXPECT_EQ(loaded.Find(1)->batch_count, 1);
  EXPECT_EQ(loaded.Find(1)->BatchFromNewest(0), log.state.Find(1)->BatchFromNewest(0));
  EXPECT_EQ(loaded.Find(3)->coordinator_epoch, 12);
  EXPECT_EQ(loaded.Find(3)->batch_count, 0);
  EXPECT_EQ(loaded.FirstUnstableOffset(), 14);
  EXPECT_TRUE(loaded.HasOpenTransaction(2, 0));
  EXPECT_EQ(loaded.EncodeSnapshot(), bytes);
  EXPECT_TRUE(
      loaded.CheckAppend(Header({.pid = 1, .epoch = 2, .sequence = 12, .count = 2}), AppendOrigin::kClient)
          .duplicate);
  EXPECT_EQ(
      loaded.CheckAppend(Header({.pid = 1, .epoch = 2, .sequence = 10, .count = 2}), AppendOrigin::kClient)
          .error,
      AppendError::kOutOfOrderSequence);
  EXPECT_EQ(loaded.CheckAppend(Header({.pid = 1, .epoch = 2, .sequence = 14}), AppendOrigin::kClient).error,
            AppendError::kNone);
}

TEST(ProducerState, LoadingLeavesOutExpiredProducersButNotTheirTransactions) {
  Partition log;
  log.Append({.pid = 1, .sequence = 0, .timestamp = 100});
  log.Append({.pid = 2, .sequence = 0, .transactional = true, .timestamp = 100});
  log.Append({.pid = 3, .sequence = 0, .timestamp = 900});
  ProducerState loaded;
  ASSERT_TRUE(loaded.LoadSnapshot(log.state.EncodeSnapshot(), 3, 1000, 500).ok());
  EXPECT_EQ(loaded.Find(1), nullptr);
  EXPECT_NE(loaded.Find(2), nullptr);
  EXPECT_NE(loaded.Find(3), nullptr);
}

TEST(ProducerState, EveryFlippedBitAndEveryCutOfASnapshotIsFound) {
  Partition log;
  for (int64_t pid = 0; pid < 5; pid++) log.Append({.pid = pid, .sequence = 0, .transactional = pid == 3});
  std::vector<uint8_t> bytes = log.state.EncodeSnapshot();
  ProducerState loaded;
  for (size_t position = 0; position < bytes.size(); position++) {
    for (int bit = 0; bit < 8; bit++) {
      bytes[position] ^= static_cast<uint8_t>(1 << bit);
      ASSERT_EQ(loaded.LoadSnapshot(bytes, 5, 0, kForever).code(), Code::kCorrupt) << position;
      ASSERT_TRUE(loaded.IsEmpty());
      bytes[position] ^= static_cast<uint8_t>(1 << bit);
    }
    ASSERT_EQ(loaded.LoadSnapshot(Bytes(bytes).first(position), 5, 0, kForever).code(), Code::kCorrupt)
        << position;
  }
  bytes.push_back(0);
  EXPECT_EQ(loaded.LoadSnapshot(bytes, 5, 0, kForever).code(), Code::kCorrupt);
  bytes.pop_back();
  // A count without entries, with a CRC that fits: nothing is reserved for it.
  std::vector<uint8_t> hostile(kProducerSnapshotHeaderBytes);
  StoreU16(hostile.data(), 1);
  StoreU32(&hostile[6], 0xffffffff);
  StoreU32(&hostile[2], Crc32c(0, Bytes(hostile).subspan(6)));
  EXPECT_EQ(loaded.LoadSnapshot(hostile, 5, 0, kForever).code(), Code::kCorrupt);
  EXPECT_TRUE(loaded.LoadSnapshot(bytes, 5, 0, kForever).ok());
}

// --- against what Kafka wrote ---

struct Rebuilt {
  std::vector<uint8_t> index;
  std::vector<uint8_t> time_index;
  std::vector<uint8_t> txn_index;
};

/// What varve makes of a .log file that Kafka wrote.
Rebuilt Rebuild(ProducerState* state, std::string_view log_hex, int64_t base_offset, uint32_t interval_bytes,
                bool closing) {
  const std::vector<uint8_t> bytes = FromHex(log_hex);
  OffsetIndex index(base_offset, 1024);
  TimeIndex time_index(base_offset, 1024);
  TxnIndex txn_index(base_offset);
  TimeIndexEntry max_timestamp{-1, base_offset};
  size_t bytes_since_entry = 0;
  for (size_t position = 0; position < bytes.size();) {
    BatchHeader header;
    const Bytes rest = Bytes(bytes).subspan(position);
    EXPECT_EQ(ParseBatchHeader(rest, &header), BatchError::kOk);
    const Bytes batch = rest.first(header.SizeBytes());
    EXPECT_TRUE(VerifyCrc(batch));
    if (header.max_timestamp > max_timestamp.timestamp)
      max_timestamp = {header.max_timestamp, header.LastOffset()};
    if (bytes_since_entry > interval_bytes) {
      EXPECT_TRUE(index.Append(header.LastOffset(), static_cast<uint32_t>(position)));
      time_index.MaybeAppend(max_timestamp.timestamp, max_timestamp.offset);
      bytes_since_entry = 0;
    }
    bytes_since_entry += batch.size();
    const std::optional<EndTransactionMarker> marker = ParseEndTransactionMarker(batch);
    CompletedTxn completed;
    if (state->Replay(header, marker ? &*marker : nullptr, &completed) && completed.aborted) {
      EXPECT_TRUE(txn_index
                      .Append(AbortedTxn{completed.producer_id, completed.first_offset, completed.last_offset,
                                         completed.last_stable_offset})
                      .ok());
    }
    position += batch.size();
  }
  if (closing) time_index.MaybeAppend(max_timestamp.timestamp, max_timestamp.offset, true);
  return {index.Encode(), time_index.Encode(), txn_index.Encode()};
}

TEST(ProducerState, ReplayingALogThatKafkaWroteGivesTheFilesThatKafkaWrote) {
  ProducerState state;
  Rebuilt rebuilt = Rebuild(&state, kafka_golden::kSegment0Log, 0, 300, true);
  EXPECT_EQ(rebuilt.index, FromHex(kafka_golden::kSegment0Index));
  EXPECT_EQ(rebuilt.time_index, FromHex(kafka_golden::kSegment0TimeIndex));
  EXPECT_TRUE(rebuilt.txn_index.empty());
  EXPECT_EQ(state.map_end_offset(), 22);
  EXPECT_EQ(state.EncodeSnapshot(), FromHex(kafka_golden::kSnapshot22));
  EXPECT_EQ(state.FirstUnstableOffset(), 18);

  // From its own snapshot on, as after a restart.
  ASSERT_TRUE(state.LoadSnapshot(FromHex(kafka_golden::kSnapshot22), 22, 0, kForever).ok());
  rebuilt = Rebuild(&state, kafka_golden::kSegment22Log, 22, 300, true);
  EXPECT_EQ(rebuilt.index, FromHex(kafka_golden::kSegment22Index));
  EXPECT_EQ(rebuilt.time_index, FromHex(kafka_golden::kSegment22TimeIndex));
  EXPECT_EQ(rebuilt.txn_index, FromHex(kafka_golden::kSegment22TxnIndex));
  EXPECT_EQ(state.map_end_offset(), 42);
  EXPECT_EQ(state.EncodeSnapshot(), FromHex(kafka_golden::kSnapshot42));
  EXPECT_EQ(state.FirstUndecidedOffset(), 32);
  EXPECT_EQ(state.FirstUnstableOffset(), 18) << "nothing above the snapshot is known to be replicated";
  state.OnHighWatermark(42);
  EXPECT_EQ(state.FirstUnstableOffset(), 32);
}

// --- snapshot files ---

class SnapshotsTest : public ::testing::Test {
 protected:
  SnapshotsTest() {
    EXPECT_TRUE(vfs->CreateDirectories("/p").ok());
    snapshots = std::make_unique<ProducerSnapshots>(vfs.get(), "/p");
  }
  void Take(std::initializer_list<int64_t> offsets) {
    for (const int64_t offset : offsets) {
      Partition log;
      log.Append({.pid = offset, .sequence = 1});
      ASSERT_TRUE(snapshots->Write(offset, log.state.EncodeSnapshot(), true).ok());
    }
  }
  std::vector<int64_t> Rescan() {
    ProducerSnapshots fresh(vfs.get(), "/p");
    fresh.Scan(*vfs->List("/p"));
    return fresh.offsets();
  }

  std::shared_ptr<MemoryVfs> vfs = MakeMemoryVfs(false);
  std::unique_ptr<ProducerSnapshots> snapshots;
};

using Offsets = std::vector<int64_t>;

TEST_F(SnapshotsTest, AreFoundAgainByName) {
  Take({100, 5, 70});
  ASSERT_TRUE(vfs->WriteFile("/p/00000000000000000070.log", {}, false).ok());
  ASSERT_TRUE(vfs->WriteFile("/p/70.snapshot", {}, false).ok());
  ASSERT_TRUE(vfs->WriteFile("/p/00000000000000000071.snapshot.deleted", {}, false).ok());
  EXPECT_EQ(snapshots->offsets(), (Offsets{5, 70, 100}));
  EXPECT_EQ(Rescan(), (Offsets{5, 70, 100}));
  EXPECT_EQ(snapshots->LatestOffset(), 100);
  EXPECT_TRUE(vfs->Exists("/p/00000000000000000005.snapshot"));
}

TEST_F(SnapshotsTest, ReloadTakesTheNewestWithinTheLogAndDropsTheRest) {
  Take({10, 20, 30, 40});
  ProducerState state;
  ASSERT_TRUE(snapshots->TruncateAndReload(&state, 10, 35, 0, kForever).ok());
  EXPECT_EQ(state.map_end_offset(), 30);
  EXPECT_NE(state.Find(30), nullptr);
  EXPECT_EQ(state.producer_count(), 1u);
  EXPECT_EQ(Rescan(), (Offsets{20, 30}));
}

TEST_F(SnapshotsTest, ReloadFallsBackOverDamagedOnes) {
  Take({10, 20, 30});
  ASSERT_TRUE(vfs->Corrupt("/p/00000000000000000030.snapshot", 12, std::vector<uint8_t>{0x99}).ok());
  ProducerState state;
  ASSERT_TRUE(snapshots->TruncateAndReload(&state, 0, 35, 0, kForever).ok());
  EXPECT_EQ(state.map_end_offset(), 20);
  EXPECT_NE(state.Find(20), nullptr);
  EXPECT_EQ(Rescan(), (Offsets{10, 20}));
}

TEST_F(SnapshotsTest, ReloadWithoutAnyStandsAtTheLogStart) {
  Take({50});
  ProducerState state;
  state.SetMapEndOffset(77);
  ASSERT_TRUE(snapshots->TruncateAndReload(&state, 8, 40, 0, kForever).ok());
  EXPECT_EQ(state.map_end_offset(), 8);
  EXPECT_TRUE(state.IsEmpty());
  EXPECT_TRUE(Rescan().empty());
}

TEST_F(SnapshotsTest, ReloadKeepsAStateThatStandsAtTheLogEnd) {
  Partition log;
  log.Append({.pid = 1, .sequence = 0, .count = 40});
  Take({10, 20});
  ASSERT_TRUE(snapshots->TruncateAndReload(&log.state, 15, 40, 0, kForever).ok());
  EXPECT_NE(log.state.Find(1), nullptr);
  EXPECT_EQ(log.state.map_end_offset(), 40);
  EXPECT_EQ(Rescan(), (Offsets{20}));
}

TEST_F(SnapshotsTest, ADiskThatFailsIsNotTakenForDamage) {
  Take({10, 20});
  vfs->SetFault([](MemoryVfs::Call call, const std::string&) {
    return call == MemoryVfs::Call::kRead ? Status(Code::kIo, "bad sector") : Status::Ok();
  });
  ProducerState state;
  EXPECT_EQ(snapshots->TruncateAndReload(&state, 0, 35, 0, kForever).code(), Code::kIo);
  vfs->SetFault(nullptr);
  EXPECT_EQ(Rescan(), (Offsets{10, 20}));
}

TEST_F(SnapshotsTest, StraySnapshotsGoButForTheOneOfACleanStop) {
  Take({5, 10, 15, 20, 25, 30});
  const std::vector<int64_t> base_offsets = {0, 10, 20};
  ASSERT_TRUE(snapshots->RemoveStray(base_offsets).ok());
  EXPECT_EQ(Rescan(), (Offsets{10, 20, 30}));
  ASSERT_TRUE(snapshots->Delete(30).ok());
  Take({15});
  ASSERT_TRUE(snapshots->RemoveStray(base_offsets).ok());
  EXPECT_EQ(Rescan(), (Offsets{10, 20}));
}

TEST_F(SnapshotsTest, OldOnesAreDeletedAndADeletedFileIsNotMissed) {
  Take({5, 10, 15});
  ASSERT_TRUE(vfs->Remove("/p/00000000000000000005.snapshot").ok());
  ASSERT_TRUE(snapshots->DeleteBefore(15).ok());
  EXPECT_EQ(snapshots->offsets(), (Offsets{15}));
  ASSERT_TRUE(snapshots->DeleteAll().ok());
  EXPECT_TRUE(Rescan().empty());
  EXPECT_EQ(snapshots->LatestOffset(), -1);
}

}  // namespace
}  // namespace varve
