//! Our types as the core sees them; [`crate::convert`] converts them.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use malachitebft_core_types as malachite;
use malachitebft_core_types::{NilOrVal, SignedExtension, ThresholdParam, ThresholdParams, VoteType};
use vibecoin_primitives as p;
use vibecoin_primitives::limits::TOTAL_POWER_MAX;
use vibecoin_primitives::{FaultModel, Hash, Header, ProposerOrder, Signature};

use crate::HeightParams;

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
    pub kind: VoteType,
    pub height: Height,
    pub round: malachite::Round,
    pub block: NilOrVal<Hash>,
    pub validator: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub height: Height,
    pub round: malachite::Round,
    pub block: BlockValue,
    pub lock_round: malachite::Round,
    pub proposer: Key,
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

impl malachite::Context for Ctx {
    type Address = Key;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = malachite::LinearTimeouts;
    type Value = BlockValue;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Scheme;

    fn select_proposer<'a>(
        &self,
        set: &'a ValidatorSet,
        _height: Height,
        round: malachite::Round,
    ) -> &'a Validator {
        set.proposer(round)
    }

    fn new_proposal(
        &self,
        height: Height,
        round: malachite::Round,
        block: BlockValue,
        lock_round: malachite::Round,
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

    fn new_prevote(
        &self,
        height: Height,
        round: malachite::Round,
        block: NilOrVal<Hash>,
        validator: Key,
    ) -> Vote {
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
        round: malachite::Round,
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

impl malachite::Height for Height {
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

impl malachite::Address for Key {}

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

impl malachite::Value for BlockValue {
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

impl malachite::Vote<Ctx> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> malachite::Round {
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

impl malachite::Proposal<Ctx> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> malachite::Round {
        self.round
    }

    fn value(&self) -> &BlockValue {
        &self.block
    }

    fn take_value(self) -> BlockValue {
        self.block
    }

    fn pol_round(&self) -> malachite::Round {
        self.lock_round
    }

    fn validator_address(&self) -> &Key {
        &self.proposer
    }
}

impl malachite::Validator<Ctx> for Validator {
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
    pub fn proposer(&self, round: malachite::Round) -> &Validator {
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

impl malachite::ValidatorSet<Ctx> for ValidatorSet {
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

impl malachite::ProposalPart<Ctx> for NoPart {
    fn is_first(&self) -> bool {
        match *self {}
    }

    fn is_last(&self) -> bool {
        match *self {}
    }
}

impl malachite::SigningScheme for Scheme {
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
