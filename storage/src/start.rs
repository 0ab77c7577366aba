//! The checks of every start: did the database lose something, and does what is left hold?
//!
//! RocksDB reports damaged files, but rolls back silently when its log is damaged or gone. So the head is
//! compared with what others remember: the head witness, the double-sign guard. Opening has already
//! replayed the diffs and compared every root on the way; here the last blocks are looked at again.

use crate::check::{BlockChecker, CheckOptions, Fault, Record, Stop};
use crate::{Head, StorageError, Store};
use std::fmt;
use vibecoin_primitives::{Address, Hash, Header, Height};

/// Blocks below the head that a start looks at.
pub const START_BLOCKS: u64 = 64;

/// Something that a start found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The witness saw blocks that the database does not have.
    HeadBehindWitness {
        /// The database's head.
        head: Head,
        /// The witness's.
        witness: Head,
    },
    /// The witness saw another block at the height.
    OtherThanWitness {
        /// What the database has at the witness's height.
        stored: Hash,
        /// What the witness saw.
        witness: Head,
    },
    /// This validator signed at a height whose parent the database does not have.
    HeadBehindGuard {
        /// The database's head.
        head: Head,
        /// The height that was signed.
        signed: Height,
    },
    /// One of the last blocks, or the state at the head, does not hold.
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
    /// What an operator can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::HeadBehindWitness { .. } | Self::HeadBehindGuard { .. } => {
                "do not sign; let the node fetch the missing blocks from its peers, or restore a newer backup"
            }
            Self::OtherThanWitness { .. } => {
                "the folder mixes files of two chains or backups: put together files of one, restore a backup, or start again from genesis and sync from peers"
            }
            Self::Record(fault) => match fault.record {
                Record::Row | Record::Node | Record::Index | Record::Supply => {
                    "run `db check`; then restore a backup, or start again from genesis and sync from peers"
                }
                _ => {
                    "run `db check`; then try `db rewind` below the named height, which refuses where it cannot, restore a backup, or start again from genesis and sync from peers"
                }
            },
        }
    }

    /// Whether fetching blocks from peers mends it.
    #[must_use]
    pub const fn is_mended_by_peers(&self) -> bool {
        matches!(
            self,
            Self::HeadBehindWitness { .. } | Self::HeadBehindGuard { .. }
        )
    }
}

/// What a start saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartReport {
    /// The database's head.
    pub head: Head,
    /// The lowest block that was looked at.
    pub checked_from: Height,
    /// What is wrong; empty when the node may serve, and a validator sign.
    pub damage: Vec<Damage>,
}

/// Looks at an opened store. `witness` is what the head witness remembers, `signed` the height of the
/// guard's latest entry.
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
    let head = store.head();
    let checked_from = head.height.saturating_sub(START_BLOCKS.saturating_sub(1));
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
    let Some(header) = store.blocks().header(witness.height)? else {
        return Err(StorageError::missing(format!(
            "header of height {}",
            witness.height
        )));
    };
    let stored = header.hash();
    Ok((stored != witness.hash).then_some(Damage::OtherThanWitness { stored, witness }))
}

fn check_blocks(store: &Store, from: Height, head: Head) -> Result<(), Stop> {
    let checker = BlockChecker::new(
        store.genesis(),
        CheckOptions {
            poh: false,
            signatures: false,
        },
    );
    let mut parent: Option<(Header, Hash)> = None;
    for height in from.0..=head.height.0 {
        let block = checker.check(&**store.kv(), Height(height), parent.as_ref())?;
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
    // One walk from the stored root node to a row: the trie in the database is the one of this root.
    view.prove_account(&Address::system())
        .map_err(Stop::at(Record::Node, head.height))?;
    Ok(())
}
