#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Parallel payments from one key, counted. `scripts/reliability/transfers.sh --help` explains.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/../prelude.sh"

help() {
  cat <<'HELP'
usage: scripts/reliability/transfers.sh [--parallel N] [--rounds N]

Starts a chain of one validator on loopback. In each round (10) as many programs as asked for (20) send the same payment
from the same key at the same time, without knowing of each other. Every one of them must end with 0, in a transaction
of its own that the receiver has, or with 4, and the receiver must not have got that one.

Prints a line for each round and a summary. Exit code 1: a payment was lost, made twice, or ended otherwise.

  --parallel N   programs of a round (20)
  --rounds N     rounds (10)

environment
  VIBECOIN_BIN   use this binary instead of building one
HELP
}

parallel=20 rounds=10
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      help
      exit 0
      ;;
    --parallel | --rounds)
      [[ ${2:-} =~ ^[1-9][0-9]{0,3}$ ]] || wrong "$1 takes a number from 1 to 9999"
      case $1 in --parallel) parallel=$2 ;; --rounds) rounds=$2 ;; esac
      shift
      ;;
    *) wrong "unknown argument $1" ;;
  esac
  shift
done
find_binary
start_dev

run() { "$binary" --home "$scratch/node" --url "$url" -o json "$@"; }
balance() { run account show dev1 | sed -n 's/.*"balance":"\([0-9]*\)".*/\1/p'; }

amount=7 paid=0 refused=0 failed=0
for round in $(seq "$rounds"); do
  before=$(balance)
  pids=()
  for i in $(seq "$parallel"); do
    run transfer dev1 "$amount" --from dev4 --allow-unencrypted >"$scratch/$i.out" 2>"$scratch/$i.err" </dev/null &
    pids+=($!)
  done
  ok=0 no=0
  for i in $(seq "$parallel"); do
    status=0
    wait "${pids[i - 1]}" || status=$?
    case $status in
      0) ok=$((ok + 1)) ;;
      4) no=$((no + 1)) ;;
      *)
        failed=$((failed + 1))
        say "round $round, program $i ended with $status: $(tail -n 2 "$scratch/$i.err")"
        ;;
    esac
    # The answers of those that were refused hold no hash of a payment.
    [ "$status" -eq 0 ] || rm -f "$scratch/$i.out"
  done
  hashes=$(cat "$scratch"/*.out 2>/dev/null | sed -n 's/.*"hash":"\(0x[0-9a-f]*\)".*/\1/p' | sort -u | wc -l)
  after=$(balance)
  received=$(((after - before) / amount))
  printf 'round %s: %s sent, %s refused, %s transactions, %s received\n' "$round" "$ok" "$no" "$hashes" "$received"
  if [ "$hashes" -ne "$ok" ] || [ $((after - before)) -ne $((ok * amount)) ]; then
    failed=$((failed + 1))
  fi
  paid=$((paid + received)) refused=$((refused + no))
  rm -f "$scratch"/*.out "$scratch"/*.err
done
printf '%s payments of %s asked for, %s refused by name, %s faults\n' \
  "$paid" $((parallel * rounds)) "$refused" "$failed"
[ "$failed" -eq 0 ] && [ $((paid + refused)) -eq $((parallel * rounds)) ]
