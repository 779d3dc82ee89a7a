// SPDX-License-Identifier: Apache-2.0
// Windows: the ArrayBuffers through which one environment sees segments. One external ArrayBuffer per window of at most 64 MiB,
// never one per read: making one costs as much as copying 32 KiB and pins memory until a garbage collection.
//
// Two kinds. A *view* window is a copy-on-write mapping of its own, ended at the bytes that were published when it was made: a
// write by a user never reaches the log, and no byte behind the file's end can be touched. A *send* window lies over the engine's
// own mapping; it never leaves the broker, which only hands it to socket writes.
//
// Lifetime: a window pins its mapping until the ArrayBuffer is collected or detached. Detach() empties every view at once and
// then lets the mappings go. Writes that still name their bytes must have ended: the kernel would answer EFAULT, or send what came to
// lie there since.
// Threading: the environment's own thread only.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "core/log.h"

namespace varve::binding {

class Windows {
 public:
  static constexpr uint64_t kWindowBytes = uint64_t{64} << 20;
  /// Windows begin at multiples of half their size, so that any run of up to 32 MiB lies within one.
  static constexpr uint64_t kStrideBytes = kWindowBytes / 2;
  /// A view window over a growing segment is made anew only when this much was published behind it.
  static constexpr uint64_t kRegrowBytes = uint64_t{1} << 20;
  /// Windows held strongly while in use; an older one lives as long as JavaScript holds views of it.
  static constexpr size_t kRecentMax = 32;

  struct Place {
    uint32_t window_id = 0;  ///< 0: no window covers it; copy instead
    uint32_t offset = 0;
  };

  Windows();
  ~Windows();

  /// Where bytes [position, position + bytes) of a segment lie, in a send window.
  Place PlaceForSend(Napi::Env env, const void* owner, const std::shared_ptr<const SegmentBytes>& segment,
                     uint32_t position, uint32_t bytes);
  /// The same in a view window, which ends at `view_end`: bytes behind it may be cut from the file (never the segment's
  /// published ones) or written later, and then a user's write to their page would hide them. `grows`: view_end will move on.
  Place PlaceForView(Napi::Env env, const void* owner, const std::shared_ptr<const SegmentBytes>& segment,
                     uint32_t position, uint32_t bytes, uint64_t view_end, bool grows);
  /// The ArrayBuffer of a window that a Place named just now, or undefined.
  Napi::Value Get(Napi::Env env, uint32_t window_id);

  /// Holds windows that were not used since the last call weakly: what JavaScript no longer views goes with the next collection, and a
  /// deleted segment's disk space with it.
  void Age();
  /// Empties every ArrayBuffer of `owner` (an engine) and lets its mappings go.
  void Detach(Napi::Env env, const void* owner);

  /// Windows alive in the whole process.
  static int64_t Live();

 private:
  struct Table;
  std::shared_ptr<Table> table_;  // finalizers hold it weakly: they may run after this is gone
};

}  // namespace varve::binding
