// SPDX-License-Identifier: Apache-2.0
// Zstandard (RFC 8878) by whichever decoder the process can reach: Node >= 22.15 exports ZSTD_*, else the
// system's libzstd.so.1. Without either, callers decode elsewhere. Only functions of zstd's stable interface
// are used, declared here because no header is there at build time.
#include <dlfcn.h>

#include <algorithm>

#include "core/compression_internal.h"

namespace varve::compression_internal {

namespace {

constexpr uint32_t kMagic = 0xfd2fb528;
constexpr uint64_t kExpansionGuess = 4;
/// ZSTD_error_dstSize_tooSmall: zstd_errors.h promises that its values below 100 stay.
constexpr int kDestinationTooSmall = 70;

struct Library {
  void* (*create)() = nullptr;                                                // ZSTD_createDCtx
  size_t (*free)(void*) = nullptr;                                            // ZSTD_freeDCtx
  size_t (*decompress)(void*, void*, size_t, const void*, size_t) = nullptr;  // ZSTD_decompressDCtx
  size_t (*frame_size)(const void*, size_t) = nullptr;                        // ZSTD_findFrameCompressedSize
  unsigned (*is_error)(size_t) = nullptr;                                     // ZSTD_isError
  int (*error_code)(size_t) = nullptr;                                        // ZSTD_getErrorCode

  bool Load(void* handle) {
    return Find(handle, "ZSTD_createDCtx", &create) && Find(handle, "ZSTD_freeDCtx", &free) &&
           Find(handle, "ZSTD_decompressDCtx", &decompress) &&
           Find(handle, "ZSTD_findFrameCompressedSize", &frame_size) &&
           Find(handle, "ZSTD_isError", &is_error) && Find(handle, "ZSTD_getErrorCode", &error_code);
  }

 private:
  template <typename Function>
  static bool Find(void* handle, const char* name, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(handle, name));
    return *function != nullptr;
  }
};

/// Looked for once; null when there is none. The library stays loaded for the life of the process.
const Library* Zstd() {
  static const struct Found {
    Library library;
    bool ok = false;
    Found() {
      ok = library.Load(RTLD_DEFAULT);
      if (ok) return;
      void* handle = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
      ok = handle != nullptr && library.Load(handle);
    }
  } found;
  return found.ok ? &found.library : nullptr;
}

}  // namespace

void FreeZstdState(void* state) {
  if (state != nullptr) Zstd()->free(state);
}

DecodeError DecodeZstd(Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out) {
  const Library* zstd = Zstd();
  if (zstd == nullptr) return DecodeError::kUnavailable;
  if (scratch->zstd_state == nullptr) scratch->zstd_state = zstd->create();
  if (scratch->zstd_state == nullptr || scratch->Reserve(0) == nullptr) return DecodeError::kUnavailable;
  size_t position = 0;
  uint64_t used = 0;
  while (position < in.size() || position == 0) {
    Bytes rest = in.subspan(position);
    // Skippable frames carry nothing, and the formats before 0.8 are decoders that nobody should meet.
    if (rest.size() < 4 || LoadLe32(rest.data()) != kMagic) return DecodeError::kInvalid;
    size_t frame = zstd->frame_size(rest.data(), rest.size());
    if (zstd->is_error(frame) != 0) return DecodeError::kInvalid;
    // All of a frame at once, so that the output is the window and a declared window size costs nothing.
    // Java's producers do not write the content size: begin with a guess, and begin again with twice the room
    // where it was too little.
    uint64_t target =
        std::min(limit, std::max(uint64_t{scratch->capacity()}, used + kExpansionGuess * frame));
    for (;;) {
      uint8_t* data = scratch->Reserve(target);
      if (data == nullptr) return DecodeError::kUnavailable;
      size_t size = zstd->decompress(scratch->zstd_state, data + used, target - used, rest.data(), frame);
      if (zstd->is_error(size) == 0) {
        used += size;
        break;
      }
      if (zstd->error_code(size) != kDestinationTooSmall) return DecodeError::kInvalid;
      if (target == limit) return DecodeError::kTooLarge;
      target = std::min(limit, target * 2);
    }
    position += frame;
  }
  *out = Bytes(scratch->data(), used);
  return DecodeError::kOk;
}

}  // namespace varve::compression_internal

namespace varve {
bool ZstdAvailable() { return compression_internal::Zstd() != nullptr; }
}  // namespace varve
