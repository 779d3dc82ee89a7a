// SPDX-License-Identifier: Apache-2.0
#include "core/crc32c.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

namespace varve {
namespace {

Bytes Text(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

std::vector<uint8_t> RandomBytes(std::mt19937_64* rng, size_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((*rng)());
  return bytes;
}

TEST(Crc32c, EveryVariantKnowsThePublishedVectors) {
  std::vector<uint8_t> ascending(32), descending(32);
  std::iota(ascending.begin(), ascending.end(), uint8_t{0});
  std::reverse_copy(ascending.begin(), ascending.end(), descending.begin());
  for (const Crc32cVariant& variant : Crc32cVariants()) {
    auto crc = [&](Bytes bytes) { return variant.extend(0, bytes.data(), bytes.size()); };
    EXPECT_EQ(crc(Text("123456789")), 0xe3069283u) << variant.name;
    EXPECT_EQ(crc(std::vector<uint8_t>(32, 0x00)), 0x8a9136aau) << variant.name;
    EXPECT_EQ(crc(std::vector<uint8_t>(32, 0xff)), 0x62a8ab43u) << variant.name;
    EXPECT_EQ(crc(ascending), 0x46dd794eu) << variant.name;
    EXPECT_EQ(crc(descending), 0x113fdb5cu) << variant.name;
    EXPECT_EQ(crc({}), 0u) << variant.name;
  }
}

TEST(Crc32c, TheOneChosenIsTheLastVariant) {
  ASSERT_GE(Crc32cVariants().size(), 1u);
  EXPECT_STREQ(Crc32cVariants().front().name, "table");
  EXPECT_EQ(Crc32c(0, Text("123456789")), 0xe3069283u);
}

TEST(Crc32c, EveryVariantAgreesWithTheByteTableAtAnyLengthAlignmentAndStart) {
  std::mt19937_64 rng(20240601);
  std::span<const Crc32cVariant> variants = Crc32cVariants();
  std::vector<uint8_t> bytes = RandomBytes(&rng, 10000 + 64);
  for (int round = 0; round < 3000; round++) {
    size_t start = rng() % 64;
    size_t size = round < 1100 ? static_cast<size_t>(round) : rng() % 10001;
    uint32_t before = static_cast<uint32_t>(rng());
    uint32_t expected = variants[0].extend(before, &bytes[start], size);
    for (const Crc32cVariant& variant : variants) {
      ASSERT_EQ(variant.extend(before, &bytes[start], size), expected)
          << variant.name << " " << start << " " << size;
    }
  }
}

TEST(Crc32c, ReadsNothingOutsideOfItsBytes) {
  // An allocation of exactly the size: what reads past it is the sanitizer's to see, and the sums must not
  // depend on it.
  std::mt19937_64 rng(1);
  for (size_t size = 1; size < 1200; size += 7) {
    std::vector<uint8_t> bytes = RandomBytes(&rng, size);
    bytes.shrink_to_fit();
    uint32_t expected = Crc32cVariants()[0].extend(0, bytes.data(), size);
    for (const Crc32cVariant& variant : Crc32cVariants())
      EXPECT_EQ(variant.extend(0, bytes.data(), size), expected);
  }
}

TEST(Crc32c, ContinuesOverAnySplit) {
  std::mt19937_64 rng(20240602);
  std::vector<uint8_t> bytes = RandomBytes(&rng, 10000);
  for (int round = 0; round < 500; round++) {
    Bytes all = Bytes(bytes).first(rng() % 10001);
    size_t first = rng() % (all.size() + 1);
    size_t second = first + rng() % (all.size() - first + 1);
    uint32_t crc = Crc32c(0, all.first(first));
    crc = Crc32c(crc, all.subspan(first, second - first));
    crc = Crc32c(crc, all.subspan(second));
    ASSERT_EQ(crc, Crc32c(0, all)) << first << " " << second << " " << all.size();
  }
}

TEST(Crc32c, CombinesTheSumsOfNeighbours) {
  std::mt19937_64 rng(20240603);
  std::vector<uint8_t> bytes = RandomBytes(&rng, 100000);
  for (int round = 0; round < 500; round++) {
    Bytes all = Bytes(bytes).first(rng() % 100001);
    size_t split = rng() % (all.size() + 1);
    uint32_t a = Crc32c(0, all.first(split)), b = Crc32c(0, all.subspan(split));
    ASSERT_EQ(Crc32cCombine(a, b, all.size() - split), Crc32c(0, all)) << split << " " << all.size();
  }
}

TEST(Crc32c, CombinesOverSizesThatNobodyHasBytesFor) {
  // Zero bytes one size at a time: 2^40 of them by doubling the sum of 1 KiB.
  std::vector<uint8_t> zeros(1024);
  uint32_t doubled = Crc32c(0, zeros);
  for (uint64_t size = 1024; size < uint64_t{1} << 40; size *= 2)
    doubled = Crc32cCombine(doubled, doubled, size);
  uint32_t joined = Crc32cCombine(Crc32c(0, zeros), 0, 0);
  EXPECT_EQ(joined, Crc32c(0, zeros));
  // 3/4 + 1/4 is the same as 1/2 + 1/2.
  auto zeros_of = [&](uint64_t size) {
    uint32_t crc = Crc32c(0, zeros);
    for (uint64_t have = 1024; have < size; have *= 2) crc = Crc32cCombine(crc, crc, have);
    return crc;
  };
  uint64_t quarter = uint64_t{1} << 38;
  uint32_t three = Crc32cCombine(zeros_of(2 * quarter), zeros_of(quarter), quarter);
  EXPECT_EQ(Crc32cCombine(three, zeros_of(quarter), quarter), doubled);
}

TEST(Crc32c, FindsEverySingleFlippedBit) {
  std::mt19937_64 rng(20240604);
  std::vector<uint8_t> bytes = RandomBytes(&rng, 700);
  uint32_t crc = Crc32c(0, bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; bit++) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    ASSERT_NE(Crc32c(0, bytes), crc) << bit;
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
  }
}

}  // namespace
}  // namespace varve
