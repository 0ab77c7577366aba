#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Transfers until final beside what two other programs do on the same machine in the same hour.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

rounds=2
secs=30
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      cat <<'HELP'
usage: scripts/bench-peers.sh [--rounds N] [--secs S]

Runs in turns, alone on the machine (about four minutes a round), and prints one line of JSON for each run:

  vibecoin   four validators on this machine: signed transfers over JSON-RPC in batches of 100 until final, at most
             8,000 on their way, every block synced to disk; once more at the end
  anvil      one node, in memory, no consensus, no states of old blocks: transfers in batches of 100 until mined, all
             signed beforehand; once with one block a second, once with five
  etcd       three members, Raft, no signatures, synced to disk: `etcdctl check perf --load xl`, single puts of
             256 + 1,024 bytes by 1,000 clients for 60 s, at most 15,000/s

then the medians and their ratios. Each has the client that suits it, on the same cores, and what the clients take is
printed too. What a minute of a shared machine is good for changes by a factor of two within a day, so read the ratios.

  --rounds N   how often (2)
  --secs S     seconds of load on vibecoin (30); its client signs 400,000 transfers beforehand and the rest beside it

Builds the node with scripts/build.sh, which installs what that takes, unless VIBECOIN_BIN names one. Takes etcd from the
Debian archive, anvil from npm and two packages from PyPI into the cache folder; the system gets npm and python3-venv
where they are absent. ANVIL names a program to use instead.
HELP
      exit 0
      ;;
    --rounds | --secs)
      [[ ${2:-} =~ ^[1-9][0-9]{0,5}$ ]] || wrong "$1 takes a number above 0"
      case $1 in --rounds) rounds=$2 ;; --secs) secs=$2 ;; esac
      shift 2
      ;;
    *)
      wrong "no option $1"
      ;;
  esac
done

# shellcheck source=scripts/native.sh
VIBECOIN_NO_ROCKSDB=1 . "$scripts/native.sh"
find_binary
peers=$VIBECOIN_CACHE/peers
mkdir -p "$peers"

# In `a && b || die` no step runs after one that failed, which `set -e` does not see to inside of it. What was fetched gets
# its name when it is whole.
fetch_etcd() {
  cd "$peers" && rm -rf etcd-*.deb new && apt-get download -q etcd-server etcd-client >&2 \
    && dpkg -x etcd-server_*.deb new && dpkg -x etcd-client_*.deb new && rm -rf etcd-*.deb etcd && mv new etcd
}
fetch_anvil() {
  local archive
  cd "$peers" && rm -rf new && mkdir new \
    && archive=$(npm pack --silent "@foundry-rs/anvil-linux-$(dpkg --print-architecture)@1.7.1") \
    && tar xzf "$archive" -C new && rm -rf "$archive" anvil && mv new anvil
}
if [ ! -x "$peers/etcd/usr/bin/etcd" ] || [ ! -x "$peers/etcd/usr/bin/etcdctl" ]; then
  say "fetching etcd ..."
  (fetch_etcd) || die "cannot fetch etcd" "run: apt-get update"
fi
anvil=$(command -v "${ANVIL:-$peers/anvil/package/bin/anvil}" || true)
if [ -z "$anvil" ]; then
  [ -z "${ANVIL:-}" ] || die "ANVIL is $ANVIL, which is no program" "unset ANVIL to have one fetched"
  command -v npm >/dev/null 2>&1 || need_packages npm
  say "fetching anvil ..."
  (fetch_anvil) || die "cannot fetch anvil" "name the program: export ANVIL=FILE"
  anvil=$peers/anvil/package/bin/anvil
fi
if ! "$peers/venv/bin/python" -c 'import eth_account, coincurve' 2>/dev/null; then
  need_packages python3-venv
  python3 -m venv "$peers/venv"
  "$peers/venv/bin/pip" -q install 'eth-account==0.14.0' 'coincurve==21.0.0' \
    || die "pip could not install eth-account and coincurve" "see what it said above"
fi

exec "$peers/venv/bin/python" "$scripts/bench-peers.py" \
  --vibecoin "$binary" --anvil "$anvil" --etcd "$peers/etcd/usr/bin" --folder "$peers" --rounds "$rounds" --secs "$secs"
