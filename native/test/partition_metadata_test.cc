// SPDX-License-Identifier: Apache-2.0
#include "core/partition_metadata.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/text_scan.h"
#include "test/kafka_golden_files.h"

namespace varve {
namespace {

Result<PartitionMetadata> Parse(std::string_view text) { return PartitionMetadata::Parse(AsBytes(text)); }

TEST(PartitionMetadata, ReadsWhatKafkaWroteAndWritesTheSameBytes) {
  const Result<PartitionMetadata> metadata = Parse(kafka_golden::kPartitionMetadata);
  ASSERT_TRUE(metadata.ok());
  EXPECT_EQ(metadata->topic_id, "WcQop1F0RkiMQ6rApCsWXA");
  EXPECT_EQ(metadata->Encode(), kafka_golden::kPartitionMetadata);
}

TEST(PartitionMetadata, ToleratesWhatKafkaTolerates) {
  EXPECT_TRUE(Parse("version: 0\ntopic_id: WcQop1F0RkiMQ6rApCsWXA\n").ok());
  EXPECT_TRUE(Parse("version: 1\ntopic_id: WcQop1F0RkiMQ6rApCsWXA\nmore: 1\n").ok())
      << "a later version only adds lines";
}

TEST(PartitionMetadata, RefusesFilesThatAreNotOfTheFormat) {
  for (const char* text :
       {"", "version: 0", "version: 0\n", "version: -1\ntopic_id: WcQop1F0RkiMQ6rApCsWXA",
        "version 0\ntopic_id: WcQop1F0RkiMQ6rApCsWXA", "version: x\ntopic_id: WcQop1F0RkiMQ6rApCsWXA",
        "version: 0\ntopic: WcQop1F0RkiMQ6rApCsWXA",
        "version: 0\ntopic_id: ", "version: 0\ntopic_id: WcQop1F0RkiMQ6rApCsWX",
        "version: 0\ntopic_id: WcQop1F0RkiMQ6rApCsWXA=", "version: 0\ntopic_id: WcQop1F0RkiMQ6rApCs/XA",
        "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA"}) {
    EXPECT_EQ(Parse(text).status().code(), Code::kCorrupt) << text;
  }
}

TEST(PartitionMetadata, AnIdIsTheOneSpellingOfSixteenBytes) {
  EXPECT_TRUE(IsTopicId("AAAAAAAAAAAAAAAAAAAAAQ"));
  EXPECT_TRUE(IsTopicId("__________-----------w"));
  EXPECT_FALSE(IsTopicId("AAAAAAAAAAAAAAAAAAAAAB")) << "bits behind the sixteenth byte";
  EXPECT_FALSE(IsTopicId("AAAAAAAAAAAAAAAAAAAAA="));
  EXPECT_FALSE(IsTopicId("AAAAAAAAAA+AAAAAAAAAAQ"));
  EXPECT_FALSE(IsTopicId(""));
}

}  // namespace
}  // namespace varve
