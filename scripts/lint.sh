#!/usr/bin/env bash
# Checks formatting, prose, spelling, scripts, dependencies, Rust lints and Rust documentation.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
say() { printf '\033[1mlint:\033[0m %s\n' "$*" >&2; }

say "formatting"
for manifest in Cargo.toml fuzz/Cargo.toml scripts/wasm/Cargo.toml; do cargo fmt --check --manifest-path $manifest; done
biome ci --error-on-warnings --reporter=summary .
say "prose"
scripts/check-prose.mjs
say "spelling"
"$tools/lint/bin/typos"
say "scripts"
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
"$tools/lint/bin/shellcheck" --external-sources "${scripts[@]}"
say "dependencies"
# cargo-deny reads the crates of all platforms, also those that no build here needs.
cargo fetch --quiet --locked
deny=("$tools/lint/bin/cargo-deny" --log-level warn --all-features --locked)
"${deny[@]}" --offline check licenses bans sources
# The advisory database is a Git repository; not every network reaches it. Without it nothing is claimed.
if timeout 60 "${deny[@]}" fetch db >/dev/null 2>&1; then
    "${deny[@]}" check --disable-fetch advisories
else
    echo "advisories: not checked (the advisory database cannot be fetched)"
fi
say "Rust, server side"
cargo clippy --locked --all-targets -- -D warnings
say "Rust, browser side"
cargo clippy --locked --all-targets --no-default-features --features hydrate -- -D warnings
say "Rust documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
