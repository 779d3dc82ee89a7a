// SPDX-License-Identifier: Apache-2.0
// For tests of the plane: a broker's worth of it over memory, stepped by hand; requests in any version, and
// their responses read back.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/record_batch.h"
#include "core/vfs_memory.h"
#include "plane/connection.h"
#include "plane/loop.h"
#include "plane/partition.h"
#include "plane/plane.h"
#include "plane/wire.h"
#include "test/batch_fixtures.h"

// Specs are written with the fields that matter to a test, and no others.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace varve::test {

inline constexpr TopicId kTopicId = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

/// Grows as needed; the test's own encoder, so that the plane's is checked against something else.
class FrameWriter {
 public:
  explicit FrameWriter(bool flexible = false) : flexible_(flexible) {}
  FrameWriter& I8(int v) { return Put(v, 1); }
  FrameWriter& I16(int v) { return Put(v, 2); }
  FrameWriter& I32(int64_t v) { return Put(v, 4); }
  FrameWriter& I64(int64_t v) { return Put(v, 8); }
  FrameWriter& Var(uint32_t v) {
    AddUnsigned(&bytes_, v);
    return *this;
  }
  FrameWriter& Str(std::string_view s) {
    flexible_ ? Var(static_cast<uint32_t>(s.size() + 1)) : I16(static_cast<int>(s.size()));
    return Raw(AsBytes(s));
  }
  FrameWriter& NullStr() { return flexible_ ? Var(0) : I16(-1); }
  FrameWriter& Count(int n) { return flexible_ ? Var(static_cast<uint32_t>(n + 1)) : I32(n); }
  FrameWriter& Records(Bytes b) {
    flexible_ ? Var(static_cast<uint32_t>(b.size() + 1)) : I32(static_cast<int64_t>(b.size()));
    return Raw(b);
  }
  FrameWriter& NullRecords() { return flexible_ ? Var(0) : I32(-1); }
  FrameWriter& Id(const TopicId& id) { return Raw(id); }
  FrameWriter& Tags() { return flexible_ ? Var(0) : *this; }
  FrameWriter& Raw(Bytes b) {
    Add(&bytes_, b);
    return *this;
  }
  /// Header v1, or v2 when flexible.
  FrameWriter& Header(int api_key, int version, int32_t correlation_id) {
    I16(api_key).I16(version).I32(correlation_id).I16(4).Raw(AsBytes("test"));
    return Tags();
  }
  /// With its size field in front.
  Buffer Frame() const {
    Buffer frame;
    AddBe32(&frame, static_cast<uint32_t>(bytes_.size()));
    Add(&frame, bytes_);
    return frame;
  }

 private:
  FrameWriter& Put(int64_t v, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) bytes_.push_back(static_cast<uint8_t>(v >> (8 * i)));
    return *this;
  }
  bool flexible_;
  Buffer bytes_;
};

// --- batches
// ---------------------------------------------------------------------------------------------------------

struct BatchSpec {
  int32_t records = 1;
  size_t value_bytes = 5;
  int64_t producer_id = -1;
  int16_t producer_epoch = 0;
  int32_t sequence = 0;
  bool transactional = false;
  int64_t timestamp = kNow;
};

inline Buffer MakeBatch(const BatchSpec& spec = {}) {
  BatchHeader header = HeaderFor(spec.records);
  header.base_timestamp = header.max_timestamp = spec.timestamp;
  if (spec.producer_id >= 0) {
    header.producer_id = spec.producer_id;
    header.producer_epoch = spec.producer_epoch;
    header.base_sequence = spec.sequence;
  }
  if (spec.transactional) header.attributes |= kTransactionalBit;
  const std::string value(spec.value_bytes, 'v');
  Buffer body;
  for (int32_t i = 0; i < spec.records; ++i) {
    TestRecord record;
    record.offset_delta = i;
    record.value = Text(value);
    record.AddTo(&body);
  }
  return BatchOf(header, body);
}

// --- requests
// --------------------------------------------------------------------------------------------------------

struct ProducePart {
  int32_t index;
  Buffer records;
};

struct ProduceSpec {
  int version = 9;
  int32_t correlation_id = 1;
  int16_t acks = 1;
  int32_t timeout_ms = 1000;
  std::string transactional_id;  // empty: null
  std::string topic = "t";
  TopicId id = kTopicId;
  std::vector<ProducePart> parts = {{0, MakeBatch()}};
};

inline Buffer ProduceFrame(const ProduceSpec& spec) {
  FrameWriter w(spec.version >= 9);
  w.Header(0, spec.version, spec.correlation_id);
  spec.transactional_id.empty() ? w.NullStr() : w.Str(spec.transactional_id);
  w.I16(spec.acks).I32(spec.timeout_ms).Count(1);
  spec.version >= 13 ? w.Id(spec.id) : w.Str(spec.topic);
  w.Count(static_cast<int>(spec.parts.size()));
  for (const ProducePart& part : spec.parts) w.I32(part.index).Records(part.records).Tags();
  return w.Tags().Tags().Frame();
}

struct FetchPart {
  int32_t index = 0;
  int64_t offset = 0;
  int32_t max_bytes = 1 << 20;
  int32_t leader_epoch = -1;
  int32_t last_fetched_epoch = -1;
};

struct FetchSpec {
  int version = 12;
  int32_t correlation_id = 1;
  int32_t replica_id = -1;
  int32_t max_wait_ms = 500;
  int32_t min_bytes = 1;
  int32_t max_bytes = 50 << 20;
  int isolation_level = 0;
  int32_t session_id = 0;
  int32_t session_epoch = -1;
  std::string topic = "t";
  TopicId id = kTopicId;
  std::vector<FetchPart> parts = {{}};
  bool no_topics = false;
};

inline Buffer FetchFrame(const FetchSpec& spec) {
  const int v = spec.version;
  FrameWriter w(v >= 12);
  w.Header(1, v, spec.correlation_id);
  if (v < 15) w.I32(spec.replica_id);
  w.I32(spec.max_wait_ms).I32(spec.min_bytes).I32(spec.max_bytes).I8(spec.isolation_level);
  if (v >= 7) w.I32(spec.session_id).I32(spec.session_epoch);
  w.Count(spec.no_topics ? 0 : 1);
  if (!spec.no_topics) {
    v >= 13 ? w.Id(spec.id) : w.Str(spec.topic);
    w.Count(static_cast<int>(spec.parts.size()));
    for (const FetchPart& part : spec.parts) {
      w.I32(part.index);
      if (v >= 9) w.I32(part.leader_epoch);
      w.I64(part.offset);
      if (v >= 12) w.I32(part.last_fetched_epoch);
      if (v >= 5) w.I64(-1);
      w.I32(part.max_bytes).Tags();
    }
    w.Tags();
  }
  if (v >= 7) w.Count(0);
  if (v >= 11) w.Str("");
  if (v >= 15 && spec.replica_id >= 0) {
    w.Var(1).Var(1).Var(4 + 8 + 1).I32(spec.replica_id).I64(7).Var(0);
  } else {
    w.Tags();
  }
  return w.Frame();
}

/// A request that the plane only carries: ListGroups 4, say.
inline Buffer OtherFrame(int api_key, int version, int32_t correlation_id) {
  return FrameWriter(false).Header(api_key, version, correlation_id).Frame();
}

// --- responses
// -------------------------------------------------------------------------------------------------------

struct ProducedPart {
  int32_t index;
  int16_t error;
  int64_t base_offset;
  int64_t append_time_ms;
  int64_t log_start_offset = -1;
  std::vector<int32_t> failed_records;
  std::string message;
  int32_t leader_id = -1;
  int32_t leader_epoch = -1;
};
struct Produced {
  int32_t correlation_id = -1;
  std::string topic;
  TopicId id{};
  std::vector<ProducedPart> parts;
};

inline Produced ReadProduced(Bytes frame, int version) {
  Produced out;
  WireReader r(frame.subspan(4), version >= 9);
  EXPECT_EQ(LoadU32(frame.data()), frame.size() - 4);
  out.correlation_id = r.Int32();
  r.SkipTaggedFields();
  const uint32_t topics = r.ArrayCount(1);
  for (uint32_t t = 0; t < topics; ++t) {
    if (version >= 13)
      out.id = r.Uuid();
    else
      out.topic = std::string(r.String());
    const uint32_t parts = r.ArrayCount(1);
    for (uint32_t p = 0; p < parts; ++p) {
      ProducedPart part{};
      part.leader_id = part.leader_epoch = part.log_start_offset = -1;
      part.index = r.Int32();
      part.error = r.Int16();
      part.base_offset = r.Int64();
      part.append_time_ms = r.Int64();
      if (version >= 5) part.log_start_offset = r.Int64();
      if (version >= 8) {
        bool null = false;
        const uint32_t errors = r.ArrayCount(1);
        for (uint32_t e = 0; e < errors; ++e) {
          part.failed_records.push_back(r.Int32());
          r.NullableString(&null);
          r.SkipTaggedFields();
        }
        part.message = std::string(r.NullableString(&null));
      }
      r.TaggedFields([&](uint32_t tag, WireReader& field) {
        EXPECT_EQ(tag, 0u);
        part.leader_id = field.Int32();
        part.leader_epoch = field.Int32();
        field.SkipTaggedFields();
        EXPECT_EQ(field.remaining(), 0u);
      });
      out.parts.push_back(part);
    }
    r.SkipTaggedFields();
  }
  EXPECT_EQ(r.Int32(), 0);
  r.SkipTaggedFields();
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.remaining(), 0u);
  return out;
}

struct FetchedPart {
  int32_t index;
  int16_t error;
  int64_t high_watermark;
  int64_t last_stable_offset;
  int64_t log_start_offset = -1;
  bool aborted_null = false;
  std::vector<AbortedTransaction> aborted;
  Buffer records;
  int32_t diverging_epoch = -1;
  int64_t diverging_end_offset = -1;
  int32_t leader_id = -1;
  int32_t leader_epoch = -1;
};
struct Fetched {
  int32_t correlation_id = -1;
  int16_t error = 0;
  int32_t session_id = 0;
  std::string topic;
  TopicId id{};
  std::vector<FetchedPart> parts;
};

inline Fetched ReadFetched(Bytes frame, int version) {
  Fetched out;
  WireReader r(frame.subspan(4), version >= 12);
  EXPECT_EQ(LoadU32(frame.data()), frame.size() - 4);
  out.correlation_id = r.Int32();
  r.SkipTaggedFields();
  r.Int32();
  if (version >= 7) {
    out.error = r.Int16();
    out.session_id = r.Int32();
  }
  const uint32_t topics = r.ArrayCount(1);
  for (uint32_t t = 0; t < topics; ++t) {
    if (version >= 13)
      out.id = r.Uuid();
    else
      out.topic = std::string(r.String());
    const uint32_t parts = r.ArrayCount(1);
    for (uint32_t p = 0; p < parts; ++p) {
      FetchedPart part{};
      part.leader_id = part.leader_epoch = part.diverging_epoch = -1;
      part.log_start_offset = part.diverging_end_offset = -1;
      part.index = r.Int32();
      part.error = r.Int16();
      part.high_watermark = r.Int64();
      part.last_stable_offset = r.Int64();
      if (version >= 5) part.log_start_offset = r.Int64();
      // A nullable array: not what requests have, so read by hand.
      const int64_t aborted = version >= 12 ? int64_t{r.UnsignedVarint()} - 1 : int64_t{r.Int32()};
      part.aborted_null = aborted == -1;
      for (int64_t a = 0; a < aborted; ++a) {
        const int64_t producer_id = r.Int64();
        part.aborted.push_back({producer_id, r.Int64()});
        r.SkipTaggedFields();
      }
      if (version >= 11) {
        EXPECT_EQ(r.Int32(), -1);
      }
      bool null = false;
      const Bytes records = r.NullableBytes(&null);
      EXPECT_FALSE(null);
      part.records.assign(records.begin(), records.end());
      r.TaggedFields([&](uint32_t tag, WireReader& field) {
        if (tag == 0) {
          part.diverging_epoch = field.Int32();
          part.diverging_end_offset = field.Int64();
        } else {
          EXPECT_EQ(tag, 1u);
          part.leader_id = field.Int32();
          part.leader_epoch = field.Int32();
        }
        field.SkipTaggedFields();
        EXPECT_EQ(field.remaining(), 0u);
      });
      out.parts.push_back(part);
    }
    r.SkipTaggedFields();
  }
  r.SkipTaggedFields();
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.remaining(), 0u);
  return out;
}

/// Base offsets of the whole batches in fetched records.
inline std::vector<int64_t> BaseOffsets(Bytes records) {
  std::vector<int64_t> offsets;
  while (records.size() >= kBatchHeaderBytes) {
    const uint64_t bytes = kBatchPreludeBytes + uint64_t{LoadU32(records.data() + kBatchLengthPosition)};
    if (bytes > records.size()) break;
    EXPECT_TRUE(VerifyCrc(records.first(bytes)));
    offsets.push_back(LoadI64(records.data()));
    records = records.subspan(bytes);
  }
  return offsets;
}

// --- the broker
// ------------------------------------------------------------------------------------------------------

class Bed {
 public:
  explicit Bed(FlushMode flush_mode = FlushMode::kOs, const PlaneOptions& options = {})
      : flush_mode_(flush_mode) {
    vfs = MakeMemoryVfs(false);
    executor = MakeInlineExecutor();
    EngineOptions engine_options;
    engine_options.directories = {"/data"};
    engine_options.vfs = vfs;
    engine_options.executor = executor;
    engine_options.flush_mode = flush_mode;
    auto opened = Engine::Open(engine_options);
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    engine = *opened;
    plane = Plane::Create(engine, options);
    loop = Loop::Create([this] { ++wakes; });
    now = {.mono_ms = 1'000'000, .wall_ms = kNow};
  }
  ~Bed() { engine->Abandon(); }

  std::shared_ptr<Partition> AddPartition(int32_t index, const std::string& topic = "t",
                                          const TopicId& id = kTopicId, const LogConfig& config = {}) {
    if (topics_.insert(topic).second) {
      TopicGrant grant;
      grant.name = topic;
      grant.id = id;
      plane->PublishTopic(grant);
    }
    auto log = engine->OpenLog({topic, index}, config);
    EXPECT_TRUE(log.ok()) << log.status().message();
    auto partition = Partition::Create(*log, flush_mode_);
    partition->ApplyState(Leading(3));
    plane->PublishPartition(topic, index, partition);
    return partition;
  }
  static PartitionState Leading(int32_t epoch) {
    PartitionState state;
    state.is_leader = true;
    state.leader_id = state.local_id = 1;
    state.leader_epoch = epoch;
    state.isr = {1};
    return state;
  }
  static PartitionState Following(int32_t epoch, int32_t leader) {
    PartitionState state = Leading(epoch);
    state.is_leader = false;
    state.leader_id = leader;
    return state;
  }

  std::shared_ptr<Connection> Connect() { return Connection::Create(plane, loop); }

  std::vector<std::shared_ptr<Connection>> Turn() {
    std::vector<std::shared_ptr<Connection>> ready;
    loop->Turn(now, &ready);
    return ready;
  }
  /// Time passes, then a turn.
  std::vector<std::shared_ptr<Connection>> Pass(int64_t ms) {
    now.mono_ms += ms;
    now.wall_ms += ms;
    return Turn();
  }
  /// Lets the engine's helpers work, then a turn.
  std::vector<std::shared_ptr<Connection>> Step() {
    while (executor->Step(now.mono_ms)) {
    }
    return Turn();
  }

  std::shared_ptr<MemoryVfs> vfs;
  std::shared_ptr<InlineExecutor> executor;
  std::shared_ptr<Engine> engine;
  std::shared_ptr<Plane> plane;
  std::shared_ptr<Loop> loop;
  Now now;
  std::atomic<int> wakes{0};

 private:
  const FlushMode flush_mode_;
  std::set<std::string> topics_;
};

/// Everything that is ready to be sent, consumed.
inline Buffer Drain(Connection& connection, Now now) {
  Buffer out;
  std::array<OutputPiece, 3> pieces;
  while (const size_t count = connection.PeekOutput(pieces)) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      Add(&out, {pieces[i].data, pieces[i].bytes});
      bytes += pieces[i].bytes;
      if (pieces[i].segment != nullptr) {
        EXPECT_EQ(pieces[i].data, pieces[i].segment->data() + pieces[i].position);
      }
    }
    connection.ConsumeOutput(bytes, now);
  }
  EXPECT_EQ(connection.flags() & kHasOutput, 0u);
  return out;
}

/// Output cut into frames (with their size fields).
inline std::vector<Buffer> Frames(const Buffer& output) {
  std::vector<Buffer> frames;
  for (size_t at = 0; at + 4 <= output.size();) {
    const size_t bytes = 4 + LoadU32(&output[at]);
    EXPECT_LE(at + bytes, output.size());
    if (at + bytes > output.size()) break;
    frames.emplace_back(output.begin() + static_cast<ptrdiff_t>(at),
                        output.begin() + static_cast<ptrdiff_t>(at + bytes));
    at += bytes;
  }
  return frames;
}
inline std::vector<Buffer> DrainFrames(Connection& connection, Now now) {
  return Frames(Drain(connection, now));
}
inline int32_t CorrelationId(const Buffer& frame) { return LoadI32(&frame[4]); }

}  // namespace varve::test
