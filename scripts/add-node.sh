#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh add-node`.
case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/add-node.sh

Adds a node that follows, and waits until it is at the head.
The same as `scripts/devnet.sh add-node`, whose --help tells every option.
HELP
    exit 0
    ;;
esac
exec "$(dirname "${BASH_SOURCE[0]}")/devnet.sh" add-node "$@"
