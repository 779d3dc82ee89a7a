// SPDX-License-Identifier: Apache-2.0
#include "core/crc32c.h"

#include <array>
#include <atomic>

#include "core/crc32c_internal.h"

namespace varve {

namespace {

using crc32c_internal::Multiply;
using crc32c_internal::MultiplyByX;
using crc32c_internal::VariantList;
using crc32c_internal::XPower;

constexpr std::array<uint32_t, 256> MakeByteTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t v = byte;
    for (int bit = 0; bit < 8; bit++) v = MultiplyByX(v);
    table[byte] = v;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kByteTable = MakeByteTable();

uint32_t ExtendByTable(uint32_t crc, const uint8_t* data, size_t size) {
  crc = ~crc;
  for (size_t i = 0; i < size; i++) crc = kByteTable[(crc ^ data[i]) & 0xff] ^ (crc >> 8);
  return ~crc;
}

const VariantList& Variants() {
  static const VariantList list = [] {
    VariantList made;
    made.Add("table", ExtendByTable);
    crc32c_internal::AddPlatformVariants(&made);
    return made;
  }();
  return list;
}

using Extend = uint32_t (*)(uint32_t, const uint8_t*, size_t);

uint32_t ChooseAndExtend(uint32_t crc, const uint8_t* data, size_t size);

/// Constant-initialised, so that a call from another static initialiser is in order too.
constinit std::atomic<Extend> chosen{ChooseAndExtend};

uint32_t ChooseAndExtend(uint32_t crc, const uint8_t* data, size_t size) {
  const VariantList& list = Variants();
  Extend best = list.items[list.count - 1].extend;
  chosen.store(best, std::memory_order_relaxed);
  return best(crc, data, size);
}

}  // namespace

uint32_t Crc32c(uint32_t crc, Bytes bytes) {
  return chosen.load(std::memory_order_relaxed)(crc, bytes.data(), bytes.size());
}

// The inversions before and after each CRC cancel: crc(a + b) = crc(a) * x^(8 * size_b) + crc(b).
uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b) {
  return Multiply(crc_a, XPower(size_b * 8)) ^ crc_b;
}

std::span<const Crc32cVariant> Crc32cVariants() {
  const VariantList& list = Variants();
  return {list.items.data(), list.count};
}

#if !defined(__x86_64__) && !defined(__aarch64__)
void crc32c_internal::AddPlatformVariants(VariantList*) {}
#endif

}  // namespace varve
