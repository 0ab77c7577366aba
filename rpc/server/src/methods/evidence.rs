//! Double-sign evidence: found in blocks, waiting here, submitted.

use vibecoin_primitives::{Evidence, EvidenceError, Height, decode, encode, merkle};
use vibecoin_rpc_api::views::{EvidenceOptions, EvidenceView, Page};
use vibecoin_rpc_api::{ApiError, Bytes, Code, Shown};
use vibecoin_rpc_backend::Backend;

use super::{Query, Rpc, number_position, page_size};
use crate::errors::Coded as _;

/// Maximum number of blocks that one page scans.
const SCAN_MAX: u64 = 10_000;
/// Positions that a height has in a cursor; more than a block may carry, and the bound on waiting
/// evidence.
const PLACES: u64 = 1024;
const _: () = assert!(vibecoin_primitives::limits::EVIDENCE_MAX < 1024);

impl<B: Backend> Rpc<B> {
    /// A page: evidence in blocks up to the head of the first page, then waiting evidence.
    pub(super) fn evidence_page(&self, options: EvidenceOptions) -> Result<Page<EvidenceView>, ApiError> {
        let limit = page_size(options.limit)?;
        let query = Query::new(&[b"consensus_getEvidence"]);
        let (head, mut at) = match query.open(options.cursor)? {
            Some(cursor) => (cursor.height, number_position(&cursor)?),
            None => {
                let head = self.backend.head().header.height;
                let back = head.0.saturating_sub(SCAN_MAX.saturating_sub(1));
                let from = match options.from {
                    Some(from) => self.existing(from)?,
                    None => Height(back.max(self.backend.earliest().0)),
                };
                (head, from.0.saturating_mul(PLACES))
            }
        };
        let mut items = Vec::new();
        let mut looked = 0u64;
        while items.len() < limit && looked < SCAN_MAX {
            let (height, skip) = (Height(at / PLACES), at % PLACES);
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let room = limit.saturating_sub(items.len());
            let (found, more) = if height <= head {
                self.evidence_at(height, skip, room)?
            } else {
                let waiting = self.backend.evidence_waiting();
                let found: Vec<_> = waiting.iter().skip(skip).map(|piece| view(piece, None)).collect();
                cut(found, room)
            };
            at = if more {
                at.saturating_add(found.len() as u64)
            } else {
                height.0.saturating_add(1).saturating_mul(PLACES)
            };
            items.extend(found);
            if height > head && !more {
                return Ok(Page {
                    items,
                    next_cursor: None,
                });
            }
            looked = looked.saturating_add(1);
        }
        let next_cursor = Some(query.cursor(head, &at.to_le_bytes()));
        Ok(Page { items, next_cursor })
    }

    /// Up to `room` pieces of one block behind the first `skip`, and true if more follow in it.
    fn evidence_at(
        &self,
        height: Height,
        skip: usize,
        room: usize,
    ) -> Result<(Vec<EvidenceView>, bool), ApiError> {
        let Some((header, _)) = self.backend.header(height).coded()? else {
            return Ok((Vec::new(), false));
        };
        // The root in the header shows if the body has any.
        if header.evidence_root == merkle::root(&[]) {
            return Ok((Vec::new(), false));
        }
        let Some(block) = self.backend.block(height).coded()? else {
            return Ok((Vec::new(), false));
        };
        let all = block.body.v1().evidence.iter().skip(skip);
        Ok(cut(all.map(|piece| view(piece, Some(height))).collect(), room))
    }

    /// Verifies double-sign evidence and hands it to the node.
    pub(super) fn take_evidence(&self, raw: &[u8]) -> Result<EvidenceView, ApiError> {
        let evidence: Evidence =
            decode(raw).map_err(|error| ApiError::new(Code::BadEncoding, format!("evidence: {error}")))?;
        let facts = self.backend.facts();
        let (_, height) = evidence.offender();
        let next = self.backend.head().header.height.saturating_add(1);
        if height > next {
            let message = format!("the double signature is at height {height}, the next height is {next}");
            return Err(ApiError::new(Code::FutureHeight, message));
        }
        let oldest = next.saturating_sub(facts.params.evidence_age_max);
        if height < oldest {
            let message =
                format!("evidence of height {height} is too old, the oldest that counts is {oldest}");
            return Err(ApiError::invalid_params("evidence_too_old", message));
        }
        evidence
            .verify(&facts.genesis, &facts.validators)
            .map_err(|error| {
                let code = match error {
                    EvidenceError::Signature(_) => Code::BadSignature,
                    _ => Code::BadEncoding,
                };
                ApiError::new(code, format!("evidence proves nothing: {error}"))
            })?;
        let shown = view(&evidence, None);
        self.backend.submit_evidence(evidence).coded()?;
        Ok(shown)
    }
}

fn cut(mut found: Vec<EvidenceView>, room: usize) -> (Vec<EvidenceView>, bool) {
    let more = found.len() > room;
    found.truncate(room);
    (found, more)
}

fn view(evidence: &Evidence, block: Option<Height>) -> EvidenceView {
    let (offender, height) = evidence.offender();
    EvidenceView {
        hash: Shown(evidence.hash()),
        kind: match evidence {
            Evidence::DuplicateVote { .. } => "duplicateVote",
            Evidence::DuplicateProposal { .. } => "duplicateProposal",
            Evidence::DuplicatePart { .. } => "duplicatePart",
        }
        .to_owned(),
        offender: Shown(offender),
        height: height.into(),
        block: block.map(Into::into),
        raw: Shown(Bytes(encode(evidence))),
    }
}
