//! Expensive checks of messages that passed [`crate::Intake`], cheapest first: hashes, then one signature or
//! certificate.
//!
//! Signatures of transactions are checked after all of these, by the caller: it may batch them and find some
//! in its pool.

use vibecoin_primitives::limits::BODY_BYTES_MAX;
use vibecoin_primitives::{BlockPart, Body, CertificateError, ChainParams, Demand, Header, Height, decode};

use crate::received::{LinkedBlock, ReceivedBlock, ReceivedBody};
use crate::refusal::{Refusal, Refused};
use crate::{CertifiedBlock, Chain, planted};

/// Checks that the content of a part is the one its proposer signed, and the signature.
///
/// # Errors
/// [`Refusal`], before any check of a signature, or after one.
pub fn part(chain: &Chain, part: &BlockPart) -> Result<(), Refusal> {
    if !part.is_whole() {
        let reason = "a part with another content than was signed";
        return Err(Refusal::free(Refused::Mismatch, reason));
    }
    part.signed
        .verify(&chain.genesis)
        .map_err(|_| Refusal::one_check(Refused::Signature, "bad signature of a part"))
}

/// Decodes a body that is the one its header names. Bytes that do not decode are not the sender's fault, since the
/// header names them: such a block is invalid.
///
/// # Errors
/// [`Refusal`], before any check of a signature, when the header names another body.
pub fn body(header: Header, encoded: &[u8]) -> Result<ReceivedBody, Refusal> {
    belongs(&header, encoded)?;
    Ok(ReceivedBody {
        hash: header.hash(),
        header,
        body: decode(encoded).ok(),
    })
}

fn belongs(header: &Header, encoded: &[u8]) -> Result<(), Refusal> {
    if encoded.len() <= BODY_BYTES_MAX && planted::body_hash(header, encoded) == header.body_hash {
        return Ok(());
    }
    let reason = "the body does not belong to its header";
    Err(Refusal::free(Refused::Mismatch, reason))
}

/// Returns true if a body is within the limits on a block's transactions and on its demand. Any other is
/// invalid whatever its signatures are, and its bytes may hold ten times as many of them.
#[must_use]
pub fn within_bounds(params: &ChainParams, body: &Body) -> bool {
    body.transaction_count() <= params.block_transactions_max as usize
        && Demand::default().of_block(body.transactions(), params).is_ok()
}

/// Checks that a response is a run of blocks from `first` on, each the child of the previous one, with its body.
///
/// # Errors
/// [`Refusal`], before any check of a signature.
pub fn blocks(first: Height, blocks: Vec<CertifiedBlock>) -> Result<Vec<LinkedBlock>, Refusal> {
    let refuse = |reason| Err(Refusal::free(Refused::Mismatch, reason));
    let mut linked: Vec<LinkedBlock> = Vec::with_capacity(blocks.len());
    for (height, block) in (first.0..=u64::MAX).map(Height).zip(blocks) {
        let CertifiedBlock {
            header,
            body,
            certificate,
        } = block;
        if header.height != height {
            return refuse("sync: blocks out of order");
        }
        if linked.last().is_some_and(|parent| parent.hash != header.parent) {
            return refuse("sync: a block that is not the child of the one before");
        }
        linked.push(LinkedBlock {
            hash: header.hash(),
            header,
            encoded: body,
            certificate,
        });
    }
    for block in &linked {
        belongs(&block.header, &block.encoded)?;
    }
    Ok(linked)
}

/// Checks the certificate of a block in a response, as one batch of signatures, and decodes the block's body.
///
/// # Errors
/// [`Refusal`], after one check, or before any when it is about another block or names no quorum.
pub fn certificate(chain: &Chain, block: LinkedBlock) -> Result<ReceivedBlock, Refusal> {
    let LinkedBlock {
        header,
        hash,
        encoded,
        certificate,
    } = block;
    certificate
        .verify(
            &chain.genesis,
            chain.fault_model(),
            &chain.validators,
            header.height,
            &hash,
        )
        .map_err(|error| {
            let reason = "sync: a certificate that proves nothing";
            match error {
                CertificateError::BadSignature { .. } => Refusal::one_check(Refused::Certificate, reason),
                _ => Refusal::free(Refused::Certificate, reason),
            }
        })?;
    Ok(ReceivedBlock {
        header,
        hash,
        body: decode(&encoded).ok(),
        certificate,
        encoded_len: encoded.len(),
    })
}
