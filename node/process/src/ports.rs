//! Listening sockets of this machine, and their owners.

use std::collections::BTreeMap;

/// The listening sockets: port and inode.
#[derive(Clone, Debug, Default)]
pub struct Listening(BTreeMap<u16, u64>);

impl Listening {
    /// The present state.
    #[must_use]
    pub fn now() -> Self {
        let mut found = BTreeMap::new();
        for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            found.extend(text.lines().filter_map(listener));
        }
        Self(found)
    }

    /// The inode of the socket that listens at a port.
    #[must_use]
    pub fn inode(&self, port: u16) -> Option<u64> {
        self.0.get(&port).copied()
    }
}

impl FromIterator<(u16, u64)> for Listening {
    fn from_iter<T: IntoIterator<Item = (u16, u64)>>(sockets: T) -> Self {
        Self(sockets.into_iter().collect())
    }
}

/// Parses a line of the table, if it is of a listening socket.
fn listener(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    // State 0A is listening.
    if *fields.get(3)? != "0A" {
        return None;
    }
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    Some((u16::from_str_radix(port, 16).ok()?, fields.get(9)?.parse().ok()?))
}

/// Description of a socket's owner.
#[must_use]
pub fn owner(inode: u64) -> String {
    let link = format!("socket:[{inode}]");
    let has = |pid: u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        files
            .flatten()
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == link.as_str()))
    };
    let mut pids = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    match pids.find(|pid| has(*pid)) {
        Some(pid) => {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} (pid {pid})", name.trim())
        }
        None => "a process of another user".to_owned(),
    }
}
