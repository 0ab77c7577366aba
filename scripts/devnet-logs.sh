#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh logs`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward logs "$@" <<'HELP'
usage: scripts/devnet-logs.sh [NODE] [-f] [--grep TEXT]

Prints what the nodes logged.
HELP
