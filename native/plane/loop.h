// SPDX-License-Identifier: Apache-2.0
// Loop: what one owner thread has for its connections: the time, a timer wheel for every deadline, and a
// mailbox that other threads post woken connections into. The owner is the JavaScript main thread (Node
// sockets, in process) or, later, a reactor. Everything but Post() belongs to the owner thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace varve {

class Connection;

/// Both clocks, read once a turn by the owner and passed down: core and plane never read one themselves.
struct Now {
  int64_t mono_ms = 0;  ///< never goes back; deadlines
  int64_t wall_ms = 0;  ///< since the epoch; record timestamps
};

class Loop {
 public:
  virtual ~Loop() = default;

  /// `wake` is called from any thread, at most once between two calls of Turn(): the owner must call Turn()
  /// soon.
  static std::shared_ptr<Loop> Create(std::function<void()> wake);

  /// Any thread: `connection` has something to do on its owner thread.
  virtual void Post(const std::shared_ptr<Connection>& connection) = 0;
  /// Runs expired deadlines and takes the mailbox. `*ready` gets the connections whose flags changed (each
  /// once); the owner then looks at their flags() and pumps output and punts.
  virtual void Turn(Now now, std::vector<std::shared_ptr<Connection>>* ready) = 0;
  /// mono_ms of the earliest deadline, -1: none.
  virtual int64_t NextDeadlineMs() = 0;
};

}  // namespace varve
