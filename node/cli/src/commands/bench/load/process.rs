//! Processor time of the node's process, by thread, when it runs on this machine.

use std::collections::BTreeMap;
use std::path::Path;

use vibecoin_config::Paths;
use vibecoin_keystore::HomeLock;

use crate::context::Context;

/// Processor time of a process, in nanoseconds, by the names of its threads.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Threads with the same name are added up; a number at the end of a name is ignored.
    pub threads: BTreeMap<String, u64>,
}

/// The process that holds the home's lock, provided that the home's node is the one that is measured.
pub fn pid_of(context: &Context) -> Option<u32> {
    let home = context.home().ok()?;
    let endpoint = std::fs::read_to_string(Paths::endpoint_in(home)).ok()?;
    if endpoint.trim() != context.url().ok()?.secret().trim_end_matches('/') {
        return None;
    }
    let pid = HomeLock::holder(home)?;
    Path::new(&format!("/proc/{pid}/task")).exists().then_some(pid)
}

impl Usage {
    /// Processor time of a process so far.
    pub fn of(pid: u32) -> Self {
        let mut threads = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // The first field of schedstat is the time on a processor, in nanoseconds.
            let nanos: u64 = read("schedstat")
                .split(' ')
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            let name = read("comm")
                .trim()
                .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == ':')
                .to_owned();
            let sum: &mut u64 = threads.entry(name).or_default();
            *sum = sum.saturating_add(nanos);
        }
        Self { threads }
    }

    /// Processor time used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let threads = self.threads.iter().map(|(name, nanos)| {
            (
                name.clone(),
                nanos.saturating_sub(before.threads.get(name).copied().unwrap_or(0)),
            )
        });
        Self {
            threads: threads.filter(|(_, nanos)| *nanos > 0).collect(),
        }
    }

    /// All threads together.
    pub fn total(&self) -> u64 {
        self.threads
            .values()
            .fold(0, |sum, nanos| sum.saturating_add(*nanos))
    }
}
