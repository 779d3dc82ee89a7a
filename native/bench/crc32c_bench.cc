// SPDX-License-Identifier: Apache-2.0
// How fast is each CRC32C variant of this machine, by size? Prints GB/s of thread CPU time, best of five,
// data in cache.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <vector>

#include "core/crc32c.h"

namespace {

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

uint32_t sink = 0;

double GigabytesPerSecond(const varve::Crc32cVariant& variant, const std::vector<uint8_t>& bytes,
                          size_t size) {
  constexpr size_t kBytesPerRound = 32 << 20;
  const bool slow = variant.extend == varve::Crc32cVariants().front().extend;
  const size_t repeats = std::max<size_t>(1, (slow ? kBytesPerRound / 16 : kBytesPerRound) / size);
  double best = 1e9;
  for (int round = 0; round < 5; round++) {
    double start = CpuSeconds();
    for (size_t i = 0; i < repeats; i++) sink = variant.extend(sink, bytes.data(), size);
    best = std::min(best, CpuSeconds() - start);
  }
  return static_cast<double>(size * repeats) / best / 1e9;
}

}  // namespace

int main() {
  constexpr size_t kSizes[] = {64, 256, 1024, 4096, 16384, 65536, 1 << 20};
  std::vector<uint8_t> bytes(kSizes[6]);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  std::printf("%-12s", "bytes");
  for (size_t size : kSizes) std::printf("%9zu", size);
  std::printf("\n");
  for (const varve::Crc32cVariant& variant : varve::Crc32cVariants()) {
    std::printf("%-12s", variant.name);
    for (size_t size : kSizes) std::printf("%9.2f", GigabytesPerSecond(variant, bytes, size));
    std::printf("\n");
  }
  return sink == 1 ? 1 : 0;
}
