// SPDX-License-Identifier: Apache-2.0
// A broker over memory and one hostile client, driven by a fuzzer's input: whole sessions, with time, punts, other clients and the
// control plane in between. The target makes the requests; what must hold whatever they were is checked here:
//   - replies are whole frames, in request order, each to a request that was sent
//   - fetched batches that are whole have a right CRC
//   - after the session nothing is held for the connection, and the broker still serves others
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

#include "core/engine.h"
#include "core/vfs_memory.h"
#include "fuzz/fuzz_input.h"
#include "plane/plane_impl.h"
#include "test/batch_fixtures.h"

namespace varve::fuzz {

using test::Buffer;

#define CHECK(condition) \
  if (!(condition)) std::abort()

/// An encoder of its own, which can be told to lie.
class Writer {
 public:
  explicit Writer(bool flexible) : flexible_(flexible) {}
  Writer& Int(int64_t v, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) bytes_.push_back(static_cast<uint8_t>(v >> (8 * i)));
    return *this;
  }
  Writer& Length(int64_t n, int old_bytes) {
    if (flexible_)
      test::AddUnsigned(&bytes_, static_cast<uint32_t>(n + 1));
    else
      Int(n, old_bytes);
    return *this;
  }
  Writer& Text(std::string_view text) {
    return Length(static_cast<int64_t>(text.size()), 2).Raw(test::AsBytes(text));
  }
  Writer& Count(int64_t n) { return Length(n, 4); }
  Writer& Tags() {
    if (flexible_) bytes_.push_back(0);
    return *this;
  }
  Writer& Raw(Bytes bytes) {
    test::Add(&bytes_, bytes);
    return *this;
  }
  Writer& Header(int16_t api_key, int16_t version, int32_t correlation_id) {
    Int(api_key, 2).Int(version, 2).Int(correlation_id, 4).Int(4, 2).Raw(test::AsBytes("fuzz"));
    return Tags();
  }
  const Buffer& body() const { return bytes_; }

 private:
  bool flexible_;
  Buffer bytes_;
};

inline constexpr TopicId kFuzzTopicId = {7, 7, 7};

class Session {
 public:
  explicit Session(FlushMode flush_mode) : flush_mode_(flush_mode) {
    EngineOptions engine_options;
    engine_options.directories = {"/d"};
    engine_options.vfs = vfs_;
    engine_options.executor = executor_;
    engine_options.flush_mode = flush_mode;
    engine_ = *Engine::Open(engine_options);
    PlaneOptions options;
    options.request_bytes_max = 1 << 20;
    options.output_bytes_max = 1 << 16;
    options.received_bytes_max = 1 << 16;
    options.requests_in_flight_max = 8;
    plane_ = Plane::Create(engine_, options);
    loop_ = Loop::Create([] {});
    for (int32_t i = 0; i < 3; ++i) AddPartition("t", kFuzzTopicId, i);
    AddPartition("canary", {1}, 0);
    Connect();
  }
  ~Session() {
    connection_->Close();
    CHECK(static_cast<PlaneImpl&>(*plane_).received_bytes_held() == 0);
    CHECK(plane_->Counters().connections == 0 && plane_->Counters().parked_fetches == 0);
    CheckCanary();
    connection_ = nullptr;
    engine_->Abandon();
  }

  int32_t NextCorrelationId() { return ++correlation_id_; }
  /// Bytes of the client, in pieces.
  void Send(Bytes bytes, size_t piece_bytes) {
    sent_.insert(sent_.end(), bytes.begin(), bytes.end());
    FindRequests();
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(piece_bytes, bytes.size())))
      connection_->Receive(bytes.first(std::min(piece_bytes, bytes.size())), now_);
  }
  void SendFrame(const Buffer& body, size_t piece_bytes) {
    Buffer frame;
    test::AddBe32(&frame, static_cast<uint32_t>(body.size()));
    test::Add(&frame, body);
    Send(frame, piece_bytes);
  }

  /// Everything but the client's requests.
  void Happen(Input& input) {
    switch (input.Byte() % 10) {
      case 0:
        return AnswerPunts(input.Byte());
      case 1:
        while (executor_->Step(now_.mono_ms)) {
        }
        return Turn();
      case 2:
        now_.mono_ms += input.Byte() * 20;
        return Turn();
      case 3:
        return Consume(1 + input.Number(2));
      case 4: {
        const Buffer body = Writer(false).Header(16, 4, NextCorrelationId()).body();
        return SendFrame(body, 1 << 16);
      }
      case 5:
        return Control(input);
      case 6:
        return ProduceElsewhere(input.Byte() % 3, input.Byte());
      case 7:
        connection_->Close();
        return Connect();
      default: {
        const size_t bytes = input.Byte();
        return Send(input.Take(bytes), 1 + bytes / 2);
      }
    }
  }

 private:
  struct Request {
    int16_t api_key;
    int16_t version;
    int32_t correlation_id;
  };

  void Connect() {
    connection_ = Connection::Create(plane_, loop_);
    sent_.clear();
    sent_at_ = 0;
    requests_.clear();
    received_.clear();
  }

  void AddPartition(const char* topic, const TopicId& id, int32_t index) {
    TopicGrant grant;
    grant.name = topic;
    grant.id = id;
    plane_->PublishTopic(grant);
    LogConfig config;
    config.segment_bytes = 1 << 16;
    auto partition = Partition::Create(*engine_->OpenLog({topic, index}, config), flush_mode_);
    partition->ApplyState(State(true));
    plane_->PublishPartition(topic, index, partition);
    partitions_.push_back(std::move(partition));
  }
  PartitionState State(bool leads) const {
    PartitionState state;
    state.is_leader = leads;
    state.leader_id = leads ? 1 : 2;
    state.local_id = 1;
    state.leader_epoch = epoch_;
    state.isr = {1};
    return state;
  }

  void Control(Input& input) {
    const auto& partition = partitions_[input.Byte() % 3];
    TopicGrant grant;
    grant.name = "t";
    grant.id = kFuzzTopicId;
    switch (input.Byte() % 8) {
      case 0:
        ++epoch_;
        return partition->ApplyState(State(true));
      case 1:
        ++epoch_;
        return partition->ApplyState(State(false));
      case 2:
        plane_->RemoveTopic("t");
        break;
      case 3:
        grant.may_write = false;
        break;
      case 4:
        grant.deadline_mono_ms = now_.mono_ms + 100;
        break;
      case 5: {
        PartitionState state = State(true);
        state.isr = {1, 2};
        return partition->ApplyState(state);
      }
      case 6: {
        LogConfig config;
        config.segment_bytes = 1 << 16;
        config.log_append_time = true;
        config.cleanup_compact = input.Byte() % 2 == 0;
        return partition->SetConfig({}, config);
      }
      default:
        break;
    }
    plane_->PublishTopic(grant);
    for (int32_t i = 0; i < 3; ++i) plane_->PublishPartition("t", i, partitions_[static_cast<size_t>(i)]);
  }

  void ProduceElsewhere(int32_t index, size_t value_bytes) {
    const Buffer value(value_bytes, 'x');
    Buffer body;
    test::TestRecord record;
    record.value = NullableBytes::Of(value);
    record.AddTo(&body);
    partitions_[static_cast<size_t>(index)]->AppendLocal(test::BatchOf(test::HeaderFor(1), body), -1,
                                                         now_.wall_ms, [](const PartitionAppend&) {});
  }

  void Turn() {
    std::vector<std::shared_ptr<Connection>> ready;
    loop_->Turn(now_, &ready);
  }

  void AnswerPunts(uint8_t choice) {
    Punt punt;
    while (connection_->TakePunt(&punt)) {
      CHECK(punt.frame.size() >= 8);
      const bool data = LoadI16(punt.frame.data()) <= 1;
      if (data && choice % 3 != 0) {
        connection_->Retry(punt.slot, now_);
      } else if (data && choice % 2 == 0) {
        connection_->AnswerNothing(punt.slot, now_);
      } else {
        Buffer frame;
        test::AddBe32(&frame, 4);
        test::AddBe32(&frame, LoadU32(&punt.frame[4]));
        connection_->Answer(punt.slot, frame, now_);
      }
      choice = static_cast<uint8_t>(choice * 5 + 1);
    }
  }

  /// The framing of what was sent, as far as it is framing.
  void FindRequests() {
    while (sent_.size() - sent_at_ >= 4) {
      const int64_t bytes = LoadI32(&sent_[sent_at_]);
      if (bytes < 8 || sent_.size() - sent_at_ - 4 < static_cast<size_t>(bytes)) return;
      const uint8_t* frame = &sent_[sent_at_ + 4];
      requests_.push_back({LoadI16(frame), LoadI16(frame + 2), LoadI32(frame + 4)});
      sent_at_ += 4 + static_cast<size_t>(bytes);
    }
  }

  void Consume(size_t bytes_max) {
    std::array<OutputPiece, 5> pieces;
    const size_t count = connection_->PeekOutput(pieces);
    CHECK((count > 0) == ((connection_->flags() & kHasOutput) != 0));
    size_t bytes = 0;
    for (size_t i = 0; i < count && bytes < bytes_max; ++i) {
      const size_t taken = std::min(pieces[i].bytes, bytes_max - bytes);
      CHECK(taken > 0);
      test::Add(&received_, {pieces[i].data, taken});
      bytes += taken;
    }
    connection_->ConsumeOutput(bytes, now_);
    CheckReplies();
  }

  void CheckReplies() {
    while (received_.size() >= 4) {
      const size_t bytes = LoadU32(received_.data());
      CHECK(bytes >= 4 && bytes < (64u << 20));
      if (received_.size() - 4 < bytes) return;
      const Bytes reply = Bytes(received_).subspan(4, bytes);
      const int32_t correlation_id = LoadI32(reply.data());
      // Some requests have no reply; no reply is without a request, or before that of an earlier one.
      while (!requests_.empty() && requests_.front().correlation_id != correlation_id) requests_.pop_front();
      CHECK(!requests_.empty());
      if (requests_.front().api_key == 1 && bytes > 4) CheckFetched(reply, requests_.front().version);
      requests_.pop_front();
      received_.erase(received_.begin(), received_.begin() + static_cast<ptrdiff_t>(4 + bytes));
    }
  }

  void CheckFetched(Bytes reply, int16_t version) {
    WireReader r(reply, version >= kFetchFlexibleVersion);
    r.Int32();
    r.SkipTaggedFields();
    r.Int32();
    if (version >= 7) r.Int16();
    if (version >= 7) CHECK(r.Int32() == 0);
    const uint32_t topics = r.ArrayCount(1);
    for (uint32_t t = 0; t < topics; ++t) {
      if (version >= 13)
        r.Uuid();
      else
        r.String();
      const uint32_t parts = r.ArrayCount(1);
      for (uint32_t p = 0; p < parts; ++p) {
        r.Int32();
        r.Int16();
        const int64_t high_watermark = r.Int64();
        CHECK(r.Int64() <= high_watermark);
        if (version >= 5) CHECK(r.Int64() <= high_watermark);
        const int64_t aborted = r.flexible() ? int64_t{r.UnsignedVarint()} - 1 : int64_t{r.Int32()};
        CHECK(aborted <= 0);
        if (version >= 11) CHECK(r.Int32() == -1);
        bool is_null = false;
        CheckBatches(r.NullableBytes(&is_null), high_watermark);
        CHECK(!is_null);
        r.SkipTaggedFields();
      }
      r.SkipTaggedFields();
    }
    r.SkipTaggedFields();
    CHECK(r.ok() && r.remaining() == 0);
  }
  static void CheckBatches(Bytes records, int64_t high_watermark) {
    BatchHeader header;
    while (ParseBatchHeader(records, &header) == BatchError::kOk && header.SizeBytes() <= records.size()) {
      CHECK(VerifyCrc(records.first(header.SizeBytes())));
      CHECK(header.NextOffset() <= high_watermark);
      records = records.subspan(header.SizeBytes());
    }
  }

  void CheckCanary() {
    connection_ = Connection::Create(plane_, loop_);
    Buffer body;
    test::TestRecord{}.AddTo(&body);
    const Buffer batch = test::BatchOf(test::HeaderFor(1), body);
    Writer w(false);
    w.Header(0, 8, 1).Int(-1, 2).Int(1, 2).Int(1000, 4).Count(1).Text("canary").Count(1).Int(0, 4);
    w.Count(static_cast<int64_t>(batch.size())).Raw(batch);
    Buffer frame;
    test::AddBe32(&frame, static_cast<uint32_t>(w.body().size()));
    test::Add(&frame, w.body());
    connection_->Receive(frame, now_);
    CHECK(connection_->flags() == kHasOutput);
    OutputPiece piece;
    CHECK(connection_->PeekOutput({&piece, 1}) == 1);
    // size, correlation id, topics, name, partitions, index, error code
    CHECK(LoadI16(piece.data + 4 + 4 + 4 + 8 + 4 + 4) == 0);
    connection_->Close();
  }

  const FlushMode flush_mode_;
  const std::shared_ptr<MemoryVfs> vfs_ = MakeMemoryVfs(false);
  const std::shared_ptr<InlineExecutor> executor_ = MakeInlineExecutor();
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Plane> plane_;
  std::shared_ptr<Loop> loop_;
  std::vector<std::shared_ptr<Partition>> partitions_;
  std::shared_ptr<Connection> connection_;
  Now now_{.mono_ms = 1000, .wall_ms = test::kNow};
  int32_t epoch_ = 1;
  int32_t correlation_id_ = 0;
  Buffer sent_;
  size_t sent_at_ = 0;
  std::deque<Request> requests_;
  Buffer received_;
};

/// Runs a session in which every other step is the target's request.
template <typename SendRequest>
void RunSession(const uint8_t* data, size_t size, SendRequest send_request) {
  constexpr int kStepsMax = 200;
  Input input(Bytes(data, size));
  Session session(input.Byte() % 2 == 0 ? FlushMode::kOs : FlushMode::kCommit);
  for (int step = 0; step < kStepsMax && !input.empty(); ++step) {
    if (input.Byte() % 2 == 0)
      send_request(session, input);
    else
      session.Happen(input);
  }
}

}  // namespace varve::fuzz
