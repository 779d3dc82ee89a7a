// SPDX-License-Identifier: Apache-2.0
// What the engine's tests share: batches with checkable contents, an engine on a Vfs, and a model of what a
// log must hold.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/record_batch.h"
#include "core/vfs_memory.h"

namespace varve {

inline Bytes BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// A batch of `records` records, each value `value_bytes` long and derived from `seed`.
inline std::vector<uint8_t> MakeBatch(int records, size_t value_bytes, uint64_t seed,
                                      int64_t timestamp = 1000, const BatchMetadata& metadata = {}) {
  std::vector<uint8_t> buffer;
  BatchBuilder builder(&buffer);
  builder.Begin(metadata);
  std::mt19937_64 random(seed);
  std::vector<uint8_t> value(value_bytes);
  for (int i = 0; i < records; ++i) {
    for (uint8_t& byte : value) byte = static_cast<uint8_t>(random());
    builder.Append(timestamp + i, NullableBytes{}, NullableBytes::Of(value));
  }
  const MutableBytes batch = builder.Finish();
  return {batch.begin(), batch.end()};
}

/// One batch as a log must hold it: base offset and epoch apart, its bytes are those appended.
struct ModelBatch {
  int64_t base_offset = 0;
  int64_t next_offset = 0;
  std::vector<uint8_t> bytes;
};

/// Whether a stored batch is the model's: everything behind the leader epoch is untouched.
inline void ExpectSameBatch(const ModelBatch& model, Bytes stored) {
  BatchHeader header;
  ASSERT_EQ(ParseBatchHeader(stored, &header), BatchError::kOk);
  EXPECT_EQ(header.base_offset, model.base_offset);
  ASSERT_EQ(header.SizeBytes(), model.bytes.size());
  EXPECT_TRUE(VerifyCrc(stored.first(header.SizeBytes())));
  EXPECT_EQ(std::memcmp(stored.data() + kMagicPosition, model.bytes.data() + kMagicPosition,
                        model.bytes.size() - kMagicPosition),
            0);
}

/// Reads everything in [from, bound) batch by batch. Each slice must be whole batches with right CRCs and
/// rising offsets.
inline Status ReadAll(Log& log, int64_t from, const LogPosition& bound, std::vector<ModelBatch>* out,
                      uint32_t max_bytes = 1 << 20) {
  int64_t offset = from;
  while (offset < bound.offset) {
    LogSlice slice;
    ReadOptions options;
    options.max_bytes = max_bytes;
    options.whole_batches = true;
    VARVE_TRY(log.Read(offset, bound, options, &slice));
    if (slice.bytes == 0) return Status(Code::kNotFound, "nothing at offset " + std::to_string(offset));
    Bytes rest{slice.data(), slice.bytes};
    while (!rest.empty()) {
      BatchHeader header;
      EXPECT_EQ(ParseBatchHeader(rest, &header), BatchError::kOk);
      EXPECT_LE(header.SizeBytes(), rest.size());
      if (header.SizeBytes() > rest.size()) return Status(Code::kCorrupt, "a batch runs past its slice");
      const Bytes batch = rest.first(header.SizeBytes());
      EXPECT_TRUE(VerifyCrc(batch)) << "a batch with a bad CRC was served";
      EXPECT_GE(header.LastOffset(), offset);
      out->push_back({header.base_offset, header.NextOffset(), {batch.begin(), batch.end()}});
      offset = header.NextOffset();
      rest = rest.subspan(batch.size());
    }
  }
  return Status::Ok();
}

class EngineFixture : public ::testing::Test {
 protected:
  static constexpr int64_t kNow = 1'700'000'000'000;

  EngineOptions Options() {
    EngineOptions options;
    options.directories = {"/data"};
    options.vfs = vfs_;
    options.executor = executor_;
    options.defaults = config_;
    return options;
  }
  std::shared_ptr<Engine> Open() {
    Result<std::shared_ptr<Engine>> engine = Engine::Open(Options());
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? *engine : nullptr;
  }
  std::shared_ptr<Log> OpenLog(Engine& engine, const std::string& topic = "orders", int32_t partition = 0) {
    Result<std::shared_ptr<Log>> log = engine.OpenLog({topic, partition}, config_);
    EXPECT_TRUE(log.ok()) << log.status().message();
    return log.ok() ? *log : nullptr;
  }
  static AppendResult Append(Log& log, Bytes batch, int32_t epoch = 0, int64_t now_ms = kNow,
                             AppendOrigin origin = AppendOrigin::kClient) {
    std::lock_guard<std::mutex> lock(log.append_mutex());
    return log.Append(batch, origin, epoch, now_ms);
  }
  /// Runs all background work that is due.
  void Settle() {
    while (executor_->Step(now_ms_)) {
    }
  }
  Status Flush(Log& log) {
    Status result(Code::kInvalid, "the flush did not end");
    log.Flush([&result](Status status) { result = std::move(status); });
    Settle();
    return result;
  }

  std::shared_ptr<MemoryVfs> vfs_ = MakeMemoryVfs(false);
  std::shared_ptr<InlineExecutor> executor_ = MakeInlineExecutor();
  LogConfig config_;
  int64_t now_ms_ = 0;
};

}  // namespace varve
