//! Process of one node: start, pause, kill, and measurements.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Lines of a log that a failure prints.
const LOG_LINES_SHOWN: usize = 30;

/// A running node. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    /// The ready line.
    pub ready: Value,
}

impl Process {
    /// Starts a node and waits until it answers. The log is appended to.
    #[must_use]
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the node starts");
        let mut line = String::new();
        let read = child
            .stdout
            .take()
            .map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!(
                "no ready line but {line:?} ({read:?}) from {command:?}\n{}",
                tail(&log)
            )
        });
        assert_eq!(ready["event"], "ready", "{ready}");
        Self { child, log, ready }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL; waits until the process has ended.
    pub fn kill(&mut self) {
        self.assert_alive();
        self.child.kill().expect("kill -9");
        let _status = self.child.wait().expect("the node is gone");
    }

    /// SIGTERM; waits until the process has ended.
    pub fn stop(&mut self) {
        self.assert_alive();
        self.signal("TERM");
        let _status = self.child.wait().expect("the node is gone");
    }

    /// Asserts that the process still runs; prints the end of the log.
    pub fn assert_alive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("a node ended by itself: {status}\n{}", tail(&self.log));
        }
    }

    /// The exit code of a process that has exited; 128 and more for a signal.
    pub fn exit_code(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child.try_wait().ok().flatten()?;
        status
            .code()
            .or_else(|| status.signal().map(|signal| signal.saturating_add(128)))
    }

    /// SIGSTOP: the process freezes, its connections stay open.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success(), "kill -{name} {}", self.pid());
    }
}

/// Resident memory of a process in KiB; `None` when it has ended.
#[must_use]
pub fn rss_kib(pid: u32) -> Option<u64> {
    memory_kib(pid, "VmRSS:")
}

/// The maximum resident memory of a process so far, in KiB; `None` when it has ended.
#[must_use]
pub fn peak_kib(pid: u32) -> Option<u64> {
    memory_kib(pid, "VmHWM:")
}

fn memory_kib(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn tail(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
    lines.get(from..).unwrap_or_default().join("\n")
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}
