// SPDX-License-Identifier: Apache-2.0
// Power cuts before every call to the disk, with everything, nothing or random sectors of what was not synced lost.
// VARVE_CRASH_SEEDS=FIRST:COUNT runs other seeds than the few that every run takes.
#include <cstdio>
#include <cstdlib>

#include "crash_harness.h"

namespace varve {
namespace {

struct Seeds {
  unsigned long long first = 2;
  unsigned long long count = 2;
  const char* const chosen = std::getenv("VARVE_CRASH_SEEDS");

  Seeds() {
    if (chosen != nullptr) std::sscanf(chosen, "%llu:%llu", &first, &count);
  }
};

class CrashTest : public ::testing::TestWithParam<std::tuple<AppendIo, FlushMode>> {};

TEST_P(CrashTest, LosesNothingThatWasAcknowledgedAndKeepsAPrefix) {
  const Seeds seeds;
  int acknowledged = 0;
  int aborted = 0;
  int duplicates = 0;
  int nested = 0;
  for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    CrashHarness::Plan plan;
    plan.seed = seed;
    std::tie(plan.io, plan.flush_mode) = GetParam();
    CrashHarness harness(plan);
    harness.Run();
    EXPECT_GT(harness.cuts(), 200);
    for (const std::string& violation : harness.violations()) ADD_FAILURE() << violation;
    acknowledged += harness.found_acknowledged();
    aborted += harness.found_aborted();
    duplicates += harness.found_duplicates();
    nested += harness.nested_cuts();
  }
  if (seeds.chosen != nullptr) return;
  // The seeds of every run meet what is to be shown.
  EXPECT_GT(acknowledged, 100);
  EXPECT_GT(aborted, 10);
  EXPECT_GT(duplicates, 100);
  EXPECT_GT(nested, 10);
}

INSTANTIATE_TEST_SUITE_P(Modes, CrashTest,
                         ::testing::Combine(::testing::Values(AppendIo::kMmap, AppendIo::kPwrite),
                                            ::testing::Values(FlushMode::kCommit, FlushMode::kOs)));

}  // namespace
}  // namespace varve
