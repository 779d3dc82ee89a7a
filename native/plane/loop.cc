// SPDX-License-Identifier: Apache-2.0
#include "plane/loop.h"

#include <algorithm>

#include "plane/loop_impl.h"
#include "plane/waiters.h"

namespace varve {

std::shared_ptr<Loop> Loop::Create(std::function<void()> wake) {
  return std::make_shared<LoopImpl>(std::move(wake));
}

void LoopConnection::PushFinished(ParkedRequest* request, Completions* completions) {
  request->next_finished = finished_.load(std::memory_order_relaxed);
  while (!finished_.compare_exchange_weak(request->next_finished, request, std::memory_order_release,
                                          std::memory_order_relaxed)) {
  }
  // Null while the connection is being destroyed: nobody is left to tell.
  auto self = std::static_pointer_cast<LoopConnection>(weak_from_this().lock());
  if (self != nullptr && loop_->Enqueue(std::move(self))) completions->Wake(loop_);
}

ParkedRequest* LoopConnection::TakeFinished() {
  ParkedRequest* newest = finished_.exchange(nullptr, std::memory_order_acquire);
  ParkedRequest* oldest = nullptr;
  while (newest != nullptr) {
    ParkedRequest* next = newest->next_finished;
    newest->next_finished = oldest;
    oldest = newest;
    newest = next;
  }
  return oldest;
}

bool LoopImpl::Enqueue(std::shared_ptr<LoopConnection> connection) {
  // While it is set the mailbox, or a Turn, holds a reference: the one given here is never the last to go.
  if (connection->posted_.exchange(true)) return false;
  std::lock_guard lock(mutex_);
  if (connection->retired_) return false;
  mailbox_.push_back(std::move(connection));
  return !std::exchange(wake_requested_, true);
}

void LoopImpl::Retire(LoopConnection* connection) {
  std::shared_ptr<LoopConnection> held;  // let go of without the lock
  std::lock_guard lock(mutex_);
  connection->retired_ = true;
  const auto found = std::find_if(mailbox_.begin(), mailbox_.end(),
                                  [&](const auto& posted) { return posted.get() == connection; });
  if (found == mailbox_.end()) return;
  held = std::move(*found);
  mailbox_.erase(found);
}

void LoopImpl::Post(const std::shared_ptr<Connection>& connection) {
  if (Enqueue(std::static_pointer_cast<LoopConnection>(connection))) Wake();
}

void LoopImpl::RequestTurn() {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(wake_requested_, true)) return;
  }
  Wake();
}

void LoopImpl::Touched(LoopConnection* connection) {
  if (ready_ == nullptr || connection->in_ready_) return;
  connection->in_ready_ = true;
  ready_->push_back(connection->shared_from_this());
}

void LoopImpl::AddSweep(std::weak_ptr<void> owner, std::function<void()> sweep) {
  sweeps_.emplace_back(std::move(owner), std::move(sweep));
}

void LoopImpl::Turn(Now now, std::vector<std::shared_ptr<Connection>>* ready) {
  const size_t before = ready->size();
  ready_ = ready;
  {
    std::lock_guard lock(mutex_);
    taken_.swap(mailbox_);
    wake_requested_ = false;
  }
  for (const auto& connection : taken_) {
    // Cleared first: whoever finishes a request from here on posts the connection again.
    connection->posted_.store(false);
    if (connection->OnPosted(now)) Touched(connection.get());
  }
  taken_.clear();
  timers_.Advance(now);
  std::erase_if(sweeps_, [](const auto& entry) {
    const auto owner = entry.first.lock();
    if (owner != nullptr) entry.second();
    return owner == nullptr;
  });
  ready_ = nullptr;
  for (size_t i = before; i < ready->size(); ++i)
    static_cast<LoopConnection&>(*(*ready)[i]).in_ready_ = false;
}

}  // namespace varve
