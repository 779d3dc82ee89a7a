// SPDX-License-Identifier: Apache-2.0
#include "core/meta_properties.h"

#include <cstdio>
#include <ctime>

#include "core/text_scan.h"

namespace varve {
namespace {

constexpr std::string_view kVersionKey = "version";
constexpr std::string_view kNodeIdKey = "node.id";
constexpr std::string_view kBrokerIdKey = "broker.id";
constexpr int32_t kVersion = 1;

Status Corrupt(const std::string& what) {
  return Status(Code::kCorrupt, std::string(kMetaPropertiesName) + ": " + what);
}

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\f'; }

// --- Java properties: reading ---

/// Takes the next line, ended by \n, \r or both, off the front of `*text`.
std::string_view TakeJavaLine(std::string_view* text) {
  const size_t end = text->find_first_of("\r\n");
  const std::string_view line = text->substr(0, end);
  if (end == std::string_view::npos) {
    text->remove_prefix(text->size());
  } else {
    text->remove_prefix(text->substr(end, 2) == "\r\n" ? end + 2 : end + 1);
  }
  return line;
}

std::string_view WithoutLeadingBlanks(std::string_view line) {
  while (!line.empty() && IsBlank(line.front())) line.remove_prefix(1);
  return line;
}

bool EndsWithOpenBackslash(std::string_view line) {
  size_t backslashes = 0;
  while (backslashes < line.size() && line[line.size() - 1 - backslashes] == '\\') backslashes++;
  return backslashes % 2 == 1;
}

/// The next logical line: comments and empty lines skipped, continued lines joined. False at the end.
bool NextLogicalLine(std::string_view* text, std::string* logical) {
  while (!text->empty()) {
    std::string_view line = WithoutLeadingBlanks(TakeJavaLine(text));
    if (line.empty() || line.front() == '#' || line.front() == '!') continue;
    logical->clear();
    while (EndsWithOpenBackslash(line)) {
      logical->append(line.substr(0, line.size() - 1));
      line = WithoutLeadingBlanks(TakeJavaLine(text));
    }
    logical->append(line);
    return true;
  }
  return false;
}

void AppendUtf8(std::string* text, uint32_t point) {
  const auto add = [text](uint32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    add(point);
  } else if (point < 0x800) {
    add(0xc0 | point >> 6);
    add(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    add(0xe0 | point >> 12);
    add(0x80 | (point >> 6 & 0x3f));
    add(0x80 | (point & 0x3f));
  } else {
    add(0xf0 | point >> 18);
    add(0x80 | (point >> 12 & 0x3f));
    add(0x80 | (point >> 6 & 0x3f));
    add(0x80 | (point & 0x3f));
  }
}

/// The UTF-16 unit of the four hex digits in front.
bool TakeUnicodeUnit(std::string_view* text, uint32_t* unit) {
  if (text->size() < 4 || !ParseNumber(text->substr(0, 4), unit, 16)) return false;
  text->remove_prefix(4);
  return true;
}

/// What follows "\u", surrogate pairs taken together; a half of one becomes U+FFFD.
bool TakeUnicodeEscape(std::string_view* text, std::string* to) {
  uint32_t unit = 0;
  if (!TakeUnicodeUnit(text, &unit)) return false;
  if (unit >= 0xd800 && unit < 0xdc00 && text->starts_with("\\u")) {
    std::string_view rest = text->substr(2);
    uint32_t low = 0;
    if (!TakeUnicodeUnit(&rest, &low)) return false;
    if (low >= 0xdc00 && low < 0xe000) {
      *text = rest;
      AppendUtf8(to, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
      return true;
    }
  }
  AppendUtf8(to, unit >= 0xd800 && unit < 0xe000 ? 0xfffd : unit);
  return true;
}

/// Resolves escapes up to the end, or (a key) up to the first blank, '=' or ':' that isn't escaped.
bool TakeUnescaped(std::string_view* text, bool is_key, std::string* to) {
  while (!text->empty()) {
    const char c = text->front();
    if (is_key && (IsBlank(c) || c == '=' || c == ':')) return true;
    text->remove_prefix(1);
    if (c != '\\') {
      to->push_back(c);
      continue;
    }
    if (text->empty()) return true;
    const char escaped = text->front();
    text->remove_prefix(1);
    switch (escaped) {
      case 't':
        to->push_back('\t');
        break;
      case 'n':
        to->push_back('\n');
        break;
      case 'r':
        to->push_back('\r');
        break;
      case 'f':
        to->push_back('\f');
        break;
      case 'u':
        if (!TakeUnicodeEscape(text, to)) return false;
        break;
      default:
        to->push_back(escaped);
    }
  }
  return true;
}

bool ParseProperty(std::string_view line, std::string* key, std::string* value) {
  if (!TakeUnescaped(&line, true, key)) return false;
  line = WithoutLeadingBlanks(line);
  if (!line.empty() && (line.front() == '=' || line.front() == ':'))
    line = WithoutLeadingBlanks(line.substr(1));
  return TakeUnescaped(&line, false, value);
}

// --- Java properties: writing ---

void AppendEscaped(std::string* text, std::string_view part, bool is_key) {
  for (size_t i = 0; i < part.size(); i++) {
    switch (part[i]) {
      case '\t':
        text->append("\\t");
        continue;
      case '\n':
        text->append("\\n");
        continue;
      case '\r':
        text->append("\\r");
        continue;
      case '\f':
        text->append("\\f");
        continue;
      case '=':
      case ':':
      case '#':
      case '!':
      case '\\':
        text->push_back('\\');
        break;
      case ' ':
        if (is_key || i == 0) text->push_back('\\');
        break;
      default:
        break;
    }
    text->push_back(part[i]);
  }
}

/// As java.util.Date prints it, in UTC: "Sun Nov 22 16:22:44 UTC 2026".
std::string DateText(int64_t now_ms) {
  const time_t seconds = static_cast<time_t>(now_ms / 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[64];
  // Names of its own: strftime's follow the locale of the process.
  std::snprintf(text, sizeof text, "%s %s %02d %02d:%02d:%02d UTC %d", kDays[parts.tm_wday % 7],
                kMonths[parts.tm_mon % 12], parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                parts.tm_year + 1900);
  return text;
}

// --- JSON, as much as the clean shutdown marker needs ---

/// Walks one JSON object of any depth without keeping it; reads whole numbers at its top level.
class JsonObjectReader {
 public:
  explicit JsonObjectReader(std::string_view text) : left_(text) {}

  /// Calls `number(key, value)` for each top-level key with a whole number. False when the text is not one
  /// object.
  template <typename OnNumber>
  bool Read(OnNumber number) {
    if (!Take('{')) return false;
    if (Take('}')) return AtEnd();
    do {
      std::string_view key;
      if (!TakeString(&key) || !Take(':')) return false;
      const std::string_view before = left_;
      if (!SkipValue()) return false;
      std::string_view value = before.substr(0, before.size() - left_.size());
      while (!value.empty() && IsSpace(value.front())) value.remove_prefix(1);
      int64_t parsed = 0;
      if (ParseNumber(value, &parsed)) number(key, parsed);
    } while (Take(','));
    return Take('}') && AtEnd();
  }

 private:
  static bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

  void SkipSpace() {
    while (!left_.empty() && IsSpace(left_.front())) left_.remove_prefix(1);
  }
  bool Take(char c) {
    SkipSpace();
    if (left_.empty() || left_.front() != c) return false;
    left_.remove_prefix(1);
    return true;
  }
  bool AtEnd() {
    SkipSpace();
    return left_.empty();
  }
  /// Escapes stay as they are: no key that is looked for has one.
  bool TakeString(std::string_view* contents) {
    if (!Take('"')) return false;
    for (size_t i = 0; i < left_.size(); i++) {
      if (left_[i] == '\\') {
        i++;
      } else if (left_[i] == '"') {
        *contents = left_.substr(0, i);
        left_.remove_prefix(i + 1);
        return true;
      }
    }
    return false;
  }
  /// A string, a bare word (number, true, false, null), or anything in balanced brackets.
  bool SkipValue() {
    size_t depth = 0;
    do {
      SkipSpace();
      if (left_.empty()) return false;
      const char c = left_.front();
      std::string_view ignored;
      if (c == '"') {
        if (!TakeString(&ignored)) return false;
      } else if (c == '{' || c == '[') {
        left_.remove_prefix(1);
        depth++;
      } else if (depth > 0 && (c == '}' || c == ']' || c == ',' || c == ':')) {
        left_.remove_prefix(1);
        if (c == '}' || c == ']') depth--;
      } else {
        const size_t end = left_.find_first_of(",:{}[]\" \t\r\n");
        if (end == 0) return false;
        left_.remove_prefix(end == std::string_view::npos ? left_.size() : end);
      }
    } while (depth > 0);
    return true;
  }

  std::string_view left_;
};

}  // namespace

MetaProperties::MetaProperties() { Set(kVersionKey, std::to_string(kVersion)); }

std::string MetaProperties::Get(std::string_view key) const {
  for (const auto& [name, value] : properties_) {
    if (name == key) return value;
  }
  return "";
}

void MetaProperties::Set(std::string_view key, std::string_view value) {
  for (auto& [name, old] : properties_) {
    if (name == key) {
      old = value;
      return;
    }
  }
  properties_.emplace_back(key, value);
}

void MetaProperties::SetNodeId(int32_t id) {
  node_id_ = id;
  Set(kNodeIdKey, std::to_string(id));
}

Result<MetaProperties> MetaProperties::Parse(Bytes file) {
  MetaProperties meta;
  meta.properties_.clear();
  std::string_view text = AsText(file);
  std::string line;
  while (NextLogicalLine(&text, &line)) {
    std::string key;
    std::string value;
    if (!ParseProperty(line, &key, &value)) return Corrupt("a \\u that no four hex digits follow");
    meta.Set(key, value);
  }
  const std::string version = meta.Get(kVersionKey);
  if (!ParseNumber(version, &meta.version_) || meta.version_ < 0) return Corrupt("no version");
  if (meta.version_ > kVersion) {
    return Status(Code::kUnsupported,
                  std::string(kMetaPropertiesName) + ": version " + version + "; this varve knows up to 1");
  }
  const std::string node_id = meta.Get(meta.version_ == 0 ? kBrokerIdKey : kNodeIdKey);
  if (!node_id.empty() && (!ParseNumber(node_id, &meta.node_id_) || meta.node_id_ < 0)) {
    return Corrupt("node.id is no number: " + node_id);
  }
  return meta;
}

std::string MetaProperties::Encode(int64_t now_ms) const {
  std::string text = "#\n#" + DateText(now_ms) + '\n';
  for (const auto& [key, value] : properties_) {
    AppendEscaped(&text, key, true);
    text.push_back('=');
    AppendEscaped(&text, value, false);
    text.push_back('\n');
  }
  return text;
}

std::string CleanShutdownMarker::Encode() const {
  return "{\"version\":0,\"brokerEpoch\":" + std::to_string(broker_epoch) + '}';
}

Result<CleanShutdownMarker> CleanShutdownMarker::Parse(Bytes file) {
  CleanShutdownMarker marker;
  if (file.empty()) return marker;
  bool has_version = false;
  const auto number = [&](std::string_view key, int64_t value) {
    if (key == "version") has_version = true;
    if (key == "brokerEpoch") marker.broker_epoch = value;
  };
  if (!JsonObjectReader(AsText(file)).Read(number) || !has_version) {
    return Status(Code::kCorrupt,
                  std::string(kCleanShutdownName) + ": not {\"version\":0,\"brokerEpoch\":N}");
  }
  return marker;
}

}  // namespace varve
