//! A running node: start until it answers, stop, kill.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::{Home, http};

/// A running node. Killed when dropped.
pub struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The ready line.
    pub ready: Value,
}

impl Node {
    /// Starts a node on a home and waits until it answers.
    #[must_use]
    pub fn start(home: &Home, arguments: &[&str]) -> Self {
        Self::start_with(home, arguments, &[])
    }

    /// The same with these variables in its environment.
    #[must_use]
    pub fn start_with(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(home.file("node.log"))
            .expect("a log file");
        Self::spawn(home, arguments, variables, stderr)
    }

    /// Starts a node whose log goes to a file, and waits until it answers.
    #[must_use]
    pub fn start_with_log(home: &Home, arguments: &[&str], stderr: File) -> Self {
        Self::spawn(home, arguments, &[], stderr)
    }

    fn spawn(home: &Home, arguments: &[&str], variables: &[(&str, &str)], stderr: File) -> Self {
        let log = home.file("node.log");
        let all = [&["node", "--rpc.port", "0"], arguments].concat();
        let mut child = home
            .command(&all)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the node starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        let read = stdout.read_line(&mut line).expect("stdout can be read");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("no ready line but {line:?} ({read} bytes); log:\n{log}")
        });
        assert_eq!(ready["event"], "ready", "{ready}");
        Self { child, stdout, ready }
    }

    /// A developer's chain.
    #[must_use]
    pub fn dev(home: &Home) -> Self {
        Self::start(home, &["--dev"])
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
    pub fn stop(self) -> i32 {
        signal(self.pid(), "TERM");
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

    /// SIGKILL; waits until the process has ended.
    pub fn kill_now(&mut self) {
        self.child.kill().expect("kill -9");
        let _status = self.child.wait().expect("the node is gone");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Calls a method of the node at an address.
///
/// # Errors
/// When the node does not answer, or not with JSON.
pub fn call(address: &str, method: &str, params: Value) -> std::io::Result<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = http::post(address, request.to_string().as_bytes())?;
    serde_json::from_str(&answer.body).map_err(std::io::Error::other)
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success(), "kill -{name} {pid}");
}
