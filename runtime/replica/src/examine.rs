//! Expensive checks of messages that passed [`crate::Intake`], cheapest first: hashes, then one signature or
//! certificate.
//!
//! Signatures of transactions are checked after all of these, by the caller: it may batch them and find some
//! in its pool.

use vibecoin_primitives::{BlockPart, Body, CertificateError, ChainParams, Demand, Header, Height};

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

/// Checks that a body is the one that its header names.
///
/// # Errors
/// [`Refusal`], before any check of a signature.
pub fn body(header: &Header, body: &[u8]) -> Result<(), Refusal> {
    if planted::body_hash(header, body) == header.body_hash {
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
pub fn blocks(first: Height, blocks: &[CertifiedBlock]) -> Result<(), Refusal> {
    let refuse = |reason| Err(Refusal::free(Refused::Mismatch, reason));
    let mut parent = None;
    for (height, block) in (first.0..=u64::MAX).map(Height).zip(blocks) {
        if block.header.height != height {
            return refuse("sync: blocks out of order");
        }
        if parent.is_some_and(|parent| parent != block.header.parent) {
            return refuse("sync: a block that is not the child of the one before");
        }
        parent = Some(block.header.hash());
    }
    for block in blocks {
        body(&block.header, &block.body)?;
    }
    Ok(())
}

/// Checks the certificate of a block in a response, as one batch of signatures.
///
/// # Errors
/// [`Refusal`], after one check, or before any when it is about another block or names no quorum.
pub fn certificate(chain: &Chain, block: &CertifiedBlock) -> Result<(), Refusal> {
    let Header { height, .. } = block.header;
    block
        .certificate
        .verify(
            &chain.genesis,
            chain.fault_model(),
            &chain.validators,
            height,
            &block.header.hash(),
        )
        .map_err(|error| {
            let reason = "sync: a certificate that proves nothing";
            match error {
                CertificateError::BadSignature { .. } => Refusal::one_check(Refused::Certificate, reason),
                _ => Refusal::free(Refused::Certificate, reason),
            }
        })
}
