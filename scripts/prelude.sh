#!/usr/bin/env bash
# What the scripts of this folder have in common. Meant to be sourced, first of all, in this form, which finds it from
# any directory and through links:
#
#   . "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"
#
# Sets `scripts` (this folder) and `root` (the checkout), both absolute and without links.
set -euo pipefail

# With it `cd` goes elsewhere than it is told to, and prints where.
unset CDPATH
scripts=$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")
root=$(dirname "$scripts")
export root

say() { printf '%s\n' "$*" >&2; }

# A text as one word of a command that every shell reads. What `printf %q` writes for a letter outside of ASCII under
# LANG=C is read by bash alone.
word() {
  local quote="'\\''"
  case ${1:-} in
    '' | *[!A-Za-z0-9/._+:@%-]*) printf "'%s'" "${1//\'/"$quote"}" ;;
    *) printf '%s' "$1" ;;
  esac
}

# Ends the script: what happened, what to do about it.
die() {
  say "error: $1"
  [ $# -lt 2 ] || say "hint: $2"
  exit 1
}

# The same for arguments that are wrong.
wrong() {
  say "error: $1"
  if [ $# -ge 2 ]; then
    say "hint: $2"
  else
    printf 'hint: see %s --help\n' "$(word "$0")" >&2
  fi
  exit 2
}

# Sets `binary` to the node's program: VIBECOIN_BIN, the one that is given here if it is there, or one that is built now.
find_binary() { # [program]
  if [ -n "${VIBECOIN_BIN:-}" ]; then
    binary=$(type -P -- "$VIBECOIN_BIN" || true)
    [ -n "$binary" ] || die "VIBECOIN_BIN is $VIBECOIN_BIN, which is no program" \
      "unset VIBECOIN_BIN to have one built; this prints its path: env -u VIBECOIN_BIN $(word "$scripts/build.sh")"
  elif [ -f "${1:-}" ] && [ -x "${1:-}" ]; then
    binary=$1
  else
    binary=$("$scripts/build.sh" | tail -n 1)
  fi
}

# Exports DEVNET_DIR, and the folder that needs no mention in hints.
default_devnet() {
  export DEVNET_DIR_DEFAULT="$root/.devnet"
  export DEVNET_DIR="${DEVNET_DIR:-$DEVNET_DIR_DEFAULT}"
}

# Exports DEVNET_DIR and sets `binary` for commands on the devnet. One that runs keeps the program that started it:
# nothing is built under its feet.
find_devnet() { # arguments of the command
  local argument previous=
  default_devnet
  local dir=$DEVNET_DIR
  for argument in "$@"; do
    [ "$previous" != --dir ] || dir=$argument
    case $argument in --dir=*) dir=${argument#--dir=} ;; esac
    previous=$argument
  done
  find_binary "$(sed -n 's/^ *"program": "\(.*\)",\{0,1\}$/\1/p' "$dir/devnet.json" 2>/dev/null || true)"
}

# The scripts with the names that people type: a command of devnet.sh with its own help, which is read from stdin.
forward() { # command, arguments
  local command=$1
  shift
  case ${1:-} in
    -h | --help)
      cat
      printf "The same as 'scripts/devnet.sh %s', whose --help explains every option.\n" "$command"
      exit 0
      ;;
  esac
  exec "$scripts/devnet.sh" "$command" "$@" </dev/null
}

# Starts a chain of one validator that lives as long as the script. Sets `scratch` (a folder that goes with it; the home
# is `node` in it) and `url`. Wants `binary`.
start_dev() {
  unset "${!VIBECOIN__@}"
  unset VIBECOIN_HOME VIBECOIN_URL VIBECOIN_OUTPUT VIBECOIN_PASSWORD
  local line=
  dev_node=
  scratch=$(mktemp -d -t vibecoin-dev-XXXXXX)
  trap stop_dev EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  mkfifo "$scratch/ready"
  "$binary" node --dev --home "$scratch/node" --rpc.port 0 >"$scratch/ready" 2>"$scratch/log" </dev/null &
  dev_node=$!
  # Its ready line, or the end of the file when the node has ended.
  read -r line <"$scratch/ready" || true
  url=$(sed -n 's/.*"rpc":"\([^"]*\)".*/\1/p' <<<"$line")
  if [ -z "$url" ]; then
    tail -n 20 "$scratch/log" >&2
    die "the node ended before it was ready"
  fi
}

# For the trap of start_dev.
stop_dev() {
  local status=$?
  if [ -n "$dev_node" ]; then
    kill "$dev_node" 2>/dev/null || true
    wait "$dev_node" 2>/dev/null || true
  fi
  rm -rf "$scratch"
  exit "$status"
}
