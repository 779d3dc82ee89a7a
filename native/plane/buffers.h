// SPDX-License-Identifier: Apache-2.0
// Buffers of one owner thread: chunks that replies are encoded into, vectors that partial frames are
// collected in, and a ring. All are used again, so that a connection in steady state allocates nothing. Not
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace varve {

/// Memory that replies are encoded into. Bytes never move once written: a transport may hold pointers until
/// it consumed them.
struct Chunk {
  explicit Chunk(size_t bytes) : data(new uint8_t[bytes]), capacity(bytes) {}
  std::unique_ptr<uint8_t[]> data;
  size_t capacity;
  size_t used = 0;
  uint32_t references = 0;
};

class ChunkPool {
 public:
  static constexpr size_t kChunkBytes = 16 << 10;
  static constexpr size_t kKeptMax = 64;

  ChunkPool() = default;
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  ~ChunkPool() {
    for (Chunk* chunk : free_) delete chunk;
  }

  /// An empty chunk with one reference.
  Chunk* Get(size_t bytes_min) {
    Chunk* chunk = nullptr;
    if (bytes_min <= kChunkBytes && !free_.empty()) {
      chunk = free_.back();
      free_.pop_back();
    } else {
      chunk = new Chunk(bytes_min <= kChunkBytes ? kChunkBytes : bytes_min);
    }
    chunk->used = 0;
    chunk->references = 1;
    return chunk;
  }
  void Release(Chunk* chunk) {
    if (--chunk->references > 0) return;
    if (chunk->capacity == kChunkBytes && free_.size() < kKeptMax)
      free_.push_back(chunk);
    else
      delete chunk;
  }

 private:
  std::vector<Chunk*> free_;
};

/// Vectors for partial frames. An idle connection holds none.
class FrameBufferPool {
 public:
  static constexpr size_t kKeptBytes = 2 << 20;  // larger ones go back to the system
  static constexpr size_t kKeptMax = 16;

  std::vector<uint8_t> Get() {
    if (free_.empty()) return {};
    std::vector<uint8_t> buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void Put(std::vector<uint8_t> buffer) {
    if (buffer.capacity() == 0 || buffer.capacity() > kKeptBytes || free_.size() >= kKeptMax) return;
    buffer.clear();
    free_.push_back(std::move(buffer));
  }

 private:
  std::vector<std::vector<uint8_t>> free_;
};

/// A queue on a vector whose size is a power of two; elements are assigned over, so that what they own is
/// used again.
template <typename T>
class Ring {
 public:
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  T& front() { return items_[first_]; }
  T& back() { return (*this)[size_ - 1]; }
  T& operator[](size_t i) { return items_[(first_ + i) & (items_.size() - 1)]; }
  const T& operator[](size_t i) const { return items_[(first_ + i) & (items_.size() - 1)]; }

  /// The new last element, as whoever used its place before left it.
  T& PushSlot() {
    if (size_ == items_.size()) Grow();
    ++size_;
    return back();
  }
  void PopFront() {
    first_ = (first_ + 1) & (items_.size() - 1);
    --size_;
  }

 private:
  void Grow() {
    std::vector<T> larger(items_.empty() ? 8 : items_.size() * 2);
    for (size_t i = 0; i < size_; ++i) larger[i] = std::move((*this)[i]);
    items_ = std::move(larger);
    first_ = 0;
  }

  std::vector<T> items_;
  size_t first_ = 0;
  size_t size_ = 0;
};

/// Objects that are used again; T has Reset() and bool Oversized() (not worth keeping).
template <typename T>
class ObjectPool {
 public:
  std::unique_ptr<T> Get() {
    if (free_.empty()) return std::make_unique<T>();
    std::unique_ptr<T> object = std::move(free_.back());
    free_.pop_back();
    return object;
  }
  void Put(std::unique_ptr<T> object) {
    if (free_.size() >= kKeptMax || object->Oversized()) return;
    object->Reset();
    free_.push_back(std::move(object));
  }

 private:
  static constexpr size_t kKeptMax = 256;
  std::vector<std::unique_ptr<T>> free_;
};

}  // namespace varve
