#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Exactly three of four validators for 10,000 heights, the long way. `scripts/reliability/quorum.sh --help` says what.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/../prelude.sh"

help() {
  cat <<'HELP'
usage: scripts/reliability/quorum.sh [--seed N] [--heights H]

Simulates four validators of which one is dead while one message of a hundred is lost, for H heights (10,000)
of virtual time. Ends with an error and the seed when there is no block for 5 seconds of virtual time, or
when any other rule of the simulator does not hold. The short version runs in CI (tests/sim/tests/absence.rs).
HELP
}

seed=1 heights=10000
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      help
      exit 0
      ;;
    --seed | --heights)
      [ $# -ge 2 ] || wrong "$1 needs a number"
      if [ "$1" = --seed ]; then seed=$2; else heights=$2; fi
      shift
      ;;
    *) wrong "unknown argument $1" ;;
  esac
  shift
done

cd "$root"
exec cargo run --release --locked -p vibecoin-tests-sim --bin sim -- \
  --seed "$seed" --outage 1 --absence "$heights" --outage-loss 10
