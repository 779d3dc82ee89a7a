// SPDX-License-Identifier: Apache-2.0
// CRC32C on 64-bit ARM: the crc32c instructions (optional before ARMv8.1) one word after another, and three
// interleaved lanes of them joined by a polynomial multiplication. Written as assembly, because compilers
// disagree on how intrinsics of an extension that the build does not assume are made available.
#if defined(__aarch64__)

#include <arm_neon.h>
#include <sys/auxv.h>

#include "core/crc32c_internal.h"

namespace varve::crc32c_internal {

namespace {

constexpr unsigned long kHwcapPmull = 1ul << 4;  // HWCAP_PMULL and HWCAP_CRC32 of asm/hwcap.h
constexpr unsigned long kHwcapCrc32 = 1ul << 7;

inline uint32_t Step8(uint32_t crc, uint64_t word) {
  asm(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
  return crc;
}
inline uint32_t Step4(uint32_t crc, uint32_t word) {
  asm(".arch_extension crc\n\tcrc32cw %w0, %w0, %w1" : "+r"(crc) : "r"(word));
  return crc;
}
inline uint32_t Step2(uint32_t crc, uint32_t word) {
  asm(".arch_extension crc\n\tcrc32ch %w0, %w0, %w1" : "+r"(crc) : "r"(word));
  return crc;
}
inline uint32_t Step1(uint32_t crc, uint32_t byte) {
  asm(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"(byte));
  return crc;
}

template <typename Word>
inline Word Load(const uint8_t* p) {
  Word word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

/// Without the inversions: `state` in, state out.
inline uint32_t SerialState(uint32_t state, const uint8_t* data, size_t size) {
  for (; size >= 8; data += 8, size -= 8) state = Step8(state, Load<uint64_t>(data));
  if ((size & 4) != 0) {
    state = Step4(state, Load<uint32_t>(data));
    data += 4;
  }
  if ((size & 2) != 0) {
    state = Step2(state, Load<uint16_t>(data));
    data += 2;
  }
  if ((size & 1) != 0) state = Step1(state, *data);
  return state;
}

uint32_t ExtendSerial(uint32_t crc, const uint8_t* data, size_t size) {
  return ~SerialState(~crc, data, size);
}

/// state * x^(8 * kBytes). The product of two reflected words of 32 bits, read as one of 64, has a factor x
/// too many, and crc32cx multiplies by x^32 and reduces: so the constant is x^(8 * kBytes - 33).
template <size_t kBytes>
inline uint32_t Shift(uint32_t state) {
  constexpr uint64_t kFactor = XPower(8 * kBytes - 33);
  uint64x2_t a = vdupq_n_u64(state);
  uint64x2_t b = vdupq_n_u64(kFactor);
  uint64x2_t product;
  asm(".arch_extension aes\n\tpmull %0.1q, %1.1d, %2.1d" : "=w"(product) : "w"(a), "w"(b));
  return Step8(0, vgetq_lane_u64(product, 0));
}

template <size_t kLane>
inline uint32_t ThreeLanes(uint32_t state, const uint8_t* data) {
  uint32_t a = state, b = 0, c = 0;
  for (size_t i = 0; i < kLane; i += 8) {
    a = Step8(a, Load<uint64_t>(data + i));
    b = Step8(b, Load<uint64_t>(data + kLane + i));
    c = Step8(c, Load<uint64_t>(data + 2 * kLane + i));
  }
  return Shift<kLane>(Shift<kLane>(a) ^ b) ^ c;
}

uint32_t ExtendThreeLanes(uint32_t crc, const uint8_t* data, size_t size) {
  constexpr size_t kLong = 2048;
  constexpr size_t kShort = 256;
  uint32_t state = ~crc;
  for (; size >= 3 * kLong; data += 3 * kLong, size -= 3 * kLong) state = ThreeLanes<kLong>(state, data);
  for (; size >= 3 * kShort; data += 3 * kShort, size -= 3 * kShort) state = ThreeLanes<kShort>(state, data);
  return ~SerialState(state, data, size);
}

}  // namespace

void AddPlatformVariants(VariantList* list) {
  unsigned long hwcap = getauxval(AT_HWCAP);
  if ((hwcap & kHwcapCrc32) == 0) return;
  list->Add("arm_crc", ExtendSerial);
  if ((hwcap & kHwcapPmull) == 0) return;
  list->Add("arm_crcx3", ExtendThreeLanes);
}

}  // namespace varve::crc32c_internal

#endif
