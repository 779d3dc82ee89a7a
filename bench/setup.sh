#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the rivals of the engine bench by name into $VARVE_BENCH_CACHE (~/.cache/varve-bench): none of them is a
# dependency of the package. Apache Kafka comes by test/compat/kafka.sh.
set -euo pipefail
cache=${VARVE_BENCH_CACHE:-$HOME/.cache/varve-bench}
mkdir -p "$cache"
cd "$cache"
[ -f package.json ] || echo '{ "name": "varve-bench-rivals", "private": true, "type": "module" }' >package.json
npm install --no-audit --no-fund --loglevel=error lmdb@3 classic-level@3 better-sqlite3@12
echo "$cache"
