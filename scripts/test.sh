#!/usr/bin/env bash
# Runs parts of the test suite: scripts/test.sh [setup] [lint] [rust] [browser [Playwright arguments]].
# Prints the minutes that each part took.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
say() { printf '\033[1mtest:\033[0m %s\n' "$*" >&2; }

setup() {
    scripts/setup.sh test
    # It may have installed a toolchain.
    . scripts/env.sh
}

lint() { scripts/lint.sh; }

# Type-erased views: the same pages, and generating code for Noom takes a tenth of the time.
# A test that hangs is a failure: it ends after 40 minutes, and the output names it.
rust() (
    export RUSTFLAGS="${RUSTFLAGS:-} --cfg erase_components"
    cargo test --locked --no-run
    timeout --kill-after=10 2400 cargo test --locked
)

build() { scripts/build.sh release; }

browser() { (cd end2end && npx tsc --noEmit && npx playwright test "$@"); }

times=()
part() { # name arguments…
    local name=$1 start=$SECONDS
    say "$name"
    "$@"
    times+=("$(awk -v part="$name" -v seconds=$((SECONDS - start)) 'BEGIN { printf "%-8s %5.1f", part, seconds / 60 }')")
}

summary() {
    local code=$? line
    [ ${#times[@]} -gt 0 ] || exit $code
    say "minutes of each part"
    for line in "${times[@]}"; do printf '  %s\n' "$line" >&2; done
    awk -v seconds=$SECONDS 'BEGIN { printf "  %-8s %5.1f\n", "all", seconds / 60 }' >&2
    exit $code
}
trap summary EXIT

while [ $# -gt 0 ]; do
    name=$1
    shift
    case $name in
        setup | lint | rust) part "$name" ;;
        browser) part build; part browser "$@"; break ;;
        *) echo "unknown part: $name (setup, lint, rust, browser)" >&2; exit 2 ;;
    esac
done
