// SPDX-License-Identifier: Apache-2.0
// Goal: nothing that a peer writes makes the reader leave its frame, loop beyond it or accept what Kafka's
// grammar forbids; and what the writer writes, the reader reads.
#include "plane/wire.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace varve {
namespace {

using Frame = std::vector<uint8_t>;

WireReader Flexible(const Frame& frame) { return WireReader(frame, true); }
WireReader Plain(const Frame& frame) { return WireReader(frame, false); }

TEST(WireReader, ReadsNumbersBigEndianAndStopsAtTheEnd) {
  const Frame frame = {0x01, 0xff, 0xfe, 0x00, 0x00, 0x00, 0x07, 0x80, 0, 0, 0, 0, 0, 0, 0x01};
  WireReader reader = Plain(frame);
  EXPECT_EQ(reader.Int8(), 1);
  EXPECT_EQ(reader.Int16(), -2);
  EXPECT_EQ(reader.Int32(), 7);
  EXPECT_EQ(reader.Int64(), INT64_MIN + 1);
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_EQ(reader.Int8(), 0);
  EXPECT_FALSE(reader.ok());
}

TEST(WireReader, StaysFailedAndGivesEmptyValuesAfterAViolation) {
  const Frame frame = {0, 0, 0, 1, 'x', 'y'};
  WireReader reader = Plain(frame);
  reader.Int64();
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.Int32(), 0);
  EXPECT_EQ(reader.String(), "");
  EXPECT_EQ(reader.ArrayCount(1), 0u);
  EXPECT_EQ(reader.Uuid(), TopicId{});
}

TEST(WireReader, AcceptsVarintsOfFiveBytesAndNoMore) {
  const Frame zero = {0x00}, two_bytes = {0xff, 0x01};
  EXPECT_EQ(Flexible(zero).UnsignedVarint(), 0u);
  EXPECT_EQ(Flexible(two_bytes).UnsignedVarint(), 255u);
  const Frame largest = {0xff, 0xff, 0xff, 0xff, 0x0f};
  WireReader reader = Flexible(largest);
  EXPECT_EQ(reader.UnsignedVarint(), UINT32_MAX);
  EXPECT_TRUE(reader.ok());
  for (const Frame& bad : {Frame{0xff, 0xff, 0xff, 0xff, 0x1f}, Frame{0x80, 0x80, 0x80, 0x80, 0x80, 0x00},
                           Frame{0x80}, Frame{}}) {
    WireReader refusing = Flexible(bad);
    refusing.UnsignedVarint();
    EXPECT_FALSE(refusing.ok());
  }
}

TEST(WireReader, RefusesStringsThatAreNullNegativeOrLongerThanTheRest) {
  for (const Frame& bad : {Frame{0xff, 0xff}, Frame{0xff, 0xfb}, Frame{0x00, 0x03, 'a', 'b'}, Frame{0x00}}) {
    WireReader reader = Plain(bad);
    reader.String();
    EXPECT_FALSE(reader.ok());
  }
  for (const Frame& bad : {Frame{0x00}, Frame{0x04, 'a', 'b'}, Frame{0xff, 0xff, 0xff, 0xff, 0x0f, 'a'}}) {
    WireReader reader = Flexible(bad);
    reader.String();
    EXPECT_FALSE(reader.ok());
  }
}

TEST(WireReader, TakesOnlyMinusOneForNull) {
  bool is_null = false;
  const Frame null_text = {0xff, 0xff};
  WireReader null_string = Plain(null_text);
  EXPECT_EQ(null_string.NullableString(&is_null), "");
  EXPECT_TRUE(is_null && null_string.ok());
  const Frame minus_two_string = {0xff, 0xfe};
  WireReader refused_string = Plain(minus_two_string);
  refused_string.NullableString(&is_null);
  EXPECT_FALSE(refused_string.ok());

  const Frame null_bytes = {0xff, 0xff, 0xff, 0xff}, minus_two_bytes = {0xff, 0xff, 0xff, 0xfe};
  WireReader bytes = Plain(null_bytes);
  bytes.NullableBytes(&is_null);
  EXPECT_TRUE(is_null && bytes.ok());
  WireReader refused_bytes = Plain(minus_two_bytes);
  refused_bytes.NullableBytes(&is_null);
  EXPECT_FALSE(refused_bytes.ok());

  const Frame compact_null = {0x00}, compact_empty = {0x01};
  WireReader compact = Flexible(compact_null);
  compact.NullableBytes(&is_null);
  EXPECT_TRUE(is_null && compact.ok());
  WireReader empty = Flexible(compact_empty);
  EXPECT_TRUE(empty.NullableBytes(&is_null).empty());
  EXPECT_TRUE(!is_null && empty.ok());
}

TEST(WireReader, BoundsArrayCountsByWhatIsLeft) {
  const Frame fits = {0, 0, 0, 2, 1, 1, 2, 2};
  EXPECT_EQ(Plain(fits).ArrayCount(2), 2u);
  for (const Frame& bad : {Frame{0, 0, 0, 3, 1, 1, 2, 2}, Frame{0x7f, 0xff, 0xff, 0xff, 1},
                           Frame{0xff, 0xff, 0xff, 0xff}, Frame{0xff, 0xff, 0xff, 0xfe}}) {
    WireReader reader = Plain(bad);
    EXPECT_EQ(reader.ArrayCount(2), 0u);
    EXPECT_FALSE(reader.ok());
  }
  for (const Frame& bad : {Frame{0x00}, Frame{0x04, 1, 2, 3}, Frame{0xff, 0xff, 0xff, 0xff, 0x0f, 1}}) {
    WireReader reader = Flexible(bad);
    EXPECT_EQ(reader.ArrayCount(2), 0u);
    EXPECT_FALSE(reader.ok());
  }
}

TEST(WireReader, SkipsUnknownTaggedFieldsAndHandsOutTheirBytes) {
  const Frame frame = {0x02, 0x00, 0x01, 0xaa, 0x05, 0x04, 0, 0, 0, 9, 0x77};
  std::vector<uint32_t> tags;
  int32_t value = 0;
  WireReader reader = Flexible(frame);
  reader.TaggedFields([&](uint32_t tag, WireReader& field) {
    tags.push_back(tag);
    if (tag == 5) value = field.Int32();
  });
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(tags, (std::vector<uint32_t>{0, 5}));
  EXPECT_EQ(value, 9);
  EXPECT_EQ(reader.Int8(), 0x77);
  WireReader plain = Plain(frame);
  plain.SkipTaggedFields();
  EXPECT_EQ(plain.remaining(), frame.size());
}

TEST(WireReader, RefusesTaggedFieldsThatRepeatDescendOverrunOrAreTooMany) {
  Frame many = {65};
  for (uint8_t tag = 0; tag < 65; ++tag) many.insert(many.end(), {tag, 0});
  for (const Frame& bad : {Frame{0x02, 0x00, 0x00, 0x00, 0x00}, Frame{0x02, 0x03, 0x00, 0x02, 0x00},
                           Frame{0x01, 0x00, 0x05, 1, 2}, Frame{0xff, 0xff, 0xff, 0xff, 0x0f},
                           Frame{0x03, 0x00, 0x00, 0x01, 0x00}, many}) {
    WireReader reader = Flexible(bad);
    reader.SkipTaggedFields();
    EXPECT_FALSE(reader.ok());
  }
  Frame most = {64};
  for (uint8_t tag = 0; tag < 64; ++tag) most.insert(most.end(), {tag, 0});
  WireReader reader = Flexible(most);
  reader.SkipTaggedFields();
  EXPECT_TRUE(reader.ok());
}

TEST(WireReader, FailsWhenATaggedFieldIsReadBeyondItsSize) {
  const Frame frame = {0x01, 0x00, 0x02, 1, 2, 3, 4};
  WireReader reader = Flexible(frame);
  reader.TaggedFields([](uint32_t, WireReader& field) { field.Int32(); });
  EXPECT_FALSE(reader.ok());
}

TEST(WireWriter, WritesNothingBeyondItsEndAndTells) {
  std::array<uint8_t, 8> memory;
  memory.fill(0xee);
  WireWriter writer(MutableBytes(memory).first(6), false);
  writer.Int32(1);
  EXPECT_FALSE(writer.overflowed());
  writer.Int32(2);
  EXPECT_TRUE(writer.overflowed());
  EXPECT_EQ(memory[6], 0xee);
  EXPECT_EQ(memory[7], 0xee);
}

TEST(Wire, ReadsBackWhatItWrote) {
  std::mt19937_64 random(20261122);
  for (int round = 0; round < 2000; ++round) {
    const bool flexible = round % 2 == 0;
    std::string text(random() % 300, 'x');
    TopicId id;
    for (uint8_t& byte : id) byte = static_cast<uint8_t>(random());
    const auto number = static_cast<int64_t>(random());
    const auto varint = static_cast<uint32_t>(random() >> (random() % 64));
    std::array<uint8_t, 1024> memory;
    WireWriter writer(memory, flexible);
    writer.Int8(static_cast<int8_t>(number));
    writer.Int16(static_cast<int16_t>(number));
    writer.Int32(static_cast<int32_t>(number));
    writer.Int64(number);
    writer.Uuid(id);
    writer.UnsignedVarint(varint);
    writer.String(text);
    writer.NullString();
    writer.ArrayCount(3);
    writer.NoTaggedFields();
    writer.RecordsBytes(2);
    writer.Int16(0x0102);
    ASSERT_FALSE(writer.overflowed());
    WireReader reader(Bytes(memory).first(writer.written()), flexible);
    EXPECT_EQ(reader.Int8(), static_cast<int8_t>(number));
    EXPECT_EQ(reader.Int16(), static_cast<int16_t>(number));
    EXPECT_EQ(reader.Int32(), static_cast<int32_t>(number));
    EXPECT_EQ(reader.Int64(), number);
    EXPECT_EQ(reader.Uuid(), id);
    EXPECT_EQ(reader.UnsignedVarint(), varint);
    EXPECT_EQ(reader.String(), text);
    bool is_null = false;
    reader.NullableString(&is_null);
    EXPECT_TRUE(is_null);
    EXPECT_EQ(reader.ArrayCount(1), 3u);
    reader.SkipTaggedFields();
    EXPECT_EQ(reader.NullableBytes(&is_null).size(), 2u);
    EXPECT_TRUE(reader.ok());
    EXPECT_EQ(reader.remaining(), 0u);
  }
}

TEST(Wire, ReadsBothFormsOfTheRequestHeader) {
  const Frame v1 = {0, 1, 0, 11, 0, 0, 0, 42, 0, 2, 'm', 'e'};
  WireReader plain = Plain(v1);
  RequestHeader header;
  ReadRequestHeader(plain, &header);
  EXPECT_TRUE(plain.ok());
  EXPECT_EQ(header.api_key, 1);
  EXPECT_EQ(header.api_version, 11);
  EXPECT_EQ(header.correlation_id, 42);
  EXPECT_EQ(header.client_id, "me");

  const Frame v2 = {0, 0, 0, 9, 0, 0, 0, 43, 0xff, 0xff, 0x01, 0x03, 0x01, 0x00};
  WireReader flexible = Flexible(v2);
  ReadRequestHeader(flexible, &header);
  EXPECT_TRUE(flexible.ok());
  EXPECT_EQ(header.client_id, "");
  EXPECT_EQ(flexible.remaining(), 0u);
}

TEST(Wire, KnowsTheLivingApiKeys) {
  for (const int16_t dead : {int16_t{-1}, int16_t{-32768}, int16_t{4}, int16_t{5}, int16_t{6}, int16_t{7},
                             int16_t{95}, int16_t{32767}})
    EXPECT_FALSE(IsLiveApiKey(dead)) << dead;
  for (const int16_t live : {int16_t{0}, int16_t{3}, int16_t{8}, int16_t{18}, int16_t{94}})
    EXPECT_TRUE(IsLiveApiKey(live)) << live;
}

}  // namespace
}  // namespace varve
