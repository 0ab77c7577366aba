//! `logs`: output of one or all nodes, printed once or followed.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::state::{Devnet, NodeRecord};
use crate::error::CliError;
use crate::output::{self, Answer};

/// Polling interval while following.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Maximum number of bytes read from a log at once.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Arguments of `logs`.
#[derive(Args, Clone, Debug)]
pub struct LogsArgs {
    /// Number or name of a node [default: all]
    node: Option<String>,
    /// Go on as it comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only lines with this text in them
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
}

/// A log that is being read.
struct Reader {
    node: NodeRecord,
    /// Bytes that were read.
    offset: u64,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
}

impl Reader {
    /// The complete lines since the last call.
    fn lines(&mut self) -> Vec<String> {
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
        let mut file = std::fs::File::open(&self.node.log)?;
        if file.metadata()?.len() < self.offset {
            // The node was restarted: a new file under the old name.
            self.offset = 0;
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let count = file.take(CHUNK_BYTES).read_to_end(&mut self.rest)?;
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(0));
        Ok(count)
    }
}

/// Prints logs.
pub fn run(dir: &Path, args: &LogsArgs) -> Result<Answer, CliError> {
    let net = Devnet::look(dir)?;
    let nodes = match &args.node {
        Some(node) => vec![net.node(net.position(node)?)?],
        None => net.existing()?.nodes.clone(),
    };
    let alone = nodes.len() == 1;
    let width = nodes.iter().map(|node| node.name.len()).max().unwrap_or(0);
    let mut readers: Vec<Reader> = nodes
        .into_iter()
        .map(|node| Reader {
            node,
            offset: 0,
            rest: Vec::new(),
        })
        .collect();
    loop {
        for reader in &mut readers {
            let lines = reader.lines();
            let wanted = lines
                .iter()
                .filter(|line| args.grep.as_ref().is_none_or(|text| line.contains(text.as_str())));
            let text: String = wanted
                .map(|line| {
                    if alone {
                        format!("{line}\n")
                    } else {
                        format!("{:<width$} | {line}\n", reader.node.name)
                    }
                })
                .collect();
            if !text.is_empty() && !output::stream(&text)? {
                return Ok(Answer::printed());
            }
        }
        if !args.follow {
            return Ok(Answer::printed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
