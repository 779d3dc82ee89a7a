// SPDX-License-Identifier: Apache-2.0
// Shared by the CRC32C variants: arithmetic on polynomials modulo Castagnoli's, at compile time, and what
// each platform file adds to the list of variants.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/crc32c.h"

namespace varve::crc32c_internal {

inline constexpr uint32_t kPolynomial = 0x82f63b78;

/// v * x. Reflected: bit 31 is the coefficient of x^0, bit 0 that of x^31.
constexpr uint32_t MultiplyByX(uint32_t v) { return (v >> 1) ^ ((v & 1) != 0 ? kPolynomial : 0); }

/// a * b.
constexpr uint32_t Multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 0x80000000; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = MultiplyByX(b);
  }
  return product;
}

/// x^exponent.
constexpr uint32_t XPower(uint64_t exponent) {
  uint32_t power = 0x80000000;
  uint32_t square = 0x40000000;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) power = Multiply(power, square);
    square = Multiply(square, square);
  }
  return power;
}

inline constexpr size_t kVariantsMax = 5;

/// The variants of this machine in rising order of preference; `Add` beyond kVariantsMax is a programming
/// error.
struct VariantList {
  std::array<Crc32cVariant, kVariantsMax> items{};
  size_t count = 0;
  void Add(const char* name, uint32_t (*extend)(uint32_t, const uint8_t*, size_t)) {
    items[count++] = {name, extend};
  }
};

/// Defined once per platform (crc32c_x86.cc, crc32c_arm64.cc); on others the table is all there is.
void AddPlatformVariants(VariantList* list);

}  // namespace varve::crc32c_internal
