#!/usr/bin/env bash
# The files of a network on several hosts: `vibecoin testnet generate`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in
  '' | -h | --help)
    cat <<'HELP'
usage: scripts/testnet.sh -o DIR [-v VALIDATORS] [-n FULL] [--format files|compose|systemd] [OPTIONS]

Writes one home per node, for several hosts, and unit or compose files if asked. Starts nothing.
The same as `vibecoin testnet generate`, whose --help tells every option.

environment
  VIBECOIN_BIN   use this binary instead of building one
HELP
    [ $# -gt 0 ] || exit 2
    exit 0
    ;;
esac
binary=${VIBECOIN_BIN:-}
[ -n "$binary" ] || binary=$("$here/build.sh" | tail -n 1)
exec "$binary" testnet generate "$@"
