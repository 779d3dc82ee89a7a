// SPDX-License-Identifier: Apache-2.0
// Wire: Kafka's primitive types (KIP-482 and before) read from and written to bounded memory. The reader
// never copies: strings and bytes are views into the frame. It never trusts a length: every count is bounded
// by the bytes that are left, so that a peer can't make the broker allocate or loop more than it sent
// (malformed lengths, counts and varints end the connection). Frames belong to Connection.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/bytes.h"

namespace varve {

using TopicId = std::array<uint8_t, 16>;

/// Tagged fields that one structure may carry. Kafka accepts 10,000; no known client sends more than a
/// handful.
inline constexpr uint32_t kTaggedFieldsMax = 64;

/// Reads a frame from front to back. After the first violation ok() is false, nothing moves any more and
/// every read gives zero or empty, so callers check once at the end (and before they loop over a count).
class WireReader {
 public:
  /// `flexible`: compact strings and arrays, and tagged fields behind every structure (KIP-482).
  WireReader(Bytes bytes, bool flexible)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()), flexible_(flexible) {}

  bool ok() const { return ok_; }
  bool flexible() const { return flexible_; }
  size_t remaining() const { return static_cast<size_t>(end_ - at_); }

  int8_t Int8() { return Need(1) ? static_cast<int8_t>(*Take(1)) : int8_t{0}; }
  int16_t Int16() { return Need(2) ? LoadI16(Take(2)) : int16_t{0}; }
  int32_t Int32() { return Need(4) ? LoadI32(Take(4)) : 0; }
  int64_t Int64() { return Need(8) ? LoadI64(Take(8)) : 0; }
  TopicId Uuid();
  /// At most five bytes and at most 2^32 - 1.
  uint32_t UnsignedVarint();

  /// A string that may not be null.
  std::string_view String();
  /// A string that may be null (`*is_null`); only -1 is null.
  std::string_view NullableString(bool* is_null);
  /// INT16 length in every version: the client id of request headers.
  std::string_view NullableStringOldForm(bool* is_null);
  /// RECORDS or BYTES that may be null.
  Bytes NullableBytes(bool* is_null);

  /// Elements of an array that may not be null, each at least `element_bytes_min` bytes long.
  uint32_t ArrayCount(uint32_t element_bytes_min);

  /// Skips the tagged fields of a structure (nothing in versions that have none).
  void SkipTaggedFields();
  /// Calls on_field(tag, reader over its bytes) for each tagged field, in ascending order of tags.
  template <typename OnField>
  void TaggedFields(OnField on_field) {
    if (!flexible_) return;
    const uint32_t count = TaggedFieldCount();
    int64_t previous = -1;
    for (uint32_t i = 0; i < count && ok_; ++i) {
      uint32_t tag = 0;
      const Bytes value = TaggedField(&previous, &tag);
      if (!ok_) return;
      WireReader field(value, true);
      on_field(tag, field);
      if (!field.ok()) Fail();
    }
  }

  void Fail() {
    ok_ = false;
    at_ = end_;
  }

 private:
  bool Need(size_t bytes) {
    if (remaining() >= bytes) return true;
    Fail();
    return false;
  }
  const uint8_t* Take(size_t bytes) {
    const uint8_t* taken = at_;
    at_ += bytes;
    return taken;
  }
  std::string_view Text(int64_t bytes);
  uint32_t TaggedFieldCount();
  Bytes TaggedField(int64_t* previous_tag, uint32_t* tag);

  const uint8_t* at_;
  const uint8_t* end_;
  bool flexible_;
  bool ok_ = true;
};

/// Bytes that an unsigned varint takes.
constexpr uint32_t UnsignedVarintBytes(uint32_t value) {
  uint32_t bytes = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++bytes;
  }
  return bytes;
}

/// Writes into memory that the caller sized for the worst case beforehand. Running out is a programming
/// error: nothing is written beyond the end, and overflowed() tells.
class WireWriter {
 public:
  WireWriter(MutableBytes to, bool flexible)
      : begin_(to.data()), at_(to.data()), end_(to.data() + to.size()), flexible_(flexible) {}

  uint8_t* position() const { return at_; }
  size_t written() const { return static_cast<size_t>(at_ - begin_); }
  bool overflowed() const { return overflowed_; }

  void Int8(int8_t v) {
    if (uint8_t* p = Room(1)) *p = static_cast<uint8_t>(v);
  }
  void Int16(int16_t v) {
    if (uint8_t* p = Room(2)) StoreI16(p, v);
  }
  void Int32(int32_t v) {
    if (uint8_t* p = Room(4)) StoreI32(p, v);
  }
  void Int64(int64_t v) {
    if (uint8_t* p = Room(8)) StoreI64(p, v);
  }
  void Uuid(const TopicId& id) {
    if (uint8_t* p = Room(id.size())) std::memcpy(p, id.data(), id.size());
  }
  void UnsignedVarint(uint32_t v);
  void String(std::string_view text);
  void NullString();
  /// `count` -1 is null.
  void ArrayCount(int32_t count);
  /// The length in front of RECORDS; their bytes follow from elsewhere. -1 is null.
  void RecordsBytes(int32_t bytes) {
    flexible_ ? UnsignedVarint(static_cast<uint32_t>(bytes + 1)) : Int32(bytes);
  }
  /// Ends a structure without tagged fields (nothing in versions that have none).
  void NoTaggedFields() {
    if (flexible_) UnsignedVarint(0);
  }

 private:
  uint8_t* Room(size_t bytes) {
    if (static_cast<size_t>(end_ - at_) < bytes) {
      overflowed_ = true;
      return nullptr;
    }
    uint8_t* room = at_;
    at_ += bytes;
    return room;
  }

  uint8_t* begin_;
  uint8_t* at_;
  uint8_t* end_;
  bool flexible_;
  bool overflowed_ = false;
};

/// What stands in front of every request body. `client_id` is a view into the frame.
struct RequestHeader {
  int16_t api_key = -1;
  int16_t api_version = -1;
  int32_t correlation_id = 0;
  std::string_view client_id;
};

inline constexpr int16_t kApiProduce = 0;
inline constexpr int16_t kApiFetch = 1;
inline constexpr int16_t kProduceVersionMin = 3, kProduceVersionMax = 13, kProduceFlexibleVersion = 9;
inline constexpr int16_t kFetchVersionMin = 4, kFetchVersionMax = 18, kFetchFlexibleVersion = 12;

/// True for keys that Kafka 4.4 assigns to living APIs: 0 to 94 without LeaderAndIsr, StopReplica,
/// UpdateMetadata and ControlledShutdown.
constexpr bool IsLiveApiKey(int16_t api_key) {
  return api_key >= 0 && api_key <= 94 && (api_key < 4 || api_key > 7);
}

/// Reads the whole header of a Produce or Fetch; the caller has set the reader's form by the version (header
/// v1 or v2).
void ReadRequestHeader(WireReader& reader, RequestHeader* header);

}  // namespace varve
