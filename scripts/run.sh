#!/usr/bin/env bash
# Serves Noom: the release build if it is up to date, otherwise a quick build. Arguments go to the program.
set -euo pipefail
cd "$(dirname "$0")/.."
if scripts/is-built.sh release; then
    exec target/release/noom "$@"
fi
scripts/build.sh quick
LEPTOS_SITE_ROOT=$PWD/target/quick/site exec target/quick/noom "$@"
