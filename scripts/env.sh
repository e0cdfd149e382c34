# Where the tools live, and a PATH that finds them first. Sourced, never run.
#
# The tools stand outside the checkout, so that a second clone needs nothing built twice.
# NOOM_TOOLS moves them.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${NOOM_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/noom/tools}
# shellcheck source=scripts/versions.sh
. "$root/scripts/versions.sh"
wasm_target=wasm32-unknown-unknown
node_package=node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')

# $tools/rust/bin holds links to Debian's toolchain where setup.sh had to choose that one. It is
# found on the PATH before rustup's proxies, so rust-toolchain.toml does not send rustup to a
# server that cannot be reached.
export PATH="$tools/rust/bin:$tools/cargo-leptos-$CARGO_LEPTOS_VERSION/bin:$tools/wasm-bindgen-$WASM_BINDGEN_VERSION/bin:$tools/node-$NODE_VERSION/node_modules/$node_package/bin:$root/end2end/node_modules/.bin:$PATH"
# What the browser tests let join a call beside browsers.
export NOOM_PEER_PYTHON=$tools/peer/bin/python
if [ -x "$tools/rust/bin/cargo" ]; then
    unset RUSTUP_TOOLCHAIN
    export CARGO="$tools/rust/bin/cargo" RUSTC="$tools/rust/bin/rustc"
fi
