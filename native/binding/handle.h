// SPDX-License-Identifier: Apache-2.0
// Handle: a native object behind a JavaScript object, tagged by kind (napi_type_tag): a method borrowed onto the wrong
// object throws instead of reading foreign memory. JavaScript cannot construct one; the addon makes them with Wrap().
#pragma once

#include <napi.h>

#include <memory>
#include <utility>

namespace varve::binding {

/// Makes `T` usable as a JavaScript class. T declares `static constexpr napi_type_tag kTag`, `static constexpr const char*
/// kName` and `static napi_value Define(Napi::Env)` which calls DefineHandle.
template <typename T>
class HandleClass {
 public:
  /// The native object of `value`, or null with a pending TypeError.
  static T* Unwrap(Napi::Env env, napi_value value) {
    napi_valuetype type = napi_undefined;
    bool tagged = false;
    void* pointer = nullptr;
    if (napi_typeof(env, value, &type) == napi_ok && type == napi_object &&
        napi_check_object_type_tag(env, value, &T::kTag, &tagged) == napi_ok && tagged &&
        napi_unwrap(env, value, &pointer) == napi_ok && pointer != nullptr)
      return static_cast<T*>(pointer);
    Napi::TypeError::New(env, std::string("Illegal receiver or argument: not a ") + T::kName)
        .ThrowAsJavaScriptException();
    return nullptr;
  }

  /// A method of the class: `T::Method(info)` on the checked receiver.
  template <Napi::Value (T::*Method)(const Napi::CallbackInfo&)>
  static napi_property_descriptor Method_(const char* name) {
    return {name, nullptr, &Trampoline<Method>, nullptr, nullptr, nullptr, napi_default_method, nullptr};
  }

  static Napi::FunctionReference Define(Napi::Env env, std::initializer_list<napi_property_descriptor> methods) {
    napi_value constructor = nullptr;
    napi_define_class(env, T::kName, NAPI_AUTO_LENGTH, &Construct, nullptr, methods.size(), methods.begin(), &constructor);
    return Napi::Persistent(Napi::Function(env, constructor));
  }

  /// A JavaScript object that owns `native`.
  static Napi::Object Wrap(Napi::Env env, const Napi::FunctionReference& constructor, std::unique_ptr<T> native) {
    return constructor.New({Napi::External<std::unique_ptr<T>>::New(env, &native)});
  }

 private:
  static napi_value Construct(napi_env raw, napi_callback_info info) {
    Napi::Env env(raw);
    size_t count = 1;
    napi_value argument = nullptr;
    napi_value self = nullptr;
    napi_get_cb_info(raw, info, &count, &argument, &self, nullptr);
    napi_valuetype type = napi_undefined;
    if (count >= 1) napi_typeof(raw, argument, &type);
    // Only Wrap() passes an external; no external of ours ever reaches JavaScript.
    if (type != napi_external) {
      Napi::TypeError::New(env, std::string(T::kName) + " cannot be constructed").ThrowAsJavaScriptException();
      return nullptr;
    }
    void* holder = nullptr;
    napi_get_value_external(raw, argument, &holder);
    T* native = static_cast<std::unique_ptr<T>*>(holder)->release();
    napi_type_tag_object(raw, self, &T::kTag);
    napi_wrap(raw, self, native, [](napi_env, void* data, void*) { delete static_cast<T*>(data); }, nullptr, nullptr);
    return self;
  }

  template <Napi::Value (T::*Method)(const Napi::CallbackInfo&)>
  static napi_value Trampoline(napi_env raw, napi_callback_info raw_info) {
    Napi::CallbackInfo info(raw, raw_info);
    T* self = Unwrap(info.Env(), info.This());
    if (self == nullptr) return nullptr;
    return (self->*Method)(info);
  }
};

}  // namespace varve::binding
