//! Signature checks, each made once.
//!
//! A (message, signature) pair that verified is remembered whole, so memory can only repeat a verdict about
//! the very same bytes: it can never turn an invalid certificate into a valid one.

use std::collections::{BTreeMap, BTreeSet};

use vibecoin_primitives::{
    Hash, Height, KnownKeys, Proposal, PublicKey, Round, Signature, SignatureBatch, SignedProposal,
    SignedVote, ValidatorSet,
};

use crate::planted;

/// Placeholder for a signature that the guard refused. Not a signature: `R` is of small order.
pub(crate) const TOMBSTONE: Signature = Signature([0; 64]);

/// Maximum number of votes remembered; beyond it verdicts are not remembered.
const VOTES_MAX: usize = 1 << 15;
/// Maximum number of proposals remembered.
const PROPOSALS_MAX: usize = 1 << 8;

#[derive(Debug)]
pub(crate) struct Verifier {
    genesis: Hash,
    votes: BTreeSet<SignedVote>,
    proposals: BTreeMap<(Height, Round, PublicKey, Signature), Proposal>,
    keys: KnownKeys,
    pub checked: u64,
    pub remembered: u64,
}

/// Reason why a list of votes proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    NotAscending,
    NotAValidator,
    NotEnoughPower,
    BadSignature,
}

impl CertificateFault {
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotAscending => "certificate entries are not strictly ascending",
            Self::NotAValidator => "certificate has a signer that is no validator",
            Self::NotEnoughPower => "certificate has too little power",
            Self::BadSignature => "certificate has a bad signature",
        }
    }
}

impl Verifier {
    pub fn new(genesis: Hash) -> Self {
        Self {
            genesis,
            votes: BTreeSet::new(),
            proposals: BTreeMap::new(),
            keys: KnownKeys::default(),
            checked: 0,
            remembered: 0,
        }
    }

    /// Forgets entries below `height`.
    pub fn forget_below(&mut self, height: Height) {
        self.votes.retain(|vote| vote.vote.height >= height);
        self.proposals.retain(|(at, ..), _| *at >= height);
    }

    /// Remembers a signature that this node made.
    pub fn remember_vote(&mut self, vote: SignedVote) {
        if self.votes.len() < VOTES_MAX {
            self.votes.insert(vote);
        }
    }

    /// Remembers a signature that this node made.
    pub fn remember_proposal(&mut self, proposal: &SignedProposal) {
        if self.proposals.len() < PROPOSALS_MAX {
            self.proposals
                .insert(proposal_key(proposal), proposal.proposal.clone());
        }
    }

    pub fn knows_vote(&self, vote: &SignedVote) -> bool {
        self.votes.contains(vote)
    }

    pub fn knows_proposal(&self, proposal: &SignedProposal) -> bool {
        self.proposals.get(&proposal_key(proposal)) == Some(&proposal.proposal)
    }

    pub fn vote(&mut self, vote: &SignedVote) -> bool {
        if vote.signature == TOMBSTONE {
            return false;
        }
        if self.knows_vote(vote) {
            self.remembered = self.remembered.saturating_add(1);
            return true;
        }
        self.checked = self.checked.saturating_add(1);
        let good = planted::is_signed(|| vote.verify(&self.genesis).is_ok());
        if good {
            self.remember_vote(vote.clone());
        }
        good
    }

    pub fn proposal(&mut self, proposal: &SignedProposal) -> bool {
        if proposal.signature == TOMBSTONE {
            return false;
        }
        if self.knows_proposal(proposal) {
            self.remembered = self.remembered.saturating_add(1);
            return true;
        }
        self.checked = self.checked.saturating_add(1);
        let good = proposal.verify(&self.genesis).is_ok();
        if good {
            self.remember_proposal(proposal);
        }
        good
    }

    /// Checks that `votes` are by distinct members of `set`, in ascending order, with enough power, and all
    /// correctly signed. Cheap rules first; signatures not seen before are checked in one batch.
    pub fn certificate(
        &mut self,
        set: &ValidatorSet,
        votes: &[SignedVote],
        enough: impl FnOnce(u64, u64) -> bool,
    ) -> Result<(), CertificateFault> {
        let mut power = 0u64;
        let mut previous: Option<PublicKey> = None;
        for SignedVote { vote, .. } in votes {
            if previous.is_some_and(|previous| previous >= vote.validator) {
                return Err(CertificateFault::NotAscending);
            }
            previous = Some(vote.validator);
            let (_, member) = set.find(&vote.validator).ok_or(CertificateFault::NotAValidator)?;
            power = power.saturating_add(member.power.0);
        }
        if !enough(power, set.total_power()) {
            return Err(CertificateFault::NotEnoughPower);
        }
        let new: Vec<&SignedVote> = votes.iter().filter(|vote| !self.knows_vote(vote)).collect();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.checked = self.checked.saturating_add(count(new.len()));
        self.remembered = self
            .remembered
            .saturating_add(count(votes.len()).saturating_sub(count(new.len())));
        let mut batch = SignatureBatch::new();
        for SignedVote { vote, signature } in &new {
            batch.push(&vote.validator, &vote.signing_bytes(&self.genesis), signature);
        }
        // The bad one is not identified: that would cost the receiver more than the sender.
        if !batch.all_hold(&mut self.keys) {
            return Err(CertificateFault::BadSignature);
        }
        new.into_iter().for_each(|vote| self.remember_vote(vote.clone()));
        Ok(())
    }
}

const fn proposal_key(proposal: &SignedProposal) -> (Height, Round, PublicKey, Signature) {
    let SignedProposal { proposal, signature } = proposal;
    (proposal.height, proposal.round, proposal.proposer, *signature)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use vibecoin_primitives::{Address, Power, SecretKey, Validator, Vote, VoteKind};

    use super::*;

    const GENESIS: Hash = Hash([7; 32]);

    fn votes(n: u8) -> (ValidatorSet, Vec<SignedVote>) {
        let keys: Vec<SecretKey> = (1..=n).map(|i| SecretKey::from_seed(&[i; 32])).collect();
        let set = keys
            .iter()
            .map(|key| Validator {
                key: key.public_key(),
                power: Power(1),
                payout: Address([200; 32]),
            })
            .collect();
        let mut votes: Vec<SignedVote> = keys
            .iter()
            .map(|key| {
                let vote = Vote {
                    kind: VoteKind::Precommit,
                    height: Height(1),
                    round: Round(0),
                    block: Some(Hash([1; 32])),
                    validator: key.public_key(),
                };
                vote.sign(&GENESIS, key)
            })
            .collect();
        votes.sort_by_key(|vote| vote.vote.validator);
        (ValidatorSet::new(set).unwrap(), votes)
    }

    fn quorum(power: u64, total: u64) -> bool {
        power * 3 > total * 2
    }

    #[test]
    fn a_signature_is_checked_once() {
        let (_, votes) = votes(1);
        let mut verifier = Verifier::new(GENESIS);
        assert!(verifier.vote(&votes[0]));
        assert!(verifier.vote(&votes[0]));
        assert_eq!((verifier.checked, verifier.remembered), (1, 1));
        verifier.forget_below(Height(2));
        assert!(verifier.vote(&votes[0]));
        assert_eq!(verifier.checked, 2);
    }

    #[test]
    fn memory_never_lends_a_signature_to_other_bytes() {
        let (_, votes) = votes(2);
        let mut verifier = Verifier::new(GENESIS);
        assert!(verifier.vote(&votes[0]));
        let mut other_block = votes[0].clone();
        other_block.vote.block = None;
        let mut other_round = votes[0].clone();
        other_round.vote.round = Round(1);
        let mut other_signer = votes[0].clone();
        other_signer.vote.validator = votes[1].vote.validator;
        let mut other_signature = votes[0].clone();
        other_signature.signature = votes[1].signature;
        for wrong in [other_block, other_round, other_signer, other_signature] {
            assert!(!verifier.vote(&wrong));
            assert!(
                !verifier.vote(&wrong),
                "a bad verdict is not remembered as a good one"
            );
        }
    }

    #[test]
    fn a_tombstone_is_never_a_signature() {
        let (_, mut votes) = votes(1);
        let mut vote = votes.remove(0);
        vote.signature = TOMBSTONE;
        let mut verifier = Verifier::new(GENESIS);
        verifier.remember_vote(vote.clone());
        assert!(!verifier.vote(&vote));
        assert!(vote.verify(&GENESIS).is_err(), "nor under the signature rule");
    }

    #[test]
    fn a_certificate_needs_order_members_power_and_every_signature() {
        let (set, votes) = votes(4);
        let mut verifier = Verifier::new(GENESIS);
        let mut check = |votes: &[SignedVote]| verifier.certificate(&set, votes, quorum);
        assert_eq!(check(&votes[..2]), Err(CertificateFault::NotEnoughPower));
        let mut twice = votes.clone();
        twice[1] = twice[0].clone();
        assert_eq!(check(&twice), Err(CertificateFault::NotAscending));
        let mut stranger = votes.clone();
        stranger[0].vote.validator = PublicKey([0; 32]);
        assert_eq!(check(&stranger), Err(CertificateFault::NotAValidator));
        let mut bad = votes.clone();
        bad[3].signature = bad[2].signature;
        assert_eq!(check(&bad), Err(CertificateFault::BadSignature));
        assert_eq!(check(&votes[..3]), Ok(()));
        assert_eq!(
            check(&bad),
            Err(CertificateFault::BadSignature),
            "also when the rest is remembered"
        );
        assert_eq!(check(&votes), Ok(()));
    }
}
