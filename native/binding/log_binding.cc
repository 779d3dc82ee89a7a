// SPDX-License-Identifier: Apache-2.0
#include "binding/log_binding.h"

#include <utility>

#include "binding/convert.h"
#include "core/batch_validator.h"
#include "core/mapped_range.h"

namespace varve::binding {
namespace {

using Class = HandleClass<LogHandle>;

/// Whole batches one after the other, each as long as it says and with its CRC right. The reason, or null.
const char* CheckBatches(Bytes batches) {
  if (batches.empty()) return "no batch to append";
  while (!batches.empty()) {
    BatchHeader header;
    switch (CheckStoredBatch(batches, &header)) {
      case BatchError::kOk: break;
      case BatchError::kCrcMismatch: return "the CRC32C of a record batch is wrong";
      case BatchError::kOffsets: return "the offsets of a record batch make no sense";
      default: return "not a whole record batch (v2)";
    }
    if (header.record_count <= 0) return "a record batch without records";
    batches = batches.subspan(header.SizeBytes());
  }
  return nullptr;
}

/// Bytes of the whole batches of a slice that end at or before `limit` bytes.
uint32_t WholeBatchesWithin(const LogSlice& slice, uint64_t limit) {
  uint32_t end = 0;
  while (slice.bytes - end >= kBatchHeaderBytes) {
    uint64_t size = kBatchPreludeBytes + LoadU32(slice.data() + end + kBatchLengthPosition);
    if (end + size > limit || end + size > slice.bytes) break;
    end += static_cast<uint32_t>(size);
  }
  return end;
}

}  // namespace

void LogHandle::Register(Napi::Env env, EnvState& state) {
  state.log_class = Class::Define(env, {
      Class::Method_<&LogHandle::StartOffset>("startOffset"),
      Class::Method_<&LogHandle::EndOffset>("endOffset"),
      Class::Method_<&LogHandle::DurableEndOffset>("durableEndOffset"),
      Class::Method_<&LogHandle::Append>("append"),
      Class::Method_<&LogHandle::AppendEncoded>("appendEncoded"),
      Class::Method_<&LogHandle::Read>("read"),
      Class::Method_<&LogHandle::Copied>("copied"),
      Class::Method_<&LogHandle::Window>("window"),
      Class::Method_<&LogHandle::LatestEpoch>("latestEpoch"),
      Class::Method_<&LogHandle::LargestProducerId>("largestProducerId"),
      Class::Method_<&LogHandle::OffsetForTimestamp>("offsetForTimestamp"),
      Class::Method_<&LogHandle::Flush>("flush"),
      Class::Method_<&LogHandle::AdvanceStartOffset>("advanceStartOffset"),
      Class::Method_<&LogHandle::Roll>("roll"),
      Class::Method_<&LogHandle::SetConfig>("setConfig"),
      Class::Method_<&LogHandle::Stats>("stats"),
  });
}

Napi::Value LogHandle::Make(Napi::Env env, EnvState& state, std::shared_ptr<OpenEngine> open, std::shared_ptr<Log> log) {
  std::string topic = log->topic_partition().topic;
  int32_t partition = log->topic_partition().partition;
  Napi::Object object =
      Class::Wrap(env, state.log_class, std::make_unique<LogHandle>(&state, std::move(open), std::move(log)));
  if (object.IsEmpty()) return env.Undefined();
  object.Set("topic", topic);
  object.Set("partition", Napi::Number::New(env, partition));
  return object;
}

LogHandle::LogHandle(EnvState* state, std::shared_ptr<OpenEngine> open, std::shared_ptr<Log> log)
    : state_(state), open_(std::move(open)), log_(std::move(log)) {}

bool LogHandle::Live(Napi::Env env) {
  if (open_->engine != nullptr) return true;
  log_.reset();
  state_->Throw(env, Status(Code::kClosed, "the engine of this log is closed"));
  return false;
}

Napi::Value LogHandle::StartOffset(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(log_->log_start_offset()));
}

Napi::Value LogHandle::EndOffset(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(log_->log_end_offset()));
}

Napi::Value LogHandle::DurableEndOffset(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(log_->durable_end().offset));
}

Napi::Value LogHandle::AppendChecked(Napi::Env env, Bytes batches, const Napi::Value& epoch, const Napi::Value& now,
                                     double* out) {
  AppendResult result;
  {
    std::lock_guard lock(log_->append_mutex());
    result = log_->Append(batches, AppendOrigin::kCoordinator, static_cast<int32_t>(Int(epoch)), Int(now));
    // Without replication everything appended is committed; retention looks at this.
    if (result.error == AppendError::kNone) log_->SetHighWatermark(log_->log_end_offset());
  }
  out[0] = static_cast<double>(result.error);
  out[1] = result.duplicate ? 1 : 0;
  out[2] = static_cast<double>(result.base_offset);
  out[3] = static_cast<double>(result.last_offset);
  out[4] = static_cast<double>(result.log_append_time_ms);
  return Napi::Number::New(env, static_cast<double>(result.error));
}

// append(batches, bytes, leaderEpoch, nowMs, out)
Napi::Value LogHandle::Append(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  MutableBytes buffer;
  double* out = NumbersOf(info[4], 5);
  if (out == nullptr || !BytesOf(info[0], &buffer)) return env.Undefined();
  uint64_t bytes = static_cast<uint64_t>(Int(info[1]));
  if (bytes > buffer.size()) return state_->Throw(env, Status(Code::kInvalid, "more bytes than the buffer has"));
  Bytes batches = buffer.first(bytes);
  if (const char* problem = CheckBatches(batches)) return state_->Throw(env, Status(Code::kInvalid, problem));
  return AppendChecked(env, batches, info[2], info[3], out);
}

Napi::Value LogHandle::AppendEncoded(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  MutableBytes buffer;
  double* out = NumbersOf(info[4], 5);
  if (out == nullptr || !BytesOf(info[0], &buffer)) return env.Undefined();
  uint64_t bytes = static_cast<uint64_t>(Int(info[1]));
  BatchHeader header;
  if (bytes > buffer.size() || ParseBatchHeader(buffer.first(bytes), &header) != BatchError::kOk ||
      header.SizeBytes() != bytes || header.record_count <= 0)
    return state_->Throw(env, Status(Code::kInvalid, "not one encoded record batch"));
  StoreCrc(buffer.first(bytes));
  return AppendChecked(env, buffer.first(bytes), info[2], info[3], out);
}

// read(offset, maxBytes, out): number. See ReadOut in src/storage/native.ts.
Napi::Value LogHandle::Read(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  double* out = NumbersOf(info[2], 4);
  if (out == nullptr) return env.Undefined();
  int64_t offset = Int(info[0]);
  ReadOptions options;
  options.max_bytes = static_cast<uint32_t>(std::min<int64_t>(std::max<int64_t>(Int(info[1]), 0), INT32_MAX));
  options.whole_batches = true;
  LogPosition end = log_->log_end();
  LogSlice slice;
  Status status = log_->Read(offset, end, options, &slice);
  if (!status.ok()) return state_->Throw(env, status);
  out[0] = out[1] = out[2] = out[3] = 0;
  if (slice.bytes == 0) return Napi::Number::New(env, 0);

  bool active = slice.segment->base_offset() == end.segment_base_offset;
  // Never the file's size: a segment that was closed just now is still to be cut to its bytes.
  uint64_t view_end = slice.limit;
  uint32_t bytes = slice.bytes;
  bool copy = false;
  if (active) {
    // The page under the tail is copied: a user's write to a view of it would hide what is appended there later.
    view_end = view_end / PageBytes() * PageBytes();
    if (slice.position + uint64_t{slice.bytes} > view_end) {
      uint32_t before = view_end > slice.position ? WholeBatchesWithin(slice, view_end - slice.position) : 0;
      if (before > 0)
        bytes = before;
      else
        copy = true;
    }
  }
  Windows::Place place;
  if (!copy)
    place =
        state_->windows.PlaceForView(env, open_->engine.get(), slice.segment, slice.position, bytes, view_end, active);
  if (place.window_id == 0) {
    copied_.assign(slice.data(), slice.data() + bytes);
    out[3] = 1;
  } else {
    out[0] = place.window_id;
    out[1] = place.offset;
  }
  out[2] = bytes;
  return Napi::Number::New(env, bytes);
}

Napi::Value LogHandle::Copied(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  Napi::Value copy = Napi::Buffer<uint8_t>::Copy(info.Env(), copied_.data(), copied_.size());
  if (copied_.capacity() > (1u << 20)) std::vector<uint8_t>().swap(copied_);
  return copy;
}

Napi::Value LogHandle::Window(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return state_->windows.Get(info.Env(), static_cast<uint32_t>(Int(info[0])));
}

Napi::Value LogHandle::LargestProducerId(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  std::lock_guard lock(log_->append_mutex());
  return Napi::Number::New(info.Env(), static_cast<double>(log_->LargestProducerId()));
}

Napi::Value LogHandle::LatestEpoch(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), log_->LatestEpoch());
}

Napi::Value LogHandle::OffsetForTimestamp(const Napi::CallbackInfo& info) {
  if (!Live(info.Env())) return info.Env().Undefined();
  Result<TimestampOffset> found = log_->OffsetForTimestamp(Int(info[0]), log_->log_end_offset());
  if (!found.ok()) return state_->Throw(info.Env(), found.status());
  return Napi::Number::New(info.Env(), static_cast<double>(found->offset));
}

Napi::Value LogHandle::Flush(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  auto* deferred = new Napi::Promise::Deferred(env);
  Napi::Promise promise = deferred->Promise();
  std::shared_ptr<MainQueue> queue = state_->queue;
  queue->Hold(env);
  log_->Flush([queue, deferred](Status status) {
    queue->Post([queue, deferred, status](Napi::Env on) {
      queue->Release(on);
      if (status.ok())
        deferred->Resolve(on.Undefined());
      else
        deferred->Reject(EnvState::Of(on).ErrorOf(on, status));
      delete deferred;
    });
  });
  return promise;
}

Napi::Value LogHandle::AdvanceStartOffset(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  Status status;
  {
    std::lock_guard lock(log_->append_mutex());
    status = log_->AdvanceLogStartOffset(Int(info[0]));
  }
  return status.ok() ? env.Undefined() : state_->Throw(env, status);
}

Napi::Value LogHandle::Roll(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  Status status;
  {
    std::lock_guard lock(log_->append_mutex());
    status = log_->Roll(Int(info[0]));
  }
  return status.ok() ? env.Undefined() : state_->Throw(env, status);
}

Napi::Value LogHandle::SetConfig(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  LogConfig config;
  if (!LogConfigOf(info[0], &config) || !Live(env)) return env.Undefined();
  log_->SetConfig(config);
  return env.Undefined();
}

Napi::Value LogHandle::Stats(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!Live(env)) return env.Undefined();
  LogStats stats = log_->Stats();
  Napi::Object out = Napi::Object::New(env);
  auto set = [&](const char* name, uint64_t value) {
    out.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  set("sizeBytes", stats.size_bytes);
  set("segmentCount", stats.segment_count);
  set("appendedBytes", stats.appended_bytes);
  set("appendedBatches", stats.appended_batches);
  set("flushCount", stats.flush_count);
  set("recoveredBytes", stats.recovered_bytes);
  set("truncatedBytes", stats.truncated_bytes);
  set("rebuiltIndexes", stats.rebuilt_indexes);
  set("producerCount", stats.producer_count);
  return out;
}

}  // namespace varve::binding
