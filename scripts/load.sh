#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# The name people type: `scripts/devnet.sh load`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward load "$@" <<'HELP'
usage: scripts/load.sh [--tps N] [--accounts N] [--secs S] [--batch N]

Sends transfers to all nodes and prints how they became final.
HELP
