// SPDX-License-Identifier: Apache-2.0
// The output side of a connection: replies composed in chunks, released in slot order, consumed by the
// transport.
#include <algorithm>

#include "plane/connection_impl.h"

namespace varve {

MutableBytes ConnectionImpl::ReserveReply(size_t bytes_max) {
  if (chunk_ != nullptr && chunk_->capacity - chunk_->used < bytes_max)
    shard_->chunks.Release(std::exchange(chunk_, nullptr));
  if (chunk_ == nullptr) chunk_ = shard_->chunks.Get(bytes_max);
  return {chunk_->data.get() + chunk_->used, bytes_max};
}

void ConnectionImpl::AddReplyPiece(Slot* slot, const uint8_t* from, size_t bytes) {
  if (bytes == 0) return;
  chunk_->used += bytes;
  ++chunk_->references;
  reply_bytes_ += bytes;
  Piece& piece = slot->pieces.emplace_back();
  piece.data = from;
  piece.bytes = bytes;
  piece.chunk = chunk_;
}

void ConnectionImpl::AddReplySlice(Slot* slot, LogSlice slice) {
  reply_bytes_ += slice.bytes;
  Piece& piece = slot->pieces.emplace_back();
  piece.data = slice.data();
  piece.bytes = slice.bytes;
  piece.position = slice.position;
  piece.segment = std::move(slice.segment);
}

void ConnectionImpl::ReleasePiece(Piece* piece) {
  if (piece->chunk != nullptr) shard_->chunks.Release(piece->chunk);
  *piece = Piece{};
}

void ConnectionImpl::PumpSlots() {
  constexpr size_t kPiecesKept = 64;
  while (!slots_.empty() && slots_.front().state == Slot::State::kDone) {
    Slot& slot = slots_.front();
    for (Piece& piece : slot.pieces) {
      output_bytes_ += piece.bytes;
      if (piece.chunk != nullptr && !output_.empty() && output_.back().chunk == piece.chunk &&
          output_.back().data + output_.back().bytes == piece.data) {
        output_.back().bytes += piece.bytes;
        ReleasePiece(&piece);
      } else {
        output_.PushSlot() = std::move(piece);
      }
    }
    if (slot.pieces.capacity() > kPiecesKept)
      slot.pieces = {};
    else
      slot.pieces.clear();
    slots_.PopFront();
    ++first_slot_;
  }
}

size_t ConnectionImpl::PeekOutput(std::span<OutputPiece> pieces) {
  const size_t count = std::min(pieces.size(), output_.size());
  for (size_t i = 0; i < count; ++i) {
    const Piece& piece = output_[i];
    pieces[i].data = piece.data;
    pieces[i].bytes = piece.bytes;
    pieces[i].segment = piece.segment;
    pieces[i].position = piece.position;
  }
  return count;
}

void ConnectionImpl::ConsumeOutput(size_t bytes, Now now) {
  if (closed_ || bytes == 0) return;
  now_ = now;
  bytes = static_cast<size_t>(std::min<uint64_t>(bytes, output_bytes_));
  shard_->counters.Add(ShardCounters::kSentBytes, bytes);
  output_bytes_ -= bytes;
  reply_bytes_ -= bytes;
  while (bytes > 0) {
    Piece& piece = output_.front();
    if (bytes < piece.bytes) {
      piece.data += bytes;
      piece.bytes -= bytes;
      if (piece.segment != nullptr) piece.position += static_cast<uint32_t>(bytes);
      break;
    }
    bytes -= piece.bytes;
    ReleasePiece(&piece);
    output_.PopFront();
  }
  ReleaseIdleChunk();
  write_timer_.Cancel();  // it moved: the deadline starts anew
  Settle();
}

void ConnectionImpl::ReleaseIdleChunk() {
  if (reply_bytes_ == 0 && chunk_ != nullptr) shard_->chunks.Release(std::exchange(chunk_, nullptr));
}

}  // namespace varve
