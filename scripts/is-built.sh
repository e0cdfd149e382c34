#!/usr/bin/env bash
# Succeeds when a build is complete and newer than everything it is made from: scripts/is-built.sh KIND.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
site=target/site
[ "$kind" = release ] || site=target/$kind/site
inputs=(Cargo.toml Cargo.lock build.rs rust-toolchain.toml end2end/package-lock.json scripts/build.sh scripts/site.mjs scripts/emoji.mjs
    scripts/versions.sh scripts/wasm/Cargo.toml scripts/wasm/Cargo.lock scripts/wasm/src src style public locales migrations)
[ -x "target/$kind/noom" ] && [ -d "$site/pkg" ] && [ -e "target/$kind/.built" ] &&
    [ -z "$(find "${inputs[@]}" -newer "target/$kind/.built" -print -quit)" ]
