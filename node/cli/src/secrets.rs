//! What a process that handles secrets does before anything else: no core dumps, no readers of its memory, and
//! no passphrase left in its environment.
//!
//! The kernel shows the environment that a process was started with for as long as it lives
//! (`/proc/PID/environ`), and removing a variable does not change those bytes. So a process that was given a
//! passphrase there puts it into memory that no file name leads to and starts its program anew in the same
//! process, without the variable: the old memory goes with the old program.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::fs::MemfdFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use vibecoin_keystore::{KeyError, PASSPHRASE_BYTES_MAX, Passphrase};
use zeroize::Zeroizing;

/// The environment variable that may hold a passphrase.
pub const VARIABLE: &str = "VIBECOIN_PASSWORD";
/// The environment variable that names the open file in which the passphrase was handed on.
const HANDED_ON: &str = "VIBECOIN_PASSWORD_FD";

/// The passphrase of the environment, once it has left it.
static GIVEN: Mutex<Option<Zeroizing<Vec<u8>>>> = Mutex::new(None);

fn given(text: Zeroizing<Vec<u8>>) {
    *GIVEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
}

/// Does it, first of all in `main`, while there is one thread. Comes back in another program when there was a
/// passphrase in the environment.
pub fn shut() {
    forbid_dumps();
    if let Some(text) = std::env::var_os(VARIABLE) {
        let text = Zeroizing::new(text.into_vec());
        if !text.is_empty()
            && let Err(error) = start_without(&text)
        {
            crate::output::note(&format!(
                "warning: {VARIABLE} stays in the environment of this process: {error}; use --password-file"
            ));
        }
        given(text);
    } else if let Some(number) = std::env::var_os(HANDED_ON) {
        take(&number);
    }
}

/// The passphrase that the environment held; `None` when it held none.
pub fn passphrase() -> Option<Result<Passphrase, KeyError>> {
    let given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = given.as_ref()?;
    Some(match str::from_utf8(bytes) {
        Ok(text) => Passphrase::new(text),
        Err(_) => Err(KeyError::NoPassphrase {
            detail: format!("{VARIABLE} is not UTF-8 text"),
        }),
    })
}

/// Wipes the passphrase of the environment: a node needs it once, and then runs for long.
pub fn forget() {
    *GIVEN.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Neither a crash nor another process of this user gets at the memory. A system that does not allow it loses
/// only that.
fn forbid_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _not_allowed = rustix::process::setrlimit(Resource::Core, none);
    let _not_allowed = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Lets this process read its own figures again, for measurements that handle no secrets of anybody's.
pub fn allow_measurements() {
    let _not_allowed = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
}

/// Starts this program again in the same process, without the variable. Comes back only when that fails.
fn start_without(text: &[u8]) -> std::io::Result<()> {
    // No flag that closes it at the start of a program: it is for the next one.
    let mut file = File::from(rustix::fs::memfd_create(c"passphrase", MemfdFlags::empty())?);
    file.write_all(text)?;
    file.rewind()?;
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command
        .args(arguments)
        .env_remove(VARIABLE)
        .env(HANDED_ON, file.as_raw_fd().to_string())
        .exec())
}

/// Takes over what was handed on, and empties the file.
fn take(number: &OsString) {
    let digits = number.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return;
    }
    let path = PathBuf::from("/proc/self/fd").join(number);
    // Only memory without a name is taken: somebody else's file stays as it is.
    let is_memory =
        std::fs::read_link(&path).is_ok_and(|to| to.as_os_str().as_bytes().starts_with(b"/memfd:passphrase"));
    if !is_memory {
        return;
    }
    let Ok(mut file) = File::options().read(true).write(true).open(&path) else {
        return;
    };
    let most = PASSPHRASE_BYTES_MAX.saturating_add(1);
    let mut text = Zeroizing::new(Vec::with_capacity(most));
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    // It is empty in a child of the process that took it.
    if (&mut file).take(limit).read_to_end(&mut text).is_ok() && !text.is_empty() {
        given(text);
    }
    let _memory_goes_with_the_process = file.set_len(0);
}
