// SPDX-License-Identifier: Apache-2.0
#include "binding/engine_binding.h"

#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "binding/convert.h"
#include "binding/log_binding.h"
#include "binding/plane_binding.h"
#include "core/vfs_memory.h"

namespace varve::binding {
namespace {

using Class = HandleClass<EngineHandle>;

/// False with a pending exception.
bool OptionsOf(const Napi::Value& value, EngineOptions* out) {
  if (!CheckObject(value, "an engine's options")) return false;
  Napi::Object object = value.As<Napi::Object>();
  EngineOptions options;
  Napi::Value directories = object.Get("directories");
  if (directories.IsEmpty()) return false;
  if (!directories.IsArray()) {
    Napi::TypeError::New(value.Env(), "expected an array of directories").ThrowAsJavaScriptException();
    return false;
  }
  uint32_t count = directories.As<Napi::Array>().Length();
  for (uint32_t i = 0; i < count && !value.Env().IsExceptionPending(); i++)
    options.directories.push_back(Text(directories.As<Napi::Array>().Get(i)));
  if (Bool(object.Get("memory"))) options.vfs = MakeMemoryVfs(false);
  const std::string append_io = Text(object.Get("appendIo"));
  options.append_io = append_io == "pwrite" ? AppendIo::kPwrite
                      : append_io == "mmap" ? AppendIo::kMmap
                                            : AppendIo::kAuto;
  options.flush_mode = Text(object.Get("flushMode")) == "os" ? FlushMode::kOs : FlushMode::kCommit;
  options.flush_max_delay_ms = Int(object.Get("flushMaxDelayMs"));
  options.checkpoint_interval_ms = Int(object.Get("checkpointIntervalMs"));
  options.producer_id_expiration_ms = Int(object.Get("producerIdExpirationMs"));
  Napi::Value defaults = object.Get("defaults");
  if (defaults.IsEmpty() || !LogConfigOf(defaults, &options.defaults)) return false;
  *out = std::move(options);
  return true;
}

/// The engines of this process that may still be open. exit() does not clean up environments, as returning from main does:
/// process.exit() and uncaught exceptions would leave directories to be recovered.
class EnginesAtExit {
 public:
  static void Add(const std::shared_ptr<Engine>& engine) {
    // Never destroyed: other handlers of exit() may come after ours.
    static auto* self = new EnginesAtExit;
    std::lock_guard lock(self->mutex_);
    // Registered now, not when the addon loads: so it runs before the destructors of what the engine made use of.
    if (self->engines_.empty() && !std::exchange(self->registered_, true)) {
      instance_ = self;
      std::atexit([] { instance_->CloseAll(); });
    }
    std::erase_if(self->engines_, [](const std::weak_ptr<Engine>& one) { return one.expired(); });
    self->engines_.push_back(engine);
  }

 private:
  void CloseAll() {
    std::vector<std::weak_ptr<Engine>> engines;
    {
      std::lock_guard lock(mutex_);
      engines.swap(engines_);
    }
    for (const std::weak_ptr<Engine>& one : engines)
      if (std::shared_ptr<Engine> engine = one.lock()) (void)engine->Close();
  }

  static inline EnginesAtExit* instance_ = nullptr;
  std::mutex mutex_;
  std::vector<std::weak_ptr<Engine>> engines_;  // guarded by mutex_
  bool registered_ = false;                     // guarded by mutex_
};

/// Runs `work` on libuv's pool and settles a promise on the environment's thread. In an environment that is being terminated
/// neither that nor any other call into JavaScript succeeds: `settle` then returns an empty value and has to let go of what it had.
class EngineWork : public Napi::AsyncWorker {
 public:
  using Settle = std::function<Napi::Value(Napi::Env)>;

  EngineWork(Napi::Env env, std::function<Status()> work, Settle settle)
      : Napi::AsyncWorker(env, "varve"), deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)),
        settle_(std::move(settle)) {}
  Napi::Promise Start() {
    Napi::Promise promise = deferred_.Promise();
    Queue();
    return promise;
  }

 protected:
  void Execute() override { status_ = work_(); }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    Napi::Value value = status_.ok() ? settle_(Env()) : EnvState::Of(Env()).ErrorOf(Env(), status_);
    if (value.IsEmpty()) return;
    if (status_.ok())
      deferred_.Resolve(value);
    else
      deferred_.Reject(value);
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::function<Status()> work_;
  Settle settle_;
  Status status_;
};

}  // namespace

void EngineHandle::Register(Napi::Env env, EnvState& state) {
  state.engine_class = Class::Define(env, {
      Class::Method_<&EngineHandle::OpenLog>("openLog"),
      Class::Method_<&EngineHandle::FindLog>("findLog"),
      Class::Method_<&EngineHandle::DeleteLog>("deleteLog"),
      Class::Method_<&EngineHandle::Logs>("logs"),
      Class::Method_<&EngineHandle::Directories>("directories"),
      Class::Method_<&EngineHandle::Problems>("problems"),
      Class::Method_<&EngineHandle::ReadTopicId>("readTopicId"),
      Class::Method_<&EngineHandle::WriteTopicId>("writeTopicId"),
      Class::Method_<&EngineHandle::Maintain>("maintain"),
      Class::Method_<&EngineHandle::Close>("close"),
      Class::Method_<&EngineHandle::Abandon>("abandon"),
  });
}

Napi::Value EngineHandle::Open(const Napi::CallbackInfo& info) {
  EngineOptions options;
  if (!OptionsOf(info[0], &options)) return info.Env().Undefined();
  auto opened = std::make_shared<std::shared_ptr<Engine>>();
  auto* work = new EngineWork(
      info.Env(),
      [opened, options]() -> Status {
        Result<std::shared_ptr<Engine>> engine = Engine::Open(options);
        if (!engine.ok()) return engine.status();
        *opened = std::move(*engine);
        EnginesAtExit::Add(*opened);
        return Status::Ok();
      },
      [opened](Napi::Env env) -> Napi::Value {
        EnvState& state = EnvState::Of(env);
        Napi::Object handle = Class::Wrap(env, state.engine_class, std::make_unique<EngineHandle>(&state, *opened));
        if (handle.IsEmpty()) (void)(*opened)->Close();
        *opened = nullptr;
        return handle;
      });
  return work->Start();
}

EngineHandle::EngineHandle(EnvState* state, std::shared_ptr<Engine> engine)
    : state_(state), open_(std::make_shared<OpenEngine>(OpenEngine{std::move(engine)})) {
  state_->engines.insert(this);
}

EngineHandle::~EngineHandle() {
  // Collected without close(): the logs' handles may still be in use, so only let go; the last of them ends the engine.
  if (open_->engine != nullptr) state_->engines.erase(this);
}

std::shared_ptr<Engine> EngineHandle::Take(Napi::Env env, bool detach) {
  std::shared_ptr<Engine> engine = std::move(open_->engine);
  open_->engine = nullptr;
  if (engine == nullptr) return nullptr;
  state_->engines.erase(this);
  // A plane is of no use without its engine, and an append that waits there would wait for ever.
  std::vector<PlaneHandle*> planes;
  for (PlaneHandle* plane : state_->planes)
    if (plane->IsOver(open_)) planes.push_back(plane);
  for (PlaneHandle* plane : planes) plane->CloseNow(env);
  if (detach) state_->windows.Detach(env, engine.get());
  return engine;
}

void EngineHandle::CloseNow(Napi::Env env) {
  if (std::shared_ptr<Engine> engine = Take(env, false)) (void)engine->Close();
}

Engine* EngineHandle::Live(Napi::Env env) {
  if (open_->engine != nullptr) return open_->engine.get();
  state_->Throw(env, Status(Code::kClosed, "the engine is closed"));
  return nullptr;
}

Napi::Value EngineHandle::OpenLog(const Napi::CallbackInfo& info) {
  LogConfig config;
  if (!LogConfigOf(info[2], &config)) return info.Env().Undefined();
  Engine* engine = Live(info.Env());
  if (engine == nullptr) return info.Env().Undefined();
  TopicPartition tp{Text(info[0]), static_cast<int32_t>(Int(info[1]))};
  Result<std::shared_ptr<Log>> log = engine->OpenLog(tp, config);
  if (!log.ok()) return state_->Throw(info.Env(), log.status());
  return LogHandle::Make(info.Env(), *state_, open_, std::move(*log));
}

Napi::Value EngineHandle::FindLog(const Napi::CallbackInfo& info) {
  Engine* engine = Live(info.Env());
  if (engine == nullptr) return info.Env().Undefined();
  std::shared_ptr<Log> log = engine->FindLog({Text(info[0]), static_cast<int32_t>(Int(info[1]))});
  if (log == nullptr) return info.Env().Null();
  return LogHandle::Make(info.Env(), *state_, open_, std::move(log));
}

Napi::Value EngineHandle::DeleteLog(const Napi::CallbackInfo& info) {
  Engine* engine = Live(info.Env());
  if (engine == nullptr) return info.Env().Undefined();
  Status status = engine->DeleteLog({Text(info[0]), static_cast<int32_t>(Int(info[1]))});
  return status.ok() ? info.Env().Undefined() : state_->Throw(info.Env(), status);
}

Napi::Value EngineHandle::Logs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Engine* engine = Live(env);
  if (engine == nullptr) return env.Undefined();
  std::vector<std::shared_ptr<Log>> logs = engine->Logs();
  Napi::Array out = Napi::Array::New(env, logs.size());
  for (uint32_t i = 0; i < logs.size(); i++) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("topic", logs[i]->topic_partition().topic);
    one.Set("partition", Napi::Number::New(env, logs[i]->topic_partition().partition));
    out.Set(i, one);
  }
  return out;
}

Napi::Value EngineHandle::Directories(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Engine* engine = Live(env);
  if (engine == nullptr) return env.Undefined();
  std::vector<DirectoryInfo> directories = engine->Directories();
  Napi::Array out = Napi::Array::New(env, directories.size());
  for (uint32_t i = 0; i < directories.size(); i++) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("path", directories[i].path);
    one.Set("online", Napi::Boolean::New(env, directories[i].online));
    one.Set("failure", directories[i].failure);
    one.Set("cleanStart", Napi::Boolean::New(env, directories[i].clean_start));
    one.Set("recoveredBytes", Napi::Number::New(env, static_cast<double>(directories[i].recovered_bytes)));
    out.Set(i, one);
  }
  return out;
}

Napi::Value EngineHandle::Problems(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Engine* engine = Live(env);
  if (engine == nullptr) return env.Undefined();
  const std::vector<std::string>& problems = engine->problems();
  Napi::Array out = Napi::Array::New(env, problems.size());
  for (uint32_t i = 0; i < problems.size(); i++) out.Set(i, problems[i]);
  return out;
}

Napi::Value EngineHandle::ReadTopicId(const Napi::CallbackInfo& info) {
  Engine* engine = Live(info.Env());
  if (engine == nullptr) return info.Env().Undefined();
  Result<std::string> id = engine->ReadTopicId({Text(info[0]), static_cast<int32_t>(Int(info[1]))});
  if (id.status().code() == Code::kNotFound) return info.Env().Null();
  if (!id.ok()) return state_->Throw(info.Env(), id.status());
  return Napi::String::New(info.Env(), *id);
}

Napi::Value EngineHandle::WriteTopicId(const Napi::CallbackInfo& info) {
  Engine* engine = Live(info.Env());
  if (engine == nullptr) return info.Env().Undefined();
  Status status = engine->WriteTopicId({Text(info[0]), static_cast<int32_t>(Int(info[1]))}, Text(info[2]));
  return status.ok() ? info.Env().Undefined() : state_->Throw(info.Env(), status);
}

Napi::Value EngineHandle::Maintain(const Napi::CallbackInfo& info) {
  if (Live(info.Env()) == nullptr) return info.Env().Undefined();
  state_->windows.Age();
  // On a helper thread, for it may wait for the disk; one at a time, a second call meanwhile is dropped.
  if (maintaining_->exchange(true)) return info.Env().Undefined();
  std::shared_ptr<Engine> engine = open_->engine;
  int64_t now_ms = Int(info[0]);
  bool do_retention = Bool(info[1]);
  engine->executor().Post([engine, now_ms, do_retention, maintaining = maintaining_] {
    engine->Maintain(now_ms, do_retention);
    maintaining->store(false);
  });
  return info.Env().Undefined();
}

Napi::Value EngineHandle::Close(const Napi::CallbackInfo& info) {
  std::shared_ptr<Engine> engine = Take(info.Env(), true);
  auto* work = new EngineWork(
      info.Env(), [engine]() -> Status { return engine == nullptr ? Status::Ok() : engine->Close(); },
      [](Napi::Env env) -> Napi::Value { return env.Undefined(); });
  return work->Start();
}

Napi::Value EngineHandle::Abandon(const Napi::CallbackInfo& info) {
  if (std::shared_ptr<Engine> engine = Take(info.Env(), true)) engine->Abandon();
  return info.Env().Undefined();
}

}  // namespace varve::binding
