// SPDX-License-Identifier: Apache-2.0
// Bringing the file of an index to what its IndexEntries hold: shared by the offset and the time index.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/index_entries.h"
#include "core/status.h"
#include "core/vfs.h"

namespace varve {

/// What is known of an index's file.
struct IndexFileState {
  uint32_t persisted_count = 0;  ///< entries at the front of the file that are those in heap
  bool exact = false;            ///< and nothing is behind them

  void OnTruncate(uint32_t count) {
    persisted_count = std::min(persisted_count, count);
    exact = false;
  }
};

/// Writes the entries that `file` lacks, then cuts what is behind them. `store(entry, to)` writes one entry
/// of `kEntryBytes`.
template <uint32_t kEntryBytes, size_t kWords, typename Store>
Status PersistEntries(const IndexEntries<kWords>& entries, Store store, File& file, IndexFileState* state) {
  constexpr uint32_t kEntriesAtOnce = 8192 / kEntryBytes;
  std::array<uint8_t, size_t{kEntriesAtOnce} * kEntryBytes> buffer;
  const uint32_t count = entries.count();
  while (state->persisted_count < count) {
    const uint32_t now = std::min(count - state->persisted_count, kEntriesAtOnce);
    for (uint32_t i = 0; i < now; i++)
      store(entries.Get(state->persisted_count + i), &buffer[i * kEntryBytes]);
    VARVE_TRY(file.Write(uint64_t{state->persisted_count} * kEntryBytes,
                         {buffer.data(), size_t{now} * kEntryBytes}));
    state->persisted_count += now;
  }
  if (!state->exact) {
    const Result<uint64_t> size = file.Size();
    if (!size.ok()) return size.status();
    if (*size > uint64_t{count} * kEntryBytes) VARVE_TRY(file.Truncate(uint64_t{count} * kEntryBytes));
    state->exact = true;
  }
  return Status::Ok();
}

}  // namespace varve
