// SPDX-License-Identifier: Apache-2.0
// NativeEngine: an Engine behind a JavaScript object. Opening and closing run on helper threads; after close() every
// method, of it and of its logs and planes, throws CLOSED.
#pragma once

#include <napi.h>

#include <memory>

#include "binding/env_state.h"
#include "binding/handle.h"
#include "core/engine.h"

namespace varve::binding {

/// Shared by the engine's handle and the handles of its logs: null once it was closed.
struct OpenEngine {
  std::shared_ptr<Engine> engine;
};

class EngineHandle {
 public:
  static constexpr napi_type_tag kTag = {0x7661727665000001u, 0x656e67696e650001u};
  static constexpr const char* kName = "NativeEngine";
  static void Register(Napi::Env env, EnvState& state);
  /// openEngine(options): Promise<NativeEngine>
  static Napi::Value Open(const Napi::CallbackInfo& info);

  EngineHandle(EnvState* state, std::shared_ptr<Engine> engine);
  ~EngineHandle();

  const std::shared_ptr<OpenEngine>& open() const { return open_; }
  /// The environment exits: stops cleanly on this thread.
  void CloseNow(Napi::Env env);

 private:
  friend class HandleClass<EngineHandle>;
  Napi::Value OpenLog(const Napi::CallbackInfo& info);
  Napi::Value FindLog(const Napi::CallbackInfo& info);
  Napi::Value DeleteLog(const Napi::CallbackInfo& info);
  Napi::Value Logs(const Napi::CallbackInfo& info);
  Napi::Value Directories(const Napi::CallbackInfo& info);
  Napi::Value Problems(const Napi::CallbackInfo& info);
  Napi::Value ReadTopicId(const Napi::CallbackInfo& info);
  Napi::Value WriteTopicId(const Napi::CallbackInfo& info);
  Napi::Value Maintain(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value Abandon(const Napi::CallbackInfo& info);

  /// The engine, or null with a pending CLOSED error.
  Engine* Live(Napi::Env env);
  /// Takes the engine out of everyone's hands; null when that was done before.
  std::shared_ptr<Engine> Take(Napi::Env env, bool detach);

  EnvState* state_;
  std::shared_ptr<OpenEngine> open_;
  std::shared_ptr<std::atomic<bool>> maintaining_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace varve::binding
