#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Builds the node. `scripts/build.sh --help` says how.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

case ${1:-} in
  '') ;;
  -h | --help)
    cat <<'HELP'
usage: scripts/build.sh

Installs what the build needs (through apt-get, as root or with sudo), builds the binary `vibecoin`
in release mode and prints its path as the last line of stdout. Everything else goes to stderr.

The first run compiles RocksDB into a cache, which takes about four minutes on two cores;
later runs and other clones link what is there.

  CARGO_TARGET_DIR   where the build goes (default: $VIBECOIN_CACHE/target)
  VIBECOIN_CACHE     the cache (default: ${XDG_CACHE_HOME:-$HOME/.cache}/vibecoin)
  VIBECOIN_BIN       the program that the other scripts use. A build of another one is refused: nothing would use it
HELP
    exit 0
    ;;
  *)
    wrong "unknown argument $1"
    ;;
esac

# Before anything is installed. Home and path are those of scripts/native.sh.
if [ -z "${HOME:-}" ]; then
  HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
  export HOME
fi
target=${CARGO_TARGET_DIR:-${VIBECOIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vibecoin}/target}
if [ -n "${VIBECOIN_BIN:-}" ]; then
  named=$(type -P -- "$VIBECOIN_BIN" || printf '%s' "$VIBECOIN_BIN")
  if [ "$(readlink -m -- "$named")" != "$(readlink -m -- "$target/release/vibecoin")" ]; then
    die "VIBECOIN_BIN is $VIBECOIN_BIN, which the scripts use instead of what is built here" \
      "unset VIBECOIN_BIN, or build one all the same: env -u VIBECOIN_BIN $(word "$0")"
  fi
fi

# shellcheck source=scripts/native.sh
. "$scripts/native.sh"

cd "$vibecoin_root"
cargo build --release --locked -p vibecoin-cli >&2
binary=$CARGO_TARGET_DIR/release/vibecoin
[ -x "$binary" ] || die "the build ended well, but there is no $binary"
printf '%s\n' "$binary"
