// SPDX-License-Identifier: Apache-2.0
// LoopImpl: the Loop as the plane itself sees it: timers, the mailbox, and what one owner thread may share
// between its connections.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/compression.h"
#include "plane/connection.h"
#include "plane/loop.h"
#include "plane/timer_wheel.h"

namespace varve {

class Completions;
class LoopImpl;

/// A request that waits inside partitions. Whoever completes it, on whatever thread and under a partition's
/// lock, calls LoopConnection::PushFinished once; the rest happens on the owner thread.
struct ParkedRequest {
  enum class Kind : uint8_t { kProduce, kFetch };
  explicit ParkedRequest(Kind request_kind) : kind(request_kind) {}

  const Kind kind;
  uint64_t slot = 0;
  class LoopConnection* connection = nullptr;
  ParkedRequest* next_finished = nullptr;
};

/// The part of a connection that other threads touch: a stack of finished requests and the mailbox flag.
class LoopConnection : public Connection {
 public:
  /// Any thread, with a partition's lock held; the loop is woken when `completions` run. The connection is
  /// alive: it takes its waiters out of the partitions, under the same lock, before it goes.
  void PushFinished(ParkedRequest* request, Completions* completions);

  /// Owner thread: the request waited long enough.
  virtual void OnDeadline(ParkedRequest* request, const Now& now) = 0;

  const std::shared_ptr<LoopImpl>& loop() const { return loop_; }
  /// It is in the plane's list of connections that wait for room in the budget.
  std::atomic<bool> waits_for_budget{false};

 protected:
  friend class LoopImpl;
  explicit LoopConnection(std::shared_ptr<LoopImpl> loop) : loop_(std::move(loop)) {}

  /// Owner thread, from Loop::Turn: the mailbox named this connection. True when the owner has to look at its
  /// flags.
  virtual bool OnPosted(const Now& now) = 0;
  /// Everything pushed so far, oldest first; owner thread.
  ParkedRequest* TakeFinished();

  const std::shared_ptr<LoopImpl> loop_;

 private:
  std::atomic<ParkedRequest*> finished_{nullptr};
  std::atomic<bool> posted_{false};
  bool retired_ = false;  // guarded by the loop's mutex_
  bool in_ready_ = false;
};

class LoopImpl final : public Loop {
 public:
  explicit LoopImpl(std::function<void()> wake) : wake_(std::move(wake)) {}

  void Post(const std::shared_ptr<Connection>& connection) override;
  void Turn(Now now, std::vector<std::shared_ptr<Connection>>* ready) override;
  int64_t NextDeadlineMs() override { return timers_.NextDeadlineMs(); }

  /// Puts the connection into the mailbox unless it is there. True: the caller has to call Wake().
  bool Enqueue(std::shared_ptr<LoopConnection> connection);
  void Wake() const { wake_(); }
  /// A closed connection leaves the mailbox for good: there it would keep its loop, and itself, alive. Owner thread.
  void Retire(LoopConnection* connection);
  /// Makes the next Turn() do the sweeps, soon. Any thread.
  void RequestTurn();

  TimerWheel& timers() { return timers_; }
  DecodeScratch& scratch() { return scratch_; }
  /// A batch that has to be changed before it is stored is copied here.
  std::vector<uint8_t>& patch_buffer() { return patch_buffer_; }
  /// Owner thread, while Turn() runs: the owner has to look at this connection.
  void Touched(LoopConnection* connection);
  /// Run at the end of every Turn; for what loops hold of planes. Owner thread.
  void AddSweep(std::weak_ptr<void> owner, std::function<void()> sweep);

 private:
  const std::function<void()> wake_;

  std::mutex mutex_;
  std::vector<std::shared_ptr<LoopConnection>> mailbox_;  // guarded by mutex_
  bool wake_requested_ = false;                           // guarded by mutex_

  std::vector<std::shared_ptr<LoopConnection>> taken_;
  std::vector<std::shared_ptr<Connection>>* ready_ = nullptr;
  TimerWheel timers_;
  DecodeScratch scratch_;
  std::vector<uint8_t> patch_buffer_;
  std::vector<std::pair<std::weak_ptr<void>, std::function<void()>>> sweeps_;
};

}  // namespace varve
