#!/usr/bin/env bash
# Also when it is started with `sh`.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# The name people type: `scripts/devnet.sh up`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward up "$@" <<'HELP'
usage: scripts/start-devnet.sh [-v VALIDATORS] [-n FULL] [OPTIONS]

Starts the devnet and waits until every node has caught up.
HELP
