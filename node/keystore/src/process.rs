//! Protection of a process that handles secrets, before any other step: no core dumps, no readers of its
//! memory, and no passphrase left in its environment.
//!
//! The kernel exposes the environment that a process was started with for as long as it lives
//! (`/proc/PID/environ`), and removing a variable does not change those bytes. So a process that received a
//! passphrase there puts it into unnamed memory and executes its program again in the same process, without
//! the variable: the old memory is released with the old program.

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
use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::passphrase::{PASSPHRASE_BYTES_MAX, Passphrase};

/// The environment variable that may hold a passphrase.
pub const VARIABLE: &str = "VIBECOIN_PASSWORD";
/// The environment variable with the file descriptor that carries the passphrase across `exec`.
const HANDED_ON: &str = "VIBECOIN_PASSWORD_FD";

/// Content of the variable: a passphrase, or the reason why it is unavailable.
type Given = Result<Zeroizing<Vec<u8>>, String>;

/// The passphrase of the environment, once it was removed from it; `None` when there was none.
static GIVEN: Mutex<Option<Given>> = Mutex::new(None);

fn given(found: Option<Given>) {
    *GIVEN.lock().unwrap_or_else(PoisonError::into_inner) = found;
}

/// Protects the process, first of all in `main`, while there is one thread. Returns in a new program image
/// when there was a passphrase in the environment, or with a warning when that could not be started.
#[must_use]
pub fn shut() -> Option<String> {
    forbid_dumps();
    let mut warning = None;
    if let Some(text) = std::env::var_os(VARIABLE) {
        let text = Zeroizing::new(text.into_vec());
        if !text.is_empty()
            && let Err(error) = start_without(&text)
        {
            warning = Some(format!(
                "warning: {VARIABLE} stays in the environment of this process: {error}; use --password-file"
            ));
        }
        given(Some(Ok(text)));
    } else if let Some(number) = std::env::var_os(HANDED_ON) {
        given(take(&number));
    }
    warning
}

/// The passphrase from the environment; `None` when there was none.
#[must_use]
pub fn passphrase() -> Option<Result<Passphrase, KeyError>> {
    GIVEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .map(read)
}

/// Returns true if there was a passphrase in the environment.
#[must_use]
pub fn is_given() -> bool {
    let given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    given.is_some()
}

/// A passphrase that was given but cannot be read is an error, never "no passphrase": without one, a command
/// that allows keys without encryption would write the key in plain text.
fn read(given: &Given) -> Result<Passphrase, KeyError> {
    let refused = |detail: String| KeyError::NoPassphrase { detail };
    let bytes = given.as_ref().map_err(|detail| refused(detail.clone()))?;
    if bytes.is_empty() {
        return Err(refused(format!("{VARIABLE} is set but empty")));
    }
    let text = str::from_utf8(bytes).map_err(|_| refused(format!("{VARIABLE} is not UTF-8 text")))?;
    Passphrase::new(text)
}

/// Erases the passphrase of the environment: a node needs it once, and then runs for long.
pub fn forget() {
    given(None);
}

/// Makes the memory inaccessible to core dumps and other processes of this user. A system that does not allow
/// it loses only that.
fn forbid_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _not_allowed = rustix::process::setrlimit(Resource::Core, none);
    let _not_allowed = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Lets this process read its own figures again, for measurements that handle no real secrets.
pub fn allow_measurements() {
    let _not_allowed = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
}

/// Executes this program again in the same process, without the variable. Returns only on failure.
fn start_without(text: &[u8]) -> std::io::Result<()> {
    // Without the close-on-exec flag: it is for the next program.
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

/// Takes over the passed passphrase, and empties the file. `None` in a child of the process that took it.
fn take(number: &OsString) -> Option<Given> {
    let failed = |what: &str| {
        Some(Err(format!(
            "{HANDED_ON} is for this program's own use, and {what}; unset it, and give the passphrase with --password-file or {VARIABLE}"
        )))
    };
    let digits = number.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return failed("it holds no number");
    }
    let path = PathBuf::from("/proc/self/fd").join(number);
    // Only an unnamed memory file is accepted: a foreign file stays unchanged.
    let is_memory =
        std::fs::read_link(&path).is_ok_and(|to| to.as_os_str().as_bytes().starts_with(b"/memfd:passphrase"));
    if !is_memory {
        return failed("it names a file that this program did not make");
    }
    let Ok(mut file) = File::options().read(true).write(true).open(&path) else {
        return failed("its file cannot be opened");
    };
    let most = PASSPHRASE_BYTES_MAX.saturating_add(1);
    let mut text = Zeroizing::new(Vec::with_capacity(most));
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    if (&mut file).take(limit).read_to_end(&mut text).is_err() {
        return failed("its file cannot be read");
    }
    let _memory_goes_with_the_process = file.set_len(0);
    (!text.is_empty()).then_some(Ok(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(given: &Given) -> String {
        match read(given) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_was_given_but_cannot_be_read_is_an_error_and_never_nothing() {
        let bytes = |bytes: &[u8]| Ok(Zeroizing::new(bytes.to_vec()));
        assert_eq!(message(&bytes(b"correct horse")), "");
        assert!(message(&bytes(b"")).contains("VIBECOIN_PASSWORD is set but empty"));
        assert!(message(&bytes(b"\xff")).contains("VIBECOIN_PASSWORD is not UTF-8"));
        assert!(message(&bytes(&[b'x'; PASSPHRASE_BYTES_MAX + 1])).contains("more than"));
        // Not a number, a file that does not exist, one that this program did not create.
        for number in ["", "x", "-1", "999999", "0"] {
            let taken = take(&number.into());
            assert!(
                taken.is_some_and(|given| message(&given).contains("VIBECOIN_PASSWORD_FD")),
                "{number}"
            );
        }
    }

    #[test]
    fn what_was_handed_on_is_taken_once() -> std::io::Result<()> {
        let mut file = File::from(rustix::fs::memfd_create(c"passphrase", MemfdFlags::empty())?);
        file.write_all(b"correct horse")?;
        file.rewind()?;
        let number = OsString::from(file.as_raw_fd().to_string());
        assert_eq!(take(&number), Some(Ok(Zeroizing::new(b"correct horse".to_vec()))));
        assert_eq!(
            take(&number),
            None,
            "a child of the process that took it was given none"
        );
        Ok(())
    }
}
