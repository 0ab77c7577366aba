#!/usr/bin/env bash
# Also when it is started with `sh`.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# The name people type: `scripts/devnet.sh add-node`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward add-node "$@" <<'HELP'
usage: scripts/add-node.sh [--from-snapshot]

Adds a node that follows to a devnet that runs, and waits until it is at the head. It gets the next free ports.
With --from-snapshot it begins with a verified snapshot that a running node makes, not with genesis.
HELP
