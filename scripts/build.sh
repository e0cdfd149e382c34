#!/usr/bin/env bash
# Builds the program and the site: scripts/build.sh [release | quick]. Does nothing when nothing changed.
#
# release: target/release/noom and target/site, optimized and precompressed.
# quick:   target/quick/noom and target/quick/site, in a fraction of the time. scripts/run.sh names that site to the program.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
kind=${1:-release}
say() { printf '\033[1mbuild:\033[0m %s\n' "$*" >&2; }

site=target/site
rustflags=${RUSTFLAGS:-}
client_options=()
case $kind in
    # Small rather than fast. The profile's other settings are the server's, so that both sides share the build scripts
    # and procedural macros.
    release) client_options=(--config 'profile.release.opt-level="z"' --config profile.release.codegen-units=1) ;;
    # Type-erased views compile faster. Server and client must agree on them, or hydration fails.
    quick) site=target/quick/site rustflags+=' --cfg erase_components' ;;
    *) echo "unknown kind of build: $kind (release, quick)" >&2; exit 2 ;;
esac
program=target/$kind/noom
built=target/$kind/.built
output=${CARGO_TARGET_DIR:-$PWD/target}
host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')

# The client as a WASM module. The splitter needs its relocations and symbols, and removes them.
client() {
    RUSTFLAGS="$rustflags -Clink-args=--emit-relocs" cargo build --locked --lib --no-default-features --features hydrate \
        --profile "$kind" "${client_options[@]}" --target "$wasm_target"
}

# With --target, RUSTFLAGS does not reach build scripts and macros, which would otherwise be built twice.
server() {
    # An empty RUSTFLAGS would disable the flags of a Cargo configuration.
    [ -z "$rustflags" ] || export RUSTFLAGS=$rustflags
    cargo build --locked --bin noom --no-default-features --features ssr \
        --profile "$kind" --target "$host"
}

# The tool that splits the module and generates its bindings. It is built outside the checkout, once.
wasm_tool() {
    cargo build --quiet --locked --release --manifest-path scripts/wasm/Cargo.toml --target-dir "$tools/wasm"
}

make_site() {
    rm -rf "$site.new"
    "$tools/wasm/release/noom-wasm" "$output/$wasm_target/$kind/noom.wasm" "$site.new/pkg" noom
    node scripts/site.mjs "$site.new" "--$kind"
}

if scripts/is-built.sh "$kind"; then
    exit 0
fi
mkdir -p "target/$kind"
# A file that changes during the build counts as newer.
touch "$built.new"
# Background jobs get process groups, so that a failed build ends their children too.
set -m
end_jobs() {
    local job
    for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
    wait
}
trap end_jobs EXIT
wasm_tool & tool=$!
say "client"
client
wait $tool
make_site & finishing=$!
say "server"
server
wait $finishing
cp "$output/$host/$kind/noom" "$program.new"
# Program and site fit only each other.
rm -rf "$site"
mv "$site.new" "$site"
mv "$program.new" "$program"
mv "$built.new" "$built"
