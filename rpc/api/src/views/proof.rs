//! Proofs. The `proof` field is the only one that proves: one binary value that `vibecoin-light`
//! checks offline. The other fields show its contents.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{
    AccountView, CertificateView, HeaderView, ReceiptView, SlotView, TransactionView, ValidatorView,
};
use crate::error::ApiError;
use crate::limits::PROOF_KEYS_MAX;
use crate::list::{AtMost, ListVisitor};
use crate::scalars::{AddressArg, AddressText, Bytes, Shown, Text as _};

/// One address or several.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AddressesArg {
    /// A single address.
    One(AddressArg),
    /// Up to 64 addresses.
    Many(AtMost<AddressArg, PROOF_KEYS_MAX>),
}

impl AddressesArg {
    /// Returns all addresses.
    ///
    /// # Errors
    /// 1402 when there are more than [`PROOF_KEYS_MAX`].
    pub fn get(self) -> Result<Vec<AddressArg>, ApiError> {
        match self {
            Self::One(address) => Ok(vec![address]),
            Self::Many(addresses) => addresses.get("addresses"),
        }
    }
}

/// The derived reader would keep the whole value as a tree to try one form after the other.
impl<'de> Deserialize<'de> for AddressesArg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressesVisitor)
    }
}

struct AddressesVisitor;

impl<'de> Visitor<'de> for AddressesVisitor {
    type Value = AddressesArg;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or an array of addresses")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AddressesArg, E> {
        Ok(AddressesArg::One(AddressArg::judged(AddressText::from_text(
            text,
        ))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, addresses: A) -> Result<AddressesArg, A::Error> {
        ListVisitor(PhantomData)
            .visit_seq(addresses)
            .map(AddressesArg::Many)
    }
}

/// An account that is proven to exist or not to exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenAccountView {
    /// The address.
    pub address: Shown<AddressText>,
    /// The account; `null` when its absence is proven.
    pub value: Option<AccountView>,
}

/// Accounts with their proof: `proof_getAccount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountProofView {
    /// The block whose state it is.
    pub header: HeaderView,
    /// Proof that the block is final; absent for genesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateView>,
    /// The accounts, in ascending order of addresses.
    pub accounts: Vec<ProvenAccountView>,
    /// The proof of all of it.
    pub proof: Shown<Bytes>,
}

/// A slot that is proven to have a value or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenSlotView {
    /// Owner of the slot.
    pub address: Shown<AddressText>,
    /// The slot and its value.
    #[serde(flatten)]
    pub slot: SlotView,
}

/// Claims of a proof of slots or of a transaction, and the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofView {
    /// The block.
    pub header: HeaderView,
    /// Proof that the block is final; absent for genesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateView>,
    /// The slots, for `proof_getStorage`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<ProvenSlotView>,
    /// The transaction, for `proof_getTransaction` and `proof_getReceipt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionView>,
    /// Its receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptView>,
    /// The proof of all of it.
    pub proof: Shown<Bytes>,
}

/// Inputs of a light client for one block: `proof_getLightBlock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LightBlockView {
    /// The header.
    pub header: HeaderView,
    /// Its certificate; absent for genesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateView>,
    /// The validators of its height.
    pub validators: Vec<ValidatorView>,
    /// Header, certificate and validators in their binary form: a proof without claims.
    pub proof: Shown<Bytes>,
}

/// Verdict on a proof: `proof_verify`. The node's assertion only; the offline check is
/// authoritative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// True if it is valid.
    pub valid: bool,
    /// Reason if it is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
