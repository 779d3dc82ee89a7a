// SPDX-License-Identifier: Apache-2.0
// CRC32C (Castagnoli, RFC 3720 appendix B.4; reflected polynomial 0x82f63b78): the checksum of record batches
// v2 and of varve's sidecar files. One implementation per kind of CPU, chosen when first used; a byte table
// is the oracle that all others are tested against. Owns no data: any thread, any time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.h"

namespace varve {

/// The CRC32C of what `crc` covered followed by `bytes`: Crc32c(Crc32c(0, a), b) == Crc32c(0, a + b).
uint32_t Crc32c(uint32_t crc, Bytes bytes);

/// The CRC32C of a + b from Crc32c(0, a), Crc32c(0, b) and b's size (below 2^61), without their bytes.
uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

/// One way of computing it, for tests and benchmarks.
struct Crc32cVariant {
  const char* name;
  uint32_t (*extend)(uint32_t crc, const uint8_t* data, size_t size);
};

/// Those that this CPU can run: the byte table first, the one that Crc32c() uses last.
std::span<const Crc32cVariant> Crc32cVariants();

}  // namespace varve
