//! The trace: one line for each event, hashed, and printed when requested.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use vibecoin_consensus::LogRecord;
use vibecoin_primitives::Hash;

pub struct Trace {
    hasher: blake3::Hasher,
    line: String,
    print: bool,
}

impl Trace {
    pub fn new(print: bool) -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            line: String::new(),
            print,
        }
    }

    pub fn note(&mut self, micros: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        let (ms, rest) = (micros / 1000, micros % 1000);
        writeln!(self.line, "{ms:>7}.{rest:03} {what}").expect("a string takes everything");
        self.hasher.update(self.line.as_bytes());
        if self.print {
            // The reader may have closed the pipe, as `head` does.
            let _closed = io::stdout().write_all(self.line.as_bytes());
        }
    }

    pub fn hash(&self) -> Hash {
        Hash(*self.hasher.finalize().as_bytes())
    }
}

/// The first bytes of a hash, enough to distinguish blocks.
pub struct Short<'a>(pub &'a Hash);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0.prefix();
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// A short description of a record of the consensus log.
pub struct Recorded<'a>(pub &'a LogRecord);

impl fmt::Display for Recorded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = self.0.height();
        match self.0 {
            LogRecord::Vote(signed) => {
                let vote = &signed.vote;
                let [a, b, ..] = vote.validator.0;
                write!(f, "{:?} {height}/{} of {a:02x}{b:02x} ", vote.kind, vote.round)?;
                match &vote.block {
                    Some(block) => write!(f, "{}", Short(block)),
                    None => write!(f, "nil"),
                }
            }
            LogRecord::Proposal(signed) => {
                let block = signed.proposal.header.hash();
                write!(f, "Proposal {height}/{} {}", signed.proposal.round, Short(&block))
            }
            LogRecord::Timeout { round, step, .. } => write!(f, "Timeout {height}/{round} {step:?}"),
            LogRecord::Value {
                header, round, valid, ..
            } => {
                write!(
                    f,
                    "Value {height}/{round} {} valid {valid}",
                    Short(&header.hash())
                )
            }
            LogRecord::Polka(polka) => write!(f, "Polka {height}/{} {}", polka.round, Short(&polka.block)),
            LogRecord::Block(block) => write!(f, "Block {height} {}", Short(&block.header.hash())),
        }
    }
}
