#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs real Kafka clients and Kafka's own tools against varve (or, to check the programs themselves, against a real
# Kafka). Options and sections: test/compat/README.md or run.sh --help.
set -euo pipefail
exec node "$(dirname "${BASH_SOURCE[0]}")/run.mjs" "$@"
