//! Blocks: a header that validators vote on, and a body that is sent separately.

use wincode::{SchemaRead, SchemaWrite};

use crate::limits::{BODY_BYTES_MAX, HEADER_BYTES_MAX};
use crate::{
    CommitCertificate, Domain, Encoded, Evidence, Hash, Height, PublicKey, Round, TimeMs, Transaction,
    encode, merkle,
};

/// The version that this program writes and accepts.
pub const BLOCK_VERSION: u16 = 1;

/// A block's header. Its hash identifies the block and is the value that validators vote on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub struct Header {
    /// [`BLOCK_VERSION`].
    pub version: u16,
    /// Position in the chain; genesis is 0.
    pub height: Height,
    /// The round in which the block was created; kept when it is proposed again later.
    pub round: Round,
    /// The validator that created it; zero bytes for genesis.
    pub proposer: PublicKey,
    /// Hash of the parent's header; zero for genesis.
    pub parent: Hash,
    /// Time of creation; not before the parent's time plus the nominal length of its ticks.
    pub time: TimeMs,
    /// Number of ticks in the body.
    pub ticks: u16,
    /// Hashes of the Proof of History since genesis: the parent's plus ticks times hashes per tick.
    pub poh_seq: u64,
    /// The last tick's hash.
    pub poh_hash: Hash,
    /// Hash of the encoded body.
    pub body_hash: Hash,
    /// Merkle root over the ticks' transaction roots.
    pub tx_root: Hash,
    /// Merkle root over the receipts.
    pub receipt_root: Hash,
    /// Merkle root over the evidence.
    pub evidence_root: Hash,
    /// Root of the state after this block.
    pub state_root: Hash,
    /// Hash of the set that votes on this block.
    pub validators_hash: Hash,
    /// Hash of the set that votes on the next block.
    pub next_validators_hash: Hash,
    /// Hash of the chain's parameters.
    pub params_hash: Hash,
    /// Hash of the parent's certificate as contained in the body; zero at heights 0 and 1.
    pub last_commit_hash: Hash,
}

impl Encoded for Header {
    const NAME: &'static str = "header";
    const BYTES_MAX: usize = HEADER_BYTES_MAX;
}

impl Header {
    /// The block's hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Header.hash(&encode(self))
    }
}

/// One tick of a block: its Proof of History hash and the transactions mixed into it.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Tick {
    /// The chain's hash at the end of the tick.
    pub hash: Hash,
    /// Transactions included during the tick, in order.
    pub transactions: Vec<Transaction>,
}

/// The contents of a block.
#[derive(Clone, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct BodyV1 {
    /// The ticks, in order.
    pub ticks: Vec<Tick>,
    /// The parent's certificate; `None` at heights 0 and 1.
    pub last_commit: Option<CommitCertificate>,
    /// Double signatures to punish.
    pub evidence: Vec<Evidence>,
}

/// A block's body. The enum tag is its version.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Body {
    /// Version 1.
    V1(BodyV1),
}

impl Encoded for Body {
    const NAME: &'static str = "body";
    const BYTES_MAX: usize = BODY_BYTES_MAX;
}

impl Body {
    /// The fields of the current version.
    #[must_use]
    pub const fn v1(&self) -> &BodyV1 {
        let Self::V1(inner) = self;
        inner
    }

    /// All transactions in block order.
    pub fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.v1().ticks.iter().flat_map(|tick| tick.transactions.iter())
    }

    /// Number of transactions in the body.
    #[must_use]
    pub fn transaction_count(&self) -> usize {
        self.v1()
            .ticks
            .iter()
            .fold(0, |sum, tick| sum.saturating_add(tick.transactions.len()))
    }

    /// The hash that the header contains.
    #[must_use]
    pub fn hash(&self) -> Hash {
        body_hash(&encode(self))
    }

    /// Merkle root over the evidence.
    #[must_use]
    pub fn evidence_root(&self) -> Hash {
        let leaves: Vec<_> = self.v1().evidence.iter().map(Evidence::hash).collect();
        merkle::root(&leaves)
    }
}

/// The body hash of an encoded body.
#[must_use]
pub fn body_hash(encoded: &[u8]) -> Hash {
    Domain::Body.hash(encoded)
}

/// The Merkle root of the transactions of one tick: the tick's mix-in. Zero when there are none.
#[must_use]
pub fn tick_root(hashes: &[Hash]) -> Hash {
    merkle::root(hashes)
}

/// A header and its body.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Block {
    /// The part that is voted on.
    pub header: Header,
    /// The contents of the block.
    pub body: Body,
}

impl Encoded for Block {
    const NAME: &'static str = "block";
    const BYTES_MAX: usize = HEADER_BYTES_MAX + BODY_BYTES_MAX;
}
