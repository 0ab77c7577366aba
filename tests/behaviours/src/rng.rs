//! Pseudo-random numbers from a seed alone.

/// A splitmix64 generator. Good enough to spread faults; never for keys.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A separate generator for each purpose of a seed, so that an additional draw in one changes no
    /// other.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut rng = Self(seed ^ purpose.rotate_left(32));
        rng.next();
        rng
    }

    /// The next number.
    #[allow(
        clippy::should_implement_trait,
        reason = "it has no end, so that it is no iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// A number of a range with both ends.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A position in a list of `count`.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// True in `permille` of a thousand cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// Returns true in so many of a million cases.
    pub fn in_million(&mut self, cases: u32) -> bool {
        self.below(1_000_000) < u64::from(cases)
    }

    /// This many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_le_bytes())
            .flatten()
            .take(len)
            .collect()
    }

    /// A wait with the mean `mean`, never 0, no more than twice the mean.
    pub fn wait(&mut self, mean: u64) -> u64 {
        1 + self.below(mean.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_they_spread() {
        let draw = |seed| {
            let mut random = Rng::new(seed, 0);
            (0..1000).map(|_| random.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        for digit in 0..10 {
            let seen = draw(7).iter().filter(|n| **n == digit).count();
            assert!((60..150).contains(&seen), "{digit}: {seen}");
        }
        assert_eq!(Rng::new(1, 0).below(0), 0);
        assert_eq!(Rng::new(1, 0).bytes(13).len(), 13);
    }
}
