// SPDX-License-Identifier: Apache-2.0
#include "core/status.h"

#include <cerrno>
#include <cstring>

namespace varve {

const char* CodeName(Code code) {
  switch (code) {
    case Code::kOk: return "OK";
    case Code::kClosed: return "CLOSED";
    case Code::kCorrupt: return "CORRUPT";
    case Code::kOutOfRange: return "OUT_OF_RANGE";
    case Code::kNoSpace: return "NO_SPACE";
    case Code::kLocked: return "LOCKED";
    case Code::kIo: return "IO";
    case Code::kInvalid: return "INVALID";
    case Code::kNotFound: return "NOT_FOUND";
    case Code::kUnsupported: return "UNSUPPORTED";
    case Code::kTooLarge: return "TOO_LARGE";
  }
  return "UNKNOWN";
}

Status Status::FromErrno(int system_errno, const std::string& what) {
  Code code = Code::kIo;
  switch (system_errno) {
    case ENOSPC:
    case EDQUOT: code = Code::kNoSpace; break;
    case ENOENT: code = Code::kNotFound; break;
    default: break;
  }
  return Status(code, what + ": " + std::strerror(system_errno), system_errno);
}

}  // namespace varve
