//! Table of targets and measured values.

use std::fmt;
use std::time::Duration;

/// Comparison with a target. A figure that depends on the machine is reported, never asserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As good as the target or better.
    Met,
    /// Worse than the target.
    Missed,
    /// No target: a figure for orientation.
    Figure,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Figure => "-",
        })
    }
}

impl From<bool> for Verdict {
    fn from(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }
}

/// One decimal.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{}.{} s", time.as_secs(), time.subsec_millis() / 100)
}

#[derive(Clone, Debug)]
struct Row {
    id: String,
    what: String,
    target: String,
    measured: String,
    verdict: Verdict,
}

/// The table that a run prints.
#[derive(Clone, Debug, Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds a row and prints it at once.
    pub fn row(&mut self, id: &str, what: &str, target: &str, measured: String, verdict: impl Into<Verdict>) {
        let row = Row {
            id: id.to_owned(),
            what: what.to_owned(),
            target: target.to_owned(),
            measured,
            verdict: verdict.into(),
        };
        println!(
            "{:4} {}: {} (target {}) {}",
            row.id, row.what, row.measured, row.target, row.verdict
        );
        self.0.push(row);
    }

    /// Adds a row whose figure is a time with a limit in seconds.
    pub fn within(&mut self, id: &str, what: &str, time: Duration, limit_s: u64) {
        let target = format!("≤ {limit_s} s");
        let met = time <= Duration::from_secs(limit_s);
        self.row(id, what, &target, seconds(time), met);
    }

    /// Number of missed targets.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.0.iter().filter(|row| row.verdict == Verdict::Missed).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&Row) -> &str, least: usize| {
            self.0
                .iter()
                .map(|row| text(row).chars().count())
                .fold(least, usize::max)
        };
        let what = width(|row| &row.what, 4);
        let target = width(|row| &row.target, 6);
        let measured = width(|row| &row.measured, 8);
        writeln!(
            f,
            "| id   | {:what$} | {:target$} | {:measured$} | verdict |",
            "what", "target", "measured"
        )?;
        writeln!(
            f,
            "|------|-{0:-<what$}-|-{0:-<target$}-|-{0:-<measured$}-|---------|",
            ""
        )?;
        for row in &self.0 {
            writeln!(
                f,
                "| {:4} | {:what$} | {:target$} | {:measured$} | {:7} |",
                row.id, row.what, row.target, row.measured, row.verdict
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_counts_what_was_missed() {
        let mut table = Table::default();
        table.row("N1", "first block after heal", "≤ 10 s", "1.2 s".to_owned(), true);
        table.row("N2", "rate", "≥ 80 %", "70 %".to_owned(), false);
        table.row("", "memory", "", "90 MiB".to_owned(), Verdict::Figure);
        assert_eq!(table.missed(), 1);
        let text = table.to_string();
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}
