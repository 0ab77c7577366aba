//! A helper program that is controlled by lines on its standard input and output.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The running program. Killed when dropped.
#[derive(Debug)]
pub struct Piped {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Piped {
    /// Starts the program.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Ok(Self { child, stdin, stdout })
    }

    /// Its next line, without the line feed; empty when it has ended.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let _ended = self.stdout.read_line(&mut line);
        line.trim().to_owned()
    }

    /// Sends it a line.
    ///
    /// # Errors
    /// It has ended.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{line}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends its input, and waits until it has ended.
    pub fn finish(&mut self) {
        self.stdin = None;
        let _status = self.child.wait();
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}
