//! Conditions under which a node that lost data participates again.

use tracing::warn;
use vibecoin_primitives::{Hash, Height};
use vibecoin_rpc_server::backend::Waiting;
use vibecoin_storage::Head;
use vibecoin_storage::start::Lost;

use crate::error::NodeError;

/// Blocks to fetch from peers, and heights at which the key stays silent. Both resolve without intervention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Blocks that were committed on this node and that the database lost.
    pub lost: Option<Lost>,
    /// Last height at which this key may have signed without a trustworthy record of it.
    pub silent_through: Option<Height>,
}

impl Recovery {
    /// Logs the conditions at the start.
    pub fn announce(&self) {
        if let Some(lost) = &self.lost {
            warn!(target: "node", head = %lost.head.height, committed = %lost.through,
                  silent_through = self.silent_through.map(|height| height.0),
                  "the database lost blocks at its end; following until they are back");
        } else if let Some(through) = self.silent_through {
            warn!(target: "node", %through, "this key may have signed without a record of it; silent through this height");
        }
    }

    /// The pending condition while `head` is the newest block; `None` when there is none. `abstains` states
    /// that the orderer refuses to sign at the height after the head.
    #[must_use]
    pub fn waiting(&self, head: Height, abstains: bool) -> Option<Waiting> {
        let again = match self.silent_through.filter(|through| *through > head) {
            Some(through) => format!("; this key signs nothing up to height {through}"),
            None => String::new(),
        };
        if let Some(lost) = self.lost.filter(|lost| lost.through > head) {
            return Some(Waiting {
                reason: "blocks_lost",
                through: lost.through,
                detail: format!(
                    "the database ended at height {}, height {} was committed: the missing blocks come from peers{again}",
                    lost.head.height, lost.through
                ),
            });
        }
        let silent = self.silent_through.filter(|through| *through > head);
        let through = silent.or_else(|| abstains.then(|| head.saturating_add(1)))?;
        Some(Waiting {
            reason: "may_have_signed",
            through,
            detail: format!(
                "this key may have signed up to height {through} and has no record of what: it signs again above that height"
            ),
        })
    }
}

/// Compares a block about to be committed with the witness's record of its height.
///
/// # Errors
/// [`NodeError::Damaged`] with both hashes when it is a different block: the peers' chain differs from the
/// one committed on this node.
pub fn compare_with_witness(witness: Option<Head>, height: Height, hash: Hash) -> Result<(), NodeError> {
    match witness {
        Some(seen) if seen.height == height && seen.hash != hash => Err(NodeError::Damaged {
            detail: format!(
                "block {height} of the peers is {hash}, but {} was committed here",
                seen.hash
            ),
            remedy: "Nothing was signed and the block was not stored. Two different blocks of one height are final \
                     somewhere: keep a copy of this home for a report, and ask the operators of the other validators \
                     which chain is theirs"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn head(height: u64) -> Head {
        Head {
            height: Height(height),
            hash: Hash([7; 32]),
        }
    }

    #[test]
    fn a_node_waits_for_lost_blocks_then_for_the_heights_it_may_have_signed_then_for_nothing() {
        let recovery = Recovery {
            lost: Some(Lost {
                head: head(3),
                witness: Some(head(9)),
                through: Height(9),
            }),
            silent_through: Some(Height(11)),
        };
        let at = |height| recovery.waiting(Height(height), false);
        let first = at(3).unwrap();
        assert_eq!((first.reason, first.through), ("blocks_lost", Height(9)));
        assert!(first.detail.contains("ended at height 3") && first.detail.contains("up to height 11"));
        assert_eq!(at(8).unwrap().reason, "blocks_lost");
        for height in [9, 10] {
            let then = at(height).unwrap();
            assert_eq!((then.reason, then.through), ("may_have_signed", Height(11)));
        }
        assert_eq!(at(11), None);
        assert_eq!(recovery.waiting(Height(11), true).unwrap().through, Height(12));
        assert_eq!(Recovery::default().waiting(Height(0), false), None);
    }

    #[test]
    fn another_block_at_the_height_of_the_witness_is_exit_20_with_both_hashes() {
        let other = Hash([8; 32]);
        for (witness, height, hash) in [
            (None, 9, other),
            (Some(head(9)), 8, other),
            (Some(head(9)), 9, head(9).hash),
            (Some(head(9)), 10, other),
        ] {
            compare_with_witness(witness, Height(height), hash).unwrap();
        }
        let error = compare_with_witness(Some(head(9)), Height(9), other).unwrap_err();
        assert_eq!(error.exit_code(), 20);
        let text = error.to_string();
        assert!(
            text.contains(&other.to_string()) && text.contains(&head(9).hash.to_string()),
            "{text}"
        );
    }
}
