// SPDX-License-Identifier: Apache-2.0
// What does the data plane cost per request, from Receive to the bytes that a transport would send, without sockets and without a
// disk? Prints microseconds of thread CPU time, best of five; `floor` is what moving and checking the bytes takes
// whatever the plane does (validation of the batch and one copy of it to fresh memory).
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "core/batch_validator.h"
#include "core/engine.h"
#include "core/vfs_memory.h"
#include "plane/connection.h"
#include "plane/loop.h"
#include "plane/partition.h"
#include "plane/plane.h"
#include "plane/wire.h"

namespace {

using namespace varve;

constexpr int64_t kWallMs = 1'700'000'000'000;

double CpuMicroseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

std::vector<uint8_t> Batch(int records, size_t value_bytes) {
  std::vector<uint8_t> buffer;
  const std::string value(value_bytes, 'v');
  BatchBuilder builder(&buffer);
  builder.Begin({});
  for (int i = 0; i < records; ++i)
    builder.Append(
        kWallMs, {},
        NullableBytes(reinterpret_cast<const uint8_t*>(value.data()), static_cast<int32_t>(value.size())));
  const MutableBytes batch = builder.Finish();
  return {batch.begin(), batch.end()};
}

/// Frames of the newest versions that carry names.
class Request {
 public:
  Request(int16_t api_key, int16_t version) : writer_(memory_, true) {
    writer_.Int32(0);
    writer_.Int16(api_key);
    writer_.Int16(version);
    writer_.Int32(1);
    writer_.Int16(-1);
    writer_.NoTaggedFields();
  }
  WireWriter& writer() { return writer_; }
  void Append(std::vector<uint8_t>* to, Bytes records = {}) {
    const size_t at = to->size();
    to->insert(to->end(), memory_.begin(), memory_.begin() + static_cast<ptrdiff_t>(writer_.written()));
    to->insert(to->end(), records.begin(), records.end());
    if (!records.empty()) to->insert(to->end(), {0, 0, 0});
    StoreU32(to->data() + at, static_cast<uint32_t>(to->size() - at - 4));
  }

 private:
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(1 << 20);
  WireWriter writer_;
};

void AddProduce(std::vector<uint8_t>* to, Bytes batch) {
  Request request(kApiProduce, 12);
  WireWriter& w = request.writer();
  w.NullString();
  w.Int16(1);
  w.Int32(1000);
  w.ArrayCount(1);
  w.String("orders");
  w.ArrayCount(1);
  w.Int32(0);
  w.RecordsBytes(static_cast<int32_t>(batch.size()));
  request.Append(to, batch);
}

std::vector<uint8_t> Fetch(int64_t offset, int32_t max_wait_ms, int32_t partition_bytes,
                           int32_t partitions = 1) {
  Request request(kApiFetch, 12);
  WireWriter& w = request.writer();
  w.Int32(-1);
  w.Int32(max_wait_ms);
  w.Int32(1);
  w.Int32(50 << 20);
  w.Int8(0);
  w.Int32(0);
  w.Int32(-1);
  w.ArrayCount(1);
  w.String("orders");
  w.ArrayCount(partitions);
  for (int32_t i = 0; i < partitions; ++i) {
    w.Int32(i);
    w.Int32(-1);
    w.Int64(offset);
    w.Int32(-1);
    w.Int64(-1);
    w.Int32(partition_bytes);
    w.NoTaggedFields();
  }
  w.NoTaggedFields();
  w.ArrayCount(0);
  w.String("");
  w.NoTaggedFields();
  std::vector<uint8_t> frame;
  request.Append(&frame);
  return frame;
}

struct Broker {
  explicit Broker(int32_t partition_count = 1) {
    EngineOptions options;
    options.directories = {"/data"};
    options.vfs = MakeMemoryVfs(false);
    options.executor = MakeInlineExecutor();
    options.flush_mode = FlushMode::kOs;
    engine = *Engine::Open(options);
    plane = Plane::Create(engine, {});
    loop = Loop::Create([] {});
    TopicGrant grant;
    grant.name = "orders";
    plane->PublishTopic(grant);
    for (int32_t i = 0; i < partition_count; ++i) {
      auto partition = Partition::Create(*engine->OpenLog({"orders", i}, {}), FlushMode::kOs);
      PartitionState state;
      state.is_leader = true;
      state.leader_id = state.local_id = 1;
      state.leader_epoch = 1;
      state.isr = {1};
      partition->ApplyState(state);
      plane->PublishPartition("orders", i, partition);
      partitions.push_back(partition);
    }
    producer = Connection::Create(plane, loop);
    consumer = Connection::Create(plane, loop);
  }
  ~Broker() {
    producer->Close();
    consumer->Close();
    engine->Abandon();
  }
  size_t Drain(Connection& connection) {
    std::array<OutputPiece, 16> pieces;
    size_t total = 0;
    while (const size_t count = connection.PeekOutput(pieces)) {
      size_t bytes = 0;
      for (size_t i = 0; i < count; ++i) {
        bytes += pieces[i].bytes;
        pieces[i].segment = nullptr;
      }
      connection.ConsumeOutput(bytes, now);
      total += bytes;
    }
    return total;
  }
  void Turn() {
    ready.clear();
    loop->Turn(now, &ready);
  }

  Now now{.mono_ms = 1, .wall_ms = kWallMs};
  std::shared_ptr<Engine> engine;
  std::shared_ptr<Plane> plane;
  std::shared_ptr<Loop> loop;
  std::vector<std::shared_ptr<Partition>> partitions;
  std::shared_ptr<Connection> producer, consumer;
  std::vector<std::shared_ptr<Connection>> ready;
};

template <typename Prepare, typename Work>
double BestOfFive(int repeats, Prepare prepare, Work work) {
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    auto state = prepare();
    for (int i = 0; i < repeats / 4; ++i) work(*state);
    const double start = CpuMicroseconds();
    for (int i = 0; i < repeats; ++i) work(*state);
    best = std::min(best, (CpuMicroseconds() - start) / repeats);
  }
  return best;
}

void Row(const char* name, double us, double floor) {
  std::printf("%-58s %9.2f us   floor %8.2f   plane %8.2f\n", name, us, floor, us - floor);
}

double FloorOf(const std::vector<uint8_t>& batch) {
  // Appended bytes are the first on their pages, and most of the cost of a large batch is the kernel's for giving them.
  constexpr size_t kLogBytes = 512 << 20;
  ValidationOptions options;
  options.now_ms = kWallMs;
  DecodeScratch scratch;
  ValidatedBatch validated;
  struct FreshLog {
    uint8_t* data = static_cast<uint8_t*>(
        mmap(nullptr, kLogBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    size_t at = 0;
    ~FreshLog() { munmap(data, kLogBytes); }
  };
  return BestOfFive(
      2000, [] { return std::make_unique<FreshLog>(); },
      [&](FreshLog& log) {
        if (ValidateProduceBatch(batch, options, &scratch, &validated) != BatchError::kOk) std::abort();
        std::memcpy(log.data + log.at, batch.data(), batch.size());
        log.at += batch.size();
      });
}

void Produce(const char* name, int records, size_t value_bytes, int pipelined, int repeats) {
  const std::vector<uint8_t> batch = Batch(records, value_bytes);
  std::vector<uint8_t> frames;
  for (int i = 0; i < pipelined; ++i) AddProduce(&frames, batch);
  const double us = BestOfFive(
      repeats, [] { return std::make_unique<Broker>(); },
      [&](Broker& broker) {
        broker.producer->Receive(frames, broker.now);
        if (broker.Drain(*broker.producer) == 0) std::abort();
      });
  Row(name, us / pipelined, FloorOf(batch));
}

void FetchRow(const char* name, size_t value_bytes, int repeats) {
  std::vector<uint8_t> produce;
  AddProduce(&produce, Batch(1, value_bytes));
  int64_t offset = 0;
  std::vector<std::vector<uint8_t>> fetches;
  for (int64_t i = 0; i < 1000; ++i) fetches.push_back(Fetch(i, 0, static_cast<int32_t>(value_bytes)));
  const double us = BestOfFive(
      repeats,
      [&] {
        auto broker = std::make_unique<Broker>();
        for (int i = 0; i < 1000; ++i) broker->producer->Receive(produce, broker->now);
        broker->Drain(*broker->producer);
        return broker;
      },
      [&](Broker& broker) {
        broker.consumer->Receive(fetches[static_cast<size_t>(offset++ % 1000)], broker.now);
        if (broker.Drain(*broker.consumer) < value_bytes) std::abort();
      });
  Row(name, us, 0);
}

void LongPoll(const char* name, int32_t partitions, int repeats) {
  std::vector<uint8_t> produce;
  const std::vector<uint8_t> batch = Batch(1, 1000);
  AddProduce(&produce, batch);
  std::vector<std::vector<uint8_t>> fetches;
  for (int64_t i = 0; i < repeats * 2; ++i) {
    fetches.push_back(Fetch(0, 500, 1 << 20, partitions));
    // Partition 0 at its end, the others are empty: its offset is behind the topic, the array and the partition's first fields.
    const std::string_view name_bytes = "orders";
    uint8_t* frame = fetches.back().data();
    uint8_t* topic = std::search(frame, frame + fetches.back().size(), name_bytes.begin(), name_bytes.end()) +
                     name_bytes.size();
    StoreI64(topic + UnsignedVarintBytes(static_cast<uint32_t>(partitions + 1)) + 8, i);
  }
  size_t next = 0;
  const double us = BestOfFive(
      repeats,
      [&] {
        next = 0;
        return std::make_unique<Broker>(partitions);
      },
      [&](Broker& broker) {
        broker.consumer->Receive(fetches[next++], broker.now);
        broker.producer->Receive(produce, broker.now);
        broker.Turn();
        if (broker.Drain(*broker.consumer) < 1000 || broker.Drain(*broker.producer) == 0) std::abort();
      });
  Row(name, us, FloorOf(batch));
}

}  // namespace

/// plane_bench [N]: with N, a Nth of the rounds of the first row only, for callgrind.
int main(int argc, char** argv) {
  if (argc > 1) {
    Produce("produce 64 KiB, 64 records, acks=1", 64, 1000, 1, 2000 / std::max(1, std::atoi(argv[1])));
    return 0;
  }
  Produce("produce 64 KiB, 64 records, acks=1", 64, 1000, 1, 2000);
  Produce("produce 64 KiB, 1 record, acks=1", 1, 65'400, 1, 2000);
  Produce("produce 1 KiB, 32 pipelined in one read", 1, 950, 32, 1000);
  Produce("produce 100 B, 32 pipelined in one read", 1, 40, 32, 1000);
  FetchRow("fetch 1 KiB, there", 950, 10'000);
  FetchRow("fetch 64 KiB, there", 65'400, 10'000);
  LongPoll("long poll, 1 partition: park, produce 1 KiB, wake, answer", 1, 5000);
  LongPoll("the same with 100 partitions", 100, 1000);
  LongPoll("the same with 1,000 partitions", 1000, 200);
  return 0;
}
