//! Blocks of other proposers at the height being decided: their parts, their bodies, and our verdicts.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use vibecoin_consensus::{BlockEvent, LogRecord, MonoTime, Orderer, Step, Verdict};
use vibecoin_execution::State;
use vibecoin_primitives::limits::{BLOCK_BYTES_MAX, KIB, MIB, TICKS_MAX};
use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{
    Block, BlockPart, Body, Hash, Header, Height, PartContent, PublicKey, Round, ValidatorSet,
    VerifiedTransaction, Vote, encode, transaction_bytes,
};

use crate::assembly::{Assembly, Taken};
use crate::check::{Executed, JudgeError, is_timely, judge, judge_streamed, open_body};
use crate::event::{Action, Fault};
use crate::replica::RETRY_MICROS;
use crate::{Message, PeerId, Replica};

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
/// Maximum number of bodies kept whose proposal has not arrived yet.
pub const EARLY_BODIES_MAX: usize = 4;
/// Maximum number of blocks streamed in at once: those of so many rounds.
pub const ASSEMBLIES_MAX: usize = 4;
/// Maximum number of parts of the next height's block kept until this height is committed.
pub const LATER_PARTS_MAX: usize = 2 * (TICKS_MAX + 1);
/// Maximum bytes of transactions in them.
pub const LATER_PARTS_BYTES_MAX: usize = 8 * MIB;
/// Time to wait for the parts of a proposed block before the whole body is requested, in microseconds.
const PARTS_GRACE_MICROS: u64 = 60_000;

/// Transactions whose signatures were checked before they arrived here, by hash.
pub(crate) type Verified = HashMap<Hash, Arc<VerifiedTransaction>>;

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

const _: () = assert!(2 * EMPTY_FROM.0 as usize * BLOCK_BYTES_MAX <= LOG_BLOCK_BYTES_MAX);

impl<S> Candidate<S> {
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

/// A proposed block whose body is missing. Up to two requests for it are in flight, to different peers.
struct Wanted {
    header: Header,
    /// Time of the next request.
    ask_at: MonoTime,
    /// Number of requests so far.
    asked: usize,
    /// Time of the next additional request to a voter, and the number of those requests so far.
    voter_at: MonoTime,
    voters_asked: usize,
    /// The last peer asked, and the last voter asked.
    newest: [Option<PeerId>; 2],
}

impl Wanted {
    const fn new(header: Header, ask_at: MonoTime) -> Self {
        Self {
            header,
            ask_at,
            asked: 0,
            voter_at: MonoTime(0),
            voters_asked: 0,
            newest: [None; 2],
        }
    }

    /// The peer to ask at `now`, if a request is due: the proposer first, then all in turn.
    fn next_peer(
        &mut self,
        hash: &Hash,
        peers: &BTreeMap<PeerId, Option<PublicKey>>,
        now: MonoTime,
    ) -> Option<PeerId> {
        if self.ask_at > now {
            return None;
        }
        let [newest, voter] = &mut self.newest;
        let waits = voter.filter(|_| self.voter_at > now);
        let proposer = |(_, key): &(&PeerId, &Option<PublicKey>)| **key == Some(self.header.proposer);
        let first = (self.asked == 0).then(|| peers.iter().find(proposer)).flatten();
        *newest = match first {
            Some((peer, _)) => Some(*peer),
            None => in_turn(hash, self.asked, peers.keys(), waits),
        };
        self.ask_at = now.after(RETRY_MICROS);
        self.asked = self.asked.saturating_add(1);
        *newest
    }

    /// The voter to ask at `now`, if a request is due.
    fn next_voter(&mut self, hash: &Hash, voters: &[PeerId], now: MonoTime) -> Option<PeerId> {
        if self.voter_at > now {
            return None;
        }
        let [newest, voter] = &mut self.newest;
        let waits = newest.filter(|_| self.ask_at > now);
        let next = in_turn(hash, self.voters_asked, voters.iter(), waits)?;
        *voter = Some(next);
        self.voter_at = now.after(RETRY_MICROS);
        self.voters_asked = self.voters_asked.saturating_add(1);
        Some(next)
    }
}

/// The next peer in turn to ask for a body, other than `waits`, which has been asked.
fn in_turn<'a>(
    hash: &Hash,
    asked: usize,
    peers: impl ExactSizeIterator<Item = &'a PeerId> + Clone,
    waits: Option<PeerId>,
) -> Option<PeerId> {
    let count = peers.len();
    let turn = asked.saturating_add(usize::from(hash.0[0])).checked_rem(count)?;
    let mut from_turn = peers.cycle().skip(turn).take(count);
    from_turn.find(|peer| waits != Some(**peer)).copied()
}

/// A part of the next height's block, with its transactions that are known as checked.
struct Later {
    part: BlockPart,
    verified: Arc<Verified>,
    bytes: usize,
}

/// State of the blocks of the height being decided.
pub(crate) struct Candidates<S: State> {
    blocks: BTreeMap<Hash, Candidate<S>>,
    /// Bytes that each of them holds.
    sizes: BTreeMap<Hash, usize>,
    /// Bytes of blocks of this height written to the log.
    logged_bytes: usize,
    /// The newest decided block, for a validator that lacks it: the others may commit it before that
    /// validator's request reaches a peer that kept it.
    decided: Option<(Hash, Block)>,
    wanted: BTreeMap<Hash, Wanted>,
    /// The block of the newest vote of each validator, and its height.
    voted: BTreeMap<PublicKey, (Height, Hash)>,
    /// Blocks that were proposed at another time than they name, and the round for which their verdict is kept back.
    untimely: BTreeMap<Hash, Round>,
    early: VecDeque<(Hash, Header, Vec<u8>)>,
    assemblies: Vec<Assembly<S>>,
    later: VecDeque<Later>,
    later_bytes: usize,
}

impl<S: State> Default for Candidates<S> {
    fn default() -> Self {
        Self {
            blocks: BTreeMap::new(),
            sizes: BTreeMap::new(),
            logged_bytes: 0,
            decided: None,
            wanted: BTreeMap::new(),
            voted: BTreeMap::new(),
            untimely: BTreeMap::new(),
            early: VecDeque::new(),
            assemblies: Vec::new(),
            later: VecDeque::new(),
            later_bytes: 0,
        }
    }
}

/// Returns true if these validators have more than a third of the power, so that one of them is honest.
fn has_an_honest_one(set: &ValidatorSet, keys: &BTreeSet<&PublicKey>) -> bool {
    let members = keys.iter().filter_map(|key| set.find(key));
    let power = members.fold(0u64, |sum, (_, member)| sum.saturating_add(member.power.0));
    power.saturating_mul(3) > set.total_power()
}

impl<S: State> Candidates<S> {
    /// Drops everything about `done`, which is durable, and the heights below it.
    pub fn begin_height(&mut self, done: Height) {
        self.blocks.clear();
        self.sizes.clear();
        self.logged_bytes = 0;
        self.wanted.clear();
        self.voted.retain(|_, (height, _)| *height > done);
        self.untimely.clear();
        self.assemblies.clear();
        self.early.retain(|(_, header, _)| header.height > done);
    }

    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.wanted.values().map(|wanted| wanted.ask_at).min()
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
    fn has_log_room(&self, bytes: usize) -> bool {
        bytes <= SMALL_BLOCK_BYTES || self.logged_bytes.saturating_add(bytes) <= LOG_BLOCK_BYTES_MAX
    }

    /// Drops blocks of the lowest rounds while there are too many, or too many bytes. Those of the newest
    /// rounds are kept, and those that may still be decided: a body that is needed after all is fetched again.
    pub fn bound(&mut self, round: Round, pinned: &[Hash]) {
        if active(Bug::CandidatesKept) {
            return;
        }
        let recent = round.0.saturating_sub(RECENT_ROUNDS);
        loop {
            let (count, bytes) = self.held();
            if count <= CANDIDATES_MAX && bytes <= CANDIDATES_BYTES_MAX {
                return;
            }
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
        count > CANDIDATES_MAX || bytes > CANDIDATES_BYTES_MAX
    }

    /// The record of a block that is not in the log yet; from now on it is. A node without a key logs blocks
    /// too: its replay may decide one and need the body.
    fn take_record(&mut self, block: &Hash) -> Option<LogRecord> {
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

    /// Records that the body of a block is missing. When full, evicts the entry with the most requests: an
    /// existing body arrives after one or two, an invented one never does.
    pub fn want(&mut self, hash: Hash, header: Header, ask_at: MonoTime) {
        if self.wanted.len() >= CANDIDATES_MAX {
            let least = self.wanted.iter().max_by_key(|(_, wanted)| wanted.asked);
            if let Some(least) = least.map(|(hash, _)| *hash) {
                self.wanted.remove(&least);
            }
        }
        self.wanted.insert(hash, Wanted::new(header, ask_at));
    }

    /// Records a vote whose signature was checked: its validator has the block. One per validator is kept.
    pub fn note_vote(&mut self, vote: &Vote) {
        if let Some(block) = vote.block {
            self.voted.insert(vote.validator, (vote.height, block));
        }
    }

    /// Validators other than the block's proposer whose last vote is for it.
    fn voters<'a>(
        voted: &'a BTreeMap<PublicKey, (Height, Hash)>,
        hash: &'a Hash,
        header: &'a Header,
    ) -> impl Iterator<Item = &'a PublicKey> {
        let for_it = voted.iter().filter(|(key, (height, block))| {
            (height, block) == (&header.height, hash) && **key != header.proposer
        });
        for_it.map(|(key, _)| key)
    }

    /// The assembly of this proposer and round; a new one replaces that of the lowest round.
    fn assembly(
        &mut self,
        of: (Round, PublicKey),
        make: impl FnOnce() -> Option<Assembly<S>>,
    ) -> Option<&mut Assembly<S>> {
        if !self.assemblies.iter().any(|assembly| assembly.of() == of) {
            if self.assemblies.len() >= ASSEMBLIES_MAX {
                let lowest = self.assemblies.iter().map(Assembly::of).min()?;
                if lowest > of {
                    return None;
                }
                self.assemblies.retain(|assembly| assembly.of() != lowest);
            }
            self.assemblies.push(make()?);
        }
        self.assemblies.iter_mut().find(|assembly| assembly.of() == of)
    }

    /// The verdict on a part for a later round that is not kept, whatever its signature is; `None` if it is.
    fn refuses_later(&self, part: &BlockPart) -> Option<Verdict> {
        let statement = &part.signed.statement;
        if self
            .later
            .iter()
            .any(|later| later.part.signed.statement == *statement)
        {
            return Some(Verdict::Known);
        }
        let full = self.later_bytes.saturating_add(transactions_bytes(part));
        let is_full = self.later.len() >= LATER_PARTS_MAX || full > LATER_PARTS_BYTES_MAX;
        is_full.then_some(Verdict::Ignored)
    }

    fn keep_for_later(&mut self, part: BlockPart, verified: Arc<Verified>) -> Verdict {
        if let Some(verdict) = self.refuses_later(&part) {
            return verdict;
        }
        let bytes = transactions_bytes(&part);
        self.later_bytes = self.later_bytes.saturating_add(bytes);
        self.later.push_back(Later {
            part,
            verified,
            bytes,
        });
        Verdict::Fresh
    }

    fn pop_later(&mut self) -> Option<(BlockPart, Arc<Verified>)> {
        let Later {
            part,
            verified,
            bytes,
        } = self.later.pop_front()?;
        self.later_bytes = self.later_bytes.saturating_sub(bytes);
        Some((part, verified))
    }
}

/// Bytes of the transactions in a part.
fn transactions_bytes(part: &BlockPart) -> usize {
    match &part.content {
        PartContent::Opening { .. } => 0,
        PartContent::Tick(tick) => tick
            .transactions
            .iter()
            .fold(0usize, |sum, tx| sum.saturating_add(transaction_bytes(tx))),
    }
}

impl<S: State, O: Orderer> Replica<S, O> {
    // ---- parts --------------------------------------------------------------------------------

    pub(crate) fn on_part(&mut self, part: BlockPart, verified: Verified) -> Verdict {
        let statement = &part.signed.statement;
        let ahead = statement.height.0.checked_sub(self.next_height().0);
        // While a block is being committed, parts of the next one begin to arrive.
        let (Some(ahead @ (0 | 1)), Some(_)) = (ahead, self.chain.validators.find(&statement.proposer))
        else {
            return Verdict::Ignored;
        };
        let of = (statement.round, statement.proposer);
        if ahead == 0 && !self.is_turn(of) {
            return Verdict::Ignored;
        }
        let known = self.candidates.assemblies.iter().find(|a| a.of() == of);
        let known = known.and_then(|a| a.statement(statement.sequence));
        if known.is_some_and(|known| known.statement == *statement) {
            return Verdict::Known;
        }
        if usize::try_from(statement.sequence).unwrap_or(usize::MAX) > TICKS_MAX {
            return Verdict::Rejected("a part past the end of its block");
        }
        let is_later = ahead == 1 || self.committing.is_some();
        // Capacity before the hash and the signature. Parts under this node's own key are verified even so:
        // they show that the key signs elsewhere.
        if Some(statement.proposer) != self.key {
            if is_later {
                if let Some(verdict) = self.candidates.refuses_later(&part) {
                    return verdict;
                }
            } else if statement.parent != self.head.parent.hash {
                return Verdict::Ignored;
            }
        }
        if !part.is_whole() {
            return Verdict::Rejected("a part with another content than was signed");
        }
        if part.signed.verify(&self.chain.genesis).is_err() {
            return Verdict::Rejected("bad signature of a part");
        }
        if Some(statement.proposer) == self.key {
            self.orderer.on_own_part(statement);
            return Verdict::Ignored;
        }
        let verified = Arc::new(verified);
        if is_later {
            return self.candidates.keep_for_later(part, verified);
        }
        self.take_part(part, &verified)
    }

    /// Returns true if it is this validator's turn in this round.
    fn is_turn(&self, (round, proposer): (Round, PublicKey)) -> bool {
        let turn = self.turns.proposer(&self.chain.validators, round);
        turn.is_some_and(|member| member.key == proposer)
    }

    /// Takes a part of the height being decided; its signature was checked.
    fn take_part(&mut self, part: BlockPart, verified: &Verified) -> Verdict {
        let statement = &part.signed.statement;
        let of = (statement.round, statement.proposer);
        if statement.parent != self.head.parent.hash || !self.is_turn(of) {
            return Verdict::Ignored;
        }
        // An idle proposer streams the parts it has and then waits for a transaction: a block is under way,
        // and may be missed, only when a part holds one.
        let under_way = match &part.content {
            PartContent::Tick(tick) => !tick.transactions.is_empty(),
            PartContent::Opening { .. } => false,
        };
        let (chain, parent, pool) = (&self.chain, &self.head.parent, &self.pool);
        let known = |hash: &Hash| pool.get_by_hash(hash).or_else(|| verified.get(hash)).cloned();
        let assembly = self
            .candidates
            .assembly(of, || Assembly::new(chain, parent, of.0, of.1));
        let Some(assembly) = assembly else {
            return Verdict::Ignored;
        };
        match assembly.take(chain, part, &known) {
            Ok(Taken::Fresh) => {
                let progress = assembly.progress();
                // A proposer that works on a later round's block shows nothing about this round.
                if under_way && of.0 == Round::ZERO {
                    self.orderer.arm_propose(self.now.mono);
                }
                self.orderer.proposal_comes(of.0, progress, self.now.mono);
                self.finish_assembly(of);
                Verdict::Fresh
            }
            Ok(Taken::Known) => Verdict::Known,
            Ok(Taken::Conflict(evidence)) => {
                self.found_evidence(evidence);
                Verdict::Fresh
            }
            Ok(Taken::Beyond) => Verdict::Rejected("parts of more than one block"),
            Err(JudgeError(error)) => {
                self.halt(Fault::State(error));
                Verdict::Ignored
            }
        }
    }

    /// Takes the parts that arrived for this height while the previous one was being committed.
    pub(crate) fn take_later_parts(&mut self) {
        for _ in 0..self.candidates.later.len() {
            let Some((part, verified)) = self.candidates.pop_later() else {
                return;
            };
            let height = part.signed.statement.height;
            if height == self.next_height() && self.committing.is_none() {
                self.take_part(part, &verified);
            } else if height > self.next_height() {
                self.candidates.keep_for_later(part, verified);
            }
        }
    }

    /// Judges a block whose last part and whose proposal are both here.
    fn finish_assembly(&mut self, of: (Round, PublicKey)) {
        let wanted = self.candidates.wanted.iter();
        let wanted: Vec<Hash> = wanted
            .filter(|(_, wanted)| (wanted.header.round, wanted.header.proposer) == of)
            .map(|(hash, _)| *hash)
            .collect();
        for hash in wanted {
            if let Some(Wanted { header, .. }) = self.candidates.wanted.get(&hash) {
                let header = header.clone();
                if self.judge_assembly(hash, &header) {
                    self.candidates.wanted.remove(&hash);
                    self.tell_checked(&hash);
                    return;
                }
            }
        }
    }

    /// Judges the block of a header from its parts. `false` when they are not all here, or belong to another block.
    fn judge_assembly(&mut self, hash: Hash, header: &Header) -> bool {
        let of = (header.round, header.proposer);
        let assembly = self
            .candidates
            .assemblies
            .iter_mut()
            .find(|a| a.of() == of && a.is_whole());
        let Some((body, streamed)) = assembly.and_then(|assembly| assembly.finish(header)) else {
            return false;
        };
        let Some(streamed) = streamed else {
            return self.judge_known(header, body);
        };
        match judge_streamed(&self.chain, &self.head.parent, header, &body, streamed) {
            Ok(verdict) => {
                let candidate = Candidate {
                    header: header.clone(),
                    body: Some(body),
                    executed: verdict.ok(),
                    logged: false,
                };
                self.candidates.keep(hash, candidate);
                true
            }
            Err(JudgeError(error)) => {
                self.halt(Fault::State(error));
                false
            }
        }
    }

    // ---- bodies -------------------------------------------------------------------------------

    pub(crate) fn on_body(
        &mut self,
        from: PeerId,
        header: &Header,
        body: Vec<u8>,
        verified: &Verified,
    ) -> Verdict {
        let hash = header.hash();
        if header.height <= self.head.parent.header.height || self.candidates.verdict(&hash).is_some() {
            return Verdict::Known;
        }
        if let Some(wanted) = self.candidates.wanted.get(&hash) {
            let header = wanted.header.clone();
            if !self.judge_body(&header, &body, verified) {
                return Verdict::Rejected("the body does not belong to its header");
            }
            self.candidates.wanted.remove(&hash);
            self.tell_checked(&hash);
            return Verdict::Fresh;
        }
        // Only a proposal shows whether this block is needed: a few are kept until it arrives.
        let near = header.height <= self.next_height().saturating_add(1);
        let early = &mut self.candidates.early;
        if near && self.peers.contains_key(&from) && !early.iter().any(|(early, _, _)| *early == hash) {
            if early.len() >= EARLY_BODIES_MAX {
                early.pop_front();
            }
            early.push_back((hash, header.clone(), body));
        }
        Verdict::Fresh
    }

    /// A proposal of the scheduled proposer, for this round, names this block: its verdict is wanted.
    pub(crate) fn check(&mut self, header: Header, named: Round) {
        let hash = header.hash();
        if !active(Bug::LaterRoundTimely) || header.round == named {
            self.look_at_clock(hash, &header);
        }
        if self.candidates.verdict(&hash).is_some() || self.judge_assembly(hash, &header) {
            return self.tell_checked(&hash);
        }
        let early = &mut self.candidates.early;
        if let Some(at) = early.iter().position(|(early, _, _)| *early == hash)
            && let Some((_, _, body)) = early.remove(at)
            && self.judge_body(&header, &body, &Verified::new())
        {
            return self.tell_checked(&hash);
        }
        if self.halted {
            return;
        }
        let streams = self.key.is_some() && self.peers.values().any(|peer| *peer == Some(header.proposer));
        let grace = if streams { PARTS_GRACE_MICROS } else { 0 };
        self.candidates.want(hash, header, self.now.mono.after(grace));
    }

    /// Requests each body that is due: from its proposer first, then from every peer in turn. A validator
    /// also asks one that voted for the block: as soon as the votes show that an honest one has it, or once
    /// the wait for parts has expired. Otherwise a proposer that withholds its block from this node alone
    /// would delay it by [`RETRY_MICROS`], in which it may lose its turn.
    pub(crate) fn ask_for_bodies(&mut self) {
        let now = self.now.mono;
        let mut asks = Vec::new();
        let Candidates { wanted, voted, .. } = &mut self.candidates;
        for (hash, wanted) in wanted {
            asks.extend(
                wanted
                    .next_peer(hash, &self.peers, now)
                    .map(|to| (to, wanted.header.height, *hash)),
            );
            if self.key.is_none() {
                // A node that does not validate has no turn to lose, and would fetch every body twice.
                continue;
            }
            let voters: BTreeSet<&PublicKey> = Candidates::<S>::voters(voted, hash, &wanted.header).collect();
            if voters.is_empty() || (wanted.asked == 0 && !has_an_honest_one(&self.chain.validators, &voters))
            {
                continue;
            }
            let here = self.peers.iter();
            let here = here.filter(|(_, key)| key.as_ref().is_some_and(|key| voters.contains(key)));
            let here: Vec<PeerId> = here.map(|(peer, _)| *peer).collect();
            asks.extend(
                wanted
                    .next_voter(hash, &here, now)
                    .map(|to| (to, wanted.header.height, *hash)),
            );
        }
        for (to, height, block) in asks {
            let message = Message::BodyRequest { height, block };
            self.do_it(Action::Send { to, message });
        }
    }

    /// Judges a body and keeps it with the verdict. `false` when the bytes are not the body that the header
    /// names, which is not a verdict.
    fn judge_body(&mut self, header: &Header, encoded: &[u8], verified: &Verified) -> bool {
        match open_body(header, encoded) {
            Ok(None) => false,
            Ok(Some(body)) => self.judge_with(header, body, verified),
            Err(_) => {
                self.keep_undecodable(header.clone());
                true
            }
        }
    }

    /// The bytes that the header names do not decode: invalid, whichever peer sent them.
    pub(crate) fn keep_undecodable(&mut self, header: Header) {
        let candidate = Candidate {
            header: header.clone(),
            body: None,
            executed: None,
            logged: false,
        };
        self.candidates.keep(header.hash(), candidate);
    }

    /// Judges a block that is in the log, or that a certificate decided, and keeps it with the verdict.
    /// `false` after a halt.
    pub(crate) fn judge_known(&mut self, header: &Header, body: Body) -> bool {
        self.judge_with(header, body, &Verified::new())
    }

    pub(crate) fn judge_with(&mut self, header: &Header, body: Body, verified: &Verified) -> bool {
        let pool = &self.pool;
        let known = |hash: &Hash| {
            let found = pool.get_by_hash(hash).or_else(|| verified.get(hash));
            found.map(|tx| tx.as_ref().clone())
        };
        match judge(&self.chain, &self.head.parent, header, &body, &known) {
            Ok(verdict) => {
                let candidate = Candidate {
                    header: header.clone(),
                    body: Some(body),
                    executed: verdict.ok(),
                    logged: false,
                };
                self.candidates.keep(header.hash(), candidate);
                true
            }
            Err(JudgeError(error)) => {
                self.halt(Fault::State(error));
                false
            }
        }
    }

    /// Reports the verdict on a judged block to the orderer, after the block is in the log.
    fn tell_checked(&mut self, hash: &Hash) {
        let Some(candidate) = self.candidates.blocks.get(hash) else {
            return;
        };
        let (header, valid) = (candidate.header.clone(), candidate.executed.is_some());
        let (bytes, logged) = (candidate.body.as_ref().map_or(0, body_bytes), candidate.logged);
        if self.resume_decision(hash) {
            return;
        }
        // Rounds that keep failing must not fill the disk: a large block of a late round is left out, as if
        // it had not arrived in time. An honest proposer makes none.
        if header.round >= EMPTY_FROM && !logged && !self.candidates.has_log_room(bytes) {
            self.candidates.take(hash);
            return;
        }
        let kept_back = self.candidates.untimely.get(hash);
        if valid && kept_back.is_some_and(|round| self.may_prevote_in(*round)) {
            return;
        }
        if let Some(record) = self.candidates.take_record(hash) {
            self.do_it(Action::Append(record));
        }
        let header = Box::new(header);
        self.orderer
            .on_block(BlockEvent::Checked { header, valid }, self.now.mono);
    }

    /// Drops blocks of past rounds when too much is kept.
    pub(crate) fn bound_candidates(&mut self) {
        if self.candidates.is_over() {
            let (round, pinned) = (self.orderer.status().round, self.orderer.pinned());
            self.candidates.bound(round, &pinned);
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    /// Records a block that is proposed at another time than it names, while this node may still prevote it
    /// in the round that it was made for. In later rounds a quorum must have prevoted it in that one. The
    /// round of the proposal proves nothing: its proposer could name a later one first.
    fn look_at_clock(&mut self, hash: Hash, header: &Header) {
        let votes = self
            .key
            .is_some_and(|key| self.chain.validators.find(&key).is_some());
        let (parent, clock, round) = (&self.head.parent, self.now.wall, header.round);
        if !votes || !self.may_prevote_in(round) || is_timely(&self.chain, parent, header, clock) {
            return;
        }
        self.candidates.untimely.insert(hash, round);
        self.do_it(Action::Untimely {
            height: header.height,
            round,
            time: header.time,
            clock,
        });
    }

    /// Returns true if this node may still prevote in a round.
    fn may_prevote_in(&self, round: Round) -> bool {
        let status = self.orderer.status();
        (status.round, status.step) <= (round, Step::Propose)
    }

    /// Reports the verdicts that were kept back until this node had prevoted nil.
    pub(crate) fn tell_untimely(&mut self) {
        loop {
            let untimely = self.candidates.untimely.iter();
            let over = untimely.filter(|(_, round)| !self.may_prevote_in(**round));
            let over: Vec<Hash> = over.map(|(hash, _)| *hash).collect();
            if over.is_empty() {
                return;
            }
            for hash in &over {
                self.candidates.untimely.remove(hash);
                self.tell_checked(hash);
            }
            // This may start the next round, in which more of them are over.
            self.pump();
        }
    }
}

#[cfg(test)]
mod tests {
    use vibecoin_execution::MemoryState;
    use vibecoin_primitives::{BLOCK_VERSION, TimeMs};

    use super::*;

    fn header(round: u32) -> Header {
        Header {
            version: BLOCK_VERSION,
            height: Height(1),
            round: Round(round),
            proposer: PublicKey([1; 32]),
            parent: Hash::ZERO,
            time: TimeMs(1),
            ticks: 4,
            poh_seq: 0,
            poh_hash: Hash::ZERO,
            body_hash: Hash::ZERO,
            tx_root: Hash::ZERO,
            receipt_root: Hash::ZERO,
            evidence_root: Hash::ZERO,
            state_root: Hash::ZERO,
            validators_hash: Hash::ZERO,
            next_validators_hash: Hash::ZERO,
            params_hash: Hash::ZERO,
            last_commit_hash: Hash::ZERO,
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
        assert!(candidates.has_log_room(BLOCK_BYTES_MAX));
        candidates.logged_bytes = LOG_BLOCK_BYTES_MAX;
        assert!(!candidates.has_log_room(BLOCK_BYTES_MAX));
        assert!(candidates.has_log_room(SMALL_BLOCK_BYTES));
        candidates.begin_height(Height(1));
        assert!(candidates.has_log_room(BLOCK_BYTES_MAX));
    }

    #[test]
    fn two_requests_for_a_body_are_on_their_way_at_most_and_never_to_one_peer() {
        let hash = header(0).hash();
        let peers: BTreeMap<PeerId, Option<PublicKey>> = (0..5u8)
            .map(|n| (PeerId(n.into()), Some(PublicKey([n; 32]))))
            .collect();
        let voters: Vec<PeerId> = (2..5).map(PeerId).collect();
        let mut wanted = Wanted::new(header(0), MonoTime(60_000));
        let mut asked: VecDeque<(MonoTime, PeerId)> = VecDeque::new();
        let mut all = BTreeSet::new();
        for now in (0..3_000_000).step_by(10_000).map(MonoTime) {
            // The votes arrive during the wait for parts.
            let voters = if now.0 < 30_000 { &[][..] } else { &voters };
            let due = [
                wanted.next_peer(&hash, &peers, now),
                wanted.next_voter(&hash, voters, now),
            ];
            asked.retain(|(at, _)| at.after(RETRY_MICROS) > now);
            for to in due.into_iter().flatten() {
                assert!(
                    asked.iter().all(|(_, other)| *other != to),
                    "{to:?} is asked twice"
                );
                asked.push_back((now, to));
                all.insert(to);
            }
            assert!(asked.len() <= 2, "{asked:?}");
            let expected = match now.0 {
                0..30_000 => 0,
                30_000..60_000 => 1,
                _ => 2,
            };
            assert_eq!(asked.len(), expected, "at {now:?}");
        }
        assert_eq!(all.len(), peers.len(), "everybody has its turn");
    }

    #[test]
    fn a_new_block_is_wanted_in_the_place_of_one_whose_body_nobody_has() {
        let mut candidates = Candidates::<MemoryState>::default();
        let blocks = u32::try_from(CANDIDATES_MAX).unwrap_or(u32::MAX);
        for round in 0..blocks {
            candidates.want(header(round).hash(), header(round), MonoTime(0));
        }
        let nobodys = header(7).hash();
        for (hash, wanted) in &mut candidates.wanted {
            wanted.asked = if *hash == nobodys { 9 } else { 2 };
        }
        candidates.want(header(blocks).hash(), header(blocks), MonoTime(5));
        assert_eq!(candidates.wanted.len(), CANDIDATES_MAX);
        assert!(!candidates.wanted.contains_key(&nobodys));
        assert!(candidates.wanted.contains_key(&header(blocks).hash()));
    }
}
