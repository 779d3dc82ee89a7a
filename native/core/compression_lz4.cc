// SPDX-License-Identifier: Apache-2.0
// LZ4 frames (the LZ4 frame format 1.6.x), as Kafka carries them: one frame, its end mark being the last byte
// but for the content checksum. Blocks may be independent or linked. Refused: skippable and legacy frames,
// dictionaries, a second frame, and the wrong header checksum that message formats 0 and 1 used (KAFKA-3160).
#include <algorithm>

#include "core/compression_internal.h"
#include "core/xxhash32.h"

namespace varve::compression_internal {

namespace {

constexpr uint32_t kMagic = 0x184d2204;
constexpr uint32_t kUncompressedBit = 0x80000000;
constexpr size_t kFlagsPosition = 4;
constexpr uint8_t kIndependent = 0x20;
/// A byte of a match length is worth 255 bytes of output; nothing is worth more.
constexpr uint64_t kExpansionMax = 255;

struct Frame {
  bool linked;
  bool block_checksums;
  bool content_checksum;
  bool has_content_size;
  uint64_t content_size;
  size_t block_bytes_max;
};

/// Descriptor behind the magic; returns its size with the header checksum, 0 when it is not one.
size_t ParseDescriptor(Bytes in, Frame* frame) {
  constexpr uint8_t kVersionMask = 0xc0, kVersion1 = 0x40;
  constexpr uint8_t kBlockChecksum = 0x10, kContentSize = 0x08, kContentChecksum = 0x04;
  constexpr uint8_t kReservedOrDictionary = 0x03;
  if (in.size() < 3) return 0;
  uint8_t flags = in[0];
  uint8_t block = in[1];
  if ((flags & kVersionMask) != kVersion1 || (flags & kReservedOrDictionary) != 0) return 0;
  unsigned size_id = block >> 4;  // also refuses the reserved top bit
  if ((block & 0x0f) != 0 || size_id < 4 || size_id > 7) return 0;
  frame->linked = (flags & kIndependent) == 0;
  frame->block_checksums = (flags & kBlockChecksum) != 0;
  frame->content_checksum = (flags & kContentChecksum) != 0;
  frame->has_content_size = (flags & kContentSize) != 0;
  frame->block_bytes_max = size_t{1} << (8 + 2 * size_id);
  size_t size = 2;
  if (frame->has_content_size) {
    if (in.size() < 11) return 0;
    frame->content_size = LoadLe64(&in[2]);
    size += 8;
  }
  uint8_t checksum = static_cast<uint8_t>(XxHash32(in.first(size), 0) >> 8);
  return in[size] == checksum ? size + 1 : 0;
}

/// Adds the bytes of an extended length; false when they run past the end.
inline bool ExtendLength(const uint8_t** in, const uint8_t* in_end, size_t* length) {
  const uint8_t* p = *in;
  uint8_t byte;
  do {
    if (p == in_end) return false;
    byte = *p++;
    *length += byte;
  } while (byte == 255);
  *in = p;
  return true;
}

enum class Block : uint8_t { kOk, kInvalid, kFull };

/// Decodes one block to `*to`, at most up to `to_end` (writable slack behind it). Matches reach back to
/// `history` at most.
Block DecodeBlock(Bytes block, const uint8_t* history, uint8_t** to, const uint8_t* to_end) {
  const uint8_t* in = block.data();
  const uint8_t* in_end = in + block.size();
  uint8_t* out = *to;
  for (;;) {
    if (in == in_end) return Block::kInvalid;  // a block ends with literals, never with a match
    unsigned token = *in++;
    size_t literals = token >> 4;
    if (__builtin_expect(literals != 15 && in_end - in >= 16, 1)) {
      Copy16(out, in);
    } else {
      if (literals == 15 && !ExtendLength(&in, in_end, &literals)) return Block::kInvalid;
      size_t left = static_cast<size_t>(in_end - in);
      if (literals > left) return Block::kInvalid;
      if (literals > static_cast<size_t>(to_end - out)) return Block::kFull;
      if (left - literals >= 16) {
        CopyLiterals(out, in, literals);
      } else {
        std::memcpy(out, in, literals);
      }
    }
    in += literals;
    out += literals;
    if (out > to_end) return Block::kFull;
    if (in_end - in < 2) {
      if (in != in_end) return Block::kInvalid;
      *to = out;
      return Block::kOk;
    }
    size_t offset = LoadLe16(in);
    in += 2;
    size_t match = token & 15;
    if (match == 15 && !ExtendLength(&in, in_end, &match)) return Block::kInvalid;
    match += 4;
    if (offset - 1 >= static_cast<size_t>(out - history)) return Block::kInvalid;  // 0 wraps to the largest
    if (match > static_cast<size_t>(to_end - out)) return Block::kFull;
    CopyMatch(out, offset, match);
    out += match;
  }
}

/// The blocks of a frame, one after another into one buffer: linked blocks find their history there.
class FrameDecoder {
 public:
  FrameDecoder(Bytes in, uint64_t limit, DecodeScratch* scratch)
      : in_(in), limit_(limit), scratch_(scratch) {}

  DecodeError Run(Bytes* out) {
    if (in_.size() < 4 || LoadLe32(in_.data()) != kMagic) return DecodeError::kInvalid;
    size_t descriptor = ParseDescriptor(in_.subspan(4), &frame_);
    if (descriptor == 0) return DecodeError::kInvalid;
    position_ = 4 + descriptor;
    if (scratch_->Reserve(0) == nullptr) return DecodeError::kUnavailable;
    for (;;) {
      if (Left() < 4) return DecodeError::kInvalid;
      uint32_t size = LoadLe32(&in_[position_]);
      position_ += 4;
      if (size == 0) break;
      DecodeError error = OneBlock(size & ~kUncompressedBit, (size & kUncompressedBit) != 0);
      if (error != DecodeError::kOk) return error;
    }
    return End(out);
  }

 private:
  size_t Left() const { return in_.size() - position_; }

  DecodeError OneBlock(size_t size, bool uncompressed) {
    if (size > frame_.block_bytes_max || size > Left()) return DecodeError::kInvalid;
    Bytes block = in_.subspan(position_, size);
    position_ += size;
    if (frame_.block_checksums) {
      if (Left() < 4 || LoadLe32(&in_[position_]) != XxHash32(block, 0)) return DecodeError::kInvalid;
      position_ += 4;
    }
    uint64_t room = limit_ - used_;
    if (uncompressed) {
      if (size > room) return DecodeError::kTooLarge;
      uint8_t* data = scratch_->Reserve(used_ + size);
      if (data == nullptr) return DecodeError::kUnavailable;
      if (size != 0) std::memcpy(data + used_, block.data(), size);
      used_ += size;
      return DecodeError::kOk;
    }
    uint64_t most = std::min({uint64_t{frame_.block_bytes_max}, room, kExpansionMax * size});
    uint8_t* data = scratch_->Reserve(used_ + most);
    if (data == nullptr) return DecodeError::kUnavailable;
    uint8_t* to = data + used_;
    switch (DecodeBlock(block, frame_.linked ? data : to, &to, to + most)) {
      case Block::kOk:
        used_ = static_cast<size_t>(to - data);
        return DecodeError::kOk;
      case Block::kFull:
        return room < frame_.block_bytes_max ? DecodeError::kTooLarge : DecodeError::kInvalid;
      case Block::kInvalid:
        break;
    }
    return DecodeError::kInvalid;
  }

  DecodeError End(Bytes* out) {
    Bytes content(scratch_->data(), used_);
    if (frame_.has_content_size && frame_.content_size != used_) return DecodeError::kInvalid;
    if (frame_.content_checksum) {
      if (Left() < 4 || LoadLe32(&in_[position_]) != XxHash32(content, 0)) return DecodeError::kInvalid;
      position_ += 4;
    }
    if (Left() != 0) return DecodeError::kInvalid;
    *out = content;
    return DecodeError::kOk;
  }

  Bytes in_;
  uint64_t limit_;
  DecodeScratch* scratch_;
  Frame frame_{};
  size_t position_ = 0;
  size_t used_ = 0;
};

}  // namespace

DecodeError DecodeLz4(Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out) {
  return FrameDecoder(in, limit, scratch).Run(out);
}

}  // namespace varve::compression_internal

namespace varve {

bool Lz4BlocksAreLinked(Bytes frame) {
  using compression_internal::kFlagsPosition, compression_internal::kIndependent;
  return frame.size() > kFlagsPosition && (frame[kFlagsPosition] & kIndependent) == 0;
}

}  // namespace varve
