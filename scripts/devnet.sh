#!/usr/bin/env bash
# A local network: builds the node when it must, and hands over to `vibecoin devnet`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

case ${1:-} in
  '' | -h | --help)
    cat <<'HELP'
usage: scripts/devnet.sh COMMAND [OPTIONS]

Builds the node with scripts/build.sh and runs `vibecoin devnet COMMAND`, which does the work:

  up           start the network, wait until every node has the same head, print where it is
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

export DEVNET_DIR="${DEVNET_DIR:-$here/../.devnet}"
# For the hints of the binary, which is not on the path.
export DEVNET_TYPED="$0"
# Commands on a devnet that is there use the program that started it: nothing is built under its feet.
program=
case $1 in
  up | restart) ;;
  *) program=$(sed -n 's/^ *"program": "\(.*\)",\{0,1\}$/\1/p' "$DEVNET_DIR/devnet.json" 2>/dev/null || true) ;;
esac
if [ -n "${VIBECOIN_BIN:-}" ]; then
  binary=$VIBECOIN_BIN
  if [ ! -x "$binary" ]; then
    printf 'error: VIBECOIN_BIN is %s, which is no program\nhint: build one with scripts/build.sh\n' "$binary" >&2
    exit 1
  fi
elif [ -x "$program" ]; then
  binary=$program
else
  binary=$("$here/build.sh" | tail -n 1)
fi
exec "$binary" devnet "$@"
