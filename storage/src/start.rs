//! The checks of every start: detection of lost blocks, and validation of the remaining ones.
//!
//! RocksDB reports damaged files, but rolls back silently when its log is damaged or missing. So the head is
//! compared with independent records: the head witness, the double-sign guard. Opening has already replayed
//! the diffs and compared every root on the way; here the last blocks are checked again.

use crate::check::{BlockChecker, CheckOptions, Fault, Record, Stop};
use crate::{Head, StorageError, Store};
use std::fmt;
use vibecoin_primitives::{Address, Hash, Header, Height};

/// Number of blocks below the head that a start checks, as far as the database has them.
pub const START_BLOCKS: u64 = 64;

/// A fault found at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The witness recorded blocks that the database does not have.
    HeadBehindWitness {
        /// The database's head.
        head: Head,
        /// The witness's head.
        witness: Head,
    },
    /// The witness recorded a different block at the height.
    OtherThanWitness {
        /// The database's block at the witness's height.
        stored: Hash,
        /// The block in the witness.
        witness: Head,
    },
    /// This validator signed at a height whose parent the database does not have.
    HeadBehindGuard {
        /// The database's head.
        head: Head,
        /// Height of the signature.
        signed: Height,
    },
    /// One of the last blocks, or the state at the head, is invalid.
    Record(Fault),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadBehindWitness { head, witness } => {
                write!(
                    f,
                    "the database ends at height {}, height {} was committed",
                    head.height, witness.height
                )
            }
            Self::OtherThanWitness { stored, witness } => {
                write!(
                    f,
                    "block {} is {stored}, {} was committed",
                    witness.height, witness.hash
                )
            }
            Self::HeadBehindGuard { head, signed } => {
                write!(
                    f,
                    "the database ends at height {}, this key signed at height {signed}",
                    head.height
                )
            }
            Self::Record(fault) => fault.fmt(f),
        }
    }
}

impl Damage {
    /// Remedy for the operator.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::HeadBehindWitness { .. } | Self::HeadBehindGuard { .. } => {
                "a node with peers fetches the missing blocks by itself, and signs nothing before it is past them"
            }
            Self::OtherThanWitness { .. } => {
                "the folder mixes files of two chains or backups: put together files of one, or move the database folder away and start: a node with peers fetches the chain again"
            }
            Self::Record(fault) => match fault.record {
                Record::Row | Record::Node | Record::Index | Record::Supply => {
                    "run `vibecoin db check`; then restore a copy of the database, or move its folder away and start: a node with peers fetches the chain again"
                }
                _ => {
                    "run `vibecoin db check`; then try `vibecoin db rewind --to HEIGHT --yes` below the named height, which refuses where it cannot, restore a copy of the database, or move its folder away and start: a node with peers fetches the chain again"
                }
            },
        }
    }

    /// Returns true if fetching blocks from peers repairs it.
    #[must_use]
    pub const fn is_mended_by_peers(&self) -> bool {
        matches!(
            self,
            Self::HeadBehindWitness { .. } | Self::HeadBehindGuard { .. }
        )
    }
}

/// Results of the checks at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartReport {
    /// The database's head.
    pub head: Head,
    /// Height of the lowest block checked.
    pub checked_from: Height,
    /// All faults; empty when the node may serve, and a validator sign.
    pub damage: Vec<Damage>,
}

/// Blocks that were committed and that the database does not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The database's head.
    pub head: Head,
    /// The newest head in the witness, when it is above the database's.
    pub witness: Option<Head>,
    /// The highest height that is known to have been committed.
    pub through: Height,
}

impl StartReport {
    /// The first damage that fetching blocks does not repair.
    #[must_use]
    pub fn unmendable(&self) -> Option<&Damage> {
        self.damage.iter().find(|damage| !damage.is_mended_by_peers())
    }

    /// The blocks missing at the end of a database that is sound up to there; `None` when none is missing, or
    /// when there is other damage too.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        if self.damage.is_empty() || self.unmendable().is_some() {
            return None;
        }
        let mut lost = Lost {
            head: self.head,
            witness: None,
            through: self.head.height,
        };
        for damage in &self.damage {
            let reached = match damage {
                Damage::HeadBehindWitness { witness, .. } => {
                    lost.witness = Some(*witness);
                    witness.height
                }
                // A validator that signs at a height has committed the one before it.
                Damage::HeadBehindGuard { signed, .. } => signed.saturating_sub(1),
                Damage::OtherThanWitness { .. } | Damage::Record(_) => continue,
            };
            lost.through = lost.through.max(reached);
        }
        Some(lost)
    }
}

/// Records of a validator's past outside the database, as found at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// The database's head.
    pub head: Height,
    /// The last height in the head witness.
    pub witness: Option<Height>,
    /// Height of the guard's newest intact entry.
    pub guard: Option<Height>,
    /// One of the guard's slots is damaged: an entry newer than `guard` may be lost.
    pub guard_torn: bool,
    /// Height of the consensus log's records.
    pub log: Height,
    /// The log existed and is intact.
    pub log_whole: bool,
}

impl Remembered {
    /// The last height at which the key may have signed without a record from which a restart can continue.
    ///
    /// An intact guard has the newest signature, and the log is compared with it later; so only blocks that
    /// the database lost count. A torn guard may be one entry behind. Then the log of the height in progress
    /// decides, because nothing is signed before its causes are in there; when it is damaged or of a
    /// different height, the key may have signed wherever the node has been, and at the height after.
    #[must_use]
    pub fn silent_through(&self) -> Option<Height> {
        let next = self.head.saturating_add(1);
        let witness = self.witness.unwrap_or(Height::ZERO);
        let guard = self.guard.unwrap_or(Height::ZERO);
        let lost = witness > self.head || guard > next;
        let log_knows = self.log_whole && (self.log == next || self.log.saturating_add(1) == next);
        if self.guard_torn && (lost || !log_knows) {
            let reached = witness.max(guard).max(self.head).saturating_add(1);
            return Some(reached.max(self.log));
        }
        lost.then(|| witness.max(guard))
    }
}

/// Checks an opened store. `witness` is the head in the head witness, `signed` the height of the guard's
/// latest entry.
///
/// Costs the certificates of 64 blocks: some milliseconds for small validator sets.
///
/// # Errors
/// [`StorageError`] when the disk fails; damage is in the report.
pub fn check_start(
    store: &Store,
    witness: Option<Head>,
    signed: Option<Height>,
) -> Result<StartReport, StorageError> {
    let (head, base) = (store.head(), store.base());
    let lowest = head.height.saturating_sub(START_BLOCKS.saturating_sub(1));
    let checked_from = lowest.max(base.height);
    let mut damage = Vec::new();
    if let Some(witness) = witness {
        damage.extend(compare(store, head, witness)?);
    }
    if let Some(signed) = signed
        && head.height < signed.saturating_sub(1)
    {
        damage.push(Damage::HeadBehindGuard { head, signed });
    }
    match check_blocks(store, checked_from, head) {
        Ok(()) => {}
        Err(Stop::Fault(fault)) => damage.push(Damage::Record(fault)),
        Err(Stop::Error(error)) => return Err(error),
    }
    Ok(StartReport {
        head,
        checked_from,
        damage,
    })
}

fn compare(store: &Store, head: Head, witness: Head) -> Result<Option<Damage>, StorageError> {
    if witness.height > head.height {
        return Ok(Some(Damage::HeadBehindWitness { head, witness }));
    }
    // The witness is of a database that this one replaced: the certificate of its base is the proof of what was final.
    if witness.height < store.base().height {
        return Ok(None);
    }
    let Some(header) = store.reader().header(witness.height)? else {
        return Err(StorageError::missing(format!(
            "header of height {}",
            witness.height
        )));
    };
    let stored = header.hash();
    Ok((stored != witness.hash).then_some(Damage::OtherThanWitness { stored, witness }))
}

fn check_blocks(store: &Store, from: Height, head: Head) -> Result<(), Stop> {
    let base = store
        .reader()
        .base()
        .map_err(Stop::at(Record::Meta, head.height))?;
    let checker = BlockChecker::new(
        store.genesis(),
        base,
        CheckOptions {
            poh: false,
            signatures: false,
        },
    );
    let mut parent: Option<(Header, Hash)> = None;
    for height in from.0..=head.height.0 {
        let block = checker.check(store.reader(), Height(height), parent.as_ref())?;
        parent = Some((block.header, block.hash));
    }
    let fault = |record, detail: &str| Err(Stop::Fault(Fault::new(record, head.height, detail)));
    let Some((header, hash)) = parent else {
        return fault(Record::Header, "no block at all");
    };
    if hash != head.hash {
        return fault(Record::Meta, "the head names another block");
    }
    let view = store.view();
    if view.root() != header.state_root {
        return fault(
            Record::Meta,
            "the state at the head has another root than its header",
        );
    }
    // One path from the stored root node to a row: the trie in the database is the one with this root.
    view.prove_account(&Address::system())
        .map_err(Stop::at(Record::Node, head.height))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Remembered = Remembered {
        head: Height(10),
        witness: Some(Height(10)),
        guard: Some(Height(11)),
        guard_torn: false,
        log: Height(11),
        log_whole: true,
    };

    fn check(remembered: Remembered, silent: Option<u64>) {
        assert_eq!(remembered.silent_through(), silent.map(Height), "{remembered:?}");
    }

    #[test]
    fn a_home_that_lost_nothing_needs_no_silence() {
        check(WHOLE, None);
        let witness = None;
        check(Remembered { witness, ..WHOLE }, None);
        // The orderer compares a lost log with the guard.
        let log_whole = false;
        check(Remembered { log_whole, ..WHOLE }, None);
        // Killed between the commit and the reset of the log.
        let (log, guard) = (Height(10), Some(Height(10)));
        check(Remembered { log, guard, ..WHOLE }, None);
    }

    #[test]
    fn a_database_that_lost_blocks_asks_for_silence_through_what_was_reached() {
        let head = Height(3);
        check(Remembered { head, ..WHOLE }, Some(11));
        let witness = None;
        check(
            Remembered {
                head,
                witness,
                ..WHOLE
            },
            Some(11),
        );
        let guard = None;
        check(Remembered { head, guard, ..WHOLE }, Some(10));
        let head = Height(9);
        check(Remembered { head, ..WHOLE }, Some(11));
    }

    #[test]
    fn a_torn_guard_needs_the_whole_log_of_the_height_in_progress() {
        let torn = Remembered {
            guard_torn: true,
            ..WHOLE
        };
        check(torn, None);
        let log = Height(10);
        check(Remembered { log, ..torn }, None);
        // The previous entry may be far behind: the node had been offline.
        for guard in [None, Some(Height(2)), Some(Height(10))] {
            check(Remembered { guard, ..torn }, None);
            let log_whole = false;
            check(
                Remembered {
                    guard,
                    log_whole,
                    ..torn
                },
                Some(11),
            );
            let log = Height(5);
            check(Remembered { guard, log, ..torn }, Some(11));
        }
        // The next height may have been entered already.
        let log_whole = false;
        check(Remembered { log_whole, ..torn }, Some(12));
        let head = Height(3);
        check(Remembered { head, ..torn }, Some(12));
    }
}
