#!/usr/bin/env bash
# Installs the tools that Noom needs: scripts/setup.sh [build | dev | lint | test | test-rust | trust]; build if nothing is named.
# Each step checks first and prints nothing when its tool is there already, so that a second run is instant.
#
# Works on an open network and on one where only package registries are reachable: there, Debian's Rust toolchain
# replaces rustup's downloads, and every other tool comes from crates.io, npm, PyPI or Debian.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
want=${1:-build}

say() { printf '\033[1msetup:\033[0m %s\n' "$*" >&2; }
fail() { printf '\033[1;31msetup failed:\033[0m %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a slow step with its output in a log file, and shows the end of the log if the step fails.
step() {
    local what=$1 hint=$2 log=$tools/setup.log
    shift 2
    say "$what"
    "$@" >"$log" 2>&1 </dev/null || { tail -n 20 "$log" >&2; fail "$what. $hint"; }
}

# Installs Debian packages. Uses sudo only if one is missing and the user is not root.
debian() {
    local missing=() package
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    step "installing ${missing[*]} (Debian)" "Run: apt-get update && apt-get install ${missing[*]}" \
        "${as_root[@]}" bash -c 'apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"' apt "${missing[@]}"
}

has_wasm_std() {
    local libs
    libs=$(rustc --print target-libdir --target $wasm_target 2>/dev/null) && compgen -G "$libs/libstd-*.rlib" >/dev/null
}

# --- Rust with the standard library for WASM --------------------------------------------------

rustup_toolchain() {
    have rustup || return 1
    # rust-toolchain.toml names the version, the target and the components.
    (cd "$root" && timeout 600 rustup toolchain install --no-self-update && has_wasm_std && cargo clippy --version)
}

# Debian packages a toolchain with its sources. The standard library for WASM is built from them once.
debian_toolchain() {
    have apt-get || fail "rustup cannot download Rust, and this system is not Debian. Install Rust with rustup (https://rustup.rs) and the target $wasm_target, then try again."
    debian gcc libc6-dev rustc-web cargo-web rust-web-src rust-web-llvm rust-web-clippy rustfmt-web lld-22
    mkdir -p "$tools/rust/bin"
    local tool
    for tool in cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
        ln -sf "/usr/bin/$tool" "$tools/rust/bin/$tool"
    done
    . "$root/scripts/env.sh"
    has_wasm_std || step "building Rust's standard library for WASM (about half a minute)" \
        "See the log above. The packages rustc-web and rust-web-src must have the same version." build_wasm_std
}

build_wasm_std() {
    local scratch libs host_bin
    scratch=$(mktemp -d) && libs=$(rustc --print target-libdir --target $wasm_target)
    mkdir "$scratch/src" && echo '#![no_std]' >"$scratch/src/lib.rs"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$scratch/Cargo.toml"
    local as_root=()
    [ -w /usr/lib/rustlib ] || as_root=(sudo)
    host_bin=/usr/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
    "${as_root[@]}" mkdir -p "$libs" "$host_bin"
    "${as_root[@]}" ln -sf /usr/lib/llvm-22/bin/lld "$host_bin/rust-lld"
    (cd "$scratch" && env -u CARGO_TARGET_DIR RUSTC_BOOTSTRAP=1 cargo build --release --target $wasm_target -Zbuild-std=std,panic_abort,proc_macro)
    "${as_root[@]}" find "$scratch/target/$wasm_target/release/deps" -name '*.rlib' ! -name 'libempty-*' -exec cp -t "$libs" {} +
    rm -rf "$scratch"
}

rust() {
    has_wasm_std && cargo clippy --version >/dev/null 2>&1 && return 0
    say "Rust with the target $wasm_target"
    rustup_toolchain >"$tools/setup.log" 2>&1 </dev/null || debian_toolchain
}

# --- Tools from crates.io --------------------------------------------------------------------

# The tools need not be fast. Without optimization they build in a third of the time.
cheap=(env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=0)

crate_tool() { # name version install-arguments…
    local name=$1 version=$2 home=$tools/$1-$2
    shift 2
    [ "$name" = wasm-bindgen-cli ] && home=$tools/wasm-bindgen-$version
    [ -e "$home/.complete" ] && return 0
    if have cargo-binstall && timeout 120 cargo binstall -y --root "$home" "$name@$version" >"$tools/setup.log" 2>&1 </dev/null; then
        say "downloaded $name $version"
    else
        step "building $name $version (some minutes, once)" "Is crates.io reachable?" \
            "${cheap[@]}" cargo install --root "$home" "$name" --version "$version" "$@"
    fi
    touch "$home/.complete"
}

# --- Node packages and a browser ----------------------------------------------------------------

# Node 20 or newer. The npm registry has it as a package, too.
node() {
    command node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null && have npm && return 0
    have npm || debian nodejs npm
    step "Node $NODE_VERSION" "Or install Node 20 or newer yourself: https://nodejs.org" \
        npm install --no-save --prefix "$tools/node-$NODE_VERSION" "$node_package@$NODE_VERSION"
}

node_packages() {
    cmp -s "$root/end2end/package-lock.json" "$root/end2end/node_modules/.installed-lock" && return 0
    # None of them has to run a script to be installed.
    step "npm packages of end2end/ (wasm-opt, Lightning CSS, Playwright, …)" "Is the npm registry reachable?" \
        npm ci --ignore-scripts --prefix "$root/end2end"
    cp "$root/end2end/package-lock.json" "$root/end2end/node_modules/.installed-lock"
}

# Playwright's Chromium if it can be downloaded, otherwise Debian's. playwright.config.ts looks in the same order.
browser() {
    [ -x /usr/bin/chromium ] && return 0
    local own
    own=$(cd "$root/end2end" && command node -p "require('@playwright/test').chromium.executablePath()")
    [ -x "$own" ] && return 0
    say "Chromium"
    (cd "$root/end2end" && timeout 300 npx playwright install chromium) >"$tools/setup.log" 2>&1 </dev/null && return 0
    have apt-get || fail "Playwright cannot download Chromium. Install Chromium as /usr/bin/chromium."
    debian chromium fonts-noto-cjk fonts-noto-color-emoji
}

# --- Python packages ------------------------------------------------------------------------------

# Installs a requirements file into a virtual environment of its own.
python_packages() { # home requirements description
    local home=$1 requirements=$2
    cmp -s "$requirements" "$home/.installed" && return 0
    python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3 python3-venv
    # shellcheck disable=SC2016 # The inner shell expands them.
    step "$3 (PyPI)" "Is PyPI reachable? Python 3.10 or newer is needed." \
        bash -c 'python3 -m venv --clear "$1" && "$1/bin/pip" install -q -r "$2"' pip "$home" "$requirements"
    cp "$requirements" "$home/.installed"
}

# --- TURN -------------------------------------------------------------------------------------------

turn_server() {
    have turnserver && return 0
    have apt-get || fail "turnserver is missing. Install coturn."
    debian coturn
    # The tests start their own; the system service is not needed.
    ! have systemctl || systemctl disable --now coturn >/dev/null 2>&1 || true
}

# --- Reverse proxies ----------------------------------------------------------------------------------

proxies() {
    local PATH=$PATH:/usr/sbin
    have nginx && have caddy && have haproxy && have openssl && return 0
    have apt-get || fail "Install nginx, caddy, haproxy and openssl."
    debian nginx-light caddy haproxy openssl
    # The tests start their own; the system services are not needed.
    ! have systemctl || systemctl disable --now nginx caddy haproxy >/dev/null 2>&1 || true
}

build_tools() {
    have cc || debian gcc libc6-dev
    rust
    node
    node_packages
}

dev_tools() {
    crate_tool cargo-leptos "$CARGO_LEPTOS_VERSION" --locked --features no_downloads
    crate_tool wasm-bindgen-cli "$WASM_BINDGEN_VERSION"
}

lint_tools() {
    python_packages "$tools/lint" "$root/scripts/lint-requirements.txt" "shellcheck, typos, cargo-deny"
}

s3_server() {
    python_packages "$tools/s3" "$root/tests/files/requirements.txt" "rclone, as an S3 server"
}

test_tools() {
    s3_server
    browser
    turn_server
    python_packages "$tools/peer" "$root/end2end/peer/requirements.txt" "aiortc"
}

mkdir -p "$tools"
build_tools
case $want in
    build) ;;
    dev) dev_tools ;;
    lint) lint_tools ;;
    test) lint_tools; test_tools ;;
    test-rust) s3_server ;;
    trust) proxies ;;
    *) fail "unknown set of tools: $want (build, dev, lint, test, test-rust, trust)" ;;
esac
