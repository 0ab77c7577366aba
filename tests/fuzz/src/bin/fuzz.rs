//! The fuzzer: libFuzzer around the target that `VIBECOIN_FUZZ_TARGET` names. See `scripts/fuzz.sh`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vibecoin_fuzz::{Target, find, names};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("VIBECOIN_FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| panic!("VIBECOIN_FUZZ_TARGET is {name:?}, targets are: {}", names()))
});

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
