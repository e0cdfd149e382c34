#!/usr/bin/env bash
# Runs the randomized tests for long, and writes their figures into TRUST.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
export NOOM_TRUST=$root/target/trust
export NOOM_SIMULATE_SEEDS=${SEEDS:-10000} NOOM_POWER_CUTS=${CUTS:-2000}
rm -rf "$NOOM_TRUST" && mkdir -p "$NOOM_TRUST"
test() { cargo test --locked "$@"; }
test --release --test simulate -- promises_hold_under_random_faults --nocapture
test --test power_loss --test durability
test --test overload --test chat
test --test bad_input -- peer_without_pong_is_closed
cargo build --locked
node end2end/proxies/run.mjs "${CARGO_TARGET_DIR:-target}/debug/noom"
node scripts/trust.mjs "$NOOM_TRUST"
