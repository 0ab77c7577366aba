#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh start-node`.
case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/restart-node.sh NODE

Starts a node that was stopped or killed, and waits until it is at the head.
The same as `scripts/devnet.sh start-node`, whose --help tells every option.
HELP
    exit 0
    ;;
esac
exec "$(dirname "${BASH_SOURCE[0]}")/devnet.sh" start-node "$@"
