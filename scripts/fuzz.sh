#!/usr/bin/env bash
# Also when it is started with `sh`, or in POSIX mode.
case ${BASH_VERSION:+:$SHELLOPTS}: in : | *:posix:*) exec env -u POSIXLY_CORRECT -u POSIX_PEDANTIC -u SHELLOPTS bash "$0" "$@" ;; esac
# Runs the fuzz targets with libFuzzer, on the stable toolchain. `scripts/fuzz.sh --help` says how.
# shellcheck source=scripts/prelude.sh
. "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/prelude.sh"

usage() {
  cat <<'HELP'
usage: scripts/fuzz.sh TARGET|all SECONDS [LIBFUZZER OPTIONS]
       scripts/fuzz.sh list

Builds the fuzzer (about a minute the first time) and runs one target, or each in turn, for that many
seconds. Starts from tests/fuzz/corpus and keeps what it learns in the cache. Ends with 1 when a target
found something, and prints how to keep the input and see it again.

  VIBECOIN_CACHE   the cache (default: ${XDG_CACHE_HOME:-$HOME/.cache}/vibecoin)
HELP
}

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  '')
    usage >&2
    exit 2
    ;;
esac

VIBECOIN_NO_ROCKSDB=1
# shellcheck source=scripts/native.sh
. "$scripts/native.sh"
cd "$vibecoin_root/tests/fuzz"

mapfile -t targets < <(sed -n 's/.*\bname: "\([a-z_]*\)".*/\1/p' src/lib.rs)
[ ${#targets[@]} -gt 0 ] || die "no targets found in tests/fuzz/src/lib.rs"

if [ "$1" = list ]; then
  printf '%s\n' "${targets[@]}"
  exit 0
fi
target=$1
seconds=${2:-}
case $seconds in
  '' | *[!0-9]*)
    wrong "SECONDS must be a number, not '$seconds'"
    ;;
esac
shift 2
if [ "$target" != all ]; then
  found=no
  for name in "${targets[@]}"; do [ "$name" != "$target" ] || found=yes; done
  if [ $found = no ]; then
    wrong "no target $target" "targets are: ${targets[*]}"
  fi
  targets=("$target")
fi

# libFuzzer's coverage without a nightly compiler and without cargo-fuzz. `--target` keeps build scripts
# and macros free of the instrumentation.
host=x86_64-unknown-linux-gnu
export RUSTFLAGS="-Ctarget-cpu=x86-64-v2 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
--cfg curve25519_dalek_backend=\"avx512\" --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1"
export CARGO_TARGET_DIR=$VIBECOIN_CACHE/fuzz-target
cargo build --release --locked --target $host --features libfuzzer --bin fuzz
fuzzer=$CARGO_TARGET_DIR/$host/release/fuzz

failed=()
for target in "${targets[@]}"; do
  learned=$VIBECOIN_CACHE/fuzz-corpus/$target
  artifacts=$VIBECOIN_CACHE/fuzz-artifacts/$target
  log=$VIBECOIN_CACHE/fuzz-artifacts/$target.log
  mkdir -p "$learned" "$artifacts"
  printf '== %s, %s s\n' "$target" "$seconds"
  status=0
  VIBECOIN_FUZZ_TARGET=$target "$fuzzer" "$learned" "corpus/$target" \
    -max_total_time="$seconds" -max_len=65536 -timeout=5 -rss_limit_mb=512 -print_final_stats=1 \
    -artifact_prefix="$artifacts/" "$@" >"$log" 2>&1 || status=$?
  if [ $status -eq 0 ]; then
    printf '   %s executions, %s inputs learned, peak %s MB, no finding\n' \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
      "$(sed -n 's/^stat::new_units_added: *//p' "$log")" \
      "$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")"
  else
    failed+=("$target")
    tail -n 40 "$log"
    printf 'FOUND something in %s (exit %s); the whole output is in %s\n' "$target" "$status" "$log"
    printf 'keep the input:  cp %s/NAME tests/fuzz/corpus/%s/\n' "$artifacts" "$target"
    printf 'see it again:    VIBECOIN_FUZZ_TARGET=%s %s INPUT\n' "$target" "$fuzzer"
  fi
done
[ ${#failed[@]} -eq 0 ] || die "findings in: ${failed[*]}"
printf 'no finding in: %s\n' "${targets[*]}"
