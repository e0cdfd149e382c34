#!/usr/bin/env bash
# Builds the release program and the site, precompressed. Does nothing when nothing changed:
# cargo-leptos would bundle and compress anew.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

inputs=(Cargo.toml Cargo.lock Leptos.toml build.rs rust-toolchain.toml scripts src style public locales migrations)
built=target/release/.built
if [ -x target/release/noom ] && [ -d target/site/pkg ] && [ -e "$built" ] &&
    [ -z "$(find "${inputs[@]}" -newer "$built" -print -quit)" ]; then
    exit 0
fi

# What changes while it builds counts as newer.
mkdir -p target/release
touch "$built.new"
# Split: what only calls need is fetched by those who make one.
cargo leptos build --release --precompress --split
# Where a build cache stands elsewhere, the program is still found here.
if [ -n "${CARGO_TARGET_DIR:-}" ] && ! [ "$CARGO_TARGET_DIR/release/noom" -ef target/release/noom ]; then
    cp "$CARGO_TARGET_DIR/release/noom" target/release/noom
fi
mv "$built.new" "$built"
