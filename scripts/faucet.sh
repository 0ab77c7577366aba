#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# The name people type: `scripts/devnet.sh faucet`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward faucet "$@" <<'HELP'
usage: scripts/faucet.sh ADDRESS [AMOUNT]

Sends money from the devnet's faucet, and waits until it is final.
HELP
