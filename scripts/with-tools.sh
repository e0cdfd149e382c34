#!/usr/bin/env bash
# Runs a command with the project's tools on the PATH.
set -euo pipefail
# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
exec "$@"
