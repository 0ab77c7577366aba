//! The end of a log.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Maximum number of bytes that are read for the last lines.
const TAIL_BYTES: u64 = 64 * 1024;

/// The last lines of a log, each with its line feed; instead of a log that cannot be read, the reason.
#[must_use]
pub fn tail(log: &Path, lines_max: usize) -> String {
    let bytes = match end(log) {
        Ok(bytes) => bytes,
        Err(error) => return format!("(no log: {error})\n"),
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(lines_max);
    lines.iter().skip(from).map(|line| format!("{line}\n")).collect()
}

fn end(log: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_twenty_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert!(tail(&log, 20).contains("no log"));
        let text: String = (0..30_000).map(|line| format!("line {line}\n")).collect();
        std::fs::write(&log, text).unwrap();
        let tail = tail(&log, 20);
        assert_eq!(tail.lines().count(), 20);
        assert!(
            tail.starts_with("line 29980\n") && tail.ends_with("line 29999\n"),
            "{tail}"
        );
    }
}
