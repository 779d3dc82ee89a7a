// SPDX-License-Identifier: Apache-2.0
#include "plane/wire.h"

namespace varve {

TopicId WireReader::Uuid() {
  TopicId id{};
  if (Need(id.size())) std::memcpy(id.data(), Take(id.size()), id.size());
  return id;
}

uint32_t WireReader::UnsignedVarint() {
  uint32_t value = 0;
  for (uint32_t shift = 0; shift < 35; shift += 7) {
    if (!Need(1)) return 0;
    const uint8_t byte = *Take(1);
    if (shift == 28 && byte > 0x0f) break;
    value |= static_cast<uint32_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  Fail();
  return 0;
}

std::string_view WireReader::Text(int64_t bytes) {
  if (bytes < 0 || !Need(static_cast<size_t>(bytes))) {
    Fail();
    return {};
  }
  return {reinterpret_cast<const char*>(Take(static_cast<size_t>(bytes))), static_cast<size_t>(bytes)};
}

std::string_view WireReader::String() {
  return Text(flexible_ ? int64_t{UnsignedVarint()} - 1 : int64_t{Int16()});
}

std::string_view WireReader::NullableString(bool* is_null) {
  if (!flexible_) return NullableStringOldForm(is_null);
  const int64_t bytes = int64_t{UnsignedVarint()} - 1;
  *is_null = bytes == -1;
  return *is_null ? std::string_view{} : Text(bytes);
}

std::string_view WireReader::NullableStringOldForm(bool* is_null) {
  const int16_t bytes = Int16();
  *is_null = bytes == -1;
  return *is_null ? std::string_view{} : Text(bytes);
}

Bytes WireReader::NullableBytes(bool* is_null) {
  const int64_t bytes = flexible_ ? int64_t{UnsignedVarint()} - 1 : int64_t{Int32()};
  *is_null = bytes == -1;
  if (*is_null) return {};
  const std::string_view view = Text(bytes);
  return {reinterpret_cast<const uint8_t*>(view.data()), view.size()};
}

uint32_t WireReader::ArrayCount(uint32_t element_bytes_min) {
  const int64_t count = flexible_ ? int64_t{UnsignedVarint()} - 1 : int64_t{Int32()};
  if (count < 0 || static_cast<uint64_t>(count) > remaining() / element_bytes_min) {
    Fail();
    return 0;
  }
  return static_cast<uint32_t>(count);
}

uint32_t WireReader::TaggedFieldCount() {
  const uint32_t count = UnsignedVarint();
  if (count > kTaggedFieldsMax || count > remaining() / 2) {
    Fail();
    return 0;
  }
  return count;
}

Bytes WireReader::TaggedField(int64_t* previous_tag, uint32_t* tag) {
  *tag = UnsignedVarint();
  const uint32_t bytes = UnsignedVarint();
  if (!ok_ || int64_t{*tag} <= *previous_tag || !Need(bytes)) {
    Fail();
    return {};
  }
  *previous_tag = *tag;
  return {Take(bytes), bytes};
}

void WireReader::SkipTaggedFields() {
  TaggedFields([](uint32_t, WireReader&) {});
}

void WireWriter::UnsignedVarint(uint32_t v) {
  uint8_t* p = Room(UnsignedVarintBytes(v));
  if (p == nullptr) return;
  while (v >= 0x80) {
    *p++ = static_cast<uint8_t>(v | 0x80);
    v >>= 7;
  }
  *p = static_cast<uint8_t>(v);
}

void WireWriter::String(std::string_view text) {
  if (flexible_)
    UnsignedVarint(static_cast<uint32_t>(text.size() + 1));
  else
    Int16(static_cast<int16_t>(text.size()));
  uint8_t* p = Room(text.size());
  if (p != nullptr && !text.empty()) std::memcpy(p, text.data(), text.size());
}

void WireWriter::NullString() { flexible_ ? UnsignedVarint(0) : Int16(-1); }

void WireWriter::ArrayCount(int32_t count) {
  flexible_ ? UnsignedVarint(static_cast<uint32_t>(count + 1)) : Int32(count);
}

void ReadRequestHeader(WireReader& reader, RequestHeader* header) {
  header->api_key = reader.Int16();
  header->api_version = reader.Int16();
  header->correlation_id = reader.Int32();
  bool is_null = false;
  header->client_id = reader.NullableStringOldForm(&is_null);
  reader.SkipTaggedFields();
}

}  // namespace varve
