//! Conditions under which a node that lost data participates again, for the log and for `status`.

use tracing::warn;
use vibecoin_host::Recovery;
use vibecoin_primitives::Height;
use vibecoin_rpc_backend::Waiting;

/// Logs the conditions at the start.
pub fn announce(recovery: &Recovery) {
    if let Some(lost) = &recovery.lost {
        warn!(target: "node", head = %lost.head.height, committed = %lost.through,
              silent_through = recovery.silent_through.map(|height| height.0),
              "the database lost blocks at its end; following until they are back");
    } else if let Some(through) = recovery.silent_through {
        warn!(target: "node", %through, "this key may have signed without a record of it; silent through this height");
    }
}

/// The pending condition while `head` is the newest block; `None` when there is none. `abstains` states
/// that the orderer refuses to sign at the height after the head.
#[must_use]
pub fn waiting(recovery: &Recovery, head: Height, abstains: bool) -> Option<Waiting> {
    let again = match recovery.silent_through.filter(|through| *through > head) {
        Some(through) => format!("; this key signs nothing up to height {through}"),
        None => String::new(),
    };
    if let Some(lost) = recovery.lost.filter(|lost| lost.through > head) {
        return Some(Waiting {
            reason: "blocks_lost",
            through: lost.through,
            detail: format!(
                "the database ended at height {}, height {} was committed: the missing blocks come from peers{again}",
                lost.head.height, lost.through
            ),
        });
    }
    let silent = recovery.silent_through.filter(|through| *through > head);
    let through = silent.or_else(|| abstains.then(|| head.saturating_add(1)))?;
    Some(Waiting {
        reason: "may_have_signed",
        through,
        detail: format!(
            "this key may have signed up to height {through} and has no record of what: it signs again above that height"
        ),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use vibecoin_primitives::Hash;
    use vibecoin_storage::Head;
    use vibecoin_storage::start::Lost;

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
        let at = |height| waiting(&recovery, Height(height), false);
        let first = at(3).unwrap();
        assert_eq!((first.reason, first.through), ("blocks_lost", Height(9)));
        assert!(first.detail.contains("ended at height 3") && first.detail.contains("up to height 11"));
        assert_eq!(at(8).unwrap().reason, "blocks_lost");
        for height in [9, 10] {
            let then = at(height).unwrap();
            assert_eq!((then.reason, then.through), ("may_have_signed", Height(11)));
        }
        assert_eq!(at(11), None);
        assert_eq!(waiting(&recovery, Height(11), true).unwrap().through, Height(12));
        assert_eq!(waiting(&Recovery::default(), Height(0), false), None);
    }
}
