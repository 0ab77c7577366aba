#!/usr/bin/env bash
# Transfers until final beside what two other programs do on the same machine in the same hour.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rounds=2
secs=30

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      cat <<'HELP'
usage: scripts/bench-peers.sh [--rounds N] [--secs S]

Runs in turns, N times, alone on the machine (about three minutes a round), and prints one line for each:

  vibecoin      four validators on this machine, signed transfers over JSON-RPC in batches of 100 until final
                on all, at most 8,000 on their way, with every block synced to disk
  anvil         one node, in memory, no consensus: the same batches of 100, signed beforehand, until mined; once
                with a block as soon as there is a transfer, once with a block each second
  etcd          three members, Raft, no signatures, synced to disk: `etcdctl check perf --load xl`, puts of
                256 + 1,024 bytes from 1,000 clients for 60 s (it asks for 15,000/s and says so)

then the medians and their ratio. What a minute can do on a shared machine changes by a factor of two within a
day, so only the ratio means something elsewhere.

  --rounds N    how often (2)
  --secs S      seconds of load on vibecoin (30)

Takes etcd from the Debian archive and anvil from npm into the cache folder; installs nothing on the system but
npm and python3-venv where they are absent. ANVIL names a program to use instead, VIBECOIN_BIN a node.
HELP
      exit 0
      ;;
    --rounds | --secs)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || {
        printf 'error: %s takes a number above 0\nhint: see scripts/bench-peers.sh --help\n' "$1" >&2
        exit 2
      }
      case $1 in --rounds) rounds=$2 ;; --secs) secs=$2 ;; esac
      shift 2
      ;;
    *)
      printf 'error: no option %s\nhint: see scripts/bench-peers.sh --help\n' "$1" >&2
      exit 2
      ;;
  esac
done

. "$here/native.sh"
vibecoin=${VIBECOIN_BIN:-$("$here/build.sh" | tail -n 1)}
peers=$VIBECOIN_CACHE/peers
mkdir -p "$peers"

if [ ! -x "$peers/usr/bin/etcd" ] || [ ! -x "$peers/usr/bin/etcdctl" ]; then
  say "fetching etcd ..."
  (
    cd "$peers"
    apt-get download -q etcd-server etcd-client >&2
    for package in etcd-*.deb; do dpkg -x "$package" .; done
    rm -f etcd-*.deb
  ) || die "cannot fetch etcd" "run: apt-get update"
fi
if [ -z "${ANVIL:-}" ]; then
  ANVIL=$peers/package/bin/anvil
  if [ ! -x "$ANVIL" ]; then
    command -v npm >/dev/null 2>&1 || need_packages npm
    say "fetching anvil ..."
    (
      cd "$peers"
      tar xzf "$(npm pack --silent @foundry-rs/anvil-linux-amd64@1.7.1)"
      rm -f foundry-rs-anvil-*.tgz
    ) || die "cannot fetch anvil" "set ANVIL to the program"
  fi
fi
if [ ! -x "$peers/venv/bin/python" ]; then
  need_packages python3-venv
  python3 -m venv "$peers/venv"
fi
"$peers/venv/bin/python" -c 'import eth_account, coincurve' 2>/dev/null \
  || "$peers/venv/bin/pip" -q install 'eth-account==0.14.0' 'coincurve==21.0.0' \
  || die "pip could not install eth-account and coincurve" "see what it said above"

work=$(mktemp -d)
members=()
ended() {
  [ ${#members[@]} -eq 0 ] || kill "${members[@]}" 2>/dev/null || true
  [ ! -f "$work/devnet/devnet.json" ] || DEVNET_DIR=$work/devnet "$vibecoin" devnet destroy >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap ended EXIT

bench_vibecoin() {
  export DEVNET_DIR=$work/devnet
  "$vibecoin" devnet up -v 4 -n 0 --base-port 28100 >/dev/null 2>&1
  "$vibecoin" -o json devnet load --tps 0 --accounts 2000 --secs "$secs" --batch 100 --in-flight 8000 \
    2>/dev/null | tail -n 1 | python3 -c '
import json, sys
told = json.load(sys.stdin)
print(json.dumps({"peer": "vibecoin", "transfers": told["included"], "transfersPerSecond": round(told["transfersPerSecond"]),
                  "cpuUsPerTransfer": round(told["cpuUsPerTransfer"])}))'
  "$vibecoin" devnet destroy >/dev/null 2>&1
}

bench_anvil() {
  "$peers/venv/bin/python" "$here/bench-peers.py" --anvil "$ANVIL" "$@"
}

bench_etcd() {
  local cluster=a=http://127.0.0.1:28381,b=http://127.0.0.1:28382,c=http://127.0.0.1:28383
  local clients=http://127.0.0.1:28371,http://127.0.0.1:28372,http://127.0.0.1:28373
  local number=1 name told busy=0 ticks member tries=0
  export ETCDCTL_API=3
  members=()
  for name in a b c; do
    "$peers/usr/bin/etcd" --name "$name" --data-dir "$work/etcd-$name" --log-level error \
      --listen-peer-urls "http://127.0.0.1:2838$number" --initial-advertise-peer-urls "http://127.0.0.1:2838$number" \
      --listen-client-urls "http://127.0.0.1:2837$number" --advertise-client-urls "http://127.0.0.1:2837$number" \
      --initial-cluster "$cluster" --initial-cluster-state new >>"$work/etcd.log" 2>&1 &
    members+=($!)
    number=$((number + 1))
  done
  until "$peers/usr/bin/etcdctl" --endpoints "$clients" endpoint health >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || die "the three members of etcd do not answer: $(tail -n 1 "$work/etcd.log")"
  done
  # Its exit code tells whether 15,000/s were reached, which is not what is asked here.
  "$peers/usr/bin/etcdctl" --endpoints "$clients" check perf --load xl >"$work/etcd.told" 2>&1 || true
  for member in "${members[@]}"; do
    ticks=$(awk '{print $14 + $15}' "/proc/$member/stat")
    busy=$((busy + ticks))
  done
  told=$(tr '\r' '\n' <"$work/etcd.told" | sed -n 's/.*hroughput[^0-9]*\([0-9]*\) writes.*/\1/p' | tail -n 1)
  [ -n "$told" ] || die "etcdctl check perf told no figure: $(tail -n 1 "$work/etcd.told")"
  printf '{"peer": "etcd", "transfers": %d, "transfersPerSecond": %d, "cpuUsPerTransfer": %d}\n' \
    "$((told * 60))" "$told" "$((busy * 1000000 / $(getconf CLK_TCK) / (told * 60)))"
  kill "${members[@]}"
  wait "${members[@]}" 2>/dev/null || true
  members=()
  rm -rf "$work"/etcd-?
}

for ((round = 1; round <= rounds; round++)); do
  say "round $round of $rounds"
  bench_vibecoin | tee -a "$work/told"
  bench_anvil | tee -a "$work/told"
  bench_anvil --block-time 1 | tee -a "$work/told"
  bench_etcd | tee -a "$work/told"
done
bench_vibecoin | tee -a "$work/told"

python3 - "$work/told" <<'TABLE'
import json, statistics, sys
told = {}
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    name = row["peer"] + (f", a block each {row['blockTime']} s" if row.get("blockTime") else "")
    told.setdefault(name, []).append(row)
median = lambda rows, what: statistics.median(row[what] for row in rows)
own = median(told["vibecoin"], "transfersPerSecond")
print(f"{'':28}{'runs':>6}{'per second':>12}{'CPU us each':>13}{'vibecoin is':>13}")
for name, rows in told.items():
    rate = median(rows, "transfersPerSecond")
    print(f"{name:28}{len(rows):>6}{rate:>12,.0f}{median(rows, 'cpuUsPerTransfer'):>13,.0f}{own / rate:>12.2f}x")
TABLE
