#!/usr/bin/env bash
# Makes sure that what the build needs from the system is there, and exports where it is.
# Meant to be sourced: `. scripts/native.sh`. Everything it compiles goes into the cache folder,
# never into the checkout, so a second clone does not pay for RocksDB again.
#
#   VIBECOIN_CACHE     cache folder (default: ${XDG_CACHE_HOME:-$HOME/.cache}/vibecoin)
#   CARGO_TARGET_DIR   target folder (default: $VIBECOIN_CACHE/target)
#   VIBECOIN_NO_ROCKSDB=1   leave RocksDB out, for what does not link it (the fuzzers)
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $1"
  [ $# -lt 2 ] || say "hint: $2"
  exit 1
}

if [ -z "${HOME:-}" ]; then
  HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
  export HOME
fi
vibecoin_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache_home=${XDG_CACHE_HOME:-$HOME/.cache}
VIBECOIN_CACHE=${VIBECOIN_CACHE:-$cache_home/vibecoin}
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$VIBECOIN_CACHE/target}
mkdir -p "$VIBECOIN_CACHE" "$CARGO_TARGET_DIR" || die "cannot create $VIBECOIN_CACHE and $CARGO_TARGET_DIR" \
  "name a folder that can be made: export VIBECOIN_CACHE=DIR CARGO_TARGET_DIR=DIR/target"
# Absolute, because cargo runs in other folders than the caller's.
VIBECOIN_CACHE=$(cd "$VIBECOIN_CACHE" && pwd)
CARGO_TARGET_DIR=$(cd "$CARGO_TARGET_DIR" && pwd)
export VIBECOIN_CACHE CARGO_TARGET_DIR
unset CARGO_BUILD_TARGET CARGO_BUILD_TARGET_DIR

# Installs Debian packages that are missing: as root, through sudo, or with a clear word.
need_packages() {
  local missing=() package
  if ! command -v dpkg-query >/dev/null 2>&1; then
    say "note: not a Debian system; expecting what these packages hold: $*"
    return 0
  fi
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local install=(apt-get install -y --no-install-recommends "${missing[@]}") as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }; then
      die "missing packages: ${missing[*]}" "run: sudo ${install[*]}"
    fi
    as_root=(sudo)
  fi
  say "installing: ${missing[*]}"
  # A list of packages that cannot be refreshed may still be good enough to install from.
  "${as_root[@]}" apt-get update -q >&2 || say "warning: apt-get update failed; trying with the lists at hand"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" >&2 \
    || die "apt-get could not install: ${missing[*]}" "run: sudo ${install[*]}"
}

need_cargo() {
  if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    export PATH
  fi
  command -v cargo >/dev/null 2>&1 || die "cargo is not installed" "install Rust 1.95 or newer from https://rustup.rs"
}

# The static library in the cache and its headers; run under `set -e` in a subshell, with the lock held.
#
# A unity build: the crate's C++ files are gathered, in their order, into eight that include them. Headers are
# read eight times instead of 342, which is where the time went. The crate's own build script compiles them,
# from a copy, so flags and defines are its own on every kind of machine.
build_rocksdb() {
  local lib=$1 scratch=$VIBECOIN_CACHE/rocksdb-build features source archives
  unset ROCKSDB_LIB_DIR ROCKSDB_STATIC ROCKSDB_INCLUDE_DIR
  cd "$vibecoin_root"
  # A scratch folder from an interrupted run may hold a library of another version.
  rm -rf "$scratch" "$lib.new"
  source=$(cargo metadata --locked --format-version 1 \
    | grep -o '"manifest_path":"[^"]*/librocksdb-sys-[^"/]*/Cargo.toml"' | head -n 1 | cut -d'"' -f4)
  source=$(dirname "$source")
  features=$(sed -n 's/^rocksdb = .*features = \[\(.*\)\].*/\1/p' Cargo.toml | tr -d '" ')
  mkdir -p "$scratch"
  cp -r "$source" "$scratch/crate"
  cp Cargo.lock "$scratch/crate/Cargo.lock"
  cd "$scratch/crate"
  printf '\n[workspace]\n' >>Cargo.toml
  unity_sources rocksdb_lib_sources.txt rocksdb 8
  # Not --locked: the lock file is the node's, and cargo takes from it what this one crate needs.
  CARGO_TARGET_DIR=$scratch/target cargo --config "$vibecoin_root/.cargo/config.toml" build --release \
    --no-default-features --features "$features" >&2
  archives=("$scratch"/target/release/build/librocksdb-sys-*/out/librocksdb.a)
  [ -f "${archives[0]}" ] || die "cargo built librocksdb-sys, but no librocksdb.a"
  mkdir -p "$lib.new"
  cp "${archives[0]}" "$lib.new/"
  cp -r rocksdb/include "$lib.new/include"
  cd "$vibecoin_root"
  rm -rf "$lib"
  mv "$lib.new" "$lib"
  rm -rf "$scratch"
}

# Replaces the list of C++ files by as many files as asked for that include them, cut in order.
unity_sources() { # list, folder that its names start from, count
  local list=$1 folder=$2 count=$3 total unit=0 line=0 name
  # The crate brings a version of build_version.cc of its own.
  grep -v '^util/build_version.cc$' "$list" | sed '/^[[:space:]]*$/d' >"$list.all"
  total=$(wc -l <"$list.all")
  : >"$list"
  while read -r name; do
    if [ $((line * count / total)) -ge "$unit" ]; then
      printf 'unity_%s.cc\n' "$unit" >>"$list"
      unit=$((unit + 1))
    fi
    printf '#include "%s"\n' "$name" >>"$folder/unity_$((unit - 1)).cc"
    line=$((line + 1))
  done <"$list.all"
}

# RocksDB's C++ takes about five minutes on two cores. It is compiled once per version, features
# and compiler flags into the cache as a static library, and then linked by every profile and clone.
prepare_rocksdb() {
  local version flags lib status=0
  version=$(sed -n '/^name = "librocksdb-sys"$/{n;s/^version = "\(.*\)"$/\1/p}' "$vibecoin_root/Cargo.lock")
  [ -n "$version" ] || die "Cargo.lock names no librocksdb-sys" "run from a complete checkout"
  flags=$({
    # What stands below this line of the file is not for the C++ compiler.
    sed '/^# Rust only:/,$d; /^$/d' "$vibecoin_root/.cargo/config.toml"
    grep '^rocksdb = ' "$vibecoin_root/Cargo.toml"
    printf 'unity 8'
    printf '%s' "${RUSTFLAGS:-}${CXXFLAGS:-}"
  } | cksum | cut -d' ' -f1)
  lib=$VIBECOIN_CACHE/rocksdb-${version//[^0-9A-Za-z.]/_}-$flags
  if [ ! -f "$lib/librocksdb.a" ] || [ ! -f "$lib/include/rocksdb/c.h" ]; then
    say "compiling RocksDB once into the cache (about 5 minutes on two cores) ..."
    # Not `( ... ) || die`: bash ignores `set -e` inside a list, and a failed build would go on.
    set +e
    (
      set -e
      exec 9>"$VIBECOIN_CACHE/rocksdb.lock"
      flock 9
      # Another clone may have built it while this one waited for the lock.
      if [ ! -f "$lib/librocksdb.a" ] || [ ! -f "$lib/include/rocksdb/c.h" ]; then
        build_rocksdb "$lib"
      fi
    )
    status=$?
    set -e
    [ $status -eq 0 ] || die "RocksDB did not build" "see the compiler output above; it needs g++ and libclang-dev"
  fi
  export ROCKSDB_LIB_DIR=$lib ROCKSDB_INCLUDE_DIR=$lib/include ROCKSDB_STATIC=1
}

if [ -n "${VIBECOIN_NO_ROCKSDB:-}" ]; then
  need_packages g++ ca-certificates
  need_cargo
else
  need_packages g++ libclang-dev make ca-certificates
  need_cargo
  prepare_rocksdb
fi
