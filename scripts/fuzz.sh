#!/usr/bin/env bash
# Fuzzes each target for a number of seconds: scripts/fuzz.sh SECONDS [target…]. An input that fails is written to
# fuzz/artifacts; once the bug is fixed, move it to fuzz/corpus, where a regression test reads it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
seconds=${1:-60}
shift || true
[ $# -gt 0 ] || set -- frames names rooms session

# The flags that cargo-fuzz passes when no sanitizer is chosen. They work on the stable compiler without cargo-fuzz.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
export CARGO_TARGET_DIR=$built
# With --target, build scripts and macros are not instrumented.
cargo build --locked --manifest-path fuzz/Cargo.toml --target "$host"

for target in "$@"; do
    mkdir -p "$built/corpus/$target" "fuzz/artifacts/$target"
    printf '\033[1mfuzz:\033[0m %s for %s s\n' "$target" "$seconds" >&2
    # New inputs go to the first folder; the corpus in the repository is only read.
    "$built/$host/debug/$target" "$built/corpus/$target" "fuzz/corpus/$target" -max_total_time="$seconds" \
        -timeout=10 -rss_limit_mb=2048 -max_len=4096 -artifact_prefix="fuzz/artifacts/$target/" -print_final_stats=1 \
        -verbosity=0
done
