//! The data types of the chain: every value that is hashed, signed, sent or stored, and its one encoding.
//!
//! Pure data and pure rules. No clock, no file, no socket, no ambient randomness.
//!
//! Read in this order: [`hash`] and [`codec`] (encoding and identifiers of values), [`keys`] (the signature
//! rule), [`transaction`], [`block`], [`vote`] (votes, certificates, evidence), [`offence`] (recorded
//! offences), [`validators`], [`schedule`] (the proposer order), [`state`], [`params`] and [`limits`].
//!
//! Checked values have a different type:
//!
//! ```
//! use vibecoin_primitives::*;
//! let genesis = Hash([7; 32]);
//! let key = SecretKey::from_seed(&[1; 32]);
//! let body = TransactionBody {
//!     chain: genesis.prefix(),
//!     sender: key.public_key(),
//!     nonce: Nonce(0),
//!     fee: Amount(1_000),
//!     valid_until: Height(100),
//!     operations: vec![Operation::Transfer { to: Address([9; 32]), amount: Amount(5) }],
//! };
//! let sent = encode(&body.sign(&genesis, &key));
//! let received: Transaction = decode(&sent)?;
//! let verified: VerifiedTransaction = received.verify(&genesis)?;
//! assert_eq!(verified.body().nonce, Nonce(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The byte layouts are drawn in `docs/protocol.md`; `tests/conformance` pins one line per type.

pub mod address;
pub mod block;
pub mod codec;
pub mod demand;
pub mod fault;
pub mod hash;
pub mod hex;
pub mod keys;
pub mod limits;
mod maps;
pub mod merkle;
pub mod offence;
pub mod params;
pub mod part;
pub mod planted;
pub mod receipt;
pub mod schedule;
pub mod state;
pub mod text;
pub mod transaction;
pub mod units;
pub mod validators;
pub mod vote;

pub use address::{Address, AddressError, AddressPrefix};
pub use block::{BLOCK_VERSION, Block, Body, BodyV1, Header, Tick, body_hash, tick_root};
pub use codec::{CodecError, Encoded, decode, encode, encoded_len};
pub use demand::{Demand, Excess};
pub use fault::FaultClass;
pub use hash::{Domain, Hash};
pub use hex::HexError;
pub use keys::{
    KnownKeys, PublicKey, SecretKey, Signature, SignatureBatch, SignatureError, signature_checks, wipe_stack,
};
pub use maps::FastMap;
pub use merkle::MerklePath;
pub use offence::{Offence, OffenceKind, OffenceRecord};
pub use params::{ChainParams, FaultModel, ParamsError};
pub use part::{BlockPart, PartContent, PartStatement, SignedPart};
pub use receipt::{Failure, Outcome, Receipt, ReceiptV1, Receipts};
pub use schedule::{
    CREDIT, PENALTY_MAX, PENALTY_MIN, PENALTY_OFFENCE, ProposerOrder, ProposerSchedule, Row, Turn,
};
pub use state::{
    Account, AccountRow, AccountType, DiffEntry, SlotRow, StateDiff, StateKey, account_key, records, slot_key,
};
pub use transaction::{
    Operation, Transaction, TransactionBody, TransactionError, TransactionV1, VerifiedTransaction,
    transaction_bytes,
};
pub use units::{Amount, Height, Nonce, Power, Round, TimeMs};
pub use validators::{Validator, ValidatorSet, ValidatorSetError};
pub use vote::{
    CertificateError, CommitCertificate, CommitSignature, Evidence, EvidenceError, Proposal, SignedProposal,
    SignedVote, Vote, VoteKind,
};
