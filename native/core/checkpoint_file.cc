// SPDX-License-Identifier: Apache-2.0
#include "core/checkpoint_file.h"

#include <algorithm>
#include <charconv>

#include "core/crc32c.h"
#include "core/segment_files.h"
#include "core/text_scan.h"

namespace varve {
namespace {

/// Half a million partitions with the longest of names; more means that it is not a checkpoint.
constexpr uint64_t kFileBytesMax = uint64_t{128} << 20;

constexpr std::string_view kChecksumsMagic = "varve-checksums ";
constexpr uint32_t kChecksumsVersion = 1;
constexpr std::string_view kOwnSum = "crc32c ";
constexpr size_t kHexDigits = 8;

Status Corrupt(const char* what) { return Status(Code::kCorrupt, std::string("checkpoint: ") + what); }
Status ChecksumsCorrupt(const char* what) {
  return Status(Code::kCorrupt, std::string(kChecksumsName) + ": " + what + "; checkpoints are not believed");
}

template <typename Number>
void AppendNumber(std::string* text, Number number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  text->append(digits, end);
}

void AppendHex(std::string* text, uint32_t crc) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (int shift = 28; shift >= 0; shift -= 4) text->push_back(kDigits[(crc >> shift) & 15]);
}

bool ParseHex(std::string_view text, uint32_t* crc) {
  // One spelling only: a flipped bit turns 'a' into 'A'.
  return text.size() == kHexDigits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
         ParseNumber(text, crc, 16);
}

}  // namespace

std::string CheckpointFile::Encode(const std::vector<CheckpointEntry>& entries) {
  std::string text = "0\n";
  AppendNumber(&text, entries.size());
  text.push_back('\n');
  for (const CheckpointEntry& entry : entries) {
    text.append(entry.topic_partition.topic);
    text.push_back(' ');
    AppendNumber(&text, entry.topic_partition.partition);
    text.push_back(' ');
    AppendNumber(&text, entry.offset);
    text.push_back('\n');
  }
  return text;
}

Result<std::vector<CheckpointEntry>> CheckpointFile::Parse(Bytes file) {
  std::vector<CheckpointEntry> entries;
  LineScanner lines(AsText(file));
  std::string_view line;
  if (!lines.Next(&line)) return entries;
  if (line != "0") {
    uint32_t version = 0;
    if (!ParseNumber(line, &version)) return Corrupt("no version in its first line");
    return Status(Code::kUnsupported, "checkpoint: version " + std::string(line) + ", only 0 is known");
  }
  uint64_t count = 0;
  if (!lines.Next(&line) || !ParseNumber(line, &count)) return Corrupt("no count in its second line");
  // The shortest line has six bytes.
  entries.reserve(std::min<uint64_t>(count, lines.left().size() / 6));
  while (lines.Next(&line)) {
    CheckpointEntry entry;
    std::string_view topic;
    std::string_view partition;
    if (!TakeField(&line, ' ', &topic) || !TakeField(&line, ' ', &partition) || !ValidTopicName(topic) ||
        !ParseNumber(partition, &entry.topic_partition.partition) || !ParseNumber(line, &entry.offset) ||
        entry.topic_partition.partition < 0 || entry.offset < 0) {
      return Corrupt("a line that is not 'topic partition offset'");
    }
    entry.topic_partition.topic = topic;
    entries.push_back(std::move(entry));
  }
  if (entries.size() != count) return Corrupt("another number of lines than it says");
  return entries;
}

// --- Checksums ---

Checksums::Sum* Checksums::Find(std::string_view name) {
  const auto at = std::lower_bound(sums_.begin(), sums_.end(), name,
                                   [](const Sum& sum, std::string_view n) { return sum.name < n; });
  return at == sums_.end() || at->name != name ? nullptr : &*at;
}

bool Checksums::Knows(std::string_view name) const { return Find(name) != nullptr; }

bool Checksums::Verify(std::string_view name, Bytes bytes) const {
  const Sum* sum = Find(name);
  if (sum == nullptr) return false;
  const FileSum is = FileSum::Of(bytes);
  return is == sum->current || is == sum->previous;
}

void Checksums::Record(std::string_view name, Bytes bytes) {
  const FileSum is = FileSum::Of(bytes);
  Sum* sum = Find(name);
  if (sum == nullptr) {
    const auto at = std::lower_bound(sums_.begin(), sums_.end(), name,
                                     [](const Sum& other, std::string_view n) { return other.name < n; });
    sums_.insert(at, Sum{std::string(name), is, std::nullopt});
    return;
  }
  if (is == sum->current) return;
  sum->previous = sum->current;
  sum->current = is;
}

void Checksums::Forget(std::string_view name) {
  if (const Sum* sum = Find(name)) sums_.erase(sums_.begin() + (sum - sums_.data()));
}

std::string Checksums::Encode() const {
  std::string text(kChecksumsMagic);
  AppendNumber(&text, kChecksumsVersion);
  text.push_back('\n');
  const auto append = [&text](const std::string& name, const FileSum& sum) {
    AppendHex(&text, sum.crc);
    text.push_back(' ');
    AppendNumber(&text, sum.size_bytes);
    text.push_back(' ');
    text.append(name);
    text.push_back('\n');
  };
  for (const Sum& sum : sums_) {
    if (sum.previous) append(sum.name, *sum.previous);
    append(sum.name, sum.current);
  }
  const uint32_t crc = Crc32c(0, AsBytes(text));
  text.append(kOwnSum);
  AppendHex(&text, crc);
  text.push_back('\n');
  return text;
}

Result<Checksums> Checksums::Parse(Bytes file) {
  constexpr size_t kLastLineBytes = kOwnSum.size() + kHexDigits + 1;
  const std::string_view text = AsText(file);
  if (text.size() < kLastLineBytes || text.back() != '\n') return ChecksumsCorrupt("cut off");
  const std::string_view body = text.substr(0, text.size() - kLastLineBytes);
  const std::string_view last = text.substr(body.size(), kLastLineBytes - 1);
  uint32_t crc = 0;
  if (!last.starts_with(kOwnSum) || !ParseHex(last.substr(kOwnSum.size()), &crc)) {
    return ChecksumsCorrupt("no checksum of itself in its last line");
  }
  if (crc != Crc32c(0, AsBytes(body))) return ChecksumsCorrupt("damaged");
  LineScanner lines(body);
  std::string_view line;
  uint32_t version = 0;
  if (!lines.Next(&line) || !line.starts_with(kChecksumsMagic) ||
      !ParseNumber(line.substr(kChecksumsMagic.size()), &version) || version == 0) {
    return ChecksumsCorrupt("no version in its first line");
  }
  if (version > kChecksumsVersion) {
    return Status(Code::kUnsupported, std::string(kChecksumsName) + ": format version " +
                                          std::to_string(version) + ", this varve knows " +
                                          std::to_string(kChecksumsVersion) +
                                          "; open this log directory with the newer varve that wrote it");
  }
  Checksums checksums;
  while (lines.Next(&line)) {
    std::string_view hex;
    std::string_view size;
    FileSum sum;
    if (!TakeField(&line, ' ', &hex) || !TakeField(&line, ' ', &size) || !ParseHex(hex, &sum.crc) ||
        !ParseNumber(size, &sum.size_bytes) || line.empty()) {
      return ChecksumsCorrupt("a line that is not 'crc32c size name'");
    }
    if (!checksums.sums_.empty() && line < checksums.sums_.back().name)
      return ChecksumsCorrupt("names in disorder");
    if (!checksums.sums_.empty() && line == checksums.sums_.back().name) {
      Sum& known = checksums.sums_.back();
      known.previous = known.current;
      known.current = sum;
    } else {
      checksums.sums_.push_back({std::string(line), sum, std::nullopt});
    }
  }
  return checksums;
}

// --- CheckpointSet ---

const char* CheckpointName(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kRecoveryPoint:
      return "recovery-point-offset-checkpoint";
    case CheckpointKind::kLogStart:
      return "log-start-offset-checkpoint";
    case CheckpointKind::kReplication:
      return "replication-offset-checkpoint";
    case CheckpointKind::kCleaner:
      return "cleaner-offset-checkpoint";
  }
  return "";
}

Status CheckpointSet::Load() {
  checksums_ = Checksums();
  stored_checksums_.clear();
  std::string sidecar_problem = std::string("no ") + kChecksumsName;
  const Result<std::vector<uint8_t>> sidecar = vfs_->ReadFile(PathOf(kChecksumsName), kFileBytesMax);
  if (sidecar.ok()) {
    stored_checksums_ = AsText(*sidecar);
    Result<Checksums> parsed = Checksums::Parse(*sidecar);
    if (parsed.ok()) {
      checksums_ = std::move(*parsed);
      sidecar_problem = "not what varve wrote";
    } else if (parsed.status().code() == Code::kUnsupported) {
      return parsed.status();
    } else {
      sidecar_problem = parsed.status().message();
    }
  } else if (sidecar.status().code() == Code::kTooLarge) {
    sidecar_problem = sidecar.status().message();
  } else if (sidecar.status().code() != Code::kNotFound) {
    return sidecar.status();
  }
  for (int kind = 0; kind < kCheckpointKindCount; kind++) {
    VARVE_TRY(LoadOne(static_cast<CheckpointKind>(kind), sidecar_problem));
  }
  return Status::Ok();
}

Status CheckpointSet::LoadOne(CheckpointKind kind, const std::string& unverified_because) {
  const char* name = CheckpointName(kind);
  OnDisk& file = files_[static_cast<size_t>(kind)];
  file = OnDisk();
  Result<std::vector<uint8_t>> bytes = vfs_->ReadFile(PathOf(name), kFileBytesMax);
  if (!bytes.ok()) {
    if (bytes.status().code() == Code::kNotFound) return Status::Ok();
    if (bytes.status().code() != Code::kTooLarge) return bytes.status();
    file.loaded = {CheckpointTrust::kDamaged, {}, std::string(name) + ": " + bytes.status().message()};
    return Status::Ok();
  }
  file.text = AsText(*bytes);
  file.text_is_ours = checksums_.Verify(name, *bytes);
  Result<std::vector<CheckpointEntry>> entries = CheckpointFile::Parse(*bytes);
  if (!entries.ok()) {
    file.text_is_ours = false;
    file.loaded = {CheckpointTrust::kDamaged, {}, std::string(name) + ": " + entries.status().message()};
    return Status::Ok();
  }
  file.loaded.entries = std::move(*entries);
  file.loaded.trust = file.text_is_ours ? CheckpointTrust::kVerified : CheckpointTrust::kUnverified;
  if (!file.text_is_ours) file.loaded.problem = std::string(name) + ": " + unverified_because;
  return Status::Ok();
}

void CheckpointSet::DropLoaded() {
  for (OnDisk& file : files_) std::vector<CheckpointEntry>().swap(file.loaded.entries);
}

Status CheckpointSet::Store(const std::vector<Update>& updates, bool durable) {
  std::vector<std::string> texts;
  for (const Update& update : updates) {
    const char* name = CheckpointName(update.kind);
    const OnDisk& file = files_[static_cast<size_t>(update.kind)];
    std::string& text = texts.emplace_back(CheckpointFile::Encode(*update.entries));
    // What is on disk stays vouched for until it is replaced, but only if it was: a failed writing before
    // this one leaves the sidecar with contents that never came to be.
    if (file.text_is_ours) {
      checksums_.Record(name, AsBytes(file.text));
    } else {
      checksums_.Forget(name);
    }
    checksums_.Record(name, AsBytes(text));
  }
  std::string checksums = checksums_.Encode();
  if (checksums != stored_checksums_) {
    VARVE_TRY(vfs_->WriteFile(PathOf(kChecksumsName), AsBytes(checksums), durable));
    stored_checksums_ = std::move(checksums);
  }
  for (size_t i = 0; i < updates.size(); i++) {
    OnDisk& file = files_[static_cast<size_t>(updates[i].kind)];
    if (file.text_is_ours && file.text == texts[i]) continue;
    VARVE_TRY(vfs_->WriteFile(PathOf(CheckpointName(updates[i].kind)), AsBytes(texts[i]), durable));
    file.text = std::move(texts[i]);
    file.text_is_ours = true;
  }
  return Status::Ok();
}

}  // namespace varve
