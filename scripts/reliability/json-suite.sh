#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# The inputs of a JSON test suite against a real node. `scripts/reliability/json-suite.sh --help` explains.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/../prelude.sh"

help() {
  cat <<'HELP'
usage: scripts/reliability/json-suite.sh CASES

Starts a chain of one validator on loopback and runs scripts/reliability/json-suite.py on it: every input of the file
CASES goes out over HTTP and over WebSocket. Its form is {"files": {NAME: BASE64, …}}.

Exit code 0: every input was answered on both, equally.

environment
  VIBECOIN_BIN   use this binary instead of building one
HELP
}

[ $# -eq 1 ] || wrong "one argument is needed, the file with the inputs"
case $1 in
  -h | --help)
    help
    exit 0
    ;;
  -*) wrong "unknown argument $1" ;;
esac
[ -r "$1" ] || die "cannot read $1" "name a file that can be read: $(word "$0") CASES"
find_binary
start_dev
python3 "$scripts/reliability/json-suite.py" "$1" "$url"
