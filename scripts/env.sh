# shellcheck shell=bash
# Sets the paths of the tools, and a PATH that finds them first. Sourced by the other scripts.
#
# The tools are installed outside the checkout, so that a second clone builds none of them again.
# NOOM_TOOLS chooses another folder.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${NOOM_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/noom/tools}
# shellcheck source=scripts/versions.sh
. "$root/scripts/versions.sh"
# shellcheck disable=SC2034 # The scripts that source this file use it.
wasm_target=wasm32-unknown-unknown
node_package=node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')

# $tools/rust/bin has links to Debian's toolchain where setup.sh had to choose that one. It precedes rustup's
# proxies, which would otherwise read rust-toolchain.toml and try to reach a server that is not reachable.
PATH="$tools/rust/bin:$tools/cargo-leptos-$CARGO_LEPTOS_VERSION/bin:$tools/wasm-bindgen-$WASM_BINDGEN_VERSION/bin:$PATH"
PATH="$tools/node-$NODE_VERSION/node_modules/$node_package/bin:$root/end2end/node_modules/.bin:$PATH"
export PATH
# Leptos compiles the name of the WASM module into the server. A program that is built without it, by `cargo test
# --release` for example, would name a file that the site does not have.
export LEPTOS_OUTPUT_NAME=noom
# The Python that runs the third-party WebRTC peer of the browser tests.
export NOOM_PEER_PYTHON=$tools/peer/bin/python
# The S3 server of the tests of files.
export NOOM_RCLONE=$tools/s3/bin/rclone
if [ -x "$tools/rust/bin/cargo" ]; then
    unset RUSTUP_TOOLCHAIN
    export CARGO="$tools/rust/bin/cargo" RUSTC="$tools/rust/bin/rustc"
fi
