// SPDX-License-Identifier: Apache-2.0
// Power cuts before every call to the disk, with everything, nothing or random sectors of what was not synced lost.
#include "crash_harness.h"

namespace varve {
namespace {

class CrashTest : public ::testing::TestWithParam<std::tuple<AppendIo, FlushMode, uint64_t>> {};

TEST_P(CrashTest, LosesNothingThatWasAcknowledgedAndKeepsAPrefix) {
  CrashHarness::Plan plan;
  std::tie(plan.io, plan.flush_mode, plan.seed) = GetParam();
  plan.truncations = plan.seed % 2 == 0;
  CrashHarness harness(plan);
  harness.Run();
  EXPECT_GT(harness.cuts(), 400);
  for (const std::string& violation : harness.violations()) ADD_FAILURE() << violation;
}

INSTANTIATE_TEST_SUITE_P(Seeds, CrashTest,
                         ::testing::Combine(::testing::Values(AppendIo::kMmap, AppendIo::kPwrite),
                                            ::testing::Values(FlushMode::kCommit, FlushMode::kOs),
                                            ::testing::Range(uint64_t{1}, uint64_t{7})));

}  // namespace
}  // namespace varve
