#!/usr/bin/env bash
# Also when it is started with `sh`.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# The name people type: `scripts/devnet.sh down`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward down "$@" <<'HELP'
usage: scripts/stop-devnet.sh [--grace SECONDS]

Stops the devnet; the data stays.
HELP
