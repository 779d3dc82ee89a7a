// SPDX-License-Identifier: Apache-2.0
// Sessions of Fetch requests in every version, over partitions that others append to, while leaders, grants and time change.
#include <cstdint>

#include "fuzz/fuzz_session.h"

namespace varve::fuzz {
namespace {

void SendFetch(Session& session, Input& input) {
  const uint8_t shape = input.Byte();
  const auto version = static_cast<int16_t>(shape % 32 == 31 ? input.Number(2) : 4 + shape % 15);
  const uint8_t spoil = input.Byte() % 32;
  Writer w(version >= 12);
  w.Header(1, version, session.NextCorrelationId());
  if (version < 15) w.Int(spoil == 1 ? input.Odd() : -1, 4);
  w.Int(input.Byte() * 8, 4).Int(input.Odd(), 4).Int(spoil == 2 ? input.Odd() : 1 << 20, 4);
  w.Int(spoil == 3 ? input.Odd() : input.Byte() % 2, 1);
  if (version >= 7) w.Int(spoil == 4 ? input.Odd() : 0, 4).Int(spoil == 5 ? input.Odd() : -1, 4);
  const int topics = spoil == 6 ? input.Byte() % 3 : 1;
  w.Count(spoil == 7 ? input.Odd() : topics);
  for (int t = 0; t < topics; ++t) {
    if (version >= 13)
      w.Raw(input.Byte() % 8 == 0 ? TopicId{9} : kFuzzTopicId);
    else
      w.Text(input.Byte() % 8 == 0 ? "u" : "t");
    const int partitions = 1 + input.Byte() % 4;
    w.Count(spoil == 8 ? input.Odd() : partitions);
    for (int p = 0; p < partitions; ++p) {
      w.Int(spoil == 9 ? input.Odd() : input.Byte() % 3, 4);
      if (version >= 9) w.Int(spoil == 10 ? input.Odd() : -1, 4);
      w.Int(spoil == 11 ? input.Odd() : input.Byte() % 8, 8);
      if (version >= 12) w.Int(spoil == 12 ? input.Odd() : -1, 4);
      if (version >= 5) w.Int(-1, 8);
      w.Int(spoil == 13 ? input.Odd() : 1 << 16, 4).Tags();
    }
    w.Tags();
  }
  if (version >= 7) w.Count(spoil == 14 ? input.Odd() : 0);
  if (version >= 11) w.Text("rack");
  if (version >= 15 && spoil == 15)
    w.Int(1, 1).Int(1, 1).Int(13, 1).Int(input.Odd(), 4).Int(0, 8).Int(0, 1);
  else
    w.Tags();
  if (spoil == 16) w.Raw(input.Take(input.Byte()));
  session.SendFrame(w.body(), 1 + input.Number(2));
}

}  // namespace
}  // namespace varve::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::fuzz::RunSession(data, size, varve::fuzz::SendFetch);
  return 0;
}
