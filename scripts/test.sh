#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Everything that must be green before a change lands. `scripts/test.sh --help` says what.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

case ${1:-} in
  '') ;;
  -h | --help)
    cat <<'HELP'
usage: scripts/test.sh

Runs, one after the other, and stops at the first that fails:
  system       packages, RocksDB in the cache (scripts/native.sh)
  format       rustfmt, without changing anything
  shell        shellcheck over the scripts
  lints        clippy over every target, warnings are errors
  build        everything, with the binary that the process tests start (VIBECOIN_BIN)
  tests        all tests of the workspace: cargo nextest where it is installed, else cargo test
  planted bugs the simulator and the tests must find each bug that a test build has on purpose
  doc tests    the examples in the documentation
  corpora      every saved fuzzing input, through every fuzz target

One cargo at a time, one profile (release), so that the dependencies are compiled once.
HELP
    exit 0
    ;;
  *) wrong "unknown argument $1" ;;
esac

step_title=start
total_start=$SECONDS
step() { # title command...
  local start=$SECONDS
  step_title=$1
  printf '\n== %s\n' "$step_title"
  shift
  "$@"
  printf -- '-- %s: %s s\n' "$step_title" $((SECONDS - start))
}
# Not `step || ...`: bash would ignore `set -e` inside the step.
finish() {
  local status=$?
  if [ $status -eq 0 ]; then
    printf '\nall green in %s s\n' $((SECONDS - total_start))
  else
    printf '\nFAILED in step "%s" after %s s (exit %s)\n' "$step_title" $((SECONDS - total_start)) $status
  fi
}
trap finish EXIT

cd "$root"
# Tests must not depend on what the caller has set for a node of their own.
unset "${!VIBECOIN__@}"

system() {
  # shellcheck source=scripts/native.sh
  . scripts/native.sh
  # iproute2 and iptables: the fault tests put every node into a network namespace of its own.
  need_packages shellcheck iproute2 iptables
  need_component rustfmt
  need_component clippy clippy-driver
  # All at once and up front: what follows needs no network.
  cargo fetch --locked --target x86_64-unknown-linux-gnu
  (cd tests/fuzz && cargo fetch --locked --target x86_64-unknown-linux-gnu)
  printf 'kernel %s, %s cores, %s\n' "$(uname -r)" "$(nproc)" "$(rustc --version)"
  printf 'target %s\n' "$CARGO_TARGET_DIR"
}

need_component() { # component, and the program that it brings
  command -v "${2:-$1}" >/dev/null 2>&1 && "${2:-$1}" --version >/dev/null 2>&1 && return 0
  rustup component add "$1" >&2 || die "$1 is not installed" "run: rustup component add $1"
}

format() {
  cargo fmt --all --check
  cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
}

shell() {
  shellcheck -x scripts/*.sh scripts/reliability/*.sh .ci/run
}

lints() {
  cargo clippy --release --workspace --all-targets --locked -- -D warnings
  (cd tests/fuzz && cargo clippy --release --all-targets --locked -- -D warnings)
}

build() {
  # Not `-p vibecoin-cli`: the tests switch on features of a few shared crates (curve25519-dalek among
  # them), and everything above those would be compiled twice.
  cargo build --release --workspace --locked --bins --tests
  export VIBECOIN_BIN=$CARGO_TARGET_DIR/release/vibecoin
  [ -x "$VIBECOIN_BIN" ] || die "the build ended well, but there is no $VIBECOIN_BIN"
}

tests() {
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --release --workspace --locked --no-fail-fast --lib --bins --tests
  else
    cargo test --release --workspace --locked --no-fail-fast --lib --bins --tests
  fi
}

planted_bugs() {
  # A build of its own: no other binary may have these bugs.
  cargo test --release --locked -p vibecoin-tests-sim -p vibecoin-replica -p vibecoin-primitives \
    --features planted --test planted --test streaming --test signature_paths -- --nocapture
}

doc_tests() {
  cargo test --release --workspace --locked --doc
}

corpora() {
  # The fuzz crate is a workspace of its own; its dependencies have versions, features and profile
  # in common with this one, so the same target folder serves both.
  (cd tests/fuzz && cargo test --release --locked)
}

step system system
step format format
step shell shell
step lints lints
step build build
step tests tests
step 'planted bugs' planted_bugs
step 'doc tests' doc_tests
step corpora corpora
