// SPDX-License-Identifier: Apache-2.0
// IndexEntries: the memory of an index that one thread appends to while others search it: entries of kWords
// 64-bit words, never moved once stored, in chunks that double. Knows nothing of files or of what the words
// mean; shared by the offset and the time index.
//
// Threading: one writer at a time (Append, TruncateTo); any number of readers without locks. A reader takes a
// snapshot of count and generation, reads, and asks Unchanged() at the end: when a truncation came between,
// what it read may be mixed from before and after it and must be read again.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace varve {

template <size_t kWords>
class IndexEntries {
 public:
  using Entry = std::array<uint64_t, kWords>;

  struct Snapshot {
    uint32_t count;
    uint32_t generation;
  };

  /// `first_capacity`: entries known to come (a loaded file's), so that they take one chunk; 0: none.
  explicit IndexEntries(uint32_t first_capacity = 0)
      : first_capacity_(first_capacity == 0 ? kFirstCapacity : first_capacity) {}
  IndexEntries(const IndexEntries&) = delete;
  IndexEntries& operator=(const IndexEntries&) = delete;
  ~IndexEntries() {
    for (auto& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
  }

  uint32_t count() const { return count_.load(std::memory_order_acquire); }

  Snapshot Take() const {
    const uint32_t generation = generation_.load(std::memory_order_acquire);
    return {count_.load(std::memory_order_acquire), generation};
  }
  bool Unchanged(const Snapshot& snapshot) const {
    // The entries were read with acquire, so this load comes behind theirs. An odd generation is a truncation
    // under way.
    return (snapshot.generation & 1) == 0 &&
           generation_.load(std::memory_order_relaxed) == snapshot.generation;
  }

  /// `slot` < the count of a snapshot.
  Entry Get(uint32_t slot) const {
    const Place place = Locate(slot);
    return Read(chunks_[place.chunk].load(std::memory_order_acquire) + place.slot * kWords);
  }

  /// The number of entries in front for which `before` holds; it must hold for a prefix of them. Looks at the
  /// last chunk first: most searches are for the end of the log, and an entry there must not cost a walk over
  /// cold memory.
  template <typename Before>
  uint32_t PartitionPoint(uint32_t count, Before before) const {
    if (count == 0) return 0;
    for (uint32_t chunk = Locate(count - 1).chunk;; chunk--) {
      const uint32_t begin = ChunkBegin(chunk);
      const std::atomic<uint64_t>* entries = chunks_[chunk].load(std::memory_order_acquire);
      uint32_t low = 0;
      uint32_t high = std::min(count, ChunkBegin(chunk + 1)) - begin;
      if (!before(Read(entries))) {
        if (chunk == 0) return 0;
        continue;
      }
      if (high > kWarmEntries && before(Read(entries + (high - kWarmEntries) * kWords)))
        low = high - kWarmEntries;
      while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (before(Read(entries + middle * kWords))) {
          low = middle;
        } else {
          high = middle;
        }
      }
      return begin + low + 1;
    }
  }

  /// Writer only. Allocates when a chunk is full: amortised, never a copy.
  void Append(const Entry& entry) {
    const uint32_t slot = count_.load(std::memory_order_relaxed);
    const Place place = Locate(slot);
    std::atomic<uint64_t>* entries = chunks_[place.chunk].load(std::memory_order_relaxed);
    if (entries == nullptr) {
      entries = new std::atomic<uint64_t>[size_t{ChunkCapacity(place.chunk)} * kWords]();
      chunks_[place.chunk].store(entries, std::memory_order_release);
    }
    for (size_t word = 0; word < kWords; word++) {
      // Release: whoever sees it also sees the generation of a truncation before it.
      entries[place.slot * kWords + word].store(entry[word], std::memory_order_release);
    }
    count_.store(slot + 1, std::memory_order_release);
  }

  /// Writer only. Keeps the chunks.
  void TruncateTo(uint32_t count) {
    if (count >= count_.load(std::memory_order_relaxed)) return;
    generation_.fetch_add(1, std::memory_order_acq_rel);
    count_.store(count, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_acq_rel);
  }

 private:
  static constexpr uint32_t kFirstCapacity = 32;
  /// As in Kafka's AbstractIndex: the last 8 KiB of an index are what most searches end in.
  static constexpr uint32_t kWarmEntries = 8192 / (8 * kWords);
  /// A chunk holds as many entries as all before it, so 31 reach 2^31 entries from a first chunk of one.
  static constexpr uint32_t kChunks = 32;

  struct Place {
    uint32_t chunk;
    uint32_t slot;
  };

  static Entry Read(const std::atomic<uint64_t>* words) {
    Entry entry;
    for (size_t word = 0; word < kWords; word++) entry[word] = words[word].load(std::memory_order_acquire);
    return entry;
  }

  uint32_t ChunkBegin(uint32_t chunk) const { return chunk == 0 ? 0 : first_capacity_ << (chunk - 1); }
  uint32_t ChunkCapacity(uint32_t chunk) const {
    return chunk == 0 ? first_capacity_ : first_capacity_ << (chunk - 1);
  }
  Place Locate(uint32_t slot) const {
    uint32_t chunk = 0;
    while (slot >= ChunkBegin(chunk + 1)) chunk++;
    return {chunk, slot - ChunkBegin(chunk)};
  }

  const uint32_t first_capacity_;
  std::atomic<uint32_t> count_{0};
  std::atomic<uint32_t> generation_{0};
  std::array<std::atomic<std::atomic<uint64_t>*>, kChunks> chunks_{};
};

}  // namespace varve
