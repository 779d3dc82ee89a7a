// SPDX-License-Identifier: Apache-2.0
#include "core/truncation_mark.h"

#include <cinttypes>
#include <cstdio>

#include "core/crc32c.h"

namespace varve {
namespace {

constexpr uint64_t kBytesMax = 256;

Bytes BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Status TruncationMark::Write(Vfs& vfs, const std::string& directory) const {
  const std::string numbers = std::to_string(recovery_point_max) + " " + std::to_string(log_start);
  char crc[16];
  std::snprintf(crc, sizeof crc, " %08" PRIx32 "\n", Crc32c(0, BytesOf(numbers)));
  return vfs.WriteFile(directory + "/" + kName, BytesOf("varve-truncation-mark 1\n" + numbers + crc), true);
}

Result<std::optional<TruncationMark>> TruncationMark::Read(Vfs& vfs, const std::string& directory) {
  Result<std::vector<uint8_t>> file = vfs.ReadFile(directory + "/" + kName, kBytesMax);
  if (file.status().code() == Code::kNotFound) return std::optional<TruncationMark>();
  if (!file.ok() && file.status().code() != Code::kTooLarge) return file.status();
  TruncationMark mark;
  uint32_t crc = 0;
  const std::string text = file.ok() ? std::string(file->begin(), file->end()) : std::string();
  if (std::sscanf(text.c_str(), "varve-truncation-mark 1\n%" SCNd64 " %" SCNd64 " %" SCNx32,
                  &mark.recovery_point_max, &mark.log_start, &crc) == 3) {
    const std::string numbers =
        std::to_string(mark.recovery_point_max) + " " + std::to_string(mark.log_start);
    if (Crc32c(0, BytesOf(numbers)) == crc) return std::optional<TruncationMark>(mark);
  }
  return std::optional<TruncationMark>(TruncationMark{});
}

Status TruncationMark::Remove(Vfs& vfs, const std::string& directory) {
  const Status status = vfs.Remove(directory + "/" + kName);
  return status.code() == Code::kNotFound ? Status::Ok() : status;
}

}  // namespace varve
