// SPDX-License-Identifier: Apache-2.0
// Reading arguments. TypeScript has validated names and ranges; what is checked here is what memory safety needs: that a
// buffer is a buffer and that lengths lie inside it. A wrong kind throws a TypeError and the caller returns.
//
// An option may be a getter, which runs JavaScript, which may close what the call is about: so options are read first, and whether
// the receiver is still open is looked at afterwards.
#pragma once

#include <napi.h>

#include <string>

#include "core/bytes.h"
#include "core/log.h"

namespace varve::binding {

/// A number argument; NaN and others become 0 where an integer is wanted (saturating conversion).
inline int64_t Int(const Napi::Value& value) {
  int64_t out = 0;
  napi_get_value_int64(value.Env(), value, &out);
  return out;
}
inline double Double(const Napi::Value& value) {
  double out = 0;
  napi_get_value_double(value.Env(), value, &out);
  return out;
}
inline bool Bool(const Napi::Value& value) {
  bool out = false;
  napi_get_value_bool(value.Env(), value, &out);
  return out;
}
inline std::string Text(const Napi::Value& value) {
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

/// The bytes of a Uint8Array (or Buffer) argument. False with a pending TypeError for anything else, shared memory included:
/// another thread could change between check and use what was checked. A detached one is empty.
inline bool BytesOf(const Napi::Value& value, MutableBytes* out) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  bool is_typed_array = false;
  bool is_own = false;
  napi_is_typedarray(value.Env(), value, &is_typed_array);
  if (!is_typed_array ||
      napi_get_typedarray_info(value.Env(), value, &type, &length, &data, &buffer, nullptr) != napi_ok ||
      (type != napi_uint8_array && type != napi_uint8_clamped_array) ||
      napi_is_arraybuffer(value.Env(), buffer, &is_own) != napi_ok || !is_own) {
    Napi::TypeError::New(value.Env(), "expected a Uint8Array over memory that is not shared").ThrowAsJavaScriptException();
    return false;
  }
  *out = MutableBytes(static_cast<uint8_t*>(data), data == nullptr ? 0 : length);
  return true;
}

/// A Float64Array of at least `count` numbers that results are written to; null with a pending TypeError otherwise.
inline double* NumbersOf(const Napi::Value& value, size_t count) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  bool is_typed_array = false;
  napi_is_typedarray(value.Env(), value, &is_typed_array);
  if (is_typed_array &&
      napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) == napi_ok &&
      type == napi_float64_array && length >= count && data != nullptr)
    return static_cast<double*>(data);
  Napi::TypeError::New(value.Env(), "expected a Float64Array of " + std::to_string(count) + " numbers")
      .ThrowAsJavaScriptException();
  return nullptr;
}

/// False with a pending TypeError unless it is an object.
inline bool CheckObject(const Napi::Value& value, const char* what) {
  if (value.IsObject()) return true;
  Napi::TypeError::New(value.Env(), std::string("expected ") + what).ThrowAsJavaScriptException();
  return false;
}

/// False with a pending exception when it is no object, or one of its getters threw.
inline bool LogConfigOf(const Napi::Value& value, LogConfig* out) {
  if (!CheckObject(value, "a log's settings")) return false;
  Napi::Object object = value.As<Napi::Object>();
  LogConfig config;
  config.segment_bytes = static_cast<uint64_t>(Int(object.Get("segmentBytes")));
  config.segment_ms = Int(object.Get("segmentMs"));
  config.segment_jitter_ms = Int(object.Get("segmentJitterMs"));
  config.segment_index_bytes = static_cast<uint32_t>(Int(object.Get("segmentIndexBytes")));
  config.index_interval_bytes = static_cast<uint32_t>(Int(object.Get("indexIntervalBytes")));
  config.retention_ms = Int(object.Get("retentionMs"));
  config.retention_bytes = Int(object.Get("retentionBytes"));
  config.file_delete_delay_ms = Int(object.Get("fileDeleteDelayMs"));
  config.cleanup_delete = Bool(object.Get("cleanupDelete"));
  config.cleanup_compact = Bool(object.Get("cleanupCompact"));
  config.log_append_time = Bool(object.Get("logAppendTime"));
  *out = config;
  return !value.Env().IsExceptionPending();
}

}  // namespace varve::binding
