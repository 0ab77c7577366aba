//! Decisions: by the core, and by the certificate of a synced block.

use malachitebft_core_consensus::MisbehaviorEvidence;
use malachitebft_core_types as malachite;
use malachitebft_core_types::{Threshold, VoteType};
use vibecoin_primitives::{CommitCertificate, Evidence, Header, SignedVote};

use super::EffectHandler;
use crate::context::{CoreState, Ctx};
use crate::convert::from_core;
use crate::{HaltReason, HeightParams, Output, planted};

impl EffectHandler<'_> {
    pub(super) fn check_own_decision(&mut self, certificate: malachite::CommitCertificate<Ctx>) {
        let certificate = from_core::commit(certificate);
        let votes: Vec<SignedVote> = certificate
            .signatures
            .iter()
            .map(|entry| SignedVote {
                vote: certificate.precommit(entry.validator),
                signature: entry.signature,
            })
            .collect();
        let HeightParams {
            height,
            validators,
            fault_model,
            ..
        } = self.state.params();
        let height = *height;
        let verdict = self
            .node
            .verifier
            .certificate(validators, &votes, |power, total| {
                fault_model.is_quorum(power, total)
            });
        if let Err(fault) = verdict {
            let detail = format!("decided with a bad certificate: {}", fault.text());
            self.halt(HaltReason::Core { height, detail });
        }
    }

    pub(super) fn finalize(
        &mut self,
        certificate: malachite::CommitCertificate<Ctx>,
        evidence: MisbehaviorEvidence<Ctx>,
    ) {
        let certificate = from_core::commit(certificate);
        match self.state.blocks.header(&certificate.block) {
            Some(header) => {
                let header = Box::new(header.clone());
                self.decide(certificate, header, evidence);
            }
            None => self.halt(HaltReason::Core {
                height: certificate.height,
                detail: format!("decided block {} was never seen", certificate.block),
            }),
        }
    }

    pub fn decide(
        &mut self,
        certificate: CommitCertificate,
        header: Box<Header>,
        evidence: MisbehaviorEvidence<Ctx>,
    ) {
        self.state.decided = Some(certificate.block);
        self.cancel_all_timeouts();
        let evidence = planted::evidence(self.evidence(evidence));
        self.state.burst.push(Output::Decided {
            certificate,
            header,
            evidence,
        });
    }

    /// Evidence that any verifier accepts. The core also pairs proposals that differ only in their lock
    /// round, which is not evidence on the chain.
    fn evidence(&self, found: MisbehaviorEvidence<Ctx>) -> Vec<Evidence> {
        let votes = found
            .votes
            .into_iter()
            .flat_map(|(_, pairs)| pairs)
            .map(|(a, b)| Evidence::votes(from_core::signed_vote(a), from_core::signed_vote(b)));
        let proposals =
            found.proposals.iter().flat_map(|(_, pairs)| pairs).map(|(a, b)| {
                Evidence::proposals(from_core::signed_proposal(a), from_core::signed_proposal(b))
            });
        let validators = &self.params().validators;
        votes
            .chain(proposals)
            .filter(|evidence| evidence.verify(&self.node.genesis, validators).is_ok())
            .collect()
    }

    /// Returns true if the certificate of a synced block decides the height. One that contradicts what is
    /// decided or checked here halts.
    pub fn accept_synced(&mut self, header: &Header, certificate: &CommitCertificate, valid: bool) -> bool {
        let HeightParams {
            height,
            validators,
            fault_model,
            ..
        } = self.state.params();
        let (height, block) = (*height, header.hash());
        if header.height != height || self.state.decided == Some(block) {
            return false;
        }
        if certificate
            .verify(&self.node.genesis, *fault_model, validators, height, &block)
            .is_err()
        {
            self.node.counters.rejected = self.node.counters.rejected.saturating_add(1);
            return false;
        }
        if let Some(first) = self.state.decided {
            self.halt(HaltReason::ConflictingCertificates {
                height,
                first,
                second: block,
            });
            return false;
        }
        if !valid {
            self.halt(HaltReason::InvalidDecision { height, block });
        }
        valid
    }

    /// Halts if a quorum precommitted a block that is invalid here.
    pub(super) fn halt_on_invalid_decision(&mut self, core: &CoreState) {
        let votes = core.driver.votes();
        let decided = self.state.blocks.invalid().find(|hash| {
            votes
                .all_rounds()
                .keys()
                .any(|round| votes.is_threshold_met(round, VoteType::Precommit, Threshold::Value(*hash)))
        });
        if let Some(block) = decided {
            let height = self.height();
            self.halt(HaltReason::InvalidDecision { height, block });
        }
    }
}
