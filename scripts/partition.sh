#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Cuts the devnet into groups, or joins it again.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/partition.sh GROUPS
       scripts/partition.sh heal

Cuts the devnet into groups of nodes, such as 0,1/2,3; nodes that are not named are in the first group.
`heal` joins it again. The same as `scripts/devnet.sh partition` and `scripts/devnet.sh heal`.
HELP
    exit 0
    ;;
  heal)
    shift
    exec "$scripts/devnet.sh" heal "$@"
    ;;
esac
exec "$scripts/devnet.sh" partition "$@"
