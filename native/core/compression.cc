// SPDX-License-Identifier: Apache-2.0
#include "core/compression.h"

#include <algorithm>
#include <cstdlib>

#include "core/compression_internal.h"

namespace varve {

namespace {
constexpr uint64_t kRatioMax = 1000;
constexpr uint64_t kRatioFreeBytes = 64 * 1024;
// Under AddressSanitizer a buffer is exactly as large as it was asked to be, so that a decoder that writes
// further is seen.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kExactBuffers = true;
#elif defined(__has_feature)
constexpr bool kExactBuffers = __has_feature(address_sanitizer);
#else
constexpr bool kExactBuffers = false;
#endif
constexpr size_t kCapacityMin = 256 * 1024;
}  // namespace

DecodeScratch::~DecodeScratch() {
  std::free(data_);
  compression_internal::FreeGzipState(gzip_state);
  compression_internal::FreeZstdState(zstd_state);
}

uint8_t* DecodeScratch::Reserve(size_t bytes) {
  if (bytes <= capacity_ && data_ != nullptr) return data_;
  size_t capacity = kExactBuffers ? bytes : std::max({bytes, kCapacityMin, capacity_ + capacity_ / 2});
  auto* grown = static_cast<uint8_t*>(std::realloc(data_, capacity + kSlackBytes));
  if (grown == nullptr) return nullptr;
  data_ = grown;
  capacity_ = capacity;
  return data_;
}

void DecodeScratch::Trim() {
  if (capacity_ <= kKeepBytes) return;
  std::free(data_);
  data_ = nullptr;
  capacity_ = 0;
}

uint64_t DecodedBytesLimit(uint64_t in_bytes, uint64_t max_bytes) {
  return std::min(max_bytes, std::max(kRatioFreeBytes, in_bytes * kRatioMax));
}

DecodeError Decompress(Codec codec, Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out) {
  switch (codec) {
    case Codec::kNone:
      if (in.size() > limit) return DecodeError::kTooLarge;
      *out = in;
      return DecodeError::kOk;
    case Codec::kGzip:
      return compression_internal::DecodeGzip(in, limit, scratch, out);
    case Codec::kSnappy:
      return compression_internal::DecodeSnappy(in, limit, scratch, out);
    case Codec::kLz4:
      return compression_internal::DecodeLz4(in, limit, scratch, out);
    case Codec::kZstd:
      return compression_internal::DecodeZstd(in, limit, scratch, out);
  }
  return DecodeError::kInvalid;
}

}  // namespace varve
