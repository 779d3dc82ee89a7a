// SPDX-License-Identifier: Apache-2.0
// Produced batches, hostile in each layer: the input chooses a layer, all layers around it are made
// well-formed (lengths, CRC, frames), so that the mutations land where the layer before would have stopped
// them.
#include <cstdint>
#include <cstdlib>

#include "core/batch_validator.h"
#include "test/batch_fixtures.h"

namespace varve {
namespace {

using test::Buffer;

#define CHECK(condition) \
  if (!(condition)) std::abort()

/// Takes bytes from the front of the input; zeros when it is used up.
class Input {
 public:
  explicit Input(Bytes bytes) : rest_(bytes) {}
  uint32_t Number(int bytes) {
    uint32_t v = 0;
    for (; bytes > 0; bytes--) {
      v = v << 8 | (rest_.empty() ? 0 : rest_.front());
      if (!rest_.empty()) rest_ = rest_.subspan(1);
    }
    return v;
  }
  Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

ValidationOptions OptionsFrom(uint32_t bits) {
  ValidationOptions options;
  options.now_ms = test::kNow;
  options.max_decompressed_bytes = 1 << 20;
  options.strict = (bits & 1) == 0;
  options.compacted = (bits & 2) != 0;
  options.log_append_time = (bits & 4) != 0;
  options.zstd_allowed = (bits & 8) == 0;
  if ((bits & 16) != 0) options.timestamp_before_max_ms = 1000;
  if ((bits & 32) != 0) options.max_decompressed_bytes = (bits >> 8) & ((16u << (4 * (bits >> 6 & 3))) - 1);
  return options;
}

/// What an accepted batch promises.
void CheckAccepted(Bytes batch, const ValidationOptions& options, const ValidatedBatch& out) {
  CHECK(out.header.SizeBytes() == batch.size() && out.header.record_count >= 1);
  CHECK(out.inspected == (options.strict || !out.header.IsCompressed()));
  BatchHeader stored;
  CHECK(CheckStoredBatch(batch, &stored) == BatchError::kOk);
  if (!out.inspected) return;
  DecodeScratch scratch;
  Bytes records;
  CHECK(DecodeRecords(batch, out.header, options.max_decompressed_bytes, &scratch, &records) ==
        BatchError::kOk);
  CHECK(!out.header.IsCompressed() || records.size() <= options.max_decompressed_bytes);
  RecordIterator iterator(records, out.header.record_count);
  RecordView record;
  int32_t count = 0;
  bool null_key = false;
  for (; iterator.Next(&record); count++) {
    CHECK(!options.strict || record.offset_delta == count);
    null_key |= record.key.IsNull();
  }
  CHECK(iterator.error() == BatchError::kOk && count == out.header.record_count &&
        null_key == out.has_null_key);
  CHECK(out.offset_delta_of_max_timestamp < count);
  Buffer patched(batch.begin(), batch.end());
  if (out.max_timestamp_mismatch) PatchMaxTimestamp(patched, out.max_timestamp);
  ValidatedBatch again;
  CHECK(ValidateProduceBatch(patched, options, &scratch, &again) == BatchError::kOk);
  CHECK(!again.max_timestamp_mismatch || again.header.timestamp_type() == TimestampType::kLogAppendTime);
  ValidationOptions lenient = options;
  lenient.strict = false;
  CHECK(ValidateProduceBatch(patched, lenient, &scratch, &again) == BatchError::kOk);
}

void Validate(Bytes bytes, const ValidationOptions& options) {
  Buffer exact(bytes.begin(), bytes.end());
  exact.shrink_to_fit();
  DecodeScratch scratch;
  ValidatedBatch out;
  BatchError error = ValidateProduceBatch(exact, options, &scratch, &out);
  CHECK(*BatchErrorText(error) == '\0' || KafkaErrorCode(error) != 0);
  if (error == BatchError::kOk) CheckAccepted(exact, options, out);
}

BatchHeader HeaderFrom(Input* input, Codec codec) {
  return test::HeaderFor(static_cast<int32_t>(input->Number(1)), codec);
}

/// One of Kafka's batches with a few bytes changed and its length and CRC put right again.
Buffer EditedFixture(Input* input) {
  constexpr const char* kBatches[] = {test::kKafkaPlainBatch, test::kKafkaGzipBatch, test::kKafkaSnappyBatch,
                                      test::kKafkaLz4Batch, test::kKafkaZstdBatch};
  Buffer batch = test::Unhex(kBatches[input->Number(1) % 5]);
  while (!input->rest().empty()) {
    size_t position = input->Number(2) % batch.size();
    batch[position] = static_cast<uint8_t>(input->Number(1));
  }
  StoreI32(&batch[kBatchLengthPosition], static_cast<int32_t>(batch.size() - kBatchPreludeBytes));
  StoreCrc(batch);
  return batch;
}

/// The rest as the blocks of an LZ4 frame, the elements of a snappy stream or the blocks of a zstd frame.
Buffer StreamAround(Input* input, Codec codec) {
  uint32_t size = input->Number(2);
  Bytes rest = input->rest();
  Buffer stream;
  if (codec == Codec::kLz4) {
    Buffer blocks;
    size_t first = std::min<size_t>(size, rest.size());
    for (Bytes block : {rest.first(first), rest.subspan(first)}) {
      if (block.empty()) continue;
      test::AddLe(&blocks, block.size(), 4);
      test::Add(&blocks, block);
    }
    stream = test::Lz4Frame(blocks, (size & 1) != 0 ? 0x40 : 0x60);
  } else if (codec == Codec::kSnappy) {
    Buffer raw;
    test::AddUnsigned(&raw, size);
    test::Add(&raw, rest);
    if ((size & 1) == 0) return raw;
    stream = test::XerialHeader();
    test::AddXerialBlock(&stream, raw);
  } else {
    stream = test::ZstdFrameHeader();
    test::Add(&stream, rest);
  }
  return stream;
}

void Run(Bytes data) {
  Input input(data);
  uint32_t layer = input.Number(1);
  Codec codec = static_cast<Codec>(layer / 8 % 5);
  ValidationOptions options = OptionsFrom(input.Number(3));
  switch (layer % 8) {
    case 0:  // all of it
      Validate(input.rest(), options);
      break;
    case 1: {  // the header, with length, magic and CRC right
      Buffer batch(input.rest().begin(), input.rest().end());
      if (batch.size() < kBatchHeaderBytes) return;
      StoreI32(&batch[kBatchLengthPosition], static_cast<int32_t>(batch.size() - kBatchPreludeBytes));
      batch[kMagicPosition] = 2;
      StoreCrc(batch);
      Validate(batch, options);
      break;
    }
    case 2:
    case 3: {  // the compressed stream
      BatchHeader header = HeaderFrom(&input, codec);
      Validate(test::BatchOf(header, input.rest()), options);
      break;
    }
    case 4: {  // what is inside of the stream's frame
      BatchHeader header = HeaderFrom(&input, codec);
      Validate(test::BatchOf(header, StreamAround(&input, codec)), options);
      break;
    }
    case 5:
    case 6: {  // the records
      BatchHeader header = HeaderFrom(&input, codec);
      Validate(test::BatchOf(header, test::Stored(codec, input.rest())), options);
      break;
    }
    default:
      Validate(EditedFixture(&input), options);
  }
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::Run({data, size});
  return 0;
}
