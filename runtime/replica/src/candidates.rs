//! The store of candidates: blocks of the height being decided, with our verdicts and the results of executing
//! them.

use std::collections::BTreeMap;

use vibecoin_consensus::LogRecord;
use vibecoin_execution::State;
use vibecoin_primitives::limits::{BLOCK_BYTES_MAX, KIB, MIB};
use vibecoin_primitives::{Block, Body, Hash, Header, PublicKey, Round, encode, transaction_bytes};

use crate::validation::{Executed, JudgeError, Validation};
use crate::{Message, planted};

/// Maximum number of candidate blocks kept for one height.
pub const CANDIDATES_MAX: usize = 16;
/// Maximum bytes of candidate blocks kept for one height: bodies, and the results of executing them.
pub const CANDIDATES_BYTES_MAX: usize = 48 * MIB;
/// First round whose blocks carry no transactions: after so many failed rounds smaller blocks help, and
/// thousands of rounds must fit into the log.
pub const EMPTY_FROM: Round = Round(8);
/// Maximum bytes of blocks of one height in the log, beside [`SMALL_BLOCK_BYTES`] for each round: those of
/// the rounds before [`EMPTY_FROM`], twice.
pub const LOG_BLOCK_BYTES_MAX: usize = 64 * MIB;
/// A block of this size is logged whatever the log holds.
pub const SMALL_BLOCK_BYTES: usize = 64 * KIB;
/// Rounds before the present one whose blocks are not dropped for new ones: their votes may still arrive.
const RECENT_ROUNDS: u32 = 2;
/// Bytes that a changed row is assumed to hold beside its value.
const ROW_BYTES: usize = 96;
const _: () = assert!(2 * EMPTY_FROM.0 as usize * BLOCK_BYTES_MAX <= LOG_BLOCK_BYTES_MAX);

/// A block of the height being decided.
pub(crate) struct Candidate<S> {
    pub header: Header,
    /// `None`: the bytes that the header names do not decode.
    pub body: Option<Body>,
    /// `None`: invalid.
    pub executed: Option<Executed<S>>,
    /// True once the block is in the log.
    pub logged: bool,
}

impl<S> Candidate<S> {
    /// A block of another proposer that was judged and is not in the log.
    ///
    /// # Errors
    /// [`JudgeError`] when this node could not judge it.
    pub fn judged(header: Header, body: Body, validation: Validation<S>) -> Result<Self, JudgeError> {
        let executed = match validation {
            Validation::Valid(executed) => Some(executed),
            Validation::Invalid(_) => None,
            Validation::Fault(error) => return Err(error),
        };
        Ok(Self {
            header,
            body: Some(body),
            executed,
            logged: false,
        })
    }

    /// A block whose bytes do not decode: invalid, whichever peer sent them.
    pub const fn undecodable(header: Header) -> Self {
        Self {
            header,
            body: None,
            executed: None,
            logged: false,
        }
    }

    /// Approximate number of bytes that it holds.
    fn bytes(&self) -> usize {
        let body = self.body.as_ref().map_or(0, body_bytes);
        let executed = self.executed.as_ref().map_or(0, |executed| {
            let row = |row: &Option<Vec<u8>>| row.as_ref().map_or(0, Vec::len);
            let rows = executed.diff.entries.iter().fold(0usize, |sum, entry| {
                let bytes = row(&entry.old).saturating_add(row(&entry.new));
                sum.saturating_add(bytes).saturating_add(ROW_BYTES)
            });
            // The state on top of the parent's holds the same rows as the diff.
            let ids = executed.ids.len().saturating_mul(ROW_BYTES);
            rows.saturating_mul(2).saturating_add(ids)
        });
        body.saturating_add(executed).saturating_add(KIB)
    }
}

/// Bytes of the transactions of a body.
fn body_bytes(body: &Body) -> usize {
    body.transactions()
        .fold(0, |sum, tx| sum.saturating_add(transaction_bytes(tx)))
}

/// The candidates of the height being decided, and the newest decided block.
pub(crate) struct Candidates<S> {
    /// Exactly these have an entry in `sizes`.
    blocks: BTreeMap<Hash, Candidate<S>>,
    /// Approximate number of bytes that each of them holds.
    sizes: BTreeMap<Hash, usize>,
    /// Bytes of blocks of this height in the log, those of dropped candidates included: it never decreases at a
    /// height.
    logged_bytes: usize,
    /// The newest decided block, for a validator that lacks it: the others may commit it before that
    /// validator's request reaches a peer that kept it.
    decided: Option<(Hash, Block)>,
}

impl<S> Default for Candidates<S> {
    fn default() -> Self {
        Self {
            blocks: BTreeMap::new(),
            sizes: BTreeMap::new(),
            logged_bytes: 0,
            decided: None,
        }
    }
}

impl<S: State> Candidates<S> {
    /// Drops all candidates; the decided block is kept.
    pub fn begin_height(&mut self) {
        self.blocks.clear();
        self.sizes.clear();
        self.logged_bytes = 0;
    }

    pub fn take(&mut self, block: &Hash) -> Option<Candidate<S>> {
        self.sizes.remove(block);
        self.blocks.remove(block)
    }

    /// Records that a block is in the log.
    pub fn mark_logged(&mut self, block: &Hash) {
        if let Some(candidate) = self.blocks.get_mut(block) {
            candidate.logged = true;
            let bytes = candidate.body.as_ref().map_or(0, body_bytes);
            self.logged_bytes = self.logged_bytes.saturating_add(bytes);
        }
    }

    /// Number of blocks kept, and the bytes that they hold.
    pub fn held(&self) -> (usize, usize) {
        let bytes = self
            .sizes
            .values()
            .fold(0usize, |sum, bytes| sum.saturating_add(*bytes));
        (self.blocks.len(), bytes)
    }

    /// Returns true if a block of this size fits into the log.
    fn fits_log(&self, bytes: usize) -> bool {
        bytes <= SMALL_BLOCK_BYTES || self.logged_bytes.saturating_add(bytes) <= LOG_BLOCK_BYTES_MAX
    }

    /// Drops a judged block that is not in the log and does not fit there; true if it was dropped. Rounds that
    /// keep failing must not fill the disk: a large block of a late round is left out, as if it had not arrived
    /// in time. An honest proposer makes none.
    pub fn drop_oversized(&mut self, block: &Hash) -> bool {
        let Some(candidate) = self.blocks.get(block) else {
            return false;
        };
        let bytes = candidate.body.as_ref().map_or(0, body_bytes);
        let drops = candidate.header.round >= EMPTY_FROM && !candidate.logged && !self.fits_log(bytes);
        if drops {
            self.take(block);
        }
        drops
    }

    /// Drops blocks of the lowest rounds while there are too many, or too many bytes. Those of the newest
    /// rounds are kept, and those that may still be decided: a body that is needed after all is fetched again.
    pub fn bound(&mut self, round: Round, pinned: &[Hash]) {
        let recent = round.0.saturating_sub(RECENT_ROUNDS);
        while self.is_over() {
            let old = self
                .blocks
                .iter()
                .filter(|(hash, candidate)| candidate.header.round.0 < recent && !pinned.contains(hash));
            let lowest = old.min_by_key(|(_, candidate)| candidate.header.round);
            let Some(lowest) = lowest.map(|(hash, _)| *hash) else {
                return;
            };
            self.take(&lowest);
        }
    }

    /// Returns true if more is kept than the bounds allow.
    pub fn is_over(&self) -> bool {
        let (count, bytes) = self.held();
        planted::over_bounds(count > CANDIDATES_MAX || bytes > CANDIDATES_BYTES_MAX)
    }

    /// The record of a block that is not in the log yet; from now on it is. A node without a key logs blocks
    /// too: its replay may decide one and need the body.
    pub fn take_record(&mut self, block: &Hash) -> Option<LogRecord> {
        let candidate = self.blocks.get_mut(block).filter(|candidate| !candidate.logged)?;
        let block = Block {
            header: candidate.header.clone(),
            body: candidate.body.clone()?,
        };
        candidate.logged = true;
        self.logged_bytes = self.logged_bytes.saturating_add(body_bytes(&block.body));
        Some(LogRecord::Block(Box::new(block)))
    }

    /// Keeps a decided block, in place of the previous one.
    pub fn keep_decided(&mut self, hash: Hash, header: &Header, body: &Body) {
        let block = Block {
            header: header.clone(),
            body: body.clone(),
        };
        self.decided = Some((hash, block));
    }

    /// A block whose body is here: of the height being decided, or the last decided one.
    fn whole(&self, block: &Hash) -> Option<(&Header, &Body)> {
        let candidate = self.blocks.get(block);
        if let Some(candidate) = candidate {
            return Some((&candidate.header, candidate.body.as_ref()?));
        }
        let decided = self.decided.as_ref().filter(|(hash, _)| hash == block);
        decided.map(|(_, block)| (&block.header, &block.body))
    }

    /// The body of a block as a message, for a peer that requests it.
    pub fn message(&self, block: &Hash) -> Option<Message> {
        let (header, body) = self.whole(block)?;
        Some(Message::Body {
            header: Box::new(header.clone()),
            body: encode(body),
        })
    }

    /// Returns true if the body of a block is here.
    pub fn has_body(&self, block: &Hash) -> bool {
        self.whole(block).is_some()
    }

    /// The block that `proposer` made for `round`.
    pub fn own(&self, round: Round, proposer: &PublicKey) -> Option<Header> {
        let mut headers = self.blocks.values().map(|candidate| &candidate.header);
        headers
            .find(|header| header.round == round && header.proposer == *proposer)
            .cloned()
    }

    /// The verdict on the block; `None` while it has not been judged.
    pub fn verdict(&self, block: &Hash) -> Option<bool> {
        self.blocks
            .get(block)
            .map(|candidate| candidate.executed.is_some())
    }

    /// The header of a judged block, and its verdict.
    pub fn judged(&self, block: &Hash) -> Option<(Header, bool)> {
        let candidate = self.blocks.get(block)?;
        Some((candidate.header.clone(), candidate.executed.is_some()))
    }

    /// Keeps a judged block.
    pub fn keep(&mut self, hash: Hash, candidate: Candidate<S>) {
        if self.blocks.len() >= CANDIDATES_MAX {
            // Invalid ones are dropped first: only the verdict is needed, and the orderer has it.
            let victim = self
                .blocks
                .iter()
                .find(|(_, c)| c.executed.is_none())
                .map(|(hash, _)| *hash);
            if let Some(victim) = victim {
                self.take(&victim);
            }
        }
        self.sizes.insert(hash, candidate.bytes());
        self.blocks.insert(hash, candidate);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use vibecoin_execution::MemoryState;
    use vibecoin_primitives::{Height, TimeMs};

    use super::*;

    pub(crate) fn header(round: u32) -> Header {
        Header {
            height: Height(1),
            round: Round(round),
            proposer: PublicKey([1; 32]),
            time: TimeMs(1),
            ticks: 4,
            ..vibecoin_tests_support::header()
        }
    }

    /// Keeps one block per round, each with a body of so many bytes of transactions, and drops blocks as the
    /// replica does.
    fn rounds(count: u32, transactions: usize, pinned: &[Hash]) -> Candidates<MemoryState> {
        let mut candidates = Candidates::<MemoryState>::default();
        for round in 0..count {
            let header = header(round);
            let body = body(transactions);
            let candidate = Candidate {
                header: header.clone(),
                body: Some(body),
                executed: None,
                logged: true,
            };
            let hash = header.hash();
            candidates.sizes.insert(hash, candidate.bytes());
            candidates.blocks.insert(hash, candidate);
            candidates.bound(Round(round), pinned);
        }
        candidates
    }

    fn body(count: usize) -> Body {
        let key = vibecoin_primitives::SecretKey::from_seed(&[5; 32]);
        let transaction = vibecoin_primitives::TransactionBody {
            chain: [0; 4],
            sender: key.public_key(),
            nonce: vibecoin_primitives::Nonce(0),
            fee: vibecoin_primitives::Amount(0),
            valid_until: Height(9),
            operations: vec![vibecoin_primitives::Operation::SetStorage {
                slot: Hash::ZERO,
                value: vec![7; 4 * KIB],
            }],
        };
        let transaction = transaction.sign(&Hash::ZERO, &key);
        Body::V1(vibecoin_primitives::BodyV1 {
            ticks: vec![vibecoin_primitives::Tick {
                hash: Hash::ZERO,
                transactions: vec![transaction; count],
            }],
            last_commit: None,
            evidence: Vec::new(),
        })
    }

    #[test]
    fn a_thousand_rounds_hold_no_more_than_a_few_and_what_may_still_be_decided_stays() {
        let locked = header(3).hash();
        let candidates = rounds(1_000, 1, &[locked]);
        assert_eq!(candidates.held().0, CANDIDATES_MAX);
        assert!(candidates.verdict(&locked).is_some());
        assert!(candidates.verdict(&header(999).hash()).is_some());
        assert!(candidates.verdict(&header(4).hash()).is_none());
    }

    #[test]
    fn large_blocks_of_old_rounds_are_bounded_in_bytes() {
        let candidates = rounds(14, 1_000, &[]);
        let (count, bytes) = candidates.held();
        assert!(bytes <= CANDIDATES_BYTES_MAX, "{bytes}");
        assert!((5..13).contains(&count), "{count}");
        assert!(candidates.verdict(&header(13).hash()).is_some());
        assert!(candidates.verdict(&header(0).hash()).is_none());
    }

    #[test]
    fn the_log_takes_small_blocks_always_and_large_ones_up_to_its_bound() {
        let mut candidates = Candidates::<MemoryState>::default();
        assert!(candidates.fits_log(BLOCK_BYTES_MAX));
        candidates.logged_bytes = LOG_BLOCK_BYTES_MAX;
        assert!(!candidates.fits_log(BLOCK_BYTES_MAX));
        assert!(candidates.fits_log(SMALL_BLOCK_BYTES));
        candidates.begin_height();
        assert!(candidates.fits_log(BLOCK_BYTES_MAX));
    }
}
