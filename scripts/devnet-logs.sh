#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh logs`.
case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/devnet-logs.sh [NODE] [-f] [--grep TEXT]

Prints what the nodes logged.
The same as `scripts/devnet.sh logs`, whose --help tells every option.
HELP
    exit 0
    ;;
esac
exec "$(dirname "${BASH_SOURCE[0]}")/devnet.sh" logs "$@"
