#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Snapshots of the devnet: one is made, or a new node begins with one.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

case ${1:-} in
  '' | -h | --help)
    cat <<'HELP'
usage: scripts/snapshot.sh create [OPTIONS] | sync [OPTIONS]

  create   have the devnet's first node make a snapshot of the newest block; OPTIONS are those of
           `vibecoin snapshot create`: --dir DIR, -o json
  sync     add a node to the devnet that begins with a snapshot: every chunk is verified with the genesis
           file, then the node follows to the head; OPTIONS are those of `vibecoin devnet add-node`

environment
  DEVNET_DIR     where the devnet is (default: .devnet in the checkout)
  VIBECOIN_BIN   use this binary instead of building one
HELP
    [ $# -gt 0 ] || exit 2
    exit 0
    ;;
  create)
    shift
    # Its options are not those of the devnet.
    find_devnet ''
    exec "$binary" --home "$DEVNET_DIR/validator-0" snapshot create "$@"
    ;;
  sync)
    shift
    exec "$scripts/devnet.sh" add-node --from-snapshot "$@"
    ;;
  *) wrong "$1 is neither create nor sync" ;;
esac
