//! A running node: start until it answers, pause, stop, kill.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vibecoin_process::{log, ready};

use crate::{binary, call, command};

/// Lines of a log that a failure prints.
const LOG_LINES_SHOWN: usize = 40;

/// A running node. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
    /// The ready line.
    pub ready: Value,
}

impl Node {
    /// Starts a node on a home and waits until it answers.
    #[must_use]
    pub fn start(home: impl AsRef<Path>, arguments: &[&str]) -> Self {
        Self::start_with(home, arguments, &[])
    }

    /// The same with these variables in its environment.
    #[must_use]
    pub fn start_with(home: impl AsRef<Path>, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let log = home.as_ref().join("node.log");
        let mut command = on(home.as_ref(), arguments);
        command.envs(variables.iter().copied());
        Self::spawn(command, log)
    }

    /// Starts a node whose log goes to a file, and waits until it answers.
    #[must_use]
    pub fn start_with_log(home: impl AsRef<Path>, arguments: &[&str], stderr: File) -> Self {
        let home = home.as_ref();
        Self::run(on(home, arguments), home.join("node.log"), stderr)
    }

    /// A developer's chain.
    #[must_use]
    pub fn dev(home: impl AsRef<Path>) -> Self {
        Self::start(home, &["--dev"])
    }

    /// Starts a node by its whole command and waits until it answers. The log is appended to.
    #[must_use]
    pub fn spawn(command: Command, log: PathBuf) -> Self {
        let mut options = File::options();
        let stderr = options.create(true).append(true).open(&log).expect("a log file");
        Self::run(command, log, stderr)
    }

    fn run(mut command: Command, log: PathBuf, stderr: File) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the node starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        let ready = ready::parse(&line).unwrap_or_else(|| {
            let log = log::tail(&log, LOG_LINES_SHOWN);
            panic!("no ready line but {line:?} ({read:?}) from {command:?}; log:\n{log}")
        });
        Self {
            child,
            stdout,
            log,
            ready,
        }
    }

    /// The URL of its RPC.
    #[must_use]
    pub fn url(&self) -> &str {
        self.ready["rpc"]
            .as_str()
            .expect("the ready line names the address")
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url().trim_start_matches("http://")
    }

    /// Calls a method that must succeed.
    #[must_use]
    pub fn call(&self, method: &str, params: Value) -> Value {
        let answer = self
            .try_call(method, params)
            .unwrap_or_else(|error| panic!("{method}: {error}"));
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Calls a method.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn try_call(&self, method: &str, params: Value) -> std::io::Result<Value> {
        call(self.address(), method, params)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM; waits for the end and returns the exit code. Nothing more may be on stdout.
    #[must_use]
    pub fn stop(mut self) -> i32 {
        self.assert_alive();
        signal(&self.child, Signal::TERM);
        self.ended()
    }

    /// Waits for the end of a node that was asked to stop, and returns the exit code. Nothing more may be on stdout.
    #[must_use]
    pub fn ended(mut self) -> i32 {
        let status = self.child.wait().expect("the node ends");
        let mut rest = String::new();
        let _end = self.stdout.read_line(&mut rest).expect("stdout can be read");
        assert_eq!(rest, "", "stdout has one line");
        status.code().unwrap_or(-1)
    }

    /// SIGKILL; waits until the process has ended. It must have run until then: an honest node never ends by itself.
    pub fn kill_now(&mut self) {
        self.assert_alive();
        self.child.kill().expect("kill -9");
        let _status = self.child.wait().expect("the node is gone");
    }

    /// Asserts that the process still runs; prints the end of the log.
    pub fn assert_alive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            let log = log::tail(&self.log, LOG_LINES_SHOWN);
            panic!("a node ended by itself: {status}\n{log}");
        }
    }

    /// The exit code of a process that has exited; 128 and more for a signal.
    pub fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().ok().flatten()?;
        let signal = || Some(status.signal()?.saturating_add(128));
        status.code().or_else(signal)
    }

    /// SIGSTOP: the process freezes, its connections stay open.
    pub fn pause(&self) {
        signal(&self.child, Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(&self.child, Signal::CONT);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Sends a signal to a process that was not waited for yet.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the process exists");
}

/// The command of a node on a home, at a free port.
fn on(home: &Path, arguments: &[&str]) -> Command {
    let all = [&["node", "--rpc.port", "0"], arguments].concat();
    command(&binary(), "json", home, &all)
}
