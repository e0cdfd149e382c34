# Exact versions of the tools that build Noom. Sourced by the other scripts.
# The Rust version stands in rust-toolchain.toml, the npm packages in end2end/package-lock.json.
CARGO_LEPTOS_VERSION=0.3.11
WASM_BINDGEN_VERSION=0.2.130
# Only where the machine has no Node, or one older than 20.
NODE_VERSION=22.23.3
