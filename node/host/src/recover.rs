//! A start from the files beside the database: their joint contents decide whether the key may sign, follows in
//! silence first, or the node does not start.

use vibecoin_consensus::{BftOrderer, Guard, GuardEntry, LogRecord};
use vibecoin_primitives::{FaultModel, Height, PublicKey, ValidatorSet, decode};
use vibecoin_storage::files::{
    ConsensusLog, GuardFile, HeadWitness, MemoryFile, OpenedLog, RawFile, Relied, SALT_BYTES,
};
use vibecoin_storage::start::{Lost, Remembered, StartReport, check_start};
use vibecoin_storage::{StorageError, Store};

use crate::files::{ConsensusFiles, GuardStore, HostError, during};
use crate::planted;

/// Operations, for messages.
const OPEN_GUARD: &str = "open the double-sign guard";
const OPEN_LOG: &str = "open the consensus log";
const OPEN_WITNESS: &str = "open the head witness";

/// The files of a home, as [`recover`] opens them.
pub trait Files {
    /// Opens the head witness, or creates an empty one.
    ///
    /// # Errors
    /// [`StorageError`] of the file.
    fn witness(&mut self) -> Result<HeadWitness, StorageError>;

    /// Opens the double-sign guard.
    ///
    /// # Errors
    /// [`StorageError::Missing`] when there is none, else of the file.
    fn guard(&mut self) -> Result<GuardFile, StorageError>;

    /// Opens the file of the consensus log; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`] of the file.
    fn log(&mut self) -> Result<Option<Box<dyn RawFile>>, StorageError>;

    /// Creates the file of the consensus log with this content, durably.
    ///
    /// # Errors
    /// [`StorageError`] of the file.
    fn create_log(&mut self, content: &[u8]) -> Result<Box<dyn RawFile>, StorageError>;

    /// Secret random bytes for a new log.
    ///
    /// # Errors
    /// [`StorageError`] of the system.
    fn salt(&mut self) -> Result<[u8; SALT_BYTES], StorageError>;

    /// Reports damage that the start tolerates.
    fn notice(&mut self, _notice: Notice) {}
}

/// Damage that a start repairs or tolerates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// One of the two slots of the witness is damaged.
    WitnessTorn,
    /// One of the two slots of the guard is damaged.
    GuardTorn,
    /// One of the two slots of the log is damaged.
    LogTorn,
    /// The end of the log was dropped.
    LogCut {
        /// Number of bytes.
        bytes: usize,
    },
}

/// The role of the node that recovers.
#[derive(Debug)]
pub struct Role<'a> {
    /// The signing key; `None` on a node that only follows.
    pub key: Option<PublicKey>,
    /// The validators of the chain.
    pub validators: &'a ValidatorSet,
    /// The faults that they tolerate.
    pub fault_model: FaultModel,
    /// Returns true if the chain is for development.
    pub dev: bool,
    /// Returns true if other nodes can be reached.
    pub has_network: bool,
}

impl Role<'_> {
    /// Returns true if signatures must be recorded in a file. A node that never signs has nothing to guard, and
    /// the only validator of a dev chain cannot contradict any vote; with others there are votes to contradict.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.key.is_some() && !(self.dev && self.validators.members().len() == 1)
    }

    /// Returns true if this key alone is a quorum: no other node decided the blocks that it lost.
    fn decides_alone(&self) -> bool {
        let member = self.key.and_then(|key| self.validators.find(&key));
        member.is_some_and(|(_, validator)| {
            self.fault_model
                .is_quorum(validator.power.0, self.validators.total_power())
        })
    }
}

/// Blocks to fetch from peers, and heights at which the key stays silent. Both resolve without intervention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Blocks that were committed on this node and that the database lost.
    pub lost: Option<Lost>,
    /// Last height at which this key may have signed without a trustworthy record of it.
    pub silent_through: Option<Height>,
}

/// The files of a home that may start.
pub struct Recovered {
    /// Consensus log and guard, ready for writes.
    pub files: ConsensusFiles,
    /// The head witness.
    pub witness: HeadWitness,
    /// The records of the log, oldest first.
    pub records: Vec<LogRecord>,
    /// The log was of a committed height: the process ended between the commit and the reset.
    pub log_was_older: bool,
    /// The newest intact entry of the guard.
    pub newest_guard: Option<GuardEntry>,
    /// A newer entry of the guard may be lost.
    pub guard_torn: bool,
    /// Conditions under which the key signs again.
    pub recovery: Recovery,
}

impl Recovered {
    /// Makes an orderer that has not started keep silent where the key may have signed.
    pub fn silence(&self, orderer: &mut BftOrderer) {
        if let Some(through) = self.recovery.silent_through {
            orderer.abstain_through(through);
        }
        if self.guard_torn {
            orderer.doubt_newest();
        }
    }
}

/// Reason why a home does not start.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The files are damaged, or do not belong together.
    #[error("{detail}. {remedy}")]
    Damaged {
        /// Description of the damage.
        detail: String,
        /// Remedy for the operator.
        remedy: String,
    },
    /// The guard is missing or unreadable: the key must not sign before the operator has approved it.
    #[error("{detail}")]
    GuardLost {
        /// Description of the loss.
        detail: String,
    },
}

/// Opens the files beside an opened database and checks them against it and each other.
///
/// It may end at any moment and be called again: nothing is repaired before the silence that the damage asks for is
/// durable in the guard.
///
/// # Errors
/// [`RecoverError`]; the key must not sign then.
pub fn recover(files: &mut impl Files, store: &Store, role: &Role<'_>) -> Result<Recovered, RecoverError> {
    let witness = files.witness().map_err(during(OPEN_WITNESS))?;
    if witness.was_torn() {
        files.notice(Notice::WitnessTorn);
    }
    // First, because it states which part of the log was signed for.
    let mut guard = open_guard(files, role)?;
    if guard.torn {
        files.notice(Notice::GuardTorn);
    }
    let next = store.head().height.saturating_add(1);
    let mut log = files.log().map_err(during(OPEN_LOG))?;
    // A copy is judged before the log is opened for writing, which repairs it: a start that ends after that would
    // erase the evidence of the loss for the next one. So the silence is made durable first.
    let found = match &log {
        Some(file) => look(&**file, guard.relied)?,
        None => (next, false),
    };
    let recovery = judge(store, &witness, found, &guard, role)?;
    if let Some(through) = planted::silence(recovery.silent_through) {
        guard.record_silence(through)?;
    }
    let had_log = log.is_some();
    let file = match log.take() {
        Some(file) => file,
        None => {
            let salt = files
                .salt()
                .map_err(during("make the salt of the consensus log"))?;
            let content = ConsensusLog::fresh(next, salt);
            files.create_log(&content).map_err(during(OPEN_LOG))?
        }
    };
    let opened = ConsensusLog::open_on(file, guard.relied).map_err(during(OPEN_LOG))?;
    if opened.dropped_bytes > 0 {
        let bytes = opened.dropped_bytes;
        files.notice(Notice::LogCut { bytes });
    } else if had_log && !opened.whole {
        files.notice(Notice::LogTorn);
    }
    let log_was_older = opened.log.height() < next;
    let opened = planted::brought(opened, |opened| opened.brought_to(next))
        .map_err(during("reset the consensus log"))?;
    if let Some(through) = planted::silence_late(recovery.silent_through) {
        guard.record_silence(through)?;
    }
    Ok(Recovered {
        records: read_log(&opened)?,
        files: ConsensusFiles::new(opened.log, guard.store),
        witness,
        log_was_older,
        newest_guard: guard.newest,
        guard_torn: guard.torn,
        recovery,
    })
}

/// The opened guard of a role.
struct OpenGuard {
    store: GuardStore,
    /// One of its slots is damaged.
    torn: bool,
    /// Its newest entry.
    newest: Option<GuardEntry>,
    /// The part of the log that was signed for.
    relied: Relied,
}

impl OpenGuard {
    /// Records that the key signs nothing up to this height. Costs nothing when that is recorded.
    fn record_silence(&mut self, through: Height) -> Result<(), HostError> {
        let mut guard = Guard::new(self.newest.take());
        guard.abstain_through(through);
        guard.keep_abstention();
        if let Some(entry) = guard.take_unsaved() {
            // No part of the log is behind it: the key does not continue from what it signed at these heights.
            self.store.store(&entry, 0)?;
        }
        self.newest = guard.newest().cloned();
        Ok(())
    }
}

fn open_guard(files: &mut impl Files, role: &Role<'_>) -> Result<OpenGuard, RecoverError> {
    if !role.is_guarded() {
        // A node without a key signs nothing, but its home may have signed before; a lone validator of a dev chain
        // signs without a record of it.
        let relied = match role.key {
            Some(_) => Relied::All,
            None => match files.guard() {
                Ok(file) => file.relied(),
                Err(StorageError::Missing { .. }) => Relied::Nothing,
                Err(_) => Relied::All,
            },
        };
        return Ok(OpenGuard {
            store: GuardStore::Memory,
            torn: false,
            newest: None,
            relied,
        });
    }
    let (file, newest) = newest_entry(files.guard())?;
    Ok(OpenGuard {
        torn: file.was_torn(),
        relied: file.relied(),
        newest,
        store: GuardStore::File(Box::new(file)),
    })
}

/// The newest entry of an opened guard. A key never signs without its guard, which is created together with the key.
///
/// # Errors
/// [`RecoverError::GuardLost`] when the guard is missing or no entry is intact.
pub fn newest_entry(
    opened: Result<GuardFile, StorageError>,
) -> Result<(GuardFile, Option<GuardEntry>), RecoverError> {
    let lost = |detail: String| RecoverError::GuardLost { detail };
    let file = match opened {
        Err(error @ (StorageError::Missing { .. } | StorageError::Corrupt { .. })) => {
            return Err(lost(error.to_string()));
        }
        opened => opened.map_err(during(OPEN_GUARD))?,
    };
    let newest = file.latest().map(|entry| decode(&entry.payload)).transpose();
    let newest = newest.map_err(|error| lost(error.to_string()))?;
    Ok((file, newest))
}

/// Height of the log's records, and true if every byte of the file is valid. Reads a copy, because opening a log cuts
/// its torn tail.
fn look(file: &dyn RawFile, relied: Relied) -> Result<(Height, bool), HostError> {
    let named = |error| match error {
        StorageError::Corrupt { detail, .. } => StorageError::Corrupt {
            what: file.name(),
            detail,
        },
        other => other,
    };
    let copy = file.read().map(MemoryFile::new).map_err(during(OPEN_LOG))?;
    let opened = ConsensusLog::open_on(Box::new(copy), relied)
        .map_err(named)
        .map_err(during(OPEN_LOG))?;
    Ok((opened.log.height(), opened.whole))
}

/// Decodes the records of a log.
///
/// # Errors
/// [`RecoverError::Damaged`] when one is not a record of this program.
pub fn read_log(opened: &OpenedLog) -> Result<Vec<LogRecord>, RecoverError> {
    opened
        .records
        .iter()
        .map(|bytes| decode(bytes))
        .collect::<Result<Vec<LogRecord>, _>>()
        .map_err(|error| RecoverError::Damaged {
            detail: format!("consensus log: {error}"),
            remedy: "keep a copy of the file for a report; it holds only the height in progress".to_owned(),
        })
}

/// D4, D5: a database that lost its tail catches up in silence; an inconsistent one is refused.
fn judge(
    store: &Store,
    witness: &HeadWitness,
    (log, log_whole): (Height, bool),
    guard: &OpenGuard,
    role: &Role<'_>,
) -> Result<Recovery, RecoverError> {
    let newest = guard.newest.as_ref();
    // An abstention is not a signature: it does not show that the block below its height was committed.
    let signed = newest.filter(|entry| !entry.is_abstention());
    let signed = signed.map(|entry| entry.height);
    let report = check_start(store, witness.head(), signed).map_err(during("check the database"))?;
    if let Some(damage) = report.unmendable() {
        return Err(RecoverError::Damaged {
            detail: damage.to_string(),
            remedy: damage.remedy().to_owned(),
        });
    }
    let remembered = Remembered {
        head: report.head.height,
        witness: witness.head().map(|head| head.height),
        guard: newest.map(|entry| entry.height),
        guard_torn: guard.torn,
        log,
        log_whole,
    };
    let recovery = Recovery {
        lost: report.lost(),
        silent_through: remembered.silent_through().filter(|_| role.key.is_some()),
    };
    may_recover(&report, &recovery, role)?;
    Ok(recovery)
}

/// Refuses a home whose lost blocks no other node can supply.
fn may_recover(report: &StartReport, recovery: &Recovery, role: &Role<'_>) -> Result<(), RecoverError> {
    let detail = match (report.damage.first(), recovery.silent_through) {
        (Some(damage), _) => damage.to_string(),
        (None, Some(through)) if role.decides_alone() => format!(
            "a slot of the double-sign guard is damaged and the consensus log does not say what was signed up to height {through}"
        ),
        (None, _) => return Ok(()),
    };
    let remedy = if role.decides_alone() && report.damage.is_empty() {
        "This validator decides blocks alone: nobody else goes on while it is silent. Put the consensus log back, or \
         restore a copy of the whole home that was made when the node was stopped"
    } else if role.decides_alone() {
        "This validator decides blocks alone: to make the lost ones again it would have to contradict what it signed. \
         Copy the database folder of a follower of this chain that has them (both nodes stopped), or restore a copy \
         of the whole home that was made when the node was stopped"
    } else if role.has_network {
        return Ok(());
    } else {
        "The missing blocks can be fetched from peers, but this node has none: set p2p.peers (or p2p.listen) and start again"
    };
    Err(RecoverError::Damaged {
        detail,
        remedy: remedy.to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use vibecoin_primitives::{Address, Power, SecretKey, Validator};

    fn opened(file: &MemoryFile) -> OpenGuard {
        let (file, newest) = newest_entry(GuardFile::open_on(Box::new(file.clone()))).unwrap();
        OpenGuard {
            torn: file.was_torn(),
            relied: file.relied(),
            newest,
            store: GuardStore::File(Box::new(file)),
        }
    }

    #[test]
    fn a_recorded_silence_is_found_by_the_next_start_and_is_never_shortened() {
        let file = MemoryFile::new(GuardFile::fresh());
        let mut guard = opened(&file);
        guard.record_silence(Height(11)).unwrap();
        let newest = guard.newest.clone();
        // As after a power cut: only what was synced is left.
        let mut guard = opened(&file.crash(1));
        assert!(!guard.torn);
        assert_eq!(guard.newest, newest);
        let found = Guard::new(guard.newest.clone());
        assert!(found.abstains(Height(10)) && !found.abstains(Height(12)));
        for through in [11, 5] {
            guard.record_silence(Height(through)).unwrap();
            assert_eq!(guard.newest, newest, "{through}");
        }
    }

    #[test]
    fn only_the_lone_validator_of_a_dev_chain_signs_without_a_guard_file() {
        let keys = [1, 2, 3, 4].map(|seed| SecretKey::from_seed(&[seed; 32]).public_key());
        for (dev, validators, signs, expected) in [
            (true, 1, true, false),
            (true, 2, true, true),
            (true, 4, true, true),
            (false, 1, true, true),
            (false, 4, true, true),
            (true, 4, false, false),
            (false, 4, false, false),
        ] {
            let members = keys.iter().take(validators).map(|key| Validator {
                key: *key,
                power: Power(1),
                payout: Address([7; 32]),
            });
            let set = ValidatorSet::new(members.collect()).unwrap();
            let role = Role {
                key: keys.first().copied().filter(|_| signs),
                validators: &set,
                fault_model: FaultModel::Byzantine,
                dev,
                has_network: true,
            };
            assert_eq!(role.is_guarded(), expected, "{dev} {validators} {signs}");
        }
    }
}
