// SPDX-License-Identifier: Apache-2.0
// NativePlane, NativePartition and NativeConnection: the data plane as one environment's thread drives it, for Node sockets and
// in process. The plane's Loop wakes this thread through the MainQueue; turn() then says which connections have news.
#pragma once

#include <napi.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "binding/engine_binding.h"
#include "plane/connection.h"
#include "plane/loop.h"
#include "plane/partition.h"
#include "plane/plane.h"

namespace varve::binding {

class ConnectionHandle;

/// Shared by a plane's handle and those of its partitions and connections: all of them end with plane.close().
struct OpenPlane {
  std::shared_ptr<OpenEngine> open;  // throws CLOSED once the engine is closed
  const void* owner;                 // the engine, as windows know it
  std::shared_ptr<Plane> plane;      // null after close()
  std::shared_ptr<Loop> loop;
  FlushMode flush_mode;
  std::shared_ptr<Napi::FunctionReference> on_wake;     // reset on the owner thread, whoever drops the loop last
  std::vector<std::weak_ptr<Partition>> partitions;     // those published, for their waiters to be ended by Close()
  std::unordered_map<const Connection*, uint32_t> ids;  // live connections
  uint32_t next_id = 1;

  /// Ends what waits: nothing asynchronous outlives it, and so nothing keeps the event loop. Idempotent.
  void Close();
};

class PlaneHandle {
 public:
  static constexpr napi_type_tag kTag = {0x7661727665000003u, 0x706c616e65000001u};
  static constexpr const char* kName = "NativePlane";
  static void Register(Napi::Env env, EnvState& state);
  /// createPlane(engine, options, onWake)
  static Napi::Value Create(const Napi::CallbackInfo& info);

  PlaneHandle(EnvState* state, std::shared_ptr<OpenPlane> shared);
  ~PlaneHandle();
  void CloseNow(Napi::Env env);
  bool IsOver(const std::shared_ptr<OpenEngine>& engine) const { return shared_->open == engine; }

 private:
  friend class HandleClass<PlaneHandle>;
  Napi::Value PublishTopic(const Napi::CallbackInfo& info);
  Napi::Value RemoveTopic(const Napi::CallbackInfo& info);
  Napi::Value PublishPartition(const Napi::CallbackInfo& info);
  Napi::Value Connect(const Napi::CallbackInfo& info);
  Napi::Value Turn(const Napi::CallbackInfo& info);
  Napi::Value NextDeadlineMs(const Napi::CallbackInfo& info);
  Napi::Value Window(const Napi::CallbackInfo& info);
  Napi::Value Counters(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  bool Live(Napi::Env env);

  EnvState* state_;
  std::shared_ptr<OpenPlane> shared_;
  std::vector<std::shared_ptr<Connection>> ready_;
};

class PartitionHandle {
 public:
  static constexpr napi_type_tag kTag = {0x7661727665000004u, 0x7061727469000001u};
  static constexpr const char* kName = "NativePartition";
  static void Register(Napi::Env env, EnvState& state);

  PartitionHandle(EnvState* state, std::shared_ptr<OpenPlane> shared, std::shared_ptr<Partition> partition);

 private:
  friend class HandleClass<PartitionHandle>;
  Napi::Value ApplyState(const Napi::CallbackInfo& info);
  Napi::Value SetConfig(const Napi::CallbackInfo& info);
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value Append(const Napi::CallbackInfo& info);
  Napi::Value Read(const Napi::CallbackInfo& info);
  Napi::Value OffsetForTimestamp(const Napi::CallbackInfo& info);
  Napi::Value OffsetOfMaxTimestamp(const Napi::CallbackInfo& info);
  Napi::Value EndOffsetForEpoch(const Napi::CallbackInfo& info);
  Napi::Value EpochForOffset(const Napi::CallbackInfo& info);
  Napi::Value AdvanceStartOffset(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  bool Live(Napi::Env env);
  Napi::Value TimestampResult(Napi::Env env, const Result<TimestampOffset>& found);

  EnvState* state_;
  std::shared_ptr<OpenPlane> shared_;
  std::shared_ptr<Partition> partition_;
};

class ConnectionHandle {
 public:
  static constexpr napi_type_tag kTag = {0x7661727665000005u, 0x636f6e6e65000001u};
  static constexpr const char* kName = "NativeConnection";
  static void Register(Napi::Env env, EnvState& state);

  ConnectionHandle(EnvState* state, std::shared_ptr<OpenPlane> shared, std::shared_ptr<Connection> connection);
  ~ConnectionHandle();

 private:
  friend class HandleClass<ConnectionHandle>;
  Napi::Value Receive(const Napi::CallbackInfo& info);
  Napi::Value Flags(const Napi::CallbackInfo& info);
  Napi::Value CloseReason(const Napi::CallbackInfo& info);
  Napi::Value Busy(const Napi::CallbackInfo& info);
  Napi::Value Output(const Napi::CallbackInfo& info);
  Napi::Value TakePunt(const Napi::CallbackInfo& info);
  Napi::Value Answer(const Napi::CallbackInfo& info);
  Napi::Value AnswerNothing(const Napi::CallbackInfo& info);
  Napi::Value Retry(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  bool Live(Napi::Env env);
  void Drop();

  EnvState* state_;
  std::shared_ptr<OpenPlane> shared_;
  std::shared_ptr<Connection> connection_;  // null after close()
};

}  // namespace varve::binding
