// SPDX-License-Identifier: Apache-2.0
// Gzip (RFC 1952), one or several members, by zlib's inflate: Node's binary exports it, and zlib.h is among
// its headers.
#include <zlib.h>

#include <algorithm>
#include <cstdlib>

#include "core/compression_internal.h"

namespace varve::compression_internal {

namespace {

constexpr int kGzipOnly = 16 + MAX_WBITS;
constexpr size_t kExpansionGuess = 4;

/// A stream ready for a new member, made once per scratch; null without memory.
z_stream* ReadyStream(DecodeScratch* scratch) {
  auto* stream = static_cast<z_stream*>(scratch->gzip_state);
  if (stream != nullptr) return inflateReset(stream) == Z_OK ? stream : nullptr;
  stream = static_cast<z_stream*>(std::calloc(1, sizeof(z_stream)));
  if (stream == nullptr) return nullptr;
  if (inflateInit2(stream, kGzipOnly) != Z_OK) {
    std::free(stream);
    return nullptr;
  }
  scratch->gzip_state = stream;
  return stream;
}

}  // namespace

void FreeGzipState(void* state) {
  if (state == nullptr) return;
  auto* stream = static_cast<z_stream*>(state);
  inflateEnd(stream);
  std::free(stream);
}

DecodeError DecodeGzip(Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out) {
  if (in.empty() || in.size() > UINT32_MAX) return DecodeError::kInvalid;
  z_stream* stream = ReadyStream(scratch);
  if (stream == nullptr) return DecodeError::kUnavailable;
  // One byte more than allowed: a stream that fills it is too large, one of exactly the limit ends before.
  const uint64_t room = limit + 1;
  uint64_t target = std::min(room, uint64_t{std::max(scratch->capacity(), kExpansionGuess * in.size())});
  uint64_t used = 0;
  stream->next_in = const_cast<Bytef*>(in.data());
  stream->avail_in = static_cast<uInt>(in.size());
  for (;;) {
    uint8_t* data = scratch->Reserve(target);
    if (data == nullptr) return DecodeError::kUnavailable;
    uint64_t step = std::min<uint64_t>(target - used, UINT32_MAX);
    stream->next_out = data + used;
    stream->avail_out = static_cast<uInt>(step);
    int result = inflate(stream, Z_NO_FLUSH);
    used += step - stream->avail_out;
    if (used > limit) return DecodeError::kTooLarge;
    if (result == Z_STREAM_END) {
      if (stream->avail_in == 0) break;
      if (inflateReset(stream) != Z_OK) return DecodeError::kInvalid;
      continue;
    }
    // Anything but want of room is a broken stream: inflate was given all the input there is.
    bool want_room = stream->avail_out == 0 && (result == Z_OK || result == Z_BUF_ERROR);
    if (!want_room) return DecodeError::kInvalid;
    if (used == target) target = std::min(room, target * 2);
  }
  *out = Bytes(scratch->data(), used);
  return DecodeError::kOk;
}

}  // namespace varve::compression_internal
