//! The trace: one line for each thing that happens, hashed, and printed when wanted.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

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
            // Whoever reads may have seen enough, as `head` does.
            let _closed = io::stdout().write_all(self.line.as_bytes());
        }
    }

    pub fn hash(&self) -> Hash {
        Hash(*self.hasher.finalize().as_bytes())
    }
}

/// The first bytes of a hash, enough to tell blocks apart.
pub struct Short<'a>(pub &'a Hash);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0.prefix();
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}
