#!/usr/bin/env bash
# What scripts/devnet.sh promises, against a stand-in for the node: no build and no network needed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
devnet=$here/../devnet.sh
scratch=$(mktemp -d)
export DEVNET_DIR="$scratch/net" VIBECOIN_BIN="$scratch/vibecoin" STAND_IN_MODE=good
unset NODES
passed=0

cleanup() {
  "$devnet" down --grace 0 >/dev/null 2>&1 || true
  rm -rf "$scratch"
}
trap cleanup EXIT

cat >"$VIBECOIN_BIN" <<'NODE'
#!/usr/bin/env bash
while [ $# -gt 0 ]; do case $1 in --rpc.port) port=$2 ;; --home) home=$2 ;; esac; shift; done
mkdir -p "$home" && echo kept >>"$home/data"
[ "$STAND_IN_MODE" != dies ] || { echo "error: the disk is made of cheese" >&2; exit 21; }
[ "$STAND_IN_MODE" != mute ] || exec sleep 1000
[ "$STAND_IN_MODE" != stubborn ] || trap '' TERM
[ "$STAND_IN_MODE" = stubborn ] || trap 'exit 0' TERM
echo '{"chainId":"x","event":"ready","rpc":"http://127.0.0.1:'"$port"'","genesisHash":"0x00","height":0}'
while :; do sleep 0.05; done
NODE
chmod +x "$VIBECOIN_BIN"

ok() { passed=$((passed + 1)); }
fail() {
  printf 'FAILED: %s\n' "$1" >&2
  exit 1
}
expect() { # exit code, words in the output, then the command
  local code=$1 words=$2 out status=0
  shift 2
  out=$("$@" 2>&1) || status=$?
  [ "$status" = "$code" ] || fail "$* ended with $status instead of $code: $out"
  case $out in *"$words"*) ok ;; *) fail "$* did not say '$words': $out" ;; esac
}
pid() { sed -n 's/.*"pid":\([0-9]*\),.*/\1/p' "$DEVNET_DIR/devnet.json"; }
alive() { [ -d "/proc/$1" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status"; }

# Nothing is there yet.
expect 1 stopped "$devnet" status
expect 0 'nothing to stop' "$devnet" down
expect 0 'nothing to destroy' "$devnet" destroy

# Up, twice, from another directory; status; down, twice; the data stays.
cd /
expect 0 'next' "$devnet" up
first=$(pid)
alive "$first" || fail "the node does not run"
expect 0 'already running' "$devnet" up
[ "$(pid)" = "$first" ] || fail "a second up started a second node"
expect 0 "$first" "$devnet" status
expect 0 '"role":"validator"' "$devnet" status --json
expect 0 "stopped validator-0 (pid $first)" "$devnet" down
! alive "$first" || fail "the node outlived down"
expect 0 'nothing to stop' "$devnet" down
expect 0 'next' "$here/../start-devnet.sh"
[ "$(wc -l <"$DEVNET_DIR/validator-0/data")" = 2 ] || fail "the second start has other data"
second=$(pid)
expect 0 'stopped' "$devnet" restart
[ "$(pid)" != "$second" ] || fail "restart kept the process"
expect 0 'stopped' "$here/../stop-devnet.sh"

# A pid that belongs to someone else now is not touched.
expect 0 'next' "$devnet" up
node=$(pid)
sleep 1000 &
stranger=$!
sed -i "s/\"pid\":$node/\"pid\":$stranger/" "$DEVNET_DIR/devnet.json"
expect 0 'nothing to stop' "$devnet" down
alive "$stranger" || fail "down killed a stranger"
kill "$stranger" "$node"

# A node that ignores SIGTERM is killed after the grace period.
export STAND_IN_MODE=stubborn
expect 0 'next' "$devnet" up
stubborn=$(pid)
expect 0 'SIGKILL' "$devnet" down --grace 1
! alive "$stubborn" || fail "a stubborn node outlived down"

# A node that dies at start, and one that never answers, are reported with their log.
export STAND_IN_MODE=dies
expect 1 'made of cheese' "$devnet" up
expect 1 'stopped' "$devnet" status
export STAND_IN_MODE=mute
expect 1 'not ready within 1 s' "$devnet" up --timeout 1 --grace 1
export STAND_IN_MODE=good

# Bad arguments.
expect 2 'does not work yet' "$devnet" up -v 4
expect 2 'wants a number' "$devnet" up -v many
expect 2 'unknown argument' "$devnet" up --frobnicate
expect 2 'usage' "$devnet"
expect 0 'usage' "$devnet" --help

# destroy removes what it made and nothing else.
expect 0 'next' "$devnet" up
touch "$DEVNET_DIR/mine"
expect 0 'kept' "$devnet" destroy
[ -f "$DEVNET_DIR/mine" ] || fail "destroy removed a file that the devnet did not make"
expect 1 'not a devnet' "$devnet" destroy
rm "$DEVNET_DIR/mine"
expect 0 'nothing to destroy' "$devnet" destroy
[ ! -e "$DEVNET_DIR" ] || fail "destroy left its folder"

printf 'devnet.sh: %s checks passed\n' "$passed"
