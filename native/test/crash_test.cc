// SPDX-License-Identifier: Apache-2.0
// Power cuts before every call to the disk, with everything, nothing or random sectors of what was not synced lost.
// VARVE_CRASH_SEEDS=FIRST:COUNT runs other seeds than the few that every run takes.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "crash_harness.h"

namespace varve {
namespace {

/// 11 met a log start that went back behind the first epoch of its file, 154 a truncated segment that came back without
/// its aborted transactions.
std::vector<uint64_t> SeedsToRun() {
  const char* const chosen = std::getenv("VARVE_CRASH_SEEDS");
  if (chosen == nullptr) return {2, 3, 11, 154};
  unsigned long long first = 0;
  unsigned long long count = 0;
  std::sscanf(chosen, "%llu:%llu", &first, &count);
  std::vector<uint64_t> seeds;
  for (uint64_t seed = first; seed < first + count; ++seed) seeds.push_back(seed);
  return seeds;
}

class CrashTest : public ::testing::TestWithParam<std::tuple<AppendIo, FlushMode>> {};

TEST_P(CrashTest, LosesNothingThatWasAcknowledgedAndKeepsAPrefix) {
  int acknowledged = 0;
  int aborted = 0;
  int duplicates = 0;
  int nested = 0;
  for (const uint64_t seed : SeedsToRun()) {
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
  if (std::getenv("VARVE_CRASH_SEEDS") != nullptr) return;
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
