//! A proposer that times its parts and its proposal as late as the others wait for them.
//!
//! ```text
//! its block is ready                          W                     1.5 W
//!   ├─────────────────────────────────────────┼───────────────────────┤
//!   Allowed                       all parts                proposal
//!   Dribbles                       part 0                       part 1 ...   each 0.8 W after the one before
//! ```
//!
//! Its block is ready about when the others begin to wait (`W` is the propose timeout of the round): the pool is not empty or
//! the empty-block interval is over, and a block takes a few ticks.

use vibecoin_consensus::ConsensusMessage;
use vibecoin_primitives::{Header, Height, Round};
use vibecoin_replica::Message;

use crate::Lie;
use crate::liar::Liar;

/// When all parts leave that come within the propose timeout, in hundredths of it.
const PARTS_AT: u64 = 75;
/// When the proposal leaves that comes within the stretched timeout.
const PROPOSAL_AT: u64 = 130;
/// The time from one part to the next of a proposer that begins the wait again with each of them.
const DRIBBLE: u64 = 80;

/// How a turn is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timing {
    AtOnce,
    /// As late as it gets through.
    Allowed,
    /// As late as it got through when each part began the wait again.
    Dribbles,
}

/// A turn of the liar.
pub struct Turn {
    at: (Height, Round),
    timing: Timing,
    parts: Vec<Message>,
    /// When its proposal leaves.
    proposes: Option<u64>,
}

/// When a message leaves.
pub enum Timed {
    Now(Message),
    /// Messages, each after so many microseconds.
    Later(Vec<(u64, Message)>),
}

impl Liar {
    /// Holds back parts of a block of its own until the block is ready, and times them and the proposal.
    pub fn time(&mut self, message: Message, now: u64) -> Timed {
        let at = match &message {
            Message::Part(part) if part.signed.statement.proposer == self.me => {
                (part.signed.statement.height, part.signed.statement.round)
            }
            Message::Consensus(ConsensusMessage::Proposal(signed)) if signed.proposal.proposer == self.me => {
                (signed.proposal.height, signed.proposal.round)
            }
            _ => return Timed::Now(message),
        };
        if self.at(at.0) != Lie::Stretches {
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

    /// Counts what became of a turn, when its height is decided.
    pub fn count_turn(&mut self, decided: &Header) {
        let Some(turn) = self.turn.take_if(|turn| turn.at.0 <= decided.height) else {
            return;
        };
        if turn.proposes.is_none() || turn.at.0 != decided.height {
            return;
        }
        let through = decided.proposer == self.me && decided.round == turn.at.1;
        let count = match (turn.timing, through) {
            (Timing::AtOnce, _) => return,
            (Timing::Allowed, true) => &mut self.stretched.allowed,
            (Timing::Allowed, false) => &mut self.stretched.allowed_lost,
            (Timing::Dribbles, true) => &mut self.stretched.dribbled,
            (Timing::Dribbles, false) => &mut self.stretched.dribbled_lost,
        };
        *count += 1;
    }

    /// In the storm most turns are as they should be: one that fails costs the turns of many heights.
    fn draw_timing(&mut self) -> Timing {
        match self.rng.below(10) {
            _ if self.open && self.rng.chance(500) => Timing::Dribbles,
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
        // A block that is proposed again has no parts, and a proposal is repeated while its round goes on.
        if turn.parts.is_empty() || turn.proposes.is_some_and(|at| at <= now) {
            return Timed::Now(message);
        }
        if turn.proposes.is_some() {
            return Timed::Later(Vec::new());
        }
        let params = &self.chain.params;
        let length = u64::from(params.timeout_propose_ms)
            + u64::from(params.timeout_delta_ms) * u64::from(turn.at.1.0);
        // Hundredths of so many milliseconds.
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
        self.lies += messages.len() as u64;
        Timed::Later(messages)
    }
}
