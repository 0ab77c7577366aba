//! The flat state: its root, the trie records derived from it, and the sum of its balances.

use super::{CheckReport, Fault, Progress, Record, Stop};
use crate::StorageError;
use crate::kv::{Family, KvRead};
use crate::schema::{self, Materialised};
use vibecoin_primitives::{Account, Address, Hash, Height, StateKey, account_key, records, slot_key};
use vibecoin_trie::{Nibbles, NodeRecord, NotAscending, TrieKind, build_sorted};

/// Rows between two reports of progress.
const PROGRESS_ROWS: u64 = 65_536;

impl From<NotAscending> for Stop {
    fn from(error: NotAscending) -> Self {
        Self::Fault(Fault::new(Record::Row, Height(0), error))
    }
}

struct Checker<'a, 'b> {
    kv: &'a dyn KvRead,
    at: Materialised,
    report: &'b mut CheckReport,
    progress: &'b mut dyn FnMut(Progress),
}

/// Checks every row of family `state` but the transaction index.
pub(super) fn check(
    kv: &dyn KvRead,
    at: Materialised,
    report: &mut CheckReport,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Stop> {
    let mut checker = Checker {
        kv,
        at,
        report,
        progress,
    };
    let mut balances = 0u128;
    checker.accounts(&mut balances)?;
    checker.nothing_besides()?;
    checker.supply(balances)
}

impl Checker<'_, '_> {
    fn fault(&self, record: Record, detail: impl ToString) -> Stop {
        Stop::Fault(Fault::new(record, self.at.height, detail))
    }

    fn read<T>(&self, record: Record, result: Result<T, StorageError>) -> Result<T, Stop> {
        result.map_err(Stop::at(record, self.at.height))
    }

    fn tick(&mut self) {
        let rows = self.report.accounts.saturating_add(self.report.slots);
        if rows.checked_rem(PROGRESS_ROWS) == Some(0) {
            (self.progress)(Progress::Rows(rows));
        }
    }

    /// Checks the account rows against the state root, each account's storage, and all trie records along the
    /// paths.
    fn accounts(&mut self, balances: &mut u128) -> Result<(), Stop> {
        let mut nodes = Nodes::new(self.kv, self.at.height, Hash::ZERO);
        let kv = self.kv;
        let rows = kv.prefix(Family::State, &[schema::ACCOUNTS]).map(|row| {
            let (key, row) = self.read(Record::Row, row)?;
            let Some(StateKey::Account(key)) = schema::parse_flat_key(&key) else {
                return Err(self.fault(Record::Row, "a key of an account row has not 33 bytes"));
            };
            let found = self.read(Record::Row, schema::read_account_row(&row))?;
            if account_key(&found.address) != key {
                return Err(self.fault(
                    Record::Row,
                    format!("row {key} is of address {:?}", found.address),
                ));
            }
            *balances = balances.saturating_add(u128::from(found.account.balance.0));
            self.storage(key, &found.account)?;
            self.report.accounts = self.report.accounts.saturating_add(1);
            self.tick();
            let leaf = self.read(Record::Row, schema::account_leaf(&row))?.to_vec();
            Ok((key, leaf))
        });
        let root = build_sorted(TrieKind::Account, rows, |path, record| {
            nodes.compare(&path, &record)
        })?;
        self.judge(nodes, root, self.at.root)
    }

    fn storage(&mut self, owner: Hash, account: &Account) -> Result<(), Stop> {
        let expected = schema::storage_root(Some(account));
        if expected.is_zero() {
            return Ok(());
        }
        let mut prefix = vec![schema::SLOTS];
        prefix.extend_from_slice(&owner.0);
        let mut nodes = Nodes::new(self.kv, self.at.height, owner);
        let kv = self.kv;
        let rows = kv.prefix(Family::State, &prefix).map(|row| {
            let (key, row) = self.read(Record::Row, row)?;
            let Some(StateKey::Slot(_, key)) = schema::parse_flat_key(&key) else {
                return Err(self.fault(Record::Row, "a key of a slot row has not 65 bytes"));
            };
            let found = self.read(Record::Row, schema::read_slot_row(&row))?;
            if slot_key(&found.slot) != key || found.value.is_empty() {
                return Err(self.fault(
                    Record::Row,
                    format!("row {key} of owner {owner} is of slot {}", found.slot),
                ));
            }
            self.report.slots = self.report.slots.saturating_add(1);
            self.tick();
            Ok((key, found.value))
        });
        let root = build_sorted(TrieKind::Storage, rows, |path, record| {
            nodes.compare(&path, &record)
        })?;
        self.judge(nodes, root, expected)
    }

    /// Rows that do not yield the root are at fault themselves; a node that differs shows the position. If
    /// they do yield it, the node is at fault.
    fn judge(&mut self, nodes: Nodes<'_>, root: Hash, expected: Hash) -> Result<(), Stop> {
        self.report.nodes = self.report.nodes.saturating_add(nodes.count);
        let owner = nodes.owner;
        match (root == expected, nodes.fault) {
            (true, None) => Ok(()),
            (true, Some(detail)) => Err(self.fault(Record::Node, detail)),
            (false, near) => {
                let near = near.map_or(String::new(), |near| format!("; first seen at {near}"));
                let detail = format!("the rows of owner {owner} give root {root}, expected {expected}{near}");
                Err(self.fault(Record::Row, detail))
            }
        }
    }

    /// There are no slots without an owner and no trie nodes beyond those derived from the rows.
    fn nothing_besides(&self) -> Result<(), Stop> {
        for (record, first, expected) in [
            (Record::Row, schema::SLOTS, self.report.slots),
            (Record::Node, schema::NODES, self.report.nodes),
        ] {
            let mut found = 0u64;
            for row in self.kv.prefix(Family::State, &[first]) {
                self.read(record, row)?;
                found = found.saturating_add(1);
            }
            if found != expected {
                let detail = format!("{found} records with prefix {first}, the state has {expected}");
                return Err(self.fault(record, detail));
            }
        }
        Ok(())
    }

    /// Balances plus burned funds equal the supply of genesis.
    fn supply(&self, balances: u128) -> Result<(), Stop> {
        let (burned, supply) = (self.amount(&records::BURNED)?, self.amount(&records::SUPPLY)?);
        let sum = balances.saturating_add(u128::from(burned.unwrap_or(0)));
        match supply {
            Some(supply) if u128::from(supply) == sum => Ok(()),
            Some(supply) => Err(self.fault(
                Record::Supply,
                format!("balances plus burned are {sum}, the supply is {supply}"),
            )),
            None => Err(self.fault(Record::Supply, "the supply record is missing")),
        }
    }

    fn amount(&self, slot: &Hash) -> Result<Option<u64>, Stop> {
        let key = StateKey::Slot(account_key(&Address::system()), slot_key(slot));
        let row = self.read(
            Record::Supply,
            self.kv.get(Family::State, &schema::flat_key(&key)),
        )?;
        let Some(row) = row else { return Ok(None) };
        let value = self.read(Record::Supply, schema::read_slot_row(&row))?.value;
        let amount = value.as_slice().try_into().map(u64::from_le_bytes);
        amount
            .map(Some)
            .map_err(|_| self.fault(Record::Supply, "an amount is not eight bytes"))
    }
}

/// The stored records of one trie, compared with those derived from the rows.
struct Nodes<'a> {
    kv: &'a dyn KvRead,
    height: Height,
    owner: Hash,
    count: u64,
    /// The first record that differs.
    fault: Option<String>,
}

impl<'a> Nodes<'a> {
    const fn new(kv: &'a dyn KvRead, height: Height, owner: Hash) -> Self {
        Self {
            kv,
            height,
            owner,
            count: 0,
            fault: None,
        }
    }

    fn compare(&mut self, path: &Nibbles, record: &NodeRecord) -> Result<(), Stop> {
        self.count = self.count.saturating_add(1);
        let key = schema::node_key(&self.owner, path);
        let found = self
            .kv
            .get(Family::State, &key)
            .map_err(Stop::at(Record::Node, self.height))?;
        let wrong = match found {
            Some(found) if found == record.encode() => return Ok(()),
            Some(_) => "is not what the rows give",
            None => "is missing",
        };
        self.fault
            .get_or_insert_with(|| format!("node {path} of owner {}: it {wrong}", self.owner));
        Ok(())
    }
}
