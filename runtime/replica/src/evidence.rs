//! Double signatures that came to light and wait for a block.

use std::collections::VecDeque;

use vibecoin_primitives::limits::EVIDENCE_MAX;
use vibecoin_primitives::{Body, Evidence, Hash, Height};

/// Most pieces of evidence that wait for a block.
pub const EVIDENCE_WAITING_MAX: usize = 256;
/// Most pieces remembered as shown in a block, so that they are not shown again.
const SHOWN_MAX: usize = 1024;

/// What waits, and what was shown.
#[derive(Debug, Default)]
pub(crate) struct EvidenceBook {
    waiting: Vec<Evidence>,
    shown: VecDeque<Hash>,
}

impl EvidenceBook {
    /// Whether this piece waits or was shown.
    pub fn knows(&self, evidence: &Evidence) -> bool {
        self.waiting.contains(evidence) || self.shown.contains(&evidence.hash())
    }

    /// Takes a verified piece; `false` when it is not new or there is no room.
    pub fn add(&mut self, evidence: Evidence) -> bool {
        let takes = self.waiting.len() < EVIDENCE_WAITING_MAX && !self.knows(&evidence);
        if takes {
            self.waiting.push(evidence);
        }
        takes
    }

    /// What a block of ours carries: nothing older than `oldest`, nothing about a height above the block's.
    pub fn for_block(&mut self, oldest: Height, height: Height) -> Vec<Evidence> {
        self.waiting.retain(|evidence| evidence.offender().1 >= oldest);
        let now = self
            .waiting
            .iter()
            .filter(|evidence| evidence.offender().1 <= height);
        now.take(EVIDENCE_MAX).cloned().collect()
    }

    /// Forgets what a decided block carries.
    pub fn in_block(&mut self, body: &Body) {
        for evidence in &body.v1().evidence {
            if self.shown.len() >= SHOWN_MAX {
                self.shown.pop_front();
            }
            self.shown.push_back(evidence.hash());
        }
        self.waiting.retain(|piece| !body.v1().evidence.contains(piece));
    }

    /// What waits.
    pub fn waiting(&self) -> &[Evidence] {
        &self.waiting
    }
}
