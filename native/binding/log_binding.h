// SPDX-License-Identifier: Apache-2.0
// NativeLog: one partition's log behind a JavaScript object: append, read into windows, lookups, flush.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "binding/engine_binding.h"

namespace varve::binding {

class LogHandle {
 public:
  static constexpr napi_type_tag kTag = {0x7661727665000002u, 0x6c6f670000000001u};
  static constexpr const char* kName = "NativeLog";
  static void Register(Napi::Env env, EnvState& state);
  static Napi::Value Make(Napi::Env env, EnvState& state, std::shared_ptr<OpenEngine> open, std::shared_ptr<Log> log);

  LogHandle(EnvState* state, std::shared_ptr<OpenEngine> open, std::shared_ptr<Log> log);

  const std::shared_ptr<Log>& log() const { return log_; }
  const std::shared_ptr<OpenEngine>& open() const { return open_; }

 private:
  friend class HandleClass<LogHandle>;
  Napi::Value StartOffset(const Napi::CallbackInfo& info);
  Napi::Value EndOffset(const Napi::CallbackInfo& info);
  Napi::Value DurableEndOffset(const Napi::CallbackInfo& info);
  Napi::Value Append(const Napi::CallbackInfo& info);
  Napi::Value AppendEncoded(const Napi::CallbackInfo& info);
  Napi::Value Read(const Napi::CallbackInfo& info);
  Napi::Value Copied(const Napi::CallbackInfo& info);
  Napi::Value Window(const Napi::CallbackInfo& info);
  Napi::Value LatestEpoch(const Napi::CallbackInfo& info);
  Napi::Value LargestProducerId(const Napi::CallbackInfo& info);
  Napi::Value OffsetForTimestamp(const Napi::CallbackInfo& info);
  Napi::Value Flush(const Napi::CallbackInfo& info);
  Napi::Value AdvanceStartOffset(const Napi::CallbackInfo& info);
  Napi::Value Roll(const Napi::CallbackInfo& info);
  Napi::Value SetConfig(const Napi::CallbackInfo& info);
  Napi::Value Stats(const Napi::CallbackInfo& info);

  bool Live(Napi::Env env);
  Napi::Value AppendChecked(Napi::Env env, Bytes batches, const Napi::Value& epoch, const Napi::Value& now, double* out);

  EnvState* state_;
  std::shared_ptr<OpenEngine> open_;
  std::shared_ptr<Log> log_;
  std::vector<uint8_t> copied_;  // the last read's copy, until copied() took it
};

}  // namespace varve::binding
