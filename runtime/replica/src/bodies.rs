//! Bodies of proposed blocks: requesting those that are missing, keeping those that arrive before their proposal,
//! and limiting those that are sent to peers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::{Hash, Header, Height, PublicKey, Round, ValidatorSet, Vote};

use crate::candidates::CANDIDATES_MAX;
use crate::event::Action;
use crate::received::ReceivedBody;
use crate::{Message, PeerId};

/// Time before a body is requested again, in microseconds.
pub const RETRY_MICROS: u64 = 200_000;
/// Maximum number of bodies sent to one peer in that time: each costs far more than the request.
pub const BODIES_PER_RETRY: u32 = 4;
/// Maximum number of bodies kept whose proposal has not arrived yet.
pub const EARLY_BODIES_MAX: usize = 4;

/// Bodies sent to one peer.
struct Sent {
    /// Start of the counting window of [`RETRY_MICROS`].
    since: MonoTime,
    count: u32,
}

/// Missing and early bodies, and the bodies sent to peers.
#[derive(Default)]
pub(crate) struct Bodies {
    /// At most [`CANDIDATES_MAX`], of the height being decided.
    wanted: BTreeMap<Hash, Wanted>,
    /// The block of the newest vote of each validator, and its height.
    voted: BTreeMap<PublicKey, (Height, Hash)>,
    /// At most [`EARLY_BODIES_MAX`], oldest first.
    early: VecDeque<ReceivedBody>,
    /// Connected peers only.
    sent: BTreeMap<PeerId, Sent>,
}

/// Returns true if these validators have more than a third of the power, so that one of them is honest.
fn has_honest_member(set: &ValidatorSet, keys: &BTreeSet<&PublicKey>) -> bool {
    let members = keys.iter().filter_map(|key| set.find(key));
    let power = members.fold(0u64, |sum, (_, member)| sum.saturating_add(member.power.0));
    power.saturating_mul(3) > set.total_power()
}

impl Bodies {
    /// Drops everything about `done`, which is durable, and the heights below it.
    pub fn begin_height(&mut self, done: Height) {
        self.wanted.clear();
        self.voted.retain(|_, (height, _)| *height > done);
        self.early.retain(|early| early.header.height > done);
    }

    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.wanted.values().map(|wanted| wanted.ask_at).min()
    }

    // ---- missing bodies -----------------------------------------------------------------------

    /// Records that the body of a block is missing. When full, evicts the entry with the most requests: an
    /// existing body arrives after one or two, an invented one never does.
    pub fn want(&mut self, hash: Hash, header: Header, ask_at: MonoTime) {
        if self.wanted.len() >= CANDIDATES_MAX {
            let victim = self.wanted.iter().max_by_key(|(_, wanted)| wanted.requests);
            if let Some(victim) = victim.map(|(hash, _)| *hash) {
                self.wanted.remove(&victim);
            }
        }
        self.wanted.insert(hash, Wanted::new(header, ask_at));
    }

    /// The header of a block whose body is missing.
    pub fn wanted(&self, block: &Hash) -> Option<&Header> {
        self.wanted.get(block).map(|wanted| &wanted.header)
    }

    /// Blocks of this round and proposer whose bodies are missing.
    pub fn wanted_of(&self, of: (Round, PublicKey)) -> Vec<(Hash, Header)> {
        let of_it = self
            .wanted
            .iter()
            .filter(|(_, wanted)| (wanted.header.round, wanted.header.proposer) == of);
        of_it
            .map(|(hash, wanted)| (*hash, wanted.header.clone()))
            .collect()
    }

    /// The body of a block arrived, or was assembled from its parts.
    pub fn arrived(&mut self, block: &Hash) {
        self.wanted.remove(block);
    }

    /// Records a vote whose signature was checked: its validator has the block. One per validator is kept.
    pub fn record_vote(&mut self, vote: &Vote) {
        if let Some(block) = vote.block {
            self.voted.insert(vote.validator, (vote.height, block));
        }
    }

    /// The requests that are due: each body from its proposer first, then from every peer in turn. A validator
    /// (`validates`) also asks one that voted for the block: as soon as the votes show that an honest one has it,
    /// or once the wait for parts has expired. Otherwise a proposer that withholds its block from this node alone
    /// would delay it by [`RETRY_MICROS`], in which it may lose its turn.
    pub fn requests<S>(
        &mut self,
        validators: &ValidatorSet,
        peers: &BTreeMap<PeerId, Option<PublicKey>>,
        validates: bool,
        now: MonoTime,
    ) -> Vec<Action<S>> {
        let mut requests = Vec::new();
        for (hash, wanted) in &mut self.wanted {
            let (height, block) = (wanted.header.height, *hash);
            let request = |to| Action::Send {
                to,
                message: Message::BodyRequest { height, block },
            };
            requests.extend(wanted.next_peer(hash, peers, now).map(request));
            if !validates {
                // A node that does not validate has no turn to lose, and would fetch every body twice.
                continue;
            }
            let voters: BTreeSet<&PublicKey> = voters(&self.voted, hash, &wanted.header).collect();
            if voters.is_empty() || (wanted.requests == 0 && !has_honest_member(validators, &voters)) {
                continue;
            }
            let here = peers.iter();
            let here = here.filter(|(_, key)| key.as_ref().is_some_and(|key| voters.contains(key)));
            let here: Vec<PeerId> = here.map(|(peer, _)| *peer).collect();
            requests.extend(wanted.next_voter(hash, &here, now).map(request));
        }
        requests
    }

    // ---- early bodies -------------------------------------------------------------------------

    /// Keeps a body until the proposal arrives that shows whether the block is needed, in place of the oldest one.
    pub fn keep_early(&mut self, body: ReceivedBody) {
        if self.early.iter().any(|early| early.hash == body.hash) {
            return;
        }
        if self.early.len() >= EARLY_BODIES_MAX {
            self.early.pop_front();
        }
        self.early.push_back(body);
    }

    /// Takes the body of a block that arrived before its proposal.
    pub fn take_early(&mut self, block: &Hash) -> Option<ReceivedBody> {
        let at = self.early.iter().position(|early| early.hash == *block)?;
        self.early.remove(at)
    }

    // ---- sent bodies --------------------------------------------------------------------------

    /// Counts a request of a connected peer; false if it is one too many. An honest peer requests each body once
    /// in [`RETRY_MICROS`].
    pub fn may_send(&mut self, peer: PeerId, now: MonoTime) -> bool {
        let sent = self.sent.entry(peer).or_insert(Sent { since: now, count: 0 });
        if now >= sent.since.after(RETRY_MICROS) {
            *sent = Sent { since: now, count: 0 };
        }
        sent.count = sent.count.saturating_add(1);
        sent.count <= BODIES_PER_RETRY
    }

    pub fn disconnected(&mut self, peer: PeerId) {
        self.sent.remove(&peer);
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

/// A proposed block whose body is missing. Up to two requests for it are in flight, to different peers.
struct Wanted {
    header: Header,
    /// Time of the next request.
    ask_at: MonoTime,
    /// Number of requests so far.
    requests: usize,
    /// Time of the next additional request to a voter, and the number of those requests so far.
    voter_at: MonoTime,
    voter_requests: usize,
    /// Recipients of the newest request and of the newest request to a voter.
    newest: [Option<PeerId>; 2],
}

impl Wanted {
    const fn new(header: Header, ask_at: MonoTime) -> Self {
        Self {
            header,
            ask_at,
            requests: 0,
            voter_at: MonoTime(0),
            voter_requests: 0,
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
        let first = (self.requests == 0)
            .then(|| peers.iter().find(proposer))
            .flatten();
        *newest = match first {
            Some((peer, _)) => Some(*peer),
            None => in_turn(hash, self.requests, peers.keys(), waits),
        };
        self.ask_at = now.after(RETRY_MICROS);
        self.requests = self.requests.saturating_add(1);
        *newest
    }

    /// The voter to ask at `now`, if a request is due.
    fn next_voter(&mut self, hash: &Hash, voters: &[PeerId], now: MonoTime) -> Option<PeerId> {
        if self.voter_at > now {
            return None;
        }
        let [newest, voter] = &mut self.newest;
        let waits = newest.filter(|_| self.ask_at > now);
        let next = in_turn(hash, self.voter_requests, voters.iter(), waits)?;
        *voter = Some(next);
        self.voter_at = now.after(RETRY_MICROS);
        self.voter_requests = self.voter_requests.saturating_add(1);
        Some(next)
    }
}

/// The next peer in turn to request a body from, other than `waits`, which has an open request.
fn in_turn<'a>(
    hash: &Hash,
    requests: usize,
    peers: impl ExactSizeIterator<Item = &'a PeerId> + Clone,
    waits: Option<PeerId>,
) -> Option<PeerId> {
    let count = peers.len();
    let turn = requests
        .saturating_add(usize::from(hash.0[0]))
        .checked_rem(count)?;
    let mut from_turn = peers.cycle().skip(turn).take(count);
    from_turn.find(|peer| waits != Some(**peer)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidates::tests::header;

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
        let mut bodies = Bodies::default();
        let blocks = u32::try_from(CANDIDATES_MAX).unwrap_or(u32::MAX);
        for round in 0..blocks {
            bodies.want(header(round).hash(), header(round), MonoTime(0));
        }
        let nobodys = header(7).hash();
        for (hash, wanted) in &mut bodies.wanted {
            wanted.requests = if *hash == nobodys { 9 } else { 2 };
        }
        bodies.want(header(blocks).hash(), header(blocks), MonoTime(5));
        assert_eq!(bodies.wanted.len(), CANDIDATES_MAX);
        assert!(!bodies.wanted.contains_key(&nobodys));
        assert!(bodies.wanted.contains_key(&header(blocks).hash()));
    }
}
