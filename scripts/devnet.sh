#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# A local network: builds the node when it must, and hands over to `vibecoin devnet`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"


case ${1:-} in
  '' | -h | --help)
    cat <<'HELP'
usage: scripts/devnet.sh COMMAND [OPTIONS]

Builds the node with scripts/build.sh and runs `vibecoin devnet COMMAND`, which does the work:

  up           start the network, wait until every node has caught up, print where it is
  down         stop it: SIGTERM, then SIGKILL after the grace time; the data stays
  restart      down, then up
  status       print the table of nodes; exit 1 unless every node runs
  logs, add-node, stop-node, start-node, kill-node, partition, heal, faucet, load
  destroy      down, then delete the data

`scripts/devnet.sh COMMAND --help` tells the options of a command. Works from any directory.

environment
  DEVNET_DIR     where the data is (default: .devnet in the checkout)
  NODES          the number of validators for `up` (the same as -v)
  VIBECOIN_BIN   use this binary instead of building one
HELP
    [ $# -gt 0 ] || exit 2
    exit 0
    ;;
esac

# For the hints of the binary, which is not on the path.
DEVNET_TYPED=$(word "$0")
export DEVNET_TYPED
case $1 in
  up | restart)
    default_devnet
    find_binary
    ;;
  *) find_devnet "$@" ;;
esac
exec "$binary" devnet "$@"
