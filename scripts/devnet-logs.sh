#!/usr/bin/env bash
# Also when it is started with `sh`.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# The name people type: `scripts/devnet.sh logs`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward logs "$@" <<'HELP'
usage: scripts/devnet-logs.sh [NODE] [-f] [--grep TEXT]

Prints what the nodes logged.
HELP
