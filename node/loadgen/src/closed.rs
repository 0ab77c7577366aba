//! The closed loop: everything is signed, then sent over several connections until all of it is final.

use std::time::{Duration, Instant};

use jsonrpsee::http_client::HttpClient;
use rayon::prelude::*;

use crate::accounts::{Accounts, Member, Seen};
use crate::announced::BlockFigures;
use crate::blocks::Blocks;
use crate::error::LoadError;
use crate::node::Node;
use crate::plan::ClosedLoop;
use crate::progress::Progress;
use crate::report::{Report, Samples};
use crate::transfer::{AMOUNT, Signed, Terms};
use crate::{settle, submit};

/// A closed loop that is ready to send.
pub(crate) struct Prepared {
    client: HttpClient,
    connections: Vec<(HttpClient, Vec<Signed>)>,
    blocks: Blocks,
    signing: Duration,
}

impl Prepared {
    /// Signs every transfer, and follows the blocks of the node.
    pub async fn new(
        closed: &ClosedLoop,
        accounts: &Accounts,
        nodes: &[Node],
        progress: &dyn Fn(Progress),
    ) -> Result<Self, LoadError> {
        let node = nodes.first().ok_or(LoadError::NoNode)?;
        let begun = Instant::now();
        let queues = sign(closed, &accounts.terms, &accounts.before, &accounts.members);
        let signing = begun.elapsed();
        progress(Progress::Sending);
        let mut connections = Vec::with_capacity(queues.len());
        for queue in queues {
            connections.push((node.endpoint.http()?, queue));
        }
        Ok(Self {
            client: node.client.clone(),
            connections,
            blocks: Blocks::follow(node).await?,
            signing,
        })
    }

    /// Sends, and waits until every accepted transfer is in a block.
    pub async fn run(self, accounts: Accounts, batch_max: u64) -> Result<Report, LoadError> {
        let Self {
            client,
            connections,
            mut blocks,
            signing,
        } = self;
        let begun = Instant::now();
        let outcome = submit::all(connections, &mut blocks, batch_max).await?;
        let sending = begun.elapsed();
        blocks.wait_for(outcome.taken).await?;
        let settled = settle::reached(&client, &accounts, &outcome, &mut blocks).await?;
        let wall = blocks.last_with_transactions().saturating_duration_since(begun);
        Ok(Report {
            blocks: BlockFigures::of(blocks.announced()),
            samples: Samples::default(),
            accounts,
            outcome,
            settled,
            signing,
            sending,
            wall,
        })
    }
}

/// Signs every transfer: to the next account, with the nonces of each sender in order and all of one sender in one
/// queue. There is a queue per connection.
fn sign(closed: &ClosedLoop, terms: &Terms, before: &[Seen], members: &[Member]) -> Vec<Vec<Signed>> {
    let count = members.len() as u64;
    let signed: Vec<Signed> = (0..closed.transactions)
        .into_par_iter()
        .filter_map(|number| {
            let index = usize::try_from(number.checked_rem(count)?).ok()?;
            let next = usize::try_from(number.saturating_add(1).checked_rem(count)?).ok()?;
            let (sender, to) = (members.get(index)?, members.get(next)?);
            let nonce = before
                .get(index)?
                .nonce
                .saturating_add(number.checked_div(count)?);
            Some(terms.sign(index, &sender.key, nonce, to.address, AMOUNT))
        })
        .collect();
    let mut queues: Vec<Vec<Signed>> = (0..closed.connections).map(|_| Vec::new()).collect();
    for transfer in signed {
        let queue = transfer.account.checked_rem(queues.len());
        if let Some(queue) = queue.and_then(|queue| queues.get_mut(queue)) {
            queue.push(transfer);
        }
    }
    queues
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vibecoin_primitives::{Amount, Hash, Height, Transaction, decode};

    use super::*;
    use crate::accounts;

    #[test]
    fn a_connection_has_all_transfers_of_an_account_in_the_order_of_their_nonces() {
        let members = accounts::members(3);
        let before = vec![Seen { balance: 0, nonce: 7 }; members.len()];
        let terms = Terms {
            genesis: Hash::ZERO,
            fee: Amount(1),
            valid_until: Height(9),
        };
        let closed = ClosedLoop {
            transactions: 7,
            connections: 2,
        };
        let queues = sign(&closed, &terms, &before, &members);
        let shown: Vec<Vec<(usize, u64)>> = queues
            .iter()
            .map(|queue| {
                let nonce = |raw: &[u8]| decode::<Transaction>(raw).unwrap().body().nonce.0;
                queue.iter().map(|one| (one.account, nonce(&one.raw))).collect()
            })
            .collect();
        assert_eq!(
            shown,
            [vec![(0, 7), (2, 7), (0, 8), (2, 8), (0, 9)], vec![(1, 7), (1, 8)]]
        );
    }
}
