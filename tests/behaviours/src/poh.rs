//! A Proof of History that is wrong, or too short or long; and the hashes of one that is right.

use vibecoin_poh::{Chain as PohChain, Pace};
use vibecoin_primitives::{Block, BodyV1, Hash, Header, Tick};

use crate::Rng;
use crate::blocks::{root_of, sealed};

/// The hash of a tick is wrong; the later ticks follow from it, or from the right one.
pub fn wrong(rng: &mut Rng, hashes_per_tick: u32, mut header: Header, mut inner: BodyV1) -> Block {
    let wrong = rng.index(inner.ticks.len());
    let consistent = rng.chance(700);
    let forged = Hash([rng.next() as u8; 32]);
    if let Some(tick) = inner.ticks.get_mut(wrong) {
        tick.hash = forged;
    }
    if consistent {
        let ticks = &mut inner.ticks[wrong..];
        seal(hashes_per_tick, forged, &mut ticks[1..]);
    }
    header.poh_hash = inner.ticks.last().map_or(header.poh_hash, |tick| tick.hash);
    sealed(header, inner)
}

/// No ticks, a header that claims too many, or one too many.
pub fn wrong_ticks(rng: &mut Rng, mut header: Header, mut inner: BodyV1) -> Block {
    match rng.below(3) {
        0 => inner.ticks.clear(),
        1 => header.ticks = u16::MAX,
        _ => inner.ticks.extend(inner.ticks.last().cloned()),
    }
    sealed(header, inner)
}

/// Writes the hashes of ticks that follow from `start`, and returns the last one.
pub fn seal(hashes_per_tick: u32, start: Hash, ticks: &mut [Tick]) -> Hash {
    let hashes = u64::from(hashes_per_tick);
    let Ok(pace) = Pace::new(hashes, ticks.len() as u64) else {
        return start;
    };
    let mut chain = PohChain::new(pace, start);
    for tick in ticks.iter_mut() {
        chain.advance(hashes - 1);
        let sealed = chain
            .finish_tick(root_of(tick))
            .expect("as many ticks as the pace says");
        tick.hash = sealed.hash;
    }
    chain.hash()
}
