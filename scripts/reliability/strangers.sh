#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Hostile peers and clients against networks of real nodes. `scripts/reliability/strangers.sh --help` explains.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/../prelude.sh"

help() {
  cat <<'HELP'
usage: scripts/reliability/strangers.sh [--no-build] [ATTACK...]

Four validators and a follower, each in a network namespace of its own, are attacked from another namespace by
vibecoin-stranger, a raw client with identities and addresses of its choice. One row per attack: block rate during
and after it against the clean rate, memory of the node that grew most, and whether the attacker was disconnected.
Without names all attacks run, about 30 minutes. Needs root, iproute2 and iptables; nothing outside of the
namespaces is touched, and every attack ends by itself.

Attacks of strangers:    blocks blocks-4 bodies status status-16 slow-frames copies book frames grafts streams
                         stream-churn fetch transactions unfunded ghosts certificates evidence
Of one validator's key:  parts votes certificates-valid
Of RPC clients:          rpc-silent rpc-slow rpc-prefaces rpc-unread rpc-flood rpc-unmatched rpc-batches
                         rpc-evidence rpc-poh rpc-waits rpc-lists
While a node joins:      liars (STRANGERS_BLOCKS=10000 for M3)
Without a stranger:      clears (STRANGERS_SLOTS=60000 for the full case) pool pool-queued
                         pool-many (STRANGERS_TRANSACTIONS=1000000 for M1) descriptors twins clock

Exit code 1: a target was missed. The rates need a machine that does nothing else.
HELP
}

build=yes attacks=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      help
      exit 0
      ;;
    --no-build) build=no ;;
    -*) wrong "unknown argument $1" ;;
    *) attacks+=("$1") ;;
  esac
  shift
done

cd "$root"
unset "${!VIBECOIN__@}"
# shellcheck source=scripts/native.sh
. scripts/native.sh
need_packages iproute2 iptables faketime
[ "$(id -u)" = 0 ] || die "network namespaces need root" "run it as root: sudo $(word "$0")"
if [ "$build" = yes ]; then
  cargo build --release --locked -p vibecoin-cli --bin vibecoin
  cargo build --release --locked -p vibecoin-byzantine -p vibecoin-tests-faults --bins
fi
export VIBECOIN_BIN=${VIBECOIN_BIN:-$CARGO_TARGET_DIR/release/vibecoin}
exec "$CARGO_TARGET_DIR/release/vibecoin-faults" strangers ${attacks[@]+"${attacks[@]}"}
