#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# The name people type: `scripts/devnet.sh down`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward down "$@" <<'HELP'
usage: scripts/stop-devnet.sh [--grace SECONDS]

Stops the devnet; the data stays.
HELP
