#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh faucet`.
case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/faucet.sh ADDRESS [AMOUNT]

Sends money from the devnet's faucet, and waits until it is final.
The same as `scripts/devnet.sh faucet`, whose --help tells every option.
HELP
    exit 0
    ;;
esac
exec "$(dirname "${BASH_SOURCE[0]}")/devnet.sh" faucet "$@"
