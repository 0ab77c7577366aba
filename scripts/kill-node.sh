#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Ends one node of the devnet: with SIGKILL, or in order.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

command=kill-node
arguments=()
for argument in "$@"; do
  case $argument in
    -h | --help)
      cat <<'HELP'
usage: scripts/kill-node.sh NODE [-9 | --term]

Kills a node of the devnet with SIGKILL (-9, the default), or stops it with SIGTERM (--term).
The same as `scripts/devnet.sh kill-node` and `scripts/devnet.sh stop-node`.
`scripts/restart-node.sh NODE` starts it again.
HELP
      exit 0
      ;;
    -9) command=kill-node ;;
    --term) command=stop-node ;;
    *) arguments+=("$argument") ;;
  esac
done
exec "$scripts/devnet.sh" "$command" ${arguments[@]+"${arguments[@]}"}
