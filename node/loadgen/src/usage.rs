//! Processor time and memory of processes on this machine.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

/// Interval between two samples of a process's memory.
const MEMORY_EVERY: Duration = Duration::from_secs(1);

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

/// Resources that a process uses while it is measured.
#[derive(Debug)]
pub struct Meter {
    name: String,
    pid: u32,
    cpu: Duration,
    threads: Usage,
    memory_start: u64,
    memory_max: u64,
}

/// Resources that a process used while it was measured.
#[derive(Clone, Debug)]
pub struct Cost {
    /// The name that its meter was given.
    pub name: String,
    /// Processor time; `None` when it ended meanwhile.
    pub cpu: Option<Duration>,
    /// Processor time by thread, in nanoseconds.
    pub threads: BTreeMap<String, u64>,
    /// Resident bytes at the start.
    pub memory_start: u64,
    /// Resident bytes at the end.
    pub memory_end: u64,
    /// Maximum resident bytes observed.
    pub memory_max: u64,
}

impl Meter {
    /// Begins to measure a process.
    #[must_use]
    pub fn start(name: impl Into<String>, pid: u32) -> Self {
        let memory = resident_bytes(pid).unwrap_or(0);
        Self {
            name: name.into(),
            pid,
            cpu: cpu_time(pid).unwrap_or_default(),
            threads: Usage::of(pid),
            memory_start: memory,
            memory_max: memory,
        }
    }

    /// Completes a future, and samples the memory of the processes until then.
    pub async fn during<T>(meters: &mut [Self], work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(MEMORY_EVERY, &mut work).await {
                Ok(done) => return done,
                Err(_pending) => meters.iter_mut().for_each(Self::look),
            }
        }
    }

    fn look(&mut self) {
        let memory = resident_bytes(self.pid).unwrap_or(0);
        self.memory_max = self.memory_max.max(memory);
    }

    /// The resources used since the start.
    #[must_use]
    pub fn stop(mut self) -> Cost {
        self.look();
        // A process that ended meanwhile has no figures any more.
        let cpu = cpu_time(self.pid).map(|cpu| cpu.saturating_sub(self.cpu));
        Cost {
            cpu,
            threads: Usage::of(self.pid).since(&self.threads).threads,
            memory_start: self.memory_start,
            memory_end: resident_bytes(self.pid).unwrap_or(0),
            memory_max: self.memory_max,
            name: self.name,
        }
    }
}

/// Processor time that a process has used, user and system, ended threads included.
fn cpu_time(pid: u32) -> Option<Duration> {
    // The unit of these fields, USER_HZ, is 100 on every machine that Linux runs Rust on.
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = |index: usize| fields.split_whitespace().nth(index)?.parse::<u64>().ok();
    let used = ticks(11)?.saturating_add(ticks(12)?);
    Some(Duration::from_millis(used.saturating_mul(TICK_MS)))
}

/// Resident memory of a process, in bytes.
fn resident_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_measured_while_work_is_under_way() {
        let mut meters = [Meter::start("own", std::process::id())];
        assert_eq!(Meter::during(&mut meters, std::future::ready(7)).await, 7);
        let [own] = meters.map(Meter::stop);
        assert_eq!(own.name, "own");
        assert!(
            own.cpu.is_some() && own.memory_start > 0 && own.memory_end > 0,
            "{own:?}"
        );
        assert!(own.memory_max >= own.memory_start, "{own:?}");
        let none = Meter::start("none", u32::MAX).stop();
        assert_eq!((none.cpu, none.memory_max), (None, 0));
    }
}
