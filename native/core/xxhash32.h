// SPDX-License-Identifier: Apache-2.0
// XXH32 (xxHash specification 0.1.1): the checksum inside LZ4 frames, and nothing else here.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/bytes.h"

namespace varve {

inline uint32_t XxHash32(Bytes bytes, uint32_t seed) {
  constexpr uint32_t kPrime1 = 2654435761u, kPrime2 = 2246822519u, kPrime3 = 3266489917u,
                     kPrime4 = 668265263u, kPrime5 = 374761393u;
  auto word = [](const uint8_t* p) {
    uint32_t v;
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  auto round = [](uint32_t lane, uint32_t input) { return std::rotl(lane + input * kPrime2, 13) * kPrime1; };
  const uint8_t* p = bytes.data();
  size_t left = bytes.size();
  uint32_t hash = seed + kPrime5;
  if (left >= 16) {
    uint32_t a = seed + kPrime1 + kPrime2, b = seed + kPrime2, c = seed, d = seed - kPrime1;
    for (; left >= 16; p += 16, left -= 16) {
      a = round(a, word(p));
      b = round(b, word(p + 4));
      c = round(c, word(p + 8));
      d = round(d, word(p + 12));
    }
    hash = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
  }
  hash += static_cast<uint32_t>(bytes.size());
  for (; left >= 4; p += 4, left -= 4) hash = std::rotl(hash + word(p) * kPrime3, 17) * kPrime4;
  for (; left > 0; p++, left--) hash = std::rotl(hash + *p * kPrime5, 11) * kPrime1;
  hash = (hash ^ (hash >> 15)) * kPrime2;
  hash = (hash ^ (hash >> 13)) * kPrime3;
  return hash ^ (hash >> 16);
}

}  // namespace varve
