#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh down`.
case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/stop-devnet.sh [--grace SECONDS]

Stops the devnet; the data stays.
The same as `scripts/devnet.sh down`, whose --help tells every option.
HELP
    exit 0
    ;;
esac
exec "$(dirname "${BASH_SOURCE[0]}")/devnet.sh" down "$@"
