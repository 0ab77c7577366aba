//! The log of a node, read as it grows.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

/// Maximum number of bytes read from a log at once.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// A log that is being read, from its beginning. A node that is started again writes a new file under the same name,
/// which is read from its beginning too.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    /// Bytes that were read.
    offset: u64,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
}

impl LogReader {
    /// Reads the log at a path. The file may not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            offset: 0,
            rest: Vec::new(),
        }
    }

    /// The complete lines since the last call. A file that cannot be read has none.
    pub fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while self.fill().unwrap_or(0) > 0 {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
        lines
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let count = file.take(CHUNK_BYTES).read_to_end(&mut self.rest)?;
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(0));
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_once_they_are_complete_and_anew_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogReader::new(&path);
        let nothing: [&str; 0] = [];
        assert_eq!(log.lines(), nothing, "there is no file yet");
        std::fs::write(&path, "one\ntwo").unwrap();
        assert_eq!(log.lines(), ["one"]);
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(log.lines(), ["two", "three"]);
        assert_eq!(log.lines(), nothing);
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(log.lines(), ["new"]);
    }
}
