// SPDX-License-Identifier: Apache-2.0
// Sessions of Produce requests in every version: well-formed but for what the input chooses to spoil, with batches whose length
// and CRC are made right, so that mutations reach what lies behind those checks.
#include <cstdint>

#include "fuzz/fuzz_session.h"

namespace varve::fuzz {
namespace {

Buffer Records(Input& input) {
  switch (input.Byte() % 4) {
    case 0: {
      const size_t bytes = input.Byte();
      const Bytes raw = input.Take(bytes);
      return Buffer(raw.begin(), raw.end());
    }
    case 1: {
      // A header of the input's, its length and CRC right, over records of the input's.
      Buffer batch(kBatchHeaderBytes);
      const Bytes header = input.Take(kBatchHeaderBytes);
      std::copy(header.begin(), header.end(), batch.begin());
      test::Add(&batch, input.Take(input.Byte()));
      StoreI32(&batch[kBatchLengthPosition], static_cast<int32_t>(batch.size() - kBatchPreludeBytes));
      batch[kMagicPosition] = 2;
      StoreCrc(batch);
      return batch;
    }
    default: {
      const auto count = static_cast<int32_t>(1 + input.Byte() % 5);
      BatchHeader header = test::HeaderFor(count);
      if (input.Byte() % 2 == 0) {
        header.producer_id = input.Byte() % 3;
        header.producer_epoch = static_cast<int16_t>(input.Byte() % 2);
        header.base_sequence = static_cast<int32_t>(input.Odd());
      }
      if (input.Byte() % 8 == 0) header.attributes = static_cast<int16_t>(input.Number(2));
      if (input.Byte() % 8 == 0) header.max_timestamp += input.Odd();
      Buffer body;
      for (int32_t i = 0; i < count; ++i) {
        test::TestRecord record;
        record.offset_delta = i;
        record.AddTo(&body);
      }
      return test::BatchOf(header, body);
    }
  }
}

void SendProduce(Session& session, Input& input) {
  const uint8_t shape = input.Byte();
  const auto version = static_cast<int16_t>(shape % 16 == 15 ? input.Number(2) : 3 + shape % 11);
  const uint8_t spoil = input.Byte();
  Writer w(version >= 9);
  w.Header(0, version, session.NextCorrelationId());
  spoil % 16 == 1 ? w.Text("txn") : w.Length(spoil % 16 == 2 ? input.Odd() : -1, 2);
  w.Int(input.Byte() % 8 == 0 ? input.Odd() : input.Byte() % 3 - 1, 2).Int(input.Odd(), 4);
  const int topics = spoil % 16 == 3 ? 2 : 1;
  w.Count(spoil % 16 == 4 ? input.Odd() : topics);
  for (int t = 0; t < topics; ++t) {
    if (version >= 13)
      w.Raw(input.Byte() % 8 == 0 ? TopicId{9} : kFuzzTopicId);
    else
      w.Text(input.Byte() % 8 == 0 ? "u" : "t");
    const int partitions = 1 + input.Byte() % 3;
    w.Count(spoil % 16 == 5 ? input.Odd() : partitions);
    for (int p = 0; p < partitions; ++p) {
      const Buffer records = Records(input);
      w.Int(spoil % 16 == 6 ? input.Odd() : input.Byte() % 3, 4);
      w.Count(spoil % 16 == 7 ? input.Odd() : static_cast<int64_t>(records.size())).Raw(records).Tags();
    }
    w.Tags();
  }
  w.Tags();
  if (spoil % 16 == 8) w.Raw(input.Take(input.Byte()));
  session.SendFrame(w.body(), 1 + input.Number(2));
}

}  // namespace
}  // namespace varve::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::fuzz::RunSession(data, size, varve::fuzz::SendProduce);
  return 0;
}
