// SPDX-License-Identifier: Apache-2.0
#include "core/meta_properties.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/text_scan.h"
#include "test/kafka_golden_files.h"

namespace varve {
namespace {

Result<MetaProperties> Parse(std::string_view text) { return MetaProperties::Parse(AsBytes(text)); }

/// The value of key `k` in a file of one property.
std::string ValueIn(const std::string& lines, std::string_view key = "k") {
  const Result<MetaProperties> meta = Parse("version=1\n" + lines);
  EXPECT_TRUE(meta.ok()) << meta.status().message();
  return meta.ok() ? meta->Get(key) : "(refused)";
}

TEST(MetaProperties, ReadsWhatKafkaWroteAndWritesTheSameBytes) {
  const Result<MetaProperties> meta = Parse(kafka_golden::kMetaProperties);
  ASSERT_TRUE(meta.ok()) << meta.status().message();
  EXPECT_EQ(meta->version(), 1);
  EXPECT_EQ(meta->node_id(), 1);
  EXPECT_EQ(meta->cluster_id(), "6rWcxBTITMefUb0TUbRnCA");
  EXPECT_EQ(meta->directory_id(), "zIpDaUNHc6awY5JVcZidow");
  EXPECT_EQ(meta->Encode(1795364564000), kafka_golden::kMetaProperties);
}

TEST(MetaProperties, ANewFileHasWhatKafkaNeeds) {
  MetaProperties meta;
  meta.SetClusterId("6rWcxBTITMefUb0TUbRnCA");
  meta.SetNodeId(7);
  meta.SetDirectoryId("zIpDaUNHc6awY5JVcZidow");
  const std::string text = meta.Encode(0);
  EXPECT_EQ(text,
            "#\n#Thu Jan 01 00:00:00 UTC 1970\nversion=1\ncluster.id=6rWcxBTITMefUb0TUbRnCA\nnode.id=7\n"
            "directory.id=zIpDaUNHc6awY5JVcZidow\n");
  EXPECT_EQ(Parse(text)->node_id(), 7);
}

TEST(MetaProperties, KeepsKeysItDoesNotKnow) {
  Result<MetaProperties> meta = Parse("version=1\nfuture.key=a\\=b\nnode.id=3\n");
  ASSERT_TRUE(meta.ok());
  meta->SetNodeId(4);
  EXPECT_EQ(meta->Encode(0), "#\n#Thu Jan 01 00:00:00 UTC 1970\nversion=1\nfuture.key=a\\=b\nnode.id=4\n");
}

TEST(MetaProperties, ReadsJavaPropertiesInAllTheirSpellings) {
  EXPECT_EQ(ValueIn("k=v"), "v");
  EXPECT_EQ(ValueIn("k:v\n"), "v");
  EXPECT_EQ(ValueIn("k v\n"), "v");
  EXPECT_EQ(ValueIn("  k \t = \f v \n"), "v ");
  EXPECT_EQ(ValueIn("k==v\n"), "=v");
  EXPECT_EQ(ValueIn("k\n"), "");
  EXPECT_EQ(ValueIn("k=a\nk=b\n"), "b");
  EXPECT_EQ(ValueIn("#k=v\n!k=w\n  # k=x\n"), "");
  EXPECT_EQ(ValueIn("k=a\\\n   b\\\r\n\tc\n"), "abc");
  EXPECT_EQ(ValueIn("k=a\\\\\nb=c\n"), "a\\");
  EXPECT_EQ(ValueIn("k=v\rb=c\r\n", "b"), "c");
  EXPECT_EQ(ValueIn("k\\ e\\=y=v\n", "k e=y"), "v");
  EXPECT_EQ(ValueIn("k=\\t\\n\\r\\f\\q\\u0041\\u00e9\\u20AC\\ud83d\\ude00\n"),
            "\t\n\r\fqA\u00e9\u20ac\U0001F600");
  EXPECT_EQ(ValueIn("k=\\ud83d!\n"), "\uFFFD!");
  EXPECT_EQ(ValueIn("k=trailing\\"), "trailing");
}

TEST(MetaProperties, WhatIsWrittenReadsBackWhateverItHolds) {
  for (const char* text : {"plain", " leading", "trailing ", "a=b:c#d!e", "back\\slash",
                           "tab\tline\nreturn\rfeed\f", "\u00e9\u20ac\U0001F600", ""}) {
    MetaProperties meta;
    meta.Set("k", text);
    if (*text != '\0') meta.Set(text, "v");
    const std::string encoded = meta.Encode(0);
    const Result<MetaProperties> parsed = Parse(encoded);
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed->properties(), meta.properties()) << encoded;
  }
}

TEST(MetaProperties, RefusesFilesThatSayNothingUseful) {
  for (const char* text :
       {"", "version=\n", "version=x\n", "version=-1\n", "cluster.id=a\n", "version=1\nnode.id=x\n",
        "version=1\nnode.id=-1\n", "version=1\nnode.id=99999999999\n", "version=1\nk=\\u12\n",
        "version=1\nk=\\u12g4\n", "version=1\n\\u=v\n"}) {
    EXPECT_EQ(Parse(text).status().code(), Code::kCorrupt) << text;
  }
  EXPECT_EQ(Parse("version=2\n").status().code(), Code::kUnsupported);
  EXPECT_EQ(Parse("version=0\nbroker.id=5\n")->node_id(), 5) << "of a broker that used ZooKeeper";
  EXPECT_EQ(Parse("version=1\n")->node_id(), -1);
}

TEST(CleanShutdownMarker, ReadsWhatKafkaWroteAndWritesTheSameBytes) {
  const Result<CleanShutdownMarker> marker =
      CleanShutdownMarker::Parse(AsBytes(kafka_golden::kCleanShutdown));
  ASSERT_TRUE(marker.ok());
  EXPECT_EQ(marker->broker_epoch, 12);
  EXPECT_EQ(marker->Encode(), kafka_golden::kCleanShutdown);
  EXPECT_EQ(CleanShutdownMarker().Encode(), "{\"version\":0,\"brokerEpoch\":-1}");
}

TEST(CleanShutdownMarker, ReadsAnyJsonThatSaysTheSame) {
  for (const char* text :
       {"{\"version\":0,\"brokerEpoch\":5}", " { \"brokerEpoch\" : 5 , \"version\" : 0 } \n",
        "{\"x\":[1,{\"brokerEpoch\":9,\"y\":\"}\\\"\"}],\"version\":0,\"brokerEpoch\":5,\"z\":null,\"w\":"
        "true}"}) {
    const Result<CleanShutdownMarker> marker = CleanShutdownMarker::Parse(AsBytes(text));
    ASSERT_TRUE(marker.ok()) << text;
    EXPECT_EQ(marker->broker_epoch, 5) << text;
  }
  EXPECT_EQ(CleanShutdownMarker::Parse({})->broker_epoch, -1) << "an older Kafka's marker is empty";
}

TEST(CleanShutdownMarker, RefusesOtherText) {
  for (const char* text :
       {"{", "}", "{}", "[]", "5", "{\"version\":0", "{\"version\":0,}", "{\"version\":0}}", "{version:0}",
        "{\"version\" 0}", "{\"version\":}", "{\"brokerEpoch\":5}", "{\"version\":0,\"brokerEpoch\":[5}",
        "{\"version\":0 \"brokerEpoch\":5}", "{\"ver"}) {
    EXPECT_EQ(CleanShutdownMarker::Parse(AsBytes(text)).status().code(), Code::kCorrupt) << text;
  }
}

}  // namespace
}  // namespace varve
