#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Network faults over real nodes, the long way. `scripts/reliability/network.sh --help` says what.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/../prelude.sh"

help() {
  cat <<'HELP'
usage: scripts/reliability/network.sh [--seed N] [--no-build] [STEP...]

Networks of real nodes, each node in a network namespace of its own, are cut, slowed down, frozen, killed
and fed with garbage while clients move money among 50 accounts. Afterwards one chain must explain
everything that the clients were told. Needs root, iproute2 and iptables; nothing outside of the
namespaces is touched.

Steps (default: all of them, one after the other):
  network     N1 N2 N3 N5 N6 N9 C3 B6 at full length, about 40 minutes
  crash       crash-fault mode with three nodes, 1 minute
  link        100 ms and jitter on every link (N4), 2 minutes
  byzantine   one of four validators lies (B1 B3 B4), 5 minutes

Each step prints a table: target, measured, verdict. Rates and times depend on the machine and are only
reported; the exit code is 0 when no invariant was broken and everything healed.
HELP
}

seed=1 build=yes steps=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      help
      exit 0
      ;;
    --seed)
      [ $# -ge 2 ] || wrong "--seed needs a number"
      seed=$2
      shift
      ;;
    --no-build) build=no ;;
    network | crash | link | byzantine) steps+=("$1") ;;
    *) wrong "unknown argument $1" ;;
  esac
  shift
done
[ ${#steps[@]} -gt 0 ] || steps=(crash network link byzantine)

cd "$root"
unset "${!VIBECOIN__@}"
# shellcheck source=scripts/native.sh
. scripts/native.sh
need_packages iproute2 iptables
[ "$(id -u)" = 0 ] || die "network namespaces need root" "run it as root: sudo $(word "$0")"
if [ "$build" = yes ]; then
  cargo build --release --locked -p vibecoin-cli --bin vibecoin
  # The lying validator is a build of its own: a node that is shipped cannot lie.
  cargo build --release --locked -p vibecoin-tests-faults --features byzantine --bins
fi
export VIBECOIN_BIN=${VIBECOIN_BIN:-$CARGO_TARGET_DIR/release/vibecoin}

failed=()
for step in "${steps[@]}"; do
  printf '\n== %s, seed %s, %s\n' "$step" "$seed" "$(date -u +%H:%M:%S)"
  start=$SECONDS
  if "$CARGO_TARGET_DIR/release/vibecoin-faults" "$step" "$seed"; then
    printf -- '-- %s: %s s\n' "$step" $((SECONDS - start))
  else
    printf -- '-- %s: FAILED after %s s\n' "$step" $((SECONDS - start))
    failed+=("$step")
  fi
done
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}" "run one alone: $0 --seed $seed --no-build ${failed[0]}"
