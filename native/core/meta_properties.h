// SPDX-License-Identifier: Apache-2.0
// Who owns a log directory: `meta.properties` (Kafka's MetaProperties, version 1: cluster.id, node.id,
// directory.id), and whether its last owner stopped cleanly: `.kafka_cleanshutdown` (Kafka's
// CleanShutdownFileHandler). Pure text; the engine reads and writes the files.
//
// meta.properties is a Java properties file (java.util.Properties.load): comments with # or !, key and value
// parted by = : or blanks, \ escapes and line continuation, \uXXXX. Keys that varve does not know are kept.
//
// .kafka_cleanshutdown is JSON: {"version":0,"brokerEpoch":N}, N = -1: unknown (KIP-966).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/status.h"

namespace varve {

inline constexpr const char* kMetaPropertiesName = "meta.properties";
inline constexpr const char* kCleanShutdownName = ".kafka_cleanshutdown";

class MetaProperties {
 public:
  /// Version 1 and nothing else.
  MetaProperties();

  /// kCorrupt: a \u escape that is none, no version, or a node.id that is no number. kUnsupported: a version
  /// above 1 (0 is ZooKeeper's: its broker.id is read as node.id).
  static Result<MetaProperties> Parse(Bytes file);
  /// As Kafka's StorageTool writes it, with the comment line that says when.
  std::string Encode(int64_t now_ms) const;

  int32_t version() const { return version_; }
  /// Empty: not set.
  std::string cluster_id() const { return Get("cluster.id"); }
  std::string directory_id() const { return Get("directory.id"); }
  /// -1: not set.
  int32_t node_id() const { return node_id_; }

  void SetClusterId(std::string_view id) { Set("cluster.id", id); }
  void SetDirectoryId(std::string_view id) { Set("directory.id", id); }
  void SetNodeId(int32_t id);

  /// Any key; "" when it is not there.
  std::string Get(std::string_view key) const;
  void Set(std::string_view key, std::string_view value);
  const std::vector<std::pair<std::string, std::string>>& properties() const { return properties_; }

 private:
  std::vector<std::pair<std::string, std::string>> properties_;  ///< in file order, each key once
  int32_t version_ = 1;
  int32_t node_id_ = -1;
};

struct CleanShutdownMarker {
  int64_t broker_epoch = -1;

  std::string Encode() const;
  /// kCorrupt: no such JSON. Fields it does not know are skipped. An empty file (an older Kafka's) is a clean
  /// stop with epoch -1.
  static Result<CleanShutdownMarker> Parse(Bytes file);
};

}  // namespace varve
