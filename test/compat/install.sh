#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the client programs of test/compat/programs, each by its own manifest, into the cache folder
# $VARVE_COMPAT_CACHE (~/.cache/varve-compat): nothing is written into the project tree. What is there already and has
# not changed is left alone, so that this is quick when nothing is to be done.
#   install.sh [CLIENT...]   all without arguments; prints one line per client that it installed
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${VARVE_COMPAT_CACHE:-$HOME/.cache/varve-compat}

# What an installed program depends on besides its own folder: the runtimes that it was built with.
runtimes=$(node --version; python3 --version 2>&1; go version 2>&1 || true; java -version 2>&1 | head -1 || true)

stamp_of() {
  { echo "$runtimes"; cat "${BASH_SOURCE[0]}"; (cd "$1" && find -L . -type f | sort | xargs sha256sum); } | sha256sum
}

install_one() {
  local name=$1 from=$here/programs/$1 to=$cache/programs/$1 stamp
  [ -f "$from/client.json" ] || { echo "no such client: $name" >&2; return 1; }
  stamp=$(stamp_of "$from")
  [ -f "$to/.installed" ] && [ "$(cat "$to/.installed")" = "$stamp" ] && return
  rm -rf "$to"
  mkdir -p "$to"
  cp -rL "$from/." "$to/"
  cd "$to"
  if [ -f package.json ]; then npm ci --no-audit --no-fund --loglevel=error >/dev/null; fi
  if [ -f requirements.txt ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
  fi
  if [ -f go.mod ]; then go build -o program .; fi
  if [ -f pom.xml ]; then
    mvn -q -B -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=lib
    javac -cp 'lib/*' -d . ./*.java
  fi
  echo "$stamp" >.installed
  echo "installed $name"
}

if [ $# -eq 0 ]; then
  for manifest in "$here"/programs/*/client.json; do set -- "$@" "$(basename "$(dirname "$manifest")")"; done
fi
for name in "$@"; do (install_one "$name"); done
