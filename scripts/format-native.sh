#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Formats the C++ sources in place.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
clang-format-14 -i native/*/*.h native/*/*.cc
