//! Double-sign protection of a key.
//!
//! The guard is a value: the newest act of this key, in the order (height, round, step). It only moves
//! forward. The caller makes each entry durable in a separate file before the message leaves, so neither a
//! crash, nor a lost log, nor a bug in the core can make this key equivocate. A refusal is an abstention: the
//! node continues without that signature.

use std::fmt;

use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{Encoded, Hash, Height, Proposal, Round, SecretKey, Signature, Vote, VoteKind};
use wincode::{SchemaRead, SchemaWrite};

/// The steps of a round in the order in which a key takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub enum GuardStep {
    /// Began to stream a block that it builds. Only the parts of the block are signed in the round.
    Building,
    /// Signed a proposal.
    Proposal,
    /// Signed a prevote.
    Prevote,
    /// Signed a precommit.
    Precommit,
}

/// The newest act of the key: the content of the guard file.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct GuardEntry {
    /// The height of the act.
    pub height: Height,
    /// The round of the act.
    pub round: Round,
    /// The step of the act.
    pub step: GuardStep,
    /// The block that the message names, for human readers; `None` for a nil vote and for `Building`.
    pub block: Option<Hash>,
    /// Digest of the bytes signed. For `Building`: of the newest message signed earlier at this height, zero
    /// when there is none.
    pub digest: Hash,
    /// The signature; `None` for `Building`.
    pub signature: Option<Signature>,
}

impl Encoded for GuardEntry {
    const NAME: &'static str = "guard entry";
    const BYTES_MAX: usize = 256;
}

impl GuardEntry {
    /// Position of the entry in the order, which only moves forward.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            height: self.height,
            round: self.round,
            step: self.step,
        }
    }
}

/// A position in the order of all acts of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The height, compared first.
    pub height: Height,
    /// The round, compared second.
    pub round: Round,
    /// The step, compared last.
    pub step: GuardStep,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "height {} round {} {:?}", self.height, self.round, self.step)
    }
}

/// Reason why the guard refused an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardRefusal {
    /// The key has already passed this position.
    #[error("asked for {asked}, but this key has been at {newest}")]
    GoesBack {
        /// The requested position.
        asked: Position,
        /// The newest position of the key.
        newest: Position,
    },
    /// The key has signed a different message at this very position.
    #[error("this key has signed another message at {at}")]
    Different {
        /// The position of that message.
        at: Position,
    },
    /// Messages that the key signed at this height are missing from the log, so its locks are unknown.
    #[error("asked for {asked}, but this key abstains up to height {through}")]
    Abstains {
        /// The requested position.
        asked: Position,
        /// The last height without signatures.
        through: Height,
    },
}

/// A message to be signed by a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    at: Position,
    block: Option<Hash>,
    bytes: Vec<u8>,
}

impl Statement {
    /// A vote on the chain with this genesis hash.
    #[must_use]
    pub fn vote(vote: &Vote, genesis: &Hash) -> Self {
        let step = match vote.kind {
            VoteKind::Prevote => GuardStep::Prevote,
            VoteKind::Precommit => GuardStep::Precommit,
        };
        let (height, round) = (vote.height, vote.round);
        Self {
            at: Position { height, round, step },
            block: vote.block,
            bytes: vote.signing_bytes(genesis),
        }
    }

    /// A proposal on the chain with this genesis hash.
    #[must_use]
    pub fn proposal(proposal: &Proposal, genesis: &Hash) -> Self {
        let Proposal {
            height,
            round,
            header,
            ..
        } = proposal;
        Self {
            at: Position {
                height: *height,
                round: *round,
                step: GuardStep::Proposal,
            },
            block: Some(header.hash()),
            bytes: proposal.signing_bytes(genesis),
        }
    }

    /// The entry of the statement once it is signed.
    #[must_use]
    pub fn entry(&self, signature: Signature) -> GuardEntry {
        let Position { height, round, step } = self.at;
        GuardEntry {
            height,
            round,
            step,
            block: self.block,
            digest: self.digest(),
            signature: Some(signature),
        }
    }

    /// Position of the statement in the order of a key's acts.
    #[must_use]
    pub(crate) const fn position(&self) -> Position {
        self.at
    }

    pub(crate) fn digest(&self) -> Hash {
        let mut hasher = blake3::Hasher::new_derive_key("vibecoin guard digest v1");
        Hash(*hasher.update(&self.bytes).finalize().as_bytes())
    }
}

/// Outcome of entering a position to build in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Building {
    /// Nothing was streamed there before.
    First,
    /// Parts may have left before a restart.
    Again,
}

/// The guard of one key.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    newest: Option<GuardEntry>,
    abstains_through: Option<Height>,
    unsaved: bool,
}

impl Guard {
    /// The guard after a start: `newest` is the content of its file. `None` means that the key never signed.
    #[must_use]
    pub const fn new(newest: Option<GuardEntry>) -> Self {
        Self {
            newest,
            abstains_through: None,
            unsaved: false,
        }
    }

    /// The newest entry.
    #[must_use]
    pub const fn newest(&self) -> Option<&GuardEntry> {
        self.newest.as_ref()
    }

    /// The newest entry if it was not returned for saving yet.
    pub fn take_unsaved(&mut self) -> Option<GuardEntry> {
        let unsaved = std::mem::take(&mut self.unsaved);
        self.newest.clone().filter(|_| unsaved)
    }

    /// Compares the guard with the log of `height`: `logged` are this key's own messages in it.
    ///
    /// When the newest entry is ahead of the log, the key abstains up to that entry's height: it may hold a
    /// lock that is recorded nowhere. When the log is ahead, because the process ended between the two syncs,
    /// the guard catches up, so that logged messages may be sent.
    pub fn compare_with_log(&mut self, height: Height, logged: Vec<GuardEntry>) {
        if let Some(newest) = &self.newest {
            let nothing_signed = newest.step == GuardStep::Building && newest.digest.is_zero();
            let known = nothing_signed || logged.iter().any(|entry| entry.digest == newest.digest);
            let ahead = newest.height > height || (newest.height == height && !known);
            if ahead && !active(Bug::AbstentionForgotten) {
                self.abstains_through = Some(newest.height);
                return;
            }
        }
        let last = logged.into_iter().max_by_key(GuardEntry::position);
        let at = self.newest.as_ref().map(GuardEntry::position);
        if let Some(last) = last.filter(|last| at < Some(last.position())) {
            self.advance(last);
        }
    }

    /// Keeps the key from acting up to and including `height`: its signatures there may no longer be
    /// recorded. Never shortens an abstention.
    pub fn abstain_through(&mut self, height: Height) {
        if active(Bug::SilenceForgotten) {
            self.abstains_through = None;
            return;
        }
        self.abstains_through = self.abstains_through.max(Some(height));
    }

    /// Makes an abstention outlast this process. Its cause may be gone at the next start: a lost log is
    /// complete again once it is rewritten, and may contain a vote of this key that a peer returned.
    pub fn keep_abstention(&mut self) {
        let Some(height) = self.abstains_through else {
            return;
        };
        let (round, step) = (Round(u32::MAX), GuardStep::Precommit);
        let end = Position { height, round, step };
        if self
            .newest
            .as_ref()
            .is_some_and(|newest| newest.position() >= end)
        {
            return;
        }
        self.advance(GuardEntry {
            height,
            round,
            step,
            block: None,
            digest: Hash([0xff; 32]),
            signature: None,
        });
    }

    /// Returns true if the key must not act at `height`.
    #[must_use]
    pub fn abstains(&self, height: Height) -> bool {
        self.abstains_through.is_some_and(|through| height <= through)
            || self.newest.as_ref().is_some_and(|newest| height < newest.height)
    }

    /// Enters a position to build in, before the first part leaves.
    ///
    /// # Errors
    /// [`GuardRefusal`] when the key has passed it. Building again where it was building, or where it
    /// proposed the result, is not a refusal: the caller must then use the block it has.
    pub fn build(&mut self, height: Height, round: Round) -> Result<Building, GuardRefusal> {
        let asked = Position {
            height,
            round,
            step: GuardStep::Building,
        };
        self.check_abstention(asked)?;
        if let Some(newest) = &self.newest {
            let at = newest.position();
            if (at.height, at.round) == (height, round) && at.step <= GuardStep::Proposal {
                return Ok(Building::Again);
            }
            if asked < at {
                return Err(GuardRefusal::GoesBack { asked, newest: at });
            }
        }
        let before = self.newest.as_ref().filter(|newest| newest.height == height);
        self.advance(GuardEntry {
            height,
            round,
            step: GuardStep::Building,
            block: None,
            digest: before.map_or(Hash::ZERO, |newest| newest.digest),
            signature: None,
        });
        Ok(Building::First)
    }

    /// Signs a statement that contradicts no earlier one; repeating the last statement returns the same signature.
    ///
    /// # Errors
    /// [`GuardRefusal`]; nothing was signed and nothing changed.
    pub fn sign(&mut self, statement: &Statement, key: &SecretKey) -> Result<Signature, GuardRefusal> {
        let asked = statement.at;
        self.check_abstention(asked)?;
        if let Some(entry) = &self.newest {
            let newest = entry.position();
            if asked < newest {
                return Err(GuardRefusal::GoesBack { asked, newest });
            }
            if asked == newest {
                return entry
                    .signature
                    .filter(|_| entry.digest == statement.digest())
                    .ok_or(GuardRefusal::Different { at: asked });
            }
        }
        let signature = key.sign(&statement.bytes);
        self.advance(statement.entry(signature));
        Ok(signature)
    }

    fn check_abstention(&self, asked: Position) -> Result<(), GuardRefusal> {
        match self.abstains_through {
            Some(through) if asked.height <= through => Err(GuardRefusal::Abstains { asked, through }),
            _ => Ok(()),
        }
    }

    fn advance(&mut self, entry: GuardEntry) {
        self.newest = Some(entry);
        self.unsaved = true;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GENESIS: Hash = Hash([7; 32]);

    fn key() -> SecretKey {
        SecretKey::from_seed(&[1; 32])
    }

    fn vote(kind: VoteKind, height: u64, round: u32, block: Option<Hash>) -> Statement {
        let vote = Vote {
            kind,
            height: Height(height),
            round: Round(round),
            block,
            validator: key().public_key(),
        };
        Statement::vote(&vote, &GENESIS)
    }

    fn prevote(height: u64, round: u32, block: u8) -> Statement {
        vote(VoteKind::Prevote, height, round, Some(Hash([block; 32])))
    }

    fn precommit(height: u64, round: u32, block: u8) -> Statement {
        vote(VoteKind::Precommit, height, round, Some(Hash([block; 32])))
    }

    fn after(statement: &Statement) -> Guard {
        let mut guard = Guard::default();
        guard.sign(statement, &key()).unwrap();
        guard
    }

    #[test]
    fn the_order_is_height_then_round_then_step() {
        let steps = [
            prevote(1, 0, 1),
            precommit(1, 0, 1),
            prevote(1, 1, 1),
            precommit(1, 2, 1),
            prevote(2, 0, 1),
        ];
        for (i, earlier) in steps.iter().enumerate() {
            for later in steps.iter().skip(i).skip(1) {
                assert!(after(earlier).sign(later, &key()).is_ok());
                assert!(matches!(
                    after(later).sign(earlier, &key()),
                    Err(GuardRefusal::GoesBack { .. })
                ));
            }
        }
    }

    #[test]
    fn the_same_statement_gives_the_same_signature_and_another_one_none() {
        let mut guard = Guard::default();
        let signature = guard.sign(&prevote(1, 0, 1), &key()).unwrap();
        assert!(guard.take_unsaved().is_some());
        assert_eq!(guard.sign(&prevote(1, 0, 1), &key()), Ok(signature));
        assert_eq!(guard.take_unsaved(), None, "nothing new to save");
        assert!(matches!(
            guard.sign(&prevote(1, 0, 2), &key()),
            Err(GuardRefusal::Different { .. })
        ));
        let nil = vote(VoteKind::Prevote, 1, 0, None);
        assert!(matches!(
            guard.sign(&nil, &key()),
            Err(GuardRefusal::Different { .. })
        ));
    }

    #[test]
    fn what_another_chain_signs_is_another_statement() {
        let vote = |genesis| {
            let vote = Vote {
                kind: VoteKind::Prevote,
                height: Height(1),
                round: Round(0),
                block: None,
                validator: key().public_key(),
            };
            Statement::vote(&vote, &genesis)
        };
        let mut guard = after(&vote(GENESIS));
        assert!(guard.sign(&vote(Hash([8; 32])), &key()).is_err());
    }

    #[test]
    fn a_refusal_changes_nothing() {
        let mut guard = after(&precommit(3, 1, 1));
        let before = guard.newest().cloned();
        let _ = guard.take_unsaved();
        assert!(guard.sign(&prevote(3, 1, 1), &key()).is_err());
        assert!(guard.build(Height(3), Round(1)).is_err());
        assert_eq!(guard.newest().cloned(), before);
        assert_eq!(guard.take_unsaved(), None);
    }

    #[test]
    fn building_is_entered_once_and_remembered() {
        let mut guard = Guard::default();
        assert_eq!(guard.build(Height(1), Round(0)), Ok(Building::First));
        let entry = guard.take_unsaved().unwrap();
        assert_eq!(entry.position().step, GuardStep::Building);
        let mut again = Guard::new(Some(entry));
        assert_eq!(again.build(Height(1), Round(0)), Ok(Building::Again));
        assert_eq!(again.take_unsaved(), None);
        assert!(again.sign(&prevote(1, 0, 1), &key()).is_ok());
        assert!(again.build(Height(1), Round(0)).is_err(), "its turn is over");
        assert_eq!(again.build(Height(1), Round(1)), Ok(Building::First));
    }

    #[test]
    fn a_guard_that_the_log_confirms_goes_on() {
        let statement = precommit(4, 0, 1);
        let entry = after(&statement).newest().cloned().unwrap();
        let mut guard = Guard::new(Some(entry.clone()));
        guard.compare_with_log(Height(4), vec![entry]);
        assert!(!guard.abstains(Height(4)));
        assert!(guard.sign(&prevote(4, 1, 2), &key()).is_ok());
    }

    #[test]
    fn a_guard_ahead_of_the_log_abstains_up_to_its_height() {
        let entry = after(&precommit(4, 0, 1)).newest().cloned();
        for height in [3, 4] {
            let mut guard = Guard::new(entry.clone());
            guard.compare_with_log(Height(height), vec![]);
            assert!(guard.abstains(Height(height)));
            let later = prevote(4, 7, 2);
            assert!(matches!(
                guard.sign(&later, &key()),
                Err(GuardRefusal::Abstains { .. })
            ));
            assert!(matches!(
                guard.build(Height(4), Round(9)),
                Err(GuardRefusal::Abstains { .. })
            ));
            assert!(!guard.abstains(Height(5)));
            assert!(guard.sign(&prevote(5, 0, 2), &key()).is_ok());
        }
    }

    #[test]
    fn an_abstention_that_was_asked_for_holds_for_a_key_without_entries_and_is_never_shortened() {
        let mut guard = Guard::new(None);
        guard.abstain_through(Height(6));
        guard.abstain_through(Height(5));
        guard.compare_with_log(Height(4), vec![]);
        assert!(guard.abstains(Height(6)) && !guard.abstains(Height(7)));
        assert!(matches!(
            guard.sign(&prevote(6, 0, 1), &key()),
            Err(GuardRefusal::Abstains { .. })
        ));
        assert!(guard.build(Height(6), Round(0)).is_err());
        assert!(guard.sign(&prevote(7, 0, 1), &key()).is_ok());
    }

    #[test]
    fn building_in_a_later_round_does_not_hide_votes_that_the_log_lost() {
        let mut guard = after(&precommit(4, 0, 1));
        let signed = guard.newest().cloned().unwrap();
        guard.build(Height(4), Round(1)).unwrap();
        let building = guard.newest().cloned().unwrap();

        let mut lost = Guard::new(Some(building.clone()));
        lost.compare_with_log(Height(4), vec![]);
        assert!(lost.abstains(Height(4)));

        let mut kept = Guard::new(Some(building));
        kept.compare_with_log(Height(4), vec![signed]);
        assert!(!kept.abstains(Height(4)));
    }

    #[test]
    fn building_the_first_block_of_a_height_hides_nothing() {
        let mut guard = after(&precommit(3, 0, 1));
        guard.build(Height(4), Round(0)).unwrap();
        let mut guard = Guard::new(guard.newest().cloned());
        guard.compare_with_log(Height(4), vec![]);
        assert!(!guard.abstains(Height(4)));
    }

    #[test]
    fn a_guard_behind_the_log_catches_up_and_asks_to_be_saved() {
        let prevoted = after(&prevote(4, 0, 1)).newest().cloned().unwrap();
        let precommitted = after(&precommit(4, 0, 1)).newest().cloned().unwrap();
        for start in [None, Some(prevoted.clone())] {
            let mut guard = Guard::new(start);
            guard.compare_with_log(Height(4), vec![prevoted.clone(), precommitted.clone()]);
            assert_eq!(guard.take_unsaved(), Some(precommitted.clone()));
            assert!(guard.sign(&precommit(4, 0, 2), &key()).is_err());
        }
    }
}
