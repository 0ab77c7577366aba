//! Connected peers, and the heights that validators claim.

use std::collections::BTreeMap;

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::{Height, PublicKey, ValidatorSet};

use crate::{Message, PeerId};

/// Minimum time between two announcements of our newest block, in microseconds.
const STATUS_MICROS: u64 = 500_000;

/// Connected peers. Identities are free, except those of validators, which a peer has proven.
#[derive(Default)]
pub(crate) struct Peers {
    /// The validator identity of each, if it has one.
    connected: BTreeMap<PeerId, Option<PublicKey>>,
    /// The highest height of a verified vote, by validator; connected or not. Never decreases.
    voted: BTreeMap<PublicKey, Height>,
    /// Time of the last announcement of our head.
    status_sent: Option<MonoTime>,
}

impl Peers {
    pub fn connect(&mut self, peer: PeerId, validator: Option<PublicKey>) {
        self.connected.insert(peer, validator);
    }

    /// Removes a peer. Returns the validator that has no connection to this node any more, if there is one.
    pub fn disconnect(&mut self, peer: PeerId) -> Option<PublicKey> {
        let validator = self.connected.remove(&peer).flatten()?;
        (!self.has_validator(&validator)).then_some(validator)
    }

    pub const fn connected(&self) -> &BTreeMap<PeerId, Option<PublicKey>> {
        &self.connected
    }

    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.connected.contains_key(&peer)
    }

    /// Returns true if the peer has proven to be this validator.
    pub fn is_validator(&self, peer: PeerId, validator: &PublicKey) -> bool {
        self.connected.get(&peer) == Some(&Some(*validator))
    }

    /// Returns true if a connected peer is this validator.
    pub fn has_validator(&self, validator: &PublicKey) -> bool {
        self.connected.values().any(|peer| *peer == Some(*validator))
    }

    /// Records that a verified vote of this validator is for `height`.
    pub fn record_vote(&mut self, validator: PublicKey, height: Height) {
        let voted = self.voted.entry(validator).or_default();
        *voted = height.max(*voted);
    }

    /// Announcement of our head to all peers, rate limited by [`STATUS_MICROS`].
    pub fn announce(&mut self, head: Height, now: MonoTime) -> Option<Message> {
        let due = self.status_sent.is_none_or(|at| now >= at.after(STATUS_MICROS));
        if !due || self.connected.is_empty() {
            return None;
        }
        self.status_sent = Some(now);
        Some(Message::Status { height: head })
    }

    /// The highest block that validators with more than a third of the power claim to have, by their status
    /// (`claim`) or by their votes; zero when that is not above `head`.
    pub fn vouched_height(
        &self,
        set: &ValidatorSet,
        head: Height,
        claim: impl Fn(PeerId) -> Option<Height>,
    ) -> Height {
        let mut claims: BTreeMap<PublicKey, Height> = BTreeMap::new();
        let mut record = |validator: PublicKey, height: Height| {
            if height > head {
                let claim = claims.entry(validator).or_default();
                *claim = height.max(*claim);
            }
        };
        for (validator, height) in &self.voted {
            record(*validator, height.saturating_sub(1));
        }
        for (peer, validator) in &self.connected {
            if let (Some(validator), Some(height)) = (validator, claim(*peer)) {
                record(*validator, height);
            }
        }
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
}
