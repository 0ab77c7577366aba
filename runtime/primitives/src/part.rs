//! A proposed block in parts, sent to the validators during construction.
//!
//! The opening is sent first, then one part for each tick, in order. Each is signed separately by the
//! proposer, so a part can be dropped or blamed before its content is checked; two different parts with one
//! sequence number prove that the proposer made two blocks.

use wincode::{SchemaRead, SchemaWrite};

use crate::limits::{BLOCK_BYTES_MAX, CERTIFICATE_BYTES_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_MAX, KIB};
use crate::transaction::signed_bytes;
use crate::{
    CommitCertificate, Domain, Encoded, Evidence, Hash, Height, PublicKey, Round, SecretKey, Signature,
    SignatureError, Tick, encode,
};

/// Prefix of the bytes that a part's signature covers.
pub const PART_TAG: &[u8] = b"vibecoin/part/v1";

/// The statement that a proposer signs for each part.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct PartStatement {
    /// The block's height.
    pub height: Height,
    /// The round in which it is made.
    pub round: Round,
    /// The proposer that makes it.
    pub proposer: PublicKey,
    /// Hash of the parent's header.
    pub parent: Hash,
    /// 0 for the opening, `k + 1` for tick `k`.
    pub sequence: u32,
    /// [`PartContent::digest`].
    pub digest: Hash,
}

/// A statement with its signature: the part of a block part that is kept once the content is not needed.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct SignedPart {
    /// The signed statement.
    pub statement: PartStatement,
    /// Signature by `statement.proposer`.
    pub signature: Signature,
}

/// The content of a part.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum PartContent {
    /// Everything of the body except its ticks; known when the block is begun.
    Opening {
        /// The parent's certificate; `None` at height 1.
        last_commit: Option<CommitCertificate>,
        /// Double signatures to punish.
        evidence: Vec<Evidence>,
    },
    /// One tick.
    Tick(Tick),
}

/// One part of a proposed block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct BlockPart {
    /// The statement that the proposer signed.
    pub signed: SignedPart,
    /// The content that the statement's digest covers.
    pub content: PartContent,
}

impl PartContent {
    /// The hash that the proposer signs.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Domain::ProposalPart.hash(&encode(self))
    }
}

impl PartStatement {
    /// The bytes that are signed on the chain with this genesis hash.
    #[must_use]
    pub fn signing_bytes(&self, genesis: &Hash) -> Vec<u8> {
        signed_bytes(PART_TAG, genesis, self)
    }

    /// Signs the statement.
    #[must_use]
    pub fn sign(self, genesis: &Hash, key: &SecretKey) -> SignedPart {
        let signature = key.sign(&self.signing_bytes(genesis));
        SignedPart {
            statement: self,
            signature,
        }
    }
}

impl SignedPart {
    /// Checks the signature alone; the caller checks whether it is the proposer's turn.
    ///
    /// # Errors
    /// [`SignatureError`] when the signature rule does not hold.
    pub fn verify(&self, genesis: &Hash) -> Result<(), SignatureError> {
        self.statement
            .proposer
            .verify(&self.statement.signing_bytes(genesis), &self.signature)
    }
}

impl BlockPart {
    /// Returns true if the content matches the statement. The signature is checked separately.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let opening = matches!(self.content, PartContent::Opening { .. });
        opening == (self.signed.statement.sequence == 0)
            && self.content.digest() == self.signed.statement.digest
    }
}

impl Encoded for SignedPart {
    const NAME: &'static str = "signed part";
    const BYTES_MAX: usize = 256;
}

impl Encoded for BlockPart {
    const NAME: &'static str = "block part";
    const BYTES_MAX: usize =
        BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + EVIDENCE_MAX * EVIDENCE_BYTES_MAX + KIB;
}

// A pair of them fits into a piece of evidence, and the overhead of a part into the spare space.
const _: () = assert!(2 * SignedPart::BYTES_MAX + 64 <= EVIDENCE_BYTES_MAX);
const _: () = assert!(SignedPart::BYTES_MAX + 64 <= KIB);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn part(key: &SecretKey) -> BlockPart {
        let content = PartContent::Tick(Tick {
            hash: Hash([3; 32]),
            transactions: Vec::new(),
        });
        let statement = PartStatement {
            height: Height(5),
            round: Round(0),
            proposer: key.public_key(),
            parent: Hash([4; 32]),
            sequence: 1,
            digest: content.digest(),
        };
        BlockPart {
            signed: statement.sign(&Hash([7; 32]), key),
            content,
        }
    }

    #[test]
    fn a_part_holds_on_its_own_chain_and_with_its_own_content_only() {
        let key = SecretKey::from_seed(&[1; 32]);
        let mut part = part(&key);
        assert!(part.is_whole());
        part.signed.verify(&Hash([7; 32])).unwrap();
        assert!(part.signed.verify(&Hash([8; 32])).is_err());
        part.signed.statement.sequence = 0;
        assert!(!part.is_whole(), "a tick is no opening");
        assert!(part.signed.verify(&Hash([7; 32])).is_err());
        part.signed.statement.sequence = 1;
        part.content = PartContent::Tick(Tick {
            hash: Hash([5; 32]),
            transactions: Vec::new(),
        });
        assert!(!part.is_whole(), "another content");
    }
}
