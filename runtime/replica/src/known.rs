//! The height that is known to exist, from which the node derives whether it is behind.

use std::collections::BTreeMap;

use vibecoin_consensus::Orderer;
use vibecoin_execution::State;
use vibecoin_primitives::{Height, PublicKey};

use crate::Replica;

/// A head is recent if its time is within this many empty-block intervals plus [`RECENT_MS`] of the clock.
const RECENT_INTERVALS: u64 = 5;
/// In milliseconds; added to [`RECENT_INTERVALS`].
const RECENT_MS: u64 = 2_000;

impl<S: State, O: Orderer> Replica<S, O> {
    /// The highest block known to exist, not below the head.
    ///
    /// The height that validators with more than a third of the power claim, or imply by voting above it: one
    /// of them is honest. While the head is recent by its certified time, nothing else counts, since
    /// identities of other peers are free. When it is not, the node may be behind and know no validator: then
    /// the claims of all peers count, except those that failed to deliver the blocks
    /// ([`vibecoin_sync::PlannerStatus::target`]).
    pub fn known_height(&self) -> Height {
        let known = self.vouched_height().max(self.head.parent.header.height);
        if self.is_head_recent() {
            known
        } else {
            known.max(self.planner.status().target)
        }
    }

    /// The highest block that validators with more than a third of the power claim to have, by their status
    /// or their votes; zero when that is not above the head.
    fn vouched_height(&self) -> Height {
        let head = self.head.parent.header.height;
        let mut claims: BTreeMap<PublicKey, Height> = BTreeMap::new();
        let mut note = |validator: PublicKey, height: Height| {
            if height > head {
                let claim = claims.entry(validator).or_default();
                *claim = height.max(*claim);
            }
        };
        for (validator, height) in &self.voted {
            note(*validator, height.saturating_sub(1));
        }
        for (peer, validator) in &self.peers {
            if let (Some(validator), Some(height)) = (validator, self.planner.claim(*peer)) {
                note(*validator, height);
            }
        }
        let set = &self.chain.validators;
        let mut claims: Vec<(Height, u64)> = claims
            .into_iter()
            .filter_map(|(key, height)| set.find(&key).map(|(_, member)| (height, member.power.0)))
            .collect();
        claims.sort_unstable_by(|a, b| b.cmp(a));
        let (total, mut power) = (u128::from(set.total_power()), 0u128);
        for (height, more) in claims {
            power = power.saturating_add(u128::from(more));
            if power.saturating_mul(3) > total {
                return height;
            }
        }
        Height::ZERO
    }

    /// Returns true if blocks are produced on time. Never on a chain without empty blocks, where an old head
    /// proves nothing.
    fn is_head_recent(&self) -> bool {
        let interval = u64::from(self.chain.params.empty_block_interval_ms);
        let age_max = interval
            .saturating_mul(RECENT_INTERVALS)
            .saturating_add(RECENT_MS);
        let age = self.now.wall.0.abs_diff(self.head.parent.header.time.0);
        interval > 0 && age <= age_max
    }
}
