// SPDX-License-Identifier: Apache-2.0
// Decoding of Kafka's four codecs from memory to memory, for looking inside a batch: LZ4 frames and snappy by
// decoders of our own, gzip by zlib's inflate (the Node binary exports it), zstd by whatever decoder the
// process can reach. Never encodes: a broker stores batches as they were sent.
//
// What comes in is hostile. Memory is bounded by the bytes received and by the caller's limit, never by a
// size that the stream declares; a stream must end exactly where the bytes end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/bytes.h"
#include "core/record_batch.h"

namespace varve {

enum class DecodeError : uint8_t {
  kOk = 0,
  kInvalid,      ///< not a stream of that codec, damaged, truncated, or with bytes behind its end
  kTooLarge,     ///< decodes to more than the limit
  kUnavailable,  ///< no decoder for this codec in this process (zstd), or no memory for it
};

/// Output buffer and decoder states that are used again from batch to batch. One per thread; not thread-safe.
class DecodeScratch {
 public:
  /// What Trim() lets an idle scratch keep.
  static constexpr size_t kKeepBytes = size_t{4} << 20;
  /// Writable bytes behind what Reserve() was asked for: decoders copy whole words past the end.
  static constexpr size_t kSlackBytes = 64;

  DecodeScratch() = default;
  ~DecodeScratch();
  DecodeScratch(const DecodeScratch&) = delete;
  DecodeScratch& operator=(const DecodeScratch&) = delete;

  /// Makes room for `bytes` (and the slack) and keeps what was written; null without memory, the old buffer
  /// stays then.
  uint8_t* Reserve(size_t bytes);
  uint8_t* data() { return data_; }
  /// Bytes that may be used without another Reserve().
  size_t capacity() const { return capacity_; }
  /// Gives the buffer back when it is larger than kKeepBytes. What was decoded into it is gone then.
  void Trim();

  /// States of the gzip and zstd decoders, made when first used; theirs alone.
  void* gzip_state = nullptr;
  void* zstd_state = nullptr;

 private:
  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
};

/// The largest output that `in_bytes` of input may have: `max_bytes`, and 1,000 times the input, but always
/// 64 KiB.
uint64_t DecodedBytesLimit(uint64_t in_bytes, uint64_t max_bytes);

/// Decodes `in` into the scratch; `*out` is a view of it, good until the scratch is used again or trimmed.
/// Output of exactly `limit` bytes is in order. With kNone the output is the input.
DecodeError Decompress(Codec codec, Bytes in, uint64_t limit, DecodeScratch* scratch, Bytes* out);

/// Whether a frame that Decompress(kLz4) took has blocks that need the ones before them.
bool Lz4BlocksAreLinked(Bytes frame);

/// Whether Decompress(kZstd) can work here: ZSTD_* exported by the process (Node >= 22.15), else
/// libzstd.so.1. Looked for once.
bool ZstdAvailable();

}  // namespace varve
