// SPDX-License-Identifier: Apache-2.0
// What does strict validation of an uncompressed batch cost, and how much of it is the CRC? Prints
// microseconds of thread CPU time per batch, best of twenty, data in cache.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "core/batch_validator.h"

namespace {

double CpuMicroseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

template <typename Work>
double BestOf(Work work) {
  constexpr int kRepeats = 2000;
  double best = 1e9;
  for (int round = 0; round < 20; round++) {
    double start = CpuMicroseconds();
    for (int i = 0; i < kRepeats; i++) work();
    best = std::min(best, (CpuMicroseconds() - start) / kRepeats);
  }
  return best;
}

}  // namespace

int main() {
  using namespace varve;
  struct Shape {
    int count;
    size_t bytes;
  };
  bool ok = true;
  std::printf("%8s %8s %12s %12s %12s %12s\n", "records", "bytes", "build us", "crc us", "records us",
              "all us");
  for (Shape shape : {Shape{64, 1024}, Shape{640, 100}, Shape{1, 65536}, Shape{1, 1024}}) {
    std::string value(shape.bytes, 'v');
    NullableBytes view(reinterpret_cast<const uint8_t*>(value.data()), static_cast<int32_t>(value.size()));
    std::vector<uint8_t> buffer;
    BatchBuilder builder(&buffer);
    MutableBytes batch;
    double build = BestOf([&] {
      builder.Begin({});
      for (int i = 0; i < shape.count; i++) ok &= builder.Append(1'700'000'000'000 + i, {}, view);
      batch = builder.Finish();
    });
    ValidationOptions options;
    options.now_ms = 1'700'000'000'000;
    options.max_message_bytes = 10 << 20;
    DecodeScratch scratch;
    ValidatedBatch out;
    double all =
        BestOf([&] { ok &= ValidateProduceBatch(batch, options, &scratch, &out) == BatchError::kOk; });
    double crc = BestOf([&] { ok &= VerifyCrc(batch); });
    double records = BestOf([&] {
      ok &= ValidateRecords(Bytes(batch).subspan(kBatchHeaderBytes), options, &out) == BatchError::kOk;
    });
    std::printf("%8d %8zu %12.3f %12.3f %12.3f %12.3f\n", shape.count, batch.size(), build, crc, records,
                all);
  }
  return ok ? 0 : 1;
}
