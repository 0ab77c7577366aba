//! Doubler: a transaction twice, under a Proof of History that includes both.

use vibecoin_poh::{Chain as PohChain, Pace, seed};
use vibecoin_primitives::{BlockPart, ChainParams, PartContent, Transaction};

use crate::Rng;
use crate::blocks::root_of;
use crate::signer::Signer;

/// A transaction of this block or of an earlier one, to be in the block again.
pub fn again(rng: &mut Rng, here: &[Transaction], old: &[Transaction]) -> Option<Transaction> {
    let from = if here.is_empty() || rng.chance(200) {
        old
    } else {
        here
    };
    from.get(rng.index(from.len())).cloned()
}

/// The parts of a block in which the first transaction of each tick is twice.
pub struct Doubler {
    pace: Option<Pace>,
    /// Proof of History of the block, from its opening on.
    chain: Option<PohChain>,
}

impl Doubler {
    pub fn new(params: &ChainParams) -> Self {
        let (hashes, ticks) = (params.hashes_per_tick, params.ticks_per_block);
        Self {
            pace: Pace::new(u64::from(hashes), u64::from(ticks)).ok(),
            chain: None,
        }
    }

    /// The next part in place of an honest one.
    pub fn part(&mut self, signer: &Signer, mut honest: BlockPart) -> BlockPart {
        let statement = honest.signed.statement.clone();
        let PartContent::Tick(tick) = &mut honest.content else {
            // A later round may have fewer ticks: the replica decides when the block ends.
            let (height, round) = (statement.height.0, statement.round.0);
            let start = seed(statement.parent, height, round, &statement.proposer.0);
            self.chain = self.pace.map(|pace| PohChain::new(pace, start));
            return honest;
        };
        if let Some(first) = tick.transactions.first().cloned() {
            tick.transactions.insert(1, first);
        }
        let root = root_of(tick);
        if let Some(Ok(sealed)) = self.chain.as_mut().map(|chain| chain.finish_tick(root)) {
            tick.hash = sealed.hash;
        }
        signer.part(statement, honest.content)
    }
}
