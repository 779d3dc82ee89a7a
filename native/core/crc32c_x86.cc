// SPDX-License-Identifier: Apache-2.0
// CRC32C on x86-64: the crc32 instruction one word after another; three interleaved lanes of it, joined by a
// carry-less multiplication; and folding of 256 bytes at a time by VPCLMULQDQ on 512-bit registers (V. Gopal
// et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009, in its
// bit-reflected form).
#if defined(__x86_64__)

#include <immintrin.h>

#include "core/crc32c_internal.h"

namespace varve::crc32c_internal {

namespace {

__attribute__((target("sse4.2"))) inline uint64_t Word(uint64_t crc, const uint8_t* p) {
  uint64_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm_crc32_u64(crc, word);
}

/// Without the inversions: `state` in, state out.
__attribute__((target("sse4.2"))) inline uint32_t SerialState(uint32_t state, const uint8_t* data,
                                                              size_t size) {
  uint64_t crc = state;
  for (; size >= 8; data += 8, size -= 8) crc = Word(crc, data);
  uint32_t last = static_cast<uint32_t>(crc);
  if ((size & 4) != 0) {
    uint32_t word;
    __builtin_memcpy(&word, data, sizeof word);
    last = _mm_crc32_u32(last, word);
    data += 4;
  }
  if ((size & 2) != 0) {
    uint16_t word;
    __builtin_memcpy(&word, data, sizeof word);
    last = _mm_crc32_u16(last, word);
    data += 2;
  }
  if ((size & 1) != 0) last = _mm_crc32_u8(last, *data);
  return last;
}

__attribute__((target("sse4.2"))) uint32_t ExtendSerial(uint32_t crc, const uint8_t* data, size_t size) {
  return ~SerialState(~crc, data, size);
}

/// state * x^(8 * kBytes). The product of two reflected words of 32 bits, read as one of 64, has a factor x
/// too many, and the crc32 instruction multiplies by x^32 and reduces: so the constant is x^(8 * kBytes -
/// 33).
template <size_t kBytes>
__attribute__((target("sse4.2,pclmul"))) inline uint32_t Shift(uint32_t state) {
  constexpr uint32_t kFactor = XPower(8 * kBytes - 33);
  __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128(static_cast<int>(state)),
                                         _mm_cvtsi32_si128(static_cast<int>(kFactor)), 0);
  return static_cast<uint32_t>(_mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(product))));
}

/// The instruction has a latency of three cycles and a throughput of one: three independent lanes keep it
/// busy.
template <size_t kLane>
__attribute__((target("sse4.2,pclmul"))) inline uint32_t ThreeLanes(uint32_t state, const uint8_t* data) {
  uint64_t a = state, b = 0, c = 0;
  for (size_t i = 0; i < kLane; i += 8) {
    a = Word(a, data + i);
    b = Word(b, data + kLane + i);
    c = Word(c, data + 2 * kLane + i);
  }
  uint32_t ab = Shift<kLane>(static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
  return Shift<kLane>(ab) ^ static_cast<uint32_t>(c);
}

__attribute__((target("sse4.2,pclmul"))) uint32_t ExtendThreeLanes(uint32_t crc, const uint8_t* data,
                                                                   size_t size) {
  constexpr size_t kLong = 2048;
  constexpr size_t kShort = 256;
  uint32_t state = ~crc;
  for (; size >= 3 * kLong; data += 3 * kLong, size -= 3 * kLong) state = ThreeLanes<kLong>(state, data);
  for (; size >= 3 * kShort; data += 3 * kShort, size -= 3 * kShort) state = ThreeLanes<kShort>(state, data);
  return ~SerialState(state, data, size);
}

/// What moves a 128-bit accumulator forward by `kBits`: factors for its low half (earlier bytes, 64 powers
/// higher) and its high half. A reflected product of 64 x 64 bits, read as 128, has a factor x too many:
/// hence the - 1.
template <uint64_t kBits>
struct Fold {
  static constexpr long long kLow =
      static_cast<long long>(static_cast<uint64_t>(XPower(kBits + 64 - 1)) << 32);
  static constexpr long long kHigh = static_cast<long long>(static_cast<uint64_t>(XPower(kBits - 1)) << 32);
};

#define VARVE_TARGET_VPCLMUL __attribute__((target("sse4.2,pclmul,avx512f,vpclmulqdq")))

VARVE_TARGET_VPCLMUL inline __m512i FoldBy(__m512i acc, __m512i factors, __m512i next) {
  __m512i low = _mm512_clmulepi64_epi128(acc, factors, 0x00);
  __m512i high = _mm512_clmulepi64_epi128(acc, factors, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, 0x96);  // three-way exclusive or
}

template <uint64_t kBits>
VARVE_TARGET_VPCLMUL inline __m512i FactorsFor() {
  using F = Fold<kBits>;
  return _mm512_set_epi64(F::kHigh, F::kLow, F::kHigh, F::kLow, F::kHigh, F::kLow, F::kHigh, F::kLow);
}

/// The zero-masked form: GCC 12 warns about its own header's undefined operand in the plain one.
template <int kIndex>
VARVE_TARGET_VPCLMUL inline __m128i Quarter(__m512i v) {
  return _mm512_maskz_extracti32x4_epi32(0xf, v, kIndex);
}

VARVE_TARGET_VPCLMUL uint32_t ExtendVpclmul(uint32_t crc, const uint8_t* data, size_t size) {
  if (size < 256) return ExtendSerial(crc, data, size);
  const __m512i by256 = FactorsFor<2048>();
  const __m512i by64 = FactorsFor<512>();
  __m512i a = _mm512_loadu_si512(data);
  __m512i b = _mm512_loadu_si512(data + 64);
  __m512i c = _mm512_loadu_si512(data + 128);
  __m512i d = _mm512_loadu_si512(data + 192);
  a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(~crc))));
  data += 256;
  size -= 256;
  for (; size >= 256; data += 256, size -= 256) {
    a = FoldBy(a, by256, _mm512_loadu_si512(data));
    b = FoldBy(b, by256, _mm512_loadu_si512(data + 64));
    c = FoldBy(c, by256, _mm512_loadu_si512(data + 128));
    d = FoldBy(d, by256, _mm512_loadu_si512(data + 192));
  }
  // Four accumulators to one: a is 128 bytes before c, b before d; then c is 64 before d.
  const __m512i by128 = FactorsFor<1024>();
  c = FoldBy(a, by128, c);
  d = FoldBy(b, by128, d);
  d = FoldBy(c, by64, d);
  for (; size >= 64; data += 64, size -= 64) d = FoldBy(d, by64, _mm512_loadu_si512(data));
  // Four 128-bit parts of it to one: 48, 32 and 16 bytes before the last.
  const __m512i lanes = _mm512_set_epi64(0, 0, Fold<128>::kHigh, Fold<128>::kLow, Fold<256>::kHigh,
                                         Fold<256>::kLow, Fold<384>::kHigh, Fold<384>::kLow);
  __m512i folded =
      _mm512_xor_si512(_mm512_clmulepi64_epi128(d, lanes, 0x00), _mm512_clmulepi64_epi128(d, lanes, 0x11));
  __m128i sum = _mm_xor_si128(_mm_xor_si128(Quarter<0>(folded), Quarter<1>(folded)),
                              _mm_xor_si128(Quarter<2>(folded), Quarter<3>(d)));
  uint64_t state = _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(sum)));
  state = _mm_crc32_u64(state, static_cast<uint64_t>(_mm_extract_epi64(sum, 1)));
  return ~SerialState(static_cast<uint32_t>(state), data, size);
}

}  // namespace

// __builtin_cpu_supports asks XGETBV as well, so that a register set the kernel does not save is never
// chosen.
void AddPlatformVariants(VariantList* list) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("sse4.2")) return;
  list->Add("sse42", ExtendSerial);
  if (!__builtin_cpu_supports("pclmul")) return;
  list->Add("sse42x3", ExtendThreeLanes);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("vpclmulqdq")) return;
  list->Add("vpclmul512", ExtendVpclmul);
}

}  // namespace varve::crc32c_internal

#endif
