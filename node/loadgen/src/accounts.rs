//! The accounts of a load: derived from their numbers, funded once, read before and after.

use jsonrpsee::http_client::HttpClient;
use vibecoin_client::{Chain, Choices, build, next_nonce, sign};
use vibecoin_primitives::{Address, Amount, Operation, SecretKey};
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::limits::ADDRESSES_MAX;
use vibecoin_rpc_api::methods::{AccountApiClient as _, TxApiClient as _};
use vibecoin_rpc_api::views::{BatchEntry, SubmitOptions, Wait};

use crate::error::LoadError;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::transfer::{AMOUNT, Terms};

/// Number of funding transactions in flight.
const FUNDING_AT_ONCE: usize = 50;
/// Fees are paid to the proposer, not burned; the maximum remainder of an account.
const SLACK: u64 = 2;

/// Source of the accounts' funds.
#[derive(Clone, Copy)]
pub struct Funding<'a> {
    /// The node that receives the funding transactions.
    pub client: &'a HttpClient,
    /// The paying key.
    pub key: &'a SecretKey,
}

/// An account of a load.
pub struct Member {
    /// Its key, which is public: the funds of a load have no value.
    pub key: SecretKey,
    /// Its address.
    pub address: Address,
}

impl From<SecretKey> for Member {
    fn from(key: SecretKey) -> Self {
        let address = Address::from(key.public_key());
        Self { key, address }
    }
}

/// An account at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Base units owned.
    pub balance: u64,
    /// The next nonce.
    pub nonce: u64,
}

/// The accounts of a load before its transfers.
pub(crate) struct Accounts {
    pub members: Vec<Member>,
    pub before: Vec<Seen>,
    pub terms: Terms,
}

/// The first `count` accounts. Always the same, so that a second run finds them funded.
pub(crate) fn members(count: u64) -> Vec<Member> {
    (0..count)
        .map(|number| {
            let mut seed = *b"vibecoin bench load account \0\0\0\0";
            for (slot, byte) in seed.iter_mut().rev().zip(number.to_le_bytes()) {
                *slot ^= byte;
            }
            Member::from(SecretKey::from_seed(&seed))
        })
        .collect()
}

/// Tops up every account that has less than `need`.
pub(crate) async fn fund(
    funding: Funding<'_>,
    chain: &Chain,
    plan: &Plan,
    fee: Amount,
    members: &[Member],
) -> Result<(), LoadError> {
    let Funding { client, key } = funding;
    let need = plan.need(fee, Amount(chain.info.params.account_price.0));
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
        let mut nonce = next_nonce(client, key.public_key()).await?.0.0;
        let mut raws = Vec::with_capacity(group.len());
        for operations in group {
            let choices = Choices {
                nonce: Some(nonce),
                ..Choices::default()
            };
            let body = build(client, chain, key.public_key(), operations.to_vec(), choices).await?;
            raws.push(sign(body, &chain.genesis, key).1.into());
            nonce = nonce.saturating_add(1);
        }
        let options = SubmitOptions {
            wait: Wait::Final,
            timeout_ms: Some(U64(plan.timeout_ms)),
            min_height: None,
        };
        for entry in client.submit_batch(raws.into(), Some(options)).await? {
            match entry {
                BatchEntry::Refused { error } => return Err(error.into()),
                BatchEntry::Taken(taken) if taken.status.success == Some(true) => {}
                BatchEntry::Taken(taken) => return Err(LoadError::Unfunded(Box::new(taken))),
            }
        }
    }
    Ok(())
}

/// All accounts as of now; one that does not exist has nothing. Groups of [`ADDRESSES_MAX`] are read one
/// after the other, each of the newest state: a node keeps no older one, and a fast chain leaves no time to
/// request one by its height.
pub(crate) async fn read(client: &HttpClient, members: &[Member]) -> Result<Vec<Seen>, LoadError> {
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

/// Compares every balance with the expected result of the transfers.
pub(crate) fn check(before: &[Seen], after: &[Seen], outcome: &Outcome, fee: Amount) -> Result<(), String> {
    let count = before.len();
    if after.len() != count {
        return Err(format!("{} of {count} accounts were read", after.len()));
    }
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
