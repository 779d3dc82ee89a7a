// SPDX-License-Identifier: Apache-2.0
// The addon's door: what src/storage/native.ts sees. One load per process (linked with -z nodelete: engine threads may outlive a
// worker that loaded it), one EnvState per environment.
#include <napi.h>

#include <algorithm>
#include <string>

#include "binding/convert.h"
#include "binding/engine_binding.h"
#include "binding/env_state.h"
#include "binding/log_binding.h"
#include "binding/plane_binding.h"
#include "core/compression.h"
#include "core/crc32c.h"
#include "core/vfs.h"

namespace varve::binding {
namespace {

Napi::Value Crc32cOf(const Napi::CallbackInfo& info) {
  MutableBytes bytes;
  if (!BytesOf(info[1], &bytes)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), Crc32c(static_cast<uint32_t>(Int(info[0])), bytes));
}

// decompress(codec, bytes, bytesMax): Buffer
Napi::Value DecompressOf(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  MutableBytes bytes;
  if (!BytesOf(info[1], &bytes)) return env.Undefined();
  EnvState& state = EnvState::Of(env);
  int64_t codec = Int(info[0]);
  if (codec <= 0 || codec > kCodecIdMax)
    return state.Throw(env, Status(Code::kUnsupported, "no compression has the id " + std::to_string(codec)));
  Bytes out;
  uint64_t limit = DecodedBytesLimit(bytes.size(), static_cast<uint64_t>(std::max<int64_t>(Int(info[2]), 0)));
  switch (Decompress(static_cast<Codec>(codec), bytes, limit, &state.scratch, &out)) {
    case DecodeError::kOk: break;
    case DecodeError::kInvalid:
      return state.Throw(env, Status(Code::kCorrupt, "the records are not a whole stream of their codec"));
    case DecodeError::kTooLarge:
      return state.Throw(env, Status(Code::kTooLarge, "the records decompress to more than " + std::to_string(limit) + " bytes"));
    case DecodeError::kUnavailable:
      return state.Throw(env, Status(Code::kUnsupported, "no zstd decoder here: use Node 22.15 or newer, or install libzstd.so.1"));
  }
  Napi::Value copy = Napi::Buffer<uint8_t>::Copy(env, out.data(), out.size());
  state.scratch.Trim();
  return copy;
}

Napi::Value RaiseNofile(const Napi::CallbackInfo& info) {
  DescriptorLimit limit = RaiseNofileLimit();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("soft", Napi::Number::New(info.Env(), static_cast<double>(limit.soft)));
  out.Set("hard", Napi::Number::New(info.Env(), static_cast<double>(limit.hard)));
  return out;
}

Napi::Value SetErrorClass(const Napi::CallbackInfo& info) {
  if (info[0].IsFunction()) EnvState::Of(info.Env()).error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

Napi::Value LiveWindows(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Windows::Live()));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* state = new EnvState(env);
  env.SetInstanceData(state);
  EngineHandle::Register(env, *state);
  LogHandle::Register(env, *state);
  PlaneHandle::Register(env, *state);
  PartitionHandle::Register(env, *state);
  ConnectionHandle::Register(env, *state);
  exports.Set("openEngine", Napi::Function::New(env, &EngineHandle::Open, "openEngine"));
  exports.Set("createPlane", Napi::Function::New(env, &PlaneHandle::Create, "createPlane"));
  exports.Set("crc32c", Napi::Function::New(env, &Crc32cOf, "crc32c"));
  exports.Set("decompress", Napi::Function::New(env, &DecompressOf, "decompress"));
  exports.Set("raiseNofileLimit", Napi::Function::New(env, &RaiseNofile, "raiseNofileLimit"));
  exports.Set("setErrorClass", Napi::Function::New(env, &SetErrorClass, "setErrorClass"));
  exports.Set("liveWindows", Napi::Function::New(env, &LiveWindows, "liveWindows"));
  return exports;
}

}  // namespace
}  // namespace varve::binding

static Napi::Object InitVarve(Napi::Env env, Napi::Object exports) { return varve::binding::Init(env, exports); }
NODE_API_MODULE(varve, InitVarve)
