//! Double signatures that were found and wait for a block.

use std::collections::VecDeque;

use vibecoin_consensus::Verdict;
use vibecoin_execution::State;
use vibecoin_primitives::limits::EVIDENCE_MAX;
use vibecoin_primitives::{Body, Evidence, Height, Offence, PublicKey};

use crate::check::is_recorded;
use crate::tip::Tip;
use crate::validation::JudgeError;

/// Maximum number of pieces of evidence that wait for a block, of all validators: up to 1 MiB.
pub const EVIDENCE_WAITING_MAX: usize = 256;
/// Maximum number of pieces of evidence that wait for a block, of one validator: one that produces evidence
/// against itself must not crowd out evidence against others.
pub const OFFENDER_WAITING_MAX: usize = 16;
/// Number of offences remembered as recorded, so that a repetition rarely costs a state read.
const RECORDED_MAX: usize = 1024;

/// Waiting evidence, and the offences recorded last.
#[derive(Debug, Default)]
pub(crate) struct EvidenceBook {
    waiting: Vec<Evidence>,
    recorded: VecDeque<Offence>,
}

impl EvidenceBook {
    /// Checks a piece from outside: [`Verdict::Fresh`] if it proves an offence that is not known yet.
    ///
    /// # Errors
    /// [`JudgeError`] when this node cannot read its own state.
    pub fn check<S: State>(
        &self,
        tip: &Tip<S>,
        evidence: &Evidence,
        own: Option<PublicKey>,
    ) -> Result<Verdict, JudgeError> {
        let (chain, next) = (tip.chain(), tip.next_height());
        let (_, at) = evidence.offender();
        // Too old to count, or about a height that this node has not reached: no block of ours may carry it
        // yet, and a node that saw the offence puts it into its own block.
        if at.saturating_add(chain.params.evidence_age_max) < next || at > next {
            return Ok(Verdict::Ignored);
        }
        let offence = evidence.offence();
        // Nothing is forwarded whose signatures were not checked: of a known offence that is only the waiting
        // piece, byte for byte.
        if self.has(evidence) {
            return Ok(Verdict::Known);
        }
        // Evidence against this node's own key is verified even so: it may show that the key signs elsewhere.
        let is_kept = own == Some(offence.validator) || self.has_room(&offence.validator);
        if self.knows(&offence) || !is_kept || is_recorded(chain, &tip.parent().state, &offence)? {
            return Ok(Verdict::Ignored);
        }
        if evidence.verify(&chain.genesis, &chain.validators).is_err() {
            return Ok(Verdict::Rejected("evidence that proves nothing"));
        }
        Ok(Verdict::Fresh)
    }

    /// Returns true if evidence of this offence waits or was seen in a block. Only the state is complete.
    fn knows(&self, offence: &Offence) -> bool {
        self.waits(offence) || self.recorded.contains(offence)
    }

    /// Returns true if this very piece waits here.
    fn has(&self, evidence: &Evidence) -> bool {
        self.waiting.contains(evidence)
    }

    fn waits(&self, offence: &Offence) -> bool {
        self.waiting.iter().any(|piece| piece.offence() == *offence)
    }

    /// Returns true if another piece about this validator may wait. Asked before a piece is verified.
    pub fn has_room(&self, offender: &PublicKey) -> bool {
        self.waiting.len() < EVIDENCE_WAITING_MAX && self.waiting_of(offender) < OFFENDER_WAITING_MAX
    }

    /// Takes a verified piece; `false` when its offence is known or the book is full.
    pub fn add(&mut self, evidence: Evidence) -> bool {
        let offence = evidence.offence();
        let takes = self.has_room(&offence.validator) && !self.knows(&offence);
        if takes {
            self.waiting.push(evidence);
        }
        takes
    }

    fn waiting_of(&self, offender: &PublicKey) -> usize {
        let of_it = self
            .waiting
            .iter()
            .filter(|piece| piece.offender().0 == *offender);
        of_it.count()
    }

    /// Evidence for a block of ours, none about a height above the block's. Pieces older than `oldest` or
    /// already recorded are dropped for good.
    ///
    /// # Errors
    /// [`JudgeError`] when `is_recorded` could not read the state.
    pub fn for_block(
        &mut self,
        oldest: Height,
        height: Height,
        is_recorded: impl Fn(&Offence) -> Result<bool, JudgeError>,
    ) -> Result<Vec<Evidence>, JudgeError> {
        let mut kept = Vec::new();
        for piece in self.waiting.drain(..) {
            let offence = piece.offence();
            if offence.height >= oldest && !is_recorded(&offence)? {
                kept.push(piece);
            }
        }
        self.waiting = kept;
        let now = self.waiting.iter().filter(|piece| piece.offender().1 <= height);
        Ok(now.take(EVIDENCE_MAX).cloned().collect())
    }

    /// Drops the evidence that a decided block has recorded.
    pub fn in_block(&mut self, body: &Body) {
        for piece in &body.v1().evidence {
            let offence = piece.offence();
            if self.recorded.len() >= RECORDED_MAX {
                self.recorded.pop_front();
            }
            self.recorded.push_back(offence);
            self.waiting.retain(|piece| piece.offence() != offence);
        }
    }

    /// The waiting evidence.
    pub fn waiting(&self) -> &[Evidence] {
        &self.waiting
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vibecoin_primitives::{BodyV1, Hash, Round, SecretKey, Vote, VoteKind};

    use super::*;

    fn evidence(n: u8, height: u64, round: u32) -> Evidence {
        let key = SecretKey::from_seed(&[n; 32]);
        let vote = |block| {
            let vote = Vote {
                kind: VoteKind::Prevote,
                height: Height(height),
                round: Round(round),
                block,
                validator: key.public_key(),
            };
            vote.sign(&Hash::ZERO, &key)
        };
        Evidence::votes(vote(None), vote(Some(Hash([1; 32]))))
    }

    fn offered(book: &mut EvidenceBook, height: u64) -> Vec<Evidence> {
        book.for_block(Height(0), Height(height), |_| Ok(false)).unwrap()
    }

    #[test]
    fn one_offence_waits_once_whatever_the_round() {
        let mut book = EvidenceBook::default();
        assert!(book.add(evidence(1, 5, 0)));
        assert!(!book.add(evidence(1, 5, 1)));
        assert!(book.add(evidence(1, 6, 0)));
        assert!(book.add(evidence(2, 5, 0)));
        assert_eq!(offered(&mut book, 5).len(), 2, "height 6 is still to come");
    }

    #[test]
    fn what_a_block_has_is_never_offered_again() {
        let mut book = EvidenceBook::default();
        book.add(evidence(1, 5, 0));
        let body = Body::V1(BodyV1 {
            ticks: Vec::new(),
            last_commit: None,
            evidence: vec![evidence(1, 5, 3)],
        });
        book.in_block(&body);
        assert!(offered(&mut book, 9).is_empty());
        assert!(!book.add(evidence(1, 5, 0)));
        assert!(book.knows(&evidence(1, 5, 7).offence()));
    }

    #[test]
    fn what_the_state_has_recorded_is_dropped() {
        let mut book = EvidenceBook::default();
        book.add(evidence(1, 5, 0));
        book.add(evidence(2, 5, 0));
        let recorded = evidence(1, 5, 0).offence();
        let offered = book.for_block(Height(0), Height(9), |offence| Ok(*offence == recorded));
        assert_eq!(offered.unwrap(), [evidence(2, 5, 0)]);
        assert_eq!(book.waiting(), [evidence(2, 5, 0)]);
    }

    #[test]
    fn one_offender_cannot_fill_the_book() {
        let mut book = EvidenceBook::default();
        let taken = (1..=100)
            .filter(|height| book.add(evidence(1, *height, 0)))
            .count();
        assert_eq!(taken, OFFENDER_WAITING_MAX);
        assert!(book.add(evidence(2, 1, 0)));
    }
}
