#!/usr/bin/env bash
# Runs the tests that depend on chance for long, and writes what they counted into TRUST.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
export NOOM_TRUST=$root/target/trust
export NOOM_SIMULATE_SEEDS=${SEEDS:-10000} NOOM_POWER_CUTS=${CUTS:-2000}
rm -rf "$NOOM_TRUST" && mkdir -p "$NOOM_TRUST"
test() { cargo test --locked "$@"; }
test --release --test simulate -- whatever_breaks --nocapture
test --test power_loss --test durability
test --test overload --test chat
test --test bad_input -- a_peer_that_answers_no_ping
node scripts/trust.mjs "$NOOM_TRUST"
