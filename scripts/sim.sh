#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# The long run of the simulator: thousands of seeds. `scripts/sim.sh --help` says how.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

seeds=20000
first=$(date +%s)
planted=no

number() { # option, value
  [[ $2 =~ ^[0-9]+$ ]] || wrong "$1 takes a number, not '$2'"
  printf '%s' "$2"
}

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      cat <<'HELP'
usage: scripts/sim.sh [--seeds N] [--first S] [--planted]

Runs whole networks from seeds, on all cores, and prints every 10 s how far it is and how long it will
take: mostly four honest validators under crashes, loss and partitions, and among them liars, seven
validators, and three of the crash-fault mode. Every broken rule is printed with the command that runs its
seed again and prints every step. Exits with 1 when a rule was broken.

  --seeds N     how many (20000, about half an hour on two free cores)
  --first S     the first seed; the time of day when not given, so that every run is a new one
  --planted     first look for every planted bug, which is the test of this test (about two minutes)
HELP
      exit 0
      ;;
    --seeds)
      seeds=$(number "$1" "${2:-}")
      shift 2
      ;;
    --first)
      first=$(number "$1" "${2:-}")
      shift 2
      ;;
    --planted)
      planted=yes
      shift
      ;;
    *) wrong "unknown argument $1" ;;
  esac
done

cd "$root"
# shellcheck source=scripts/native.sh
. "$scripts/native.sh"

if [ "$planted" = yes ]; then
  cargo test --release --locked -p vibecoin-tests-sim --features planted --test planted -- --nocapture
fi
cargo build --release --locked -p vibecoin-tests-sim --bin sim
printf 'scripts/sim.sh --seeds %s --first %s runs the same again\n' "$seeds" "$first"
exec "$CARGO_TARGET_DIR/release/sim" --many "$seeds" --seed "$first"
