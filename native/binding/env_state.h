// SPDX-License-Identifier: Apache-2.0
// EnvState: what the addon keeps for one JavaScript environment (main thread or worker): its classes, the StorageError
// class, the queue that other threads use to reach it, the windows it was given, and the engines and planes to close when it exits.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "binding/windows.h"
#include "core/compression.h"
#include "core/status.h"

namespace varve::binding {

class EngineHandle;
class PlaneHandle;

/// Work for the environment's thread, from any thread: one wake-up per burst (napi_threadsafe_function), nothing after
/// the environment began to exit. Shared with the threads that post, so that it outlives the environment.
class MainQueue : public std::enable_shared_from_this<MainQueue> {
 public:
  using Work = std::function<void(Napi::Env)>;

  void Open(Napi::Env env);
  /// Any thread. Dropped when the environment is gone.
  void Post(Work work);
  /// Owner thread: while at least one promise waits, the queue keeps the event loop alive.
  void Hold(Napi::Env env);
  void Release(Napi::Env env);
  /// Owner thread, at exit: no work runs from here on.
  void Close();

 private:
  void Drain(Napi::Env env);

  std::mutex mutex_;
  std::vector<Work> work_;           // guarded by mutex_
  bool open_ = false;                // guarded by mutex_
  napi_threadsafe_function wake_ = nullptr;  // guarded by mutex_ for calls from other threads
  int held_ = 0;                     // owner thread only
};

class EnvState {
 public:
  explicit EnvState(Napi::Env env);
  ~EnvState();
  static EnvState& Of(Napi::Env env) { return *env.GetInstanceData<EnvState>(); }

  /// A StorageError for `status`, as a value (to throw or to reject with).
  Napi::Value ErrorOf(Napi::Env env, const Status& status);
  /// Throws it and returns undefined, for `return state.Throw(env, status);`.
  Napi::Value Throw(Napi::Env env, const Status& status);

  std::shared_ptr<MainQueue> queue = std::make_shared<MainQueue>();
  Windows windows;
  DecodeScratch scratch;  // of decompress()
  Napi::FunctionReference error_class;
  Napi::FunctionReference engine_class, log_class, plane_class, partition_class, connection_class;
  std::unordered_set<EngineHandle*> engines;  // open ones
  std::unordered_set<PlaneHandle*> planes;

 private:
  static void OnExit(void* self);
  napi_env env_;
};

}  // namespace varve::binding
