#!/usr/bin/env bash
# Also when it is started with `sh`.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# The name people type: `scripts/devnet.sh start-node`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward start-node "$@" <<'HELP'
usage: scripts/restart-node.sh NODE

Starts a node that was stopped or killed, and waits until it is at the head.
HELP
