// SPDX-License-Identifier: Apache-2.0
#include "binding/plane_binding.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "binding/convert.h"
#include "binding/log_binding.h"

namespace varve::binding {
namespace {

using PlaneClass = HandleClass<PlaneHandle>;
using PartitionClass = HandleClass<PartitionHandle>;
using ConnectionClass = HandleClass<ConnectionHandle>;

/// Pieces up to this size are copied to the scratch buffer: cheaper than a view and an iovec of their own.
constexpr size_t kCopyBytesMax = 4096;
constexpr size_t kPieceNumbers = 3;
constexpr size_t kPiecesMax = 64;
// Between two slices lie the bytes of a partition's head: the windows that one call names are all held until the next.
static_assert(kPiecesMax / 2 <= Windows::kRecentMax);

Now NowOf(const Napi::Value& mono, const Napi::Value& wall) { return {Int(mono), Int(wall)}; }

Status PlaneClosed() { return Status(Code::kClosed, "the plane is closed"); }

Napi::Value Number(Napi::Env env, int64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

Napi::Object AppendedObject(Napi::Env env, const PartitionAppend& appended) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("error", Number(env, static_cast<int16_t>(appended.error)));
  out.Set("baseOffset", Number(env, appended.base_offset));
  out.Set("lastOffset", Number(env, appended.last_offset));
  out.Set("logAppendTimeMs", Number(env, appended.log_append_time_ms));
  out.Set("logStartOffset", Number(env, appended.log_start_offset));
  return out;
}

}  // namespace

// --- plane -----------------------------------------------------------------------------------------------------------

void PlaneHandle::Register(Napi::Env env, EnvState& state) {
  state.plane_class = PlaneClass::Define(env, {
      PlaneClass::Method_<&PlaneHandle::PublishTopic>("publishTopic"),
      PlaneClass::Method_<&PlaneHandle::RemoveTopic>("removeTopic"),
      PlaneClass::Method_<&PlaneHandle::PublishPartition>("publishPartition"),
      PlaneClass::Method_<&PlaneHandle::Connect>("connect"),
      PlaneClass::Method_<&PlaneHandle::Turn>("turn"),
      PlaneClass::Method_<&PlaneHandle::NextDeadlineMs>("nextDeadlineMs"),
      PlaneClass::Method_<&PlaneHandle::Window>("window"),
      PlaneClass::Method_<&PlaneHandle::Counters>("counters"),
      PlaneClass::Method_<&PlaneHandle::Close>("close"),
  });
}

Napi::Value PlaneHandle::Create(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  EngineHandle* engine = HandleClass<EngineHandle>::Unwrap(env, info[0]);
  if (engine == nullptr) return env.Undefined();
  EnvState& state = EnvState::Of(env);
  if (!info[1].IsObject() || !info[2].IsFunction()) {
    Napi::TypeError::New(env, "createPlane takes an engine, options and a function").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Napi::Object object = info[1].As<Napi::Object>();
  PlaneOptions options;
  options.request_bytes_max = static_cast<uint32_t>(Int(object.Get("requestBytesMax")));
  options.output_bytes_max = static_cast<uint64_t>(Int(object.Get("outputBytesMax")));
  options.received_bytes_max = static_cast<uint64_t>(Int(object.Get("receivedBytesMax")));
  options.fetch_bytes_max = static_cast<int32_t>(Int(object.Get("fetchBytesMax")));
  options.frame_deadline_ms = Int(object.Get("frameDeadlineMs"));
  options.write_deadline_ms = Int(object.Get("writeDeadlineMs"));
  options.requests_in_flight_max = static_cast<int32_t>(Int(object.Get("requestsInFlightMax")));
  if (env.IsExceptionPending()) return env.Undefined();
  if (engine->open()->engine == nullptr) return state.Throw(env, Status(Code::kClosed, "the engine is closed"));

  auto shared = std::make_shared<OpenPlane>();
  shared->open = engine->open();
  shared->owner = engine->open()->engine.get();
  shared->flush_mode = engine->open()->engine->options().flush_mode;
  shared->plane = Plane::Create(engine->open()->engine, options);
  auto on_wake = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[2].As<Napi::Function>()));
  on_wake->SuppressDestruct();
  shared->on_wake = on_wake;
  std::shared_ptr<MainQueue> queue = state.queue;
  std::weak_ptr<OpenPlane> weak = shared;
  shared->loop = Loop::Create([queue, weak, on_wake] {
    queue->Post([weak, on_wake](Napi::Env on) {
      std::shared_ptr<OpenPlane> live = weak.lock();
      if (live != nullptr && live->plane != nullptr) on_wake->Call(on.Undefined(), {});
    });
  });
  return PlaneClass::Wrap(env, state.plane_class, std::make_unique<PlaneHandle>(&state, std::move(shared)));
}

PlaneHandle::PlaneHandle(EnvState* state, std::shared_ptr<OpenPlane> shared) : state_(state), shared_(std::move(shared)) {
  state_->planes.insert(this);
}

PlaneHandle::~PlaneHandle() {
  if (shared_->plane != nullptr) state_->planes.erase(this);
}

void OpenPlane::Close() {
  if (plane == nullptr) return;
  for (const std::weak_ptr<Partition>& one : partitions)
    if (std::shared_ptr<Partition> partition = one.lock()) partition->Close(KafkaError::kNotLeaderOrFollower);
  partitions.clear();
  plane = nullptr;
  loop = nullptr;
  on_wake->Reset();
}

void PlaneHandle::CloseNow(Napi::Env) {
  if (shared_->plane == nullptr) return;
  state_->planes.erase(this);
  shared_->Close();
}

bool PlaneHandle::Live(Napi::Env env) {
  if (shared_->plane != nullptr && shared_->open->engine != nullptr) return true;
  state_->Throw(env, PlaneClosed());
  return false;
}

Napi::Value PlaneHandle::PublishTopic(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!CheckObject(info[0], "a topic's grant")) return env.Undefined();
  Napi::Object object = info[0].As<Napi::Object>();
  Napi::Value id_value = object.Get("id");
  MutableBytes id;
  if (id_value.IsEmpty() || !BytesOf(id_value, &id)) return env.Undefined();
  TopicGrant grant;
  if (id.size() != grant.id.size()) return state_->Throw(env, Status(Code::kInvalid, "a topic id has 16 bytes"));
  std::copy(id.begin(), id.end(), grant.id.begin());
  grant.name = Text(object.Get("name"));
  grant.may_write = Bool(object.Get("mayWrite"));
  grant.may_read = Bool(object.Get("mayRead"));
  grant.internal = Bool(object.Get("internal"));
  grant.deadline_mono_ms = Int(object.Get("deadlineMonoMs"));
  if (env.IsExceptionPending() || !Live(env)) return env.Undefined();
  shared_->plane->PublishTopic(grant);
  return env.Undefined();
}

Napi::Value PlaneHandle::RemoveTopic(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  shared_->plane->RemoveTopic(Text(info[0]));
  return info.Env().Undefined();
}

Napi::Value PlaneHandle::PublishPartition(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  LogHandle* log = HandleClass<LogHandle>::Unwrap(env, info[0]);
  if (log == nullptr) return env.Undefined();
  if (log->open() != shared_->open)
    return state_->Throw(env, Status(Code::kInvalid, "the log belongs to another engine than the plane"));
  std::shared_ptr<Partition> partition = Partition::Create(log->log(), shared_->flush_mode);
  const TopicPartition& tp = log->log()->topic_partition();
  shared_->plane->PublishPartition(tp.topic, tp.partition, partition);
  // Topics come and go: as many as are live, and at most as many again that are gone.
  if (shared_->partitions.size() == shared_->partitions.capacity())
    std::erase_if(shared_->partitions, [](const std::weak_ptr<Partition>& one) { return one.expired(); });
  shared_->partitions.push_back(partition);
  return PartitionClass::Wrap(env, state_->partition_class,
                              std::make_unique<PartitionHandle>(state_, shared_, std::move(partition)));
}

Napi::Value PlaneHandle::Connect(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  std::shared_ptr<Connection> connection = Connection::Create(shared_->plane, shared_->loop);
  uint32_t id = shared_->next_id++;
  shared_->ids.emplace(connection.get(), id);
  Napi::Object object = ConnectionClass::Wrap(
      env, state_->connection_class, std::make_unique<ConnectionHandle>(state_, shared_, std::move(connection)));
  if (object.IsEmpty()) return env.Undefined();
  object.Set("id", Napi::Number::New(env, id));
  return object;
}

Napi::Value PlaneHandle::Turn(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  ready_.clear();
  shared_->loop->Turn(NowOf(info[0], info[1]), &ready_);
  Napi::Array ids = Napi::Array::New(env);
  uint32_t count = 0;
  for (const std::shared_ptr<Connection>& connection : ready_) {
    auto found = shared_->ids.find(connection.get());
    if (found != shared_->ids.end()) ids.Set(count++, Napi::Number::New(env, found->second));
  }
  ready_.clear();
  return ids;
}

Napi::Value PlaneHandle::NextDeadlineMs(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Number(info.Env(), shared_->loop->NextDeadlineMs());
}

Napi::Value PlaneHandle::Window(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return state_->windows.Get(info.Env(), static_cast<uint32_t>(Int(info[0])));
}

Napi::Value PlaneHandle::Counters(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  PlaneCounters counters = shared_->plane->Counters();
  Napi::Object out = Napi::Object::New(env);
  auto set = [&](const char* name, uint64_t value) { out.Set(name, Number(env, static_cast<int64_t>(value))); };
  set("receivedBytes", counters.received_bytes);
  set("sentBytes", counters.sent_bytes);
  set("produceRequests", counters.produce_requests);
  set("fetchRequests", counters.fetch_requests);
  set("puntedRequests", counters.punted_requests);
  set("producedBatches", counters.produced_batches);
  set("producedBytes", counters.produced_bytes);
  set("fetchedBytes", counters.fetched_bytes);
  set("parkedFetches", counters.parked_fetches);
  set("trailingBytesRequests", counters.trailing_bytes_requests);
  set("connections", counters.connections);
  return out;
}

Napi::Value PlaneHandle::Close(const Napi::CallbackInfo& info) {
  CloseNow(info.Env());
  return info.Env().Undefined();
}

// --- partition -------------------------------------------------------------------------------------------------------

void PartitionHandle::Register(Napi::Env env, EnvState& state) {
  state.partition_class = PartitionClass::Define(env, {
      PartitionClass::Method_<&PartitionHandle::ApplyState>("applyState"),
      PartitionClass::Method_<&PartitionHandle::SetConfig>("setConfig"),
      PartitionClass::Method_<&PartitionHandle::Info>("info"),
      PartitionClass::Method_<&PartitionHandle::Append>("append"),
      PartitionClass::Method_<&PartitionHandle::Read>("read"),
      PartitionClass::Method_<&PartitionHandle::OffsetForTimestamp>("offsetForTimestamp"),
      PartitionClass::Method_<&PartitionHandle::OffsetOfMaxTimestamp>("offsetOfMaxTimestamp"),
      PartitionClass::Method_<&PartitionHandle::EndOffsetForEpoch>("endOffsetForEpoch"),
      PartitionClass::Method_<&PartitionHandle::EpochForOffset>("epochForOffset"),
      PartitionClass::Method_<&PartitionHandle::AdvanceStartOffset>("advanceStartOffset"),
      PartitionClass::Method_<&PartitionHandle::Close>("close"),
  });
}

PartitionHandle::PartitionHandle(EnvState* state, std::shared_ptr<OpenPlane> shared, std::shared_ptr<Partition> partition)
    : state_(state), shared_(std::move(shared)), partition_(std::move(partition)) {}

bool PartitionHandle::Live(Napi::Env env) {
  if (shared_->plane != nullptr && shared_->open->engine != nullptr) return true;
  partition_.reset();
  state_->Throw(env, PlaneClosed());
  return false;
}

Napi::Value PartitionHandle::ApplyState(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!CheckObject(info[0], "a partition's state")) return env.Undefined();
  Napi::Object object = info[0].As<Napi::Object>();
  PartitionState state;
  state.is_leader = Bool(object.Get("isLeader"));
  state.leader_id = static_cast<int32_t>(Int(object.Get("leaderId")));
  state.leader_epoch = static_cast<int32_t>(Int(object.Get("leaderEpoch")));
  state.local_id = static_cast<int32_t>(Int(object.Get("localId")));
  state.min_insync_replicas = static_cast<int32_t>(Int(object.Get("minInsyncReplicas")));
  Napi::Value isr = object.Get("isr");
  if (isr.IsEmpty()) return env.Undefined();
  if (!isr.IsArray()) {
    Napi::TypeError::New(env, "expected an array of replica ids").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  uint32_t count = isr.As<Napi::Array>().Length();
  for (uint32_t i = 0; i < count && !env.IsExceptionPending(); i++)
    state.isr.push_back(static_cast<int32_t>(Int(isr.As<Napi::Array>().Get(i))));
  if (env.IsExceptionPending() || !Live(env)) return env.Undefined();
  partition_->ApplyState(state);
  return env.Undefined();
}

Napi::Value PartitionHandle::SetConfig(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!CheckObject(info[0], "a partition's settings")) return env.Undefined();
  Napi::Object object = info[0].As<Napi::Object>();
  PartitionConfig config;
  config.max_message_bytes = static_cast<int32_t>(Int(object.Get("maxMessageBytes")));
  config.timestamp_before_max_ms = Int(object.Get("timestampBeforeMaxMs"));
  config.timestamp_after_max_ms = Int(object.Get("timestampAfterMaxMs"));
  config.strict_validation = Bool(object.Get("strictValidation"));
  config.max_decompressed_batch_bytes = static_cast<uint64_t>(Int(object.Get("maxDecompressedBatchBytes")));
  Napi::Value log = object.Get("log");
  LogConfig log_config;
  if (log.IsEmpty() || !LogConfigOf(log, &log_config) || !Live(env)) return env.Undefined();
  partition_->SetConfig(config, log_config);
  return env.Undefined();
}

Napi::Value PartitionHandle::Info(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  double* out = NumbersOf(info[0], 6);
  if (out == nullptr) return env.Undefined();
  PartitionInfo now = partition_->Info();
  out[0] = now.leader_epoch;
  out[1] = static_cast<double>(now.log_start_offset);
  out[2] = static_cast<double>(now.log_end_offset);
  out[3] = static_cast<double>(now.high_watermark);
  out[4] = static_cast<double>(now.last_stable_offset);
  out[5] = now.is_leader ? 1 : 0;
  return env.Undefined();
}

// append(batches, acks, wallMs, done)
Napi::Value PartitionHandle::Append(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  MutableBytes batches;
  if (!BytesOf(info[0], &batches)) return env.Undefined();
  if (!info[3].IsFunction()) {
    Napi::TypeError::New(env, "append takes a function to call when done").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  // The reference is made, used and deleted on this thread; others only carry the pointer.
  auto* done = new Napi::FunctionReference(Napi::Persistent(info[3].As<Napi::Function>()));
  std::shared_ptr<MainQueue> queue = state_->queue;
  queue->Hold(env);
  partition_->AppendLocal(batches, static_cast<int16_t>(Int(info[1])), Int(info[2]),
                          [queue, done](const PartitionAppend& appended) {
                            queue->Post([queue, done, appended](Napi::Env on) {
                              queue->Release(on);
                              Napi::FunctionReference callback = std::move(*done);
                              delete done;
                              callback.Call(on.Undefined(), {AppendedObject(on, appended)});
                            });
                          });
  return env.Undefined();
}

// read(offset, maxBytes, upToLogEnd): Buffer
Napi::Value PartitionHandle::Read(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  Log& log = partition_->log();
  LogPosition bound = log.log_end();
  int64_t offset = Int(info[0]);
  if (!Bool(info[2])) {
    int64_t high_watermark = partition_->Info().high_watermark;
    if (offset == high_watermark) return Napi::Buffer<uint8_t>::New(env, 0);
    Result<LogPosition> position = log.PositionOf(high_watermark);
    if (!position.ok()) return state_->Throw(env, position.status());
    bound = *position;
  }
  ReadOptions options;
  options.max_bytes = static_cast<uint32_t>(std::min<int64_t>(std::max<int64_t>(Int(info[1]), 0), INT32_MAX));
  options.whole_batches = true;
  LogSlice slice;
  Status status = log.Read(offset, bound, options, &slice);
  if (!status.ok()) return state_->Throw(env, status);
  if (slice.bytes == 0) return Napi::Buffer<uint8_t>::New(env, 0);
  return Napi::Buffer<uint8_t>::Copy(env, slice.data(), slice.bytes);
}

Napi::Value PartitionHandle::TimestampResult(Napi::Env env, const Result<TimestampOffset>& found) {
  if (!found.ok()) return state_->Throw(env, found.status());
  Napi::Object out = Napi::Object::New(env);
  out.Set("timestampMs", Number(env, found->timestamp_ms));
  out.Set("offset", Number(env, found->offset));
  out.Set("leaderEpoch", Number(env, found->leader_epoch));
  return out;
}

Napi::Value PartitionHandle::OffsetForTimestamp(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  PartitionInfo now = partition_->Info();
  int64_t bound = Bool(info[1]) ? now.last_stable_offset : now.high_watermark;
  return TimestampResult(env, partition_->log().OffsetForTimestamp(Int(info[0]), bound));
}

Napi::Value PartitionHandle::OffsetOfMaxTimestamp(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  PartitionInfo now = partition_->Info();
  int64_t bound = Bool(info[0]) ? now.last_stable_offset : now.high_watermark;
  return TimestampResult(env, partition_->log().OffsetOfMaxTimestamp(bound));
}

Napi::Value PartitionHandle::EndOffsetForEpoch(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  EpochEndOffset end = partition_->log().EndOffsetForEpoch(static_cast<int32_t>(Int(info[0])));
  Napi::Object out = Napi::Object::New(env);
  out.Set("leaderEpoch", Number(env, end.leader_epoch));
  out.Set("endOffset", Number(env, end.end_offset));
  return out;
}

Napi::Value PartitionHandle::EpochForOffset(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Number(info.Env(), partition_->log().EpochForOffset(Int(info[0])));
}

Napi::Value PartitionHandle::AdvanceStartOffset(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  int64_t offset = Int(info[0]);
  if (offset > partition_->Info().high_watermark)
    return state_->Throw(env, Status(Code::kOutOfRange, "the offset lies above the high watermark"));
  Log& log = partition_->log();
  Status status;
  {
    std::lock_guard lock(log.append_mutex());
    status = log.AdvanceLogStartOffset(offset);
  }
  return status.ok() ? env.Undefined() : state_->Throw(env, status);
}

Napi::Value PartitionHandle::Close(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  partition_->Close(static_cast<KafkaError>(Int(info[0])));
  return info.Env().Undefined();
}

// --- connection ------------------------------------------------------------------------------------------------------

void ConnectionHandle::Register(Napi::Env env, EnvState& state) {
  state.connection_class = ConnectionClass::Define(env, {
      ConnectionClass::Method_<&ConnectionHandle::Receive>("receive"),
      ConnectionClass::Method_<&ConnectionHandle::Flags>("flags"),
      ConnectionClass::Method_<&ConnectionHandle::CloseReason>("closeReason"),
      ConnectionClass::Method_<&ConnectionHandle::Busy>("busy"),
      ConnectionClass::Method_<&ConnectionHandle::Output>("output"),
      ConnectionClass::Method_<&ConnectionHandle::TakePunt>("takePunt"),
      ConnectionClass::Method_<&ConnectionHandle::Answer>("answer"),
      ConnectionClass::Method_<&ConnectionHandle::AnswerNothing>("answerNothing"),
      ConnectionClass::Method_<&ConnectionHandle::Retry>("retry"),
      ConnectionClass::Method_<&ConnectionHandle::Close>("close"),
  });
}

ConnectionHandle::ConnectionHandle(EnvState* state, std::shared_ptr<OpenPlane> shared, std::shared_ptr<Connection> connection)
    : state_(state), shared_(std::move(shared)), connection_(std::move(connection)) {}

ConnectionHandle::~ConnectionHandle() { Drop(); }

void ConnectionHandle::Drop() {
  if (connection_ == nullptr) return;
  shared_->ids.erase(connection_.get());
  connection_->Close();
  connection_ = nullptr;
}

bool ConnectionHandle::Live(Napi::Env env) {
  if (connection_ != nullptr && shared_->plane != nullptr && shared_->open->engine != nullptr) return true;
  state_->Throw(env, Status(Code::kClosed, "the connection is closed"));
  return false;
}

Napi::Value ConnectionHandle::Receive(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  MutableBytes bytes;
  if (!BytesOf(info[0], &bytes)) return env.Undefined();
  connection_->Receive(bytes, NowOf(info[1], info[2]));
  return Napi::Number::New(env, connection_->flags());
}

Napi::Value ConnectionHandle::Flags(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), connection_->flags());
}

Napi::Value ConnectionHandle::CloseReason(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Napi::String::New(info.Env(), connection_->close_reason());
}

Napi::Value ConnectionHandle::Busy(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Napi::Boolean::New(info.Env(), connection_->busy());
}

// output(scratch, scratchOffset, pieces, monoMs, wallMs): number. See PIECE_NUMBERS in src/storage/native.ts.
Napi::Value ConnectionHandle::Output(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  MutableBytes scratch;
  if (!BytesOf(info[0], &scratch)) return env.Undefined();
  double* numbers = NumbersOf(info[2], kPieceNumbers);
  if (numbers == nullptr) return env.Undefined();
  size_t room = info[2].As<Napi::TypedArray>().ElementLength() / kPieceNumbers;
  size_t used = std::min<size_t>(static_cast<size_t>(std::max<int64_t>(Int(info[1]), 0)), scratch.size());

  std::array<OutputPiece, kPiecesMax> pieces;
  size_t found = connection_->PeekOutput(std::span(pieces.data(), std::min(room, kPiecesMax)));
  size_t count = 0;
  size_t taken = 0;
  for (size_t i = 0; i < found; i++) {
    const OutputPiece& piece = pieces[i];
    Windows::Place place;
    if (piece.segment != nullptr && piece.bytes > kCopyBytesMax)
      place = state_->windows.PlaceForSend(env, shared_->owner, piece.segment, piece.position,
                                           static_cast<uint32_t>(piece.bytes));
    double* number = numbers + count * kPieceNumbers;
    if (place.window_id != 0) {
      number[0] = place.window_id;
      number[1] = place.offset;
      number[2] = static_cast<double>(piece.bytes);
      taken += piece.bytes;
      count++;
      continue;
    }
    size_t bytes = std::min(piece.bytes, scratch.size() - used);
    if (bytes == 0) break;
    std::memcpy(scratch.data() + used, piece.data, bytes);
    // Runs copied one after the other are one piece to write.
    if (count > 0 && number[-3] == 0 && number[-2] + number[-1] == static_cast<double>(used)) {
      number[-1] += static_cast<double>(bytes);
    } else {
      number[0] = 0;
      number[1] = static_cast<double>(used);
      number[2] = static_cast<double>(bytes);
      count++;
    }
    used += bytes;
    taken += bytes;
    if (bytes < piece.bytes) break;
  }
  if (taken > 0) connection_->ConsumeOutput(taken, NowOf(info[3], info[4]));
  return Napi::Number::New(env, static_cast<double>(count));
}

Napi::Value ConnectionHandle::TakePunt(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  double* out = NumbersOf(info[0], 1);
  if (out == nullptr) return env.Undefined();
  Punt punt;
  if (!connection_->TakePunt(&punt)) return env.Null();
  out[0] = static_cast<double>(punt.slot);
  return Napi::Buffer<uint8_t>::Copy(env, punt.frame.data(), punt.frame.size());
}

Napi::Value ConnectionHandle::Answer(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  MutableBytes frame;
  if (!BytesOf(info[1], &frame)) return env.Undefined();
  connection_->Answer(static_cast<uint64_t>(Int(info[0])), frame, NowOf(info[2], info[3]));
  return Napi::Number::New(env, connection_->flags());
}

Napi::Value ConnectionHandle::AnswerNothing(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  connection_->AnswerNothing(static_cast<uint64_t>(Int(info[0])), NowOf(info[1], info[2]));
  return Napi::Number::New(env, connection_->flags());
}

Napi::Value ConnectionHandle::Retry(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  connection_->Retry(static_cast<uint64_t>(Int(info[0])), NowOf(info[1], info[2]));
  return Napi::Number::New(env, connection_->flags());
}

Napi::Value ConnectionHandle::Close(const Napi::CallbackInfo& info) {
  Drop();
  return info.Env().Undefined();
}

}  // namespace varve::binding
