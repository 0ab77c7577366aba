#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh up`.
case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/start-devnet.sh [-v VALIDATORS] [-n FULL] [OPTIONS]

Starts the devnet and waits until every node has the same head.
The same as `scripts/devnet.sh up`, whose --help tells every option.
HELP
    exit 0
    ;;
esac
exec "$(dirname "${BASH_SOURCE[0]}")/devnet.sh" up "$@"
