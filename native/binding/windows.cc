// SPDX-License-Identifier: Apache-2.0
#include "binding/windows.h"

#include <algorithm>
#include <atomic>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/mapped_range.h"

namespace varve::binding {
namespace {

std::atomic<int64_t> live_windows{0};

struct Key {
  uint64_t segment_id;
  uint64_t index;
  bool view;
  bool operator==(const Key&) const = default;
};
struct KeyHash {
  size_t operator()(const Key& key) const {
    return (key.segment_id * 2 + (key.view ? 1 : 0)) * 0x9e3779b97f4a7c15u ^ key.index;
  }
};

/// What keeps the bytes mapped; emptied by Detach, else freed with the ArrayBuffer's finalizer.
struct Pin {
  explicit Pin(std::shared_ptr<const void> mapped) : bytes(std::move(mapped)) {
    live_windows.fetch_add(1, std::memory_order_relaxed);
  }
  ~Pin() { live_windows.fetch_sub(1, std::memory_order_relaxed); }
  std::shared_ptr<const void> bytes;
};

struct Window {
  uint32_t id;
  Key key;
  const void* owner;
  uint64_t start;  // position in the segment
  uint64_t size;
  std::shared_ptr<Pin> pin;
  Napi::Reference<Napi::ArrayBuffer> reference;  // count 1 while recent, then 0: weak
  bool recent;
  bool used;  // since the last Age()
};

/// What a view window holds: its own mapping, and the segment, so that the file is not cut in place under it.
struct ViewPin {
  std::shared_ptr<const SegmentBytes> segment;
  std::shared_ptr<Mapping> mapping;
};

}  // namespace

struct Windows::Table : std::enable_shared_from_this<Windows::Table> {
  std::unordered_map<uint32_t, std::unique_ptr<Window>> by_id;
  std::unordered_map<Key, Window*, KeyHash> by_key;
  std::list<Window*> recent;  // most recently used first
  uint32_t next_id = 1;

  struct Finalizer {
    std::weak_ptr<Table> table;
    uint32_t id;
    int64_t size;
    std::shared_ptr<Pin> pin;
  };

  static void Finalize(napi_env env, void*, void* hint) {
    auto* finalizer = static_cast<Finalizer*>(hint);
    int64_t total;
    napi_adjust_external_memory(env, finalizer->size, &total);
    if (auto table = finalizer->table.lock()) table->Forget(finalizer->id);
    delete finalizer;
  }

  Window* Make(Napi::Env env, const Key& key, const void* owner, std::shared_ptr<const void> bytes, uint8_t* data,
               uint64_t start, uint64_t size) {
    auto pin = std::make_shared<Pin>(std::move(bytes));
    uint32_t id = next_id++;
    auto* finalizer = new Finalizer{weak_from_this(), id, static_cast<int64_t>(size), pin};
    napi_value buffer = nullptr;
    if (napi_create_external_arraybuffer(env, data, size, &Finalize, finalizer, &buffer) != napi_ok) {
      // A runtime with a memory cage refuses external buffers: the caller copies.
      delete finalizer;
      return nullptr;
    }
    // The bytes are page cache, not heap: counted as external memory they would force a collection per window.
    int64_t total;
    napi_adjust_external_memory(env, -static_cast<int64_t>(size), &total);
    auto window = std::make_unique<Window>();
    window->id = id;
    window->key = key;
    window->owner = owner;
    window->start = start;
    window->size = size;
    window->pin = std::move(pin);
    window->reference = Napi::Reference<Napi::ArrayBuffer>::New(Napi::ArrayBuffer(env, buffer), 1);
    window->recent = true;
    window->used = true;
    Window* made = window.get();
    recent.push_front(made);
    by_key[key] = made;
    by_id.emplace(id, std::move(window));
    Evict();
    return made;
  }

  Window* Find(const Key& key) {
    auto found = by_key.find(key);
    if (found == by_key.end()) return nullptr;
    Window* window = found->second;
    window->used = true;
    if (!window->recent) {
      // Only JavaScript's own views kept it: it may have been collected, its finalizer still to come.
      if (window->reference.Value().IsEmpty()) return nullptr;
      window->reference.Ref();
      window->recent = true;
      recent.push_front(window);
      Evict();
    } else if (recent.front() != window) {
      recent.splice(recent.begin(), recent, std::find(recent.begin(), recent.end(), window));
    }
    return window;
  }

  void Evict() {
    while (recent.size() > kRecentMax) {
      Weaken(recent.back());
      recent.pop_back();
    }
  }

  void Age() {
    recent.remove_if([this](Window* window) {
      if (std::exchange(window->used, false)) return false;
      Weaken(window);
      return true;
    });
  }

  void Weaken(Window* window) {
    window->recent = false;
    window->reference.Unref();
  }

  void Forget(uint32_t id) {
    auto found = by_id.find(id);
    if (found == by_id.end()) return;
    Window* window = found->second.get();
    if (window->recent) recent.remove(window);
    auto keyed = by_key.find(window->key);
    if (keyed != by_key.end() && keyed->second == window) by_key.erase(keyed);
    by_id.erase(found);
  }
};

Windows::Windows() : table_(std::make_shared<Table>()) {}

Windows::~Windows() {
  // The environment is going and takes its references with it.
  for (auto& [id, window] : table_->by_id) window->reference.SuppressDestruct();
}

int64_t Windows::Live() { return live_windows.load(std::memory_order_relaxed); }

Windows::Place Windows::PlaceForSend(Napi::Env env, const void* owner,
                                     const std::shared_ptr<const SegmentBytes>& segment, uint32_t position,
                                     uint32_t bytes) {
  uint64_t index = position / kStrideBytes;
  uint64_t start = index * kStrideBytes;
  uint64_t end = position + uint64_t{bytes};
  uint64_t size = std::min(kWindowBytes, segment->mapped_bytes() - start);
  if (end > start + size) return {};
  Key key{segment->id(), index, false};
  Window* window = table_->Find(key);
  // It may lie over an older mapping of the segment, made when segment.bytes was smaller.
  if (window != nullptr && end > window->start + window->size) window = nullptr;
  if (window == nullptr)
    window = table_->Make(env, key, owner, segment, const_cast<uint8_t*>(segment->data()) + start, start, size);
  if (window == nullptr) return {};
  return {window->id, static_cast<uint32_t>(position - start)};
}

Windows::Place Windows::PlaceForView(Napi::Env env, const void* owner,
                                     const std::shared_ptr<const SegmentBytes>& segment, uint32_t position,
                                     uint32_t bytes, uint64_t view_end, bool grows) {
  uint64_t index = position / kStrideBytes;
  uint64_t start = index * kStrideBytes;
  uint64_t end = position + uint64_t{bytes};
  if (end > start + kWindowBytes || end > view_end) return {};
  uint64_t size = std::min(kWindowBytes, RoundUp(view_end, PageBytes()) - start);
  Key key{segment->id(), index, true};
  Window* window = table_->Find(key);
  if (window != nullptr && end > window->start + window->size) {
    if (grows && size - window->size < kRegrowBytes) return {};
    window = nullptr;
  }
  if (window == nullptr) {
    Result<std::shared_ptr<Mapping>> mapping = segment->file().Map(start, size, MapMode::kPrivate);
    if (!mapping.ok()) return {};
    uint8_t* data = (*mapping)->data();
    window = table_->Make(env, key, owner, std::make_shared<ViewPin>(ViewPin{segment, std::move(*mapping)}), data,
                          start, size);
  }
  if (window == nullptr) return {};
  return {window->id, static_cast<uint32_t>(position - start)};
}

void Windows::Age() { table_->Age(); }

Napi::Value Windows::Get(Napi::Env env, uint32_t window_id) {
  auto found = table_->by_id.find(window_id);
  if (found == table_->by_id.end()) return env.Undefined();
  Napi::ArrayBuffer buffer = found->second->reference.Value();
  if (buffer.IsEmpty()) return env.Undefined();
  return buffer;
}

void Windows::Detach(Napi::Env env, const void* owner) {
  std::vector<uint32_t> ids;
  for (auto& [id, window] : table_->by_id)
    if (window->owner == owner) ids.push_back(id);
  for (uint32_t id : ids) {
    Window* window = table_->by_id.at(id).get();
    Napi::ArrayBuffer buffer = window->reference.Value();
    if (!buffer.IsEmpty()) buffer.Detach();
    window->pin->bytes.reset();
    table_->Forget(id);
  }
}

}  // namespace varve::binding
