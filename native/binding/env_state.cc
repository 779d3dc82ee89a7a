// SPDX-License-Identifier: Apache-2.0
#include "binding/env_state.h"

#include "binding/engine_binding.h"
#include "binding/plane_binding.h"

namespace varve::binding {

void MainQueue::Open(Napi::Env env) {
  napi_value name;
  napi_create_string_utf8(env, "varve", NAPI_AUTO_LENGTH, &name);
  // The finalizer holds the queue: the function may outlive EnvState by a little.
  auto* keep = new std::shared_ptr<MainQueue>(shared_from_this());
  napi_create_threadsafe_function(
      env, nullptr, nullptr, name, 0, 1, keep,
      [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<MainQueue>*>(data); }, this,
      [](napi_env raw, napi_value, void* context, void*) {
        if (raw != nullptr) static_cast<MainQueue*>(context)->Drain(Napi::Env(raw));
      },
      &wake_);
  napi_unref_threadsafe_function(env, wake_);
  open_ = true;
}

void MainQueue::Post(Work work) {
  std::lock_guard lock(mutex_);
  if (!open_) return;
  work_.push_back(std::move(work));
  if (work_.size() == 1) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void MainQueue::Drain(Napi::Env env) {
  std::vector<Work> work;
  {
    std::lock_guard lock(mutex_);
    work.swap(work_);
  }
  for (Work& one : work) {
    Napi::HandleScope scope(env);
    one(env);
    // A callback of ours that throws is the caller's bug: let it surface as an uncaught exception, and go on.
    if (env.IsExceptionPending()) napi_fatal_exception(env, env.GetAndClearPendingException().Value());
  }
}

void MainQueue::Hold(Napi::Env env) {
  if (held_++ == 0) napi_ref_threadsafe_function(env, wake_);
}

void MainQueue::Release(Napi::Env env) {
  if (--held_ == 0) napi_unref_threadsafe_function(env, wake_);
}

void MainQueue::Close() {
  std::vector<Work> dropped;
  std::lock_guard lock(mutex_);
  if (!open_) return;
  open_ = false;
  dropped.swap(work_);
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

EnvState::EnvState(Napi::Env env) : env_(env) {
  queue->Open(env);
  napi_add_env_cleanup_hook(env, &EnvState::OnExit, this);
}

EnvState::~EnvState() = default;

void EnvState::OnExit(void* raw) {
  auto* self = static_cast<EnvState*>(raw);
  Napi::Env env(self->env_);
  Napi::HandleScope scope(env);
  // What close() does, at once: planes first, for they hold engines' logs. Handles take themselves out of the sets.
  while (!self->planes.empty()) (*self->planes.begin())->CloseNow(env);
  while (!self->engines.empty()) (*self->engines.begin())->CloseNow(env);
  self->queue->Close();
}

Napi::Value EnvState::ErrorOf(Napi::Env env, const Status& status) {
  Napi::EscapableHandleScope scope(env);
  if (error_class.IsEmpty()) return scope.Escape(Napi::Error::New(env, status.message()).Value());
  return scope.Escape(error_class.New({Napi::String::New(env, status.message()),
                                       Napi::String::New(env, CodeName(status.code())),
                                       Napi::Number::New(env, status.system_errno())}));
}

Napi::Value EnvState::Throw(Napi::Env env, const Status& status) {
  napi_throw(env, ErrorOf(env, status));
  return env.Undefined();
}

}  // namespace varve::binding
