//! Staller: a proposer that delays its parts and its proposal to the end of the others' timeouts.
//!
//! ```text
//! its block is ready                          W                     1.5 W
//!   ├─────────────────────────────────────────┼───────────────────────┤
//!   Allowed                       all parts                proposal
//!   Dribbles                       part 0                       part 1 ...   each 0.8 W after the one before
//! ```
//!
//! Its block is ready about when the others begin to wait (`W` is the propose timeout of the round): the pool
//! is not empty or the empty-block interval is over, and a block takes a few ticks.

use vibecoin_consensus::ConsensusMessage;
use vibecoin_primitives::{Header, Height, Round};
use vibecoin_replica::Message;

use crate::{Behaviour, Participant};

/// Time at which all parts leave to arrive within the propose timeout, in hundredths of it.
const PARTS_AT: u64 = 75;
/// Time at which the proposal leaves to arrive within the stretched timeout.
const PROPOSAL_AT: u64 = 130;
/// Time from one part to the next of a proposer that tries to restart the timeout with each of
/// them.
const DRIBBLE: u64 = 80;

/// Timing of a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timing {
    AtOnce,
    /// The latest timing that succeeds.
    Allowed,
    /// The latest timing that succeeded when each part restarted the timeout.
    Dribbles,
}

/// Outcomes of the turns that a proposer stretches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalled {
    /// Delayed to the limit of the rule: the block was decided in its round.
    pub allowed: u64,
    /// The same, and another block was decided.
    pub allowed_lost: u64,
    /// Delayed as if each part restarted the timeout: the block was decided in its round.
    pub dribbled: u64,
    /// The same, and another block was decided.
    pub dribbled_lost: u64,
}

impl Stalled {
    /// Adds the turns of another run.
    pub const fn add(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.allowed_lost += other.allowed_lost;
        self.dribbled += other.dribbled;
        self.dribbled_lost += other.dribbled_lost;
    }
}

/// A turn of the Byzantine node.
pub struct Turn {
    at: (Height, Round),
    timing: Timing,
    parts: Vec<Message>,
    /// Time at which its proposal leaves.
    proposes: Option<u64>,
}

/// Time at which a message leaves.
pub enum Timed {
    /// A message that leaves at once.
    Now(Message),
    /// Messages, each with its delay in microseconds.
    Later(Vec<(u64, Message)>),
}

impl Participant {
    /// Holds back parts of one of its own blocks until the block is ready, and delays them and the
    /// proposal.
    pub fn time(&mut self, message: Message, now: u64) -> Timed {
        let at = match &message {
            Message::Part(part) if part.signed.statement.proposer == self.signer.me => {
                (part.signed.statement.height, part.signed.statement.round)
            }
            Message::Consensus(ConsensusMessage::Proposal(signed))
                if signed.proposal.proposer == self.signer.me =>
            {
                (signed.proposal.height, signed.proposal.round)
            }
            _ => return Timed::Now(message),
        };
        if self.at(at.0) != Behaviour::Stretches {
            return Timed::Now(message);
        }
        let mut turn = match self.turn.take() {
            Some(turn) if turn.at == at => turn,
            _ => Turn {
                at,
                timing: self.draw_timing(),
                parts: Vec::new(),
                proposes: None,
            },
        };
        let timed = self.time_in(&mut turn, message, now);
        self.turn = Some(turn);
        timed
    }

    /// Counts the outcome of a turn, when its height is decided.
    pub fn count_turn(&mut self, decided: &Header) {
        let Some(turn) = self.turn.take_if(|turn| turn.at.0 <= decided.height) else {
            return;
        };
        if turn.proposes.is_none() || turn.at.0 != decided.height {
            return;
        }
        let through = decided.proposer == self.signer.me && decided.round == turn.at.1;
        let count = match (turn.timing, through) {
            (Timing::AtOnce, _) => return,
            (Timing::Allowed, true) => &mut self.stalled.allowed,
            (Timing::Allowed, false) => &mut self.stalled.allowed_lost,
            (Timing::Dribbles, true) => &mut self.stalled.dribbled,
            (Timing::Dribbles, false) => &mut self.stalled.dribbled_lost,
        };
        *count += 1;
    }

    /// In the storm the larger part of the turns is correct: one that fails costs the turns of many
    /// heights.
    fn draw_timing(&mut self) -> Timing {
        match self.signer.rng.below(10) {
            _ if self.open && self.signer.rng.chance(500) => Timing::Dribbles,
            _ if self.open => Timing::Allowed,
            0..3 => Timing::Allowed,
            _ => Timing::AtOnce,
        }
    }

    fn time_in(&mut self, turn: &mut Turn, message: Message, now: u64) -> Timed {
        if turn.timing == Timing::AtOnce {
            return Timed::Now(message);
        }
        if matches!(message, Message::Part(_)) {
            turn.parts.push(message);
            return Timed::Later(Vec::new());
        }
        // A block that is proposed again has no parts, and a proposal is repeated while its round
        // continues.
        if turn.parts.is_empty() || turn.proposes.is_some_and(|at| at <= now) {
            return Timed::Now(message);
        }
        if turn.proposes.is_some() {
            return Timed::Later(Vec::new());
        }
        let params = &self.chain.params;
        let length = u64::from(params.timeout_propose_ms)
            + u64::from(params.timeout_delta_ms) * u64::from(turn.at.1.0);
        // Hundredths of that many milliseconds.
        let micros = |share: u64| length.min(u64::from(params.timeout_max_ms)) * 10 * share;
        let parts = turn.parts.iter().cloned();
        let (mut messages, after) = match turn.timing {
            Timing::Dribbles => {
                let parts = parts.zip(1..).map(|(part, nth)| (micros(DRIBBLE * nth), part));
                let nth = turn.parts.len() as u64 + 1;
                (parts.collect::<Vec<_>>(), micros(DRIBBLE * nth))
            }
            _ => {
                let parts = parts.map(|part| (micros(PARTS_AT), part));
                (parts.collect(), micros(PROPOSAL_AT))
            }
        };
        messages.push((after, message));
        turn.proposes = Some(now + after);
        self.changed += messages.len() as u64;
        Timed::Later(messages)
    }
}
