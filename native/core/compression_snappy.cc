// SPDX-License-Identifier: Apache-2.0
// Snappy (google/snappy format_description.txt), raw as librdkafka sends it, or in snappy-java's framing:
// "\x82SNAPPY\0", version and oldest compatible version as int32, then blocks of int32 size and that much raw
// snappy. A raw stream cannot begin like the framing: its third byte would be a copy with nothing to copy.
#include <array>

#include "core/compression_internal.h"

namespace varve::compression_internal {

namespace {

constexpr std::array<uint8_t, 8> kXerialMagic{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
constexpr size_t kXerialHeaderBytes = 16;
constexpr int32_t kXerialVersionMin = 1;
/// Three bytes (a copy with a 16-bit offset) make at most 64.
constexpr uint64_t kExpansionMax = 22;

/// What a tag says: bits 0-6 length of copy or literal, 8-10 the upper offset bits that a one-byte copy keeps
/// in its tag, 11-13 the bytes that follow it. A literal's length of 0 means that it is in those bytes.
constexpr std::array<uint16_t, 256> MakeTags() {
  std::array<uint16_t, 256> tags{};
  for (unsigned tag = 0; tag < 256; tag++) {
    unsigned upper = tag >> 2;
    unsigned length = 0, offset = 0, extra = 0;
    switch (tag & 3) {
      case 0:
        if (upper < 60) {
          length = upper + 1;
        } else {
          extra = upper - 59;
        }
        break;
      case 1:
        length = (upper & 7) + 4;
        offset = tag >> 5;
        extra = 1;
        break;
      case 2:
        length = upper + 1;
        extra = 2;
        break;
      default:
        length = upper + 1;
        extra = 4;
    }
    tags[tag] = static_cast<uint16_t>(length | offset << 8 | extra << 11);
  }
  return tags;
}
constexpr std::array<uint16_t, 256> kTags = MakeTags();
constexpr std::array<uint32_t, 5> kExtraMask{0, 0xff, 0xffff, 0xffffff, 0xffffffff};

/// The little-endian number in the `count` (0 to 4) bytes at `in`, of which there are `left`.
inline uint32_t LoadExtra(const uint8_t* in, size_t left, size_t count) {
  if (__builtin_expect(left >= 4, 1)) return LoadLe32(in) & kExtraMask[count];
  uint32_t v = 0;
  for (size_t i = 0; i < count; i++) v |= static_cast<uint32_t>(in[i]) << (8 * i);
  return v;
}

/// Elements from `in` until exactly [out, out_end) is filled and `in` is used up. Slack behind `out_end` is
/// writable.
bool DecodeElements(Bytes elements, uint8_t* out, const uint8_t* out_end) {
  const uint8_t* in = elements.data();
  const uint8_t* in_end = in + elements.size();
  const uint8_t* history = out;
  while (in != in_end) {
    unsigned tag = *in++;
    uint32_t entry = kTags[tag];
    size_t extra = entry >> 11;
    size_t length = entry & 0x7f;
    size_t left = static_cast<size_t>(in_end - in);
    size_t room = static_cast<size_t>(out_end - out);
    if ((tag & 3) == 0) {
      if (__builtin_expect(length - 1 < 16 && left >= 16, 1)) {  // a length of 0 wraps
        if (length > room) return false;
        Copy16(out, in);
      } else {
        if (extra > left) return false;
        if (length == 0) length = size_t{LoadExtra(in, left, extra)} + 1;
        in += extra;
        left -= extra;
        if (length > left || length > room) return false;
        if (left - length >= 16) {
          CopyLiterals(out, in, length);
        } else {
          std::memcpy(out, in, length);
        }
      }
      in += length;
      out += length;
      continue;
    }
    if (extra > left) return false;
    size_t offset = (entry & 0x700) + LoadExtra(in, left, extra);
    in += extra;
    if (offset - 1 >= static_cast<size_t>(out - history) || length > room) return false;  // offset 0 wraps
    CopyMatch(out, offset, length);
    out += length;
  }
  return out == out_end;
}

/// One raw stream behind the `*used` bytes of the scratch.
DecodeError DecodeRaw(Bytes in, uint64_t limit, DecodeScratch* scratch, size_t* used) {
  uint64_t size = 0;
  size_t preamble = 0;
  for (;;) {
    if (preamble == 5 || preamble == in.size()) return DecodeError::kInvalid;
    uint8_t byte = in[preamble];
    size |= uint64_t{byte & 0x7fu} << (7 * preamble);
    preamble++;
    if ((byte & 0x80) == 0) break;
  }
  if (size > kExpansionMax * in.size()) return DecodeError::kInvalid;
  if (size > limit - *used) return DecodeError::kTooLarge;
  uint8_t* data = scratch->Reserve(*used + size);
  if (data == nullptr) return DecodeError::kUnavailable;
  uint8_t* out = data + *used;
  if (!DecodeElements(in.subspan(preamble), out, out + size)) return DecodeError::kInvalid;
  *used += size;
  return DecodeError::kOk;
}

bool AtXerialMagic(Bytes in) {
  return in.size() >= kXerialMagic.size() &&
         std::memcmp(in.data(), kXerialMagic.data(), kXerialMagic.size()) == 0;
}

DecodeError DecodeXerial(Bytes in, uint64_t limit, DecodeScratch* scratch, size_t* used) {
  size_t position = 0;
  while (position != in.size()) {
    Bytes rest = in.subspan(position);
    if (AtXerialMagic(
            rest)) {  // snappy-java's reader also takes a header between blocks: concatenated streams
      if (rest.size() < kXerialHeaderBytes || LoadI32(&rest[12]) < kXerialVersionMin)
        return DecodeError::kInvalid;
      position += kXerialHeaderBytes;
      continue;
    }
    if (rest.size() < 4) return DecodeError::kInvalid;
    uint32_t size = LoadU32(rest.data());
    if (size > rest.size() - 4) return DecodeError::kInvalid;
    DecodeError error = DecodeRaw(rest.subspan(4, size), limit, scratch, used);
    if (error != DecodeError::kOk) return error;
    position += 4 + size_t{size};
  }
  return DecodeError::kOk;
}

}  // namespace

DecodeError DecodeSnappy(Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out) {
  size_t used = 0;
  if (scratch->Reserve(0) == nullptr) return DecodeError::kUnavailable;
  DecodeError error =
      AtXerialMagic(in) ? DecodeXerial(in, limit, scratch, &used) : DecodeRaw(in, limit, scratch, &used);
  if (error == DecodeError::kOk) *out = Bytes(scratch->data(), used);
  return error;
}

}  // namespace varve::compression_internal
