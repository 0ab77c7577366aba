#!/usr/bin/env bash
# A local network for development. `scripts/devnet.sh --help` says how.
set -euo pipefail

usage() {
  cat <<'HELP'
usage: scripts/devnet.sh COMMAND [OPTIONS]

  up        build the node if needed, start the network, wait until it answers, print where it is
  down      stop it: SIGTERM, then SIGKILL after the grace period; the data stays
  restart   down, then up
  status    print the table of nodes; exit 1 unless every node runs
  destroy   down, then delete the data

options
  -v, -n, --validators N   validators (default 1, the only number that works in this version)
  --base-port P            RPC of the first node on port P (default: the first free of 27100, 27110, ...)
  --binary FILE            use this binary instead of building one
  --timeout S              seconds to wait for a node to answer (default 60)
  --grace S                seconds between SIGTERM and SIGKILL (default 15)
  --json                   status: print devnet.json instead of the table

environment
  DEVNET_DIR     where the data is (default: .devnet in the checkout)
  NODES          the same as --validators
  VIBECOIN_BIN   the same as --binary

State is in $DEVNET_DIR/devnet.json. Works twice in a row and from any directory. Only processes that
it started itself are ever signalled: a recorded pid counts only with its start time and boot id.
HELP
}

say() { printf '%s\n' "$*" >&2; }
die() {
  local code=$1
  shift
  say "error: $1"
  [ $# -lt 2 ] || say "hint: $2"
  exit "$code"
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
boot_id=$(cat /proc/sys/kernel/random/boot_id)
poll_s=0.05

# ---- arguments

command=
validators=${NODES:-1}
base_port=
binary=${VIBECOIN_BIN:-}
timeout_s=60
grace_s=15
json=no

number() { # name value least most
  case $2 in
    '' | *[!0-9]* | ????????*) die 2 "$1 wants a number, not '$2'" ;;
  esac
  if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
    die 2 "$1 is $2, allowed is $3 to $4"
  fi
}

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    -v | -n | --validators | --base-port | --binary | --timeout | --grace)
      [ $# -ge 2 ] || die 2 "$1 wants a value"
      case $1 in
        --base-port) base_port=$2 ;;
        --binary) binary=$2 ;;
        --timeout) timeout_s=$2 ;;
        --grace) grace_s=$2 ;;
        *) validators=$2 ;;
      esac
      shift
      ;;
    --json) json=yes ;;
    up | down | restart | status | destroy)
      [ -z "$command" ] || die 2 "one command at a time: $command or $1"
      command=$1
      ;;
    *) die 2 "unknown argument '$1'" "see scripts/devnet.sh --help" ;;
  esac
  shift
done
if [ -z "$command" ]; then
  usage >&2
  exit 2
fi
number --validators "$validators" 1 100
number --timeout "$timeout_s" 1 3600
number --grace "$grace_s" 0 3600
[ -z "$base_port" ] || number --base-port "$base_port" 1 65535
[ "$validators" -eq 1 ] || die 2 "a devnet of $validators validators does not work yet; this version runs one" \
  "leave out -v, or use -v 1"

dir=${DEVNET_DIR:-$here/../.devnet}
case $dir in
  *[\"\\]* | *$'\n'*) die 2 "DEVNET_DIR must not contain quotes, backslashes or line ends" ;;
esac
# Absolute and without `..`, also before it exists.
mkdir -p "$dir" || die 1 "cannot create $dir"
dir=$(cd "$dir" && pwd)
state=$dir/devnet.json

# ---- the one node; a loop over names when there are more

name=validator-0
home=$dir/$name
log=$dir/$name.log

field() { # name: the value of a field of the node's line in devnet.json, empty when absent or null
  [ -f "$state" ] || return 0
  sed -n "/\"name\":\"$name\"/{s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p;}" "$state" | sed 's/^null$//'
}

record() { # pid started rpc: pid and started are null for a stopped node
  local rpc=null
  [ -z "$3" ] || rpc=\"$3\"
  {
    printf '{"version":1,"boot":"%s","nodes":[\n' "$boot_id"
    printf '{"name":"%s","role":"validator","pid":%s,"rpc":%s,"p2p":null,"metrics":null,"home":"%s","log":"%s","started":%s}\n' \
      "$name" "$1" "$rpc" "$home" "$log" "$2"
    printf ']}\n'
  } >"$state.new"
  mv "$state.new" "$state"
}

# When a process started, in clock ticks since boot; empty when it is gone or only waits to be reaped.
started_at() { # pid
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  # The second field is the program's name in brackets and may hold anything: cut behind it.
  read -r -a stat <<<"${stat##*) }"
  case ${stat[0]} in Z | X) return 0 ;; esac
  printf '%s' "${stat[19]}"
}

# The pid of the recorded node if it is still that process; a pid that was given to someone else is not.
running_pid() {
  local pid started
  pid=$(field pid) started=$(field started)
  [ -n "$pid" ] && [ -n "$started" ] || return 0
  grep -qF "\"boot\":\"$boot_id\"" "$state" || return 0
  [ "$(started_at "$pid")" = "$started" ] || return 0
  printf '%s' "$pid"
}

# ---- ports

socket_inode() { # port: inode of the socket that listens on it, empty when the port is free
  local hex
  hex=$(printf '%04X' "$1")
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10; exit }'
}

port_owner() { # inode: a word about who listens
  local link pid
  for link in /proc/[0-9]*/fd/*; do
    if [ "$(readlink "$link" 2>/dev/null)" = "socket:[$1]" ]; then
      pid=${link#/proc/} pid=${pid%%/*}
      printf '%s (pid %s)' "$(cat "/proc/$pid/comm" 2>/dev/null)" "$pid"
      return 0
    fi
  done
  printf 'a process of another user'
}

choose_port() {
  local port inode recorded
  if [ -n "$base_port" ]; then
    inode=$(socket_inode "$base_port")
    [ -z "$inode" ] || die 1 "port $base_port is taken by $(port_owner "$inode")" "choose another --base-port, or leave it out"
    printf '%s' "$base_port"
    return 0
  fi
  # The port of the last run first, so that a URL stays good over a restart.
  recorded=$(field rpc)
  for port in ${recorded##*:} $(seq 27100 10 28090); do
    if [ -z "$(socket_inode "$port")" ]; then
      printf '%s' "$port"
      return 0
    fi
  done
  die 1 "no free port between 27100 and 28090" "use --base-port"
}

# ---- commands

table() {
  local pid rpc
  pid=$(running_pid) rpc=$(field rpc)
  printf '%-12s %-10s %-8s %-24s %s\n' node role pid rpc log
  printf '%-12s %-10s %-8s %-24s %s\n' "$name" validator "${pid:-stopped}" "${rpc:--}" "$log"
}

tail_log() {
  say "--- last lines of $log"
  tail -n 20 "$log" >&2 2>/dev/null || say "(no log)"
}

next_commands() {
  local rpc
  rpc=$(field rpc)
  cat <<NEXT

next
  $binary -u $rpc status
  $binary keys list --home $home
  $binary -u $rpc transfer ADDRESS 1000 --from dev0 --home $home --wait final
  $here/devnet.sh down
NEXT
}

# Waits for the ready line. Prints the RPC address; fails when the node ends or the time is up.
wait_ready() { # pid started
  local deadline=$((SECONDS + timeout_s)) line
  while :; do
    line=$(grep -m 1 '^{.*"event": *"ready"' "$log" 2>/dev/null || true)
    if [ -n "$line" ]; then
      printf '%s' "$line" | sed -n 's/.*"rpc": *"\([^"]*\)".*/\1/p'
      return 0
    fi
    if [ -z "$2" ] || [ "$(started_at "$1")" != "$2" ]; then
      say "error: $name ended before it was ready"
      return 1
    fi
    if [ $SECONDS -ge $deadline ]; then
      say "error: $name was not ready within $timeout_s s"
      return 1
    fi
    sleep "$poll_s"
  done
}

up() {
  local port pid started rpc
  if [ -n "$(running_pid)" ]; then
    say "the devnet is already running"
    [ -n "$binary" ] || binary=vibecoin
    table
    next_commands
    return 0
  fi
  port=$(choose_port)
  [ -n "$binary" ] || binary=$("$here/build.sh" | tail -n 1)
  [ -x "$binary" ] || die 1 "$binary is no program" "build one with scripts/build.sh"

  [ ! -f "$log" ] || mv "$log" "$log.1"
  : >"$log"
  # Its own session, so that Ctrl-C in this terminal does not reach it; without our lock.
  setsid "$binary" node --home "$home" --dev --rpc.port "$port" >>"$log" 2>&1 </dev/null 9>&- &
  pid=$!
  started=$(started_at "$pid")
  record "$pid" "${started:-null}" "http://127.0.0.1:$port"
  if ! rpc=$(wait_ready "$pid" "$started"); then
    stop_node
    tail_log
    exit 1
  fi
  record "$pid" "$started" "$rpc"
  table
  next_commands
}

# Stops the recorded process and no other. Quiet when there is none.
stop_node() {
  local pid deadline
  pid=$(running_pid)
  if [ -n "$pid" ]; then
    kill -TERM "$pid" 2>/dev/null || true
    deadline=$((SECONDS + grace_s))
    while [ "$(running_pid)" = "$pid" ]; do
      if [ $SECONDS -ge $deadline ]; then
        say "$name did not stop within $grace_s s: SIGKILL"
        kill -KILL "$pid" 2>/dev/null || true
        deadline=$((SECONDS + 3600))
      fi
      sleep "$poll_s"
    done
  fi
  [ ! -f "$state" ] || record null null "$(field rpc)"
}

down() {
  local pid
  pid=$(running_pid)
  stop_node
  if [ -n "$pid" ]; then
    say "stopped $name (pid $pid)"
  else
    say "nothing to stop"
  fi
}

status() {
  if [ "$json" = yes ]; then
    if [ -f "$state" ]; then cat "$state"; else printf '{"version":1,"nodes":[]}\n'; fi
  else
    table
  fi
  [ -n "$(running_pid)" ]
}

destroy() {
  if [ ! -f "$state" ]; then
    # A folder without our state file was not made here: never delete it.
    rm -f "$dir/lock"
    rmdir "$dir" 2>/dev/null || die 1 "$dir holds no devnet.json, so it is not a devnet" "nothing was deleted"
    say "nothing to destroy"
    return 0
  fi
  down
  rm -rf "$home" "$log" "$log.1" "$state" "$state.new" "$dir/lock"
  rmdir "$dir" 2>/dev/null || say "kept $dir: it holds files that the devnet did not make"
}

# One command at a time per devnet. `status` only reads and does not wait.
if [ "$command" != status ]; then
  exec 9>"$dir/lock"
  flock 9
fi
case $command in
  up) up ;;
  down) down ;;
  restart)
    down
    up
    ;;
  status) status ;;
  destroy) destroy ;;
esac
