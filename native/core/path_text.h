// SPDX-License-Identifier: Apache-2.0
// Paths as text: what both Vfs implementations need to compare names. Lexical only: symbolic links are not
// looked at, as in the paths that the engine builds from a log directory's own.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace varve {

/// The names between slashes, without empty ones and "."; ".." takes the name before it away.
inline std::vector<std::string_view> PathNames(std::string_view path) {
  std::vector<std::string_view> names;
  size_t at = 0;
  while (at < path.size()) {
    size_t slash = path.find('/', at);
    if (slash == std::string_view::npos) slash = path.size();
    std::string_view name = path.substr(at, slash - at);
    at = slash + 1;
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      if (!names.empty()) names.pop_back();
      continue;
    }
    names.push_back(name);
  }
  return names;
}

/// An absolute path in one spelling: "/a/b". A relative path is one below `working_directory`. ".." stays:
/// what it means is known to the file system only.
inline std::string NormalPath(std::string_view path, std::string_view working_directory) {
  std::string normal;
  auto append = [&normal](std::string_view part) {
    size_t at = 0;
    while (at < part.size()) {
      size_t slash = std::min(part.find('/', at), part.size());
      std::string_view name = part.substr(at, slash - at);
      at = slash + 1;
      if (name.empty() || name == ".") continue;
      normal.push_back('/');
      normal.append(name);
    }
  };
  if (path.empty() || path.front() != '/') append(working_directory);
  append(path);
  return normal.empty() ? std::string("/") : normal;
}

/// The directory that holds `path`: "/a" for "/a/b", "." for "b".
inline std::string ParentPath(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(slash == 0 ? path.substr(0, 1) : path.substr(0, slash));
}

/// True when normal path `path` is `top` or lies below it.
inline bool IsWithin(std::string_view path, std::string_view top) {
  if (top == "/") return true;
  return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

}  // namespace varve
