// SPDX-License-Identifier: Apache-2.0
// ConnectionImpl: framing, reply slots and output of one connection. What a Produce or a Fetch means is in
// produce.h and fetch.h.
//
// Input: frames that lie wholly inside the received bytes are served in place; only a partial frame is
// collected, in a buffer that grows with what comes. Input stalls (is kept, and reading pauses) while the
// connection holds too many slots, too many parked partitions or too much unsent output, and at a Produce while a punted Produce has no
// answer: append order is request order. That is for the whole connection, not per partition: Kafka serves
// one request of a connection at a time.
//
// Output: each request has a slot; replies are encoded into chunks when they are known, and move to the
// output when every slot before them has done so. Pieces that lie behind one another in a chunk are one
// piece.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "plane/connection.h"
#include "plane/plane_impl.h"

namespace varve {

class ConnectionImpl final : public LoopConnection {
 public:
  ConnectionImpl(std::shared_ptr<PlaneImpl> plane, std::shared_ptr<LoopImpl> loop);
  ~ConnectionImpl() override;

  void Receive(Bytes bytes, Now now) override;
  uint32_t flags() const override;
  const std::string& close_reason() const override { return close_reason_; }
  bool busy() const override;
  size_t PeekOutput(std::span<OutputPiece> pieces) override;
  void ConsumeOutput(size_t bytes, Now now) override;
  bool TakePunt(Punt* punt) override;
  void Answer(uint64_t slot, Bytes frame, Now now) override;
  void AnswerNothing(uint64_t slot, Now now) override;
  void Retry(uint64_t slot, Now now) override;
  void Close() override;

  void OnDeadline(ParkedRequest* request, const Now& now) override;

 protected:
  bool OnPosted(const Now& now) override;

 private:
  struct Piece {
    const uint8_t* data = nullptr;
    size_t bytes = 0;
    Chunk* chunk = nullptr;  // or a segment
    std::shared_ptr<const SegmentBytes> segment;
    uint32_t position = 0;
  };
  struct Slot {
    enum class State : uint8_t { kPunted, kParked, kDone };
    State state = State::kParked;
    int16_t api_key = -1;
    std::vector<uint8_t> frame;  // of a punt; for Produce and Fetch it is kept until the answer, for Retry
    uint64_t charged = 0;
    std::unique_ptr<ProduceRequest> produce;
    std::unique_ptr<FetchRequest> fetch;
    std::vector<Piece> pieces;
  };

  // Input.
  size_t ServeFrames(Bytes bytes);
  bool CheckFrameSize(int64_t frame_bytes);
  bool CanServe(Bytes frame) const;
  void ServeFrame(Bytes frame);
  void Keep(Bytes bytes);
  void DropInput(size_t bytes);
  void Settle();
  void UpdateBudgetPause();
  void UpdateTimers();

  // Requests.
  void ServeProduceFrame(uint64_t id, Bytes frame, bool last_try);
  void ServeFetchFrame(uint64_t id, Bytes frame, bool last_try);
  void PuntFrame(uint64_t id, Bytes frame);
  void EndPunt(Slot* slot);
  void FinishProduce(Slot* slot, std::unique_ptr<ProduceRequest> request);
  void FinishFetch(Slot* slot, std::unique_ptr<FetchRequest> request);
  void FinishParked(ParkedRequest* request);
  void CountTrailing(size_t bytes) {
    if (bytes > 0) shard_->counters.Add(ShardCounters::kTrailingBytesRequests, 1);
  }

  // Output.
  MutableBytes ReserveReply(size_t bytes_max);
  void AddReplyPiece(Slot* slot, const uint8_t* from, size_t bytes);
  void AddReplySlice(Slot* slot, LogSlice slice);
  void PumpSlots();
  void ReleasePiece(Piece* piece);
  void ReleaseIdleChunk();

  Slot* SlotOf(uint64_t id) { return id - first_slot_ < slots_.size() ? &slots_[id - first_slot_] : nullptr; }
  Slot* PuntedSlot(uint64_t id);
  void FailConnection(const char* reason);
  static void OnFrameDeadline(void* self, const Now& now);
  static void OnWriteDeadline(void* self, const Now& now);

  const std::shared_ptr<PlaneImpl> plane_;
  const std::shared_ptr<PlaneShard> shard_;
  Now now_;

  std::vector<uint8_t> input_;  // a partial frame, or everything behind a stall
  uint64_t charged_ = 0;        // of the plane's budget
  bool stalled_ = false;
  bool budget_paused_ = false;

  Ring<Slot> slots_;
  uint64_t first_slot_ = 0;
  Ring<uint64_t> punts_;  // not taken yet
  size_t parked_partitions_ = 0;
  uint32_t punted_produces_ = 0;

  Ring<Piece> output_;
  Chunk* chunk_ = nullptr;     // being filled
  uint64_t reply_bytes_ = 0;   // composed and not consumed
  uint64_t output_bytes_ = 0;  // of them, in order

  Timer frame_timer_;
  Timer write_timer_;
  bool must_close_ = false;
  bool closed_ = false;
  std::string close_reason_;
};

}  // namespace varve
