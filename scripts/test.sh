#!/usr/bin/env bash
# Runs the parts of the test suite that are named: lint, rust, browser [playwright arguments].
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
say() { printf '\033[1mtest:\033[0m %s\n' "$*" >&2; }

lint() {
    say "formatting"
    cargo fmt --check
    say "lints, server side"
    cargo clippy --locked --all-targets -- -D warnings
    say "lints, browser side"
    cargo clippy --locked --all-targets --no-default-features --features hydrate -- -D warnings
}

rust() {
    say "Rust"
    cargo test --locked
}

browser() {
    scripts/build.sh
    say "browser"
    (cd end2end && npx tsc --noEmit && npx playwright test "$@")
}

while [ $# -gt 0 ]; do
    part=$1
    shift
    case $part in
        lint | rust) $part ;;
        browser) browser "$@"; break ;;
        *) echo "unknown part: $part (lint, rust, browser)" >&2; exit 2 ;;
    esac
done
