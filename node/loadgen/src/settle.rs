//! The wait until the transfers of a load are final.

use std::time::{Duration, Instant};

use jsonrpsee::http_client::HttpClient;

use crate::accounts::{self, Accounts, Seen};
use crate::blocks::Blocks;
use crate::error::LoadError;
use crate::node::Node;
use crate::outcome::Outcome;
use crate::progress::Progress;

/// Interval between two reads of the accounts while the last transfers become final.
const READ_EVERY: Duration = Duration::from_millis(200);

/// Progress of the transfers towards blocks.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Number in blocks, by the nonces of their senders.
    pub included: u64,
    /// True if every accepted transfer is in a block.
    pub all: bool,
    /// The accounts as read last; empty if no node answered.
    pub after: Vec<Seen>,
}

impl Settled {
    fn of(before: &[Seen], after: Vec<Seen>, outcome: &Outcome) -> Self {
        let mut included = 0_u64;
        let mut all = true;
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let done = after.nonce.saturating_sub(before.nonce);
            included = included.saturating_add(done);
            all &= done >= outcome.sent_by(index);
        }
        Self { included, all, after }
    }
}

/// Waits until every account's nonce shows that all its transfers are in blocks. Any failure of the node, and a chain
/// that stops, ends the wait.
pub(crate) async fn reached(
    client: &HttpClient,
    accounts: &Accounts,
    outcome: &Outcome,
    blocks: &mut Blocks,
) -> Result<Settled, LoadError> {
    let read = async || {
        let after = accounts::read(client, &accounts.members).await?;
        Ok::<_, LoadError>(Settled::of(&accounts.before, after, outcome))
    };
    loop {
        if read().await?.all {
            // Nothing changes any more: now all groups are of one state as far as it matters here.
            return read().await;
        }
        blocks.next().await?;
    }
}

/// The same until a deadline, at any node: a transfer in a block of one is final for all.
pub(crate) async fn until(
    deadline: Instant,
    nodes: &[Node],
    accounts: &Accounts,
    outcome: &Outcome,
    progress: &dyn Fn(Progress),
) -> Settled {
    loop {
        let mut settled = None;
        for node in nodes {
            if let Ok(after) = accounts::read(&node.client, &accounts.members).await {
                settled = Some(Settled::of(&accounts.before, after, outcome));
                break;
            }
        }
        match settled {
            Some(settled) if settled.all || Instant::now() >= deadline => return settled,
            None if Instant::now() >= deadline => return Settled::default(),
            _ => {}
        }
        progress(Progress::Settling);
        tokio::time::sleep(READ_EVERY).await;
    }
}

/// The moment at which a time from now has passed.
pub(crate) fn deadline(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_settled_when_every_account_has_reached_its_nonce() {
        let seen = |nonces: [u64; 2]| nonces.map(|nonce| Seen { balance: 0, nonce }).to_vec();
        let outcome = Outcome {
            taken: 5,
            sent: [(0, 3), (1, 2)].into(),
            ..Outcome::default()
        };
        let before = seen([4, 0]);
        let settled = Settled::of(&before, seen([7, 1]), &outcome);
        assert_eq!((settled.included, settled.all), (4, false));
        let settled = Settled::of(&before, seen([7, 2]), &outcome);
        assert_eq!((settled.included, settled.all), (5, true));
    }
}
