//! Figures of measurements, each with a name and a unit.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::output::Answer;

/// Figures, each with a name and a unit.
pub struct Figures {
    bench: &'static str,
    rows: Vec<(String, f64, &'static str)>,
}

impl Figures {
    /// Figures of this benchmark.
    #[must_use]
    pub const fn of(bench: &'static str) -> Self {
        Self {
            bench,
            rows: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push((name.into(), value, unit));
    }

    /// All figures, with the machine they were measured on.
    #[must_use]
    pub fn answer(self) -> Answer {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(name, value, unit)| json!({ "name": name, "value": rounded(*value), "unit": unit }))
            .collect();
        let width = self.rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let text: String = self
            .rows
            .iter()
            .map(|(name, value, unit)| format!("{name:<width$}  {:>14} {unit}\n", rounded(*value)))
            .collect();
        Answer::new(json!({ "bench": self.bench, "cores": cores(), "figures": rows })).text(text)
    }
}

/// Cores of this machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Rounds to four significant digits; more would be noise.
pub fn rounded(value: f64) -> f64 {
    if !value.is_finite() {
        return 0.0;
    }
    // Rust's scientific notation rounds to the requested digits.
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// Executions of `work` per second: repeated for at least `least`, the best of three.
pub fn per_second(least: Duration, mut work: impl FnMut()) -> f64 {
    let mut best = 0f64;
    for _ in 0..3 {
        let begun = Instant::now();
        let mut times = 0u32;
        while begun.elapsed() < least {
            work();
            times = times.saturating_add(1);
        }
        best = best.max(f64::from(times) / begun.elapsed().as_secs_f64());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    #[allow(clippy::float_cmp)]
    fn figures_keep_four_digits() {
        assert_eq!(rounded(123_456.0), 123_500.0);
        assert_eq!(rounded(12.345_67), 12.35);
        assert_eq!(rounded(0.001_234_56), 0.001_235);
        assert_eq!(rounded(0.0), 0.0);
        assert_eq!(rounded(f64::NAN), 0.0);
    }
}
