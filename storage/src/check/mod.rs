//! Re-derives all stored data, and reports the first fault.
//!
//! Reads only the database and trusts nothing but the genesis hash in it: every header is hashed, every
//! certificate counted, every body, tick, transaction and receipt checked against its header, the state root
//! computed from the flat rows, every trie record compared with the one derived from the rows, the indexes
//! with the bodies, the balances with the supply, the diffs up to the materialised height undone one by one
//! and those above it replayed. Data that the chain does not account for is a fault too. A database that began at a
//! snapshot is checked from that block on: below it there is nothing, and its certificate is its proof.
//!
//! Reading order: `block` (one block), `besides` (superfluous rows), `state` (rows, trie, supply), and
//! [`check`] here.

mod besides;
mod block;
mod state;

pub(crate) use block::BlockChecker;

use crate::kv::{Family, KvStore, RocksConfig, RocksKv};
use crate::reader::Reader;
use crate::schema::{self, Head, Place};
use crate::state::{StateSource, StateView};
use crate::store::{StoreConfig, read_base, read_genesis, replay, undo};
use crate::{StorageError, Store};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use vibecoin_primitives::{Hash, Header, Height};

/// Kind of the record with a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Record {
    /// The head pointer, the schema version or the genesis record.
    Meta,
    /// A header or its parent link.
    Header,
    /// A certificate.
    Certificate,
    /// A height by block hash.
    BlockHash,
    /// A body: its hash, roots, evidence, signatures or Proof of History.
    Body,
    /// The receipts of a block.
    Receipts,
    /// A state diff.
    Diff,
    /// A flat row of an account or slot.
    Row,
    /// A trie node.
    Node,
    /// The transaction index.
    Index,
    /// The sum of all balances.
    Supply,
}

/// The first fault found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Kind of the record.
    pub record: Record,
    /// Height of the block, or of the block with this state.
    pub height: Height,
    /// The record, and a description of the fault.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "height {}: {:?}: {}", self.height, self.record, self.detail)
    }
}

impl Fault {
    pub(crate) fn new(record: Record, height: Height, detail: impl ToString) -> Self {
        Self {
            record,
            height,
            detail: detail.to_string(),
        }
    }
}

/// Reason for which a check ended early: a fault, or a failed disk.
#[derive(Debug)]
pub(crate) enum Stop {
    Fault(Fault),
    Error(StorageError),
}

impl Stop {
    /// Damage to a record is a fault at this record and height; every other error ends the check.
    pub(crate) fn at(record: Record, height: Height) -> impl Fn(StorageError) -> Self {
        move |error| match error {
            StorageError::Corrupt { .. } | StorageError::Missing { .. } => {
                Self::Fault(Fault::new(record, height, error))
            }
            other => Self::Error(other),
        }
    }
}

/// Optional parts of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckOptions {
    /// Verify the Proof of History of every block: the largest part of the time of a check.
    pub poh: bool,
    /// Check the signature of every transaction.
    pub signatures: bool,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            poh: true,
            signatures: true,
        }
    }
}

/// Progress of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Number of blocks checked, and their total.
    Blocks(u64, u64),
    /// Rows of the flat state checked.
    Rows(u64),
    /// Number of diffs up to the materialised height still to be undone.
    Undo(u64),
    /// Diffs above the materialised height are replayed.
    Replay(u64),
}

/// Results of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// The last committed block.
    pub head: Option<Head>,
    /// Height of the flat state.
    pub materialised: Height,
    /// Blocks checked, genesis or the base included.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Accounts in the flat state.
    pub accounts: u64,
    /// Slots in the flat state.
    pub slots: u64,
    /// Trie nodes.
    pub nodes: u64,
    /// The first fault, if there is one.
    pub fault: Option<Fault>,
}

/// Checks the database in a folder that no running node has open.
///
/// # Errors
/// As [`check`], and [`StorageError::Locked`] when another process has it open.
pub fn check_path(
    path: &Path,
    options: CheckOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<CheckReport, StorageError> {
    let kv: Arc<dyn KvStore> = Arc::new(RocksKv::open(path, RocksConfig::default())?);
    check(&kv, options, progress)
}

/// Checks the database of an open store, as of now on disk. Nothing may be committed meanwhile.
///
/// # Errors
/// As [`check`].
pub fn check_store(
    store: &Store,
    options: CheckOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<CheckReport, StorageError> {
    check(store.kv(), options, progress)
}

/// Checks a database. A fault found is in the report; it is not an error of the check.
///
/// Takes memory for the rows and trie nodes that any block up to the materialised height changed, each once:
/// up to the size of the state, and of the data deleted from it.
///
/// # Errors
/// [`StorageError`] when there is no chain, its schema is newer, or the disk fails.
pub fn check(
    kv: &Arc<dyn KvStore>,
    options: CheckOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<CheckReport, StorageError> {
    let mut report = CheckReport::default();
    match run(kv, options, progress, &mut report) {
        Ok(()) => Ok(report),
        Err(Stop::Fault(fault)) => Ok(CheckReport {
            fault: Some(fault),
            ..report
        }),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn run(
    kv: &Arc<dyn KvStore>,
    options: CheckOptions,
    progress: &mut dyn FnMut(Progress),
    report: &mut CheckReport,
) -> Result<(), Stop> {
    let meta = Stop::at(Record::Meta, Height(0));
    let genesis = read_genesis(kv, None).map_err(&meta)?;
    let reader = Reader::new(&**kv);
    let head = reader.head().map_err(&meta)?;
    let head = head.ok_or_else(|| Stop::Fault(Fault::new(Record::Meta, Height(0), "head is missing")))?;
    let base = read_base(kv, 0).map_err(&meta)?;
    (report.head, report.materialised) = (Some(head), base.at.height);
    let begin = reader.base().map_err(&meta)?;
    let lowest = begin.map_or(Height::ZERO, |begin| begin.height);
    if base.at.height > head.height || base.at.height < lowest {
        let detail = format!(
            "the state is at height {}, the blocks are from {lowest} to {}",
            base.at.height, head.height
        );
        return Err(Stop::Fault(Fault::new(Record::Meta, head.height, detail)));
    }

    let checker = BlockChecker::new(&genesis, begin, options);
    let total = head.height.0.saturating_sub(lowest.0).saturating_add(1);
    let mut parent: Option<(Header, Hash)> = None;
    let (mut indexed, mut root) = (0u64, Hash::ZERO);
    for height in lowest.0..=head.height.0 {
        let height = Height(height);
        let block = checker.check(reader, height, parent.as_ref())?;
        if height <= base.at.height {
            check_index(reader, height, &block.ids)?;
            indexed = indexed.saturating_add(block.ids.len() as u64);
            root = block.header.state_root;
        }
        report.blocks = report.blocks.saturating_add(1);
        report.transactions = report.transactions.saturating_add(block.ids.len() as u64);
        progress(Progress::Blocks(report.blocks, total));
        parent = Some((block.header, block.hash));
    }
    if parent.is_none_or(|(_, hash)| hash != head.hash) {
        return Err(Stop::Fault(Fault::new(
            Record::Meta,
            head.height,
            "the head names another block",
        )));
    }
    besides::check(&**kv, begin, head.height)?;
    count_index(&**kv, base.at.height, indexed)?;
    if root != base.at.root {
        let detail = format!(
            "the state is said to have root {}, its header says {root}",
            base.at.root
        );
        return Err(Stop::Fault(Fault::new(Record::Meta, base.at.height, detail)));
    }
    state::check(&*base.snapshot, base.at, report, progress)?;

    let at = base.at.height;
    let source = Arc::new(StateSource::new(Arc::clone(kv), base, &StoreConfig::default()));
    let mut view = StateView::of_base(&source, source.base.load_full());
    for height in (lowest.0.saturating_add(1)..=at.0).rev() {
        progress(Progress::Undo(height));
        let lower = undo(reader, &view, Height(height));
        (view, _) = lower.map_err(Stop::at(Record::Diff, Height(height)))?;
    }

    progress(Progress::Replay(head.height.0.saturating_sub(at.0)));
    replay(&source, &genesis.hash).map_err(Stop::at(Record::Diff, head.height))?;
    no_intent(reader, head.height)
}

/// No rewind is in progress. Checked last: damage that prevents its completion is the more useful report.
fn no_intent(reader: Reader<'_>, head: Height) -> Result<(), Stop> {
    let intent = reader.rewind_target();
    let Some(target) = intent.map_err(Stop::at(Record::Meta, head))? else {
        return Ok(());
    };
    let detail = format!(
        "a rewind to height {target} was cut off; start the node once, which finishes it, and if that refuses, \
         restore a backup or start again from genesis"
    );
    Err(Stop::Fault(Fault::new(Record::Meta, head, detail)))
}

/// Every transaction of a materialised block is indexed at its position.
fn check_index(reader: Reader<'_>, height: Height, ids: &[Hash]) -> Result<(), Stop> {
    for (id, index) in ids.iter().zip(0u32..) {
        let found = reader.place(id).map_err(Stop::at(Record::Index, height))?;
        if found != Some(Place { height, index }) {
            let detail = format!("transaction {id} at position {index} is indexed as {found:?}");
            return Err(Stop::Fault(Fault::new(Record::Index, height, detail)));
        }
    }
    Ok(())
}

/// There are no other entries in the index.
fn count_index(kv: &dyn KvStore, height: Height, expected: u64) -> Result<(), Stop> {
    let mut found = 0u64;
    for row in kv.prefix(Family::State, &[schema::TRANSACTIONS]) {
        row.map_err(Stop::at(Record::Index, height))?;
        found = found.saturating_add(1);
    }
    if found == expected {
        return Ok(());
    }
    let detail = format!("the index has {found} transactions, the blocks have {expected}");
    Err(Stop::Fault(Fault::new(Record::Index, height, detail)))
}
