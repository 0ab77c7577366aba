#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Strangers against the listeners of a real node. `scripts/reliability/rpc-strangers.sh --help` says what.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/../prelude.sh"

help() {
  cat <<'HELP'
usage: scripts/reliability/rpc-strangers.sh [--seconds N] [--no-build]

Starts a chain of one validator on loopback and sends to each of its listeners (RPC, admin, metrics) 1,000
sockets that stay silent, 1,000 that send a byte a second and 200 that speak HTTP/2, for N seconds (default
60), while an honest caller asks on a new connection each time. Prints for each listener the honest p99 and
how many sockets were closed within their deadline.

Exit code 0: every honest p99 is at most 100 ms and no socket outlived its deadline. Needs about 7,000 file
descriptors for the strangers; the node keeps its own limit.
HELP
}

seconds=60 build=yes
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      help
      exit 0
      ;;
    --seconds)
      [ $# -ge 2 ] || wrong "--seconds needs a number"
      seconds=$2
      shift
      ;;
    --no-build) build=no ;;
    *) wrong "unknown argument $1" ;;
  esac
  shift
done

cd "$root"
unset "${!VIBECOIN__@}"
# shellcheck source=scripts/native.sh
. scripts/native.sh
if [ "$build" = yes ]; then
  cargo build --release --locked -p vibecoin-cli --bin vibecoin
  cargo build --release --locked -p vibecoin-rpc-server --example strangers
fi

home=$(mktemp -d)
node=
stop() {
  if [ -n "$node" ]; then
    kill "$node" 2>/dev/null || true
    wait "$node" 2>/dev/null || true
  fi
  rm -rf "$home"
}
trap stop EXIT

"$CARGO_TARGET_DIR/release/vibecoin" node --dev --home "$home/node" --rpc.port 0 \
  --metrics.listen 127.0.0.1:0 --admin.listen 127.0.0.1:0 >"$home/ready" 2>"$home/log" &
node=$!
# The node's ready line, or its end.
until grep -q '"event":"ready"' "$home/ready"; do
  kill -0 "$node" 2>/dev/null || {
    tail -n 20 "$home/log" >&2
    die "the node ended before it was ready"
  }
  sleep 0.1
done
of() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$home/ready"; }
head_of() {
  "$CARGO_TARGET_DIR/release/vibecoin" --url "$(of rpc)" -o json status | sed -n 's/.*"head":{[^}]*"height":"\([0-9]*\)".*/\1/p'
}
resident() { awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$node/status"; }

before=$(resident)
first=$(head_of)
ulimit -S -n 16384 || die "the strangers need 16,384 file descriptors" "raise the hard limit, as root: ulimit -H -n 16384"
verdict=0
"$CARGO_TARGET_DIR/release/examples/strangers" "$(of rpc)" "$(of admin)" "$(of metrics)" "$seconds" || verdict=1
last=$(head_of)
printf 'node     %s to %s MiB resident, height %s to %s\n' "$before" "$(resident)" "$first" "$last"
[ "$verdict" = 0 ] || die "a figure was missed"
