#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Commands that are killed at random times of their start. `scripts/reliability/kills.sh --help` explains.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/../prelude.sh"

help() {
  cat <<'HELP'
usage: scripts/reliability/kills.sh [--kills N] [--seed S] [COMMAND...]

Starts a command, kills it at a time that is uniformly random in its first second, and N times (2000) in all checks that
the same command works when it is given again, that every process of the devnet is one that the devnet knows, and that
no file is left half written. COMMAND is one or more of these, which take turns; all of them without a name:

  init       vibecoin init --validator with a genesis file
  dev        vibecoin node --dev with a temporary home; every second time with SIGTERM, after which the exit code is 0
  home       vibecoin node --dev with a home of its own
  up         vibecoin devnet up
  add-node   vibecoin devnet add-node
  testnet    vibecoin testnet generate

Prints a line every ten seconds and a table at the end. Exit code 1: a check failed; the first five folders in which one
did are kept, and named. 2,000 kills take about an hour and a half on two cores.

  --kills N   number of kills (2000)
  --seed S    of the random times; the time of day without it

environment
  VIBECOIN_BIN   use this binary instead of building one
  TMPDIR         where the folders are made (/tmp)
HELP
}

kills=2000 seed=$(date +%s) commands=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      help
      exit 0
      ;;
    --kills | --seed)
      [[ ${2:-} =~ ^[0-9]{1,9}$ ]] || wrong "$1 takes a number"
      case $1 in --kills) kills=$2 ;; --seed) seed=$2 ;; esac
      shift
      ;;
    init | dev | home | up | add-node | testnet) commands+=("$1") ;;
    *) wrong "no command $1" ;;
  esac
  shift
done
[ ${#commands[@]} -gt 0 ] || commands=(init dev home up add-node testnet)

find_binary
unset "${!VIBECOIN__@}" DEVNET_DIR NODES
scratch=$(mktemp -d -t vibecoin-kills-XXXXXX)
# A path of its own, by which its processes are told from all others.
cp "$binary" "$scratch/vibecoin"
binary=$scratch/vibecoin
export TMPDIR=$scratch/tmp
mkdir "$TMPDIR"
RANDOM=$((seed % 32768))

declare -A done_count=() hit_count=() again_failed=() unknown=() left=()
kept=0 total=0 began=$SECONDS reported=$SECONDS

# shellcheck disable=SC2317 # the trap below calls it
finish() {
  local status=$?
  stop_net
  # Whatever this script started and could not stop.
  processes | while read -r pid; do kill -9 "$pid" 2>/dev/null || true; done
  [ "$kept" -gt 0 ] || rm -rf "$scratch"
  exit "$status"
}

# Processes of the binary under test.
processes() { pgrep -f -- "^$binary " || true; }

# Keeps the folder of a failed check, and says what failed.
fault() { # command, what, folder
  printf 'FAILED: %s (kill %s of seed %s): %s\n' "$1" "$total" "$seed" "$2"
  if [ "$kept" -lt 5 ] && [ -e "$3" ]; then
    kept=$((kept + 1))
    mkdir -p "$scratch/kept"
    cp -r "$3" "$scratch/kept/$1-$total"
    printf '        kept in %s\n' "$scratch/kept/$1-$total"
  fi
}

# Runs a command and kills it within its first second. Sets `ended` to its exit code.
hit() { # command, signal, arguments
  local name=$1 signal=$2 pid ms
  shift 2
  ms=$((RANDOM * 1000 / 32768))
  "$binary" "$@" >"$scratch/first.out" 2>"$scratch/first.err" </dev/null &
  pid=$!
  sleep "$(printf '0.%03d' "$ms")"
  if kill -"$signal" "$pid" 2>/dev/null; then hit_count[$name]=$((${hit_count[$name]:-0} + 1)); fi
  ended=0
  # The shell's word about the kill is not for the reader.
  { wait "$pid" || ended=$?; } 2>/dev/null
}

# Runs the same command again, which must work.
again() { # command, folder, arguments
  local name=$1 folder=$2 status=0
  shift 2
  timeout 120 "$binary" "$@" >"$scratch/next.out" 2>"$scratch/next.err" </dev/null || status=$?
  [ "$status" -eq 0 ] && return 0
  again_failed[$name]=$((${again_failed[$name]:-0} + 1))
  fault "$name" "the next command ended with $status: $(tail -n 3 "$scratch/next.err")" "$folder"
  return 1
}

# Starts a node, waits for its ready line and stops it in order.
node_again() { # command, folder, arguments
  local name=$1 folder=$2 pid line='' status=0
  shift 2
  rm -f "$scratch/ready"
  mkfifo "$scratch/ready"
  "$binary" "$@" >"$scratch/ready" 2>"$scratch/next.err" </dev/null &
  pid=$!
  read -r -t 60 line <"$scratch/ready" || true
  kill -TERM "$pid" 2>/dev/null || true
  { wait "$pid" || status=$?; } 2>/dev/null
  case $line in *'"event":"ready"'*) [ "$status" -ne 0 ] || return 0 ;; esac
  again_failed[$name]=$((${again_failed[$name]:-0} + 1))
  fault "$name" "the next node ended with $status and said '$line': $(tail -n 3 "$scratch/next.err")" "$folder"
  return 1
}

# No file that is not whole: neither a temporary one nor an empty one, outside of the database's own folder.
whole() { # command, folder
  local found
  found=$(find "$2" -name db -prune -o \( -name '*.tmp' -o -name '*.new' -o -name '.vibecoin-*' -o -name '*.unfinished' \
    -o -type f -empty ! -name '*.log' ! -name '*.log.1' ! -name .temporary \) -print 2>/dev/null | head -n 5)
  [ -n "$found" ] || return 0
  left[$1]=$((${left[$1]:-0} + 1))
  fault "$1" "left: $found" "$2"
}

# Every process of the devnet is recorded, and every recorded one is there.
known() { # command, folder
  local recorded running
  recorded=$(sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' "$2/devnet.json" | sort -n)
  running=$(processes | sort -n)
  [ "$recorded" != "$running" ] || return 0
  unknown[$1]=$((${unknown[$1]:-0} + 1))
  fault "$1" "recorded: ${recorded//$'\n'/ }; running: ${running//$'\n'/ }" "$2"
}

# The devnet is gone, with its processes and its folder.
destroyed() { # command, folder
  again "$1" "$2" devnet --dir "$2" destroy --grace 5 || true
  if [ -e "$2" ]; then
    left[$1]=$((${left[$1]:-0} + 1))
    fault "$1" "destroy left: $(find "$2" | head -n 5)" "$2"
    rm -rf "$2"
  fi
  [ -n "$(processes)" ] || return 0
  unknown[$1]=$((${unknown[$1]:-0} + 1))
  fault "$1" "after destroy: $(pgrep -af -- "^$binary ")" "$2"
  processes | while read -r pid; do kill -9 "$pid" 2>/dev/null || true; done
}

run_init() {
  local home=$scratch/init
  hit init KILL init --home "$home" --validator --allow-unencrypted --genesis "$scratch/genesis.toml"
  again init "$home" init --home "$home" --validator --allow-unencrypted --genesis "$scratch/genesis.toml" || true
  whole init "$home"
  rm -rf "$home"
}

run_dev() {
  local signal=KILL
  [ $((${done_count[dev]:-0} % 2)) -eq 0 ] || signal=TERM
  hit dev "$signal" node --dev --rpc.port 0
  if [ "$signal" = TERM ]; then
    # Before its first instruction a process cannot take a signal; it has made nothing then.
    if [ "$ended" -ne 0 ] && { [ "$ended" -ne 143 ] || [ -n "$(ls -A "$TMPDIR")" ]; }; then
      again_failed[dev]=$((${again_failed[dev]:-0} + 1))
      fault dev "SIGTERM ended it with $ended: $(tail -n 3 "$scratch/first.err")" "$TMPDIR"
    fi
  fi
  node_again dev "$TMPDIR" node --dev --rpc.port 0 || true
  # A folder that was not marked yet stays for a minute.
  find "$TMPDIR" -name .temporary.new -delete
  find "$TMPDIR" -mindepth 1 -maxdepth 1 -type d -empty -delete
  if [ -n "$(ls -A "$TMPDIR")" ]; then
    left[dev]=$((${left[dev]:-0} + 1))
    fault dev "left: $(ls -A "$TMPDIR")" "$TMPDIR"
    find "$TMPDIR" -mindepth 1 -delete
  fi
}

run_home() {
  local home=$scratch/home
  hit home KILL node --dev --home "$home" --rpc.port 0
  node_again home "$home" node --dev --home "$home" --rpc.port 0 || true
  whole home "$home"
  rm -rf "$home"
}

run_up() {
  local dir=$scratch/up
  hit up KILL devnet --dir "$dir" up -v 2 -n 1
  if again up "$dir" devnet --dir "$dir" up -v 2 -n 1; then
    known up "$dir"
    whole up "$dir"
  fi
  destroyed up "$dir"
}

run_add_node() {
  local dir=$scratch/net
  if [ ! -e "$dir" ]; then
    again add-node "$dir" devnet --dir "$dir" up -v 1 -n 0 || return 0
  fi
  hit add-node KILL devnet --dir "$dir" add-node
  if again add-node "$dir" devnet --dir "$dir" add-node && again add-node "$dir" devnet --dir "$dir" up; then
    known add-node "$dir"
    whole add-node "$dir"
  fi
  [ "$(grep -c '"peerId"' "$dir/devnet.json")" -lt 5 ] || stop_net
}

# Ends the devnet that nodes are added to.
stop_net() {
  [ ! -e "$scratch/net" ] || destroyed add-node "$scratch/net"
}

run_testnet() {
  local out=$scratch/testnet
  hit testnet KILL testnet generate -v 4 -n 1 -o "$out" --seed 1 --time-ms 1700000000000 --format compose
  if again testnet "$out" testnet generate -v 4 -n 1 -o "$out.whole" --seed 1 --time-ms 1700000000000 --format compose; then
    if [ ! -e "$out/network.json" ]; then
      again testnet "$out" testnet generate -v 4 -n 1 -o "$out" --seed 1 --time-ms 1700000000000 --format compose || true
    fi
    if ! diff -r "$out" "$out.whole" >"$scratch/diff" 2>&1; then
      left[testnet]=$((${left[testnet]:-0} + 1))
      fault testnet "not the same files: $(head -n 3 "$scratch/diff")" "$out"
    fi
  fi
  rm -rf "$out" "$out.whole"
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$binary" testnet generate -v 1 -o "$scratch/genesis" --seed 1 >/dev/null
cp "$scratch/genesis/genesis.toml" "$scratch/genesis.toml"
printf 'scripts/reliability/kills.sh --kills %s --seed %s %s\n' "$kills" "$seed" "${commands[*]}"
while [ "$total" -lt "$kills" ]; do
  command=${commands[total % ${#commands[@]}]}
  total=$((total + 1))
  case $command in
    init) run_init ;;
    dev) run_dev ;;
    home) run_home ;;
    up) run_up ;;
    testnet) run_testnet ;;
    # The devnet of `add-node` is gone before other commands look for processes that are not recorded.
    add-node)
      run_add_node
      [ ${#commands[@]} -eq 1 ] || stop_net
      ;;
  esac
  done_count[$command]=$((${done_count[$command]:-0} + 1))
  if [ $((SECONDS - reported)) -ge 10 ]; then
    reported=$SECONDS
    printf '%5s s: %s of %s kills\n' $((SECONDS - began)) "$total" "$kills"
  fi
done
stop_net

status=0
printf '\n%-10s %8s %12s %14s %12s %12s\n' command kills 'while it ran' 'next failed' unrecorded 'files left'
for command in "${commands[@]}"; do
  failed=${again_failed[$command]:-0} strays=${unknown[$command]:-0} files=${left[$command]:-0}
  printf '%-10s %8s %12s %14s %12s %12s\n' \
    "$command" "${done_count[$command]:-0}" "${hit_count[$command]:-0}" "$failed" "$strays" "$files"
  [ $((failed + strays + files)) -eq 0 ] || status=1
done
printf '%s s, seed %s\n' $((SECONDS - began)) "$seed"
exit $status
