//! Resource usage of this process as reported by the kernel. Zero where it is not reported.

use std::time::Duration;

/// Linux counts processor time in hundredths of a second for every process.
const TICKS_PER_SECOND: u32 = 100;

/// Processor time and bytes written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) written_bytes: u64,
}

impl Usage {
    pub(super) fn now() -> Self {
        Self {
            cpu: cpu().unwrap_or_default(),
            written_bytes: field("/proc/self/io", "write_bytes:").unwrap_or(0),
        }
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// User and system time: fields 14 and 15, counted behind the name, which may contain spaces.
fn cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Duration::from_secs(1)
        .checked_div(TICKS_PER_SECOND)?
        .checked_mul(user.checked_add(system)?)
}

pub(super) fn peak_mib() -> f64 {
    let kib = field("/proc/self/status", "VmHWM:").unwrap_or(0);
    super::ratio(kib, 1024)
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
