#!/usr/bin/env bash
# Also when it is started with `sh`.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# The name people type: `scripts/devnet.sh faucet`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

forward faucet "$@" <<'HELP'
usage: scripts/faucet.sh ADDRESS [AMOUNT]

Sends money from the devnet's faucet, and waits until it is final.
HELP
