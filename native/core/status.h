// SPDX-License-Identifier: Apache-2.0
// Status and Result: how every function of core says that it failed. No exceptions, no errno beyond this file's
// FromErrno: the one place where an errno becomes a code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace varve {

/// What kind of failure; callers decide by it, never by the message.
enum class Code : uint8_t {
  kOk = 0,
  kClosed,       ///< the log, engine or directory was closed
  kCorrupt,      ///< bytes on disk are not what was written: rebuild or truncate
  kOutOfRange,   ///< an offset outside [logStartOffset, logEndOffset]
  kNoSpace,      ///< the disk is full (ENOSPC, EDQUOT); retry after room was made
  kLocked,       ///< the directory belongs to another process
  kIo,           ///< the disk failed; the log directory goes offline
  kInvalid,      ///< an argument that no caller should pass
  kNotFound,     ///< no such file
  kUnsupported,  ///< this file, codec or format version is not known here
  kTooLarge,     ///< larger than the configured limit
};

/// The code's stable name ("CLOSED", "CORRUPT", ...), as TypeScript shows it.
const char* CodeName(Code code);

/// Cheap when ok: no message, no allocation.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message, int system_errno = 0)
      : code_(code), errno_(system_errno), message_(std::move(message)) {}

  static Status Ok() { return Status(); }
  /// The failure of a system call: "`what`: strerror". The only translation of errno to Code.
  static Status FromErrno(int system_errno, const std::string& what);

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  int system_errno() const { return errno_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::kOk;
  int errno_ = 0;
  std::string message_;
};

/// A value, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}               // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {}       // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() { return *value_; }
  const T& value() const { return *value_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

#define VARVE_CONCAT_(a, b) a##b
#define VARVE_CONCAT(a, b) VARVE_CONCAT_(a, b)
/// Returns the Status of `expr` from this function when it is not ok.
#define VARVE_TRY(expr)                              \
  do {                                               \
    ::varve::Status varve_status = (expr);           \
    if (!varve_status.ok()) return varve_status;     \
  } while (false)

}  // namespace varve
