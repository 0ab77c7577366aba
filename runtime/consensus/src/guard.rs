//! Double-sign protection of a key.
//!
//! The guard is a value: the newest act of this key, in the order (height, round, step). It only moves
//! forward. The caller makes each entry durable in a separate file before the message leaves, so neither a
//! crash, nor a lost log, nor a bug in the core can make this key equivocate. A refusal is an abstention: the
//! node continues without that signature.

use std::fmt;

use vibecoin_primitives::{Encoded, Hash, Height, Proposal, Round, SecretKey, Signature, Vote, VoteKind};
use wincode::{SchemaRead, SchemaWrite};

use crate::planted;

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
    /// Returns true if the entry records that the key abstains up to its height. Nothing was signed with it, so its
    /// height may be above every block that was decided.
    #[must_use]
    pub const fn is_abstention(&self) -> bool {
        self.signature.is_none() && !matches!(self.step, GuardStep::Building)
    }

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
            if planted::is_ahead(ahead) {
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
        self.abstains_through = planted::abstention(self.abstains_through.max(Some(height)));
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
#[path = "guard_tests.rs"]
mod tests;
