// SPDX-License-Identifier: Apache-2.0
// What the codecs of compression.h share: their entry points, and the copies that LZ4 and snappy live on.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/compression.h"

namespace varve::compression_internal {

DecodeError DecodeGzip(Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out);
DecodeError DecodeSnappy(Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out);
DecodeError DecodeLz4(Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out);
DecodeError DecodeZstd(Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out);
void FreeGzipState(void* state);
void FreeZstdState(void* state);

inline uint16_t LoadLe16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline uint32_t LoadLe32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline uint64_t LoadLe64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void Copy8(uint8_t* to, const uint8_t* from) {
  uint64_t v;
  std::memcpy(&v, from, sizeof v);
  std::memcpy(to, &v, sizeof v);
}
/// Through registers, so that source and target may overlap.
inline void Copy16(uint8_t* to, const uint8_t* from) {
  uint64_t v[2];
  std::memcpy(v, from, sizeof v);
  std::memcpy(to, v, sizeof v);
}

/// Literals: copies `size` bytes in steps of 16; reads and writes up to 15 bytes too many.
inline void CopyLiterals(uint8_t* to, const uint8_t* from, size_t size) {
  const uint8_t* end = to + size;
  do {
    Copy16(to, from);
    to += 16;
    from += 16;
  } while (to < end);
}

/// The repeating pattern of 1 to 7 bytes before `to`, as the word that starts with it.
inline uint64_t PatternWord(const uint8_t* to, size_t offset) {
  uint64_t word = LoadLe64(to - offset) & ((uint64_t{1} << (8 * offset)) - 1);
  for (size_t filled = offset; filled < 8; filled *= 2) word |= word << (8 * filled);
  return word;
}

/// A match: `size` bytes from `offset` (>= 1) before `to`, which may overlap what is being written. Writes up
/// to 15 bytes too many, within the scratch's slack.
inline void CopyMatch(uint8_t* to, size_t offset, size_t size) {
  const uint8_t* end = to + size;
  if (__builtin_expect(offset >= 16, 1)) {
    const uint8_t* from = to - offset;
    do {
      Copy16(to, from);
      to += 16;
      from += 16;
    } while (to < end);
  } else if (offset >= 8) {
    const uint8_t* from = to - offset;
    do {
      Copy8(to, from);
      to += 8;
      from += 8;
    } while (to < end);
  } else {
    const uint64_t word = PatternWord(to, offset);
    const size_t step = 8 - 8 % offset;  // whole repetitions, so that each store begins like the first
    do {
      std::memcpy(to, &word, sizeof word);
      to += step;
    } while (to < end);
  }
}

static_assert(DecodeScratch::kSlackBytes >= 32);

}  // namespace varve::compression_internal
