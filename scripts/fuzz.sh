#!/usr/bin/env bash
# Fuzzes each target for so many seconds: scripts/fuzz.sh SECONDS [target…]. Bytes that break something are
# left in fuzz/artifacts; put them into fuzz/corpus when they are mended, and the tests hold them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
seconds=${1:-60}
shift || true
[ $# -gt 0 ] || set -- frames names rooms session

# What cargo-fuzz passes without a sanitizer: the compiler that builds Noom will do, and no other tool is needed.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
export CARGO_TARGET_DIR=$built
# With a target named, what runs while building is not instrumented.
cargo build --locked --manifest-path fuzz/Cargo.toml --target "$host"

for target in "$@"; do
    mkdir -p "$built/corpus/$target" "fuzz/artifacts/$target"
    printf '\033[1mfuzz:\033[0m %s for %s s\n' "$target" "$seconds" >&2
    # What is new is kept with what is built; the corpus in the project is only read.
    "$built/$host/debug/$target" "$built/corpus/$target" "fuzz/corpus/$target" -max_total_time="$seconds" \
        -timeout=10 -rss_limit_mb=2048 -max_len=4096 -artifact_prefix="fuzz/artifacts/$target/" -print_final_stats=1 \
        -verbosity=0
done
