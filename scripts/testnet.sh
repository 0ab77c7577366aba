#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# The files of a network on several hosts: `vibecoin testnet generate`.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

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
find_binary
exec "$binary" testnet generate "$@"
