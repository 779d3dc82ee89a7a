// SPDX-License-Identifier: Apache-2.0
#include "core/open_paths.h"

#include <algorithm>

#include "core/path_text.h"

namespace varve {
namespace {

/// Calls `visit` with each element of a map by path at or below `top`, until it says true. `visit` may take
/// it out.
template <typename Map, typename Visit>
bool VisitWithin(Map& map, const std::string& top, Visit visit) {
  // "t-0" itself, then all that starts with "t-0/": "t-0.x" and its like lie between the two.
  std::string below = top == "/" ? top : top + "/";
  for (bool itself : {true, false}) {
    auto at = map.lower_bound(itself ? top : below);
    while (at != map.end() && (itself ? at->first == top : at->first.starts_with(below))) {
      auto next = std::next(at);
      if (visit(at)) return true;
      at = next;
    }
  }
  return false;
}

}  // namespace

OpenPaths::Opening::~Opening() {
  if (paths_ == nullptr) return;
  std::lock_guard<std::mutex> lock(paths_->mutex_);
  paths_->opening_.erase(paths_->opening_.find(path_));
  if (!paths_->changing_.empty()) paths_->ended_.notify_all();
}

OpenPaths::Change::~Change() {
  if (paths_ == nullptr) return;
  std::lock_guard<std::mutex> lock(paths_->mutex_);
  for (const std::string& top : tops_) {
    paths_->changing_.erase(std::find(paths_->changing_.begin(), paths_->changing_.end(), top));
  }
  paths_->ended_.notify_all();
}

OpenPaths::Opening OpenPaths::BeginOpen(std::string path) {
  std::unique_lock<std::mutex> lock(mutex_);
  ended_.wait(lock, [&] { return !IsChanging(path); });
  opening_.emplace(path, 0);
  return Opening(this, std::move(path));
}

OpenPaths::Opening OpenPaths::BeginReopen(const Entry& entry) {
  std::unique_lock<std::mutex> lock(mutex_);
  ended_.wait(lock, [&] { return !entry.named_ || !IsChanging(entry.at_->first); });
  std::string path = entry.named_ ? entry.at_->first : std::string();
  opening_.emplace(path, 0);
  return Opening(this, std::move(path));
}

OpenPaths::Change OpenPaths::BeginChange(std::vector<std::string> tops) {
  std::unique_lock<std::mutex> lock(mutex_);
  ended_.wait(lock, [&] {
    return std::none_of(changing_.begin(), changing_.end(), [&](const std::string& other) {
      return std::any_of(tops.begin(), tops.end(), [&](const std::string& top) {
        return IsWithin(top, other) || IsWithin(other, top);
      });
    });
  });
  // From here on no new open gets in front: the ones under way are few and end.
  changing_.insert(changing_.end(), tops.begin(), tops.end());
  ended_.wait(lock, [&] {
    return std::none_of(tops.begin(), tops.end(),
                        [&](const std::string& top) { return IsOpeningWithin(top); });
  });
  return Change(this, std::move(tops));
}

void OpenPaths::Add(Entry& entry, std::string path, std::weak_ptr<CachedDescriptor> file) {
  std::lock_guard<std::mutex> lock(mutex_);
  entry.at_ = names_.emplace(std::move(path), Named{&entry, std::move(file)});
  entry.named_ = true;
}

void OpenPaths::Remove(Entry& entry) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!entry.named_) return;
  names_.erase(entry.at_);
  entry.named_ = false;
}

std::string OpenPaths::PathOf(const Entry& entry) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return entry.named_ ? entry.at_->first : std::string();
}

std::vector<std::shared_ptr<CachedDescriptor>> OpenPaths::FilesWithin(const std::string& top) const {
  std::vector<std::shared_ptr<CachedDescriptor>> files;
  std::lock_guard<std::mutex> lock(mutex_);
  VisitWithin(names_, top, [&](Names::const_iterator at) {
    if (std::shared_ptr<CachedDescriptor> file = at->second.file.lock()) files.push_back(std::move(file));
    return false;
  });
  return files;
}

void OpenPaths::Moved(const std::string& from, const std::string& to) {
  std::lock_guard<std::mutex> lock(mutex_);
  // `to` may lie behind `from` in the order of names: all are taken out before the first goes in.
  std::vector<Names::node_type> moved;
  VisitWithin(names_, from, [&](Names::iterator at) {
    moved.push_back(names_.extract(at));
    return false;
  });
  for (Names::node_type& node : moved) {
    node.key() = to + node.key().substr(from.size());
    Names::iterator at = names_.insert(std::move(node));
    at->second.entry->at_ = at;
  }
}

bool OpenPaths::IsChanging(const std::string& path) const {
  return std::any_of(changing_.begin(), changing_.end(),
                     [&](const std::string& top) { return IsWithin(path, top); });
}

bool OpenPaths::IsOpeningWithin(const std::string& top) const {
  return VisitWithin(opening_, top, [](auto) { return true; });
}

}  // namespace varve
