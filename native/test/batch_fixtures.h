// SPDX-License-Identifier: Apache-2.0
// For tests and fuzz targets: batches that Apache Kafka's own builder wrote, frames that other encoders
// wrote, and small encoders that wrap any bytes in a well-formed stream of each codec (stored, not
// compressed), so that what lies inside can be wrong in one chosen way.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/compression.h"
#include "core/record_batch.h"
#include "core/xxhash32.h"

namespace varve::test {

using Buffer = std::vector<uint8_t>;

inline Buffer Unhex(std::string_view hex) {
  auto digit = [](char c) { return static_cast<uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); };
  Buffer out(hex.size() / 2);
  for (size_t i = 0; i < out.size(); i++)
    out[i] = static_cast<uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  return out;
}

inline Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline NullableBytes Text(std::string_view text) { return NullableBytes::Of(AsBytes(text)); }
inline void Add(Buffer* to, Bytes bytes) { to->insert(to->end(), bytes.begin(), bytes.end()); }
inline void AddLe(Buffer* to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) to->push_back(static_cast<uint8_t>(value >> (8 * i)));
}
inline void AddBe32(Buffer* to, uint32_t value) {
  for (int i = 3; i >= 0; i--) to->push_back(static_cast<uint8_t>(value >> (8 * i)));
}
/// Protobuf's unsigned varint.
inline void AddUnsigned(Buffer* to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to->push_back(static_cast<uint8_t>(value | 0x80));
  to->push_back(static_cast<uint8_t>(value));
}
/// Kafka's varint: zigzag.
inline void AddVarint(Buffer* to, int64_t value) {
  AddUnsigned(to, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
}

// --- codecs ---

/// An LZ4 frame around ready-made blocks, each with its size and the bit for "not compressed".
inline Buffer Lz4Frame(const Buffer& blocks, uint8_t flags = 0x60) {
  Buffer out{0x04, 0x22, 0x4d, 0x18, flags, 0x40};
  out.push_back(static_cast<uint8_t>(XxHash32(Bytes(out).subspan(4), 0) >> 8));
  Add(&out, blocks);
  AddLe(&out, 0, 4);
  return out;
}
inline Buffer StoredLz4(Bytes bytes) {
  Buffer blocks;
  for (; !bytes.empty(); bytes = bytes.subspan(std::min<size_t>(bytes.size(), 65536))) {
    Bytes block = bytes.first(std::min<size_t>(bytes.size(), 65536));
    AddLe(&blocks, block.size() | 0x80000000u, 4);
    Add(&blocks, block);
  }
  return Lz4Frame(blocks);
}
inline Buffer StoredSnappy(Bytes bytes) {
  Buffer out;
  AddUnsigned(&out, bytes.size());
  for (; !bytes.empty(); bytes = bytes.subspan(std::min<size_t>(bytes.size(), 65536))) {
    Bytes chunk = bytes.first(std::min<size_t>(bytes.size(), 65536));
    out.push_back(61 << 2);
    AddLe(&out, chunk.size() - 1, 2);
    Add(&out, chunk);
  }
  return out;
}
inline Buffer XerialHeader() { return {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}; }
inline void AddXerialBlock(Buffer* to, Bytes raw) {
  AddBe32(to, static_cast<uint32_t>(raw.size()));
  Add(to, raw);
}
inline Buffer StoredXerial(Bytes bytes) {
  Buffer out = XerialHeader();
  AddXerialBlock(&out, StoredSnappy(bytes));
  return out;
}
inline Buffer Gzip(Bytes bytes, int level = 6) {
  z_stream stream{};
  Buffer out;
  if (deflateInit2(&stream, level, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) return out;
  out.resize(deflateBound(&stream, bytes.size()) + 32);
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
/// One frame without content size and checksum, of blocks given as (type, size, bytes): 0 raw, 1 one byte
/// repeated.
inline Buffer ZstdFrameHeader() { return {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58}; }
inline void AddZstdBlock(Buffer* to, bool last, unsigned type, size_t size, Bytes content) {
  AddLe(to, (last ? 1u : 0u) | type << 1 | size << 3, 3);
  Add(to, content);
}
inline Buffer StoredZstd(Bytes bytes) {
  Buffer out = ZstdFrameHeader();
  do {
    Bytes block = bytes.first(std::min<size_t>(bytes.size(), 128 * 1024));
    bytes = bytes.subspan(block.size());
    AddZstdBlock(&out, bytes.empty(), 0, block.size(), block);
  } while (!bytes.empty());
  return out;
}
inline Buffer Stored(Codec codec, Bytes bytes) {
  switch (codec) {
    case Codec::kNone:
      return Buffer(bytes.begin(), bytes.end());
    case Codec::kGzip:
      return Gzip(bytes, 0);
    case Codec::kSnappy:
      return StoredSnappy(bytes);
    case Codec::kLz4:
      return StoredLz4(bytes);
    case Codec::kZstd:
      return StoredZstd(bytes);
  }
  return {};
}

// --- batches ---

inline constexpr int64_t kNow = 1'700'000'100'000;

/// A record's bytes field by field; what is in `size_error` is added to its size.
struct TestRecord {
  int64_t timestamp_delta = 0;
  int64_t offset_delta = 0;
  NullableBytes key = Text("k");
  NullableBytes value = Text("value");
  int64_t header_count = 0;
  Buffer headers = {};
  int64_t size_error = 0;

  void AddTo(Buffer* to) const {
    Buffer body{0};
    AddVarint(&body, timestamp_delta);
    AddVarint(&body, offset_delta);
    AddVarint(&body, key.size);
    Add(&body, key.bytes());
    AddVarint(&body, value.size);
    Add(&body, value.bytes());
    AddVarint(&body, header_count);
    Add(&body, headers);
    AddVarint(to, static_cast<int64_t>(body.size()) + size_error);
    Add(to, body);
  }
};

inline BatchHeader HeaderFor(int32_t count, Codec codec = Codec::kNone) {
  BatchHeader header{};
  header.partition_leader_epoch = -1;
  header.magic = kMagicV2;
  header.attributes = static_cast<int16_t>(codec);
  header.last_offset_delta = count - 1;
  header.base_timestamp = kNow;
  header.max_timestamp = kNow;
  header.producer_id = kNoProducerId;
  header.producer_epoch = kNoProducerEpoch;
  header.base_sequence = kNoSequence;
  header.record_count = count;
  return header;
}

/// Header and body as they are, with the right batchLength and CRC.
inline Buffer BatchOf(const BatchHeader& header, Bytes body) {
  Buffer out(kBatchHeaderBytes);
  StoreI64(&out[kBaseOffsetPosition], header.base_offset);
  StoreI32(&out[kBatchLengthPosition], static_cast<int32_t>(kBatchLengthMin + body.size()));
  StoreI32(&out[kPartitionLeaderEpochPosition], header.partition_leader_epoch);
  out[kMagicPosition] = static_cast<uint8_t>(header.magic);
  StoreI16(&out[kAttributesPosition], header.attributes);
  StoreI32(&out[kLastOffsetDeltaPosition], header.last_offset_delta);
  StoreI64(&out[kBaseTimestampPosition], header.base_timestamp);
  StoreI64(&out[kMaxTimestampPosition], header.max_timestamp);
  StoreI64(&out[kProducerIdPosition], header.producer_id);
  StoreI16(&out[kProducerEpochPosition], header.producer_epoch);
  StoreI32(&out[kBaseSequencePosition], header.base_sequence);
  StoreI32(&out[kRecordCountPosition], header.record_count);
  Add(&out, body);
  StoreCrc(out);
  return out;
}

// --- what others wrote ---

/// The records of the batches below, in their order. Timestamps count from kFixtureTimestamp.
inline constexpr int64_t kFixtureTimestamp = 1'700'000'000'000;
inline constexpr int32_t kFixtureRecordCount = 14;

// clang-format off
// Apache Kafka 4.3.1, MemoryRecordsBuilder: producer 4000, epoch 3, sequence 17, leader epoch 5.
inline constexpr const char* kKafkaPlainBatch =
    "0000000000000000000002800000000502d8c0453300000000000d0000018bcfe568000000018bcfe679700000000000000f"
    "a00003000000110000000e580000000a6b65792d301e7468652066697273742076616c7565060a747261636506616263086e"
    "6f6e650100002a00e0c50802011a776974686f75742061206b657900160009040a6b65792d3201001000e0c5080600000024"
    "0008080a6b65792d340e76616c756520340052000a0a0a6b65792d353c706172746974696f6e206c65616465722065706f63"
    "682076616c75652035008001000c0c0a6b65792d366a706172746974696f6e206c65616465722065706f6368207061727469"
    "74696f6e206c65616465722065706f63682076616c7565203600b001000e0e0a6b65792d379801706172746974696f6e206c"
    "65616465722065706f636820706172746974696f6e206c65616465722065706f636820706172746974696f6e206c65616465"
    "722065706f63682076616c7565203700240010100a6b65792d380e76616c7565203800520012120a6b65792d393c70617274"
    "6974696f6e206c65616465722065706f63682076616c756520390084010014140c6b65792d31306c706172746974696f6e20"
    "6c65616465722065706f636820706172746974696f6e206c65616465722065706f63682076616c756520313000b401001616"
    "0c6b65792d31319a01706172746974696f6e206c65616465722065706f636820706172746974696f6e206c65616465722065"
    "706f636820706172746974696f6e206c65616465722065706f63682076616c756520313100280018180c6b65792d31321076"
    "616c75652031320056001a1a0c6b65792d31333e706172746974696f6e206c65616465722065706f63682076616c75652031"
    "3300";

inline constexpr const char* kKafkaGzipBatch =
    "0000000000000000000001330000000502ed489ff400010000000d0000018bcfe568000000018bcfe679700000000000000f"
    "a00003000000110000000e1f8b08000000000000ffadcf4f6ac2401805f03745421a420812826421b370510a854cfc1b100f"
    "e142ba9da653923624924e14772e3c84780a17bd82f7e8518c13b7062add3edef7fb78af008c2fb179f1bb3216f42329be25"
    "5df1b4149a210b1e098dbf457a96678200cff83de90fc45b2732ce4b4939ad2ee1e2b1a58880c0be34b4caec41d75538b094"
    "460798c33054349c2e79211399e4194d057f170515cb3c8aebbf74882d8169aaeae8f346b55118e14860594a18efc9df8846"
    "795c0db36d054faec326d5b0765b4561f3b0103b02c7312f55e6a7f7fc673e7e085cb736d8e13fb7318627743a351dd8d730"
    "c0029e5787fd5933d0c7190a197f8e4f020000";

inline constexpr const char* kKafkaSnappyBatch =
    "0000000000000000000001650000000502b390f63300020000000d0000018bcfe568000000018bcfe679700000000000000f"
    "a00003000000110000000e82534e4150505900000000010000000100000120cf04f046580000000a6b65792d301e74686520"
    "66697273742076616c7565060a747261636506616263086e6f6e650100002a00e0c50802011a776974686f75742061206b65"
    "79001600090405433c3201001000e0c5080600000024000808051504340e054e1820340052000a0a05135c353c7061727469"
    "74696f6e206c65616465722065706f636809781c2035008001000c0c052b04366a5a2b005a1700096c183600b001000e0e05"
    "42083798015a2c00b61700095a14370024001010055900380dd9143800520012120513003976d9001c390084010014140c21"
    "6f0831306cce80001c313000b401001616094404319afedc002edc001831310028001818095b04321009f11831320056001a"
    "1a091504333e5ab4002076616c756520313300";

inline constexpr const char* kKafkaLz4Batch =
    "00000000000000000000015f000000050229eac83b00030000000d0000018bcfe568000000018bcfe679700000000000000f"
    "a00003000000110000000e04224d186040821f010000f138580000000a6b65792d301e7468652066697273742076616c7565"
    "060a747261636506616263086e6f6e650100002a00e0c50802011a776974686f75742061206b657900160009044300403201"
    "00102200810600000024000808580021340e4e007120340052000a0a1300f209353c706172746974696f6e206c6561646572"
    "2065706f63687800812035008001000c0c2b002f366a2b00040f170004026c00713600b001000e0e42003f3798012c00040f"
    "17001b025a006137002400101059001338d9006138005200121213001f39d9000b80390084010014140c2c013f31306c8000"
    "2182313000b40100161644002f319adc003972313100280018185b00223210f1007231320056001a1a15002f333eb4000490"
    "76616c75652031330000000000";

inline constexpr const char* kKafkaZstdBatch =
    "0000000000000000000001390000000502888a18b600040000000d0000018bcfe568000000018bcfe679700000000000000f"
    "a00003000000110000000e28b52ffd0058e40700224c2d307069d318fc1ffe59570574fad4668ec8b6d336d062810a9a3ba0"
    "fc7b7cdaffffff2e1a536ce5b66dbf13f9b6ad0bed144310201475c29664391c133c67c59ca6dfc5d5d4aa09351abf892d16"
    "06e3cb958a24fd98f2282851f4b378e23081a09fc412895d5c6665b70c7435b97159cd6a4733079218bf1c915104c21fff03"
    "399da59f1520f0f4663192caaae1b09a45500f00723a17fcdb8ddbe0b5409fbd6857e3b31a8d42c8fad0650d72b13a50196c"
    "16137f851b004f3320878a7170a131630f0793df47f808cc033384ce1a3c5503b00c040301b92605b44a1a0cd66982a7ea00"
    "c18a700350b153c1d9c30c9bdb116e188eec615cd80c010000";

inline constexpr const char* kKafkaControlBatch =
    "00000000000000000000004200000005023a9760040030000000000000018bcfe568000000018bcfe568000000000000000f"
    "a00003ffffffff000000012000000008000000010c00000000000900";

// liblz4 1.9.4 over kLz4FramesBytes of FramedText(): linked blocks without sums; independent ones with every sum and the size.
inline constexpr const char* kLz4LinkedFrame =
    "04224d184040c09c010000ff09306172746974696f6e206c65616465722065706f636820701700ffffffffffffffffffffff"
    "ffffffffe41f31fe0ffffffffffffffffffffffffffffffff93f727432fc1ffffffffffffffffffffffffffffffff75f7274"
    "697433fa2ffffffffffffffffffffffffffffffff502f83f1f34f83ffffffffffffffffffffffffffffffff302fe0f3f6e20"
    "35f64ffffffffffffffffffffffffffffffff104fe0f3f6c6536f45fffffffffffffffffffffffffffffffef06fe0f3f6164"
    "37f26fffffffffffffffffffffffffffffffed08fe0f3f657238f07fffffffffffffffffffffffffffffffeb0afe0f3f2065"
    "39ee8fffffffffffffffffffffffffffffffe90cfe0f3f706f30ec9fffffffffffffffffffffffffffffffe70efe0f3f6368"
    "311700030f01b0ffffffffffffffffffffffffffffffe51f321510010ffe0fffffffffffffffffffffffffffffffe53f6172"
    "33fdcffffffffffffffffffffffffffffffff84f72746934fbdffffffffffffffffffffffffffffffff601fa2f1f35f9efff"
    "fffffffffffffffffffffffffffff47072746974696f6e280000001f36f7fffffffffffffffffffffffffffffffff201fc1f"
    "6f6f6e206c376101b0ff5750696f6e206c00000000";

inline constexpr const char* kLz4CheckedFrame =
    "04224d187c407011010000000000caa5010000ff09306172746974696f6e206c65616465722065706f636820701700ffffff"
    "ffffffffffffffffffffffffe41f31fe0ffffffffffffffffffffffffffffffff93f727432fc1fffffffffffffffffffffff"
    "fffffffff700fa2f1f33fa2ffffffffffffffffffffffffffffffff500fe0f3f696f34f83fffffffffffffffffffffffffff"
    "fffff302fe0f3f6e2035f64ffffffffffffffffffffffffffffffff104fe0f3f6c6536f45fffffffffffffffffffffffffff"
    "ffffef06fe0f3f616437f26fffffffffffffffffffffffffffffffed08fe0f3f657238f07fffffffffffffffffffffffffff"
    "ffffeb0afe0f3f206539ee8fffffffffffffffffffffffffffffffe90cfe0f3f706f30ec9fffffffffffffffffffffffffff"
    "ffffe70efe0f3f6368311700030f01b0ffffffffffffffffffffffffffffffe51f321510010ffe0fffffffffffffffffffff"
    "ffffffffffe5306172330590000970000d500011300ffe0fffffffffffffffffffffffffffffffe93f746934fe0fffffffff"
    "fffffffffffffffffffffff93f746935fc1ffffffffffffffffffffffffffffffff6506974696f6e046a17f338000000ff09"
    "366c65616465722065706f636820706172746974696f6e201700ffffffffffffffffffffffffffffffe41f37fe0fff585069"
    "6f6e206cc665455300000000693472d7";
// clang-format on

inline constexpr size_t kLz4FramesBytes = 70000;
inline Buffer FramedText() {
  constexpr std::string_view kPhrase = "partition leader epoch ";
  Buffer out(kLz4FramesBytes);
  for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<uint8_t>(kPhrase[i % kPhrase.size()]);
  for (size_t i = 0; i < out.size(); i += 4096) out[i] = static_cast<uint8_t>('0' + i / 4096 % 10);
  return out;
}

}  // namespace varve::test
