//! Prints the speed of making and checking chains on one core: `cargo bench -p vibecoin-poh`.
//!
//! Each figure is the best of several turns, and the contenders alternate, so that their ratios hold on a
//! busy machine too.

#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    reason = "a bench"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};
use vibecoin_poh::{Chain, Kernel, Pace, SealedTick, burn, seed, verify_with};
use vibecoin_primitives::Hash;

const TURNS: usize = 9;
const HASHES_PER_TICK: u64 = 12_500;
const NOMINAL_TICK: Duration = Duration::from_millis(5);
const CHAIN_HASHES: u64 = 100_000;

struct Contender<'a> {
    name: String,
    hashes: u64,
    /// The time that the chain claims to have taken, for contenders that check one.
    nominal: Option<Duration>,
    work: Box<dyn Fn() + 'a>,
    best: Duration,
}

impl<'a> Contender<'a> {
    fn new(name: String, hashes: u64, nominal: Option<Duration>, work: impl Fn() + 'a) -> Self {
        Self {
            name,
            hashes,
            nominal,
            work: Box::new(work),
            best: Duration::MAX,
        }
    }

    fn mhashes_per_second(&self) -> f64 {
        self.hashes as f64 / self.best.as_secs_f64() / 1e6
    }
}

fn block(pace: Pace) -> (Hash, Vec<SealedTick>) {
    let start = seed(Hash::ZERO, 1, 0, &[1; 32]);
    let mut chain = Chain::new(pace, start);
    let ticks = (0..pace.ticks())
        .map(|_| chain.finish_tick(Hash::ZERO).expect("within the pace"))
        .collect();
    (start, ticks)
}

fn blake3_chain(start: Hash, count: u64) -> Hash {
    Hash((0..count).fold(start.0, |hash, _| *blake3::hash(&hash).as_bytes()))
}

fn main() {
    // Production, devnet, a later round, a streamed portion.
    let blocks: Vec<_> = [64, 20, 16, 1]
        .into_iter()
        .map(|ticks| Pace::new(HASHES_PER_TICK, ticks).expect("within the bounds"))
        .map(|pace| (pace, block(pace)))
        .collect();

    let mut contenders = vec![
        Contender::new("poh::chain/kernel=blake3".into(), CHAIN_HASHES, None, || {
            black_box(blake3_chain(black_box(Hash::ZERO), CHAIN_HASHES));
        }),
        Contender::new("poh::chain/kernel=burn".into(), CHAIN_HASHES, None, || {
            black_box(burn(black_box(Hash::ZERO), CHAIN_HASHES));
        }),
    ];
    for (pace, (start, ticks)) in &blocks {
        for kernel in Kernel::available() {
            let name = format!(
                "poh::verify/kernel={} lanes={} ticks={}",
                kernel.name(),
                kernel.lanes(),
                pace.ticks()
            );
            let nominal = NOMINAL_TICK * u32::try_from(pace.ticks()).expect("few ticks");
            contenders.push(Contender::new(name, pace.hashes(), Some(nominal), move || {
                verify_with(kernel, *pace, *start, ticks).expect("a good block");
            }));
        }
    }

    for _ in 0..TURNS {
        for contender in &mut contenders {
            let started = Instant::now();
            (contender.work)();
            contender.best = contender.best.min(started.elapsed());
        }
    }

    let base = contenders.first().map_or(1.0, Contender::mhashes_per_second);
    println!(
        "{:<46} {:>10} {:>9} {:>9} {:>11}",
        "", "M hashes/s", "x blake3", "ms", "x nominal"
    );
    for contender in &contenders {
        let rate = contender.mhashes_per_second();
        let nominal = contender.nominal.map_or(String::new(), |nominal| {
            format!("{:.1}", nominal.as_secs_f64() / contender.best.as_secs_f64())
        });
        let ms = contender.best.as_secs_f64() * 1e3;
        println!(
            "{:<46} {rate:>10.1} {:>9.2} {ms:>9.3} {nominal:>11}",
            contender.name,
            rate / base
        );
    }
}
