#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# The name people type: `scripts/devnet.sh up`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward up "$@" <<'HELP'
usage: scripts/start-devnet.sh [-v VALIDATORS] [-n FULL] [OPTIONS]

Starts the devnet and waits until every node has caught up.
HELP
