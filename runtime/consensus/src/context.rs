//! Our types as the core sees them, and the conversions in both directions.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use malachitebft_core_types as core;
use malachitebft_core_types::{
    NilOrVal, SignedExtension, SignedMessage, ThresholdParam, ThresholdParams, VoteType,
};
use vibecoin_primitives as p;
use vibecoin_primitives::limits::TOTAL_POWER_MAX;
use vibecoin_primitives::{FaultModel, Hash, Header, ProposerOrder, Signature, VoteKind};

use crate::{
    HeightParams, PolkaCertificate, RoundCertificate, RoundCertificateKind, RoundVote, VoteSignature,
};

pub(crate) type CoreInput = malachitebft_core_consensus::Input<Ctx>;
pub(crate) type CoreState = malachitebft_core_consensus::State<Ctx>;

/// Binds our types to the core's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ctx;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Height(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(pub p::PublicKey);

/// A block's header with its hash, which is computed once.
#[derive(Clone)]
pub(crate) struct BlockValue(Arc<(Hash, Header)>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    kind: VoteType,
    height: Height,
    round: core::Round,
    block: NilOrVal<Hash>,
    validator: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    height: Height,
    round: core::Round,
    block: BlockValue,
    lock_round: core::Round,
    proposer: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validator {
    key: Key,
    power: u64,
}

/// The validators of a height with the order in which they propose.
#[derive(Clone, Debug)]
pub(crate) struct ValidatorSet(Arc<SetOfHeight>);

#[derive(Debug)]
struct SetOfHeight {
    params: HeightParams,
    /// Sorted once: the core and every message need proposers.
    order: ProposerOrder,
    members: Vec<Validator>,
    first: Validator,
    total: u64,
}

/// Never constructed: bodies use our own protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoPart {}

/// The signature rule is applied in [`crate::verify`]; the core only carries the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheme;

impl core::Context for Ctx {
    type Address = Key;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = core::LinearTimeouts;
    type Value = BlockValue;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Scheme;

    fn select_proposer<'a>(
        &self,
        set: &'a ValidatorSet,
        _height: Height,
        round: core::Round,
    ) -> &'a Validator {
        set.proposer(round)
    }

    fn new_proposal(
        &self,
        height: Height,
        round: core::Round,
        block: BlockValue,
        lock_round: core::Round,
        proposer: Key,
    ) -> Proposal {
        Proposal {
            height,
            round,
            block,
            lock_round,
            proposer,
        }
    }

    fn new_prevote(&self, height: Height, round: core::Round, block: NilOrVal<Hash>, validator: Key) -> Vote {
        Vote {
            kind: VoteType::Prevote,
            height,
            round,
            block,
            validator,
        }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: core::Round,
        block: NilOrVal<Hash>,
        validator: Key,
    ) -> Vote {
        Vote {
            kind: VoteType::Precommit,
            height,
            round,
            block,
            validator,
        }
    }
}

impl core::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl core::Address for Key {}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl BlockValue {
    pub fn new(header: Header) -> Self {
        Self(Arc::new((header.hash(), header)))
    }

    pub fn hash(&self) -> Hash {
        self.0.0
    }

    pub fn header(&self) -> &Header {
        &self.0.1
    }
}

impl core::Value for BlockValue {
    type Id = Hash;

    fn id(&self) -> Hash {
        self.hash()
    }
}

/// Equal hashes are equal headers.
impl PartialEq for BlockValue {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for BlockValue {}

impl PartialOrd for BlockValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BlockValue {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hash().cmp(&other.hash())
    }
}

impl fmt::Debug for BlockValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} at {}", self.hash(), self.header().height)
    }
}

impl core::Vote<Ctx> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> core::Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<Hash> {
        &self.block
    }

    fn take_value(self) -> NilOrVal<Hash> {
        self.block
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Key {
        &self.validator
    }

    fn extension(&self) -> Option<&SignedExtension<Ctx>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Ctx>> {
        None
    }

    fn extend(self, _: SignedExtension<Ctx>) -> Self {
        self
    }
}

impl core::Proposal<Ctx> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> core::Round {
        self.round
    }

    fn value(&self) -> &BlockValue {
        &self.block
    }

    fn take_value(self) -> BlockValue {
        self.block
    }

    fn pol_round(&self) -> core::Round {
        self.lock_round
    }

    fn validator_address(&self) -> &Key {
        &self.proposer
    }
}

impl core::Validator<Ctx> for Validator {
    fn address(&self) -> &Key {
        &self.key
    }

    fn public_key(&self) -> &p::PublicKey {
        &self.key.0
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

impl ValidatorSet {
    /// Checks that the core can compute with the set: the core multiplies powers and would panic, and
    /// requests proposers without an option for "none".
    pub fn new(params: HeightParams) -> Result<Self, &'static str> {
        let members: Vec<Validator> = params
            .validators
            .members()
            .iter()
            .map(|v| Validator {
                key: Key(v.key),
                power: v.power.0,
            })
            .collect();
        let first = members.first().cloned().ok_or("the validator set is empty")?;
        let total = members
            .iter()
            .try_fold(0u64, |sum, v| sum.checked_add(v.power))
            .filter(|total| *total <= TOTAL_POWER_MAX)
            .ok_or("the summed voting power is out of range")?;
        if params.schedule.turns.len() != members.len() {
            return Err("the proposer schedule is of another validator set");
        }
        let order = params.schedule.order(&params.validators, params.height);
        Ok(Self(Arc::new(SetOfHeight {
            params,
            order,
            members,
            first,
            total,
        })))
    }

    pub fn params(&self) -> &HeightParams {
        &self.0.params
    }

    /// The proposer of a round. Total: a schedule without a proposer (excluded by `new`) yields the first
    /// validator, the same one on every node.
    pub fn proposer(&self, round: core::Round) -> &Validator {
        let round = p::Round(round.as_u32().unwrap_or(0));
        let index = self.0.order.index(round);
        index
            .and_then(|index| self.0.members.get(index))
            .unwrap_or(&self.0.first)
    }

    pub fn member(&self, key: &p::PublicKey) -> Option<&Validator> {
        let (index, _) = self.0.params.validators.find(key)?;
        self.0.members.get(index)
    }
}

impl PartialEq for ValidatorSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.params == other.0.params
    }
}

impl Eq for ValidatorSet {}

impl core::ValidatorSet<Ctx> for ValidatorSet {
    fn count(&self) -> usize {
        self.0.members.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.0.total
    }

    fn get_by_address(&self, key: &Key) -> Option<&Validator> {
        self.member(&key.0)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.members.get(index)
    }
}

impl core::ProposalPart<Ctx> for NoPart {
    fn is_first(&self) -> bool {
        match *self {}
    }

    fn is_last(&self) -> bool {
        match *self {}
    }
}

impl core::SigningScheme for Scheme {
    type DecodingError = &'static str;
    type Signature = Signature;
    type PublicKey = p::PublicKey;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<Signature, &'static str> {
        bytes
            .try_into()
            .map(Signature)
            .map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<p::PublicKey, &'static str> {
        bytes
            .try_into()
            .map(p::PublicKey)
            .map_err(|_| "a public key has 32 bytes")
    }

    fn encode_public_key(key: &p::PublicKey) -> Vec<u8> {
        key.0.to_vec()
    }
}

/// The key that a validator votes with.
pub(crate) const fn key_of(validator: &Validator) -> p::PublicKey {
    validator.key.0
}

/// The thresholds of a fault model: quorum, and the power that includes a validator that is not faulty.
pub(crate) fn thresholds(model: FaultModel) -> ThresholdParams {
    let (numerator, denominator) = model.quorum_fraction();
    let (honest_numerator, honest_denominator) = honest_fraction(model);
    ThresholdParams {
        quorum: ThresholdParam::new(numerator, denominator),
        honest: ThresholdParam::new(honest_numerator, honest_denominator),
    }
}

const fn honest_fraction(model: FaultModel) -> (u64, u64) {
    match model {
        FaultModel::Byzantine => (1, 3),
        FaultModel::Crash => (0, 1),
    }
}

/// Returns true if `power` of `total` includes a validator that is not faulty.
pub(crate) fn is_honest(model: FaultModel, power: u64, total: u64) -> bool {
    let (numerator, denominator) = honest_fraction(model);
    u128::from(power).saturating_mul(u128::from(denominator))
        > u128::from(total).saturating_mul(u128::from(numerator))
}

pub(crate) const fn round_in(round: p::Round) -> core::Round {
    core::Round::new(round.0)
}

pub(crate) fn round_out(round: core::Round) -> p::Round {
    p::Round(round.as_u32().unwrap_or(0))
}

pub(crate) fn lock_round_in(round: Option<p::Round>) -> core::Round {
    round.map_or(core::Round::Nil, round_in)
}

pub(crate) fn lock_round_out(round: core::Round) -> Option<p::Round> {
    round.as_u32().map(p::Round)
}

const fn kind_in(kind: VoteKind) -> VoteType {
    match kind {
        VoteKind::Prevote => VoteType::Prevote,
        VoteKind::Precommit => VoteType::Precommit,
    }
}

const fn kind_out(kind: VoteType) -> VoteKind {
    match kind {
        VoteType::Prevote => VoteKind::Prevote,
        VoteType::Precommit => VoteKind::Precommit,
    }
}

fn block_in(block: Option<Hash>) -> NilOrVal<Hash> {
    block.map_or(NilOrVal::Nil, NilOrVal::Val)
}

const fn block_out(block: NilOrVal<Hash>) -> Option<Hash> {
    match block {
        NilOrVal::Nil => None,
        NilOrVal::Val(hash) => Some(hash),
    }
}

pub(crate) fn vote_in(signed: p::SignedVote) -> core::SignedVote<Ctx> {
    let p::SignedVote { vote, signature } = signed;
    let vote = Vote {
        kind: kind_in(vote.kind),
        height: Height(vote.height.0),
        round: round_in(vote.round),
        block: block_in(vote.block),
        validator: Key(vote.validator),
    };
    SignedMessage::new(vote, signature)
}

pub(crate) fn vote_out(vote: Vote) -> p::Vote {
    p::Vote {
        kind: kind_out(vote.kind),
        height: p::Height(vote.height.0),
        round: round_out(vote.round),
        block: block_out(vote.block),
        validator: vote.validator.0,
    }
}

pub(crate) fn signed_vote_out(signed: core::SignedVote<Ctx>) -> p::SignedVote {
    p::SignedVote {
        vote: vote_out(signed.message),
        signature: signed.signature,
    }
}

pub(crate) fn proposal_in(signed: p::SignedProposal) -> core::SignedProposal<Ctx> {
    let p::SignedProposal { proposal, signature } = signed;
    let proposal = Proposal {
        height: Height(proposal.height.0),
        round: round_in(proposal.round),
        block: BlockValue::new(proposal.header),
        lock_round: lock_round_in(proposal.lock_round),
        proposer: Key(proposal.proposer),
    };
    SignedMessage::new(proposal, signature)
}

pub(crate) fn proposal_out(proposal: &Proposal) -> p::Proposal {
    p::Proposal {
        height: p::Height(proposal.height.0),
        round: round_out(proposal.round),
        header: proposal.block.header().clone(),
        lock_round: lock_round_out(proposal.lock_round),
        proposer: proposal.proposer.0,
    }
}

pub(crate) fn signed_proposal_out(signed: &core::SignedProposal<Ctx>) -> p::SignedProposal {
    p::SignedProposal {
        proposal: proposal_out(&signed.message),
        signature: signed.signature,
    }
}

pub(crate) fn polka_in(certificate: PolkaCertificate) -> core::PolkaCertificate<Ctx> {
    core::PolkaCertificate {
        height: Height(certificate.height.0),
        round: round_in(certificate.round),
        value_id: certificate.block,
        polka_signatures: certificate
            .signatures
            .into_iter()
            .map(|entry| core::PolkaSignature::new(Key(entry.validator), entry.signature))
            .collect(),
    }
}

pub(crate) fn polka_out(certificate: core::PolkaCertificate<Ctx>) -> PolkaCertificate {
    let mut signatures: Vec<VoteSignature> = certificate
        .polka_signatures
        .into_iter()
        .map(|entry| VoteSignature {
            validator: entry.address.0,
            signature: entry.signature,
        })
        .collect();
    signatures.sort_by_key(|entry| entry.validator);
    PolkaCertificate {
        height: p::Height(certificate.height.0),
        round: round_out(certificate.round),
        block: certificate.value_id,
        signatures,
    }
}

pub(crate) fn round_certificate_in(certificate: RoundCertificate) -> core::RoundCertificate<Ctx> {
    core::RoundCertificate {
        height: Height(certificate.height.0),
        round: round_in(certificate.round),
        cert_type: match certificate.kind {
            RoundCertificateKind::Skip => core::RoundCertificateType::Skip,
            RoundCertificateKind::Precommit => core::RoundCertificateType::Precommit,
        },
        round_signatures: certificate
            .votes
            .into_iter()
            .map(|vote| {
                core::RoundSignature::new(
                    kind_in(vote.kind),
                    block_in(vote.block),
                    Key(vote.validator),
                    vote.signature,
                )
            })
            .collect(),
    }
}

pub(crate) fn round_certificate_out(certificate: core::RoundCertificate<Ctx>) -> RoundCertificate {
    let mut votes: Vec<RoundVote> = certificate
        .round_signatures
        .into_iter()
        .map(|entry| RoundVote {
            kind: kind_out(entry.vote_type),
            block: block_out(entry.value_id),
            validator: entry.address.0,
            signature: entry.signature,
        })
        .collect();
    votes.sort_by_key(|vote| vote.validator);
    RoundCertificate {
        height: p::Height(certificate.height.0),
        round: round_out(certificate.round),
        kind: match certificate.cert_type {
            core::RoundCertificateType::Skip => RoundCertificateKind::Skip,
            core::RoundCertificateType::Precommit => RoundCertificateKind::Precommit,
        },
        votes,
    }
}

pub(crate) fn commit_out(certificate: core::CommitCertificate<Ctx>) -> p::CommitCertificate {
    let mut signatures: Vec<p::CommitSignature> = certificate
        .commit_signatures
        .into_iter()
        .map(|entry| p::CommitSignature {
            validator: entry.address.0,
            signature: entry.signature,
        })
        .collect();
    signatures.sort_by_key(|entry| entry.validator);
    p::CommitCertificate {
        height: p::Height(certificate.height.0),
        round: round_out(certificate.round),
        block: certificate.value_id,
        signatures,
    }
}
