//! The propose timer of a height.

use vibecoin_primitives::Round;

use crate::wait::ProposeWait;

/// State of the propose timer. The core requests it once per round, in ascending order of rounds, and cancels
/// it before the next round. So only one runs, and round 0's is never requested again.
#[derive(Debug, Default)]
pub(crate) enum ProposeTimer {
    /// Not requested; round 0's may not run yet.
    #[default]
    Idle,
    /// Requested for round 0, which may not run yet.
    Held,
    /// Not requested; round 0's runs as soon as it is.
    Released,
    /// Runs.
    Running { round: Round, wait: ProposeWait },
    /// Expired or cancelled.
    Ended,
}

impl ProposeTimer {
    /// Registers the request for the timer of `round`. Returns false if it is held.
    pub fn request(&mut self, round: Round) -> bool {
        if round == Round::ZERO && matches!(self, Self::Idle | Self::Held) {
            *self = Self::Held;
            return false;
        }
        true
    }

    pub const fn begin(&mut self, round: Round, wait: ProposeWait) {
        *self = Self::Running { round, wait };
    }

    /// Allows round 0's timer to run. Returns true if it was held: it is to be begun.
    pub const fn release(&mut self) -> bool {
        let was_held = self.is_held();
        if matches!(self, Self::Idle | Self::Held) {
            *self = Self::Released;
        }
        was_held
    }

    pub const fn is_held(&self) -> bool {
        matches!(self, Self::Held)
    }

    /// The running timer.
    pub const fn running(&mut self) -> Option<(Round, &mut ProposeWait)> {
        match self {
            Self::Running { round, wait } => Some((*round, wait)),
            _ => None,
        }
    }

    /// The timer of `round` expired or was cancelled.
    pub fn end(&mut self, round: Round) {
        match self {
            Self::Running { round: running, .. } if *running == round => *self = Self::Ended,
            Self::Held if round == Round::ZERO => *self = Self::Ended,
            _ => {}
        }
    }

    /// Every timer was cancelled. A release for round 0 stays.
    pub const fn end_all(&mut self) {
        if matches!(self, Self::Running { .. } | Self::Held) {
            *self = Self::Ended;
        }
    }
}
