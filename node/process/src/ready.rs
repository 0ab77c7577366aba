//! The line that a node prints on standard output when it answers.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// Fields of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadyLine {
    /// Address of its RPC.
    pub rpc: String,
    /// Address for its peers.
    #[serde(default)]
    pub p2p: Option<String>,
    /// Its identity on the network.
    #[serde(default)]
    pub peer_id: Option<String>,
    /// Address of its metrics.
    #[serde(default)]
    pub metrics: Option<String>,
    /// Address of its admin methods.
    #[serde(default)]
    pub admin: Option<String>,
    /// Height of its head.
    #[serde(default)]
    pub height: String,
}

impl ReadyLine {
    /// Height of its head.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.height.parse().unwrap_or(0)
    }

    /// Finds the line in a log.
    #[must_use]
    pub fn find(log: &Path) -> Option<Self> {
        let text = std::fs::read(log).ok()?;
        let text = String::from_utf8_lossy(&text);
        let mut found = text
            .lines()
            .filter(|line| line.starts_with('{'))
            .filter_map(parse)
            .filter_map(|line| serde_json::from_value(line).ok());
        found.next()
    }
}

/// The JSON of a line, if it is the ready line.
#[must_use]
pub fn parse(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value.get("event")? == "ready").then_some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_found_among_other_lines_and_its_new_fields_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(
            &log,
            "INFO \"event\":\"ready\"\n{\"event\":\"other\",\"rpc\":\"x\"}\n",
        )
        .unwrap();
        assert_eq!(ReadyLine::find(&log), None);
        let old = "{\"event\":\"ready\",\"rpc\":\"http://h:1\",\"chainId\":\"c\",\"height\":\"7\"}\n";
        std::fs::write(&log, format!("x\n{old}y\n")).unwrap();
        let found = ReadyLine::find(&log).unwrap();
        assert_eq!(
            (found.rpc.as_str(), found.height(), found.p2p),
            ("http://h:1", 7, None)
        );
        let new = "{\"event\":\"ready\",\"rpc\":\"u\",\"p2p\":\"/ip4/1.2.3.4/tcp/1/p2p/a\",\"peerId\":\"a\",\"metrics\":null,\"admin\":\"h:2\",\"height\":\"0\"}";
        std::fs::write(&log, new).unwrap();
        let found = ReadyLine::find(&log).unwrap();
        assert_eq!(
            (found.peer_id.as_deref(), found.metrics, found.admin.as_deref()),
            (Some("a"), None, Some("h:2"))
        );
    }
}
