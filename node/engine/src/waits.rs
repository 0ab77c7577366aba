//! Conditions that keep new blocks from a node: no peers, or too few validators to decide them. Plain values,
//! and the task that logs a long wait.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use tracing::{info, warn};
use vibecoin_primitives::{FaultModel, Height, PublicKey, ValidatorSet};

use crate::backend::NodeBackend;

/// Interval between two checks of the conditions.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Number of checks after which a wait is reported first: those that are part of a normal start end within
/// them.
const FIRST_AFTER: u64 = 5;
/// Number of checks from one report to the next.
const THEN_EVERY: u64 = 30;
/// Maximum number of keys that are printed.
const KEYS_MAX: usize = 3;
/// Number of characters that identify a key.
const KEY_CHARS: usize = 12;

/// The node and its peers.
pub struct Surroundings<'a> {
    /// The height of the newest block.
    pub head: Height,
    /// The validators that decide the next one.
    pub validators: &'a ValidatorSet,
    /// The faults that they tolerate.
    pub fault_model: FaultModel,
    /// This node's key, if it signs.
    pub own: Option<PublicKey>,
    /// The connected peers, each with the key that it proved; `None` without a network.
    pub peers: Option<Vec<Option<PublicKey>>>,
}

/// Missing peers or validators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// A stable name: `no_network`, `peers`, `quorum` or `blocks`.
    pub reason: &'static str,
    /// Description for operators.
    pub detail: String,
}

impl Surroundings<'_> {
    /// Returns true if the validators among this node and its peers can decide a block.
    fn has_quorum(&self, present: &BTreeSet<PublicKey>) -> bool {
        let total = self.validators.total_power();
        self.fault_model.is_quorum(self.power(present), total)
    }

    fn power(&self, keys: &BTreeSet<PublicKey>) -> u64 {
        let members = keys.iter().filter_map(|key| self.validators.find(key));
        members.fold(0, |sum, (_, member)| sum.saturating_add(member.power.0))
    }

    /// The missing peers or validators for the next block; `None` when a quorum is present.
    #[must_use]
    pub fn absent(&self) -> Option<Absent> {
        let peers = self.peers.as_deref().unwrap_or_default();
        let present: BTreeSet<PublicKey> = peers.iter().flatten().chain(&self.own).copied().collect();
        if self.has_quorum(&present) {
            return None;
        }
        let next = self.head.saturating_add(1);
        let absent = |reason, detail| Some(Absent { reason, detail });
        if self.peers.is_none() {
            let detail = format!(
                "block {next} comes from other nodes, and p2p.listen and p2p.peers are empty: there is no way to them"
            );
            return absent("no_network", detail);
        }
        if peers.is_empty() {
            let detail = format!("block {next} comes from other nodes, and none is connected");
            return absent("peers", detail);
        }
        if self.own.is_none() {
            let detail = format!(
                "none of the {} connected peers has given block {next}",
                peers.len()
            );
            return absent("blocks", detail);
        }
        let share = match self.fault_model {
            FaultModel::Byzantine => "two thirds",
            FaultModel::Crash => "half",
        };
        let missing: Vec<String> = self
            .validators
            .members()
            .iter()
            .filter(|member| !present.contains(&member.key))
            .map(|member| short(&member.key.to_string()))
            .collect();
        let shown = missing.get(..KEYS_MAX).unwrap_or(&missing).join(", ");
        let more = match missing.len().saturating_sub(KEYS_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let detail = format!(
            "block {next} needs validators with more than {share} of the power {}; those with {} are connected, this one \
             included; not connected: {shown}{more}",
            self.validators.total_power(),
            self.power(&present),
        );
        absent("quorum", detail)
    }
}

fn short(key: &str) -> String {
    key.chars().take(KEY_CHARS).collect()
}

/// Logs waits until the node is dropped. Run it in a separate task.
pub async fn report(backend: Weak<NodeBackend>) {
    let mut waited: Option<(&'static str, u64)> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(backend) = backend.upgrade() else {
            return;
        };
        let now = backend.waits_for();
        waited = match (waited, now) {
            (None, None) => None,
            (Some((reason, looks)), None) => {
                if looks >= FIRST_AFTER {
                    info!(target: "node", reason, "the wait is over");
                }
                None
            }
            (before, Some(wait)) => {
                let looks = match before {
                    Some((reason, looks)) if reason == wait.reason => looks.saturating_add(1),
                    _ => 1,
                };
                if looks == FIRST_AFTER || looks.is_multiple_of(THEN_EVERY) {
                    warn!(target: "node", reason = wait.reason, "waiting: {}", wait.detail);
                }
                Some((wait.reason, looks))
            }
        };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use vibecoin_primitives::{Address, Power, SecretKey, Validator};

    fn key(number: u8) -> PublicKey {
        SecretKey::from_seed(&[number; 32]).public_key()
    }

    fn validators() -> ValidatorSet {
        let member = |number: u8| Validator {
            key: key(number),
            power: Power(1),
            payout: Address::from(key(number.wrapping_add(100))),
        };
        ValidatorSet::new((1..=4).map(member).collect()).unwrap()
    }

    fn absent(own: Option<u8>, peers: Option<&[Option<u8>]>, fault_model: FaultModel) -> Option<Absent> {
        let validators = validators();
        Surroundings {
            head: Height(0),
            validators: &validators,
            fault_model,
            own: own.map(key),
            peers: peers.map(|peers| peers.iter().map(|peer| peer.map(key)).collect()),
        }
        .absent()
    }

    #[test]
    fn who_is_missing_is_named_until_those_who_are_there_can_decide() {
        let reason = |own, peers: Option<&[Option<u8>]>| {
            absent(own, peers, FaultModel::Byzantine).map(|absent| absent.reason)
        };
        assert_eq!(reason(Some(1), None), Some("no_network"));
        assert_eq!(reason(Some(1), Some(&[])), Some("peers"));
        assert_eq!(reason(Some(1), Some(&[Some(2), None])), Some("quorum"));
        // A validator connected twice, and a peer that is not a validator, add nothing.
        assert_eq!(
            reason(Some(1), Some(&[Some(2), Some(2), Some(9)])),
            Some("quorum")
        );
        assert_eq!(reason(Some(1), Some(&[Some(2), Some(3)])), None);
        assert_eq!(reason(None, Some(&[None])), Some("blocks"));
        assert_eq!(reason(None, Some(&[Some(2), Some(3), Some(4)])), None);
        let detail = absent(Some(1), Some(&[Some(2)]), FaultModel::Byzantine)
            .unwrap()
            .detail;
        for part in ["block 1", "two thirds of the power 4", "those with 2"] {
            assert!(detail.contains(part), "{detail}");
        }
        for missing in [3, 4] {
            assert!(detail.contains(&short(&key(missing).to_string())), "{detail}");
        }
        assert!(!detail.contains(&short(&key(2).to_string())), "{detail}");
        let half = absent(Some(1), Some(&[Some(2)]), FaultModel::Crash)
            .unwrap()
            .detail;
        assert!(half.contains("half of the power 4"), "{half}");
        assert_eq!(
            absent(Some(1), Some(&[Some(2), Some(3)]), FaultModel::Crash),
            None
        );
    }
}
