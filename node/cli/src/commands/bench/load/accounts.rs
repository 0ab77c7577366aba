//! The accounts of a load: derived from their numbers, funded once, read before and after.

use jsonrpsee::http_client::HttpClient;
use serde_json::{Value, json};
use vibecoin_client::{Choices, build, sign};
use vibecoin_primitives::{Address, Amount, Operation, SecretKey};
use vibecoin_rpc_api::limits::{ADDRESSES_MAX, PAGE_MAX};
use vibecoin_rpc_api::methods::{AccountApiClient as _, ChainApiClient as _, TxApiClient as _};
use vibecoin_rpc_api::views::{
    AccountListOptions, AtOptions, BatchEntry, SubmitOptions, TIMEOUT_MS_MAX, Wait,
};
use vibecoin_rpc_api::{Arg, BlockRef, Cursor, Text as _, U64};

use super::AMOUNT;
use super::blocks::Blocks;
use super::submit::Outcome;
use crate::chain::Chain;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Number of funding transactions in flight.
const FUNDING_AT_ONCE: usize = 50;
/// Attempts to read one state of an advancing chain.
const READS_MAX: u32 = 100;
/// Fees are paid to the proposer, not burned; the maximum remainder of an account.
const SLACK: u64 = 2;

/// An account of the load.
pub struct Member {
    /// Its key, which is public: the funds of a load have no value.
    pub key: SecretKey,
    /// Its address.
    pub address: Address,
}

/// An account at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Base units owned.
    pub balance: u64,
    /// The next nonce.
    pub nonce: u64,
}

/// The first `count` accounts. Always the same, so that a second run finds them funded.
pub fn members(count: u64) -> Vec<Member> {
    (0..count)
        .map(|number| {
            let mut seed = *b"vibecoin bench load account \0\0\0\0";
            for (slot, byte) in seed.iter_mut().rev().zip(number.to_le_bytes()) {
                *slot ^= byte;
            }
            let key = SecretKey::from_seed(&seed);
            let address = Address::from(key.public_key());
            Member { key, address }
        })
        .collect()
}

/// Tops up every account that has less than `need`.
pub async fn fund(
    context: &Context,
    client: &HttpClient,
    chain: &Chain,
    funder: &SecretKey,
    members: &mut [Member],
    need: Amount,
) -> Result<(), CliError> {
    let seen = read(client, members).await?;
    let amount = Amount(need.0.saturating_mul(SLACK));
    let operations: Vec<Operation> = members
        .iter()
        .zip(&seen)
        .filter(|(_, seen)| seen.balance < need.0)
        .map(|(member, _)| Operation::Transfer {
            to: member.address,
            amount,
        })
        .collect();
    let per_transaction = usize::try_from(chain.info.params.operations_max)
        .unwrap_or(1)
        .max(1);
    let transactions: Vec<&[Operation]> = operations.chunks(per_transaction).collect();
    for group in transactions.chunks(FUNDING_AT_ONCE) {
        let mut nonce = client
            .get_nonce(Address::from(funder.public_key()).into())
            .await?
            .value
            .pending_next
            .0;
        let mut raws = Vec::with_capacity(group.len());
        for operations in group {
            let choices = Choices {
                nonce: Some(nonce),
                ..Choices::default()
            };
            let body = build(client, chain, funder.public_key(), operations.to_vec(), choices).await?;
            raws.push(sign(body, &chain.genesis, funder).1.into());
            nonce = nonce.saturating_add(1);
        }
        let timeout_ms = Some(U64(
            TIMEOUT_MS_MAX.min(context.globals.timeout.saturating_mul(1000))
        ));
        let options = SubmitOptions {
            wait: Wait::Final,
            timeout_ms,
            min_height: None,
        };
        for entry in client.submit_batch(raws.into(), Some(options)).await? {
            match entry {
                BatchEntry::Refused { error } => {
                    return Err(error.into());
                }
                BatchEntry::Taken(taken) => {
                    let hash = taken.status.hash.0.to_text();
                    let (exit, state) = match taken.status.success {
                        Some(true) => continue,
                        Some(false) => (Exit::Rejected, "did not succeed"),
                        None => (Exit::Timeout, "is not final in time, and may still become so"),
                    };
                    let message = format!("funding transaction {hash} {state}");
                    return Err(CliError::new(exit, message).data(json!(taken)));
                }
            }
        }
    }
    Ok(())
}

/// All accounts as of now; one that does not exist has nothing. Groups of [`ADDRESSES_MAX`] are read one
/// after the other, each of the newest state: a node keeps no older one, and a fast chain leaves no time to
/// request one by its height.
pub async fn read(client: &HttpClient, members: &[Member]) -> Result<Vec<Seen>, CliError> {
    let mut seen = Vec::with_capacity(members.len());
    for group in members.chunks(ADDRESSES_MAX) {
        let addresses = group.iter().map(|member| member.address.into()).collect();
        let found = client.get_many(addresses, None).await?;
        seen.extend(found.value.iter().map(|account| {
            account.as_ref().map_or_else(Seen::default, |account| Seen {
                balance: account.balance.0,
                nonce: account.nonce.0,
            })
        }));
    }
    Ok(seen)
}

/// Waits until every account's nonce shows that all its transfers are in blocks.
pub async fn reached(
    client: &HttpClient,
    members: &[Member],
    before: &[Seen],
    outcome: &Outcome,
    blocks: &mut Blocks,
) -> Result<Vec<Seen>, CliError> {
    loop {
        let after = read(client, members).await?;
        let all = before
            .iter()
            .zip(&after)
            .enumerate()
            .all(|(index, (before, after))| {
                after.nonce >= before.nonce.saturating_add(outcome.sent_by(index))
            });
        if all {
            // Nothing changes any more: now all groups are of one state as far as it matters here.
            return read(client, members).await;
        }
        blocks.next().await?;
    }
}

/// Compares every balance with the expected result of the transfers.
pub fn check(before: &[Seen], after: &[Seen], outcome: &Outcome, fee: Amount) -> Result<(), String> {
    let count = before.len();
    for (index, (before, after)) in before.iter().zip(after).enumerate() {
        let sent = u128::from(outcome.sent_by(index));
        let previous = index.checked_sub(1).unwrap_or(count.saturating_sub(1));
        let received = u128::from(outcome.sent_by(previous)).saturating_mul(u128::from(AMOUNT.0));
        let paid = sent.saturating_mul(u128::from(fee.0).saturating_add(u128::from(AMOUNT.0)));
        if u128::from(before.balance).saturating_add(received)
            != u128::from(after.balance).saturating_add(paid)
        {
            return Err(format!(
                "account {index} had {}, sent {sent} transfers, and has {}",
                before.balance, after.balance
            ));
        }
    }
    Ok(())
}

/// The total supply of the chain.
pub struct Supply {
    /// True if the sum of all balances and of burned funds equals the supply of genesis.
    pub holds: bool,
    /// The figures.
    pub json: Value,
}

impl Supply {
    /// Adds up every account of one state. Retries when a block is committed in between: only the newest
    /// state is kept.
    pub async fn read(client: &HttpClient) -> Result<Self, CliError> {
        for _ in 1..READS_MAX {
            match Self::read_once(client).await {
                Err(error) if error.reason == "pruned" => {}
                read => return read,
            }
        }
        Self::read_once(client).await
    }

    async fn read_once(client: &HttpClient) -> Result<Self, CliError> {
        let head = client.get_head().await?.height;
        let at = BlockRef::from(vibecoin_primitives::Height(head.0));
        let said = client
            .get_supply(Some(AtOptions { at: Some(at.clone()) }))
            .await?
            .value;
        let mut sum = 0u128;
        let mut cursor = None;
        loop {
            let options = AccountListOptions {
                at: cursor.is_none().then(|| at.clone()),
                limit: Some(PAGE_MAX),
                cursor: cursor.take(),
                min_balance: None,
            };
            let page = client.list(Some(options)).await?.value;
            sum = page.items.iter().fold(sum, |sum, account| {
                sum.saturating_add(u128::from(account.balance.0))
            });
            let Some(next) = page.next_cursor else { break };
            cursor = Some(Arg::new(Cursor::from_text(&next)?));
        }
        let holds = sum.saturating_add(u128::from(said.burned.0)) == u128::from(said.genesis.0)
            && sum == u128::from(said.total.0);
        let json = json!({
            "height": head,
            "sumOfBalances": sum.to_string(),
            "burned": said.burned,
            "genesis": said.genesis,
        });
        Ok(Self { holds, json })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_an_account_of_its_own_and_always_the_same() {
        let first = members(1000);
        let mut addresses: Vec<_> = first.iter().map(|member| member.address).collect();
        assert_eq!(
            addresses,
            members(1000)
                .iter()
                .map(|member| member.address)
                .collect::<Vec<_>>()
        );
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 1000);
    }

    #[test]
    fn a_balance_that_is_off_by_one_is_noticed() {
        let outcome = Outcome {
            taken: 3,
            sent: [(0, 2), (1, 1)].into(),
            ..Outcome::default()
        };
        let before = [
            Seen {
                balance: 100,
                nonce: 0,
            },
            Seen {
                balance: 100,
                nonce: 5,
            },
        ];
        let mut after = [
            Seen {
                balance: 100 - 2 * 11 + 1,
                nonce: 2,
            },
            Seen {
                balance: 100 - 11 + 2,
                nonce: 6,
            },
        ];
        assert_eq!(check(&before, &after, &outcome, Amount(10)), Ok(()));
        after[1].balance += 1;
        assert!(
            check(&before, &after, &outcome, Amount(10))
                .unwrap_err()
                .contains("account 1")
        );
    }
}
