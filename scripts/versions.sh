# shellcheck shell=bash disable=SC2034
# Exact versions of the tools. Sourced by the other scripts. The Rust version is in rust-toolchain.toml, npm packages
# are in end2end/package-lock.json, Python packages in scripts/lint-requirements.txt and end2end/peer/requirements.txt.

# Only for `make dev`.
CARGO_LEPTOS_VERSION=0.3.11
WASM_BINDGEN_VERSION=0.2.130
# Only if the machine has no Node, or one older than 20.
NODE_VERSION=22.23.3
