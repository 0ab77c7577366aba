#!/usr/bin/env bash
# Transfers until final beside what two other programs do on the same machine in the same hour.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: scripts/bench-peers.sh [--rounds N] [--secs S]

Runs in turns, alone on the machine (about five minutes a round), and prints one line of JSON for each run:

  vibecoin   four validators on this machine: signed transfers over JSON-RPC in batches of 100 until final, at most
             8,000 on their way, every block synced to disk; once more at the end
  anvil      one node, in memory, no consensus, no history: transfers in batches of 100 until mined, all signed
             beforehand; with a block each second, and with five
  etcd       three members, Raft, no signatures, synced to disk: `etcdctl check perf --load xl`, single puts of
             256 + 1,024 bytes by 1,000 clients for 60 s

then the medians and their ratios. Each has the client that suits it, on the same cores, and what the clients take is
printed too. What a minute of a shared machine is good for changes by a factor of two within a day, so read the ratios.

  --rounds N   how often (2)
  --secs S     seconds of load on vibecoin (30)

Builds the node with scripts/build.sh unless VIBECOIN_BIN names one. Takes etcd from the Debian archive, anvil from npm
and two packages from PyPI into the cache folder; the system gets npm and python3-venv where they are absent. ANVIL
names a program to use instead.
HELP
    exit 0
    ;;
esac

# shellcheck source=scripts/native.sh
VIBECOIN_NO_ROCKSDB=1 . "$here/native.sh"
vibecoin=${VIBECOIN_BIN:-$("$here/build.sh" | tail -n 1)}
peers=$VIBECOIN_CACHE/peers
mkdir -p "$peers"

# In `a && b || die` no step runs after one that failed, which `set -e` does not see to inside of it.
fetch_etcd() {
  cd "$peers" && apt-get download -q etcd-server etcd-client >&2 \
    && dpkg -x etcd-server_*.deb . && dpkg -x etcd-client_*.deb . && rm -f etcd-*.deb
}
fetch_anvil() {
  local archive
  cd "$peers" && archive=$(npm pack --silent "@foundry-rs/anvil-linux-$(dpkg --print-architecture)@1.7.1") \
    && tar xzf "$archive" && rm -f "$archive"
}
if [ ! -x "$peers/usr/bin/etcd" ] || [ ! -x "$peers/usr/bin/etcdctl" ]; then
  say "fetching etcd ..."
  (fetch_etcd) || die "cannot fetch etcd" "run: apt-get update"
fi
anvil=${ANVIL:-$peers/package/bin/anvil}
if [ ! -x "$anvil" ]; then
  [ -z "${ANVIL:-}" ] || die "ANVIL is $ANVIL, which is no program" "unset it to have one fetched"
  command -v npm >/dev/null 2>&1 || need_packages npm
  say "fetching anvil ..."
  (fetch_anvil) || die "cannot fetch anvil" "set ANVIL to the program"
fi
if ! "$peers/venv/bin/python" -c 'import eth_account, coincurve' 2>/dev/null; then
  need_packages python3-venv
  python3 -m venv "$peers/venv"
  "$peers/venv/bin/pip" -q install 'eth-account==0.14.0' 'coincurve==21.0.0' \
    || die "pip could not install eth-account and coincurve" "see what it said above"
fi

exec "$peers/venv/bin/python" "$here/bench-peers.py" \
  --vibecoin "$vibecoin" --anvil "$anvil" --etcd "$peers/usr/bin" --folder "$peers" "$@"
