//! Reads of a state, and their proofs.

use vibecoin_primitives::{CommitCertificate, Hash, Header, Height, TimeMs};
use vibecoin_trie::Proof;

/// The state that an answer was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateContext {
    /// The state after this block.
    pub height: Height,
    /// The block's hash.
    pub block: Hash,
    /// The state root.
    pub state_root: Hash,
    /// The block's time.
    pub time: TimeMs,
}

/// A value with the state it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<T> {
    /// The state.
    pub context: StateContext,
    /// The value.
    pub value: T,
}

/// Proofs of one state, in the order of the request.
#[derive(Clone, Debug)]
pub struct StateProofs {
    /// The header whose state root the proofs lead to.
    pub header: Header,
    /// Its certificate; `None` for genesis only.
    pub certificate: Option<CommitCertificate>,
    /// One per requested account.
    pub accounts: Vec<AccountProof>,
}

/// Proof of one account or of its absence, and of some of its slots.
#[derive(Clone, Debug)]
pub struct AccountProof {
    /// In the account trie, under `account_key(address)`.
    pub account: Proof,
    /// In its storage trie, under `slot_key(slot)`, one per requested slot. Empty when the account is
    /// absent or has no storage trie (then every slot is proven absent by the account alone).
    pub slots: Vec<Proof>,
}
