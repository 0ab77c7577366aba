#!/usr/bin/env bash
# Also when it is started with `sh`.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# The name people type: `scripts/devnet.sh load`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward load "$@" <<'HELP'
usage: scripts/load.sh [--tps N] [--accounts N] [--secs S] [--batch N]

Sends transfers to all nodes and prints how they became final.
HELP
