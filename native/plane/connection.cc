// SPDX-License-Identifier: Apache-2.0
#include "plane/connection.h"

#include <algorithm>
#include <cstdlib>

#include "plane/connection_impl.h"

namespace varve {

std::shared_ptr<Connection> Connection::Create(std::shared_ptr<Plane> plane, std::shared_ptr<Loop> loop) {
  return std::make_shared<ConnectionImpl>(std::static_pointer_cast<PlaneImpl>(std::move(plane)),
                                          std::static_pointer_cast<LoopImpl>(std::move(loop)));
}

ConnectionImpl::ConnectionImpl(std::shared_ptr<PlaneImpl> plane, std::shared_ptr<LoopImpl> loop)
    : LoopConnection(loop),
      plane_(std::move(plane)),
      shard_(plane_->ShardFor(loop)),
      frame_timer_(OnFrameDeadline, this),
      write_timer_(OnWriteDeadline, this) {
  shard_->counters.Add(ShardCounters::kConnections, 1);
}

ConnectionImpl::~ConnectionImpl() { Close(); }

void ConnectionImpl::FailConnection(const char* reason) {
  if (must_close_) return;
  must_close_ = true;
  close_reason_ = reason;
}

uint32_t ConnectionImpl::flags() const {
  if (closed_) return 0;
  uint32_t flags = 0;
  if (output_bytes_ > 0) flags |= kHasOutput;
  if (!punts_.empty()) flags |= kHasPunts;
  if (stalled_ || budget_paused_) flags |= kPauseReading;
  if (must_close_) flags |= kMustClose;
  return flags;
}

bool ConnectionImpl::busy() const {
  if (output_bytes_ > 0) return true;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].state != Slot::State::kParked || slots_[i].produce != nullptr) return true;
  }
  return false;
}

void ConnectionImpl::Close() {
  if (closed_) return;
  closed_ = true;
  // First every waiter leaves its partition, then what they finished meanwhile is taken: nobody knows these
  // requests any more.
  for (size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.produce != nullptr) {
      CancelProduce(slot.produce.get());
      SettleProduce(slot.produce.get());
    }
    if (slot.fetch != nullptr) CancelFetch(slot.fetch.get());
  }
  TakeFinished();
  loop_->Retire(this);
  while (!slots_.empty()) {
    Slot& slot = slots_.front();
    if (slot.produce != nullptr) shard_->produce_requests.Put(std::move(slot.produce));
    if (slot.fetch != nullptr) {
      shard_->counters.Subtract(ShardCounters::kParkedFetches, 1);
      shard_->fetch_requests.Put(std::move(slot.fetch));
    }
    if (slot.state == Slot::State::kPunted) EndPunt(&slot);
    for (Piece& piece : slot.pieces) ReleasePiece(&piece);
    slot.pieces.clear();
    slots_.PopFront();
    ++first_slot_;
  }
  for (; !output_.empty(); output_.PopFront()) ReleasePiece(&output_.front());
  reply_bytes_ = output_bytes_ = 0;
  ReleaseIdleChunk();
  while (!punts_.empty()) punts_.PopFront();
  DropInput(input_.size());
  plane_->GiveBackPrivilege(this);
  frame_timer_.Cancel();
  write_timer_.Cancel();
  shard_->counters.Subtract(ShardCounters::kConnections, 1);
}

// --- input
// -----------------------------------------------------------------------------------------------------------

void ConnectionImpl::Receive(Bytes bytes, Now now) {
  if (closed_ || must_close_) return;
  now_ = now;
  shard_->counters.Add(ShardCounters::kReceivedBytes, bytes.size());
  if (!input_.empty() && !stalled_) {
    // Exactly what the collected frame lacks, so that whatever follows is served in place.
    while (!bytes.empty() && !input_.empty() && !stalled_ && !must_close_) {
      const size_t whole = input_.size() < 4 ? 4 : 4 + static_cast<size_t>(LoadI32(input_.data()));
      const size_t taken = std::min(bytes.size(), whole - input_.size());
      Keep(bytes.first(taken));
      bytes = bytes.subspan(taken);
      DropInput(ServeFrames(input_));
    }
  }
  if (input_.empty() && !stalled_ && !must_close_) bytes = bytes.subspan(ServeFrames(bytes));
  if (!bytes.empty() && !must_close_) Keep(bytes);
  Settle();
}

/// Serves the whole frames at the front; returns their bytes.
size_t ConnectionImpl::ServeFrames(Bytes bytes) {
  size_t served = 0;
  while (!must_close_ && bytes.size() - served >= 4) {
    const int64_t frame_bytes = LoadI32(bytes.data() + served);
    if (!CheckFrameSize(frame_bytes)) break;
    if (bytes.size() - served - 4 < static_cast<size_t>(frame_bytes)) break;
    const Bytes frame = bytes.subspan(served + 4, static_cast<size_t>(frame_bytes));
    if (!CanServe(frame)) {
      stalled_ = true;
      break;
    }
    frame_timer_.Cancel();
    ServeFrame(frame);
    served += 4 + frame.size();
  }
  return served;
}

bool ConnectionImpl::CheckFrameSize(int64_t frame_bytes) {
  if (frame_bytes > 0 && frame_bytes <= int64_t{plane_->options().request_bytes_max}) return true;
  FailConnection(frame_bytes <= 0
                     ? "a request's size is not positive"
                     : "a request is larger than socket.request.max.bytes, or this is not Kafka's protocol");
  return false;
}

bool ConnectionImpl::CanServe(Bytes frame) const {
  if (slots_.size() >= static_cast<size_t>(plane_->options().requests_in_flight_max)) return false;
  if (reply_bytes_ > plane_->options().output_bytes_max) return false;
  // What waits in partitions takes many times the bytes that it came in.
  if (parked_partitions_ >= kRequestPartitionsMax) return false;
  return punted_produces_ == 0 || frame.size() < 2 || LoadI16(frame.data()) != kApiProduce;
}

void ConnectionImpl::ServeFrame(Bytes frame) {
  constexpr size_t kHeaderBytesMin = 8;
  if (frame.size() < kHeaderBytesMin) return FailConnection("a request is shorter than a request header");
  const int16_t api_key = LoadI16(frame.data());
  const int16_t version = LoadI16(frame.data() + 2);
  if (!IsLiveApiKey(api_key)) return FailConnection("a request has an unknown api key");
  const bool produce = api_key == kApiProduce;
  const bool fetch = api_key == kApiFetch;
  if ((produce && (version < kProduceVersionMin || version > kProduceVersionMax)) ||
      (fetch && (version < kFetchVersionMin || version > kFetchVersionMax)))
    return FailConnection("a request has an unsupported version");

  Slot& slot = slots_.PushSlot();
  slot.state = Slot::State::kParked;
  slot.api_key = api_key;
  const uint64_t id = first_slot_ + slots_.size() - 1;
  if (produce) {
    shard_->counters.Add(ShardCounters::kProduceRequests, 1);
    ServeProduceFrame(id, frame, false);
  } else if (fetch) {
    shard_->counters.Add(ShardCounters::kFetchRequests, 1);
    ServeFetchFrame(id, frame, false);
  } else {
    PuntFrame(id, frame);
  }
  PumpSlots();
}

void ConnectionImpl::Keep(Bytes bytes) {
  if (input_.capacity() == 0) input_ = shard_->frame_buffers.Get();
  const size_t needed = input_.size() + bytes.size();
  if (needed > input_.capacity()) {
    // Twice what came, and never more than the frame says it is: a size field alone buys no memory.
    size_t room = needed * 2;
    if (!stalled_ && input_.size() >= 4)
      room = std::min(room, std::max(needed, 4 + static_cast<size_t>(LoadI32(input_.data()))));
    input_.reserve(room);
  }
  input_.insert(input_.end(), bytes.begin(), bytes.end());
  charged_ += bytes.size();
  plane_->Charge(bytes.size());
}

void ConnectionImpl::DropInput(size_t bytes) {
  if (bytes == 0) return;
  input_.erase(input_.begin(), input_.begin() + static_cast<ptrdiff_t>(bytes));
  charged_ -= bytes;
  plane_->Discharge(bytes);
  if (input_.empty()) {
    shard_->frame_buffers.Put(std::move(input_));
    input_ = {};
  }
}

/// Ends every call from outside: what can move, moves.
void ConnectionImpl::Settle() {
  PumpSlots();
  while (stalled_ && !must_close_) {
    stalled_ = false;
    const size_t served = ServeFrames(input_);
    DropInput(served);
    if (served == 0) break;
  }
  if (must_close_) {
    DropInput(input_.size());
    stalled_ = false;
  }
  UpdateBudgetPause();
  UpdateTimers();
}

void ConnectionImpl::UpdateBudgetPause() {
  budget_paused_ = charged_ > 0 && !must_close_ && plane_->OverBudget() && !plane_->TakePrivilege(this);
  if (charged_ == 0) plane_->GiveBackPrivilege(this);
  if (budget_paused_) plane_->AddPaused(this);
}

void ConnectionImpl::UpdateTimers() {
  TimerWheel& timers = loop_->timers();
  // While reading is paused the peer can't be blamed for the rest of its frame.
  if (input_.empty() || stalled_ || budget_paused_)
    frame_timer_.Cancel();
  else if (!frame_timer_.armed())
    timers.Arm(&frame_timer_, now_.mono_ms + plane_->options().frame_deadline_ms);
  if (output_bytes_ == 0)
    write_timer_.Cancel();
  else if (!write_timer_.armed())
    timers.Arm(&write_timer_, now_.mono_ms + plane_->options().write_deadline_ms);
}

void ConnectionImpl::OnFrameDeadline(void* self, const Now& now) {
  auto* connection = static_cast<ConnectionImpl*>(self);
  connection->now_ = now;
  connection->FailConnection("a request was not complete in time");
  connection->Settle();
  connection->loop_->Touched(connection);
}

void ConnectionImpl::OnWriteDeadline(void* self, const Now& now) {
  auto* connection = static_cast<ConnectionImpl*>(self);
  connection->now_ = now;
  connection->FailConnection("the peer reads no responses");
  connection->Settle();
  connection->write_timer_.Cancel();
  connection->loop_->Touched(connection);
}

// --- requests
// --------------------------------------------------------------------------------------------------------

void ConnectionImpl::ServeProduceFrame(uint64_t id, Bytes frame, bool last_try) {
  auto request = shard_->produce_requests.Get();
  size_t trailing_bytes = 0;
  if (!ParseProduce(frame, request.get(), &trailing_bytes)) {
    shard_->produce_requests.Put(std::move(request));
    return FailConnection("a Produce request is malformed");
  }
  CountTrailing(trailing_bytes);
  request->connection = this;
  request->slot = id;
  Slot* slot = SlotOf(id);
  switch (ServeProduce(request.get(), shard_.get(), now_, last_try)) {
    case ProduceOutcome::kPunt:
      PuntFrame(id, frame);
      break;
    case ProduceOutcome::kReply:
      return FinishProduce(slot, std::move(request));
    case ProduceOutcome::kSilent:
      slot->state = Slot::State::kDone;
      break;
    case ProduceOutcome::kClose:
      slot->state = Slot::State::kDone;
      FailConnection("a Produce with acks=0 failed");
      break;
    case ProduceOutcome::kPark:
      request->LetGoOfFrame();
      loop_->timers().Arm(&request->timer, now_.mono_ms + std::max(request->timeout_ms, 0));
      slot->state = Slot::State::kParked;
      parked_partitions_ += request->partitions.size();
      slot->produce = std::move(request);
      return;
  }
  shard_->produce_requests.Put(std::move(request));
}

void ConnectionImpl::FinishProduce(Slot* slot, std::unique_ptr<ProduceRequest> request) {
  const MutableBytes room = ReserveReply(ProduceResponseBytesMax(*request));
  WireWriter writer(room, request->version >= kProduceFlexibleVersion);
  WriteProduceResponse(*request, &writer);
  if (writer.overflowed()) std::abort();
  AddReplyPiece(slot, room.data(), writer.written());
  slot->state = Slot::State::kDone;
  shard_->produce_requests.Put(std::move(request));
}

void ConnectionImpl::ServeFetchFrame(uint64_t id, Bytes frame, bool last_try) {
  auto request = shard_->fetch_requests.Get();
  size_t trailing_bytes = 0;
  if (!ParseFetch(frame, request.get(), &trailing_bytes)) {
    shard_->fetch_requests.Put(std::move(request));
    return FailConnection("a Fetch request is malformed");
  }
  CountTrailing(trailing_bytes);
  request->connection = this;
  request->slot = id;
  Slot* slot = SlotOf(id);
  switch (ServeFetch(request.get(), shard_.get(), now_, last_try)) {
    case FetchOutcome::kPunt:
      PuntFrame(id, frame);
      shard_->fetch_requests.Put(std::move(request));
      break;
    case FetchOutcome::kReply:
      FinishFetch(slot, std::move(request));
      break;
    case FetchOutcome::kPark:
      request->LetGoOfFrame();
      loop_->timers().Arm(&request->timer, now_.mono_ms + request->max_wait_ms);
      slot->state = Slot::State::kParked;
      parked_partitions_ += request->partitions.size();
      slot->fetch = std::move(request);
      shard_->counters.Add(ShardCounters::kParkedFetches, 1);
      break;
  }
}

void ConnectionImpl::FinishFetch(Slot* slot, std::unique_ptr<FetchRequest> request) {
  const MutableBytes room = ReserveReply(FetchResponseBytesMax(*request));
  WireWriter writer(room, request->version >= kFetchFlexibleVersion);
  const uint8_t* piece = room.data();
  const uint64_t record_bytes = WriteFetchResponse(*request, &writer, [&](LogSlice slice) {
    AddReplyPiece(slot, piece, static_cast<size_t>(writer.position() - piece));
    piece = writer.position();
    AddReplySlice(slot, std::move(slice));
  });
  if (writer.overflowed()) std::abort();
  AddReplyPiece(slot, piece, static_cast<size_t>(writer.position() - piece));
  slot->state = Slot::State::kDone;
  shard_->counters.Add(ShardCounters::kFetchedBytes, record_bytes);
  shard_->fetch_requests.Put(std::move(request));
}

void ConnectionImpl::PuntFrame(uint64_t id, Bytes frame) {
  Slot& slot = *SlotOf(id);
  slot.state = Slot::State::kPunted;
  slot.frame.assign(frame.begin(), frame.end());
  slot.charged = frame.size();
  charged_ += slot.charged;
  plane_->Charge(slot.charged);
  if (slot.api_key == kApiProduce) ++punted_produces_;
  punts_.PushSlot() = id;
  shard_->counters.Add(ShardCounters::kPuntedRequests, 1);
}

void ConnectionImpl::EndPunt(Slot* slot) {
  if (slot->api_key == kApiProduce) --punted_produces_;
  charged_ -= slot->charged;
  plane_->Discharge(slot->charged);
  slot->charged = 0;
  // Small buffers stay with the slot for the next one.
  if (slot->frame.capacity() > ChunkPool::kChunkBytes)
    slot->frame = {};
  else
    slot->frame.clear();
}

ConnectionImpl::Slot* ConnectionImpl::PuntedSlot(uint64_t id) {
  Slot* slot = closed_ ? nullptr : SlotOf(id);
  return slot != nullptr && slot->state == Slot::State::kPunted ? slot : nullptr;
}

bool ConnectionImpl::TakePunt(Punt* punt) {
  while (!closed_ && !punts_.empty()) {
    const uint64_t id = punts_.front();
    punts_.PopFront();
    // One that was answered before it was taken has nothing left to tell, and maybe no slot.
    Slot* slot = PuntedSlot(id);
    if (slot == nullptr) continue;
    punt->slot = id;
    if (slot->api_key == kApiProduce || slot->api_key == kApiFetch)
      punt->frame = slot->frame;
    else
      punt->frame = std::move(slot->frame);
    return true;
  }
  return false;
}

void ConnectionImpl::Answer(uint64_t id, Bytes frame, Now now) {
  Slot* slot = PuntedSlot(id);
  if (slot == nullptr) return;
  now_ = now;
  const MutableBytes room = ReserveReply(frame.size());
  std::copy(frame.begin(), frame.end(), room.begin());
  AddReplyPiece(slot, room.data(), frame.size());
  EndPunt(slot);
  slot->state = Slot::State::kDone;
  Settle();
}

void ConnectionImpl::AnswerNothing(uint64_t id, Now now) {
  Slot* slot = PuntedSlot(id);
  if (slot == nullptr) return;
  now_ = now;
  EndPunt(slot);
  slot->state = Slot::State::kDone;
  Settle();
}

void ConnectionImpl::Retry(uint64_t id, Now now) {
  Slot* slot = PuntedSlot(id);
  if (slot == nullptr || (slot->api_key != kApiProduce && slot->api_key != kApiFetch)) return;
  now_ = now;
  const std::vector<uint8_t> frame = std::move(slot->frame);
  EndPunt(slot);
  if (slot->api_key == kApiProduce)
    ServeProduceFrame(id, frame, true);
  else
    ServeFetchFrame(id, frame, true);
  Settle();
}

void ConnectionImpl::FinishParked(ParkedRequest* parked) {
  Slot* slot = SlotOf(parked->slot);
  if (parked->kind == ParkedRequest::Kind::kProduce) {
    SettleProduce(slot->produce.get());
    parked_partitions_ -= slot->produce->partitions.size();
    return FinishProduce(slot, std::move(slot->produce));
  }
  CancelFetch(slot->fetch.get());
  ReadAgain(slot->fetch.get(), shard_.get());
  shard_->counters.Subtract(ShardCounters::kParkedFetches, 1);
  parked_partitions_ -= slot->fetch->partitions.size();
  FinishFetch(slot, std::move(slot->fetch));
}

bool ConnectionImpl::OnPosted(const Now& now) {
  if (closed_) return false;
  now_ = now;
  const uint32_t flags_before = flags();
  ParkedRequest* finished = TakeFinished();
  const bool any_finished = finished != nullptr;
  while (finished != nullptr) {
    ParkedRequest* next = finished->next_finished;
    FinishParked(finished);
    finished = next;
  }
  Settle();
  return any_finished || flags() != flags_before;
}

void ConnectionImpl::OnDeadline(ParkedRequest* request, const Now& now) {
  now_ = now;
  const bool mine = request->kind == ParkedRequest::Kind::kProduce
                        ? CancelProduce(static_cast<ProduceRequest*>(static_cast<AckGroup*>(request)))
                        : CancelFetch(static_cast<FetchRequest*>(static_cast<FetchGroup*>(request)));
  // Else another thread was quicker: the mailbox names this connection.
  if (!mine) return;
  FinishParked(request);
  Settle();
  loop_->Touched(this);
}

}  // namespace varve
