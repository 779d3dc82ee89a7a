// SPDX-License-Identifier: Apache-2.0
// Connection: one client's byte stream without a socket. Received bytes go in; outputs (header bytes and
// slices of mapped segments) and punts (frames for TypeScript) come out. Produce and Fetch are served here,
// natively; every other request, and a Produce or Fetch whose grant is missing, is punted. Replies leave in
// request order: each request holds a slot. The same code serves three transports: Node sockets, in process
// and (later) native reactors; none of them is known here.
//
// While a punted Produce has no answer, the connection's input waits at its next Produce (and what is behind
// that): append order is request order, per connection.
//
// Threading: everything belongs to the owner thread of its Loop. Other threads reach a connection only
// through Loop::Post.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "plane/loop.h"
#include "plane/plane.h"

namespace varve {

/// A run of output bytes. With `segment` they are bytes [position, position + bytes) of that segment and stay
/// valid while it is held; without, they belong to the connection until ConsumeOutput passed them.
struct OutputPiece {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  std::shared_ptr<const SegmentBytes> segment;
  uint32_t position = 0;
};

/// A request for TypeScript: the whole frame behind its size field.
struct Punt {
  uint64_t slot = 0;
  std::vector<uint8_t> frame;
};

/// What the owner has to do for a connection, or'ed together.
enum ConnectionFlag : uint32_t {
  kHasOutput = 1,     ///< PeekOutput gives something
  kHasPunts = 2,      ///< TakePunt gives something
  kPauseReading = 4,  ///< don't Receive until the flag is gone (output or received-bytes budget)
  kMustClose =
      8,  ///< protocol error or deadline: send what PeekOutput still gives, then close; see close_reason()
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  virtual ~Connection() = default;
  static std::shared_ptr<Connection> Create(std::shared_ptr<Plane> plane, std::shared_ptr<Loop> loop);

  /// Takes bytes as they came, in any cut; `bytes` may be reused when it returns. Serves every whole frame it
  /// can.
  virtual void Receive(Bytes bytes, Now now) = 0;
  virtual uint32_t flags() const = 0;
  /// Why kMustClose was set, for the log; empty when it is not.
  virtual const std::string& close_reason() const = 0;
  /// True while there is output, or a request without a reply that is not a waiting Fetch: what a clean stop
  /// lets finish.
  virtual bool busy() const = 0;

  /// Up to `pieces.size()` next pieces of output, never past a slot that has no reply yet. Returns how many.
  virtual size_t PeekOutput(std::span<OutputPiece> pieces) = 0;
  /// The first `bytes` of the output were sent.
  virtual void ConsumeOutput(size_t bytes, Now now) = 0;

  virtual bool TakePunt(Punt* punt) = 0;
  /// The reply of a punted request: a complete frame with its size field. Bytes are copied.
  virtual void Answer(uint64_t slot, Bytes frame, Now now) = 0;
  /// The request gets no reply (acks=0).
  virtual void AnswerNothing(uint64_t slot, Now now) = 0;
  /// Serve a punted Produce or Fetch natively now; what still has no grant is answered
  /// UNKNOWN_TOPIC_OR_PARTITION (UNKNOWN_TOPIC_ID for an id) instead of being punted again.
  virtual void Retry(uint64_t slot, Now now) = 0;
  /// The peer is gone, or is to go: parked requests are dropped, nothing is called back any more. Idempotent.
  virtual void Close() = 0;
};

}  // namespace varve
