#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh load`.
case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/load.sh [--tps N] [--accounts N] [--secs S] [--batch N]

Sends transfers to all nodes and prints how they became final.
The same as `scripts/devnet.sh load`, whose --help tells every option.
HELP
    exit 0
    ;;
esac
exec "$(dirname "${BASH_SOURCE[0]}")/devnet.sh" load "$@"
