//! Block 0 and the state after it.

use vibecoin_primitives::limits::SLOT_VALUE_BYTES_MAX;
use vibecoin_primitives::{
    Account, AccountType, Address, Amount, BLOCK_VERSION, Body, BodyV1, ChainParams, Hash, Header, Height,
    ProposerSchedule, PublicKey, Round, ValidatorSet, account_key, encode, records, slot_key,
};
use vibecoin_trie::{NotAscending, TrieKind, root_of_sorted};

use crate::{Genesis, GenesisError};

/// Initial data of a chain, as plain values.
///
/// # Block 0
///
/// | field | value |
/// |---|---|
/// | `parent`, `proposer`, `poh_hash`, `tx_root`, `receipt_root`, `evidence_root`, `last_commit_hash` | zero |
/// | `height`, `round`, `ticks`, `poh_seq` | 0 |
/// | `time` | the file's |
/// | `body_hash` | hash of the body without ticks, certificate and evidence |
/// | `state_root` | root over [`BuiltGenesis::accounts`] |
/// | `validators_hash`, `next_validators_hash` | hash of the validator set |
/// | `params_hash` | hash of the parameters, with network name, prefix and fault model |
///
/// `poh_hash` is zero because nothing was hashed before block 0; the chain of block 1 starts from a seed over
/// the hash of this header, so it cannot be computed before the genesis file is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltGenesis {
    /// Header of block 0.
    pub header: Header,
    /// Body of block 0: empty, without certificate.
    pub body: Body,
    /// The genesis hash: the hash of the header.
    pub hash: Hash,
    /// The rules of the chain.
    pub params: ChainParams,
    /// The validators of heights 0 and 1.
    pub validators: ValidatorSet,
    /// The proposer order of height 1.
    pub schedule: ProposerSchedule,
    /// Base units in existence: the sum of all balances.
    pub supply: Amount,
    /// Every account with its value, ascending by [`account_key`]; among them [`Address::system`].
    pub accounts: Vec<(Address, Account)>,
    /// Every slot as owner, slot and value, ascending by [`slot_key`]: the [`records`] of [`Address::system`].
    pub slots: Vec<(Address, Hash, Vec<u8>)>,
}

impl Genesis {
    /// Checks the genesis and makes block 0 and its state.
    ///
    /// Linear in the number of accounts, about 6 µs for each; the main cost is the check that its address is
    /// a point of the curve, so that a key can sign for it.
    ///
    /// # Errors
    /// [`GenesisError`], without a position, for the first rule that does not hold.
    pub fn build(&self) -> Result<BuiltGenesis, GenesisError> {
        let (validators, supply) = self.check()?;
        let schedule = ProposerSchedule::genesis(&validators);
        let slots = records_of(supply, &schedule)?;
        let storage_root = root(
            TrieKind::Storage,
            slots
                .iter()
                .map(|(_, slot, value)| (slot_key(slot), value.as_slice())),
        )?;
        let system = Account {
            kind: AccountType::System,
            storage_root: Some(storage_root),
            ..Account::default()
        };
        let accounts = sorted_accounts(self, system);
        let state_root = root(
            TrieKind::Account,
            accounts.iter().map(|(key, _, account)| (*key, encode(account))),
        )?;
        let body = Body::V1(BodyV1::default());
        let header = Header {
            version: BLOCK_VERSION,
            height: Height::ZERO,
            round: Round::ZERO,
            proposer: PublicKey([0; 32]),
            parent: Hash::ZERO,
            time: self.time,
            ticks: 0,
            poh_seq: 0,
            poh_hash: Hash::ZERO,
            body_hash: body.hash(),
            tx_root: Hash::ZERO,
            receipt_root: Hash::ZERO,
            evidence_root: Hash::ZERO,
            state_root,
            validators_hash: validators.hash(),
            next_validators_hash: validators.hash(),
            params_hash: self.params.hash(),
            last_commit_hash: Hash::ZERO,
        };
        Ok(BuiltGenesis {
            hash: header.hash(),
            header,
            body,
            params: self.params.clone(),
            validators,
            schedule,
            supply,
            accounts: accounts
                .into_iter()
                .map(|(_, address, account)| (address, account))
                .collect(),
            slots,
        })
    }
}

/// The chain's records at genesis, ascending by slot key.
fn records_of(
    supply: Amount,
    schedule: &ProposerSchedule,
) -> Result<Vec<(Address, Hash, Vec<u8>)>, GenesisError> {
    let schedule = encode(schedule);
    if schedule.len() > SLOT_VALUE_BYTES_MAX {
        // Such a chain could not store its own proposer order.
        let found = format!("a proposer schedule of {} bytes", schedule.len());
        return Err(GenesisError::value(
            "validators",
            found,
            format!("at most {SLOT_VALUE_BYTES_MAX} bytes"),
        ));
    }
    let mut slots: Vec<_> = [
        (records::SUPPLY, supply.0.to_le_bytes().to_vec()),
        (records::BURNED, 0u64.to_le_bytes().to_vec()),
        (records::SCHEDULE, schedule),
    ]
    .into_iter()
    .map(|(slot, value)| (Address::system(), slot, value))
    .collect();
    slots.sort_by_key(|(_, slot, _)| slot_key(slot));
    Ok(slots)
}

/// All accounts with their keys in the trie, ascending by key.
fn sorted_accounts(genesis: &Genesis, system: Account) -> Vec<(Hash, Address, Account)> {
    let funded = genesis.accounts.iter().map(|(address, balance)| {
        (
            *address,
            Account {
                balance: *balance,
                ..Account::default()
            },
        )
    });
    let all = funded.chain([(Address::system(), system)]);
    let mut accounts: Vec<_> = all
        .map(|(address, account)| (account_key(&address), address, account))
        .collect();
    accounts.sort_unstable_by_key(|(key, _, _)| *key);
    accounts
}

/// The root over entries in ascending order of their keys.
fn root<V: AsRef<[u8]>>(
    kind: TrieKind,
    entries: impl Iterator<Item = (Hash, V)>,
) -> Result<Hash, GenesisError> {
    root_of_sorted(kind, entries.map(Ok))
}

/// Addresses are distinct and sorted by their hashes, so only a hash collision can cause this.
impl From<NotAscending> for GenesisError {
    fn from(error: NotAscending) -> Self {
        Self::value(
            "accounts",
            format!("two entries under the trie key {}", error.key),
            "one",
        )
    }
}
