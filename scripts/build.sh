#!/usr/bin/env bash
# Builds the release program and the site, precompressed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
cargo leptos build --release --precompress
# Where a build cache stands elsewhere, the program is still found here.
if [ -n "${CARGO_TARGET_DIR:-}" ]; then
    mkdir -p target/release
    cp -u "$CARGO_TARGET_DIR/release/noom" target/release/noom
fi
