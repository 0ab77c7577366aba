//! The types once more, for serde: fields in the order in which `docs/protocol.md` draws them.
//!
//! `bincode` 1.3.3 and [`crate::layout`] write these mirrors; both must return the bytes that
//! `wincode` returns for the real types.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use vibecoin_consensus as consensus;
use vibecoin_light as light;
use vibecoin_primitives as real;

/// A type that has a mirror.
pub trait Mirrored {
    type Mirror: Serialize + DeserializeOwned;
    fn mirror(&self) -> Self::Mirror;
}

type Bytes32 = [u8; 32];

fn list<T: Mirrored>(items: &[T]) -> Vec<T::Mirror> {
    items.iter().map(Mirrored::mirror).collect()
}

macro_rules! plain {
    ($($real:ty = $mirror:ty,)*) => {$(
        impl Mirrored for $real {
            type Mirror = $mirror;
            fn mirror(&self) -> $mirror { self.0 }
        }
    )*};
}

plain! {
    real::Hash = Bytes32,
    real::Address = Bytes32,
    real::PublicKey = Bytes32,
    real::Height = u64,
    real::Round = u32,
    real::Amount = u64,
    real::Nonce = u64,
    real::Power = u64,
    real::TimeMs = u64,
}

/// R and s.
impl Mirrored for real::Signature {
    type Mirror = (Bytes32, Bytes32);
    fn mirror(&self) -> Self::Mirror {
        (self.0[..32].try_into().unwrap(), self.0[32..].try_into().unwrap())
    }
}

impl<T: Mirrored> Mirrored for Option<T> {
    type Mirror = Option<T::Mirror>;
    fn mirror(&self) -> Self::Mirror {
        self.as_ref().map(Mirrored::mirror)
    }
}

/// Structs whose fields are mirrored one by one, in this order.
macro_rules! structs {
    ($home:ident: $($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Serialize, Deserialize)]
        pub struct $name { $($field: <$type as Mirrored>::Mirror,)* }
        impl Mirrored for $home::$name {
            type Mirror = $name;
            fn mirror(&self) -> $name { $name { $($field: self.$field.mirror(),)* } }
        }
    )*};
}

macro_rules! as_they_are {
    ($($type:ty),*) => {$(
        impl Mirrored for $type {
            type Mirror = $type;
            fn mirror(&self) -> $type { self.clone() }
        }
    )*};
}
as_they_are!(u8, u16, u32, u64, i64, bool, String, [u8; 4], Vec<u8>);

macro_rules! lists {
    ($($type:ty),*) => {$(
        impl Mirrored for Vec<$type> {
            type Mirror = Vec<<$type as Mirrored>::Mirror>;
            fn mirror(&self) -> Self::Mirror { list(self) }
        }
    )*};
}
lists!(
    real::Hash,
    real::Operation,
    real::Transaction,
    real::Tick,
    real::CommitSignature,
    real::Evidence,
    real::Receipt,
    real::DiffEntry,
    real::Turn,
    consensus::VoteSignature,
    consensus::RoundVote,
    light::Claim
);

structs! { real:
    TransactionBody {
        chain: [u8; 4],
        sender: real::PublicKey,
        nonce: real::Nonce,
        fee: real::Amount,
        valid_until: real::Height,
        operations: Vec<real::Operation>,
    }
    TransactionV1 { body: real::TransactionBody, signature: real::Signature }
    Header {
        version: u16,
        height: real::Height,
        round: real::Round,
        proposer: real::PublicKey,
        parent: real::Hash,
        time: real::TimeMs,
        ticks: u16,
        poh_seq: u64,
        poh_hash: real::Hash,
        body_hash: real::Hash,
        tx_root: real::Hash,
        receipt_root: real::Hash,
        evidence_root: real::Hash,
        state_root: real::Hash,
        validators_hash: real::Hash,
        next_validators_hash: real::Hash,
        params_hash: real::Hash,
        last_commit_hash: real::Hash,
    }
    Tick { hash: real::Hash, transactions: Vec<real::Transaction> }
    BodyV1 {
        ticks: Vec<real::Tick>,
        last_commit: Option<real::CommitCertificate>,
        evidence: Vec<real::Evidence>,
    }
    Block { header: real::Header, body: real::Body }
    Vote {
        kind: real::VoteKind,
        height: real::Height,
        round: real::Round,
        block: Option<real::Hash>,
        validator: real::PublicKey,
    }
    SignedVote { vote: real::Vote, signature: real::Signature }
    Proposal {
        height: real::Height,
        round: real::Round,
        header: real::Header,
        lock_round: Option<real::Round>,
        proposer: real::PublicKey,
    }
    SignedProposal { proposal: real::Proposal, signature: real::Signature }
    PartStatement {
        height: real::Height,
        round: real::Round,
        proposer: real::PublicKey,
        parent: real::Hash,
        sequence: u32,
        digest: real::Hash,
    }
    SignedPart { statement: real::PartStatement, signature: real::Signature }
    BlockPart { signed: real::SignedPart, content: real::PartContent }
    CommitSignature { validator: real::PublicKey, signature: real::Signature }
    CommitCertificate {
        height: real::Height,
        round: real::Round,
        block: real::Hash,
        signatures: Vec<real::CommitSignature>,
    }
    ReceiptV1 { transaction: real::Hash, fee: real::Amount, burned: real::Amount, outcome: real::Outcome }
    Account {
        balance: real::Amount,
        nonce: real::Nonce,
        kind: real::AccountType,
        code: Option<real::Hash>,
        storage_root: Option<real::Hash>,
    }
    AccountRow { address: real::Address, account: real::Account }
    SlotRow { slot: real::Hash, value: Vec<u8> }
    DiffEntry { key: real::StateKey, old: Option<Vec<u8>>, new: Option<Vec<u8>> }
    StateDiff { parent_root: real::Hash, root: real::Hash, entries: Vec<real::DiffEntry> }
    Validator { key: real::PublicKey, power: real::Power, payout: real::Address }
    Turn { credit: i64, penalty_until: real::Height, penalty: u32 }
    Row { proposer: u32, excess: u64 }
    ProposerSchedule { turns: Vec<real::Turn>, row: real::Row }
    OffenceRecord { kinds: Vec<u8> }
    MerklePath { index: u64, count: u64, siblings: Vec<real::Hash> }
    ChainParams {
        network: String,
        address_prefix: String,
        symbol: String,
        decimals: u8,
        fault_model: real::FaultModel,
        dev: bool,
        tick_ms: u32,
        ticks_per_block: u16,
        hashes_per_tick: u32,
        quiet_ticks: u16,
        block_bytes_max: u32,
        block_transactions_max: u32,
        transaction_bytes_max: u32,
        operations_max: u32,
        slot_value_bytes_max: u32,
        block_operations_max: u32,
        block_slots_max: u32,
        block_state_bytes_max: u32,
        block_evidence_bytes_max: u32,
        transaction_slots_max: u32,
        transaction_state_bytes_max: u32,
        validity_window: u64,
        fee_min: real::Amount,
        fee_per_byte: real::Amount,
        fee_per_slot: real::Amount,
        account_price: real::Amount,
        storage_byte_price: real::Amount,
        empty_block_interval_ms: u32,
        timeout_propose_ms: u32,
        timeout_prevote_ms: u32,
        timeout_precommit_ms: u32,
        timeout_delta_ms: u32,
        timeout_max_ms: u32,
        clock_precision_ms: u32,
        message_delay_ms: u32,
        evidence_age_max: u64,
        trust_period_s: u64,
    }
}

/// The members of a set are private.
#[derive(Serialize, Deserialize)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
}

impl Mirrored for real::ValidatorSet {
    type Mirror = ValidatorSet;
    fn mirror(&self) -> ValidatorSet {
        ValidatorSet {
            validators: list(self.members()),
        }
    }
}

structs! { consensus:
    VoteSignature { validator: real::PublicKey, signature: real::Signature }
    PolkaCertificate {
        height: real::Height,
        round: real::Round,
        block: real::Hash,
        signatures: Vec<consensus::VoteSignature>,
    }
    RoundVote {
        kind: real::VoteKind,
        block: Option<real::Hash>,
        validator: real::PublicKey,
        signature: real::Signature,
    }
    RoundCertificate {
        height: real::Height,
        round: real::Round,
        kind: consensus::RoundCertificateKind,
        votes: Vec<consensus::RoundVote>,
    }
    GuardEntry {
        height: real::Height,
        round: real::Round,
        step: consensus::GuardStep,
        block: Option<real::Hash>,
        digest: real::Hash,
        signature: Option<real::Signature>,
    }
}

structs! { light:
    ProofV1 {
        genesis: real::Hash,
        header: real::Header,
        certificate: Option<real::CommitCertificate>,
        validators: real::ValidatorSet,
        claims: Vec<light::Claim>,
    }
    TransactionClaim {
        transaction: real::Transaction,
        in_tick: real::MerklePath,
        in_block: real::MerklePath,
        receipt: real::Receipt,
        receipt_path: real::MerklePath,
    }
}

/// Enums, variant by variant, in the order of their tags.
macro_rules! enums {
    ($home:ident: $($name:ident { $($pattern:pat => $variant:ident $(($($inner:ty = $how:expr),*))?,)* })*) => {$(
        #[derive(Serialize, Deserialize)]
        #[allow(
            clippy::large_enum_variant,
            clippy::enum_variant_names,
            reason = "a mirror lives for one comparison, and is named as the real type"
        )]
        pub enum $name { $($variant $(($($inner),*))?,)* }
        impl Mirrored for $home::$name {
            type Mirror = $name;
            fn mirror(&self) -> $name {
                match self { $($pattern => $name::$variant $(($($how),*))?,)* }
            }
        }
    )*};
}

enums! { real:
    Transaction { real::Transaction::V1(inner) => V1(TransactionV1 = inner.mirror()), }
    Operation {
        real::Operation::Transfer { to, amount } => Transfer(Bytes32 = to.0, u64 = amount.0),
        real::Operation::SetStorage { slot, value } => SetStorage(Bytes32 = slot.0, Vec<u8> = value.clone()),
    }
    Body { real::Body::V1(inner) => V1(BodyV1 = inner.mirror()), }
    VoteKind {
        real::VoteKind::Prevote => Prevote,
        real::VoteKind::Precommit => Precommit,
    }
    Evidence {
        real::Evidence::DuplicateVote { first, second } =>
            DuplicateVote(SignedVote = first.mirror(), SignedVote = second.mirror()),
        real::Evidence::DuplicateProposal { first, second } =>
            DuplicateProposal(SignedProposal = first.mirror(), SignedProposal = second.mirror()),
        real::Evidence::DuplicatePart { first, second } =>
            DuplicatePart(SignedPart = first.mirror(), SignedPart = second.mirror()),
    }
    PartContent {
        real::PartContent::Opening { last_commit, evidence } =>
            Opening(Option<CommitCertificate> = last_commit.mirror(), Vec<Evidence> = evidence.mirror()),
        real::PartContent::Tick(tick) => Tick(Tick = tick.mirror()),
    }
    Receipt { real::Receipt::V1(inner) => V1(ReceiptV1 = inner.mirror()), }
    Outcome {
        real::Outcome::Success => Success,
        real::Outcome::Failed { operation, reason } => Failed(u32 = *operation, Failure = reason.mirror()),
    }
    Failure {
        real::Failure::InsufficientFunds { needed, available } =>
            InsufficientFunds(u64 = needed.0, u64 = available.0),
        real::Failure::ZeroAmount => ZeroAmount,
        real::Failure::BalanceOverflow => BalanceOverflow,
        real::Failure::SystemRecipient => SystemRecipient,
        real::Failure::ValueTooLong { limit } => ValueTooLong(u32 = *limit),
        real::Failure::CostOverflow => CostOverflow,
    }
    AccountType {
        real::AccountType::User => User,
        real::AccountType::System => System,
    }
    StateKey {
        real::StateKey::Account(key) => Account(Bytes32 = key.0),
        real::StateKey::Slot(owner, key) => Slot(Bytes32 = owner.0, Bytes32 = key.0),
    }
    FaultModel {
        real::FaultModel::Byzantine => Byzantine,
        real::FaultModel::Crash => Crash,
    }
}

enums! { consensus:
    ConsensusMessage {
        consensus::ConsensusMessage::Vote(vote) => Vote(SignedVote = vote.mirror()),
        consensus::ConsensusMessage::Proposal(proposal) => Proposal(SignedProposal = proposal.mirror()),
        consensus::ConsensusMessage::Polka(polka) => Polka(PolkaCertificate = polka.mirror()),
        consensus::ConsensusMessage::Round(round) => Round(RoundCertificate = round.mirror()),
    }
    RoundCertificateKind {
        consensus::RoundCertificateKind::Skip => Skip,
        consensus::RoundCertificateKind::Precommit => Precommit,
    }
    TimeoutStep {
        consensus::TimeoutStep::Propose => Propose,
        consensus::TimeoutStep::Prevote => Prevote,
        consensus::TimeoutStep::Precommit => Precommit,
    }
    LogRecord {
        consensus::LogRecord::Vote(vote) => Vote(SignedVote = vote.mirror()),
        consensus::LogRecord::Proposal(proposal) => Proposal(SignedProposal = proposal.mirror()),
        consensus::LogRecord::Timeout { height, round, step } =>
            Timeout(u64 = height.0, u32 = round.0, TimeoutStep = step.mirror()),
        consensus::LogRecord::Value { header, round, valid_round, proposer, valid } => Value(
            Header = header.mirror(),
            u32 = round.0,
            Option<u32> = valid_round.mirror(),
            Bytes32 = proposer.0,
            bool = *valid
        ),
        consensus::LogRecord::Polka(polka) => Polka(PolkaCertificate = polka.mirror()),
        consensus::LogRecord::Block(block) => Block(Block = block.mirror()),
    }
    GuardStep {
        consensus::GuardStep::Building => Building,
        consensus::GuardStep::Proposal => Proposal,
        consensus::GuardStep::Prevote => Prevote,
        consensus::GuardStep::Precommit => Precommit,
    }
}

enums! { light:
    ProofFile { light::ProofFile::V1(inner) => V1(ProofV1 = inner.mirror()), }
    Claim {
        light::Claim::Account { address, proof } => Account(Bytes32 = address.0, Vec<u8> = proof.clone()),
        light::Claim::Slot { address, slot, account, proof } => Slot(
            Bytes32 = address.0,
            Bytes32 = slot.0,
            Vec<u8> = account.clone(),
            Option<Vec<u8>> = proof.clone()
        ),
        light::Claim::Transaction(claim) => Transaction(TransactionClaim = claim.mirror()),
    }
}

/// A list that is a separate value.
impl Mirrored for real::Receipts {
    type Mirror = Vec<Receipt>;
    fn mirror(&self) -> Self::Mirror {
        list(&self.0)
    }
}
