#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# A transfer between accounts of the devnet.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

case ${1:-} in
  '' | -h | --help)
    cat <<'HELP'
usage: scripts/send.sh TO AMOUNT [--from KEY] [OPTIONS]

Sends money from dev0, or from another key of the devnet's first node, and waits until it is final.
TO is an address or the name of a key (dev1). Everything else is passed on to `vibecoin transfer`.

environment
  DEVNET_DIR     where the devnet is (default: .devnet in the checkout)
  VIBECOIN_BIN   use this binary instead of building one
HELP
    [ $# -gt 0 ] || exit 2
    exit 0
    ;;
esac

from=(--from dev0)
for argument in "$@"; do
  case $argument in --from | --from=*) from=() ;; esac
done
find_devnet "$@"
exec "$binary" --home "$DEVNET_DIR/validator-0" transfer "$@" \
  ${from[@]+"${from[@]}"} --allow-unencrypted
