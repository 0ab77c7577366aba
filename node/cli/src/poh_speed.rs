//! Making one chain of hashes, and checking many ticks side by side.

use std::time::Duration;

use clap::Args;
use vibecoin_poh::{Chain, Kernel, Pace, SealedTick, burn, verify_with};
use vibecoin_primitives::Hash;

use crate::error::CliError;
use crate::exit::Exit;
use crate::figures::{Figures, per_second};
use crate::numbers::whole;
use crate::output::Answer;

/// Arguments of `bench poh`.
#[derive(Args, Clone, Copy, Debug)]
pub struct PohArgs {
    /// Hashes of a tick
    #[arg(long, default_value_t = 12_500, allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    pub hashes_per_tick: u64,
    /// Ticks of a block
    #[arg(long, default_value_t = 64, allow_negative_numbers = true, value_parser = whole::<u64>(1..=u64::MAX))]
    pub ticks: u64,
}

impl Default for PohArgs {
    fn default() -> Self {
        Self {
            hashes_per_tick: 12_500,
            ticks: 64,
        }
    }
}

impl PohArgs {
    /// Runs the measurement.
    ///
    /// # Errors
    /// Exit 2 for a pace that no block may have.
    pub fn run(self) -> Result<Answer, CliError> {
        let fail = |error: vibecoin_poh::PohError| CliError::usage(error.to_string());
        let pace = Pace::new(self.hashes_per_tick, self.ticks).map_err(fail)?;
        let mut figures = Figures::of("poh");
        let made = per_second(Duration::from_millis(300), || {
            std::hint::black_box(burn(Hash::ZERO, 100_000));
        }) * 100_000.0;
        figures.add("make/one chain", made / 1e6, "Mhash/s");
        let ticks = sealed(pace).map_err(fail)?;
        let hashes = Duration::from_nanos(pace.hashes()).as_nanos() as f64;
        for kernel in Kernel::available() {
            verify_with(kernel, pace, Hash::ZERO, &ticks)
                .map_err(|error| CliError::new(Exit::Failure, error.to_string()))?;
            let checked = per_second(Duration::from_millis(300), || {
                let _verdict = std::hint::black_box(verify_with(kernel, pace, Hash::ZERO, &ticks));
            }) * hashes;
            figures.add(
                format!("verify/kernel={}", kernel.name()),
                checked / 1e6,
                "Mhash/s",
            );
            figures.add(
                format!("verify/kernel={} against making", kernel.name()),
                checked / made,
                "times",
            );
        }
        Ok(figures.answer())
    }
}

/// The ticks of a block without transactions.
fn sealed(pace: Pace) -> Result<Vec<SealedTick>, vibecoin_poh::PohError> {
    let mut chain = Chain::new(pace, Hash::ZERO);
    (0..pace.ticks()).map(|_| chain.finish_tick(Hash::ZERO)).collect()
}
