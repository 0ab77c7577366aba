//! The binary `vibecoin`. All code is in the library, where it can be tested.

fn main() -> std::process::ExitCode {
    return_freed_memory();
    vibecoin_cli::main()
}

/// Fixes the minimum size of allocations that are mapped, and unmapped when they are freed.
///
/// By default the C library raises it to the size of the last freed one, up to 32 MiB, and keeps the freed
/// memory of each thread below it: requests of 5 MiB that had ended left a node half a gigabyte larger
/// (`docs/hardening.md`, `rpc-lists`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn return_freed_memory() {
    const MAPPED_MIN: libc::c_int = 1 << 20;
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        #[allow(unsafe_code, reason = "the only way to the C library's own switches")]
        // SAFETY: takes two numbers, and no other thread runs yet.
        let _set = unsafe { libc::mallopt(parameter, MAPPED_MIN) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn return_freed_memory() {}
