//! Processor time of a process on this machine, by thread.

use std::collections::BTreeMap;

/// Processor time of a process, in nanoseconds, by the names of its threads.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Threads with the same name are added up; a number at the end of a name is ignored.
    pub threads: BTreeMap<String, u64>,
}

impl Usage {
    /// Processor time of a process so far; nothing for one that has ended.
    #[must_use]
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
    #[must_use]
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
    #[must_use]
    pub fn total(&self) -> u64 {
        self.threads
            .values()
            .fold(0, |sum, nanos| sum.saturating_add(*nanos))
    }
}
