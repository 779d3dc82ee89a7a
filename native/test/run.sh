#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The C++ tests under sanitizers. run.sh [address|thread|plain]...: which builds (default: address thread). Every test executable has a
# bounded time; the last line is `N passed, N failed`, counted over GoogleTest's cases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(address thread)
passed=0
failed=0
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=0:exitcode=66}

for kind in "${kinds[@]}"; do
  case $kind in
    address) sanitize=address,undefined ;;
    thread) sanitize=thread ;;
    plain) sanitize= ;;
    *) echo "run.sh: $kind is none of address, thread, plain" >&2; exit 2 ;;
  esac
  build=build/native-$kind
  # -O1: sanitized code that is optimised for size of the build, not of the run.
  cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1" -DVARVE_SANITIZE="$sanitize" >"/tmp/varve-cmake-$kind.log"
  cmake --build "$build" -j"$(nproc)" --target native_tests >"/tmp/varve-build-$kind.log" 2>&1 || {
    tail -40 "/tmp/varve-build-$kind.log"
    failed=$((failed + 1))
    echo "FAILED $kind: the build"
    continue
  }
  for test in "$build"/*_test; do
    name=$(basename "$test")
    output=$(mktemp)
    status=0
    timeout 600 "$test" --gtest_brief=1 >"$output" 2>&1 || status=$?
    good=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) tests\{0,1\}\.$/\1/p' "$output" | tail -1)
    bad=$(sed -n 's/^ *\([0-9]*\) FAILED TESTS\{0,1\}$/\1/p' "$output" | tail -1)
    good=${good:-0}
    bad=${bad:-0}
    # A crash, a sanitizer's report and a test that ran nothing are failures too.
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$good" -eq 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + good))
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
      echo "FAILED $kind $name (status $status)"
      grep -vE '^\[ +(OK|RUN)' "$output" | tail -60
    else
      echo "ok     $kind $name: $good"
    fi
    rm -f "$output"
  done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
