//! Processes of nodes: started in a separate session, identified by pid and start time, and never mistaken.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::Error;
use crate::wait::{Reporter, Reports};

/// Polling interval of conditions without an event.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time after which the wait for the end of a process is reported.
const REPORT_AFTER: Duration = Duration::from_secs(3);
/// Maximum time for a killed process to end: the kernel has to free its memory.
const KILLED_WITHIN: Duration = Duration::from_secs(60);

/// Identifier of this boot of the machine.
///
/// # Errors
/// The error of the file that has it.
pub fn boot_id() -> Result<String, Error> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(text.trim().to_owned())
}

fn stat(pid: u32) -> Option<Vec<String>> {
    fields_of(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields of `/proc/PID/stat` behind the name, which may contain anything.
fn fields_of(stat: &str) -> Option<Vec<String>> {
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Start time of a process, in clock ticks since boot; `None` when it has ended or is only waiting to be
/// reaped.
#[must_use]
pub fn started_at(pid: u32) -> Option<u64> {
    start_of_living(&stat(pid)?)
}

/// The first thread of a killed process may end before the others, which keep its files and locks until they end too.
fn start_of_living(fields: &[String]) -> Option<u64> {
    let threads: u64 = fields.get(17)?.parse().ok()?;
    match fields.first()?.as_str() {
        "X" => return None,
        "Z" if threads <= 1 => return None,
        _ => {}
    }
    fields.get(19)?.parse().ok()
}

/// Returns true if the working directory of a process was removed: by hand, or by a move to another file
/// system, which copies the folder and deletes the original.
#[must_use]
pub fn is_adrift(pid: u32) -> bool {
    let Ok(folder) = std::fs::read_link(format!("/proc/{pid}/cwd")) else {
        return false;
    };
    // The kernel appends this to the path of a removed folder; a folder with such a name still exists.
    folder.to_string_lossy().ends_with(" (deleted)") && !folder.exists()
}

/// Processor time that a process has used, user and system.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<Duration> {
    // The unit of these fields, USER_HZ, is 100 on every machine that Linux runs Rust on.
    const TICK_MS: u64 = 10;
    let fields = stat(pid)?;
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Duration::from_millis(
        ticks(11)?.saturating_add(ticks(12)?).saturating_mul(TICK_MS),
    ))
}

/// Resident memory of a process, in bytes; `None` when it has ended.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    memory_bytes(pid, "VmRSS:")
}

/// The maximum resident memory of a process so far, in bytes; `None` when it has ended.
#[must_use]
pub fn resident_bytes_max(pid: u32) -> Option<u64> {
    memory_bytes(pid, "VmHWM:")
}

fn memory_bytes(pid: u32, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// Sends a signal to a process if it is the one with this start time. The kernel's handle of the process is
/// taken before its start time is checked, so no other process can receive the signal.
pub fn signal(pid: u32, started: u64, signal: Signal) -> bool {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let Ok(handle) = pidfd_open(raw, PidfdFlags::empty()) else {
        return false;
    };
    started_at(pid) == Some(started) && pidfd_send_signal(handle, signal).is_ok()
}

/// Waits until a process has ended. Returns `false` if it still runs.
pub fn wait_gone(pid: u32, started: u64, within: Duration, reporter: Reporter) -> bool {
    let begun = Instant::now();
    let mut reports = Reports::after(REPORT_AFTER);
    while started_at(pid) == Some(started) {
        if let Some(seconds) = reports.due() {
            reporter.note(&format!("waiting for the end of process {pid}, for {seconds} s"));
        }
        if begun.elapsed() >= within {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}

/// End of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With SIGTERM, within the grace time.
    Cleanly,
    /// With SIGKILL.
    Killed,
    /// It had ended before.
    Before,
}

/// Sends SIGTERM to all of them at once, then SIGKILL to those that still run after the grace time.
///
/// # Errors
/// As [`kill`].
pub fn stop(processes: &[(u32, u64)], grace: Duration, reporter: Reporter) -> Result<Vec<Ended>, Error> {
    let asked: Vec<bool> = processes
        .iter()
        .map(|(pid, started)| signal(*pid, *started, Signal::TERM))
        .collect();
    let deadline = Instant::now().checked_add(grace);
    let mut ended = Vec::new();
    for ((pid, started), asked) in processes.iter().zip(asked) {
        let left = deadline.map_or(grace, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        ended.push(if !asked {
            Ended::Before
        } else if wait_gone(*pid, *started, left, reporter) {
            Ended::Cleanly
        } else {
            kill(*pid, *started, reporter)?;
            Ended::Killed
        });
    }
    Ok(ended)
}

/// Sends SIGKILL, and waits until the process has ended.
///
/// # Errors
/// A process that is still there after a minute.
pub fn kill(pid: u32, started: u64, reporter: Reporter) -> Result<(), Error> {
    signal(pid, started, Signal::KILL);
    if wait_gone(pid, started, KILLED_WITHIN, reporter) {
        return Ok(());
    }
    Err(Error::StillThere {
        pid,
        seconds: KILLED_WITHIN.as_secs(),
    })
}

/// A process that has not started its program yet. It ends when it is dropped, or when this process ends.
pub struct Waiting {
    pid: u32,
    started: Option<u64>,
    go: std::process::ChildStdin,
}

impl Waiting {
    /// Pid and start time of the process; they stay the same when the program starts. `None`: it ended at
    /// once.
    #[must_use]
    pub fn process(&self) -> Option<(u32, u64)> {
        Some(self.pid).zip(self.started)
    }

    /// Starts the program.
    pub fn go(mut self) {
        use std::io::Write as _;
        // One that has ended is detected by its start time.
        let _already_gone = self.go.write_all(b"go\n");
    }
}

/// Starts the program in its arguments, once a line has been read. Without one it ends.
const WAIT_THEN_START: &str = "read -r go && exec \"$@\" </dev/null";

/// Prepares a program in a separate session, so that Ctrl-C in this terminal does not reach it, in a folder,
/// with its output in a new log file. It starts with [`Waiting::go`], so that its process can be recorded
/// first.
///
/// # Errors
/// The error of the log file, or of the system that does not start the shell.
pub fn spawn(binary: &Path, arguments: &[&str], folder: &Path, log: &Path) -> Result<Waiting, Error> {
    let before = log_before(log);
    match std::fs::rename(log, &before) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::file("move", log)(error));
        }
        _ => {}
    }
    let out = File::create(log).map_err(Error::file("make", log))?;
    let errors = out.try_clone().map_err(Error::file("open", log))?;
    let mut command = if in_path("setsid") {
        // `setsid` executes the shell, and that the program: the pid is the node's.
        let mut command = Command::new("setsid");
        command.arg("/bin/sh");
        command
    } else {
        let mut command = Command::new("/bin/sh");
        command.process_group(0);
        command
    };
    let mut child = command
        .args(["-c", WAIT_THEN_START, "vibecoin-devnet"])
        .arg(binary)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(errors)
        .spawn()
        .map_err(Error::file("start", binary))?;
    let pid = child.id();
    let go = child
        .stdin
        .take()
        .ok_or_else(|| Error::NoInput(binary.to_owned()))?;
    Ok(Waiting {
        pid,
        started: started_at(pid),
        go,
    })
}

/// Path of the previous run's log.
#[must_use]
pub fn log_before(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_its_last_thread_has_ended() {
        let start = |state: &str, threads: u32| {
            let stat = format!(
                "77 (a) name) {state} 1 77 77 0 -1 4194560 9 0 0 0 5 6 0 0 20 0 {threads} 0 4321 1000 10"
            );
            start_of_living(&fields_of(&stat).unwrap())
        };
        assert_eq!(start("S", 9), Some(4321));
        assert_eq!(start("Z", 3), Some(4321), "others hold its locks still");
        assert_eq!(start("Z", 1), None);
        assert_eq!(start("X", 0), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_and_a_stranger_is_never_signalled() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let (pid, started) = (child.id(), started_at(child.id()).unwrap());
        assert!(!signal(pid, started.wrapping_add(1), Signal::KILL));
        assert_eq!(started_at(pid), Some(started));
        assert!(cpu_time(pid).is_some() && resident_bytes(pid).is_some());
        assert_eq!(
            stop(&[(pid, started)], Duration::from_secs(60), Reporter::SILENT).unwrap(),
            [Ended::Cleanly]
        );
        // Not reaped yet, but it has ended.
        assert_eq!(started_at(pid), None);
        assert_eq!(
            stop(&[(pid, started)], Duration::ZERO, Reporter::SILENT).unwrap(),
            [Ended::Before]
        );
        child.wait().unwrap();
    }

    #[test]
    fn a_program_does_not_start_before_it_is_told_to_and_ends_with_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let (log, ran) = (dir.path().join("n.log"), dir.path().join("ran"));
        let waiting = spawn(Path::new("/bin/touch"), &["ran"], dir.path(), &log).unwrap();
        let (pid, started) = waiting.process().unwrap();
        // The effect of the end of this process on its pipes.
        drop(waiting);
        assert!(wait_gone(pid, started, Duration::from_secs(60), Reporter::SILENT));
        assert!(!ran.exists());
        let waiting = spawn(Path::new("/bin/touch"), &["ran"], dir.path(), &log).unwrap();
        let (pid, started) = waiting.process().unwrap();
        waiting.go();
        assert!(wait_gone(pid, started, Duration::from_secs(60), Reporter::SILENT));
        assert!(ran.exists());
    }

    #[test]
    fn what_a_program_prints_is_in_its_log_and_the_log_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("n.log");
        for round in ["one", "two"] {
            let script = format!("echo {round}; echo {round} >&2");
            let waiting = spawn(Path::new("/bin/sh"), &["-c", &script], dir.path(), &log).unwrap();
            let (pid, started) = waiting.process().unwrap();
            waiting.go();
            assert!(wait_gone(pid, started, Duration::from_secs(60), Reporter::SILENT));
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "two\ntwo\n");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("n.log.1")).unwrap(),
            "one\none\n"
        );
    }
}
