// SPDX-License-Identifier: Apache-2.0
// Shows that the crash test can fail: the same harness over a log that acknowledges before it syncs. The file under test is compiled
// into this program a second time, with the bug switched on, and takes the place of the library's.
#define VARVE_BUG_ACK_BEFORE_SYNC 1
#include "core/log_durability.cc"  // NOLINT(bugprone-suspicious-include)
#include "crash_harness.h"

namespace varve {
namespace {

TEST(CrashPlantedBugTest, CatchesALogThatAcknowledgesBeforeItSyncs) {
  CrashHarness::Plan plan;
  plan.truncations = false;
  CrashHarness harness(plan);
  harness.Run();
  ASSERT_FALSE(harness.violations().empty());
  bool lost = false;
  for (const std::string& violation : harness.violations()) {
    lost |= violation.find("was durable") != std::string::npos;
  }
  EXPECT_TRUE(lost);
}

}  // namespace
}  // namespace varve
