//! The proof as a value, as bytes and as a file.

use vibecoin_primitives::limits::{CERTIFICATE_BYTES_MAX, HEADER_BYTES_MAX, KIB, MIB, TRANSACTION_BYTES_MAX};
use vibecoin_primitives::{
    Address, Body, CommitCertificate, Encoded, FaultModel, Hash, Header, MerklePath, Receipt, Receipts,
    Transaction, ValidatorSet, decode, encode, hex, tick_root,
};
use wincode::{SchemaRead, SchemaWrite};

use crate::LightError;

/// The format name in a proof file.
pub const FILE_FORMAT: &str = "vibecoin-proof-1";

/// Maximum bytes of an encoded proof.
pub const PROOF_FILE_BYTES_MAX: usize = 2 * MIB;

const HEAD: &str = "{\"format\":\"vibecoin-proof-1\",\"proof\":\"";
const TAIL: &str = "\"}\n";

/// A proof. The enum tag is its version.
///
/// ```text
/// tag u32 = 0 ‖ genesis hash 32 ‖ header ‖ Option<certificate> ‖ validator set ‖ u64 count ‖ claims
/// claim: tag u32
///   0 account      address 32 ‖ u64 length ‖ trie proof
///   1 slot         address 32 ‖ slot 32 ‖ u64 length ‖ trie proof of the account
///                  ‖ Option<u64 length ‖ trie proof of the slot>
///   2 transaction  transaction ‖ path in its tick ‖ path of the tick ‖ receipt ‖ path of the receipt
/// ```
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum ProofFile {
    /// Version 1.
    V1(ProofV1),
}

/// Version 1 of a proof.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct ProofV1 {
    /// Genesis hash of the chain.
    pub genesis: Hash,
    /// Header of the block.
    pub header: Header,
    /// The certificate that makes the block final; `None` for genesis, whose hash is trusted.
    pub certificate: Option<CommitCertificate>,
    /// The validators of the block's height.
    pub validators: ValidatorSet,
    /// The claims about the block, strictly ascending by [`Claim::order`]. None for a light block.
    pub claims: Vec<Claim>,
}

/// One claim, with the path to a root of the header.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Claim {
    /// An account exists as the proof states, or does not exist.
    Account {
        /// The address.
        address: Address,
        /// [`vibecoin_trie::Proof::encode`], in the account trie.
        proof: Vec<u8>,
    },
    /// A slot of an account has the value that the proof states, or none.
    Slot {
        /// The owner of the slot.
        address: Address,
        /// The slot.
        slot: Hash,
        /// Proof of the account, which contains the root of its storage trie.
        account: Vec<u8>,
        /// Proof of the slot in the storage trie. `None` exactly when the account is absent or has no
        /// storage trie, which proves that the slot is empty.
        proof: Option<Vec<u8>>,
    },
    /// A transaction is in the block, with this receipt.
    Transaction(Box<TransactionClaim>),
}

/// A transaction's place in its block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct TransactionClaim {
    /// The transaction.
    pub transaction: Transaction,
    /// From the transaction to its tick's root.
    pub in_tick: MerklePath,
    /// From the tick's root to the header's transaction root.
    pub in_block: MerklePath,
    /// The receipt.
    pub receipt: Receipt,
    /// From the receipt to the header's receipt root.
    pub receipt_path: MerklePath,
}

impl Encoded for ProofFile {
    const NAME: &'static str = "proof";
    const BYTES_MAX: usize = PROOF_FILE_BYTES_MAX;
}

// One transaction with all its fields always fits.
const _: () = assert!(
    HEADER_BYTES_MAX + 2 * CERTIFICATE_BYTES_MAX + TRANSACTION_BYTES_MAX + 64 * KIB < PROOF_FILE_BYTES_MAX
);

impl Claim {
    /// Sort key of claims: kind, then subject.
    #[must_use]
    pub fn order(&self) -> (u8, [u8; 32], [u8; 32]) {
        match self {
            Self::Account { address, .. } => (0, address.0, [0; 32]),
            Self::Slot { address, slot, .. } => (1, address.0, slot.0),
            Self::Transaction(claim) => (2, claim.transaction.hash().0, [0; 32]),
        }
    }

    /// The claim that the transaction at `index` of the block is there, with its receipt.
    ///
    /// `None` when there is no such transaction. Costs the hashes of all transactions and receipts of
    /// the block.
    #[must_use]
    pub fn transaction(body: &Body, receipts: &Receipts, index: usize) -> Option<Self> {
        let mut before = 0usize;
        let ticks = &body.v1().ticks;
        let (tick_index, tick) = ticks.iter().enumerate().find(|(_, tick)| {
            let inside = index < before.saturating_add(tick.transactions.len());
            if !inside {
                before = before.saturating_add(tick.transactions.len());
            }
            inside
        })?;
        let in_tick = index.checked_sub(before)?;
        let leaves = |tick: &vibecoin_primitives::Tick| -> Vec<Hash> {
            tick.transactions.iter().map(Transaction::hash).collect()
        };
        let roots: Vec<Hash> = ticks.iter().map(|tick| tick_root(&leaves(tick))).collect();
        let receipt_leaves: Vec<Hash> = receipts.0.iter().map(Receipt::hash).collect();
        Some(Self::Transaction(Box::new(TransactionClaim {
            transaction: tick.transactions.get(in_tick)?.clone(),
            in_tick: MerklePath::new(&leaves(tick), in_tick)?,
            in_block: MerklePath::new(&roots, tick_index)?,
            receipt: receipts.0.get(index)?.clone(),
            receipt_path: MerklePath::new(&receipt_leaves, index)?,
        })))
    }
}

/// Returns `certificate` with no more signatures than the quorum needs, the most powerful first, so that
/// proofs are short and none can be left out. Signers outside `set` are left out.
#[must_use]
pub fn minimal_certificate(
    mut certificate: CommitCertificate,
    fault_model: FaultModel,
    set: &ValidatorSet,
) -> CommitCertificate {
    let total = set.total_power();
    let mut signers: Vec<_> = certificate
        .signatures
        .drain(..)
        .filter_map(|entry| {
            set.find(&entry.validator)
                .map(|(_, validator)| (validator.power.0, entry))
        })
        .collect();
    signers.sort_by_key(|(power, entry)| (std::cmp::Reverse(*power), entry.validator));
    let mut power = 0u64;
    for (own, entry) in signers {
        if fault_model.is_quorum(power, total) {
            break;
        }
        power = power.saturating_add(own);
        certificate.signatures.push(entry);
    }
    certificate.signatures.sort_by_key(|entry| entry.validator);
    certificate
}

impl ProofFile {
    /// Makes a proof: sorts the claims and cuts the certificate to the quorum.
    #[must_use]
    pub fn new(
        genesis: Hash,
        fault_model: FaultModel,
        header: Header,
        certificate: Option<CommitCertificate>,
        validators: ValidatorSet,
        mut claims: Vec<Claim>,
    ) -> Self {
        claims.sort_by_cached_key(Claim::order);
        claims.dedup_by_key(|claim| claim.order());
        let certificate = certificate.map(|full| minimal_certificate(full, fault_model, &validators));
        Self::V1(ProofV1 {
            genesis,
            header,
            certificate,
            validators,
            claims,
        })
    }

    /// The fields of the current version.
    #[must_use]
    pub const fn v1(&self) -> &ProofV1 {
        let Self::V1(inner) = self;
        inner
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads foreign bytes: within [`PROOF_FILE_BYTES_MAX`], exact and canonical.
    ///
    /// # Errors
    /// [`LightError::Codec`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LightError> {
        Ok(decode(bytes)?)
    }

    /// The text of a proof file: `{"format":"vibecoin-proof-1","proof":"0x…"}` and a line end.
    #[must_use]
    pub fn to_text(&self) -> String {
        [HEAD, &hex::encode(&self.to_bytes()), TAIL].concat()
    }

    /// Reads the text of a proof file, which must be to the byte what [`ProofFile::to_text`] writes.
    ///
    /// # Errors
    /// [`LightError::Text`] when it is not, [`LightError::Codec`] when the proof in it is malformed.
    pub fn from_text(text: &str) -> Result<Self, LightError> {
        let digits = text
            .strip_prefix(HEAD)
            .ok_or(LightError::Text {
                what: "the file does not start as a proof file does",
            })?
            .strip_suffix(TAIL)
            .ok_or(LightError::Text {
                what: "the file does not end as a proof file does",
            })?;
        if digits.len() > PROOF_FILE_BYTES_MAX.saturating_mul(2).saturating_add(2) {
            return Err(LightError::Text {
                what: "the file is longer than any proof",
            });
        }
        let bytes = hex::decode(digits).map_err(|_| LightError::Text {
            what: "the proof is not hex",
        })?;
        let file = Self::from_bytes(&bytes)?;
        if file.to_text() != text {
            return Err(LightError::Text {
                what: "the file is not in the one form that a proof has",
            });
        }
        Ok(file)
    }
}
